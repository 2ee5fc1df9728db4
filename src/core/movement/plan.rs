//! What to move now, and why the rest stays.

mod asked;
mod away;
mod begun;
mod movable;
mod order;
mod room;
mod safe;
mod sums;

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;

use self::{
    away::{Away, Takes},
    order::Candidate,
    room::{Wanted, offer},
};
pub(super) use self::{
    room::reserve,
    safe::{at_rest, complete, replaceable},
};
pub use self::{
    safe::still_safe,
    sums::{Mover, Sums, sums},
};
use super::{
    breaker::Breaker,
    control::Control,
    fit::{Misfit, Ranked, Refusals, Room},
    held::{Gate, HeldReason},
    journal::{Journal, Spends, Youngest},
    ledger::Others,
    limits::Taken,
    restart::MissedRestarts,
    ways::Way,
    workloads::{Keys, WorkloadKey, Workloads},
};
use crate::core::{
    distance::tier::{NodeTier, Tier, TierMap},
    follow::MoveMode,
    hash::HashMap,
    moment::Moment,
    workload::{Node, Phase, Pod, Snapshot},
};

/// A pod that follows the database.
#[derive(Debug, Clone)]
pub struct Follower<'a> {
    pub pod: &'a Pod,
    /// What would replace it ([`replacement`](super::replacement::replacement)); its UID is the pod's.
    pub replacement: &'a Pod,
    /// How far the node is that the pod is on, among [`Input::tiers`].
    pub at: Option<&'a NodeTier>,
    pub mode: MoveMode,
    /// Why admission leaves every pod of its namespace alone, if it does.
    pub left_alone: Option<String>,
    /// The tiers of the other databases that it follows too: it isn't moved farther from any of them.
    pub others: Vec<&'a TierMap>,
}

impl<'a> Follower<'a> {
    /// One that follows this database alone, and that one like it replaces.
    #[must_use]
    pub fn of(pod: &'a Pod, mode: MoveMode, tiers: &'a TierMap) -> Self {
        let at = pod.node.as_deref().and_then(|node| tiers.nodes.get(node));
        Self { pod, replacement: pod, at, mode, left_alone: None, others: Vec::new() }
    }
}

/// The bounds of the movement (`spec.movement`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A node's tier must have held for as long, where readings changed it.
    pub settle: std::time::Duration,
    pub max_concurrent: u32,
    /// Of one workload, where people say so.
    pub per_workload: Option<u32>,
    pub include_intermediate: bool,
    pub replacement_timeout: std::time::Duration,
    pub halt_after_failures: u32,
    pub max_useless_moves: u32,
    /// Failed moves among them ([`MOST_UNDERWAY`](super::journal::MOST_UNDERWAY)).
    pub most_underway: usize,
    /// In thought, where only places are asked for: nobody of a workload needs to go on serving.
    pub all_together: bool,
}

/// Everything that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub snapshot: Snapshot<'a>,
    /// Those of the followers and of moves under way, where they were counted already.
    pub workloads: Option<&'a Workloads<'a>>,
    pub tiers: &'a TierMap,
    /// The key of the nodes' label: the scheduler goes by that, whatever the tiers are.
    pub node_label: &'a str,
    pub followers: &'a [Follower<'a>],
    pub rules: Rules,
    /// Why nothing may move, if so.
    pub gate: Option<&'a Gate>,
    pub control: Control<'a>,
    /// Where nothing may move because replacements fail there.
    pub breaker: &'a Breaker,
    pub journal: &'a Journal,
    /// What other databases have on the move.
    pub others: &'a Others,
    /// How many pods may be on the move, over all databases.
    pub window: u32,
    /// Pods and workloads (by UID) that must wait for a while, and why.
    pub backoff: &'a BTreeMap<String, HeldReason>,
    /// What the marks of workloads begin with that were restarted in this epoch ([`series`](super::restart::series)).
    pub restart_series: &'a str,
    /// Restarts that admission missed.
    pub missed: &'a MissedRestarts,
    pub now: Moment,
}

/// One pod to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub way: Way,
    pub workload: WorkloadKey,
    pub namespace: String,
    pub pod: String,
    /// Precondition: no other pod of the same name is touched.
    pub uid: String,
    pub from: String,
    pub from_tier: Tier,
    /// A closely node that takes the replacement. The scheduler decides; this proves that there is room.
    pub to: String,
    pub from_rtt_us: Option<u64>,
    pub to_rtt_us: Option<u64>,
    /// Number of pods that this moves.
    pub pods: u32,
    /// Of a restart: which one for this primary it is, from 1 on.
    pub time: u32,
    /// What an eviction takes of its disruption budget.
    pub spends: Option<Spends>,
    /// It isn't Ready where it is.
    pub unready: bool,
    /// UIDs of the pods that its workload has, and the youngest of them.
    pub beside: (Arc<BTreeSet<String>>, Youngest),
}

/// One pod that stays, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    pub node: String,
    pub reason: HeldReason,
}

impl Held {
    /// Whoever would be moved stays.
    #[must_use]
    pub fn of(move_: Move, reason: HeldReason) -> Self {
        let Move { namespace, pod, uid, from: node, .. } = move_;
        Self { namespace, pod, uid, node, reason }
    }
}

/// What to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub moves: Vec<Move>,
    pub held: Vec<Held>,
}

/// Plans what is moved now. The result does not depend on the order of `followers`.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let Some((mut planner, candidates)) = Planner::of(input) else { return Plan::default() };
    let mut plan = Plan::default();
    for candidate in &candidates {
        match planner.consider(candidate, &candidates) {
            Ok(move_) => plan.moves.push(move_),
            Err(reason) => plan.held.push(candidate.stays(reason)),
        }
    }
    plan
}

/// The round-trip time of a node, in microseconds, if its tier is beyond doubt: it has a fresh reading, and the tier has held.
///
/// # Errors
/// Why pods are not moved by that tier.
pub(super) fn certain(tiers: &TierMap, node: &str, rules: Rules, now: Moment) -> Result<u64, HeldReason> {
    sure(tiers.nodes.get(node).ok_or(HeldReason::NotMeasured)?, rules, now)
}

/// The same of a node's tier.
fn sure(tier: &NodeTier, rules: Rules, now: Moment) -> Result<u64, HeldReason> {
    let rtt_us = tier.rtt_us.ok_or(HeldReason::NotMeasured)?;
    if tier.settled(rules.settle, now.instant) { Ok(rtt_us) } else { Err(HeldReason::TierSettling(rules.settle)) }
}

/// The node of a follower that sits where it should not, and how far that is.
fn misplaced<'a>(input: &Input<'_>, follower: &Follower<'a>) -> Option<(&'a str, &'a NodeTier)> {
    // Thousands are near, and nothing else of them is looked at.
    let at = follower.at?;
    let bad = at.tier == Tier::Far || at.tier == Tier::Intermediate && input.rules.include_intermediate;
    let pod = if bad { follower.pod } else { return None };
    if pod.belongs_to_its_node() || pod.terminating || pod.phase != Phase::Running {
        return None;
    }
    Some((pod.node.as_deref()?, at))
}

/// How many more moves may begin.
#[derive(Debug, Clone, Copy)]
struct Slots {
    /// Of this database.
    own: usize,
    /// Of all databases together.
    all: usize,
}

impl Slots {
    fn of(input: &Input<'_>) -> Self {
        let Input { rules, journal, others, .. } = input;
        let under_way = journal.in_time(rules.replacement_timeout, input.now);
        let own = (rules.max_concurrent as usize).saturating_sub(under_way);
        let most = rules.most_underway.saturating_sub(journal.underway.len());
        Self { own: own.min(most), all: (input.window as usize).saturating_sub(under_way + others.in_time()) }
    }
}

/// Closely nodes, in the order of their names.
fn targets<'a>(input: &Input<'a>) -> Vec<&'a Node> {
    let mut nodes: Vec<&Node> =
        input.snapshot.nodes().filter(|node| input.tiers.tier(&node.name) == Tier::Closely).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

struct Planner<'a> {
    input: &'a Input<'a>,
    workloads: Cow<'a, Workloads<'a>>,
    room: Room<'a>,
    targets: Ranked<'a>,
    /// What each of them is to anybody.
    offers: HashMap<*const Node, Result<u64, Misfit>>,
    /// Of those that are something to anybody, sorted.
    distances: Vec<u64>,
    refusals: Refusals<'a, Wanted>,
    /// When the youngest follower was made that admission injected, anywhere and by namespace.
    injected: OnceCell<(Option<Timestamp>, HashMap<&'a str, Timestamp>)>,
    /// Of the followers, by the UID of the pod that is replaced.
    replacements: OnceCell<HashMap<&'a str, &'a Pod>>,
    away: Away<'a>,
    /// Whether the nodes of those who are moved are Ready.
    live: HashMap<*const NodeTier, bool>,
    slots: Slots,
    taken: Taken,
    /// Of workloads, by UID: the UIDs of their pods, and the youngest.
    beside: HashMap<String, (Arc<BTreeSet<String>>, Youngest)>,
}

impl<'a> Planner<'a> {
    /// With everybody who sits where he should not, in the order in which they are looked at. `None`: nobody does.
    fn of(input: &'a Input<'a>) -> Option<(Self, Vec<Candidate<'a, 'a>>)> {
        if input.followers.is_empty() {
            return None;
        }
        let mut keys = Keys::default();
        let mut candidates: Vec<Candidate<'a, 'a>> = input
            .followers
            .iter()
            .filter_map(|follower| {
                let (node, at) = misplaced(input, follower)?;
                Some(Candidate { key: keys.of(input.snapshot, follower.pod), follower, node, at, turn: 0 })
            })
            .collect();
        if candidates.is_empty() {
            return None;
        }
        let underway = || input.journal.underway.iter().chain(&input.others.underway);
        let workloads = input.workloads.map_or_else(
            || {
                let moving = underway().map(|move_| &*move_.workload.uid);
                let away = candidates.iter().filter_map(|it| Some(&*it.key.as_ref()?.uid));
                Cow::Owned(Workloads::named(input.snapshot, away.chain(moving)))
            },
            Cow::Borrowed,
        );
        order::sort(&mut candidates, input, &workloads);
        let mut room = Room::of(input.snapshot);
        reserve(&mut room, underway(), &workloads, input.snapshot);
        let targets = targets(input);
        let offers: HashMap<_, _> = targets.iter().map(|node| (&raw const **node, offer(input, node))).collect();
        let mut distances: Vec<u64> = offers.values().filter_map(|offer| offer.as_ref().ok().copied()).collect();
        distances.sort_unstable();
        let planner = Self {
            input,
            room,
            workloads,
            offers,
            distances,
            refusals: Refusals::of(targets.clone()),
            injected: OnceCell::new(),
            replacements: OnceCell::new(),
            targets: Ranked::of(targets),
            away: Away::of(input.snapshot, underway(), input.rules.all_together),
            live: HashMap::default(),
            slots: Slots::of(input),
            taken: Taken::by(underway(), input.control.limits),
            beside: HashMap::default(),
        };
        Some((planner, candidates))
    }

    fn consider(
        &mut self,
        candidate: &Candidate<'_, 'a>,
        candidates: &[Candidate<'_, '_>],
    ) -> Result<Move, HeldReason> {
        let Candidate { follower, node, at, .. } = candidate;
        let pod = follower.pod;
        let (key, way) = self.wanted(candidate)?;
        let from = self.certain_of(candidate)?;
        let (restarts, takes) = self.released((key, way), pod)?;
        // Before its target, which is costly to find: thousands may be waiting.
        self.slot()?;
        self.taken.allow(&pod.namespace)?;
        let target = match way {
            Way::Evict => {
                let target = self.target(follower, from)?;
                self.room.place(follower.replacement, &target.name);
                target
            }
            Way::Restart => self.add_all(&self.restarted(key, follower), from)?,
        };
        let pods = match way {
            Way::Evict => 1,
            Way::Restart => candidates.iter().filter(|other| other.key.as_deref() == Some(key)).count(),
        };
        let move_ = Move {
            way,
            workload: key.clone(),
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            from: (*node).to_owned(),
            from_tier: at.tier,
            to: target.name.clone(),
            from_rtt_us: at.rtt_us,
            to_rtt_us: self.input.tiers.rtt_us(&target.name),
            pods: u32::try_from(pods).unwrap_or(u32::MAX),
            time: restarts + 1,
            spends: takes.spends.clone(),
            unready: !pod.serves(),
            beside: self.beside(key),
        };
        self.take(&move_, &takes);
        Ok(move_)
    }

    /// Takes what a move takes from those who are considered after it.
    fn take(&mut self, move_: &Move, takes: &Takes) {
        self.slots.own -= 1;
        self.slots.all -= 1;
        self.taken.take(&move_.namespace);
        self.away.plan(move_, takes);
    }

    fn slot(&self) -> Result<(), HeldReason> {
        let Slots { own, all } = self.slots;
        if own > 0 && all > 0 {
            return Ok(());
        }
        Err(HeldReason::Concurrency { limit: self.input.rules.max_concurrent, growing: own > 0 })
    }

    fn beside(&mut self, key: &WorkloadKey) -> (Arc<BTreeSet<String>>, Youngest) {
        let pods = self.workloads.get(key).map(|it| &*it.pods).unwrap_or_default();
        let all = || (Arc::new(pods.iter().map(|pod| pod.uid.clone()).collect()), Youngest::of(pods));
        self.beside.entry(key.uid.clone()).or_insert_with(all).clone()
    }
}

#[cfg(test)]
mod tests;
