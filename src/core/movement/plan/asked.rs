//! What is asked of a pod before anybody looks for its place.

use super::{Candidate, Planner, Takes, at_rest, sure};
use crate::core::{
    distance::tier::NodeTier,
    movement::{choice, held::HeldReason, ways::Way, workloads::WorkloadKey},
    workload::Pod,
};

impl<'a> Planner<'a> {
    /// That the pod can be moved at all, and that no person and no gate holds it.
    pub(super) fn wanted<'c>(&self, candidate: &'c Candidate<'_, 'a>) -> Result<(&'c WorkloadKey, Way), HeldReason> {
        let Candidate { follower, at, .. } = candidate;
        let (key, way) = self.movable(candidate.key.as_deref(), follower)?;
        let far = (self.input.gate, at.rtt_us);
        self.input.control.allow(self.input.snapshot, (key, follower.pod), far, self.input.now)?;
        Ok((key, way))
    }

    /// The node where the pod is, and how far that is beyond doubt.
    pub(super) fn certain_of(&mut self, candidate: &Candidate<'_, 'a>) -> Result<(&'a str, u64), HeldReason> {
        self.open(candidate.follower.pod, candidate.at)?;
        Ok((candidate.node, sure(candidate.at, self.input.rules, self.input.now)?))
    }

    /// That its workload, its budgets and its quotas let it go: how often it was restarted for this primary, and what its move takes.
    pub(super) fn released(&self, (key, way): (&WorkloadKey, Way), pod: &'a Pod) -> Result<(u32, Takes), HeldReason> {
        self.away.free(key, pod)?;
        let workload_pods = at_rest(&self.workloads, key)?;
        self.patient(pod)?;
        let restarts = if way == Way::Restart { self.restarts(key, pod)? } else { 0 };
        self.not_refused(key, pod)?;
        let (away, most) = (choice::away(workload_pods), self.input.rules.per_workload);
        let takes = self.away.takes(way, (key, workload_pods), pod, away, most)?;
        self.quota(way, key, pod)?;
        Ok((restarts, takes))
    }

    /// That nothing is wrong with all pods of its namespace, or of its node.
    fn open(&mut self, pod: &Pod, at: &NodeTier) -> Result<(), HeldReason> {
        if let Some(failed) = self.input.breaker.namespaces.get(&pod.namespace) {
            return Err(HeldReason::NamespaceHalted { failed: *failed });
        }
        let live = self.live.entry(&raw const *at).or_insert_with(|| self.input.snapshot.on_a_live_node(pod));
        if *live { Ok(()) } else { Err(HeldReason::NodeNotReady) }
    }

    /// A pod that isn't Ready may only be starting. When it has had as long as a replacement has, it may be the distance.
    fn patient(&self, pod: &Pod) -> Result<(), HeldReason> {
        let age = std::time::Duration::try_from(self.input.now.wall.duration_since(pod.created)).unwrap_or_default();
        if pod.serves() || age > self.input.rules.replacement_timeout { Ok(()) } else { Err(HeldReason::NotReady) }
    }

    /// That nobody refused the pod, its workload or its budget a moment ago.
    fn not_refused(&self, key: &WorkloadKey, pod: &'a Pod) -> Result<(), HeldReason> {
        if self.input.backoff.is_empty() {
            return Ok(());
        }
        let budgets = self.away.covering(pod);
        let mut uids = [&*pod.uid, &*key.uid].into_iter().chain(budgets.iter().map(|(uid, _)| *uid));
        uids.find_map(|uid| self.input.backoff.get(uid)).map_or(Ok(()), |why| Err(why.clone()))
    }
}
