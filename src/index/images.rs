//! The images that nodes list and pods have.

use k8s_openapi::api::core::v1::{Node as KubeNode, Pod as KubePod};

use crate::core::images::Images;

/// Takes note of what a node lists.
pub(super) fn of_node(images: &mut Images, node: &KubeNode) {
    let listed = node.status.iter().filter_map(|status| status.images.as_ref()).flatten();
    let name = node.metadata.name.as_deref().unwrap_or_default();
    images.note_node(name, listed.map(|image| image.names.as_deref().unwrap_or_default()));
}

/// Takes note of what a pod has that somebody owns: replicas have the same.
pub(super) fn of_pod(images: &mut Images, pod: &KubePod) {
    let owners = pod.metadata.owner_references.iter().flatten();
    let Some(owner) = owners.into_iter().find(|owner| owner.controller == Some(true)) else { return };
    let containers =
        pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    images.note_pod(&owner.uid, containers.filter_map(|container| container.image.as_deref()));
}
