//! What moving the pods after a change of primary was worth, as far as the facts allow.

use jiff::Timestamp;
use serde::{Serialize, Serializer, ser::Error as _};

use crate::api::{DatabaseClusterStatus, database_cluster::FailoverStatus};

/// How [`Worth`] is reckoned, wherever it is shown.
pub const RECKONED: &str = "\"With us\" is what was counted: seconds that followers spent on far nodes from the change of primary until \
    the movement was over, all of them together. \"Without us\" adds what each moved pod would have spent there had nobody moved it: from \
    the end of the movement, when all of them were near, until the next change of primary, or until now. It is a lower bound of what was \
    saved as long as nothing else would have moved those pods (a rollout, a drain). Pods that stayed are the same in both.";

/// One change of primary, as shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailoverReport {
    #[serde(flatten, serialize_with = "with_fields")]
    pub row: FailoverStatus,
    /// When the next change of primary was confirmed; `None` while this primary is the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The followers' median round-trip time to the primary before this one, after the pods had moved to that one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_earlier_us: Option<u64>,
    /// `None` while the movement isn't over, and where nothing was moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worth: Option<Worth>,
}

/// A row whose workloads have fields, and aren't texts as in the status.
fn with_fields<S: Serializer>(row: &FailoverStatus, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serde_json::to_value(row).map_err(S::Error::custom)?;
    if let Some(workloads) = fields.get_mut("workloads") {
        *workloads = serde_json::to_value(&row.workloads).map_err(S::Error::custom)?;
    }
    fields.serialize(serializer)
}

/// Time that pods spent far from the primary, and would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Worth {
    /// Seconds that followers spent on far nodes until the movement was over.
    pub far_pod_seconds: u64,
    /// The same, had nobody moved them, until `until`: at least so many.
    pub far_without_pod_seconds: u64,
    /// The next change of primary, or now.
    pub until: Timestamp,
}

impl Worth {
    /// Seconds that pods were near and wouldn't have been, all of them together: at least so many.
    #[must_use]
    pub const fn saved_pod_seconds(&self) -> u64 {
        self.far_without_pod_seconds.saturating_sub(self.far_pod_seconds)
    }
}

impl FailoverReport {
    /// Every change that the status remembers, newest first.
    #[must_use]
    pub fn all(status: &DatabaseClusterStatus, now: Timestamp) -> Vec<Self> {
        let rows = &status.failovers;
        let report = |(at, row): (usize, &FailoverStatus)| {
            let ended_at = at.checked_sub(1).and_then(|newer| rows[newer].confirmed_at);
            let earlier = rows.get(at + 1);
            Self {
                row: row.clone(),
                ended_at,
                rtt_earlier_us: earlier.and_then(|earlier| earlier.rtt_after_us),
                worth: worth(row, ended_at.unwrap_or(now)),
            }
        };
        rows.iter().enumerate().map(report).collect()
    }
}

fn worth(row: &FailoverStatus, until: Timestamp) -> Option<Worth> {
    let near_since = row.moved_at.filter(|_| row.moved > 0)?;
    // Clocks of two leaders may differ: never less than nothing.
    let near_s = u64::try_from(until.duration_since(near_since).as_secs()).unwrap_or(0);
    let saved = near_s.saturating_mul(u64::from(row.moved));
    Some(Worth {
        far_pod_seconds: row.far_pod_seconds,
        far_without_pod_seconds: row.far_pod_seconds.saturating_add(saved),
        until,
    })
}
