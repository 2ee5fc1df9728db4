//! Who stays and why, by workload: what the plan says of each pod, so that people can read it, and so that it doesn't waver between
//! two moves.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::Memory;
use crate::core::{
    hash::HashMap,
    movement::{
        held::HeldReason,
        journal::Outcome,
        plan::{Held, Plan},
        workloads::{WorkloadKey, workload_of},
    },
    workload::{Pod, Snapshot},
};

/// The pods of one workload that stay for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stays {
    /// Without one: the pod itself.
    pub workload: WorkloadKey,
    /// As the first of these pods is told, by name.
    pub reason: HeldReason,
    pub pods: u32,
    /// It passes by itself, but has lasted for so long that nobody waits for it any more ([`Waiting`](super::waiting::Waiting) says so).
    pub left_behind: bool,
}

impl Stays {
    /// Whether waiting is enough.
    #[must_use]
    pub const fn passes(&self) -> bool {
        self.reason.waits() && !self.left_behind
    }

    /// What doesn't pass by itself comes first, then who has the most pods.
    pub(super) const fn rank(&self) -> (bool, std::cmp::Reverse<u32>) {
        (self.passes(), std::cmp::Reverse(self.pods))
    }
}

/// For so long after a move a disruption budget may lag behind its pods.
const LAGS: Duration = Duration::from_secs(10);

/// Workloads that had a pod on the move a moment ago, by UID, and when.
pub(super) type Lately = BTreeMap<String, Instant>;

/// While the budget of a workload lags behind the move that has just ended, its other pods wait for it as they did during the move: their
/// reason doesn't alternate.
pub(super) fn steady(plan: &mut Plan, memory: &mut Memory, snapshot: Snapshot<'_>, now: Instant) {
    memory.lately.retain(|_, at| now.saturating_duration_since(*at) < LAGS);
    if memory.lately.is_empty() {
        return;
    }
    for held in &mut plan.held {
        let HeldReason::NoBudget(budget) = &held.reason else { continue };
        let workload = snapshot.pods.get(&held.uid).and_then(|pod| workload_of(snapshot, pod));
        if workload.is_some_and(|workload| memory.lately.contains_key(&workload.uid)) {
            held.reason = HeldReason::BudgetSpent(budget.clone());
        }
    }
}

/// Takes note of what is on the move, and of what has just ended.
pub(super) fn note_lately(memory: &mut Memory, outcomes: &[Outcome], now: Instant) {
    let moves = memory.journal.underway.iter().chain(outcomes.iter().map(|outcome| &outcome.underway));
    memory.lately.extend(moves.map(|underway| (underway.workload.uid.clone(), now)));
}

/// Whether the movement is between two moves: nothing is under way, but something was a moment ago, and others wait for their turn.
pub(super) fn between_moves(plan: &Plan, memory: &Memory) -> bool {
    !memory.lately.is_empty() && plan.held.iter().any(|held| held.reason.waits())
}

/// Every reason by workload, what doesn't pass by itself first, then by the number of pods, then by name.
pub(super) fn by_workload(plan: &Plan, snapshot: Snapshot<'_>) -> Vec<Stays> {
    let mut rows: HashMap<(&str, &'static str), (&Held, Option<&Pod>, u32)> = HashMap::default();
    for held in &plan.held {
        let pod = snapshot.pods.get(&held.uid).map(AsRef::as_ref);
        let owner = pod.and_then(|pod| pod.owner.as_ref()).map_or(&*held.uid, |owner| &*owner.uid);
        let row = rows.entry((owner, held.reason.name())).or_insert((held, pod, 0));
        row.2 += 1;
        if held.pod < row.0.pod {
            (row.0, row.1) = (held, pod);
        }
    }
    let itself = |held: &Held| WorkloadKey::of_pod(&held.namespace, &held.pod, &held.uid);
    let mut stays: BTreeMap<(WorkloadKey, &'static str), Stays> = BTreeMap::new();
    for (held, pod, pods) in rows.into_values() {
        // The pods of two ReplicaSets may be of one Deployment.
        let workload = pod.and_then(|pod| workload_of(snapshot, pod)).unwrap_or_else(|| itself(held));
        let row = stays.entry((workload.clone(), held.reason.name()));
        let row = row.or_insert_with(|| Stays { workload, reason: held.reason.clone(), pods: 0, left_behind: false });
        row.pods += pods;
    }
    let mut stays: Vec<Stays> = stays.into_values().collect();
    stays.sort_by_key(Stays::rank);
    stays
}

#[cfg(test)]
mod tests;
