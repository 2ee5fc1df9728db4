//! What the page is made from: five kinds of objects, kept current by watches with the rights of whoever looks.
//!
//! Each kind stands for itself: whoever may not read pods still sees primaries, tiers and the history, and is told what is missing.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::{
    Api, Client,
    core::{DynamicObject, PartialObjectMeta},
    discovery::ApiResource,
    runtime::watcher::Event,
};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use tokio::{sync::watch as channel, task::JoinSet};

use super::super::{report::ControllerReport, status::look_at_controller};
use crate::{
    api::{DatabaseCluster, NodeLatency},
    cluster::watch::{self, Health, Objects},
    core::{moment::Moment, schedulers::Schedulers},
    index::Tables,
};

/// In the order in which the page says what is missing.
const KINDS: [&str; 5] = ["DatabaseCluster", "NodeLatency", "Node", "Namespace", "Pod"];
/// The Lease is read this often.
const LEASE: Duration = Duration::from_secs(5);

/// A kind that can't be read now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unseen {
    pub kind: &'static str,
    pub why: String,
    pub since: Timestamp,
    /// Never read yet: there is no older picture either.
    pub never: bool,
}

/// The tables, shared between the watches that write them and the page.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    tables: Arc<RwLock<Tables>>,
    changed: channel::Sender<u64>,
    health: Arc<Vec<Health>>,
    /// Since when each kind can't be read.
    failing: Arc<Mutex<BTreeMap<&'static str, Timestamp>>>,
    controller: Arc<RwLock<Option<ControllerReport>>>,
}

impl Watched {
    /// Starts the watches as tasks of `tasks`; none of them ever ends by itself.
    pub(super) fn spawn(client: &Client, schedulers: Schedulers, namespace: String, tasks: &mut JoinSet<()>) -> Self {
        let watched = Self {
            tables: Arc::default(),
            changed: channel::Sender::new(0),
            health: Arc::new(KINDS.into_iter().map(Health::new).collect()),
            failing: Arc::default(),
            controller: Arc::default(),
        };
        let [databases, latencies, nodes, namespaces, pods] = KINDS.map(|kind| watched.health_of(kind));
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<DatabaseCluster>(&()));
        let apply = watched.applier(Tables::see_database);
        tasks.spawn(watch::follow_dynamic(api, watch::attentive(), databases, apply));
        let apply = watched.applier(|tables, event| {
            tables.see_latency(event, Moment { instant: Instant::now(), wall: Timestamp::now() })
        });
        tasks.spawn(watch::run(Objects::<NodeLatency>::all(client), watch::attentive(), latencies, apply));
        let apply = watched.applier(Tables::see_node);
        tasks.spawn(watch::run(Objects::<Node>::all(client), watch::attentive(), nodes, apply));
        let apply = watched.applier(Tables::see_namespace);
        let all = Objects::<PartialObjectMeta<Namespace>>::all(client);
        tasks.spawn(watch::run(all, watch::attentive(), namespaces, apply));
        let apply = watched.applier(move |tables, event| tables.see_pod(event, &schedulers));
        tasks.spawn(watch::run(Objects::<Pod>::all(client), watch::attentive(), pods, apply));
        tasks.spawn(watched.clone().follow_controller(client.clone(), namespace));
        watched
    }

    async fn follow_controller(self, client: Client, namespace: String) {
        loop {
            let report = look_at_controller(&client, &namespace, || {}).await;
            *self.controller.write() = report;
            tokio::time::sleep(LEASE).await;
        }
    }

    fn applier<K>(
        &self,
        apply: impl Fn(&mut Tables, Event<K>) -> bool + Send + 'static,
    ) -> impl FnMut(Event<K>) + Send + 'static {
        let watched = self.clone();
        move |event| {
            let changed = apply(&mut watched.tables.write(), event);
            if changed {
                watched.changed.send_modify(|version| *version += 1);
            }
        }
    }

    fn health_of(&self, kind: &'static str) -> Health {
        self.health.iter().find(|health| health.kind == kind).cloned().unwrap_or_else(|| Health::new(kind))
    }

    /// The tables as they are now, for as long as anybody needs them.
    pub(super) fn picture(&self) -> Tables {
        self.tables.read().clone()
    }

    /// Tells that something has changed.
    pub(super) fn changes(&self) -> channel::Receiver<u64> {
        self.changed.subscribe()
    }

    /// That no controller keeps it current, if that can be found out.
    pub(super) fn warning(&self) -> Option<String> {
        self.controller.read().as_ref().and_then(ControllerReport::warning)
    }

    /// The kinds that can't be read at present.
    pub(super) fn unseen(&self, now: Timestamp) -> Vec<Unseen> {
        let mut failing = self.failing.lock();
        let unseen = |health: &Health| {
            if health.current() {
                failing.remove(health.kind);
                return None;
            }
            let since = *failing.entry(health.kind).or_insert(now);
            let why = health.failure().unwrap_or_else(|| "it is being read".to_owned());
            Some(Unseen { kind: health.kind, why, since, never: !health.synced() })
        };
        self.health.iter().filter_map(unseen).collect()
    }
}
