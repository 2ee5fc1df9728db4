//! What a move takes: of disruption budgets, and of the room near the primary.

use super::{Follower, Planner, certain};
use crate::core::{
    distance::tier::Tier,
    movement::{
        choice::{away, more},
        fit::Misfit,
        held::HeldReason,
        ways::Way,
        workloads::WorkloadKey,
    },
    workload::{DisruptionBudget, Node, Phase, Pod},
};

impl<'a> Planner<'a> {
    /// The disruption budgets that the move spends, and by how many pods. A restart asks none of them where it starts new pods
    /// before it ends old ones; the API server doesn't ask for it, so that several may cover it.
    pub(super) fn budgets(&self, way: Way, key: &WorkloadKey, pod: &Pod) -> Result<Vec<(&'a str, u32)>, HeldReason> {
        let pods = match way {
            Way::Evict => 1,
            Way::Restart => self.workloads.get(key).map_or(u32::MAX, away),
        };
        if pods == 0 {
            return Ok(Vec::new());
        }
        let covers =
            |budget: &DisruptionBudget| budget.namespace == pod.namespace && budget.selector.matches(&pod.labels);
        let mut covering: Vec<_> = self.input.snapshot.budgets.iter().filter(|(_, budget)| covers(budget)).collect();
        covering.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        if way == Way::Evict && covering.len() > 1 {
            let names: Vec<_> = covering.iter().map(|(_, budget)| budget.name.as_str()).collect();
            return Err(HeldReason::SeveralBudgets(names.join(", ")));
        }
        let spent = |uid: &String| self.spent.get(uid.as_str()).copied().unwrap_or(0);
        match covering.iter().find(|(uid, budget)| budget.allowed < spent(uid).saturating_add(pods)) {
            Some((_, budget)) => Err(HeldReason::NoBudget(budget.name.clone())),
            None => Ok(covering.into_iter().map(|(uid, _)| (uid.as_str(), pods)).collect()),
        }
    }

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
        let following = |pod: &Pod| self.input.followers.iter().find(|follower| follower.pod.uid == pod.uid);
        let alike = |pod: &&'a Pod| {
            let replacement = following(pod).map_or(*pod, |follower| follower.replacement);
            Follower { pod, replacement, ..first.clone() }
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
    pub(super) fn add_all(&mut self, followers: &[Follower<'a>], from: &str) -> Result<&'a Node, HeldReason> {
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

    /// The emptiest closely node that takes the pod and is no farther from the other databases that it follows.
    pub(super) fn target(&self, follower: &Follower<'_>, from: &str) -> Result<&'a Node, HeldReason> {
        if self.targets.is_empty() {
            return Err(HeldReason::NoRoom("there is none".into()));
        }
        let certain = |node: &str| certain(self.input.tiers, node, self.input.rules, self.input.now);
        let from_rtt_us = certain(from)?;
        let nearer = |node: &Node| {
            // It may be refused, or on its way.
            if node.labelled(self.input.node_label) != Tier::Closely {
                return Err(Misfit::Label);
            }
            match certain(&node.name) {
                Ok(rtt_us) if rtt_us < from_rtt_us => {}
                Ok(_) => return Err(Misfit::Distance("it is not nearer")),
                Err(HeldReason::NotMeasured) => return Err(Misfit::Distance("it has no fresh reading")),
                Err(_) => return Err(Misfit::Distance("it has not been closely for long enough")),
            }
            if follower.others.iter().any(|tiers| tiers.tier(&node.name) > tiers.tier(from)) {
                return Err(Misfit::Distance("it is farther from another database that the pod follows"));
            }
            Ok(())
        };
        self.room.emptiest(follower.replacement, self.targets.iter().copied(), nearer).map_err(HeldReason::NoRoom)
    }
}
