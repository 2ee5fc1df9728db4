//! Pods that wait for the scheduler: those that come before a replacement may take the room that it needs.

use std::collections::HashMap;

use super::{
    Misfit, nodes,
    resources::{Used, lacking},
    taints,
};
use crate::core::workload::{Node, Pod, Resources};

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

fn whose(pod: &Pod) -> &str {
    pod.owner.as_ref().map_or(&pod.uid, |owner| &owner.uid)
}

impl<'a> Queue<'a> {
    pub(super) fn enter(&mut self, pod: &'a Pod) {
        let alike = self.waiting.entry(whose(pod)).or_insert(Alike { pod, count: 0 });
        alike.count += 1;
        // They may have been created under different rules: whoever asks for most stands for all.
        if pod.requests.cpu_m > alike.pod.requests.cpu_m {
            alike.pod = pod;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A place is reserved for one more pod like this one, which may be among those that wait.
    pub(super) fn reserve(&mut self, pod: &'a Pod) {
        *self.reserved.entry(whose(pod)).or_default() += 1;
    }

    pub(super) fn take_back(&mut self, pod: &Pod) {
        if let Some(reserved) = self.reserved.get_mut(whose(pod)) {
            *reserved = reserved.saturating_sub(1);
        }
    }

    /// Whether the node has room for the pod beside everybody who waits, comes first and may go there. Where exactly they go nobody
    /// knows, so that each counts wherever it would fit by itself; who fits nowhere takes nothing.
    pub(super) fn allow(
        &self,
        pod: &Pod,
        asks: &Resources,
        used: Option<&Used<'_>>,
        node: &Node,
    ) -> Result<(), Misfit> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut then = used.map(|used| used.resources.clone()).unwrap_or_default();
        let mut pods = used.map_or(0, |used| used.pods);
        for (owner, Alike { pod: other, count }) in &self.waiting {
            let count = count.saturating_sub(self.reserved.get(owner).copied().unwrap_or(0));
            let comes_first = other.priority >= pod.priority && count > 0;
            if comes_first && may_go(other, used, node) {
                pods += count;
                add_times(&mut then, &other.requests, count);
            }
        }
        if pods >= node.pods {
            return Err(Misfit::Queued("pods".into()));
        }
        match lacking(asks, Some(&then), &node.allocatable) {
            Some(resource) => Err(Misfit::Queued(resource.to_owned())),
            None => Ok(()),
        }
    }
}

fn may_go(pod: &Pod, used: Option<&Used<'_>>, node: &Node) -> bool {
    lacking(&pod.requests, used.map(|used| &used.resources), &node.allocatable).is_none()
        && taints::allow(pod, node).is_ok()
        && nodes::allow(pod, node).is_ok()
}

fn add_times(sum: &mut Resources, each: &Resources, times: u64) {
    let times_each = |amount: u64| amount.saturating_mul(times);
    let other = each.other.iter().map(|(name, amount)| (name.clone(), times_each(*amount))).collect();
    sum.add(&Resources { cpu_m: times_each(each.cpu_m), memory_bytes: times_each(each.memory_bytes), other });
}
