//! Carries out what was decided: one label change, one move, one status, one event. Each call is bounded in time,
//! tried once, and says in its answer what happened; whoever decided decides what to do about it.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{Node, ObjectReference, Pod},
        policy::v1::Eviction,
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions, Status},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams, ValidationDirective},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use prometheus_client::metrics::counter::Counter;
use serde_json::json;
use tokio::sync::mpsc;

use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus, keys},
    core::{journal::Action, overwrite::NodeChange, plan::Move, restart, tier::Tier},
};

/// Time allowed for one call.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    #[error("the API server did not answer within {} s", TIME_LIMIT.as_secs())]
    Timeout,
    #[error("not written after all: leadership, primary or spec changed meanwhile")]
    Outdated,
    #[error("{}", plainly(.0))]
    Api(#[from] kube::Error),
}

/// What the API server says, without the rest of its answer.
pub(crate) fn plainly(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.message.starts_with("404 page not found") => {
            "the API server knows nothing of that kind: is switchover installed (deploy/base/crds.yaml)?".to_owned()
        }
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// A call with its time limit.
pub(crate) async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, EffectError> {
    Ok(tokio::time::timeout(TIME_LIMIT, call).await.map_err(|_| EffectError::Timeout)??)
}

/// Gives a node the labels of its tiers, by key: one for each database. Touches nothing else.
///
/// # Errors
/// No answer, or a refusal.
pub async fn label_node(
    client: &Client,
    node: &str,
    labels: impl Iterator<Item = (&str, Tier)>,
) -> Result<(), EffectError> {
    let labels: BTreeMap<&str, Option<&str>> = labels.map(|(key, tier)| (key, tier.label())).collect();
    patch_node(client, node, json!({ "metadata": { "labels": labels } })).await
}

/// Gives a node the taint of one database if far nodes are to be tainted, takes it off the others, and writes the label along.
/// `still_right` is asked between reading the node and writing it.
///
/// # Errors
/// No answer, or a refusal; also when the node's taints changed at the same moment (409): try again. Or it isn't right any more.
pub async fn taint_node(
    client: &Client,
    node: &str,
    key: &str,
    change: NodeChange,
    still_right: impl Fn() -> bool,
) -> Result<(), EffectError> {
    let NodeChange { tier, taint, retaint: _ } = change;
    let api: Api<Node> = Api::all(client.clone());
    let mut patch = json!({});
    // Of a node that was never measured we say nothing: neither a label nor that there is none.
    if let Some(label) = tier.label() {
        patch["metadata"]["labels"] = json!({ key: label });
    }
    // Taints are one list that several controllers write: replace it only as a whole and only as it was read.
    let current = bounded(api.get(node)).await?;
    let before = current.spec.and_then(|spec| spec.taints).unwrap_or_default();
    let mut after = before.clone();
    after.retain(|taint| !(taint.key == key && taint.value.as_deref() == Tier::Far.label()));
    if let (Some(effect), Tier::Far) = (taint, tier) {
        after.push(k8s_openapi::api::core::v1::Taint {
            key: key.to_owned(),
            value: Tier::Far.label().map(str::to_owned),
            effect: effect.as_str().to_owned(),
            time_added: None,
        });
    }
    if before != after {
        patch["metadata"]["resourceVersion"] = json!(current.metadata.resource_version);
        patch["spec"] = json!({ "taints": after });
    }
    if !still_right() {
        return Err(EffectError::Outdated);
    }
    patch_node(client, node, patch).await
}

async fn patch_node(client: &Client, node: &str, patch: serde_json::Value) -> Result<(), EffectError> {
    let api: Api<Node> = Api::all(client.clone());
    let params = PatchParams {
        field_manager: Some(keys::FIELD_MANAGER.into()),
        // Nothing here can be misspelt, and thousands of nodes may be written at once.
        field_validation: Some(ValidationDirective::Ignore),
        ..PatchParams::default()
    };
    // Of labels and taints it means what a merge patch (RFC 7386) does, and costs the API server a third less: that one is
    // applied to the node's JSON text.
    bounded(api.patch(node, &params, &Patch::Strategic(patch))).await.map(|_| ())
}

/// How the API server took an eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub const NAMES: [&'static str; 5] = ["accepted", "gone", "no_budget", "later", "refused"];

    /// In one word, for metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Gone => "gone",
            Self::NoBudget(_) => "no_budget",
            Self::Later(_) => "later",
            Self::Refused(_) => "refused",
        }
    }
}

/// Carries out one move.
///
/// # Errors
/// No answer: then nobody knows whether it was carried out, and the next look at the cluster tells.
pub async fn carry_out(client: &Client, move_: &Move, restart_series: &str) -> Result<Evicted, EffectError> {
    match move_.action {
        Action::Evict => evict(client, move_).await,
        Action::Restart => restart(client, move_, &restart::mark(restart_series, move_.time)).await,
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
        // A pod under several budgets is answered 201 with a failure inside.
        Ok(status) if status.status.as_deref() == Some("Failure") => {
            Ok(Evicted::Refused(status.message.unwrap_or_default()))
        }
        Ok(_) => Ok(Evicted::Accepted),
        Err(EffectError::Api(kube::Error::Api(status))) => Ok(refusal(&status)),
        Err(error) => Err(error),
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
    let answer = if move_.workload.kind == "StatefulSet" {
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

/// Writes the whole status of a DatabaseCluster. Server-side apply: what is not in `status` any more is removed.
///
/// # Errors
/// No answer, or a refusal.
pub async fn write_status(client: &Client, name: &str, status: &DatabaseClusterStatus) -> Result<(), EffectError> {
    let api: Api<DatabaseCluster> = Api::all(client.clone());
    let patch = json!({
        "apiVersion": format!("{}/{}", crate::api::GROUP, crate::api::VERSION),
        "kind": "DatabaseCluster",
        "status": status,
    });
    let params = PatchParams::apply(keys::FIELD_MANAGER).force();
    bounded(api.patch_status(name, &params, &Patch::Apply(patch))).await.map(|_| ())
}

/// One event to publish.
#[derive(Debug, Clone)]
pub struct Notice {
    pub about: ObjectReference,
    pub warning: bool,
    /// CamelCase.
    pub reason: &'static str,
    /// CamelCase: what was done.
    pub action: &'static str,
    pub note: String,
}

/// Publishes events in the background. The queue is bounded: events are for people, and nothing waits for them.
#[derive(Debug, Clone)]
pub struct Notices {
    queue: mpsc::Sender<Notice>,
    dropped: Counter,
}

/// Number of events that may wait.
pub(crate) const QUEUE: usize = 256;

impl Notices {
    /// The sender and what it sends to.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Notice>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        (Self { queue, dropped: Counter::default() }, waiting)
    }

    /// The sender and the task that publishes.
    pub fn new(client: Client, instance: String) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (notices, mut waiting) = Self::channel();
        let publish = async move {
            let reporter = Reporter { controller: "switchover".into(), instance: Some(instance) };
            // kube's recorder takes all events about one object with the same reason for the same event and shows the
            // first one's note (kube-runtime 5.0.0, `EventKey`): so each note has a recorder of its own.
            let mut recorders: HashMap<String, Recorder> = HashMap::new();
            while let Some(notice) = waiting.recv().await {
                if recorders.len() >= QUEUE && !recorders.contains_key(&notice.note) {
                    recorders.clear();
                }
                let recorder = recorders
                    .entry(notice.note.clone())
                    .or_insert_with(|| Recorder::new(client.clone(), reporter.clone()));
                let event = Event {
                    type_: if notice.warning { EventType::Warning } else { EventType::Normal },
                    reason: notice.reason.into(),
                    // The API server refuses notes of more than 1 kB.
                    note: Some(notice.note.chars().take(1000).collect()),
                    action: notice.action.into(),
                    secondary: None,
                };
                if let Err(error) = bounded(recorder.publish(&event, &notice.about)).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(reason = notice.reason, error, "could not publish an event");
                }
            }
        };
        (notices, publish)
    }

    /// Counts the events that were dropped.
    #[must_use]
    pub fn dropped(&self) -> Counter {
        self.dropped.clone()
    }

    /// Queues an event; drops and counts it, with a log line, when the queue is full. Whether it was queued.
    pub fn send(&self, notice: Notice) -> bool {
        let reason = notice.reason;
        let queued = self.queue.try_send(notice).is_ok();
        if !queued {
            self.dropped.inc();
            tracing::debug!(reason, "dropped an event: the queue is full");
        }
        queued
    }
}

/// A reference to an object for its events.
#[must_use]
pub fn reference(api_version: &str, kind: &str, namespace: Option<&str>, name: &str, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some(api_version.to_owned()),
        kind: Some(kind.to_owned()),
        namespace: namespace.map(str::to_owned),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}

/// A reference to a DatabaseCluster.
#[must_use]
pub fn database_reference(name: &str, uid: &str) -> ObjectReference {
    reference(&format!("{}/{}", crate::api::GROUP, crate::api::VERSION), "DatabaseCluster", None, name, uid)
}

/// The label changes of one tick, in the order in which they are made: new closely nodes first, so that there is
/// somewhere to go before anything is told to leave.
#[must_use]
pub fn in_order(changes: BTreeMap<String, NodeChange>) -> [Vec<(String, NodeChange)>; 2] {
    let (closely, rest): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, change)| change.tier == Tier::Closely);
    [closely, rest]
}
