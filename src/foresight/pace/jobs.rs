//! What takes how long, and how many of it go at once: of each workload, what its budget and its own pods say.

use std::collections::HashSet;

use super::schedule::{HANDOVER_MS, Job};
use crate::{
    core::{
        hash::HashMap,
        movement::{
            plan::{Move, Mover},
            ways::Way,
            workloads::{WorkloadKey, Workloads},
        },
        workload::Strategy,
    },
    foresight::{Question, waves::Carried},
};

/// How long a replacement takes of a workload whose pods don't say: assumed.
const ASSUMED_S: u32 = 30;

/// A move, as far as its time goes.
#[derive(Debug, Clone, Copy)]
pub(in crate::foresight) struct Going<'g> {
    pub way: Way,
    pub workload: &'g WorkloadKey,
    /// The UID of the budget that it takes something of.
    pub budget: Option<&'g str>,
    pub pods: usize,
}

impl<'g> Going<'g> {
    pub(super) fn of(carried: &'g Carried) -> Self {
        let Move { way, workload, spends, .. } = &carried.move_;
        Self { way: *way, workload, budget: spends.as_ref().map(|it| &*it.budget), pods: carried.pods.len() }
    }

    /// Of one pod.
    pub(in crate::foresight) fn one(mover: &'g Mover) -> Self {
        Self { way: mover.way, workload: &mover.workload, budget: mover.budget.as_deref(), pods: 1 }
    }
}

/// How long replacements of workloads took, by the UID of the workload.
pub(super) struct Habits(HashMap<String, u32>);

impl Habits {
    /// The median over all pods of a workload that say it, moved or not.
    fn of<'k>(workloads: &Workloads<'_>, keys: impl IntoIterator<Item = &'k WorkloadKey>) -> Self {
        let median = |key: &WorkloadKey| {
            let pods = workloads.get(key)?;
            let mut took: Vec<u32> = pods.pods.iter().filter_map(|pod| pod.ready_after_s).collect();
            took.sort_unstable();
            Some((key.uid.clone(), *took.get(took.len() / 2)?))
        };
        Self(keys.into_iter().filter_map(median).collect())
    }

    /// In seconds, and whether it is known rather than assumed.
    pub(super) fn ready_s(&self, workload: &str) -> (u32, bool) {
        self.0.get(workload).map_or((ASSUMED_S, false), |took| (*took, true))
    }
}

/// Every move, and how many of each group go at once.
pub(super) struct Jobs {
    pub jobs: Vec<Job>,
    pub at_once: Vec<u32>,
    pub habits: Habits,
}

impl Jobs {
    pub(super) fn of(question: &Question<'_>, going: &[Going<'_>], workloads: &Workloads<'_>) -> Self {
        let snapshot = question.tables.snapshot();
        // Thousands of moves are of a few workloads, each of which has one key.
        let keys: HashMap<*const WorkloadKey, &WorkloadKey> =
            going.iter().map(|it| (std::ptr::from_ref(it.workload), it.workload)).collect();
        let keys: HashSet<&WorkloadKey> = keys.into_values().collect();
        let habits = Habits::of(workloads, keys);
        let most = question.object.spec.movement.per_workload;
        let (mut groups, mut namespaces): (HashMap<&str, usize>, HashMap<&str, usize>) = Default::default();
        let (mut jobs, mut at_once) = (Vec::with_capacity(going.len()), Vec::new());
        let mut known = HashMap::default();
        for Going { way, workload, budget, pods } in going {
            let alike = (std::ptr::from_ref(*workload), budget.map(str::as_ptr));
            let (group, namespace, ready_s) = *known.entry(alike).or_insert_with(|| {
                let next = groups.len();
                let group = *groups.entry(budget.unwrap_or(&workload.uid)).or_insert(next);
                if group == next {
                    let by_budget = budget.and_then(|uid| snapshot.budgets.get(uid)).map(|budget| budget.allowed);
                    let go = by_budget.map_or(most.unwrap_or(1), |allowed| allowed.min(most.unwrap_or(u32::MAX)));
                    let serving = workloads.get(workload).map_or(1, |it| it.serving + it.warming);
                    // Somebody goes on serving, where there is a second one.
                    at_once.push(go.min(serving.saturating_sub(1)).max(1));
                }
                let next = namespaces.len();
                let namespace = *namespaces.entry(&*workload.namespace).or_insert(next);
                (group, namespace, habits.ready_s(&workload.uid).0)
            });
            let rounds = match way {
                Way::Evict => 1,
                Way::Restart => {
                    let strategy = snapshot.workloads.get(&workload.uid).map(|it| it.strategy);
                    u64::try_from(*pods).unwrap_or(1).div_ceil(u64::from(together(strategy))).max(1)
                }
            };
            jobs.push(Job { group, namespace, takes_ms: rounds * (u64::from(ready_s) * 1_000 + HANDOVER_MS) });
        }
        Self { jobs, at_once, habits }
    }
}

/// How many pods of a workload its own controller replaces together.
fn together(strategy: Option<Strategy>) -> u32 {
    match strategy {
        Some(Strategy::Rolling { surge, unavailable }) => (surge + unavailable).max(1),
        Some(Strategy::Ordered { unavailable, .. }) => unavailable.max(1),
        _ => 1,
    }
}
