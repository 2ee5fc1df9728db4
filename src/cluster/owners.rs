//! Owners of pods, whatever kind they are of.

use k8s_openapi::api::autoscaling::v1::Scale;
use kube::{
    Api, Client,
    core::{DynamicObject, GroupVersionKind},
    discovery::{self, ApiResource},
};

use super::{EffectError, bounded};

/// What a kind (of `GROUP/VERSION`) is called in paths; `None` if it isn't served, or not in namespaces.
///
/// # Errors
/// No answer.
pub async fn resource(client: &Client, api: &str, kind: &str) -> Result<Option<ApiResource>, EffectError> {
    let (group, version) = api.split_once('/').unwrap_or(("", api));
    let found = bounded(discovery::pinned_kind(client, &GroupVersionKind::gvk(group, version, kind))).await;
    match found {
        Ok((resource, capabilities)) => Ok((capabilities.scope == discovery::Scope::Namespaced).then_some(resource)),
        Err(EffectError::Api(kube::Error::Discovery(_))) => Ok(None),
        Err(error) if error.says_gone() => Ok(None),
        Err(error) => Err(error),
    }
}

/// How many pods an object is to have; `None` if it is gone or its kind has no such subresource.
///
/// # Errors
/// No answer, or a refusal.
pub async fn scale(
    client: &Client,
    kind: &ApiResource,
    namespace: &str,
    name: &str,
) -> Result<Option<Scale>, EffectError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, kind);
    there(bounded(api.get_scale(name)).await)
}

/// The object itself; `None` if it is gone.
///
/// # Errors
/// No answer, or a refusal.
pub async fn object(
    client: &Client,
    kind: &ApiResource,
    namespace: &str,
    name: &str,
) -> Result<Option<DynamicObject>, EffectError> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, kind);
    there(bounded(api.get(name)).await)
}

fn there<T>(answer: Result<T, EffectError>) -> Result<Option<T>, EffectError> {
    match answer {
        Err(error) if error.says_gone() => Ok(None),
        answer => answer.map(Some),
    }
}
