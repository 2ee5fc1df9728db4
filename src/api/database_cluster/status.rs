//! `status`: what switchover knows, and does.

mod failover;
mod look_up;
mod texts;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};

use crate::core::follow::AffinityMode;

pub use failover::{FailoverStatus, FailoverWorkloadStatus};

/// What switchover knows. Written by the controller's leader only.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseClusterStatus {
    /// `metadata.generation` of the spec that this status is about. -1: no controller has looked at it yet.
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

    /// Modes of affinity beyond `preferred` that leave some node to a pod that has no rules of its own and tolerates no taint: for admission
    /// policies, which know no nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 2))]
    pub hard_modes: Vec<AffinityMode>,

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

    /// Ready, Reconciling, Stalled, PrimaryKnown, SplitBrain, Frozen, Moving, Accepted, LabelsAccepted, CredentialsCurrent, WitnessSeen, HostsAccepted, EvictsByTaint,
    /// ReadyForFailover, SwitchoverAnnounced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,

    /// What would come of it if one of the other members became the primary now. Found out once a minute at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub readiness: Vec<ReadinessStatus>,

    /// The switchover that the database announces. It stays until it came, or until five minutes after its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announced: Option<AnnouncedStatus>,

    /// Pods that stay where they are although their node is far, each with its reason. The first 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub held: Vec<HeldStatus>,

    /// Number of pods that are held, listed or not.
    pub held_total: u32,

    /// The same by workload: how many of its pods stay, and why. What doesn't pass by itself comes first, then whom it concerns most. The
    /// first 50.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub held_workloads: Vec<HeldWorkloadStatus>,

    /// Number of workloads and reasons that there are, listed or not.
    pub held_workloads_total: u32,

    /// Pods that are on the move now, each as a JSON text. Written before a pod is touched, so that the next leader knows of it.
    #[serde(with = "texts", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "texts::schema::<1000>")]
    pub moving: Vec<MovingStatus>,

    /// Workloads that were moved without reaching a better tier, in this epoch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub useless: Vec<UselessStatus>,

    /// Workloads whose replacements admission missed, in this epoch.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub missed: Vec<MissedStatus>,

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

/// What would come of it if one member became the primary.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessStatus {
    pub member: String,
    /// `Ready`, `Unclear`, `Blocked` or `NoPlace`: the worst that would happen to anybody.
    pub reason: String,
    /// In one sentence.
    pub message: String,
    /// Pods that follow the database.
    pub followers: u32,
    /// Of these, those that would be moved.
    pub would_move: u32,
    /// Those that would find no place.
    pub would_not_fit: u32,
    /// Those that can't be moved as they are.
    pub blocked: u32,
    /// What would have to be added near the member, by resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub missing: BTreeMap<String, String>,
    /// How long the movement would take, in seconds.
    pub seconds: u32,
}

/// A switchover to come.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedStatus {
    /// When it is to begin.
    #[schemars(schema_with = "date_time")]
    pub at: Timestamp,
    /// The primary until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub from: Option<String>,
    /// The primary after it. Without it: any other member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub to: Option<String>,
    /// Who announces it: `Patroni` or `CloudNativePG`.
    #[schemars(length(max = 64))]
    pub by: String,
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

/// Pods of one workload that stay for one reason.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldWorkloadStatus {
    /// `Pod` if it has none.
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// In one CamelCase word.
    pub reason: String,
    /// In one sentence.
    pub message: String,
    /// Number of these pods.
    pub pods: u32,
    /// It passes by itself as the movement goes on, and is still waited for.
    pub passes: bool,
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
    /// A node that takes its replacement.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub to: String,
    /// When the youngest pod was created that the workload had by then: its replacement
    /// is younger, or one more of the same second.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Timestamp>,
    /// Number of other pods that were created in that same second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_pods: Option<u32>,
    /// Of the primary that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Its replacement was not Ready in time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub failed: bool,
    /// The pod was not Ready where it was.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unready: bool,
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

/// A workload whose replacements were created without affinity.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissedStatus {
    pub workload: WorkloadStatus,
    pub times: u32,
    /// When the last one of them was created.
    #[schemars(schema_with = "date_time")]
    pub last: Timestamp,
}

fn optional_date_time(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "format": "date-time", "nullable": true })
}

fn date_time(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "format": "date-time" })
}

/// What a status tells by conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantNames)]
pub enum ConditionType {
    /// The spec is followed.
    Accepted,
    /// Exactly one member is confirmed as primary.
    PrimaryKnown,
    /// More than one member may be the primary.
    SplitBrain,
    /// The database says that now is not the time to move anything.
    Frozen,
    /// Moves are under way.
    Moving,
    /// No node's label or taint is refused, whether that holds the movement or not.
    LabelsAccepted,
    /// The Secrets with credentials are in use as they are. Of databases that name some.
    CredentialsCurrent,
    /// The witness tells what it hears. Of databases that have one.
    WitnessSeen,
    /// Every address that members state is asked and measured, and some node reaches it. Of databases of which that isn't so.
    HostsAccepted,
    /// Far nodes bear a taint that evicts. Of databases that ask for it.
    EvictsByTaint,
    /// Whichever member becomes the primary, every follower finds its place. Of databases that have other members.
    ReadyForFailover,
    /// The database announces a switchover. Of databases that have announced one.
    SwitchoverAnnounced,
    /// What the others come to: pods follow the primary.
    Ready,
    /// Something goes on, or is waited for, that passes by itself. Only while that is so.
    Reconciling,
    /// Nothing goes on until a person does something. Only while that is so.
    Stalled,
}

impl ConditionType {
    /// Every [`ConditionType::name`].
    pub const NAMES: &'static [&'static str] = Self::VARIANTS;

    /// As it stands in the status.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}
