//! Events about objects, published in the background.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use prometheus_client::metrics::counter::Counter;
use strum::{IntoStaticStr, VariantNames};
use tokio::sync::mpsc;

use super::bounded;

/// One event to publish.
#[derive(Debug, Clone)]
pub struct Notice {
    pub about: ObjectReference,
    pub warning: bool,
    pub reason: EventReason,
    /// CamelCase: what was done.
    pub action: &'static str,
    pub note: String,
}

/// Why an event is published, in one CamelCase word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantNames)]
pub enum EventReason {
    /// Another primary was confirmed.
    PrimaryChanged,
    /// The primary is known again, and nothing is frozen.
    PrimaryKnown,
    /// A member acts as primary, but not in order.
    PrimaryDegraded,
    /// Nobody is seen to be primary.
    PrimaryUnknown,
    /// More than one member may be the primary.
    SplitBrain,
    /// The database says that now is not the time.
    Frozen,
    /// The primary is the one that a person named.
    PrimaryDecided,
    /// A person's decision can't be followed.
    DecisionRefused,
    /// Nothing is moved any more, because replacements failed.
    Halted,
    /// Nothing is left to move.
    MovementOver,
    /// If another member became the primary, more would find no place or could not be moved than before.
    LessReadyForFailover,
    /// The database announces a switchover, or another one than before.
    SwitchoverAnnounced,
    /// It announces none any more.
    SwitchoverWithdrawn,
    /// The announced member became the primary in time.
    SwitchoverCame,
    /// Another one did, or none in time.
    SwitchoverDidNotCome,
    /// What is announced can't be read, or can't come.
    AnnouncementIgnored,
    /// If the switchover came as announced, somebody would find no place or could not be moved.
    NotReadyForSwitchover,
    /// This pod is being moved.
    FollowingPrimary,
    /// This pod took a moved one's place without affinity.
    AdmissionMissed,
    /// Nodes' readings begin to be ignored.
    ReadingIgnored,
    /// Somebody else changed a label or taint.
    LabelPutBack,
    /// Far nodes will be emptied past disruption budgets.
    EvictsWithoutBudgets,
    /// A far node was given the taint that evicts.
    EmptyingNode,
    /// The Secrets with credentials can't be used as they are.
    CredentialsRefused,
    /// They can be used again.
    CredentialsCurrent,
    /// The database is not followed.
    NotAccepted,
    /// The task that asks who is primary died.
    DiscoveryDied,
    /// A deleted database's labels and taints were taken off the nodes.
    Removed,
    /// They could not be.
    RemovalFailed,
    /// A label or annotation has a wrong value.
    WrongValue,
    /// All pods of a namespace are left alone.
    PodsLeftAlone,
    /// Pods of a namespace are refused when they are created.
    PodsRefused,
    /// An authority for the webhook's certificates was made.
    AuthorityMade,
    /// The authorities that the API server trusts have changed.
    AuthorityTrusted,
    /// A serving certificate was signed.
    CertificateIssued,
    /// The webhook's certificates can't be kept.
    CertificateFailed,
    /// Pods of a workload stay: the held reason's own name.
    #[strum(transparent)]
    Held(HeldName),
}

/// The name of a held reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldName(pub &'static str);

impl From<HeldName> for &'static str {
    fn from(name: HeldName) -> Self {
        name.0
    }
}

impl From<&HeldName> for &'static str {
    fn from(name: &HeldName) -> Self {
        name.0
    }
}

impl EventReason {
    /// Every [`EventReason::name`], but for those of held reasons.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::VARIANTS.iter().copied().filter(|name| *name != "Held")
    }

    /// As people see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
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
                    reason: notice.reason.name().into(),
                    // The API server refuses notes of more than 1 kB.
                    note: Some(notice.note.chars().take(1000).collect()),
                    action: notice.action.into(),
                    secondary: None,
                };
                if let Err(error) = bounded(recorder.publish(&event, &notice.about)).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(reason = notice.reason.name(), error, "could not publish an event");
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
        let reason = notice.reason.name();
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
