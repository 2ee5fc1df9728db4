//! As the plugin NodeResourcesFit.

use super::Misfit;
use crate::core::workload::{HostPort, Node, Pod, Resources};

/// What the pods of one node hold together.
#[derive(Debug, Default)]
pub(super) struct Used<'a> {
    pub resources: Resources,
    pub pods: u64,
    pub ports: Vec<&'a HostPort>,
}

impl<'a> Used<'a> {
    pub(super) fn add(&mut self, pod: &'a Pod, requests: &Resources) {
        self.pods += 1;
        self.resources.add(requests);
        self.ports.extend(&pod.host_ports);
    }

    /// Takes back what was added last.
    pub(super) fn take(&mut self, pod: &Pod, requests: &Resources) {
        self.pods = self.pods.saturating_sub(1);
        self.resources.take(requests);
        self.ports.truncate(self.ports.len().saturating_sub(pod.host_ports.len()));
    }
}

/// Whether the node has room for one more pod that asks for this.
pub(super) fn allow(asks: &Resources, used: Option<&Used<'_>>, node: &Node) -> Result<(), Misfit> {
    if node.pods <= used.map_or(0, |used| used.pods) {
        return Err(Misfit::Insufficient("pods".into()));
    }
    match lacking(asks, used.map(|used| &used.resources), &node.allocatable) {
        Some(resource) => Err(Misfit::Insufficient(resource.to_owned())),
        None => Ok(()),
    }
}

/// The first resource of which less is left than is asked for. Where nothing is asked for, nothing lacks, however much is used.
pub(super) fn lacking<'r>(asks: &'r Resources, used: Option<&Resources>, offered: &Resources) -> Option<&'r str> {
    let lacks = |wanted: u64, used: u64, offered: u64| wanted > 0 && used.saturating_add(wanted) > offered;
    if lacks(asks.cpu_m, used.map_or(0, |used| used.cpu_m), offered.cpu_m) {
        return Some("cpu");
    }
    if lacks(asks.memory_bytes, used.map_or(0, |used| used.memory_bytes), offered.memory_bytes) {
        return Some("memory");
    }
    let amount = |of: &Resources, name: &str| of.other.get(name).copied().unwrap_or(0);
    let other = asks
        .other
        .iter()
        .find(|(name, wanted)| lacks(**wanted, used.map_or(0, |used| amount(used, name)), amount(offered, name)));
    other.map(|(name, _)| name.as_str())
}
