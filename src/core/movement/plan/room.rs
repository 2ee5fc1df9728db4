//! What a move takes: of disruption budgets, and of the room near the primary.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Follower, Input, Planner, certain};
use crate::core::{
    distance::tier::{Tier, TierMap},
    movement::{
        choice::{away, more},
        fit::Misfit,
        held::HeldReason,
        ways::Way,
        workloads::WorkloadKey,
    },
    workload::{DisruptionBudget, Node, Phase, Pod},
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
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// How many of them are nearer.
    nearer: usize,
    /// The tiers that it has for the other databases that it follows.
    others: Vec<(*const TierMap, Tier)>,
}

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
        let of_namespace = self.budgets.get_or_init(|| self.budgets_by_namespace()).get(pod.namespace.as_str());
        let covers = |(_, budget): &&(&str, &DisruptionBudget)| budget.selector.matches(&pod.labels);
        let covering: Vec<_> = of_namespace.into_iter().flatten().filter(covers).copied().collect();
        if way == Way::Evict && covering.len() > 1 {
            let names: Vec<_> = covering.iter().map(|(_, budget)| budget.name.as_str()).collect();
            return Err(HeldReason::SeveralBudgets(names.join(", ")));
        }
        let spent = |uid: &str| self.spent.get(uid).copied().unwrap_or(0);
        match covering.iter().find(|(uid, budget)| budget.allowed < spent(uid).saturating_add(pods)) {
            Some((_, budget)) => Err(HeldReason::NoBudget(budget.name.clone())),
            None => Ok(covering.into_iter().map(|(uid, _)| (uid, pods)).collect()),
        }
    }

    fn budgets_by_namespace(&self) -> HashMap<&'a str, Vec<(&'a str, &'a DisruptionBudget)>> {
        let mut by_namespace: HashMap<&str, Vec<(&str, &DisruptionBudget)>> = HashMap::new();
        for (uid, budget) in self.input.snapshot.budgets {
            by_namespace.entry(&budget.namespace).or_default().push((uid, budget));
        }
        by_namespace.values_mut().for_each(|budgets| budgets.sort_by_key(|(_, budget)| &budget.name));
        by_namespace
    }

    /// When the youngest follower was made that admission injected, anywhere and by namespace.
    pub(super) fn injected(&self) -> (Option<Timestamp>, HashMap<&'a str, Timestamp>) {
        let mut by_namespace: HashMap<&str, Timestamp> = HashMap::new();
        let pods = self.input.followers.iter().map(|follower| follower.pod);
        for pod in pods.filter(|pod| pod.is_drawn_by(self.input.node_label)) {
            let youngest = by_namespace.entry(&pod.namespace).or_insert(pod.created);
            *youngest = pod.created.max(*youngest);
        }
        (by_namespace.values().max().copied(), by_namespace)
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
        let following =
            || self.input.followers.iter().map(|follower| (&*follower.pod.uid, follower.replacement)).collect();
        let replacements: &HashMap<&str, &'a Pod> = self.replacements.get_or_init(following);
        let alike = |pod: &&'a Pod| {
            let replacement = replacements.get(&*pod.uid).copied().unwrap_or(*pod);
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
    pub(super) fn target(&self, follower: &Follower<'a>, from: &str) -> Result<&'a Node, HeldReason> {
        if self.targets.is_empty() {
            return Err(HeldReason::NoRoom("there is none".into()));
        }
        let from_rtt_us = certain(self.input.tiers, from, self.input.rules, self.input.now)?;
        let nearer = |node: &Node| match self.offers.get(&(&raw const *node)) {
            Some(Ok(rtt_us)) if *rtt_us < from_rtt_us => {
                let farther = |tiers: &&TierMap| tiers.tier(&node.name) > tiers.tier(from);
                match follower.others.iter().find(|tiers| farther(tiers)) {
                    Some(_) => Err(Misfit::Distance("it is farther from another database that the pod follows")),
                    None => Ok(()),
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
        let look = || self.room.emptiest(follower.replacement, self.targets.iter().copied(), nearer);
        self.refusals.ask(&self.room, follower.replacement, wanted, look).map_err(HeldReason::NoRoom)
    }
}
