//! The controllers themselves, for those who want none to run.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{EffectError, bounded};
use crate::api::keys;

/// As deploy/ labels them, whatever they are called.
fn ours() -> ListParams {
    ListParams::default().labels("app.kubernetes.io/name=switchover,app.kubernetes.io/component=controller")
}

/// The controllers' Deployments of this namespace, by name.
///
/// # Errors
/// No answer, or a refusal.
pub async fn find(client: &Client, namespace: &str) -> Result<Vec<String>, EffectError> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    Ok(bounded(api.list(&ours())).await?.items.iter().map(ResourceExt::name_any).collect())
}

/// Wants no replica of a Deployment any more.
///
/// # Errors
/// No answer, or a refusal.
pub async fn stop(client: &Client, namespace: &str, deployment: &str) -> Result<(), EffectError> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let params = PatchParams { field_manager: Some(keys::FIELD_MANAGER.into()), ..PatchParams::default() };
    let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    bounded(api.patch_scale(deployment, &params, &none)).await.map(|_| ())
}

/// Whether a controller's pod is still there, ending or not.
///
/// # Errors
/// No answer, or a refusal.
pub async fn any_pod(client: &Client, namespace: &str) -> Result<bool, EffectError> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    Ok(!bounded(api.list_metadata(&ours().limit(1))).await?.items.is_empty())
}
