//! The taint of far nodes. One that evicts is a movement: it waives disruption budgets, because that is what it is asked
//! for, and nothing else that any movement keeps to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    fit::{Ranked, Refusals, Room},
    held::{Gate, HeldReason},
    journal::Journal,
    ledger::Others,
    plan::{Held, Plan, Rules, at_rest, certain, complete, replaceable, reserve},
    workloads::{Workloads, uid_of, workload_of},
};
use crate::core::{
    distance::{
        overwrite::TaintEffect,
        tier::{Tier, TierMap},
    },
    hash::HashMap,
    moment::Moment,
    workload::{Node, Pod, Snapshot, Taint},
};

/// What the emptying of far nodes depends on.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    pub snapshot: Snapshot<'a>,
    pub tiers: &'a TierMap,
    /// The taint's key.
    pub key: &'a str,
    pub rules: Rules,
    /// Why nothing may move, if so.
    pub gate: Option<&'a Gate>,
    /// What the movement does now, and what it leaves where it is.
    pub plan: &'a Plan,
    pub journal: &'a Journal,
    /// What other databases have on the move, or are about to empty.
    pub others: &'a Others,
    /// The keys of other databases whose taint evicts, too.
    pub other_keys: &'a [String],
    /// Nodes that could not be changed a moment ago, and why.
    pub refused: &'a BTreeMap<String, String>,
    pub now: Moment,
}

/// How far nodes are emptied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emptying {
    /// Number of far nodes that are ours to taint.
    pub far: usize,
    /// Those that bear the taint that evicts.
    pub bearing: BTreeSet<String>,
    /// They are not to bear it any longer.
    pub withdraw: bool,
    /// The node that is to bear it next.
    pub next: Option<String>,
    /// Why not all of them bear it.
    pub waits: Option<Waits>,
}

/// Why a far node isn't emptied (yet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waits {
    /// Nothing may be moved at all.
    Gate(Gate),
    /// No closely node takes pods.
    Nowhere,
    /// It could not be changed a moment ago.
    Refused { node: String, why: String },
    /// One node after the other.
    Leaving { node: String },
    /// That the node is far is not certain enough.
    Tier { node: String, reason: HeldReason },
    /// The movement has pods of this node under way, within their budgets.
    Moving { node: String },
    /// A pod must not be ended now.
    Pod { node: String, pod: String, reason: HeldReason },
    /// A pod would have nowhere to go.
    NoRoom { node: String, pod: String, why: String },
}

impl Waits {
    /// In one CamelCase word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gate(gate) => gate.name(),
            Self::Nowhere => "NoCloselyNode",
            Self::Refused { .. } => "Refused",
            Self::Leaving { .. } => "OneNodeAtATime",
            Self::Moving { .. } => "MovementFirst",
            Self::Pod { reason, .. } | Self::Tier { reason, .. } => reason.name(),
            Self::NoRoom { .. } => "NoRoom",
        }
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(gate) => gate.fmt(f),
            Self::Nowhere => f.write_str("no closely node takes pods"),
            Self::Refused { node, why } => {
                write!(f, "{node} waits: it could not be changed a moment ago: {why}")
            }
            Self::Leaving { node } => write!(f, "pods are still leaving {node}"),
            Self::Moving { node } => write!(f, "{node}: its pods are being moved within their budgets first"),
            Self::Tier { node, reason } => write!(f, "{node} waits: {reason}"),
            Self::Pod { node, pod, reason } => write!(f, "{node} waits for {pod}: {reason}"),
            Self::NoRoom { node, pod, why } => {
                write!(f, "{node} waits for {pod}: no node that isn't far takes it: {why}")
            }
        }
    }
}

impl fmt::Display for Emptying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bearing = if self.withdraw { 0 } else { self.bearing.len() };
        write!(f, "NoExecute deletes pods past their PodDisruptionBudgets; on {bearing} of {} far nodes", self.far)?;
        self.waits.as_ref().map_or(Ok(()), |waits| write!(f, "; {waits}"))
    }
}

/// The taint under a key that empties a far node.
fn evicting(key: &str) -> Taint {
    Taint {
        key: key.to_owned(),
        value: Tier::Far.label().unwrap_or_default().to_owned(),
        effect: TaintEffect::NoExecute.as_str().to_owned(),
    }
}

/// Which far node is emptied next, or why none is. While nothing may move, none bears the taint; a label that is on its
/// way, or a picture that may be old, says nothing about that. Nodes go in the order of their names, so that the same node
/// is chosen again while the picture doesn't show yet that it was.
#[must_use]
pub fn emptying(input: &Input<'_>) -> Emptying {
    let taint = evicting(input.key);
    let is_far = |node: &&Node| node.managed && input.tiers.tier(&node.name) == Tier::Far;
    let mut far: Vec<&Node> = input.snapshot.nodes().filter(is_far).collect();
    far.sort_by(|a, b| a.name.cmp(&b.name));
    let (bearing, bare): (Vec<&Node>, Vec<&Node>) = far.iter().partition(|node| node.taints.contains(&taint));
    let mut emptying = Emptying {
        far: far.len(),
        bearing: bearing.iter().map(|node| node.name.clone()).collect(),
        ..Emptying::default()
    };
    if let Some(gate) = input.gate {
        emptying.withdraw = !matches!(gate, Gate::LabelsPending { .. } | Gate::Stale(_));
        emptying.waits = Some(Waits::Gate(gate.clone()));
        return emptying;
    }
    let takes_pods = |node: &Node| {
        let closely = input.tiers.tier(&node.name) == Tier::Closely && node.labelled(input.key) == Tier::Closely;
        closely && node.has_room_in_principle()
    };
    if !input.snapshot.nodes().any(takes_pods) {
        emptying.withdraw = true;
        emptying.waits = Some(Waits::Nowhere);
        return emptying;
    }
    if bare.is_empty() {
        return emptying;
    }
    let ended = |node: &Node| ended(input.snapshot, node, &taint);
    let own = || bearing.iter().find(|node| ended(node).next().is_some()).map(|node| node.name.clone());
    if let Some(node) = own().or_else(|| emptied_by_others(input)) {
        emptying.waits = Some(Waits::Leaving { node });
        return emptying;
    }
    let mut look = Look::of(input, bare.iter().flat_map(|node| ended(node)));
    for node in bare {
        if let Some(why) = input.refused.get(&node.name) {
            let waits = || Waits::Refused { node: node.name.clone(), why: why.clone() };
            emptying.waits = emptying.waits.or_else(|| Some(waits()));
            continue;
        }
        let mut pods: Vec<&Pod> = ended(node).collect();
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        match look.may_be_emptied(node, &pods) {
            Ok(()) => {
                emptying.next = Some(node.name.clone());
                break;
            }
            Err(waits) => emptying.waits = emptying.waits.or(Some(waits)),
        }
    }
    emptying
}

/// A node that another database empties, as the picture shows or as it is about to: together with one of ours it could end more pods of
/// a workload than may be missing.
fn emptied_by_others(input: &Input<'_>) -> Option<String> {
    let taints: Vec<Taint> = input.other_keys.iter().map(|key| evicting(key)).collect();
    let leaving = |node: &&Node| {
        let mut taints = taints.iter().filter(|taint| node.taints.contains(taint));
        taints.any(|taint| ended(input.snapshot, node, taint).next().is_some())
    };
    let shown =
        if taints.is_empty() { None } else { input.snapshot.nodes().filter(leaving).map(|node| &node.name).min() };
    shown.or(input.others.emptying.as_ref()).cloned()
}

/// The pods of a node that the taint ends.
fn ended<'a>(snapshot: Snapshot<'a>, node: &Node, taint: &Taint) -> impl Iterator<Item = &'a Pod> + use<'a> {
    let (there, taint) = (snapshot.groups.by_node.get(&node.name), taint.clone());
    let pods = there.into_iter().flat_map(|there| &there.pods).map(AsRef::as_ref);
    pods.filter(move |pod: &&Pod| pod.is_ended_by(&taint))
}

/// What is the same for all nodes that are looked at in one evaluation.
struct Look<'a> {
    input: &'a Input<'a>,
    workloads: Workloads<'a>,
    /// Nodes that pods are moved off within their budgets.
    moving: BTreeSet<&'a str>,
    /// What the movement leaves where it is, by node.
    held: HashMap<&'a str, Vec<&'a Held>>,
    /// With the planned moves carried out.
    room: Room<'a>,
    /// The nodes that aren't far.
    near: Ranked<'a>,
    refusals: Refusals<'a, ()>,
}

impl<'a> Look<'a> {
    fn of(input: &'a Input<'a>, ended: impl Iterator<Item = &'a Pod>) -> Self {
        let Input { snapshot, tiers, plan, journal, others, .. } = input;
        let all = || journal.underway.iter().chain(&others.underway);
        let underway = all().map(|move_| &*move_.from);
        let mut held: HashMap<&str, Vec<&Held>> = HashMap::default();
        for it in &plan.held {
            held.entry(&it.node).or_default().push(it);
        }
        let ended = ended.filter_map(|pod| uid_of(*snapshot, pod));
        let moved = all().map(|move_| &*move_.workload.uid);
        let workloads = Workloads::named(*snapshot, ended.chain(moved));
        let mut room = Room::of(*snapshot);
        reserve(&mut room, all(), &workloads, *snapshot);
        for move_ in &plan.moves {
            if let Some(pod) = snapshot.pods.get(&move_.uid) {
                room.place(pod, &move_.to);
            }
        }
        let mut near: Vec<&Node> = snapshot.nodes().filter(|node| tiers.tier(&node.name) != Tier::Far).collect();
        // Of nodes with as much room the first one is taken, and that is to be the same one for every leader.
        near.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            workloads,
            moving: plan.moves.iter().map(|move_| &*move_.from).chain(underway).collect(),
            refusals: Refusals::of(near.clone()),
            input,
            held,
            room,
            near: Ranked::of(near),
        }
    }

    /// Whether all of `pods` can be ended at once: the movement has nothing left to do on their node, each has a workload that
    /// replaces it and lacks nobody, and there is room for all of them together.
    fn may_be_emptied(&mut self, node: &Node, pods: &[&'a Pod]) -> Result<(), Waits> {
        let Input { tiers, rules, now, .. } = *self.input;
        certain(tiers, &node.name, rules, now).map_err(|reason| Waits::Tier { node: node.name.clone(), reason })?;
        let waits = |pod: String, reason: HeldReason| Waits::Pod { node: node.name.clone(), pod, reason };
        if self.moving.contains(&*node.name) {
            return Err(Waits::Moving { node: node.name.clone() });
        }
        let in_the_way = |held: &&&Held| match &held.reason {
            HeldReason::NoRoom(_) => true,
            // It may tolerate the taint, and stay.
            HeldReason::Never
            | HeldReason::NamespaceTerminating
            | HeldReason::SingleReplica(_)
            | HeldReason::NotRolledOut
            | HeldReason::Misread(_)
            | HeldReason::Gate(Gate::PausedBy(_)) => pods.iter().any(|pod| pod.uid == held.uid),
            reason => reason.waits(),
        };
        if let Some(held) = self.held.get(&*node.name).into_iter().flatten().find(in_the_way) {
            return Err(waits(format!("{}/{}", held.namespace, held.pod), held.reason.clone()));
        }
        let mut placed = Vec::new();
        let all = self.place_all(node, pods, &mut placed);
        placed.iter().rev().for_each(|(pod, target)| self.room.put_back(pod, target));
        all
    }

    /// Places one after the other in thought, as long as it may be ended and there is room.
    fn place_all(&mut self, node: &Node, pods: &[&'a Pod], placed: &mut Vec<(&'a Pod, &'a str)>) -> Result<(), Waits> {
        for pod in pods.iter().copied().filter(|pod| !pod.belongs_to_its_node() && !pod.terminating) {
            let key = workload_of(self.input.snapshot, pod);
            let safe = replaceable(key.as_ref(), pod).and_then(|key| complete(at_rest(&self.workloads, key)?));
            safe.map_err(|reason| Waits::Pod { node: node.name.clone(), pod: pod.full_name(), reason })?;
            let target = self.target(pod, placed.is_empty()).map_err(|why| Waits::NoRoom {
                node: node.name.clone(),
                pod: pod.full_name(),
                why,
            })?;
            self.room.place(pod, &target.name);
            placed.push((pod, &target.name));
        }
        Ok(())
    }

    /// Where the pod would go. What is said of a room in which others of its node have been placed is not remembered.
    fn target(&self, pod: &'a Pod, nobody_placed: bool) -> Result<&'a Node, String> {
        let look = || self.room.emptiest(pod, &self.near, |_| Ok(()));
        if nobody_placed {
            return self.refusals.ask(&self.room, pod, (), look);
        }
        self.refusals.recall(&self.room, pod, ()).map_or_else(|| look().map_err(|nowhere| nowhere.why), Err)
    }
}

#[cfg(test)]
mod tests;
