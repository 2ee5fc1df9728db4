//! The controller's picture of the cluster, kept current by watches.

mod by_hand;
mod convert;
mod following;
mod images;
mod once;
mod owners;
mod pools;
mod quantity;
mod seen;
pub mod snapshot;

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{Namespace as KubeNamespace, Node as KubeNode, Pod as KubePod, ResourceQuota},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
    discovery::ApiResource,
    runtime::watcher::Event,
};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use tokio::{sync::watch as channel, task::JoinSet};

use crate::{
    api::{DatabaseCluster, NodeLatency, NodeLatencySpec, keys, read},
    cluster::watch::{self, Health, Objects, Table},
    core::{
        follow::DatabaseDefaults,
        images::Images,
        label_key::LabelKey,
        map::Map,
        moment::Moment,
        quota::Quota,
        schedulers::Schedulers,
        workload::{DisruptionBudget, Namespace, Node, Pod, PodGroups, SetGroups, Snapshot, Workload},
    },
};

use self::pools::Pools;
pub(crate) use self::seen::reckoned;
pub use self::{
    convert::{deployment, node, pod, selector, stateful_set},
    following::{Followers, Following, How},
    once::LookError,
    owners::Asking,
};

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
    pub pods: Table<String, Pod, PodGroups>,
    /// ReplicaSets, StatefulSets, Deployments, and owners that were asked for.
    pub workloads: [Table<String, Workload>; 4],
    pub all_workloads: Map<String, Arc<Workload>>,
    sets: SetGroups,
    pub budgets: Table<String, DisruptionBudget>,
    pub namespaces: Table<String, Namespace>,
    pub quotas: Table<String, Quota>,
    pub latencies: Table<String, Latency>,
    pub databases: Table<String, Database>,
    /// Only of a look at everything: no watch tells.
    pub images: Arc<Images>,
    following: following::Memo,
    /// Those of the clones are the same.
    pools: Arc<Mutex<Pools>>,
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
            groups: self.pods.groups(),
            sets: &self.sets,
            quotas: self.quotas.live(),
        }
    }

    /// The pods that follow this database. Who follows whom is found out once for each state of the tables, whoever asks.
    #[must_use]
    pub fn followers(&self, database: &str) -> Arc<Followers> {
        self.following.of(self, database)
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

/// Which of the tables of workloads is that of owners that were asked for.
const ASKED: usize = 3;

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

/// So many of them, the first ones, tell which pods follow whom, and where everybody is.
const FOLLOWING: usize = 5;

impl Index {
    /// Starts the watches as tasks of `tasks`; none of them ever ends by itself.
    pub fn spawn(client: &Client, schedulers: Schedulers, tasks: &mut JoinSet<()>) -> Self {
        let index = Self::of(&KINDS);
        index.watch_following(client, schedulers, tasks);
        index.watch_workloads(client, tasks);
        index
    }

    /// The same without workloads, budgets and quotas: for those who show what there is and decide nothing.
    pub fn spawn_to_show(client: &Client, schedulers: Schedulers, tasks: &mut JoinSet<()>) -> Self {
        let index = Self::of(&KINDS[..FOLLOWING]);
        index.watch_following(client, schedulers, tasks);
        index
    }

    fn of(kinds: &[&'static str]) -> Self {
        Self {
            tables: Arc::default(),
            changed: channel::Sender::new(0),
            health: Arc::new(kinds.iter().copied().map(Health::new).collect()),
        }
    }

    fn watch_following(&self, client: &Client, schedulers: Schedulers, tasks: &mut JoinSet<()>) {
        let databases: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<DatabaseCluster>(&()));
        let health = self.health_of("DatabaseCluster");
        let apply = self.applier(Tables::see_database);
        tasks.spawn(watch::follow_dynamic(databases, watch::attentive(), health, apply));

        let all = |kind| (watch::attentive(), self.health_of(kind));
        let (config, health) = all("NodeLatency");
        let apply = self.applier(|tables, event| {
            tables.see_latency(event, Moment { instant: Instant::now(), wall: Timestamp::now() })
        });
        tasks.spawn(watch::run(Objects::<NodeLatency>::all(client), config, health, apply));

        let (config, health) = all("Node");
        tasks.spawn(watch::run(Objects::<KubeNode>::all(client), config, health, self.applier(Tables::see_node)));

        let (config, health) = all("Namespace");
        let apply = self.applier(Tables::see_namespace);
        tasks.spawn(watch::run(Objects::<PartialObjectMeta<KubeNamespace>>::all(client), config, health, apply));

        let (config, health) = all("Pod");
        let apply = self.applier(move |tables, event| tables.see_pod(event, &schedulers));
        tasks.spawn(watch::run(Objects::<KubePod>::all(client), config, health, apply));
    }

    fn watch_workloads(&self, client: &Client, tasks: &mut JoinSet<()>) {
        let all = |kind| (watch::attentive(), self.health_of(kind));
        let (config, health) = all("ReplicaSet");
        let apply = self.applier(Tables::see_replica_set);
        tasks.spawn(watch::run(Objects::<ReplicaSet>::all(client), config, health, apply));

        let (config, health) = all("StatefulSet");
        let apply = self.applier(Tables::see_stateful_set);
        tasks.spawn(watch::run(Objects::<StatefulSet>::all(client), config, health, apply));

        let (config, health) = all("Deployment");
        let apply = self.applier(Tables::see_deployment);
        tasks.spawn(watch::run(Objects::<Deployment>::all(client), config, health, apply));

        let (config, health) = all("PodDisruptionBudget");
        let apply = self.applier(Tables::see_budget);
        tasks.spawn(watch::run(Objects::<PodDisruptionBudget>::all(client), config, health, apply));

        let (config, health) = all("ResourceQuota");
        let apply = self.applier(Tables::see_quota);
        tasks.spawn(watch::run(Objects::<ResourceQuota>::all(client), config, health, apply));
    }

    /// A closure that applies one watch event under the lock and wakes the controller if it changed anything.
    fn applier<K>(
        &self,
        apply: impl Fn(&mut Tables, Event<K>) -> bool + Send + 'static,
    ) -> impl FnMut(Event<K>) + Send + 'static {
        let index = self.clone();
        move |event| {
            let mut tables = index.tables.write();
            let changed = apply(&mut tables, event);
            drop(tables);
            if changed {
                index.changed.send_modify(|version| *version += 1);
            }
        }
    }

    /// What was found of all owners of pods that nobody watches.
    fn put_owners(&self, found: Vec<Workload>) {
        if self.tables.write().put_owners(found) {
            self.changed.send_modify(|version| *version += 1);
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

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
