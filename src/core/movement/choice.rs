//! By which way a pod is moved: what was asked for, as far as its workload stands it.

use super::{held::HeldReason, ways::Way, workloads::WorkloadPods};
use crate::core::{
    follow::MoveMode,
    workload::{Pod, Strategy},
};

/// The way for a pod of a workload of this kind.
///
/// # Errors
/// Why there is none: it holds for as long as the workload is what it is.
pub(super) fn choose(
    mode: MoveMode,
    kind: &str,
    pod: &Pod,
    workload_pods: Option<&WorkloadPods<'_>>,
) -> Result<Way, HeldReason> {
    let way = match mode {
        MoveMode::Never => return Err(HeldReason::Never),
        MoveMode::Evict => Way::Evict,
        MoveMode::Restart => restart(kind, workload_pods).map(|()| Way::Restart).map_err(HeldReason::CannotRestart)?,
        MoveMode::Auto => match workload_pods.and_then(|it| it.desired) {
            // Of one replica nobody may be away, so that a restart is one that starts the new pod first.
            Some(0 | 1) => restart(kind, workload_pods).map(|()| Way::Restart).map_err(HeldReason::SingleReplica)?,
            _ => Way::Evict,
        },
    };
    if way == Way::Evict && workload_pods.is_some_and(|it| holds_back(it, pod)) {
        return Err(HeldReason::NotRolledOut);
    }
    Ok(way)
}

/// How many pods fewer than it wants a workload may have while its own controller restarts it.
pub(super) fn away(workload_pods: &WorkloadPods<'_>) -> u32 {
    match strategy(workload_pods) {
        Strategy::Rolling { unavailable, .. } | Strategy::Ordered { unavailable, .. } => unavailable,
        Strategy::Recreate => u32::MAX,
        Strategy::OnDelete | Strategy::None => 0,
    }
}

/// How many pods more than it wants a workload has while its own controller restarts it.
pub(super) fn more(workload_pods: &WorkloadPods<'_>) -> u32 {
    match strategy(workload_pods) {
        Strategy::Rolling { surge, .. } => surge,
        _ => 0,
    }
}

fn strategy(workload_pods: &WorkloadPods<'_>) -> Strategy {
    workload_pods.itself.map_or(Strategy::None, |itself| itself.strategy)
}

/// Whether ending the pod would make one of a newer template, which its StatefulSet leaves to people.
fn holds_back(workload_pods: &WorkloadPods<'_>, pod: &Pod) -> bool {
    let newest =
        workload_pods.itself.filter(|it| it.strategy == Strategy::OnDelete).and_then(|it| it.revision.as_ref());
    newest.is_some_and(|newest| pod.labels.get("controller-revision-hash").is_some_and(|has| has != newest))
}

/// Whether its own controller can restart the workload, and others go on serving meanwhile.
///
/// # Errors
/// Why not, in words.
fn restart(kind: &str, workload_pods: Option<&WorkloadPods<'_>>) -> Result<(), String> {
    if !matches!(kind, "Deployment" | "StatefulSet" | "Rollout") {
        return Err(format!("a {kind} can't be restarted by its template"));
    }
    let no = |why: &str| Err(format!("its {kind} {why}"));
    // Nothing is known of one that is gone, or that may not be read, and then nobody restarts it either.
    let Some((it, itself)) = workload_pods.and_then(|it| Some((it, it.itself?))) else {
        return match kind {
            "Rollout" => no("isn't known: the component deploy/components/argo-rollouts lets it be read and restarted"),
            _ => no("isn't known"),
        };
    };
    let desired = it.desired.unwrap_or_default();
    match itself.strategy {
        _ if itself.paused => no("is paused, so that its template isn't rolled out"),
        Strategy::Recreate => no("has the strategy Recreate, which ends every pod before it starts a new one"),
        Strategy::Rolling { surge: 0, .. } => no("has maxSurge: 0, which ends pods before new ones start"),
        Strategy::Rolling { unavailable, .. } if unavailable >= desired.max(1) => {
            no("has a maxUnavailable that lets every pod be away at once")
        }
        Strategy::OnDelete => no("has the updateStrategy OnDelete, so that its template isn't rolled out"),
        Strategy::Ordered { partition, .. } if partition > 0 => {
            no("has a partition, so that its template isn't rolled out to every pod")
        }
        Strategy::Ordered { unavailable, .. } if unavailable >= desired => {
            no("ends every pod before it starts a new one")
        }
        Strategy::None => no("has a strategy that isn't known"),
        Strategy::Rolling { .. } | Strategy::Ordered { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests;
