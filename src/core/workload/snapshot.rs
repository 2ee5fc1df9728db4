//! The facts together, as plans are made of them.

use std::sync::Arc;

use super::{DisruptionBudget, Namespace, Node, Pod, PodGroups, SetGroups, Workload};
use crate::core::{map::Map, quota::Quota};

/// Everything that a decision looks at, as it was at one moment. Borrowed from the index, which keeps it current.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// By name.
    pub nodes: &'a Map<String, Arc<Node>>,
    /// By UID.
    pub pods: &'a Map<String, Arc<Pod>>,
    /// By UID.
    pub workloads: &'a Map<String, Arc<Workload>>,
    /// By UID.
    pub budgets: &'a Map<String, Arc<DisruptionBudget>>,
    /// By name.
    pub namespaces: &'a Map<String, Arc<Namespace>>,
    /// By UID.
    pub quotas: &'a Map<String, Arc<Quota>>,
    /// The pods, grouped.
    pub groups: &'a PodGroups,
    /// The ReplicaSets and StatefulSets among the workloads, grouped.
    pub sets: &'a SetGroups,
}

impl<'a> Snapshot<'a> {
    pub fn nodes(self) -> impl Iterator<Item = &'a Node> {
        self.nodes.values().map(Arc::as_ref)
    }

    pub fn pods(self) -> impl Iterator<Item = &'a Pod> {
        self.pods.values().map(Arc::as_ref)
    }

    /// Whether the pod's node is there and Ready. One that isn't may be dead, and its pods with it, whatever they said last.
    #[must_use]
    pub fn on_a_live_node(self, pod: &Pod) -> bool {
        pod.node.as_deref().and_then(|node| self.nodes.get(node)).is_some_and(|node| node.ready)
    }

    /// Whether the pod serves: it says so, and so does its node.
    #[must_use]
    pub fn serves(self, pod: &Pod) -> bool {
        pod.serves() && self.on_a_live_node(pod)
    }
}
