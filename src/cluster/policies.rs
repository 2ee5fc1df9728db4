//! The objects by which the API server itself injects. The client's library has no types for them, and older servers don't serve them.

use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};

use super::{EffectError, list_matching};
use crate::api::keys;

/// Ours of this kind; none where the API server is older than it.
///
/// # Errors
/// No answer, or a refusal.
pub async fn injecting(client: &Client, kind: &str) -> Result<Vec<DynamicObject>, EffectError> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind));
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
    match list_matching(&api, ListParams::default().labels(keys::PART_OF_US)).await {
        Err(error) if error.says_gone() => Ok(Vec::new()),
        answer => answer,
    }
}
