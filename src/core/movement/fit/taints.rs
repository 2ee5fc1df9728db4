//! As the plugins TaintToleration and NodeUnschedulable.

use super::Misfit;
use crate::core::{
    taints::{Taint, refusing},
    workload::{Node, Pod, Toleration},
};

pub(super) fn allow(pod: &Pod, node: &Node) -> Result<(), Misfit> {
    // The scheduler lets those through that tolerate the taint that comes with it; whoever cordons a node wants it to have no more.
    if node.unschedulable {
        return Err(Misfit::Cordoned);
    }
    refused_by(pod, node).map_or(Ok(()), |taint| Err(Misfit::Taint(taint.key.clone())))
}

/// The first taint that keeps the pod from the node.
pub(super) fn refused_by<'n>(pod: &Pod, node: &'n Node) -> Option<&'n Taint> {
    refusing(&node.taints, || pod.tolerations.iter().map(Toleration::tolerated))
}
