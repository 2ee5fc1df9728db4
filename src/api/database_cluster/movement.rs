//! `spec.affinity` and `spec.movement`: how pods come near the primary, and after it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    api::{Span, rule::rule},
    core::{
        follow::{AffinityMode, MoveMode},
        movement::windows::{Schedule, Window, Zone},
    },
};

/// What is injected into pods that don't say otherwise.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AffinityDefaults {
    /// `preferred`: two weighted terms. `avoid-far`: far nodes are excluded. `required`: closely nodes only; read
    /// docs/affinity.md first, because a kubelet that restarts ends running pods that no longer match.
    pub mode: AffinityMode,

    /// Weight of the closely term; the intermediate term weighs half.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u8,
}

impl Default for AffinityDefaults {
    fn default() -> Self {
        Self { mode: AffinityMode::Preferred, weight: 100 }
    }
}

/// Whether pods are moved.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MovementMode {
    /// Nodes are labelled, nothing is planned.
    Off,
    /// Everything is decided and told, nothing is done.
    DryRun,
    #[default]
    Auto,
    /// As earlier versions wrote [`MovementRules::way`] here.
    #[serde(untagged)]
    Earlier(MoveMode),
}

impl MovementMode {
    /// Whether anything may be touched.
    #[must_use]
    pub const fn moves(self) -> bool {
        matches!(self, Self::Auto | Self::Earlier(_))
    }
}

/// When pods may be moved: for so long from each time of a schedule on.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WindowRule {
    /// When it opens, as cron writes it: minute, hour, day of month, month, day of week, such as `0 22 * * MON-FRI`.
    #[schemars(with = "String", length(min = 1, max = 100))]
    pub schedule: Schedule,

    /// For how long it is open.
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('1m') && duration(self) <= duration('168h')", "spec.movement.windows.duration: write a time between 1m and 168h, such as 4h")
    ]))]
    pub duration: Span,

    /// The time zone of `schedule`, by its name in the IANA's list, such as `Europe/Berlin`.
    #[serde(default)]
    #[schemars(with = "String", length(min = 1, max = 64))]
    pub time_zone: Zone,
}

/// How pods are moved after the primary has moved.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.fartherThan) || has(self.windows)", "spec.movement.fartherThan: it says who may be moved outside of windows: write windows beside it, such as windows: [{schedule: \"0 22 * * *\", duration: 4h, timeZone: Europe/Berlin}]"),
    rule("!has(self.settleMax) || duration(self.settle) <= duration(self.settleMax)", "spec.movement: settle must not be greater than settleMax: write for example settle: 30s, settleMax: 5m")
]))]
pub struct MovementRules {
    /// Whether pods are moved: `Auto`; `DryRun`, which plans, reports and counts what would be moved, and touches nothing; or `"Off"`,
    /// which labels nodes and plans nothing (in quotes, because YAML takes a bare Off for false). `auto`, `evict`, `restart` and
    /// `never` are what `way` is called now; they are read as `Auto` with that way.
    #[schemars(with = "String", extend("enum" = ["Off", "DryRun", "Auto", "auto", "evict", "restart", "never"]))]
    pub mode: MovementMode,

    /// How pods are moved that don't say otherwise: `auto` (`evict` where others of the workload go on serving; `restart` for the single
    /// replica of a Deployment that starts the new pod before it ends the old one; other single replicas stay), `evict` (the Eviction
    /// API, budgets respected; a single replica is away for a while), `restart` (a rolling restart of the workload, where that
    /// ends nobody too early) or `never`.
    pub way: MoveMode,

    /// How long a new primary must have held, with nothing frozen, before the first pod is moved.
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) <= duration('24h')", "spec.movement.settle: write a time of at most 24h, such as 30s")
    ]))]
    pub settle: Span,

    /// A primary that moves back and forth is followed ever later: `settle` doubles with each further change of primary
    /// within this time. `0s`: it never does.
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) <= duration('24h')", "spec.movement.settleWindow: write a time of at most 24h, such as 10m, or 0s")
    ]))]
    pub settle_window: Span,

    /// What `settle` grows to at most. Default: ten times `settle`, but no more than 30m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) <= duration('24h')", "spec.movement.settleMax: write a time of at most 24h, such as 5m")
    ]))]
    pub settle_max: Option<Span>,

    /// Number of pods that may be on the move at the same time, over all workloads. All databases together begin with 10, double that
    /// as replacements find their places, and halve it when one fails. A restart counts as one, however many pods it replaces: its
    /// workload's strategy bounds how many are away.
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent: u32,

    /// Number of pods of one workload that may be on the move at the same time. Default: as many as its disruption budget allows, and one
    /// without a budget. With a budget this is a bound beside it; without one it is the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub per_workload: Option<u32>,

    /// Number of pods of one namespace that may be on the move at the same time, those of other databases among them. Without it a
    /// namespace may have all.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub per_namespace: Option<u32>,

    /// Number of moves of this database that may begin within a minute; each database has its own number, as with maxConcurrent. Without it
    /// there is no such limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub per_minute: Option<u32>,

    /// When pods may be moved. Without any window: at any time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<WindowRule>,

    /// Pods whose node is farther than this from the primary may be moved outside of windows, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) <= duration('10s')", "spec.movement.fartherThan: write a time of at most 10s, such as 5ms")
    ]))]
    pub farther_than: Option<Span>,

    /// Also move pods off intermediate nodes.
    pub include_intermediate: bool,

    /// A replacement that isn't Ready for this long counts as failed.
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('5s') && duration(self) <= duration('24h')", "spec.movement.replacementTimeout: write a time between 5s and 24h")
    ]))]
    pub replacement_timeout: Span,

    /// Movement halts in a namespace while this many replacements have failed there, and everywhere while some have in this many
    /// namespaces and no more namespaces fare well, or all namespaces that follow are halted.
    #[schemars(range(min = 1, max = 1000))]
    pub halt_after_failures: u32,

    /// A workload whose pods were moved this often without reaching a better tier is left alone until the primary
    /// moves again, or another node is near it. So is one that was restarted this often (`move: restart`) while the webhook didn't answer.
    #[schemars(range(min = 1, max = 100))]
    pub max_useless_moves: u32,
}

impl Default for MovementRules {
    fn default() -> Self {
        Self {
            mode: MovementMode::Auto,
            way: MoveMode::Auto,
            settle: Span::from_secs(10),
            settle_window: Span::from_secs(600),
            settle_max: None,
            max_concurrent: 200,
            per_workload: None,
            per_namespace: None,
            per_minute: None,
            windows: Vec::new(),
            farther_than: None,
            include_intermediate: false,
            replacement_timeout: Span::from_secs(300),
            halt_after_failures: 3,
            max_useless_moves: 2,
        }
    }
}

impl MovementRules {
    /// How pods are moved that don't say otherwise.
    #[must_use]
    pub const fn way(&self) -> MoveMode {
        match self.mode {
            MovementMode::Earlier(way) => way,
            _ => self.way,
        }
    }

    /// The windows, as they are asked.
    pub fn windows(&self) -> impl Iterator<Item = Window<'_>> + Clone {
        self.windows.iter().map(|it| Window { schedule: &it.schedule, zone: &it.time_zone, duration: it.duration.0 })
    }

    /// How settle grows.
    #[must_use]
    pub fn settle_rules(&self) -> crate::core::movement::settle::Rules {
        let max = self.settle_max.map(|max| max.0);
        crate::core::movement::settle::Rules { settle: self.settle.0, window: self.settle_window.0, max }
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_earlier_versions_wrote_as_mode_is_read_as_the_way() {
        use MovementMode::{Auto, DryRun, Earlier, Off};
        let rows = [
            (json!({}), Auto, MoveMode::Auto, true),
            (json!({"mode": "Off"}), Off, MoveMode::Auto, false),
            (json!({"mode": "DryRun", "way": "restart"}), DryRun, MoveMode::Restart, false),
            (json!({"mode": "Auto", "way": "evict"}), Auto, MoveMode::Evict, true),
            (json!({"mode": "evict"}), Earlier(MoveMode::Evict), MoveMode::Evict, true),
            (json!({"mode": "auto"}), Earlier(MoveMode::Auto), MoveMode::Auto, true),
            (json!({"mode": "never"}), Earlier(MoveMode::Never), MoveMode::Never, true),
        ];
        check_rows(rows, |(written, mode, way, moves)| {
            let rules: MovementRules = serde_json::from_value(written.clone()).unwrap();
            assert_eq!((rules.mode, rules.way(), rules.mode.moves()), (mode, way, moves), "{written}");
        });
        assert!(serde_json::from_value::<MovementRules>(json!({"mode": "off"})).is_err());
    }

    #[test]
    fn a_window_that_can_not_be_read_says_what_to_write() {
        let read = |window| serde_json::from_value::<MovementRules>(json!({ "windows": [window] }));
        let good = json!({"schedule": "0 22 * * *", "duration": "4h", "timeZone": "Europe/Berlin"});
        assert_eq!(serde_json::to_value(&read(good.clone()).unwrap().windows).unwrap(), json!([good]));
        let error = read(json!({"schedule": "at night", "duration": "4h"})).unwrap_err().to_string();
        assert!(error.contains("write five fields as cron does"), "{error}");
        let error = read(json!({"schedule": "0 22 * * *", "duration": "4h", "timeZone": "Mars"})).unwrap_err();
        assert!(error.to_string().contains("write a name of the IANA's list"), "{error}");
    }
}
