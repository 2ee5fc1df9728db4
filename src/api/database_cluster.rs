//! `DatabaseCluster`: one database to follow, what to do about it, and what switchover knows of it.

mod taint;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Span,
    discovery::{OperatorDiscovery, SqlDiscovery},
    keys,
    witness::WitnessRules,
};

pub use self::taint::{TaintEffect, TaintRule};

/// One database whose primary the pods follow.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "switchover.dev",
    version = "v1alpha1",
    kind = "DatabaseCluster",
    plural = "databaseclusters",
    shortname = "dbc",
    category = "switchover",
    status = "DatabaseClusterStatus",
    doc = "One database whose primary the pods follow: how to find the primary, how nodes are tiered, how pods are moved.",
    derive = "PartialEq",
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name is used in node labels: write a name of at most 63 characters"),
    validation = Rule::new("self.metadata.name != 'none'").message("metadata.name: 'none' opts pods out of following, so no database can have this name: write another one"),
    validation = Rule::new("!self.metadata.name.contains('.')").message("metadata.name is the value of the label switchover.dev/follow: write a name without dots, such as orders-eu"),
    validation = Rule::new("!has(self.spec.witness) || has(self.spec.discovery.patroni)").message("spec.witness: a witness asks Patroni's REST API: leave it out, or write spec.discovery.patroni"),
    printcolumn = r#"{"name":"Primary","type":"string","jsonPath":".status.primary"}"#,
    printcolumn = r#"{"name":"Timeline","type":"integer","jsonPath":".status.timeline"}"#,
    printcolumn = r#"{"name":"Since","type":"date","jsonPath":".status.since"}"#,
    printcolumn = r#"{"name":"Closely","type":"integer","jsonPath":".status.tiers.closely"}"#,
    printcolumn = r#"{"name":"Far","type":"integer","jsonPath":".status.tiers.far"}"#,
    printcolumn = r#"{"name":"Known","type":"string","jsonPath":".status.conditions[?(@.type=='PrimaryKnown')].status"}"#,
    printcolumn = r#"{"name":"Moving","type":"string","jsonPath":".status.conditions[?(@.type=='Moving')].status"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseClusterSpec {
    /// How the primary is found.
    pub discovery: Discovery,

    /// Another site's view of the members, for when this one can't see all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<WitnessRules>,

    /// Key of the node label, and of the taint if there is one. Default: `switchover` for the database named
    /// `default`, `switchover.dev/NAME` for any other. Two databases can't share a key. When it changes, nodes get the
    /// new label, and then lose the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("!self.contains('kubernetes.io/') && !self.contains('k8s.io/') || self.startsWith('node-restriction.kubernetes.io/')", "spec.nodeLabel: keys under kubernetes.io and k8s.io belong to Kubernetes: write a key of your own, such as switchover or example.com/distance (or one under node-restriction.kubernetes.io/)")
    ]))]
    pub node_label: Option<String>,

    /// When a node counts as closely, intermediate or far.
    #[serde(default)]
    pub tiers: TierRules,

    /// Also taint far nodes, with the node label's key and the value `far`. A taint is not only for pods that follow:
    /// it concerns every pod that doesn't tolerate it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taint: Option<TaintRule>,

    /// What is injected into pods that don't say otherwise.
    #[serde(default)]
    pub affinity: AffinityDefaults,

    /// How pods are moved after the primary has moved.
    #[serde(default)]
    pub movement: MovementRules,

    /// Stops all movement. Labels and admission go on.
    #[serde(default)]
    pub paused: bool,
}

/// How the primary is found. Exactly one source.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("[has(self.patroni), has(self.operator), has(self.sql)].exists_one(named, named)", "spec.discovery: name exactly one source: write patroni: {urls: [\"http://HOST:8008\", …]}, operator: {kind: CloudNativePG, namespace: NAMESPACE, cluster: NAME} or sql: {engine: PostgreSQL, members: […], basicAuth: {secretName: NAME}}")
]))]
pub struct Discovery {
    /// Patroni's REST API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patroni: Option<PatroniDiscovery>,

    /// What an operator writes in this Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorDiscovery>,

    /// The database itself, over SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlDiscovery>,
}

/// Patroni's REST API (`GET /primary` of every member about once a second, `GET /cluster` rarely to find members).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.tls) || self.urls.all(u, u.startsWith('https://'))", "spec.discovery.patroni.tls needs URLs with TLS: write https:// in each of urls"),
    rule("!has(self.basicAuth) || self.urls.all(u, u.startsWith('https://'))", "spec.discovery.patroni.basicAuth would send the password in the clear: write https:// in each of urls")
]))]
pub struct PatroniDiscovery {
    /// Base URLs of members to start from, such as `http://10.0.1.5:8008`. Further members are discovered from their
    /// answers and followed as they change; list at least one of each data centre, so that no single one must be up.
    #[schemars(length(min = 1, max = 32), inner(length(max = 300)))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.all(u, u.matches('^https?://([A-Za-z0-9._-]+|[[][0-9a-fA-F:.]+[]])(:[0-9]{1,5})?/?$'))", "spec.discovery.patroni.urls: write base URLs without a path, such as http://10.0.1.5:8008 or https://pg1.example.com:8008")
    ]))]
    pub urls: Vec<String>,

    /// Time allowed for one answer.
    #[serde(default = "default_timeout")]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('100ms') && duration(self) <= duration('10s')", "spec.discovery.patroni.timeout: write a time between 100ms and 10s")
    ]))]
    pub timeout: Span,

    /// Pause between two looks at one member.
    #[serde(default = "default_interval")]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('200ms') && duration(self) <= duration('1m')", "spec.discovery.patroni.interval: write a time between 200ms and 1m")
    ]))]
    pub interval: Span,

    /// Whom to believe and what to show over `https://`. Without it the root certificates of the controller's image are
    /// believed, and no certificate is shown. With it, or with `basicAuth`, members are asked over `https://` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsRules>,

    /// A user and a password, for a proxy in front of the members that asks for them. (Patroni itself asks for them only
    /// where something is changed.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<SecretReference>,
}

/// Whom to believe and what to show over TLS.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.secretName) || has(self.serverName)", "spec.discovery.patroni.tls: write a secretName, a serverName or both, or leave tls out")
]))]
pub struct TlsRules {
    /// Name of a Secret in switchover's own namespace: `ca.crt` (PEM, the authorities to trust instead of the root
    /// certificates of the controller's image), `tls.crt` and `tls.key` (PEM, a client certificate and its key; both or
    /// neither). Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: Option<String>,

    /// The DNS name that every member's certificate must carry, instead of the host of its URL: for members that are
    /// reached by addresses which their certificates don't name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?([.][A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*$")
    )]
    pub server_name: Option<String>,
}

/// A Secret with a login.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of a Secret in switchover's own namespace, with `username` and `password` as in the type
    /// `kubernetes.io/basic-auth`. Read again when it changes.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub secret_name: String,
}

/// When a node counts as closely, intermediate or far, from its median round-trip time to the primary.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.closelyBelow) || !has(self.farAbove) || duration(self.closelyBelow) <= duration(self.farAbove)", "spec.tiers: closelyBelow must not be greater than farAbove: write for example closelyBelow: 2ms, farAbove: 10ms"),
    rule("duration(self.margin) < duration(self.window)", "spec.tiers: margin must be smaller than window: write for example window: 2ms, margin: 200us")
]))]
pub struct TierRules {
    /// Nodes within this much of the nearest node are closely; nodes within this much of the farthest are far.
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) > duration('0s') && duration(self) <= duration('10s')", "spec.tiers.window: write a time above 0s and up to 10s, such as 2ms")
    ]))]
    pub window: Span,

    /// Absolute bound that overrides the window: nodes below it are closely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closely_below: Option<Span>,

    /// Absolute bound that overrides the window: nodes at or above it are far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub far_above: Option<Span>,

    /// A node changes its tier only when its reading lies this far beyond the boundary, unless the primary changed.
    pub margin: Span,

    /// Number of evaluations in a row that must agree before a node changes its tier, unless the primary changed.
    #[schemars(range(min = 1, max = 100))]
    pub confirmations: u32,

    /// A reading older than this no longer counts; the node then keeps its label.
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('10s') && duration(self) <= duration('24h')", "spec.tiers.staleAfter: write a time between 10s and 24h")
    ]))]
    pub stale_after: Span,
}

impl Default for TierRules {
    fn default() -> Self {
        Self {
            window: Span::from_millis(2),
            closely_below: None,
            far_above: None,
            margin: Span(std::time::Duration::from_micros(200)),
            confirmations: 3,
            stale_after: Span::from_secs(180),
        }
    }
}

/// What is injected into pods that don't say otherwise.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AffinityDefaults {
    /// `preferred`: two weighted terms. `avoid-far`: far nodes are excluded. `required`: closely nodes only; read
    /// docs/affinity.md first, because a kubelet that restarts ends running pods that no longer match.
    pub mode: crate::core::follow::AffinityMode,

    /// Weight of the closely term; the intermediate term weighs half.
    #[schemars(range(min = 1, max = 100))]
    pub weight: u8,
}

impl Default for AffinityDefaults {
    fn default() -> Self {
        Self { mode: crate::core::follow::AffinityMode::Preferred, weight: 100 }
    }
}

/// How pods are moved after the primary has moved.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.settleMax) || duration(self.settle) <= duration(self.settleMax)", "spec.movement: settle must not be greater than settleMax: write for example settle: 30s, settleMax: 5m")
]))]
pub struct MovementRules {
    /// For pods that don't say otherwise: `evict` (the Eviction API, budgets respected), `restart` (a rolling restart
    /// of the workload: new pods before old ones go) or `never`.
    pub mode: crate::core::follow::MoveMode,

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

    /// Number of pods that may be on the move at the same time, over all workloads.
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent: u32,

    /// Also move pods off intermediate nodes.
    pub include_intermediate: bool,

    /// A replacement that isn't Ready for this long counts as failed.
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('5s') && duration(self) <= duration('24h')", "spec.movement.replacementTimeout: write a time between 5s and 24h")
    ]))]
    pub replacement_timeout: Span,

    /// Movement halts while this many replacements have failed.
    #[schemars(range(min = 1, max = 1000))]
    pub halt_after_failures: u32,

    /// A workload whose pods were moved this often without reaching a better tier is left alone until the primary
    /// moves again.
    #[schemars(range(min = 1, max = 100))]
    pub max_useless_moves: u32,
}

impl Default for MovementRules {
    fn default() -> Self {
        Self {
            mode: crate::core::follow::MoveMode::Evict,
            settle: Span::from_secs(30),
            settle_window: Span::from_secs(600),
            settle_max: None,
            max_concurrent: 5,
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
    pub fn settle_rules(&self) -> crate::core::settle::Rules {
        let max = self.settle_max.map(|max| max.0);
        crate::core::settle::Rules { settle: self.settle.0, window: self.settle_window.0, max }
    }
}

/// What switchover knows. Written by the controller's leader only.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseClusterStatus {
    /// `metadata.generation` of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Name of the last confirmed primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,

    /// Database host of the last confirmed primary, as agents measure it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_host: Option<String>,

    /// PostgreSQL timeline of the last confirmed primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<u64>,

    /// Highest timeline ever confirmed for `systemIdentifier`. A lower one is never believed again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest_timeline: Option<u64>,

    /// PostgreSQL's `database_system_identifier`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,

    /// Members that claimed to be primary in a split brain that isn't settled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub contested: Vec<ClaimantStatus>,

    /// Claims to be primary that a person decided against. A new timeline is a new claim.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub dismissed: Vec<ClaimantStatus>,

    /// The last decision of a person on who is primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionStatus>,

    /// Counts the changes of primary that switchover confirmed.
    pub epoch: u64,

    /// Since when the primary is the primary.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "optional_date_time")]
    pub since: Option<Timestamp>,

    /// In one sentence: what is believed, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// Members of the database, as discovered. Agents measure the distance to every one of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub members: Vec<MemberStatus>,

    /// Number of nodes in each tier.
    pub tiers: TierCounts,

    /// Keys that nodes were labelled with, or are about to be: what must be removed from them one day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub node_labels: Vec<String>,

    /// Readings of nodes that are not believed, each with its reason. The first 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub ignored: Vec<IgnoredStatus>,

    /// Number of nodes whose reading is not believed, listed or not.
    pub ignored_total: u32,

    /// PrimaryKnown, SplitBrain, Frozen, Moving, Accepted, CredentialsCurrent, WitnessSeen, EvictsByTaint.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,

    /// Pods that stay where they are although their node is far, each with its reason. The first 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub held: Vec<HeldStatus>,

    /// Number of pods that are held, listed or not.
    pub held_total: u32,

    /// Pods that are on the move now. Written before a pod is touched, so that the next leader knows of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000))]
    pub moving: Vec<MovingStatus>,

    /// Workloads that were moved without reaching a better tier, in this epoch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub useless: Vec<UselessStatus>,

    /// The last changes of primary, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub failovers: Vec<FailoverStatus>,
}

/// One member of the database.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    pub name: String,
    /// Database host, measured by the agents.
    pub host: String,
    /// Database port.
    pub port: u16,
    /// Base URL of the member's REST API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_url: Option<String>,
}

/// One member that claims to be primary.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimantStatus {
    pub name: String,
    pub timeline: u64,
}

/// A person's decision on who is primary, as it was taken.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStatus {
    /// The member that was named.
    pub member: String,
    /// Who named it, as the API server knew them when they did.
    pub by: String,
    /// When they did.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// When the member was confirmed.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_at: Option<Timestamp>,
    /// The epoch that it led to.
    pub epoch: u64,
}

/// Number of nodes in each tier.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TierCounts {
    pub closely: u32,
    pub intermediate: u32,
    pub far: u32,
    /// Nodes that were never measured.
    pub unknown: u32,
}

/// One node whose reading is not believed.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IgnoredStatus {
    pub node: String,
    /// In one CamelCase word.
    pub reason: String,
    /// In one sentence, with the readings at which it began.
    pub message: String,
    /// When it began.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// One pod that stays on a far node.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldStatus {
    /// `namespace/pod`.
    pub pod: String,
    pub node: String,
    /// In one CamelCase word.
    pub reason: String,
    /// In one sentence.
    pub message: String,
}

/// One pod on the move.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MovingStatus {
    /// `namespace/pod`.
    pub pod: String,
    pub uid: String,
    /// The node that it leaves.
    pub from: String,
    /// The tier of that node.
    pub from_tier: String,
    /// `Evict` or `Restart`.
    pub action: String,
    pub workload: WorkloadStatus,
    /// Number of pods that this moves.
    pub pods: u32,
    #[schemars(schema_with = "optional_date_time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
}

/// A workload, named as people do.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// A workload that was moved in vain.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UselessStatus {
    pub workload: WorkloadStatus,
    pub moves: u32,
}

/// One change of primary and what followed from it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverStatus {
    pub epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub to: String,
    pub timeline: u64,
    /// When switchover confirmed the new primary.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// When the label of every node was right.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labelled_at: Option<Timestamp>,
    /// When the last replacement was Ready and nothing was left to move.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_at: Option<Timestamp>,
    /// Number of pods that were moved.
    pub moved: u32,
    /// Number of pods that were held when the movement ended.
    pub held: u32,
    /// Median over the followers' nodes of the round-trip time to the new primary, before the first move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_before_us: Option<u64>,
    /// The same after the last move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_after_us: Option<u64>,
}

impl DatabaseCluster {
    /// The key of the node label and taint.
    #[must_use]
    pub fn node_label(&self) -> String {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        self.spec.node_label.clone().unwrap_or_else(|| keys::default_node_label(name))
    }
}

/// One CEL rule of the schema, with the sentence that a person reads when it refuses.
pub(super) fn rule(expression: &str, message: &str) -> serde_json::Value {
    serde_json::json!({ "rule": expression, "message": message })
}

pub(super) const fn default_timeout() -> Span {
    Span::from_millis(1500)
}

pub(super) const fn default_interval() -> Span {
    Span::from_secs(1)
}

fn optional_date_time(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "format": "date-time", "nullable": true })
}
