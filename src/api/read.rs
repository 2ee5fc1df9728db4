//! What controller and webhook read alike of Kubernetes' own objects, each for its own picture of the cluster.

use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::keys;
use crate::core::follow::Annotations;

/// The value of the label by which a namespace opts in.
#[must_use]
pub fn opt_in(namespace: &ObjectMeta) -> Option<&str> {
    namespace.labels.as_ref()?.get(keys::FOLLOW).map(String::as_str)
}

/// What an object says in its annotations.
#[must_use]
pub fn annotations(object: &ObjectMeta) -> Annotations<'_> {
    Annotations::pick(|key| object.annotations.as_ref()?.get(key).map(String::as_str))
}

/// Its kubelet says so.
#[must_use]
pub fn node_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
