//! What controller and webhook read alike of Kubernetes' own objects, each for its own picture of the cluster.

use k8s_openapi::{
    api::core::v1::{Node, Taint as KubeTaint},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::core::{DynamicObject, dynamic::ParseDynamicObjectError};

use super::{DatabaseCluster, keys};
use crate::core::{
    follow::Annotations,
    label_key::NoLabelKey,
    orders::{Orders, Place},
    taints::Taint,
};

/// Why a DatabaseCluster can't be read: an object outlives the schema that took it.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error(transparent)]
    Parse(#[from] ParseDynamicObjectError),
    #[error(transparent)]
    NodeLabel(#[from] NoLabelKey),
}

/// A DatabaseCluster with a key for its node label. Webhook, controller and commands all read it here.
///
/// # Errors
/// Another version wrote it, or no node could bear its label.
pub fn database(object: DynamicObject) -> Result<DatabaseCluster, Unreadable> {
    let database: DatabaseCluster = object.try_parse()?;
    database.own_node_label()?;
    Ok(database)
}

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

/// What people ask of an object by annotations under our domain, besides that. Those of a workload's pod template are `template`.
pub fn orders(place: Place<'_>, object: &ObjectMeta, template: Option<&ObjectMeta>) -> Option<Box<Orders>> {
    let template = template.and_then(|template| template.annotations.as_ref());
    let theirs = |key: &str| template?.get(key).map(String::as_str);
    Orders::read(place, object.annotations.as_ref()?, theirs)
}

/// A node's taints.
pub fn taints(taints: Vec<KubeTaint>) -> impl Iterator<Item = Taint> {
    taints.into_iter().map(|KubeTaint { key, value, effect, .. }| Taint {
        key,
        value: value.unwrap_or_default(),
        effect,
    })
}

/// Its kubelet says so.
#[must_use]
pub fn node_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
