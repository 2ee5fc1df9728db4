//! Carries out one move: an eviction, or a restart.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::Pod,
        policy::v1::Eviction,
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions, Status},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::json;
use strum::{IntoStaticStr, VariantNames};

use super::{EffectError, bounded};
use crate::{
    api::keys,
    core::movement::{plan::Move, restart, ways::Way},
};

/// How the API server took an eviction.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Evicted {
    /// The pod is on its way out.
    Accepted,
    /// It was gone already, or another pod bears its name now.
    Gone,
    /// A disruption budget allows none now.
    NoBudget(String),
    /// Not now: throttled, a conflict, or an API server in trouble.
    Later(String),
    /// Not at all, as things are: more than one budget, a terminating namespace, missing rights.
    Refused(String),
}

impl Evicted {
    /// Every [`Evicted::name`].
    pub const NAMES: &'static [&'static str] = Self::VARIANTS;

    /// In one word, for metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

/// Carries out one move.
///
/// # Errors
/// No answer: then nobody knows whether it was carried out, and the next look at the cluster tells.
pub async fn carry_out(client: &Client, move_: &Move, restart_series: &str) -> Result<Evicted, EffectError> {
    match move_.way {
        Way::Evict => evict(client, move_).await,
        Way::Restart => restart(client, move_, &restart::mark(restart_series, move_.time)).await,
    }
}

/// Evicts one pod, and only the one with this UID (policy/v1 Eviction).
///
/// `Api::evict` is not used: kube 5.0.0 serialises its options under a name that the API server ignores, so that the
/// UID precondition would be lost.
async fn evict(client: &Client, move_: &Move) -> Result<Evicted, EffectError> {
    let eviction = Eviction {
        metadata: ObjectMeta {
            name: Some(move_.pod.clone()),
            namespace: Some(move_.namespace.clone()),
            ..ObjectMeta::default()
        },
        delete_options: Some(DeleteOptions {
            preconditions: Some(Preconditions { uid: Some(move_.uid.clone()), resource_version: None }),
            ..DeleteOptions::default()
        }),
    };
    let api: Api<Pod> = Api::namespaced(client.clone(), &move_.namespace);
    let answer =
        bounded(api.create_subresource::<_, Status>("eviction", &move_.pod, &PostParams::default(), &eviction)).await;
    match answer {
        Ok(status) => Ok(granted(status)),
        Err(EffectError::Api(kube::Error::Api(status))) => Ok(refusal(&status)),
        Err(error) => Err(error),
    }
}

/// A pod under several budgets is answered 201 with a failure inside.
fn granted(status: Status) -> Evicted {
    match status.status.as_deref() {
        Some("Failure") => Evicted::Refused(status.message.unwrap_or_default()),
        _ => Evicted::Accepted,
    }
}

/// Reads a refusal by its status code and causes, never by its text.
fn refusal(status: &kube::core::Status) -> Evicted {
    let message = status.message.clone();
    let by_budget = status
        .details
        .as_ref()
        .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "DisruptionBudget"));
    match status.code {
        404 | 409 => Evicted::Gone,
        429 if by_budget => Evicted::NoBudget(message),
        429 | 500..=599 => Evicted::Later(message),
        _ => Evicted::Refused(message),
    }
}

/// Restarts a workload as `kubectl rollout restart` does, with an annotation of its own that says why.
async fn restart(client: &Client, move_: &Move, mark: &str) -> Result<Evicted, EffectError> {
    let patch = json!({ "spec": { "template": { "metadata": { "annotations": {
        keys::RESTARTED_FOR: mark,
        "kubectl.kubernetes.io/restartedAt": Timestamp::now().to_string(),
    } } } } });
    let params = PatchParams { field_manager: Some(keys::FIELD_MANAGER.into()), ..PatchParams::default() };
    let (namespace, name) = (&move_.workload.namespace, &move_.workload.name);
    let answer = if move_.workload.kind == "Rollout" {
        restart_rollout(client, move_, mark, &params).await
    } else if move_.workload.kind == "StatefulSet" {
        let api: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
        bounded(api.patch(name, &params, &Patch::Strategic(patch))).await.map(|_| ())
    } else {
        let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        bounded(api.patch(name, &params, &Patch::Strategic(patch))).await.map(|_| ())
    };
    match answer {
        Ok(()) => Ok(Evicted::Accepted),
        Err(EffectError::Api(kube::Error::Api(status))) => Ok(refusal(&status)),
        Err(error) => Err(error),
    }
}

/// Has a Rollout of Argo's evict its pods and make them anew, in the version that they are of. What stands in its template would make
/// another version, and so the mark stands on the object.
///
/// `spec.restartAt` is compared with when pods were created, and so it is made of that: a second after the youngest of them, whatever
/// clock the API server goes by.
async fn restart_rollout(client: &Client, move_: &Move, mark: &str, params: &PatchParams) -> Result<(), EffectError> {
    let rollouts = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &move_.workload.namespace, &rollouts);
    let youngest = move_.beside.1.created;
    let after = youngest.checked_add(SignedDuration::from_secs(1)).unwrap_or(youngest);
    let patch = json!({
        "metadata": { "uid": move_.workload.uid, "annotations": { keys::RESTARTED_FOR: mark } },
        "spec": { "restartAt": after },
    });
    bounded(api.patch(&move_.workload.name, params, &Patch::Merge(patch))).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_read_by_its_status_code_and_cause() {
        let refused = |code: u16, cause: Option<&str>| {
            let causes: Vec<_> =
                cause.iter().map(|reason| json!({"reason": reason, "message": "m", "field": ""})).collect();
            let status = json!({"status": "Failure", "message": "why", "reason": "r", "code": code, "details": {"causes": causes}});
            refusal(&serde_json::from_value(status).unwrap())
        };
        let why = || "why".to_owned();
        for (code, cause, expected) in [
            (404, None, Evicted::Gone),
            (409, None, Evicted::Gone),
            (429, Some("DisruptionBudget"), Evicted::NoBudget(why())),
            (429, Some("Other"), Evicted::Later(why())),
            (429, None, Evicted::Later(why())),
            (500, None, Evicted::Later(why())),
            // A webhook or an aggregated server that speaks of a budget has none.
            (500, Some("DisruptionBudget"), Evicted::Later(why())),
            (504, None, Evicted::Later(why())),
            (403, None, Evicted::Refused(why())),
            (422, None, Evicted::Refused(why())),
        ] {
            assert_eq!(refused(code, cause), expected, "{code} {cause:?}");
        }
    }

    #[test]
    fn an_eviction_that_is_answered_with_a_failure_inside_is_refused() {
        let answer = |status: Option<&str>| {
            let [status, message] = [status, Some("more than one budget")].map(|text| text.map(str::to_owned));
            granted(Status { status, message, ..Status::default() })
        };
        assert_eq!(answer(Some("Success")), Evicted::Accepted);
        assert_eq!(answer(None), Evicted::Accepted);
        assert_eq!(answer(Some("Failure")), Evicted::Refused("more than one budget".to_owned()));
    }

    #[test]
    fn metrics_know_these_answers_to_an_eviction() {
        assert_eq!(Evicted::NAMES, ["accepted", "gone", "no_budget", "later", "refused"]);
        assert_eq!(Evicted::NoBudget(String::new()).name(), "no_budget");
    }
}
