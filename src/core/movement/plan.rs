//! What to move now, and why the rest stays.

mod room;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use jiff::Timestamp;

use self::room::{Wanted, offer};
use super::{
    choice::choose,
    control::Control,
    fit::{Misfit, Refusals, Room},
    held::{Gate, HeldReason},
    journal::{Journal, Underway},
    limits::Taken,
    restart::{self, MissedRestarts},
    ways::Way,
    workloads::{WorkloadKey, WorkloadPods, Workloads},
};
use crate::core::{
    distance::tier::{NodeTier, Tier, TierMap},
    follow::MoveMode,
    moment::Moment,
    workload::{DisruptionBudget, Node, Phase, Pod, Snapshot},
};

/// A pod that follows the database.
#[derive(Debug, Clone)]
pub struct Follower<'a> {
    pub pod: &'a Pod,
    /// What would replace it ([`replacement`](super::replacement::replacement)); its UID is the pod's.
    pub replacement: &'a Pod,
    pub mode: MoveMode,
    /// Why admission leaves every pod of its namespace alone, if it does.
    pub left_alone: Option<String>,
    /// The tiers of the other databases that it follows too: it isn't moved farther from any of them.
    pub others: Vec<&'a TierMap>,
}

/// The bounds of the movement (`spec.movement`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// A node's tier must have held for as long, where readings changed it.
    pub settle: std::time::Duration,
    pub max_concurrent: u32,
    pub include_intermediate: bool,
    pub replacement_timeout: std::time::Duration,
    pub halt_after_failures: u32,
    pub max_useless_moves: u32,
}

/// Everything that a plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub snapshot: Snapshot<'a>,
    pub tiers: &'a TierMap,
    /// The key of the nodes' label: the scheduler goes by that, whatever the tiers are.
    pub node_label: &'a str,
    pub followers: &'a [Follower<'a>],
    pub rules: Rules,
    /// Why nothing may move, if so.
    pub gate: Option<&'a Gate>,
    pub control: Control<'a>,
    pub journal: &'a Journal,
    /// Pods and workloads (by UID) that must wait for a while, and why.
    pub backoff: &'a BTreeMap<String, HeldReason>,
    /// What the marks of workloads begin with that were restarted in this epoch ([`restart::series`]).
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

impl Plan {
    /// Nothing to move now, and nothing that waits for its turn.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.moves.is_empty() && !self.held.iter().any(|held| held.reason.waits())
    }
}

/// Plans one wave. The result does not depend on the order of `followers`.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let tiers = input.tiers.by_node();
    let mut candidates: Vec<(Option<WorkloadKey>, &Follower<'_>, &str)> = input
        .followers
        .iter()
        .filter_map(|follower| misplaced(input, &tiers, follower).map(|node| (follower, node)))
        .map(|(follower, node)| (super::workloads::workload_of(input.snapshot, follower.pod), follower, node))
        .collect();
    if candidates.is_empty() {
        return Plan::default();
    }
    // By workload, the farthest pod first, then by name: the same facts always give the same plan.
    let farthest: HashMap<&str, _> =
        candidates.iter().map(|(.., node)| (*node, std::cmp::Reverse(input.tiers.rtt_us(node)))).collect();
    candidates.sort_by(|(a_key, a, a_node), (b_key, b, b_node)| {
        let by_distance = || farthest[a_node].cmp(&farthest[b_node]);
        a_key.cmp(b_key).then_with(by_distance).then_with(|| a.pod.name.cmp(&b.pod.name))
    });
    let uids: BTreeSet<&str> = candidates.iter().filter_map(|(key, ..)| Some(&*key.as_ref()?.uid)).collect();
    let targets = targets(input);
    let offers: HashMap<_, _> = targets.iter().map(|node| (&raw const **node, offer(input, node))).collect();
    let mut distances: Vec<u64> = offers.values().filter_map(|offer| offer.as_ref().ok().copied()).collect();
    distances.sort_unstable();
    let mut planner = Planner {
        input,
        workloads: Workloads::named(input.snapshot, uids),
        room: Room::of(input.snapshot),
        offers,
        distances,
        refusals: Refusals::of(targets.clone()),
        injected: OnceCell::new(),
        budgets: OnceCell::new(),
        replacements: OnceCell::new(),
        targets,
        busy: input.journal.underway.iter().map(|move_| (move_.workload.clone(), busy_with(move_))).collect(),
        free_slots: (input.rules.max_concurrent as usize).saturating_sub(in_time(input)),
        taken: Taken::by(&input.journal.underway, input.control.limits),
        spent: HashMap::new(),
    };
    let mut plan = Plan::default();
    for (key, follower, node) in &candidates {
        match planner.consider(key.as_ref(), follower, node, &candidates) {
            Ok(move_) => plan.moves.push(move_),
            Err(reason) => plan.held.push(Held {
                namespace: follower.pod.namespace.clone(),
                pod: follower.pod.name.clone(),
                uid: follower.pod.uid.clone(),
                node: (*node).to_owned(),
                reason,
            }),
        }
    }
    plan
}

/// Whether a planned move is as safe in this picture as it was in the one that it was planned by: its pod is where it was, and its
/// workload still lacks nobody. Asked right before the move, which others of its wave may have kept waiting.
///
/// # Errors
/// What has changed, in words.
pub fn still_safe(snapshot: Snapshot<'_>, move_: &Move) -> Result<(), String> {
    let pod = snapshot.pods.get(&move_.uid).filter(|pod| !pod.terminating);
    if pod.and_then(|pod| pod.node.as_deref()) != Some(&*move_.from) {
        return Err("it is gone, or not where it was".to_owned());
    }
    let workloads = Workloads::named(snapshot, [&*move_.workload.uid]);
    at_rest(&workloads, &move_.workload).and_then(complete).map_err(|reason| reason.to_string())
}

/// What makes it unsafe to end a pod, wherever a replacement would go.
///
/// # Errors
/// The first reason.
pub(super) fn replaceable<'k>(key: Option<&'k WorkloadKey>, pod: &Pod) -> Result<&'k WorkloadKey, HeldReason> {
    let key = key.ok_or(HeldReason::BarePod)?;
    if key.kind == "Job" || key.kind == "CronJob" {
        return Err(HeldReason::Job);
    }
    if let Some(volume) = &pod.pinned_by {
        return Err(HeldReason::Pinned(volume.clone()));
    }
    Ok(key)
}

/// A workload that isn't being rolled out, and how many replicas it wants.
///
/// # Errors
/// Why that isn't known, or that it is.
pub(super) fn at_rest<'c, 'a>(
    workloads: &'c Workloads<'a>,
    key: &WorkloadKey,
) -> Result<&'c WorkloadPods<'a>, HeldReason> {
    let workload_pods = workloads.get(key).ok_or(HeldReason::BarePod)?;
    if workload_pods.desired.is_none() {
        return Err(HeldReason::UnknownWorkload(key.kind.clone()));
    }
    if workload_pods.rollout { Err(HeldReason::Rollout) } else { Ok(workload_pods) }
}

/// That no replica of a workload is missing.
///
/// # Errors
/// How many are.
pub(super) fn complete(workload_pods: &WorkloadPods<'_>) -> Result<(), HeldReason> {
    let (serving, desired) = (workload_pods.serving, workload_pods.desired.unwrap_or_default());
    if workload_pods.whole() { Ok(()) } else { Err(HeldReason::NotWhole { serving, desired }) }
}

/// The round-trip time of a node, in microseconds, if its tier is beyond doubt: it has a fresh reading, and the tier has held.
///
/// # Errors
/// Why pods are not moved by that tier.
pub(super) fn certain(tiers: &TierMap, node: &str, rules: Rules, now: Moment) -> Result<u64, HeldReason> {
    let tier = tiers.nodes.get(node).ok_or(HeldReason::NotMeasured)?;
    let rtt_us = tier.rtt_us.ok_or(HeldReason::NotMeasured)?;
    if tier.settled(rules.settle, now.instant) { Ok(rtt_us) } else { Err(HeldReason::TierSettling(rules.settle)) }
}

/// The node of a follower that sits where it should not.
fn misplaced<'a>(input: &Input<'_>, tiers: &HashMap<&str, &NodeTier>, follower: &Follower<'a>) -> Option<&'a str> {
    let pod = follower.pod;
    if pod.belongs_to_its_node() || pod.terminating || pod.phase != Phase::Running {
        return None;
    }
    let node = pod.node.as_deref()?;
    match tiers.get(node)?.tier {
        Tier::Far => Some(node),
        Tier::Intermediate if input.rules.include_intermediate => Some(node),
        _ => None,
    }
}

/// Whether the pod itself says how it may be moved: whoever wrote that knows what it loses.
fn asked(pod: &Pod) -> bool {
    pod.wishes.movement.as_deref().is_some_and(|text| MoveMode::read(text.trim()).is_some())
}

/// Why the other pods of a workload wait for the one that is on the move.
fn busy_with(move_: &Underway) -> HeldReason {
    match &move_.way {
        Ok(_) => HeldReason::OneAtATime,
        Err(way) => HeldReason::UnknownWay { way: way.clone(), pod: move_.pod.clone() },
    }
}

/// How many moves are under way whose replacement may still be Ready in time. A failed one gives its place to others, and the breaker
/// counts it.
fn in_time(input: &Input<'_>) -> usize {
    let Journal { underway, .. } = input.journal;
    underway.len() - input.journal.overdue(input.rules.replacement_timeout, input.now)
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
    workloads: Workloads<'a>,
    room: Room<'a>,
    targets: Vec<&'a Node>,
    /// What each of them is to anybody.
    offers: HashMap<*const Node, Result<u64, Misfit>>,
    /// Of those that are something to anybody, sorted.
    distances: Vec<u64>,
    refusals: Refusals<'a, Wanted>,
    /// When the youngest follower was made that admission injected, anywhere and by namespace.
    injected: OnceCell<(Option<Timestamp>, HashMap<&'a str, Timestamp>)>,
    /// Disruption budgets by namespace, with their UIDs, in the order of their names.
    budgets: OnceCell<HashMap<&'a str, Vec<(&'a str, &'a DisruptionBudget)>>>,
    /// Of the followers, by the UID of the pod that is replaced.
    replacements: OnceCell<HashMap<&'a str, &'a Pod>>,
    /// Workloads with a pod on the move, and why their others wait for it.
    busy: BTreeMap<WorkloadKey, HeldReason>,
    free_slots: usize,
    taken: Taken,
    /// Evictions planned per disruption budget (by UID).
    spent: HashMap<&'a str, u32>,
}

impl<'a> Planner<'a> {
    fn consider(
        &mut self,
        key: Option<&WorkloadKey>,
        follower: &Follower<'a>,
        node: &str,
        candidates: &[(Option<WorkloadKey>, &Follower<'_>, &str)],
    ) -> Result<Move, HeldReason> {
        let pod = follower.pod;
        let (key, way) = self.movable(key, follower)?;
        let far = (self.input.gate, self.input.tiers.rtt_us(node));
        self.input.control.allow(self.input.snapshot, (key, pod), far, self.input.now)?;
        if !self.input.snapshot.on_a_live_node(pod) {
            return Err(HeldReason::NodeNotReady);
        }
        certain(self.input.tiers, node, self.input.rules, self.input.now)?;
        if let Some(why) = self.busy.get(key) {
            return Err(why.clone());
        }
        self.workload_ready(key, pod)?;
        let restarts = if way == Way::Restart { self.restarts(key, pod)? } else { 0 };
        if let Some(why) = [&pod.uid, &key.uid].into_iter().find_map(|uid| self.input.backoff.get(uid)) {
            return Err(why.clone());
        }
        let spends = self.budgets(way, key, pod)?;
        self.quota(way, key, pod)?;
        // Before its target, which is costly to find: thousands may be waiting.
        if self.free_slots == 0 {
            return Err(HeldReason::Concurrency { limit: self.input.rules.max_concurrent });
        }
        self.taken.allow(&pod.namespace)?;
        let target = match way {
            Way::Evict => {
                let target = self.target(follower, node)?;
                self.room.place(follower.replacement, &target.name);
                target
            }
            Way::Restart => self.add_all(&self.restarted(key, follower), node)?,
        };
        self.free_slots -= 1;
        self.taken.take(&pod.namespace);
        self.busy.insert(key.clone(), HeldReason::OneAtATime);
        for (uid, pods) in spends {
            *self.spent.entry(uid).or_default() += pods;
        }
        let pods = match way {
            Way::Evict => 1,
            Way::Restart => candidates.iter().filter(|(other, ..)| other.as_ref() == Some(key)).count(),
        };
        Ok(Move {
            way,
            workload: key.clone(),
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            from: node.to_owned(),
            from_tier: self.input.tiers.tier(node),
            to: target.name.clone(),
            from_rtt_us: self.input.tiers.rtt_us(node),
            to_rtt_us: self.input.tiers.rtt_us(&target.name),
            pods: u32::try_from(pods).unwrap_or(u32::MAX),
            time: restarts + 1,
        })
    }

    /// What holds for as long as the pod is what it is, however the cluster stands.
    fn movable<'k>(
        &self,
        key: Option<&'k WorkloadKey>,
        follower: &Follower<'_>,
    ) -> Result<(&'k WorkloadKey, Way), HeldReason> {
        let pod = follower.pod;
        if follower.mode == MoveMode::Never {
            return Err(HeldReason::Never);
        }
        let key = replaceable(key, pod)?;
        if let Some(why) = follower.left_alone.as_ref().or(pod.not_injected.as_ref()) {
            return Err(HeldReason::NotInjected(why.clone()));
        }
        if !asked(pod) {
            self.left_in_peace(key, pod)?;
        }
        let way = choose(follower.mode, &key.kind, pod, self.workloads.get(key))?;
        self.injects(key, pod)?;
        match self.input.journal.useless.get(key) {
            Some(moves) if *moves >= self.input.rules.max_useless_moves => Err(HeldReason::Useless { moves: *moves }),
            _ => Ok((key, way)),
        }
    }

    /// What people expect of everybody who evicts: that marks of others are heeded, and that no data is lost of which there is no
    /// second copy. (The replicas of a Deployment lose their emptyDirs at every rollout.)
    fn left_in_peace(&self, key: &WorkloadKey, pod: &Pod) -> Result<(), HeldReason> {
        if let Some(mark) = &pod.not_to_evict {
            return Err(HeldReason::DoNotEvict(mark.clone()));
        }
        let alone = self.workloads.get(key).and_then(|it| it.desired).is_some_and(|desired| desired <= 1);
        match &pod.scratch {
            Some(volume) if alone || key.kind == "StatefulSet" => Err(HeldReason::LocalData(volume.clone())),
            _ => Ok(()),
        }
    }

    /// That admission is known to inject, where it missed as many replacements of the workload as there may be useless moves: it has
    /// injected some pod since, and after as many again one of the same namespace.
    fn injects(&self, key: &WorkloadKey, pod: &Pod) -> Result<(), HeldReason> {
        let most = self.input.rules.max_useless_moves;
        let Some(missed) = self.input.journal.missed.get(key).filter(|missed| missed.times >= most) else {
            return Ok(());
        };
        let anywhere = missed.times < most.saturating_mul(2);
        let (youngest, by_namespace) = self.injected.get_or_init(|| self.injected());
        let youngest = if anywhere { youngest.as_ref() } else { by_namespace.get(pod.namespace.as_str()) };
        if youngest.is_some_and(|created| *created > missed.last) {
            return Ok(());
        }
        Err(HeldReason::NeverInjected { times: missed.times })
    }

    fn workload_ready(&self, key: &WorkloadKey, pod: &Pod) -> Result<(), HeldReason> {
        let workload_pods = at_rest(&self.workloads, key)?;
        if !pod.serves() {
            return Err(HeldReason::NotReady);
        }
        complete(workload_pods)
    }

    /// How often the pod's workload was restarted for this primary, if it may be moved all the same: admission missed the pod.
    /// Each pause is twice the one before, and there are as many restarts as there may be useless moves.
    fn restarts(&self, key: &WorkloadKey, pod: &Pod) -> Result<u32, HeldReason> {
        let mark = self.input.snapshot.workloads.get(&key.uid).and_then(|w| w.restarted_for.as_deref());
        let times = restart::times(mark, self.input.restart_series);
        if times == 0 {
            return Ok(0);
        }
        let missed = |workload_pods| restart::missed(workload_pods, mark, pod, self.input.node_label);
        if times >= self.input.rules.max_useless_moves || !self.workloads.get(key).is_some_and(missed) {
            return Err(HeldReason::Restarted { times });
        }
        let due = self.input.missed.due(&key.uid, times, self.input.now.instant);
        if due { Ok(times) } else { Err(HeldReason::AdmissionMissed) }
    }
}

#[cfg(test)]
mod tests;
