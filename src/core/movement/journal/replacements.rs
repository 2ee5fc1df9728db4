//! Which pod took the place of which: each is that of one move.

use std::collections::{BTreeSet, HashSet};

use super::{Trace, Underway, Youngest};
use crate::core::{
    movement::{
        ways::Way,
        workloads::{WorkloadPods, Workloads},
    },
    workload::{Phase, Pod, Snapshot},
};

/// Gives each move whose pod is ending or gone the oldest pod of its workload that came after it and is nobody else's. Once it has one, it
/// keeps that for as long as it is there.
pub(super) fn claim(
    underway: &mut [Underway],
    taken: &BTreeSet<String>,
    snapshot: Snapshot<'_>,
    workloads: &Workloads<'_>,
) {
    for move_ in underway.iter_mut() {
        let trace = &mut move_.trace;
        if !trace.replacement.as_ref().and_then(|uid| snapshot.pods.get(uid)).is_some_and(|pod| stays(pod)) {
            (trace.replacement, trace.bound) = (None, false);
        }
    }
    let mut claimed: HashSet<String> =
        taken.iter().cloned().chain(underway.iter().filter_map(|move_| move_.trace.replacement.clone())).collect();
    let mut waiting: Vec<&mut Underway> = underway
        .iter_mut()
        .filter(|move_| move_.way == Ok(Way::Evict) && move_.trace.replacement.is_none() && !move_.untouched(snapshot))
        .collect();
    waiting.sort_by(|a, b| (a.started, &a.uid).cmp(&(b.started, &b.uid)));
    for move_ in waiting {
        let Some(workload) = workloads.get(&move_.workload) else { continue };
        if let Some(pod) = oldest(move_, workload, &claimed).or_else(|| of_the_same_second(move_, workload, &claimed)) {
            claimed.insert(pod.uid.clone());
            move_.trace.replacement = Some(pod.uid.clone());
        }
    }
}

fn oldest<'a>(move_: &Underway, workload: &WorkloadPods<'a>, claimed: &HashSet<String>) -> Option<&'a Pod> {
    let candidates = workload.pods.iter().copied().filter(|pod| !claimed.contains(&pod.uid) && replaces(pod, move_));
    candidates.min_by_key(|pod| (pod.created, &pod.uid))
}

/// Kubernetes tells when a pod was created to the second, and a replacement may come in the very second in which the youngest other pod did.
/// Who came later nobody can tell then, only that there are more of that second than there were, and each that is more is a
/// replacement. It is taken for the one that does worst, so that a move is never over too early.
fn of_the_same_second<'a>(move_: &Underway, workload: &WorkloadPods<'a>, claimed: &HashSet<String>) -> Option<&'a Pod> {
    let Trace { beside: None, after: Some(Youngest { created, pods: Some(before) }), .. } = &move_.trace else {
        return None;
    };
    let there = || workload.pods.iter().copied().filter(|pod| pod.created == *created && pod.uid != move_.uid);
    let free = |pod: &&Pod| stays(pod) && !claimed.contains(&pod.uid);
    let more = there().count().checked_sub(*before as usize)?;
    let has_more = there().filter(|pod| claimed.contains(&pod.uid)).count() < more;
    has_more.then(|| there().filter(free).min_by_key(|pod| (pod.serves(), pod.node.is_some(), &pod.uid)))?
}

fn stays(pod: &Pod) -> bool {
    !pod.terminating && pod.phase != Phase::Finished
}

/// Whether a pod of the same workload may be the one that was made in place of the move's. What compares times compares those of the API
/// server alone, where they are known.
fn replaces(pod: &Pod, move_: &Underway) -> bool {
    if pod.uid == move_.uid || !stays(pod) {
        return false;
    }
    // Each pod of a StatefulSet comes back under its name.
    if move_.workload.kind == "StatefulSet" {
        return pod.name == move_.pod;
    }
    match &move_.trace {
        Trace { beside: Some(beside), .. } => !beside.contains(&pod.uid),
        Trace { after: Some(after), .. } => pod.created > after.created,
        _ => pod.created > move_.started,
    }
}
