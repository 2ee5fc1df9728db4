//! A plan in thought of which only the sums matter: who would be moved, not where to. Where it is certain that everybody finds a place,
//! wherever the others go, nobody's place has to be looked for; and what is the same for pods alike is asked once.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Candidate, Follower, Held, Input, Planner, Takes};
use crate::core::{
    distance::tier::Tier,
    follow::MoveMode,
    hash::{HashMap, HashSet},
    movement::{
        fit::{Crowd, Places},
        held::{Gate, HeldReason},
        ways::Way,
        workloads::WorkloadKey,
    },
    selector::{Labels, NodeTerm},
    shared::Shared,
    workload::{HostPort, Leaning, Node, Owner, Pod, PodTerm, PreferredNodes, Resources, Spread, Toleration, Wishes},
};

/// With more sorts of pods than that it is no quicker than a plan.
const MOST_SORTS: usize = 2_000;

/// What becomes of everybody who sits where he should not.
#[derive(Debug, Default)]
pub struct Sums {
    /// In the order in which they are moved: evictions, then restarts.
    pub moves: Vec<Mover>,
    pub held: Vec<Held>,
}

/// One move.
#[derive(Debug, Clone)]
pub struct Mover {
    pub way: Way,
    pub workload: Arc<WorkloadKey>,
    /// The UID of the disruption budget that it takes something of.
    pub budget: Option<Arc<str>>,
}

/// What becomes of everybody, if one wave moves all who are ever moved, and if that doesn't depend on where they go. `None`: only a plan, wave
/// after wave, can tell. It is asked in thought, where nothing is under way and no number of moves is too large.
#[must_use]
pub fn sums(input: &Input<'_>) -> Option<Sums> {
    debug_assert!(input.rules.all_together && input.gate.is_none() && input.journal.underway.is_empty());
    let Some((mut planner, candidates)) = Planner::of(input) else { return Some(Sums::default()) };
    let mut sorts = Sorts::default();
    let mut verdicts = Vec::with_capacity(candidates.len());
    for candidate in &candidates {
        let sort = sorts.of(candidate.follower)?;
        verdicts.push((sort, sorts.all[sort].ask(&mut planner, candidate)?));
    }
    let nowhere = planner.places(&sorts)?;
    let (mut sums, mut restarts, mut unready) = (Sums::default(), Vec::new(), HashSet::default());
    for (candidate, (sort, verdict)) in candidates.iter().zip(verdicts) {
        let verdict = match verdict {
            Ok(_) if nowhere[sort] => Err(planner.nowhere(candidate)?),
            verdict => verdict,
        };
        match verdict {
            Ok((way, budget)) => {
                let workload = Arc::clone(candidate.key.as_ref()?);
                // Of several that aren't Ready one goes at a time, and each needs a look of its own.
                if way == Way::Evict && !candidate.follower.pod.serves() && !unready.insert(Arc::as_ptr(&workload)) {
                    return None;
                }
                let moves = if way == Way::Evict { &mut sums.moves } else { &mut restarts };
                moves.push(Mover { way, workload, budget });
            }
            Err(reason) => sums.held.push(candidate.stays(reason)),
        }
    }
    let by_budget = |held: &Held| matches!(held.reason, HeldReason::NoBudget(_) | HeldReason::BudgetSpent(_));
    if !unready.is_empty() && sums.held.iter().any(by_budget) {
        // With one that is Ready again a budget may allow more.
        return None;
    }
    sums.moves.append(&mut restarts);
    Some(sums)
}

/// Whether others that move change nothing about it.
fn lasts(reason: &HeldReason) -> bool {
    use HeldReason::{
        BarePod, BudgetSpent, CannotRestart, DoNotEvict, Job, LocalData, Misread, NamespaceTerminating, Never,
        NoBudget, NodeNotReady, NotInjected, NotMeasured, NotReady, NotRolledOut, NotWhole, Pinned, Rollout,
        SeveralBudgets, SingleReplica, TierSettling, UnknownWorkload,
    };
    match reason {
        Never | NamespaceTerminating | BarePod | Job | Pinned(_) | NotInjected(_) | DoNotEvict(_) | LocalData(_)
        | Misread(_) => true,
        CannotRestart(_) | SingleReplica(_) | NotRolledOut | Rollout | UnknownWorkload(_) | NotWhole { .. } => true,
        NodeNotReady | NotMeasured | TierSettling(_) | NotReady => true,
        SeveralBudgets(_) | NoBudget(_) | BudgetSpent(_) => true,
        HeldReason::Gate(gate) => matches!(gate, Gate::PausedBy(_)),
        _ => false,
    }
}

/// What a pod is told: how it is moved, and what of a budget that takes.
type Verdict = Result<(Way, Option<Arc<str>>), HeldReason>;

/// Pods of which everything is the same that decides whether they are moved, and where they may go: but for their node.
#[derive(Default)]
struct Sorts<'a> {
    numbers: HashMap<Alike<'a>, usize>,
    /// The last sort of an owner, by where that is in memory: mostly all of its pods are of one.
    last: HashMap<*const Owner, usize>,
    all: Vec<Sort<'a>>,
}

struct Sort<'a> {
    first: &'a Follower<'a>,
    /// What holds for as long as they are what they are.
    wanted: Option<Result<Way, HeldReason>>,
    released: Option<Result<Option<Arc<str>>, HeldReason>>,
    /// How many of them look for a place, and how far the nearest of these is.
    pods: u64,
    from_us: u64,
}

impl<'a> Sorts<'a> {
    fn of(&mut self, follower: &'a Follower<'a>) -> Option<usize> {
        // Who follows several databases may be left behind by one of them.
        if !follower.others.is_empty() {
            return None;
        }
        let (alike, next) = (Alike::of(follower), self.all.len());
        let owner = follower.pod.owner.as_deref().map(std::ptr::from_ref);
        let last = owner.and_then(|owner| self.last.get(&owner)).copied();
        if let Some(last) = last.filter(|last| Alike::of(self.all[*last].first) == alike) {
            return Some(last);
        }
        let number = *self.numbers.entry(alike).or_insert(next);
        self.last.extend(owner.map(|owner| (owner, number)));
        if number == next {
            let (wanted, released) = (None, None);
            self.all.push(Sort { first: follower, wanted, released, pods: 0, from_us: u64::MAX });
        }
        (self.all.len() <= MOST_SORTS).then_some(number)
    }
}

impl<'a> Sort<'a> {
    /// As a plan would ask it. `None`: what is said may not last.
    fn ask(&mut self, planner: &mut Planner<'a>, candidate: &Candidate<'a, 'a>) -> Option<Verdict> {
        let pod = candidate.follower.pod;
        // What people ask of one pod, whether one has had its time, and whom one waits for is its own.
        let alone = pod.orders.is_some() || !pod.serves() || planner.input.backoff.contains_key(&pod.uid);
        let (wanted, released) = if alone { (None, None) } else { (self.wanted.take(), self.released.take()) };
        let wanted = wanted.unwrap_or_else(|| planner.wanted(candidate).map(|(_, way)| way));
        let mut of_it = None;
        let verdict = wanted.clone().and_then(|way| {
            let (_, from_us) = planner.certain_of(candidate)?;
            let budget = released.clone().unwrap_or_else(|| planner.taken_of(candidate, way));
            of_it = Some(budget.clone());
            budget.map(|budget| (way, from_us, budget))
        });
        if !alone {
            (self.wanted, self.released) = (Some(wanted), released.or(of_it));
        }
        match verdict {
            Ok((way, from_us, budget)) => {
                self.pods += 1;
                self.from_us = self.from_us.min(from_us);
                (way == Way::Evict || planner.is_single(candidate)).then_some(Ok((way, budget)))
            }
            Err(reason) => lasts(&reason).then_some(Err(reason)),
        }
    }
}

impl<'a> Planner<'a> {
    fn taken_of(&self, candidate: &Candidate<'a, 'a>, way: Way) -> Result<Option<Arc<str>>, HeldReason> {
        let key = candidate.key.as_deref().ok_or(HeldReason::BarePod)?;
        let (_, Takes { spends, .. }) = self.released((key, way), candidate.follower.pod)?;
        Ok(spends.map(|spends| Arc::from(spends.budget)))
    }

    /// Nobody else of its workload needs a place when that is restarted.
    fn is_single(&self, candidate: &Candidate<'a, 'a>) -> bool {
        let pods = candidate.key.as_deref().and_then(|key| self.workloads.get(key));
        pods.is_some_and(|it| it.pods.len() == 1)
    }

    /// Of each sort whether it finds no place at all. `None`: of some nobody can tell without a look for each pod.
    fn places(&self, sorts: &Sorts<'a>) -> Option<Vec<bool>> {
        let targets: Vec<&'a Node> = self.targets.nodes().to_vec();
        let labelled = |node: &&Node| node.labelled(self.input.node_label) == Tier::Closely;
        let labelled: Vec<&Node> = targets.iter().copied().filter(labelled).collect();
        let offer = |node: &'a Node| Some((*self.offers.get(&(&raw const *node))?.as_ref().ok()?, node));
        let mut offered: Vec<(u64, &Node)> = targets.into_iter().filter_map(offer).collect();
        offered.sort_by_key(|(rtt_us, _)| *rtt_us);
        let near: Vec<&Node> = offered.iter().map(|(_, node)| *node).collect();
        let crowd = |sort: &Sort<'a>| Crowd {
            pod: sort.first.replacement,
            pods: sort.pods,
            nearer: self.distances.partition_point(|rtt_us| *rtt_us < sort.from_us),
        };
        let crowds: Vec<Crowd<'_>> = sorts.all.iter().map(crowd).collect();
        let places = self.room.places(&crowds, &near, &labelled);
        let nobody = |places: &Places| match places {
            Places::ForAll => Some(false),
            Places::ForNobody => Some(true),
            Places::Unsure => None,
        };
        places.iter().map(nobody).collect()
    }

    /// Why a pod has no place near, that has none whoever else is there.
    fn nowhere(&self, candidate: &Candidate<'a, 'a>) -> Option<HeldReason> {
        let from_us = candidate.at.rtt_us?;
        self.target(candidate.follower, (candidate.node, from_us)).err()
    }
}

/// What of a follower decides whether it is moved and where it may go, but for its node.
#[derive(PartialEq, Eq)]
struct Alike<'a> {
    namespace: &'a str,
    owner: Option<&'a Shared<Owner>>,
    mode: MoveMode,
    left_alone: &'a Option<String>,
    labels: &'a Shared<Labels>,
    wishes: &'a Shared<Wishes>,
    /// What keeps it where it is, in words.
    marks: [&'a Option<String>; 5],
    new: New<'a>,
}

/// Of what replaces it.
#[derive(PartialEq, Eq)]
struct New<'a> {
    labels: &'a Shared<Labels>,
    requests: &'a Shared<Resources>,
    host_ports: &'a Shared<Vec<HostPort>>,
    tolerations: &'a Shared<Vec<Toleration>>,
    node_selector: &'a Shared<Labels>,
    node_terms: &'a Option<Shared<Vec<NodeTerm>>>,
    preferred_nodes: &'a Shared<Vec<PreferredNodes>>,
    spread: &'a Shared<Vec<Spread>>,
    anti_affinity: &'a Shared<Vec<PodTerm>>,
    affinity: &'a Shared<Vec<PodTerm>>,
    leanings: &'a Shared<Vec<Leaning>>,
    priority: i32,
    unforeseen: Option<&'static str>,
}

/// Replicas have most of it in the same place in memory, so that comparing costs little, and hashing all of it much.
impl Hash for Alike<'_> {
    fn hash<State: Hasher>(&self, state: &mut State) {
        (self.namespace, self.owner.map(|owner| &owner.uid), self.new.requests.cpu_m).hash(state);
    }
}

impl<'a> Alike<'a> {
    fn of(follower: &'a Follower<'a>) -> Self {
        let Follower { pod, replacement, at: _, mode, left_alone, others: _ } = follower;
        let Pod { namespace, owner, labels, wishes, .. } = pod;
        let marks = [&pod.not_injected, &pod.restarted_for, &pod.pinned_by, &pod.not_to_evict, &pod.scratch];
        let Pod { requests, host_ports, tolerations, node_selector, node_terms, preferred_nodes, .. } = replacement;
        let Pod { spread, anti_affinity, affinity, leanings, priority, unforeseen, .. } = replacement;
        let new = New {
            labels: &replacement.labels,
            requests,
            host_ports,
            tolerations,
            node_selector,
            node_terms,
            preferred_nodes,
            spread,
            anti_affinity,
            affinity,
            leanings,
            priority: *priority,
            unforeseen: *unforeseen,
        };
        Self { namespace, owner: owner.as_ref(), mode: *mode, left_alone, labels, wishes, marks, new }
    }
}
