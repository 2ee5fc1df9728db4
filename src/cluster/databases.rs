//! The DatabaseClusters of a cluster, for tools that ask once. They are read untyped: one that can't be read hides no other.

use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    core::{DynamicObject, dynamic::ParseDynamicObjectError},
    discovery::ApiResource,
};

use crate::{
    api::DatabaseCluster,
    effect::{EffectError, bounded},
};

/// Why a DatabaseCluster can't be had.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("can't read the DatabaseClusters")]
    Read(#[from] EffectError),
    #[error("there is no DatabaseCluster {name}; there are: {existing}")]
    Missing { name: String, existing: String },
    #[error("the DatabaseCluster {name} can't be read")]
    Unreadable { name: String, source: ParseDynamicObjectError },
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
    database.try_parse().map_err(|source| DatabaseError::Unreadable { name, source })
}
