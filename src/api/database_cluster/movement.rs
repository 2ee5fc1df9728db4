//! `spec.affinity` and `spec.movement`: how pods come near the primary, and after it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    api::{Span, rule::rule},
    core::follow::{AffinityMode, MoveMode},
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

/// How pods are moved after the primary has moved.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.settleMax) || duration(self.settle) <= duration(self.settleMax)", "spec.movement: settle must not be greater than settleMax: write for example settle: 30s, settleMax: 5m")
]))]
pub struct MovementRules {
    /// For pods that don't say otherwise: `auto` (`evict` where others of the workload go on serving; `restart` for the single
    /// replica of a Deployment that starts the new pod before it ends the old one; other single replicas stay), `evict` (the Eviction
    /// API, budgets respected; a single replica is away for a while), `restart` (a rolling restart of the workload, where that
    /// ends nobody too early) or `never`.
    pub mode: MoveMode,

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
    /// as replacements find their places, and halve it when one fails.
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent: u32,

    /// Number of pods of one workload that may be on the move at the same time. Default: as many as its disruption budget allows, and one
    /// without a budget. With a budget this is a bound beside it; without one it is the number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub per_workload: Option<u32>,

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
            mode: MoveMode::Auto,
            settle: Span::from_secs(30),
            settle_window: Span::from_secs(600),
            settle_max: None,
            max_concurrent: 200,
            per_workload: None,
            include_intermediate: false,
            replacement_timeout: Span::from_secs(300),
            halt_after_failures: 3,
            max_useless_moves: 2,
        }
    }
}

impl MovementRules {
    /// How settle grows.
    #[must_use]
    pub fn settle_rules(&self) -> crate::core::movement::settle::Rules {
        let max = self.settle_max.map(|max| max.0);
        crate::core::movement::settle::Rules { settle: self.settle.0, window: self.settle_window.0, max }
    }
}
