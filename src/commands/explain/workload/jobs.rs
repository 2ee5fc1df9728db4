//! CronJobs and Jobs, which nobody watches: they make pods now and then, and nobody moves these.

use k8s_openapi::api::batch::v1::Job;
use kube::{Api, Client, ResourceExt, api::ListParams, core::PartialObjectMeta};

use super::{Found, WorkloadKey};
use crate::{
    cluster::{self, EffectError, owners},
    commands::{explain::ExplainError, kinds::is_called},
};

const API: &str = "batch/v1";
/// What is said of both.
pub(super) const NOTE: &str =
    "admission places its pods when they are created; nothing moves them afterwards, because their work would be lost";

/// Whether it is about such a kind.
pub(super) fn is_one(kind: &str) -> bool {
    kind == "Job" || kind == "CronJob"
}

/// Looks for it itself, whether it has pods or not. `None`: another kind was meant, or there is none of that name.
///
/// # Errors
/// No answer, or a refusal.
pub(in crate::commands::explain) async fn find(
    client: &Client,
    namespace: &str,
    typed: &str,
    name: &str,
) -> Result<Option<Found>, ExplainError> {
    let Some(kind) = ["CronJob", "Job"].into_iter().find(|kind| is_called(kind, typed)) else { return Ok(None) };
    let unread = |what: String| move |source: EffectError| ExplainError::Owner { what, source };
    let resource = owners::resource(client, API, kind).await.map_err(unread(kind.to_owned()))?;
    let Some(resource) = resource else { return Ok(None) };
    let object = owners::object(client, &resource, namespace, name).await;
    let Some(object) = object.map_err(unread(format!("{typed} {namespace}/{name}")))? else { return Ok(None) };
    let key = |kind: &str, name: String, uid: String| WorkloadKey {
        namespace: namespace.into(),
        kind: kind.into(),
        name,
        uid,
    };
    let uid = object.uid().unwrap_or_default();
    let jobs: Api<PartialObjectMeta<Job>> = Api::namespaced(client.clone(), namespace);
    let jobs = match kind {
        "CronJob" => cluster::list_matching(&jobs, ListParams::default()).await.map_err(unread("Jobs".to_owned()))?,
        _ => Vec::new(),
    };
    let its_own = jobs.into_iter().filter(|job| job.owner_references().iter().any(|owner| owner.uid == uid));
    let parts = its_own.map(|job| key("Job", job.name_any(), job.uid().unwrap_or_default())).collect();
    Ok(Some(Found { key: key(kind, name.to_owned(), uid), api: API.to_owned(), itself: None, through: None, parts }))
}
