//! The taint of far nodes. One that evicts is a movement: it waives disruption budgets, because that is what it is asked
//! for, and nothing else that any movement keeps to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use super::{
    fit::Room,
    held::{Gate, HeldReason},
    journal::Journal,
    plan::{Held, Plan, Rules, at_rest, certain, complete, replaceable, reserve},
    workloads::{Workloads, workload_of},
};
use crate::core::{
    distance::{
        overwrite::TaintEffect,
        tier::{Tier, TierMap},
    },
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
    let mut ended: HashMap<&str, Vec<&Pod>> = HashMap::new();
    for pod in input.snapshot.pods().filter(|pod| pod.occupies() && pod.is_ended_by(&taint)) {
        ended.entry(pod.node.as_deref().unwrap_or_default()).or_default().push(pod);
    }
    if let Some(node) = bearing.iter().find(|node| ended.contains_key(node.name.as_str())) {
        emptying.waits = Some(Waits::Leaving { node: node.name.clone() });
        return emptying;
    }
    let workloads = Workloads::of(input.snapshot, |_| true);
    for node in bare {
        if let Some(why) = input.refused.get(&node.name) {
            let waits = || Waits::Refused { node: node.name.clone(), why: why.clone() };
            emptying.waits = emptying.waits.or_else(|| Some(waits()));
            continue;
        }
        let mut pods = ended.remove(node.name.as_str()).unwrap_or_default();
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        match may_be_emptied(input, &workloads, node, &pods) {
            Ok(()) => {
                emptying.next = Some(node.name.clone());
                break;
            }
            Err(waits) => emptying.waits = emptying.waits.or(Some(waits)),
        }
    }
    emptying
}

/// Whether all of `pods` can be ended at once: the movement has nothing left to do on their node, each has a workload that
/// replaces it and lacks nobody, and there is room for all of them together.
fn may_be_emptied<'a>(
    input: &Input<'a>,
    workloads: &Workloads<'a>,
    node: &Node,
    pods: &[&'a Pod],
) -> Result<(), Waits> {
    certain(input.tiers, &node.name, input.rules, input.now)
        .map_err(|reason| Waits::Tier { node: node.name.clone(), reason })?;
    let of_node = |from: &String| *from == node.name;
    let waits = |pod: String, reason: HeldReason| Waits::Pod { node: node.name.clone(), pod, reason };
    if input.plan.moves.iter().map(|m| &m.from).chain(input.journal.underway.iter().map(|m| &m.from)).any(of_node) {
        return Err(Waits::Moving { node: node.name.clone() });
    }
    let in_the_way = |held: &&Held| match &held.reason {
        HeldReason::NoRoom(_) => true,
        // It may tolerate the taint, and stay.
        HeldReason::Never | HeldReason::SingleReplica(_) | HeldReason::NotRolledOut => {
            pods.iter().any(|pod| pod.uid == held.uid)
        }
        reason => reason.waits(),
    };
    if let Some(held) = input.plan.held.iter().filter(|held| of_node(&held.node)).find(in_the_way) {
        return Err(waits(format!("{}/{}", held.namespace, held.pod), held.reason.clone()));
    }
    let mut room = Room::of(input.snapshot);
    reserve(&mut room, input.journal.underway.iter(), workloads, input.snapshot);
    for move_ in &input.plan.moves {
        if let Some(pod) = input.snapshot.pods.get(&move_.uid) {
            room.place(pod, &move_.to);
        }
    }
    for pod in pods.iter().copied().filter(|pod| !pod.belongs_to_its_node() && !pod.terminating) {
        let key = workload_of(input.snapshot, pod);
        let safe = replaceable(key.as_ref(), pod).and_then(|key| complete(at_rest(workloads, key)?));
        safe.map_err(|reason| waits(pod.full_name(), reason))?;
        let near = input.snapshot.nodes().filter(|node| input.tiers.tier(&node.name) != Tier::Far);
        let target = room.emptiest(pod, near, |_| Ok(())).map_err(|why| Waits::NoRoom {
            node: node.name.clone(),
            pod: pod.full_name(),
            why,
        })?;
        room.place(pod, &target.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
