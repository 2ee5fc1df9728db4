//! The history: each change of primary, and what came of it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{optional_date_time, texts};

/// One change of primary and what followed from it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverStatus {
    pub epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub to: String,
    /// `Planned`: the former primary went on as a follower. `Crash`: it didn't answer any more, or wasn't in order. `Unknown`: it isn't
    /// listed any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    pub timeline: u64,
    /// When switchover confirmed the new primary.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<Timestamp>,
    /// When it was to come, if it came as announced: `settle` was not waited for.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub announced_for: Option<Timestamp>,
    /// When the label of every node was right, but for nodes whose label the API server refuses and that hold nothing.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labelled_at: Option<Timestamp>,
    /// When the first move began.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_move_at: Option<Timestamp>,
    /// When the last one began.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_move_at: Option<Timestamp>,
    /// When the last replacement was Ready and nothing was left to move. From then on the entry stays as it is.
    #[schemars(schema_with = "optional_date_time")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_at: Option<Timestamp>,
    /// Number of pods that were moved.
    pub moved: u32,
    /// Number of pods that were held when the movement ended.
    pub held: u32,
    /// The same by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 100))]
    pub held_by_reason: BTreeMap<String, u32>,
    /// Number of evictions that a disruption budget refused.
    pub refused_by_budgets: u32,
    /// Number of moves that brought a pod no nearer.
    pub useless: u32,
    /// Seconds that followers spent on far nodes until then, all of them together.
    pub far_pod_seconds: u64,
    /// Median over the followers' nodes of the round-trip time to the new primary, before the first move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_before_us: Option<u64>,
    /// The same after the last move.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_after_us: Option<u64>,
    /// What came of it for each workload, each as a JSON text: whose pods were far for the longest time, first. The first 20.
    #[serde(with = "texts", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "texts::schema::<20>")]
    pub workloads: Vec<FailoverWorkloadStatus>,
    /// Number of workloads that had pods on far nodes, listed or not.
    #[serde(skip_serializing_if = "is_none")]
    pub workloads_total: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
const fn is_none(number: &u32) -> bool {
    *number == 0
}

/// What came of one change of primary for one workload.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FailoverWorkloadStatus {
    /// `Pod` if it has none.
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// Number of its pods that were moved.
    pub moved: u32,
    /// Number of its pods that were held when this was last written.
    pub held: u32,
    /// Seconds that its pods spent on far nodes, all of them together.
    pub far_pod_seconds: u64,
    /// Round-trip time to the new primary from the farthest node that a pod of it was moved off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_before_us: Option<u64>,
    /// The same from the farthest node that a replacement became Ready on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_after_us: Option<u64>,
}
