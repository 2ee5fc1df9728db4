//! As the plugin NodeAffinity: the pod's own choice of nodes, by nodeSelector and required node affinity.

use super::Misfit;
use crate::core::workload::{Node, Pod};

pub(super) fn allow(pod: &Pod, node: &Node) -> Result<(), Misfit> {
    if !pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value)) {
        return Err(Misfit::NodeSelector);
    }
    match &pod.node_terms {
        Some(terms) if !terms.iter().any(|term| term.matches(&node.name, &node.labels)) => Err(Misfit::NodeAffinity),
        _ => Ok(()),
    }
}
