//! Pods that wait for the scheduler: those that come before a replacement may take the room that it needs.

use std::sync::Arc;

use super::{
    Misfit, nodes,
    resources::{Used, lacking},
    taints,
};
use crate::core::{
    hash::HashMap,
    map::Groups,
    workload::{Node, Pod, Resources},
};

/// Pods that wait, by whose they are: those of one owner are alike.
#[derive(Debug, Default)]
pub(super) struct Queue<'a> {
    waiting: HashMap<&'a str, Alike<'a>>,
    /// How many of them a place is reserved for.
    reserved: HashMap<&'a str, u64>,
}

#[derive(Debug)]
struct Alike<'a> {
    /// One of them.
    pod: &'a Pod,
    count: u64,
}

/// Whether it takes room that nobody knows where to look for. Of one that the scheduler has nothing for nobody here knows what it waits
/// for: it might do so for ever. For one that is nominated room is made where it is nominated.
fn is_waiting(pod: &Pod) -> bool {
    let for_ever = pod.unschedulable && (pod.pinned_by.is_some() || pod.unforeseen.is_some());
    pod.nominated.is_none() && !for_ever
}

impl<'a> Queue<'a> {
    pub(super) fn of(waiting: &'a Groups<Pod>) -> Self {
        let alike = |(whose, pods): (&'a String, &'a Arc<Vec<Arc<Pod>>>)| {
            let pods = || pods.iter().map(AsRef::as_ref).filter(|pod| is_waiting(pod));
            // They may have been created under different rules: whoever asks for most stands for all.
            let pod = pods().max_by_key(|pod| (pod.requests.cpu_m, &pod.uid))?;
            Some((whose.as_str(), Alike { pod, count: pods().count() as u64 }))
        };
        Self { waiting: waiting.iter().filter_map(alike).collect(), reserved: HashMap::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What all of them ask for together, and how many they are.
    pub(super) fn demand(&self) -> (Resources, u64) {
        let (mut sum, mut pods) = (Resources::default(), 0u64);
        for Alike { pod, count } in self.waiting.values() {
            add_times(&mut sum, &pod.requests, *count);
            pods = pods.saturating_add(*count);
        }
        (sum, pods)
    }

    /// A place is reserved for one more pod like this one, which may be among those that wait.
    pub(super) fn reserve(&mut self, pod: &'a Pod) {
        *self.reserved.entry(pod.whose()).or_default() += 1;
    }

    pub(super) fn take_back(&mut self, pod: &Pod) {
        if let Some(reserved) = self.reserved.get_mut(pod.whose()) {
            *reserved = reserved.saturating_sub(1);
        }
    }

    /// Whether the node has room for the pod beside everybody who waits, comes first and may go there. Where exactly they go nobody
    /// knows, so that each counts wherever it would fit by itself; who fits nowhere takes nothing. What `lets` says of others and the node
    /// is costly, and is asked only where somebody is in the way.
    pub(super) fn allow(
        &self,
        pod: &Pod,
        asks: &Resources,
        used: Used<'_>,
        node: &Node,
        lets: impl Fn(&Pod) -> bool,
    ) -> Result<(), Misfit> {
        let first = |(owner, Alike { pod: other, count }): (&&str, &Alike<'a>)| {
            let count = count.saturating_sub(self.reserved.get(owner).copied().unwrap_or(0));
            (other.priority >= pod.priority && count > 0 && may_go(other, used, node)).then_some((*other, count))
        };
        let mut first: Vec<(&Pod, u64)> = self.waiting.iter().filter_map(first).collect();
        if beside(&first, asks, used, node).is_err() {
            first.retain(|(other, _)| lets(other));
        }
        beside(&first, asks, used, node)
    }
}

/// Whether there is room for one more beside all of these.
fn beside(first: &[(&Pod, u64)], asks: &Resources, used: Used<'_>, node: &Node) -> Result<(), Misfit> {
    if first.is_empty() {
        return Ok(());
    }
    let (mut then, mut pods) = (used.resources.clone(), used.pods);
    for (other, count) in first {
        pods += count;
        add_times(&mut then, &other.requests, *count);
    }
    if pods >= node.pods {
        return Err(Misfit::Queued("pods".into()));
    }
    lacking(asks, &then, &node.allocatable).map_or(Ok(()), |resource| Err(Misfit::Queued(resource)))
}

fn may_go(pod: &Pod, used: Used<'_>, node: &Node) -> bool {
    lacking(&pod.requests, used.resources, &node.allocatable).is_none()
        && taints::allow(pod, node).is_ok()
        && nodes::allow(pod, node).is_ok()
}

fn add_times(sum: &mut Resources, each: &Resources, times: u64) {
    let times_each = |amount: u64| amount.saturating_mul(times);
    let other = each.other.iter().map(|(name, amount)| (name.clone(), times_each(*amount))).collect();
    sum.add(&Resources { cpu_m: times_each(each.cpu_m), memory_bytes: times_each(each.memory_bytes), other });
}
