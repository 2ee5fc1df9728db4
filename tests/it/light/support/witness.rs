//! Watches the pods of a namespace without a gap, and remembers what a look now and then would miss.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Result;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::task::JoinSet;

use super::{Scene, until};

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Witness {
    seen: Arc<Mutex<Seen>>,
    _watching: JoinSet<()>,
}

/// What was seen.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Pods that are there now, by UID, and whether they serve.
    serving: BTreeMap<String, bool>,
    /// UIDs of all pods that ever were.
    pub ever: BTreeSet<String>,
    /// UIDs of the pods that were evicted by the Eviction API.
    pub evicted: BTreeSet<String>,
    /// When the first of them was.
    pub first_eviction: Option<Timestamp>,
    /// UIDs of the pods that were deleted because of a taint.
    pub deleted_by_taint: BTreeSet<String>,
    /// When the first of them was.
    pub first_deletion_by_taint: Option<Timestamp>,
    /// Fewest pods that served at any moment since the first complete list.
    pub fewest_serving: Option<usize>,
    listed: bool,
}

impl Witness {
    /// Begins to watch a namespace of a scene, and returns when the first list is complete.
    pub(crate) async fn of(scene: &Scene, namespace: &str) -> Result<Witness> {
        Witness::watching(scene.pods(namespace)).await
    }

    /// The same for any pods.
    pub(crate) async fn watching(pods: Api<Pod>) -> Result<Witness> {
        Witness::selecting(pods, watcher::Config::default()).await
    }

    /// The same for those with this label `app`.
    pub(crate) async fn of_app(pods: Api<Pod>, app: &str) -> Result<Witness> {
        Witness::selecting(pods, watcher::Config::default().labels(&format!("app={app}"))).await
    }

    async fn selecting(pods: Api<Pod>, config: watcher::Config) -> Result<Witness> {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let pods = watcher::watcher(pods, config).default_backoff();
        let mut watching = JoinSet::new();
        let shared = Arc::clone(&seen);
        watching.spawn(async move {
            let mut pods = std::pin::pin!(pods);
            while let Some(event) = pods.next().await {
                // An error is an API server that is away: the watch goes on when it is back.
                if let Ok(event) = event {
                    lock(&shared).note(event);
                }
            }
        });
        let witness = Witness { seen, _watching: watching };
        until("the first list of pods", async || Ok(witness.seen().listed.then_some(()))).await?;
        Ok(witness)
    }

    /// What was seen so far.
    pub(crate) fn seen(&self) -> Seen {
        lock(&self.seen).clone()
    }
}

impl Seen {
    /// UIDs of the pods that serve now.
    pub(crate) fn serving(&self) -> BTreeSet<String> {
        self.serving.iter().filter(|(_, serves)| **serves).map(|(uid, _)| uid.clone()).collect()
    }

    fn note(&mut self, event: Event<Pod>) {
        match event {
            Event::Init => {
                self.listed = false;
                self.serving.clear();
            }
            Event::InitApply(pod) | Event::Apply(pod) => self.look_at(&pod),
            Event::InitDone => self.listed = true,
            Event::Delete(pod) => {
                self.look_at(&pod);
                self.serving.remove(&pod.uid().unwrap_or_default());
            }
        }
        if self.listed {
            let serving = self.serving.values().filter(|serving| **serving).count();
            self.fewest_serving = Some(self.fewest_serving.map_or(serving, |fewest| fewest.min(serving)));
        }
    }

    fn look_at(&mut self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        self.serving.insert(uid.clone(), ready && pod.metadata.deletion_timestamp.is_none());
        let why = conditions.iter().find(|condition| condition.type_ == "DisruptionTarget");
        let at = why.and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0);
        let (uids, first) = match why.and_then(|condition| condition.reason.as_deref()) {
            Some("EvictionByEvictionAPI") => (&mut self.evicted, &mut self.first_eviction),
            Some("DeletionByTaintManager") => (&mut self.deleted_by_taint, &mut self.first_deletion_by_taint),
            _ => {
                self.ever.insert(uid);
                return;
            }
        };
        uids.insert(uid.clone());
        *first = [*first, at].into_iter().flatten().min();
        self.ever.insert(uid);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
