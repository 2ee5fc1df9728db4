//! The controller's picture of the cluster, kept current by watches.

mod by_hand;
mod convert;
mod once;
mod quantity;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{Namespace as KubeNamespace, Node as KubeNode, Pod as KubePod, ResourceQuota},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
    discovery::ApiResource,
    runtime::watcher::Event,
};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::{sync::watch as channel, task::JoinSet};

use crate::{
    api::{DatabaseCluster, NodeLatency, NodeLatencySpec, keys, read},
    cluster::watch::{self, Changed, Health, Objects, Table},
    core::{
        follow::DatabaseDefaults,
        label_key::LabelKey,
        quota::Quota,
        schedulers::Schedulers,
        workload::{DisruptionBudget, Namespace, Node, Pod, Snapshot, Workload},
    },
};

pub use convert::{node, pod};
pub use once::LookError;

/// A DatabaseCluster as the API server holds it, or why it can't be read.
#[derive(Debug, Clone)]
pub struct Database {
    pub name: String,
    pub object: Result<Arc<DatabaseCluster>, String>,
    /// What it says for pods that say nothing themselves; `None` where it can't be read.
    pub defaults: Option<DatabaseDefaults>,
    /// To attach events and conditions to, also when the spec can't be read.
    pub uid: String,
    /// Deleted, and still there because of a finalizer.
    pub deleted: bool,
    /// The finalizer is ours.
    pub finalizer: bool,
    /// Every key that it may have labelled nodes with.
    pub keys: BTreeSet<LabelKey>,
    version: Option<String>,
}

impl PartialEq for Database {
    fn eq(&self, other: &Self) -> bool {
        (&self.uid, &self.version) == (&other.uid, &other.version)
    }
}

/// The readings of one node, with when they came in.
#[derive(Debug, Clone)]
pub struct Latency {
    pub spec: NodeLatencySpec,
    /// When this process saw its heartbeat change; of an object that was there before, reckoned back by it.
    pub received: Instant,
}

impl PartialEq for Latency {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

/// The tables. Only the watches write them. A clone costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    pub nodes: Table<String, Node>,
    pub pods: Table<String, Pod>,
    pub workloads: [Table<String, Workload>; 3],
    pub all_workloads: Arc<HashMap<String, Arc<Workload>>>,
    pub budgets: Table<String, DisruptionBudget>,
    pub namespaces: Table<String, Namespace>,
    pub quotas: Table<String, Quota>,
    pub latencies: Table<String, Latency>,
    pub databases: Table<String, Database>,
}

impl Tables {
    /// The facts that plans are made from.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            nodes: self.nodes.live(),
            pods: self.pods.live(),
            workloads: &self.all_workloads,
            budgets: self.budgets.live(),
            namespaces: self.namespaces.live(),
            quotas: self.quotas.live(),
        }
    }

    /// What this database says for pods that say nothing themselves, if there is one of this name that can be read.
    #[must_use]
    pub fn defaults(&self, database: &str) -> Option<&DatabaseDefaults> {
        self.databases.get(database)?.defaults.as_ref()
    }
}

/// The picture, shared between the watches that write it and the controller that reads it.
#[derive(Debug, Clone)]
pub struct Index {
    tables: Arc<RwLock<Tables>>,
    changed: channel::Sender<u64>,
    health: Arc<Vec<Health>>,
}

const KINDS: [&str; 10] = [
    "DatabaseCluster",
    "NodeLatency",
    "Node",
    "Namespace",
    "Pod",
    "ReplicaSet",
    "StatefulSet",
    "Deployment",
    "PodDisruptionBudget",
    "ResourceQuota",
];

impl Index {
    /// Starts the watches as tasks of `tasks`; none of them ever ends by itself.
    pub fn spawn(client: &Client, schedulers: Schedulers, tasks: &mut JoinSet<()>) -> Self {
        let index = Self {
            tables: Arc::default(),
            changed: channel::Sender::new(0),
            health: Arc::new(KINDS.into_iter().map(Health::new).collect()),
        };
        let databases: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<DatabaseCluster>(&()));
        let health = index.health_of("DatabaseCluster");
        let apply = index.applier(|tables, event| tables.databases.apply(event, database).into());
        tasks.spawn(watch::follow_dynamic(databases, watch::attentive(), health, apply));

        let all = |kind| (watch::attentive(), index.health_of(kind));
        let (config, health) = all("NodeLatency");
        let apply = index
            .applier(|tables, event| received(&mut tables.latencies, event, Instant::now(), Timestamp::now()).into());
        tasks.spawn(watch::run(Objects::<NodeLatency>::all(client), config, health, apply));

        let (config, health) = all("Node");
        let apply = index.applier(|tables, event| tables.nodes.apply(event, keyed_by_name(convert::node)).into());
        tasks.spawn(watch::run(Objects::<KubeNode>::all(client), config, health, apply));

        let (config, health) = all("Namespace");
        let apply = index.applier(|tables, event| tables.namespaces.apply(event, namespace).into());
        tasks.spawn(watch::run(Objects::<PartialObjectMeta<KubeNamespace>>::all(client), config, health, apply));

        let (config, health) = all("Pod");
        let apply = index.applier(move |tables, event| {
            tables.pods.apply(event, keyed_by_uid(|object| convert::pod(object, &schedulers))).into()
        });
        tasks.spawn(watch::run(Objects::<KubePod>::all(client), config, health, apply));

        let (config, health) = all("ReplicaSet");
        let apply = index.applier(|tables, event| tables.workload(0, event, keyed_by_uid(convert::replica_set)));
        tasks.spawn(watch::run(Objects::<ReplicaSet>::all(client), config, health, apply));

        let (config, health) = all("StatefulSet");
        let apply = index.applier(|tables, event| tables.workload(1, event, keyed_by_uid(convert::stateful_set)));
        tasks.spawn(watch::run(Objects::<StatefulSet>::all(client), config, health, apply));

        let (config, health) = all("Deployment");
        let apply = index.applier(|tables, event| tables.workload(2, event, keyed_by_uid(convert::deployment)));
        tasks.spawn(watch::run(Objects::<Deployment>::all(client), config, health, apply));

        let (config, health) = all("PodDisruptionBudget");
        let apply = index.applier(|tables, event| tables.budgets.apply(event, keyed_by_uid(convert::budget)).into());
        tasks.spawn(watch::run(Objects::<PodDisruptionBudget>::all(client), config, health, apply));

        let (config, health) = all("ResourceQuota");
        let apply = index.applier(|tables, event| tables.quotas.apply(event, keyed_by_uid(convert::quota)).into());
        tasks.spawn(watch::run(Objects::<ResourceQuota>::all(client), config, health, apply));
        index
    }

    /// A closure that applies one watch event under the lock and wakes the controller if it changed anything.
    fn applier<K>(
        &self,
        apply: impl Fn(&mut Tables, Event<K>) -> AnyChange + Send + 'static,
    ) -> impl FnMut(Event<K>) + Send + 'static {
        let index = self.clone();
        move |event| {
            let mut tables = index.tables.write();
            let AnyChange(changed) = apply(&mut tables, event);
            drop(tables);
            if changed {
                index.changed.send_modify(|version| *version += 1);
            }
        }
    }

    fn health_of(&self, kind: &'static str) -> Health {
        self.health.iter().find(|health| health.kind == kind).cloned().unwrap_or_else(|| Health::new(kind))
    }

    /// The tables as they are now, for as long as anybody needs them: whoever reckons for long keeps no watch waiting.
    #[must_use]
    pub fn picture(&self) -> Tables {
        self.read().clone()
    }

    /// The tables, for as long as the guard lives. Hold it across no await, and for a look only.
    pub fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.tables.read()
    }

    /// Tells that something has changed.
    #[must_use]
    pub fn changes(&self) -> channel::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Whether every table was filled once.
    #[must_use]
    pub fn synced(&self) -> bool {
        self.health.iter().all(Health::synced)
    }

    /// The first kind whose watch isn't working at the moment: what is known of it may be old.
    #[must_use]
    pub fn stale(&self) -> Option<&'static str> {
        self.health.iter().find(|health| !health.current()).map(|health| health.kind)
    }

    /// Every watch's state, for metrics and readiness.
    #[must_use]
    pub fn health(&self) -> &[Health] {
        &self.health
    }
}

/// Whether a watch event changed anything.
struct AnyChange(bool);

impl<Key> From<Changed<Key>> for AnyChange {
    fn from(changed: Changed<Key>) -> Self {
        Self(!matches!(changed, Changed::Nothing))
    }
}

impl Tables {
    fn workload<K>(
        &mut self,
        table: usize,
        event: Event<K>,
        convert: impl Fn(K) -> (String, Option<Workload>),
    ) -> AnyChange {
        match self.workloads[table].apply(event, convert) {
            Changed::Nothing => AnyChange(false),
            Changed::One(uid) => {
                let all = Arc::make_mut(&mut self.all_workloads);
                match self.workloads[table].live().get(&uid) {
                    Some(workload) => all.insert(uid, Arc::clone(workload)),
                    None => all.remove(&uid),
                };
                AnyChange(true)
            }
            Changed::All => {
                self.gather_workloads();
                AnyChange(true)
            }
        }
    }

    fn gather_workloads(&mut self) {
        let all = self.workloads.iter().flat_map(Table::live);
        self.all_workloads = Arc::new(all.map(|(uid, workload)| (uid.clone(), Arc::clone(workload))).collect());
    }
}

fn keyed_by_uid<K: Resource, V>(convert: impl Fn(K) -> V) -> impl Fn(K) -> (String, Option<V>) {
    move |object| (object.uid().unwrap_or_default(), Some(convert(object)))
}

fn keyed_by_name<K: ResourceExt, V>(convert: impl Fn(K) -> V) -> impl Fn(K) -> (String, Option<V>) {
    move |object| (object.name_any(), Some(convert(object)))
}

fn namespace(object: PartialObjectMeta<KubeNamespace>) -> (String, Option<Namespace>) {
    (object.name_any(), Some(convert::namespace(&object.metadata)))
}

fn database(object: DynamicObject) -> (String, Option<Database>) {
    let name = object.name_any();
    let (uid, version) = (object.uid().unwrap_or_default(), object.resource_version());
    let deleted = object.metadata.deletion_timestamp.is_some();
    let finalizer = object.finalizers().iter().any(|finalizer| finalizer == keys::FINALIZER);
    let keys = labelled_with(&object);
    let object = read::database(object).map(Arc::new).map_err(|error| error.to_string());
    let defaults = object.as_deref().ok().map(DatabaseCluster::defaults);
    (name.clone(), Some(Database { name, object, defaults, uid, deleted, finalizer, keys, version }))
}

/// Every key that a database may have labelled nodes with, read without understanding the rest of it.
/// What is no key was never one of a node.
pub fn labelled_with(object: &DynamicObject) -> BTreeSet<LabelKey> {
    let key = |value: &serde_json::Value| LabelKey::read(value.as_str()?).ok();
    let current = match &object.data["spec"]["nodeLabel"] {
        serde_json::Value::Null => LabelKey::of_database(&object.name_any()).ok(),
        current => key(current),
    };
    let earlier = object.data["status"]["nodeLabels"].as_array();
    earlier.into_iter().flatten().filter_map(key).chain(current).collect()
}

/// Takes over an event of a NodeLatency. Its heartbeat is compared with the last one and nothing else, so that the node's
/// clock may say what it likes.
fn received(
    table: &mut Table<String, Latency>,
    event: Event<NodeLatency>,
    now: Instant,
    wall: Timestamp,
) -> Changed<String> {
    let before = match &event {
        Event::Apply(object) | Event::InitApply(object) => table.get(&object.name_any()),
        _ => None,
    };
    let before = before.map(|latency| (latency.spec.heartbeat, latency.received));
    let listed = matches!(event, Event::InitApply(_));
    table.apply(event, |object| {
        let heartbeat = object.spec.heartbeat;
        let received = match before {
            // Somebody else has written, such as a label.
            Some((same, received)) if same == heartbeat => received,
            None if listed => reckoned(heartbeat, wall, now),
            _ => now,
        };
        (object.name_any(), Some(Latency { spec: object.spec, received }))
    })
}

/// What was there before this process looked is as old as its heartbeat says, if the clocks agree: a node whose clock is
/// ahead counts as fresh until it falls silent, one whose clock is behind may count as stale until its next heartbeat.
fn reckoned(heartbeat: Timestamp, wall: Timestamp, now: Instant) -> Instant {
    let age = Duration::try_from(wall.duration_since(heartbeat)).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
