//! How the movement after one change of primary went: what its row of the history tells. It follows from one evaluation after the
//! other, and from the row that the last leader left.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::stays::Stays;
use crate::{
    api::database_cluster::{FailoverStatus, FailoverWorkloadStatus},
    core::{
        distance::tier::TierMap,
        moment::Moment,
        movement::{
            journal::{End, Outcome},
            plan::Plan,
            workloads::WorkloadKey,
        },
    },
};

/// Workloads of which a row of the history tells.
const MOST_WORKLOADS: usize = 20;

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
    /// The same by workload.
    workloads: BTreeMap<WorkloadKey, OfWorkload>,
}

/// What came of it for one workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfWorkload {
    far: Duration,
    /// Its pods on far nodes when this was last looked at, and those of them that stay.
    pods: u32,
    held: u32,
    moved: u32,
    rtt_before_us: Option<u64>,
    rtt_after_us: Option<u64>,
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
            workloads: row.workloads.iter().map(restored).collect(),
        }
    }

    /// Takes note of one evaluation: the pods that the plan speaks of are on far nodes from now on, until the next one. `stays` are
    /// those of them that stay, by workload.
    pub(super) fn note(&mut self, plan: &Plan, stays: &[Stays], outcomes: &[Outcome], tiers: &TierMap, now: Moment) {
        if let Some((pods, at)) = self.last {
            let lasted = now.instant.saturating_duration_since(at);
            self.far += lasted.saturating_mul(pods);
            for of in self.workloads.values_mut() {
                of.far += lasted.saturating_mul(std::mem::take(&mut of.pods));
                of.held = 0;
            }
        }
        self.note_workloads(plan, stays, outcomes, tiers);
        let pods = u32::try_from(plan.moves.len() + plan.held.len()).unwrap_or(u32::MAX);
        self.last = Some((pods, now.instant));
        if !plan.moves.is_empty() {
            self.first_move.get_or_insert(now.wall);
            self.last_move = Some(now.wall);
        }
        let useless = outcomes.iter().filter(|it| matches!(it.end, End::Useless { .. } | End::Reverted)).count();
        self.useless = self.useless.saturating_add(u32::try_from(useless).unwrap_or(u32::MAX));
    }

    fn note_workloads(&mut self, plan: &Plan, stays: &[Stays], outcomes: &[Outcome], tiers: &TierMap) {
        for stay in stays {
            let of = self.workloads.entry(stay.workload.clone()).or_default();
            (of.pods, of.held) = (of.pods.saturating_add(stay.pods), of.held.saturating_add(stay.pods));
        }
        for move_ in &plan.moves {
            let of = self.workloads.entry(move_.workload.clone()).or_default();
            of.pods = of.pods.saturating_add(1);
            of.rtt_before_us = of.rtt_before_us.max(move_.from_rtt_us);
        }
        for outcome in outcomes {
            let End::Moved { to } = &outcome.end else { continue };
            let of = self.workloads.entry(outcome.underway.workload.clone()).or_default();
            of.moved = of.moved.saturating_add(outcome.underway.pods);
            of.rtt_after_us = of.rtt_after_us.max(tiers.rtt_us(to));
        }
    }

    /// What came of it by workload: the first of them, whose pods were far for the longest time first, and how many there are.
    #[must_use]
    pub fn workloads(&self) -> (Vec<FailoverWorkloadStatus>, u32) {
        let mut all: Vec<(&WorkloadKey, &OfWorkload)> = self.workloads.iter().collect();
        // The map is in the order of names, which goes on among equals.
        all.sort_by_key(|(_, of)| std::cmp::Reverse((of.far.as_secs(), of.moved, of.held)));
        let first = all.iter().take(MOST_WORKLOADS).map(|(key, of)| told(key, of)).collect();
        (first, u32::try_from(all.len()).unwrap_or(u32::MAX))
    }

    /// Seconds that pods spent on far nodes since the primary changed, all of them together.
    #[must_use]
    pub const fn far_pod_seconds(&self) -> u64 {
        self.far.as_secs()
    }
}

fn told(key: &WorkloadKey, of: &OfWorkload) -> FailoverWorkloadStatus {
    let WorkloadKey { kind, namespace, name, uid } = key.clone();
    FailoverWorkloadStatus {
        kind,
        namespace,
        name,
        uid,
        moved: of.moved,
        held: of.held,
        far_pod_seconds: of.far.as_secs(),
        rtt_before_us: of.rtt_before_us,
        rtt_after_us: of.rtt_after_us,
    }
}

/// As the last leader left it; of those that it had no room for nothing is known any more.
fn restored(row: &FailoverWorkloadStatus) -> (WorkloadKey, OfWorkload) {
    let FailoverWorkloadStatus { kind, namespace, name, uid, .. } = row.clone();
    let of = OfWorkload {
        far: Duration::from_secs(row.far_pod_seconds),
        pods: 0,
        held: row.held,
        moved: row.moved,
        rtt_before_us: row.rtt_before_us,
        rtt_after_us: row.rtt_after_us,
    };
    (WorkloadKey { namespace, kind, name, uid }, of)
}

#[cfg(test)]
mod tests;
