//! The movement ends: when nothing has happened for long, every follower is near, or stays for a reason that is true.

use super::{Laws, Ms};
use crate::{
    core::{
        distance::tier::Tier,
        follow::MoveMode,
        movement::{
            held::{Gate, HeldReason},
            plan::Held,
        },
    },
    evaluate::Decided,
    simulate::cluster::{Cluster, Pod},
};

/// What takes longest by itself: a workload that admission missed waits up to half an hour, and settle grows to as much.
const LONGEST_PAUSES: Ms = 65 * 60_000;

/// How long everything takes at most when nothing else happens: every pod of the cluster moves after the other.
pub(super) fn after(cluster: &Cluster) -> Ms {
    let one = |at: usize| {
        let spec = &cluster.workloads[at].spec;
        (spec.ready.unwrap_or(60_000).max(60_000) + spec.ends + spec.available_after + 10_000)
            * u64::from(spec.replicas.max(4))
    };
    LONGEST_PAUSES + (0..cluster.workloads.len()).map(one).sum::<Ms>()
}

impl Laws {
    pub(super) fn rest(&mut self, cluster: &Cluster, database: usize, decided: &Decided, now: Ms) {
        let it = &cluster.databases[database];
        if let Some(gate) = decided.gate.as_ref().filter(|gate| !true_gate(cluster, database, gate)) {
            self.break_(now, "a gate opens when its reason is over", format!("{}: {gate}", it.name));
        }
        if !it.known() {
            return;
        }
        let far = |(_, pod): &(&u64, &Pod)| {
            let follows = cluster.workloads[pod.workload].follow.contains(&database);
            follows
                && pod.running
                && !pod.dying
                && pod.node.is_some_and(|node| cluster.truth[database][node] == Tier::Far)
        };
        for (id, pod) in cluster.pods.iter().filter(far) {
            let uid = format!("pod-{id}");
            let place = || format!("{} ({})", pod.name, cluster.places(pod.workload));
            match decided.plan.held.iter().find(|held| held.uid == uid) {
                None if decided.plan.moves.iter().any(|move_| move_.uid == uid) => {
                    self.break_(now, "the movement ends", format!("{} moves only now", place()));
                }
                None => self.break_(now, "whoever stays far has a reason", place()),
                Some(held) if is_true(cluster, pod, held) => {}
                Some(held) => {
                    let what = format!("{}: {}: {}", place(), held.reason.name(), held.reason);
                    self.break_(now, "a held pod's reason is true", what);
                }
            }
        }
    }
}

fn true_gate(cluster: &Cluster, database: usize, gate: &Gate) -> bool {
    let it = &cluster.databases[database];
    match gate {
        Gate::Paused => it.object.spec.paused,
        Gate::PrimaryNotConfirmed(_) | Gate::SplitBrain(_) => !it.known(),
        Gate::Frozen(_) => it.frozen,
        Gate::Halted { .. } => cluster.live().any(|at| !whole(cluster, at)),
        Gate::TooFewReadings | Gate::LabelsPending { .. } | Gate::NodesInDoubt { .. } => {
            cluster.nodes.iter().any(|node| !node.measured || !node.alive)
        }
        // Nothing that this simulator does lasts as long.
        _ => false,
    }
}

fn whole(cluster: &Cluster, at: usize) -> bool {
    cluster.serving(at) >= cluster.workloads[at].spec.replicas
}

fn is_true(cluster: &Cluster, pod: &Pod, held: &Held) -> bool {
    let at = pod.workload;
    let spec = &cluster.workloads[at].spec;
    let node = pod.node.map(|node| &cluster.nodes[node]);
    match &held.reason {
        // Whether a gate is true is asked of itself.
        HeldReason::Gate(_) => true,
        HeldReason::Never => spec.moved_by == Some(MoveMode::Never),
        HeldReason::SingleReplica(_) => spec.replicas <= 1,
        HeldReason::CannotRestart(_) => spec.moved_by == Some(MoveMode::Restart),
        HeldReason::NotReady => pod.ready.is_none(),
        HeldReason::NotWhole { .. }
        | HeldReason::OneAtATime
        | HeldReason::PerWorkload { .. }
        | HeldReason::BudgetSpent(_)
        | HeldReason::Rollout => !whole(cluster, at),
        HeldReason::Concurrency { .. } | HeldReason::NamespaceHalted { .. } => {
            cluster.live().any(|at| !whole(cluster, at))
        }
        HeldReason::NoBudget(_) => cluster.allowed(at) == Some(0) || (spec.moved_by == Some(MoveMode::Restart)),
        HeldReason::NoRoom(_) => !has_room(cluster, at),
        HeldReason::NotMeasured | HeldReason::TierSettling(_) => node.is_none_or(|node| !node.measured),
        HeldReason::NodeNotReady => node.is_none_or(|node| !node.ready),
        // What was tried in vain stays until something new happens; the rest of what passes by itself has had its time.
        reason => !reason.waits(),
    }
}

/// Whether a node takes one more pod that is near every database that it follows.
fn has_room(cluster: &Cluster, at: usize) -> bool {
    let workload = &cluster.workloads[at];
    // A restart wants room for more than one at a time.
    if workload.follow.len() > 1 || workload.spec.moved_by == Some(MoveMode::Restart) || workload.spec.replicas <= 1 {
        return false;
    }
    let near = |node: &usize| {
        let it = &cluster.nodes[*node];
        it.alive
            && it.measured
            && workload.follow.iter().all(|database| cluster.truth[*database][*node] == Tier::Closely)
    };
    (0..cluster.nodes.len()).filter(near).any(|node| cluster.takes(at, node))
}
