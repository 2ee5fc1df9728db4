//! Events about objects, published in the background.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use super::bounded;

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
