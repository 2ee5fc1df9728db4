//! As the plugins TaintToleration and NodeUnschedulable.

use super::Misfit;
use crate::core::{
    distance::tier::Tier,
    selector::{NodeTerm, Operator},
    taints::{Taint, refusing},
    workload::{Node, Pod, Toleration},
};

pub(super) fn allow(pod: &Pod, node: &Node) -> Result<(), Misfit> {
    // The scheduler lets those through that tolerate the taint that comes with it; whoever cordons a node wants it to have no more.
    if node.unschedulable {
        return Err(Misfit::Cordoned);
    }
    if let Some(taint) = refused_by(pod, node) {
        return Err(Misfit::Taint(taint.key.clone()));
    }
    match disliked_by(pod, node).filter(|_| !must_be_near(pod)) {
        Some(taint) => Err(Misfit::SoftTaint(taint.key.clone())),
        None => Ok(()),
    }
}

/// The first taint that keeps the pod from the node.
pub(super) fn refused_by<'n>(pod: &Pod, node: &'n Node) -> Option<&'n Taint> {
    refusing(&node.taints, || pod.tolerations.iter().map(Toleration::tolerated))
}

/// A taint that only prefers others weighs 3 in the scheduler, and preferred node affinity 2: any node without one is taken first.
fn disliked_by<'n>(pod: &Pod, node: &'n Node) -> Option<&'n Taint> {
    let tolerated = |taint: &Taint| pod.tolerations.iter().any(|toleration| toleration.tolerated().tolerates(taint));
    node.taints.iter().find(|taint| taint.effect == "PreferNoSchedule" && !tolerated(taint))
}

/// Whether the pod's own terms leave it closely nodes alone, whatever else is preferred.
fn must_be_near(pod: &Pod) -> bool {
    let closely = Tier::Closely.label().unwrap_or_default();
    let near =
        |term: &NodeTerm| term.expressions.iter().any(|it| it.operator == Operator::In && it.values == [closely]);
    pod.node_terms.as_ref().is_some_and(|terms| terms.iter().all(near))
}
