//! What a move takes of the room near the primary.

use super::{Follower, Input, Planner, certain};
use crate::core::{
    distance::tier::{Tier, TierMap},
    hash::HashMap,
    movement::{
        choice::more,
        fit::{Misfit, Room},
        held::HeldReason,
        journal::Underway,
        ways::Way,
        workloads::{WorkloadKey, Workloads},
    },
    workload::{Node, Phase, Pod, Snapshot},
};

/// What all pods ask of a closely node: how far it is, in microseconds, if the scheduler goes by that and nobody doubts it.
pub(super) fn offer(input: &Input<'_>, node: &Node) -> Result<u64, Misfit> {
    // It may be refused, or on its way.
    if node.labelled(input.node_label) != Tier::Closely {
        return Err(Misfit::Label);
    }
    certain(input.tiers, &node.name, input.rules, input.now).map_err(|reason| match reason {
        HeldReason::NotMeasured => Misfit::Distance("it has no fresh reading"),
        _ => Misfit::Distance("it has not been closely for long enough"),
    })
}

/// What of a pod's place decides which of the closely nodes are an improvement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// How many of them are nearer.
    nearer: usize,
    /// The tiers that it has for the other databases that it follows.
    others: Vec<(*const TierMap, Tier)>,
}

/// Keeps the room of moves under way whose replacements have no node yet. What another leader began needs what any pod of its workload
/// does.
pub(in crate::core::movement) fn reserve<'a>(
    room: &mut Room<'a>,
    underway: impl Iterator<Item = &'a Underway>,
    workloads: &Workloads<'a>,
    snapshot: Snapshot<'a>,
) {
    for move_ in underway {
        let Some(to) = move_.reserves() else { continue };
        let itself = snapshot.pods.get(&move_.uid).or(move_.trace.like.as_ref()).map(AsRef::as_ref);
        let any = || workloads.get(&move_.workload)?.pods.iter().copied().min_by_key(|pod| &pod.uid);
        if let Some(pod) = itself.or_else(any) {
            room.add(pod, to);
        }
    }
}

impl<'a> Planner<'a> {
    /// That the namespace's quotas have something left for the pods that there are more of meanwhile.
    pub(super) fn quota(&self, way: Way, key: &WorkloadKey, pod: &Pod) -> Result<(), HeldReason> {
        let pods = match way {
            Way::Evict => 1,
            Way::Restart => self.workloads.get(key).map_or(0, more),
        };
        self.room.within_quota(pod, pods).map_err(HeldReason::Quota)
    }

    /// The pods of which each needs a place near the primary when their workload is restarted, the first one first: those that are
    /// not there, and as many of the others as it has more meanwhile. (In the worst case those that are near go last.)
    pub(super) fn restarted(&self, key: &WorkloadKey, first: &Follower<'a>) -> Vec<Follower<'a>> {
        let Some(workload_pods) = self.workloads.get(key) else { return Vec::new() };
        let following =
            || self.input.followers.iter().map(|follower| (&*follower.pod.uid, follower.replacement)).collect();
        let replacements: &HashMap<&str, &'a Pod> = self.replacements.get_or_init(following);
        let alike = |pod: &&'a Pod| {
            let replacement = replacements.get(&*pod.uid).copied().unwrap_or(*pod);
            let Follower { left_alone, others, .. } = first.clone();
            Follower { replacement, left_alone, others, ..Follower::of(pod, first.mode, self.input.tiers) }
        };
        let stays = |pod: &&&Pod| pod.uid != first.pod.uid && !pod.terminating && pod.phase != Phase::Finished;
        let mut others: Vec<&'a Pod> = workload_pods.pods.iter().filter(stays).copied().collect();
        let near = |pod: &Pod| pod.node.as_deref().is_some_and(|node| self.input.tiers.tier(node) == Tier::Closely);
        others.sort_by_key(|pod| (near(pod), &pod.name));
        let far = others.iter().filter(|pod| !near(pod)).count();
        others.truncate(far + more(workload_pods) as usize);
        std::iter::once(first.clone()).chain(others.iter().map(alike)).collect()
    }

    /// Takes room near the primary for one more pod like each of these of one workload, or for none. Returns the first one's node.
    pub(super) fn add_all(&mut self, followers: &[Follower<'a>], from: (&str, u64)) -> Result<&'a Node, HeldReason> {
        let mut added: Vec<(&'a Pod, &'a Node)> = Vec::new();
        for follower in followers {
            match self.target(follower, from) {
                Ok(target) => {
                    self.room.add(follower.replacement, &target.name);
                    added.push((follower.replacement, target));
                }
                Err(reason) => {
                    added.iter().rev().for_each(|(pod, target)| self.room.take_back(pod, &target.name));
                    return Err(reason);
                }
            }
        }
        added.first().map(|(_, target)| *target).ok_or_else(|| HeldReason::NoRoom("there is none".into()))
    }

    /// The emptiest closely node that takes the pod, is nearer than where it is, so many microseconds away, and no farther from the other
    /// databases that it follows.
    pub(super) fn target(
        &self,
        follower: &Follower<'a>,
        (from, from_rtt_us): (&str, u64),
    ) -> Result<&'a Node, HeldReason> {
        if self.targets.nodes().is_empty() {
            return Err(HeldReason::NoRoom("there is none".into()));
        }
        let nearer = |node: &Node| match self.offers.get(&(&raw const *node)) {
            Some(Ok(rtt_us)) if *rtt_us < from_rtt_us => {
                match follower.others.iter().any(|tiers| leaves_behind(tiers.tier(from), tiers.tier(&node.name))) {
                    true => Err(Misfit::Distance("it is farther from another database that the pod follows")),
                    false => Ok(()),
                }
            }
            Some(Err(misfit)) => Err(misfit.clone()),
            _ => Err(Misfit::Distance("it is not nearer")),
        };
        // The nodes that are nearer are the nearest ones: their number says which.
        let wanted = Wanted {
            nearer: self.distances.partition_point(|rtt_us| *rtt_us < from_rtt_us),
            others: follower.others.iter().map(|tiers| (&raw const **tiers, tiers.tier(from))).collect(),
        };
        let look = || self.room.emptiest(follower.replacement, &self.targets, nearer);
        self.refusals.ask(&self.room, follower.replacement, wanted, look).map_err(HeldReason::NoRoom)
    }
}

/// Whether another database is left farther behind; where it isn't known how far it is now, nobody goes where it is known not to be near.
fn leaves_behind(from: Tier, to: Tier) -> bool {
    if from == Tier::Unknown { matches!(to, Tier::Intermediate | Tier::Far) } else { to > from }
}
