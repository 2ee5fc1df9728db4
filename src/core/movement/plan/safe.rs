//! What makes it unsafe to end a pod, wherever its replacement would go.

use super::{Away, Move, away::lacking};
use crate::core::{
    movement::{
        held::HeldReason,
        journal::Underway,
        ways::Way,
        workloads::{WorkloadKey, WorkloadPods, Workloads},
    },
    workload::{Pod, Snapshot},
};

/// What makes it unsafe to end a pod, wherever a replacement would go.
///
/// # Errors
/// The first reason.
pub(in crate::core::movement) fn replaceable<'k>(
    key: Option<&'k WorkloadKey>,
    pod: &Pod,
) -> Result<&'k WorkloadKey, HeldReason> {
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
pub(in crate::core::movement) fn at_rest<'c, 'a>(
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
pub(in crate::core::movement) fn complete(workload_pods: &WorkloadPods<'_>) -> Result<(), HeldReason> {
    if workload_pods.whole() { Ok(()) } else { Err(lacking(workload_pods)) }
}

/// Whether a planned move is as safe in this picture as it was in the one that it was planned by: its pod is where it was and as it was,
/// and its budget, or its workload without one, still lets all go that were planned. Asked right before the move, which others of its
/// wave may have kept waiting. `underway` is what was under way when the wave began; the wave itself may be among it.
///
/// # Errors
/// What has changed, in words.
pub fn still_safe<'u>(
    snapshot: Snapshot<'_>,
    move_: &Move,
    underway: impl IntoIterator<Item = &'u Underway>,
    per_workload: Option<u32>,
) -> Result<(), String> {
    let pod = snapshot.pods.get(&move_.uid).filter(|pod| !pod.terminating);
    let Some(pod) = pod.filter(|pod| pod.node.as_deref() == Some(&*move_.from)) else {
        return Err("it is gone, or not where it was".to_owned());
    };
    if snapshot.serves(pod) == move_.unready {
        return Err("it is Ready now, or not any more".to_owned());
    }
    let workloads = Workloads::named(snapshot, [&*move_.workload.uid]);
    let rested = at_rest(&workloads, &move_.workload).map_err(|reason| reason.to_string())?;
    let away = Away::of(snapshot, underway.into_iter().filter(|other| other.uid != move_.uid), false);
    if move_.way == Way::Restart {
        return away.whole_or_nobody_serves(rested).map_err(|reason| reason.to_string());
    }
    let serving = !move_.unready;
    let still = match &move_.spends {
        Some(spends) => away.within(&spends.budget, 1).and_then(|()| match serving {
            true => away.leaves_somebody(&move_.workload, rested, 1),
            false => Ok(()),
        }),
        None if serving => away.lacks_at_most(&move_.workload, rested, per_workload.unwrap_or(1), 1),
        None => Ok(()),
    };
    still.map_err(|reason| reason.to_string())
}
