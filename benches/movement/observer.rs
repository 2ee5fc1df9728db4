//! What an observer of its own sees of the pods, without a gap, from the moment at which they begin to be far.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use anyhow::Result;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use tokio::task::JoinSet;

/// Watches until it is dropped.
#[derive(Debug)]
pub(crate) struct Observer {
    seen: Arc<Mutex<Seen>>,
    _watching: JoinSet<()>,
}

#[derive(Debug)]
struct One {
    workload: String,
    near: bool,
    serves: bool,
    ends: bool,
}

#[derive(Debug)]
struct Seen {
    /// What the names of near nodes begin with.
    near: String,
    pods: BTreeMap<String, One>,
    listed: bool,
    last: Instant,
    far_pod_seconds: f64,
    fewest_serving: usize,
}

/// What counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    /// Seconds that pods served from far nodes, over all pods.
    pub far_pod_seconds: f64,
    /// Fewest replicas of one workload that served at any moment.
    pub fewest_serving: usize,
}

impl Observer {
    /// Begins to watch; the first list counts as the moment at which it began.
    pub(crate) async fn begin(pods: Api<Pod>, near: String) -> Result<Observer> {
        let seen = Seen {
            near,
            pods: BTreeMap::new(),
            listed: false,
            last: Instant::now(),
            far_pod_seconds: 0.0,
            fewest_serving: usize::MAX,
        };
        let seen = Arc::new(Mutex::new(seen));
        let shared = Arc::clone(&seen);
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            let mut pods = std::pin::pin!(watcher::watcher(pods, watcher::Config::default()).default_backoff());
            while let Some(event) = pods.next().await {
                if let Ok(event) = event {
                    lock(&shared).note(event);
                }
            }
        });
        let observer = Observer { seen, _watching: watching };
        lab::wait::until("the first list of pods", async || Ok(lock(&observer.seen).listed.then_some(()))).await?;
        Ok(observer)
    }

    /// How many pods serve from near nodes, and how many are still elsewhere.
    pub(crate) fn near_and_elsewhere(&self) -> (usize, usize) {
        let seen = lock(&self.seen);
        let near = seen.pods.values().filter(|pod| pod.near && pod.serves).count();
        (near, seen.pods.values().filter(|pod| !pod.near && !pod.ends).count())
    }

    pub(crate) fn figures(&self) -> Figures {
        let mut seen = lock(&self.seen);
        seen.pass();
        Figures { far_pod_seconds: seen.far_pod_seconds, fewest_serving: seen.fewest_serving }
    }
}

impl Seen {
    /// Counts the time since the last event.
    fn pass(&mut self) {
        let now = Instant::now();
        let far = self.pods.values().filter(|pod| pod.serves && !pod.near).count();
        self.far_pod_seconds += now.duration_since(self.last).as_secs_f64() * far as f64;
        self.last = now;
    }

    fn note(&mut self, event: Event<Pod>) {
        match event {
            // A list that begins anew says all that is there; until it is complete nothing is known to be missing.
            Event::Init => self.listed = false,
            Event::InitApply(pod) | Event::Apply(pod) => {
                self.pass();
                let uid = pod.uid().unwrap_or_default();
                let one = self.look_at(&pod);
                let workload = one.workload.clone();
                self.pods.insert(uid, one);
                self.count(&workload);
            }
            Event::InitDone => self.listed = true,
            Event::Delete(pod) => {
                self.pass();
                if let Some(gone) = self.pods.remove(&pod.uid().unwrap_or_default()) {
                    self.count(&gone.workload);
                }
            }
        }
    }

    fn look_at(&self, pod: &Pod) -> One {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let ends = pod.metadata.deletion_timestamp.is_some();
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        One {
            workload: pod.labels().get("app").cloned().unwrap_or_default(),
            near: node.starts_with(&self.near),
            serves: ready && !ends,
            ends,
        }
    }

    fn count(&mut self, workload: &str) {
        if self.listed {
            let serving = self.pods.values().filter(|pod| pod.workload == workload && pod.serves).count();
            self.fewest_serving = self.fewest_serving.min(serving);
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
