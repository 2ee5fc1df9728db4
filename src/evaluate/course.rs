//! How the movement after one change of primary went: what its row of the history tells. It follows from one evaluation after the
//! other, and from the row that the last leader left.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::{
    api::database_cluster::FailoverStatus,
    core::{
        moment::Moment,
        movement::{
            journal::{End, Outcome},
            plan::Plan,
        },
    },
};

/// What came of one change of primary so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Course {
    /// When the first move began, and the last one.
    pub first_move: Option<Timestamp>,
    pub last_move: Option<Timestamp>,
    /// Moves that brought a pod no nearer.
    pub useless: u32,
    /// Evictions that a disruption budget refused.
    pub refused_by_budgets: u32,
    /// For how long followers have been on far nodes since then, all of them together.
    far: Duration,
    /// How many there were when this was last looked at, and when that was.
    last: Option<(u32, Instant)>,
}

impl Course {
    /// As the last leader left it. What happened between that one's last look and this one's first isn't known.
    #[must_use]
    pub fn restored(row: &FailoverStatus) -> Self {
        Self {
            first_move: row.first_move_at,
            last_move: row.last_move_at,
            useless: row.useless,
            refused_by_budgets: row.refused_by_budgets,
            far: Duration::from_secs(row.far_pod_seconds),
            last: None,
        }
    }

    /// Takes note of one evaluation: the pods that the plan speaks of are on far nodes from now on, until the next one.
    pub(super) fn note(&mut self, plan: &Plan, outcomes: &[Outcome], now: Moment) {
        if let Some((pods, at)) = self.last {
            self.far += now.instant.saturating_duration_since(at).saturating_mul(pods);
        }
        let pods = u32::try_from(plan.moves.len() + plan.held.len()).unwrap_or(u32::MAX);
        self.last = Some((pods, now.instant));
        if !plan.moves.is_empty() {
            self.first_move.get_or_insert(now.wall);
            self.last_move = Some(now.wall);
        }
        let useless = outcomes.iter().filter(|it| matches!(it.end, End::Useless { .. } | End::Reverted)).count();
        self.useless = self.useless.saturating_add(u32::try_from(useless).unwrap_or(u32::MAX));
    }

    /// Seconds that pods spent on far nodes since the primary changed, all of them together.
    #[must_use]
    pub const fn far_pod_seconds(&self) -> u64 {
        self.far.as_secs()
    }
}

#[cfg(test)]
mod tests;
