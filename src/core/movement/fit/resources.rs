//! As the plugin NodeResourcesFit.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use super::Misfit;
use crate::core::workload::{HostPort, Node, Occupants, Pod, Resources};

static NOTHING: Resources = Resources { cpu_m: 0, memory_bytes: 0, other: BTreeMap::new() };

/// What the pods of one node hold together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used<'r> {
    pub resources: &'r Resources,
    pub pods: u64,
    there: &'r [Arc<Pod>],
    in_thought: &'r [&'r HostPort],
}

impl<'r> Used<'r> {
    /// By those that are there.
    pub(super) fn by(occupants: Option<&'r Arc<Occupants>>) -> Self {
        let (resources, there) = occupants.map_or((&NOTHING, &[][..]), |it| (&it.requests, &*it.pods));
        Self { resources, pods: there.len() as u64, there, in_thought: &[] }
    }

    pub(super) fn ports(self) -> impl Iterator<Item = &'r HostPort> {
        let there = self.there.iter().flat_map(|pod| pod.host_ports.iter());
        there.chain(self.in_thought.iter().copied())
    }
}

/// The same of a node that others have been put onto in thought, or taken off.
#[derive(Debug)]
pub(super) struct Changed<'a> {
    occupants: Option<&'a Arc<Occupants>>,
    resources: Resources,
    pub pods: u64,
    /// Of those that are there in thought.
    ports: Vec<&'a HostPort>,
}

impl<'a> Changed<'a> {
    pub(super) fn of(occupants: Option<&'a Arc<Occupants>>) -> Self {
        let Used { resources, pods, .. } = Used::by(occupants);
        Self { occupants, resources: resources.clone(), pods, ports: Vec::new() }
    }

    pub(super) fn used(&self) -> Used<'_> {
        Used { resources: &self.resources, pods: self.pods, in_thought: &self.ports, ..Used::by(self.occupants) }
    }

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
pub(super) fn allow(asks: &Resources, used: Used<'_>, node: &Node) -> Result<(), Misfit> {
    if node.pods <= used.pods {
        return Err(Misfit::Insufficient("pods".into()));
    }
    match lacking(asks, used.resources, &node.allocatable) {
        Some(resource) => Err(Misfit::Insufficient(resource)),
        None => Ok(()),
    }
}

/// The first resource of which less is left than is asked for. Where nothing is asked for, nothing lacks, however much is used.
pub(super) fn lacking(asks: &Resources, used: &Resources, offered: &Resources) -> Option<Cow<'static, str>> {
    let lacks = |wanted: u64, used: u64, offered: u64| wanted > 0 && used.saturating_add(wanted) > offered;
    if lacks(asks.cpu_m, used.cpu_m, offered.cpu_m) {
        return Some("cpu".into());
    }
    if lacks(asks.memory_bytes, used.memory_bytes, offered.memory_bytes) {
        return Some("memory".into());
    }
    let amount = |of: &Resources, name: &str| of.other.get(name).copied().unwrap_or(0);
    let other = asks.other.iter().find(|(name, wanted)| lacks(**wanted, amount(used, name), amount(offered, name)));
    other.map(|(name, _)| name.clone().into())
}
