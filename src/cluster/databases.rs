//! The DatabaseClusters of a cluster: for tools that ask once they are read untyped, so that one that can't be read hides no
//! other; and the status, which the leader writes.

use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::DynamicObject,
    discovery::ApiResource,
};
use serde_json::json;

use super::{EffectError, bounded};
use crate::api::{DatabaseCluster, DatabaseClusterStatus, keys, read};

/// Why a DatabaseCluster can't be had.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("can't read the DatabaseClusters")]
    Read(#[from] EffectError),
    #[error("there is no DatabaseCluster {name}; there are: {existing}")]
    Missing { name: String, existing: String },
    #[error("the DatabaseCluster {name} can't be read")]
    Unreadable { name: String, source: read::Unreadable },
}

fn api(client: &Client) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &ApiResource::erase::<DatabaseCluster>(&()))
}

/// All of them.
///
/// # Errors
/// No answer, or missing rights.
pub async fn databases(client: &Client) -> Result<Vec<DynamicObject>, EffectError> {
    Ok(bounded(api(client).list(&ListParams::default())).await?.items)
}

/// All of them; none where nobody has heard of the kind.
///
/// # Errors
/// No answer, or missing rights.
pub async fn databases_if_any(client: &Client) -> Result<Vec<DynamicObject>, EffectError> {
    match databases(client).await {
        Err(error) if error.says_gone() => Ok(Vec::new()),
        answer => answer,
    }
}

/// The one of this name.
///
/// # Errors
/// No answer, missing rights, or no such database; then the error names the ones that there are.
pub async fn database(client: &Client, name: &str) -> Result<DynamicObject, DatabaseError> {
    match bounded(api(client).get_opt(name)).await? {
        Some(database) => Ok(database),
        None => Err(missing(name, &databases(client).await?)),
    }
}

/// That `existing` doesn't contain this one.
#[must_use]
pub fn missing(name: &str, existing: &[DynamicObject]) -> DatabaseError {
    let names: Vec<String> = existing.iter().map(ResourceExt::name_any).collect();
    let existing = if names.is_empty() { "none".into() } else { names.join(", ") };
    DatabaseError::Missing { name: name.into(), existing }
}

/// With its spec and status.
///
/// # Errors
/// Another version wrote it, so that it can't be read.
pub fn typed(database: DynamicObject) -> Result<DatabaseCluster, DatabaseError> {
    let name = database.name_any();
    read::database(database).map_err(|source| DatabaseError::Unreadable { name, source })
}

/// Reads a DatabaseCluster as it is now.
///
/// # Errors
/// No answer, or a refusal.
pub async fn read_database(client: &Client, name: &str) -> Result<DatabaseCluster, EffectError> {
    bounded(Api::all(client.clone()).get(name)).await
}

/// Removes an annotation of a DatabaseCluster if it still has this value.
///
/// # Errors
/// No answer, or a refusal; also when the object changed at the same moment (409): try again.
pub async fn remove_annotation(client: &Client, name: &str, key: &str, value: &str) -> Result<(), EffectError> {
    let api: Api<DatabaseCluster> = Api::all(client.clone());
    let current = bounded(api.get_metadata(name)).await?.metadata;
    if current.annotations.as_ref().and_then(|annotations| annotations.get(key)).is_none_or(|now| now != value) {
        return Ok(());
    }
    let metadata = json!({ "resourceVersion": current.resource_version, "annotations": { key: null } });
    let params = PatchParams { field_manager: Some(keys::FIELD_MANAGER.into()), ..PatchParams::default() };
    bounded(api.patch(name, &params, &Patch::Merge(json!({ "metadata": metadata })))).await.map(|_| ())
}

/// Writes the whole status of a DatabaseCluster, if nobody has written anything of it since it was of this `version`
/// (`metadata.resourceVersion`); the version that it has now. Server-side apply: what is not in `status` any more is removed.
///
/// # Errors
/// No answer, or a refusal; it conflicts (409) where somebody has written meanwhile.
pub async fn write_status(
    client: &Client,
    name: &str,
    status: &DatabaseClusterStatus,
    version: &str,
) -> Result<String, EffectError> {
    let patch = json!({
        "apiVersion": format!("{}/{}", crate::api::GROUP, crate::api::VERSION),
        "kind": "DatabaseCluster",
        "metadata": { "resourceVersion": version },
        "status": status,
    });
    let params = PatchParams::apply(keys::FIELD_MANAGER).force();
    let written = bounded(api(client).patch_status(name, &params, &Patch::Apply(patch))).await?;
    Ok(written.resource_version().unwrap_or_default())
}
