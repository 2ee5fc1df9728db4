//! When a move is over, and how it ended.

use std::time::Duration;

use super::{End, Look, UNTOUCHED, Underway};
use crate::core::{
    distance::tier::Tier,
    movement::{restart, ways::Way, window::Evidence, workloads::WorkloadPods},
    workload::{Pod, Snapshot, Workload},
};

/// A replacement on a node that was never measured is judged when it is, within this time: an autoscaler may have made the node for it.
const MEASURED_WITHIN: Duration = Duration::from_secs(120);

/// Notes what is to be seen of a move; true if it has failed by now.
pub(super) fn follow(move_: &mut Underway, look: &Look<'_>, evidence: &mut Evidence) -> bool {
    if move_.way == Ok(Way::Evict) {
        let snapshot = look.snapshot;
        let replacement = move_.trace.replacement.as_ref().and_then(|uid| snapshot.pods.get(uid));
        let ending = replacement.is_none() && snapshot.pods.get(&move_.uid).is_some_and(|pod| pod.terminating);
        if ending || replacement.is_some_and(|pod| snapshot.serves(pod)) {
            // It waits for its pod to end, or for its node to be measured, and that may take as long as it likes.
            move_.since = look.now.instant;
        }
        if let Some(node) = replacement.and_then(|pod| pod.node.as_deref()) {
            move_.trace.bound = true;
            if !move_.trace.placed && look.tiers.tier(node) < move_.from_tier {
                move_.trace.placed = true;
                evidence.placed += 1;
            }
        }
    }
    let fails = move_.way.is_ok() && !move_.trace.failed && move_.overdue(look.timeout, look.now);
    if fails {
        move_.trace.failed = true;
        evidence.failed += u32::from(!move_.trace.unready);
    }
    fails
}

/// How a move has ended, if it has.
pub(super) fn of(move_: &mut Underway, workload_pods: Option<&WorkloadPods<'_>>, look: &Look<'_>) -> Option<End> {
    // As this process has waited: by a wall clock that jumps, an eviction that was just granted would seem never to have been carried out,
    // and the next pod would follow it.
    let (snapshot, age) = (look.snapshot, look.now.instant.saturating_duration_since(move_.found));
    let untouched = move_.untouched(snapshot);
    match move_.way {
        Err(_) => return of_unknown(move_, workload_pods, snapshot, age),
        Ok(way) if untouched && (way == Way::Evict || move_.trace.earlier) => {
            return (age >= UNTOUCHED).then_some(End::NotCarriedOut);
        }
        Ok(_) => {}
    }
    // No pod at all: either the replacement isn't there yet, or there is no workload any more.
    let Some(workload_pods) = workload_pods else { return gone(move_, snapshot, age) };
    if workload_pods.desired == Some(0) {
        return Some(End::Gone);
    }
    match move_.way {
        Ok(Way::Restart) if move_.trace.earlier => workload_pods.whole().then_some(End::Unjudged),
        Ok(Way::Restart) => of_restart(move_, untouched, workload_pods, look, age),
        _ => of_eviction(move_, workload_pods, look, age),
    }
}

fn of_eviction(move_: &Underway, workload_pods: &WorkloadPods<'_>, look: &Look<'_>, age: Duration) -> Option<End> {
    let replacement = move_.trace.replacement.as_ref().and_then(|uid| look.snapshot.pods.get(uid));
    let Some(replacement) = replacement else {
        return workload_pods.whole().then_some(End::NotReplaced);
    };
    if !look.snapshot.serves(replacement) {
        // One that wasn't Ready before either is waited for as long as others, and then is where it is.
        let given_up = move_.trace.unready && move_.trace.failed && move_.trace.bound;
        return given_up.then(|| judge(move_, Way::Evict, replacement, look));
    }
    if move_.trace.earlier {
        return Some(End::Unjudged);
    }
    let tier = replacement.node.as_deref().map_or(Tier::Unknown, |node| look.tiers.tier(node));
    if tier == Tier::Unknown && age < MEASURED_WITHIN {
        return None;
    }
    Some(judge(move_, Way::Evict, replacement, look))
}

fn of_restart(
    move_: &mut Underway,
    untouched: bool,
    workload_pods: &WorkloadPods<'_>,
    look: &Look<'_>,
    age: Duration,
) -> Option<End> {
    if !workload_pods.whole() {
        return None;
    }
    let mark = workload_pods.itself.and_then(|itself| itself.restarted_for.as_deref());
    // What is known of an owner that nobody watches may be older than the restart.
    let known = restart::times(mark, look.restart_series) > 0;
    if move_.workload.kind == "Rollout" && !known && age < UNTOUCHED {
        return None;
    }
    if untouched {
        // The rollout hasn't begun, or it hasn't come to this pod (of a StatefulSet), or somebody took it back: the mark in template
        // and pods tells. Without a mark only what was accepted can have been taken back: a request that was refused, got no answer
        // or died with its leader leaves the same picture, and is no reason to leave the workload alone.
        let end = match mark.filter(|_| known) {
            None if !move_.trace.accepted => End::NotCarriedOut,
            None => End::Reverted,
            Some(mark) if workload_pods.pods.iter().any(|pod| pod.restarted_for.as_deref() == Some(mark)) => {
                return None;
            }
            Some(_) => End::NotCarriedOut,
        };
        return (age >= UNTOUCHED).then_some(end);
    }
    // A Deployment that has scaled its old ReplicaSet down lacks nobody as long as the last pod of it still serves.
    let old = |pod: &Pod| !pod.terminating && pod.restarted_for.as_deref() != mark;
    if mark.is_some() && move_.workload.kind == "Deployment" && workload_pods.pods.iter().any(|pod| old(pod)) {
        return None;
    }
    let serving = || workload_pods.pods.iter().copied().filter(move |pod| look.snapshot.serves(pod));
    let nearer = |pod: &&Pod| pod.node.as_deref().is_some_and(|node| look.tiers.tier(node) < move_.from_tier);
    let near = u32::try_from(serving().filter(nearer).count()).unwrap_or(u32::MAX);
    let newest = serving().filter(nearer).max_by_key(|pod| (pod.created, &pod.uid));
    let newest = newest.or_else(|| serving().max_by_key(|pod| (pod.created, &pod.uid)))?;
    let end = judge(move_, Way::Restart, newest, look);
    move_.pods = move_.pods.min(near.max(1));
    Some(end)
}

/// What a replacement that serves says of its move.
fn judge(move_: &Underway, way: Way, replacement: &Pod, look: &Look<'_>) -> End {
    let to = replacement.node.clone().unwrap_or_default();
    if look.tiers.tier(&to) < move_.from_tier {
        End::Moved { to }
    } else if replacement.is_drawn_by(look.node_label) {
        End::Useless { to }
    } else {
        End::Missed { way, to, pod: replacement.name.clone(), uid: replacement.uid.clone() }
    }
}

/// When a move is over of whose way nothing is known: as soon as nothing of it can be seen any more.
fn of_unknown(
    move_: &Underway,
    workload_pods: Option<&WorkloadPods<'_>>,
    snapshot: Snapshot<'_>,
    age: Duration,
) -> Option<End> {
    let Some(workload_pods) = workload_pods else { return gone(move_, snapshot, age) };
    if snapshot.pods.contains_key(&move_.uid) {
        return None;
    }
    match workload_pods.desired {
        Some(0) => Some(End::Gone),
        Some(_) => workload_pods.whole().then_some(End::Unjudged),
        // Whether it is whole can't be said of this kind, and nothing here moves it either.
        None => Some(End::Unjudged),
    }
}

fn gone(move_: &Underway, snapshot: Snapshot<'_>, age: Duration) -> Option<End> {
    let uid = &move_.workload.uid;
    let belongs = |set: &Workload| set.owner.as_ref().is_some_and(|owner| owner.uid == *uid);
    let known = snapshot.workloads.contains_key(uid) || snapshot.workloads.values().any(|set| belongs(set));
    (age >= UNTOUCHED && !known).then_some(End::Gone)
}
