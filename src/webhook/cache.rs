//! The tables that watches keep, and the view that is made of them in the background.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace as KubeNamespace, Node as KubeNode},
};
use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    core::{DynamicObject, PartialObjectMeta},
    discovery::ApiResource,
    runtime::watcher::Event,
};
use moka::sync::Cache as Expiring;
use parking_lot::{Mutex, MutexGuard};
use prometheus_client::registry::Registry;
use tokio::{
    sync::{Notify, watch as channel},
    task::JoinSet,
};

use super::{WebhookMetrics, heartbeat::Heartbeat};
use crate::{
    admission::View,
    api::{DatabaseCluster, LeanNode, keys, read},
    cluster::watch::{self, Changed, Health, Objects, Table},
    core::{
        affinity::{Database, Namespace, Node, PrimaryBelief, TierSummary},
        follow::DatabaseDefaults,
        label_key::LabelKey,
        schedulers::Schedulers,
    },
    serve::Check,
};

const NAMESPACE: &str = "Namespace";
const DATABASE: &str = "DatabaseCluster";
const NODE: &str = "Node";

/// Changes are collected for so long before a new view is made of them.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// Everything known, and the view that requests see. Clones share it.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    view: Arc<ArcSwap<View>>,
    tables: Mutex<Tables>,
    changed: Notify,
    /// Tells that a view with other namespaces was swapped in.
    namespace_news: channel::Sender<()>,
    /// When the API server last confirmed what the table says of a database. An entry that is gone was not confirmed in
    /// time: the database's facts are stale.
    confirmed: Expiring<String, Instant>,
    facts_ttl: Duration,
    healths: [Health; 3],
    heartbeat: Heartbeat,
    metrics: WebhookMetrics,
}

/// Written by the watches alone.
#[derive(Debug, Default)]
struct Tables {
    namespaces: Table<Box<str>, Namespace>,
    databases: Table<String, KnownDatabase>,
    nodes: Table<String, Arc<Node>>,
    namespaces_changed: bool,
    /// By node label, until a node changes.
    summaries: HashMap<LabelKey, Arc<TierSummary>>,
}

/// What is kept of a DatabaseCluster.
#[derive(Debug, Clone, PartialEq, Eq)]
struct KnownDatabase {
    /// To see whether the API server still has the same.
    version: Option<String>,
    defaults: DatabaseDefaults,
    primary: PrimaryBelief,
    epoch: u64,
}

impl Cache {
    #[must_use]
    pub fn new(own_namespace: &str, facts_ttl: Duration, metrics: WebhookMetrics) -> Self {
        let view = View { own_namespace: own_namespace.into(), ..View::default() };
        Self(Arc::new(Shared {
            view: Arc::new(ArcSwap::from_pointee(view)),
            tables: Mutex::default(),
            changed: Notify::new(),
            namespace_news: channel::Sender::new(()),
            confirmed: Expiring::builder().time_to_live(facts_ttl).build(),
            facts_ttl,
            healths: [NAMESPACE, DATABASE, NODE].map(Health::new),
            heartbeat: Heartbeat::new(Instant::now()),
            metrics,
        }))
    }

    /// With these schedulers known to go by node affinity.
    #[must_use]
    pub fn going_by(self, schedulers: Schedulers) -> Self {
        self.0.view.rcu(|view| View { schedulers: schedulers.clone(), ..View::clone(view) });
        self
    }

    /// What requests are answered from.
    #[must_use]
    pub fn view(&self) -> &Arc<ArcSwap<View>> {
        &self.0.view
    }

    /// Tells whenever the view has other namespaces.
    #[must_use]
    pub fn namespace_news(&self) -> channel::Receiver<()> {
        self.0.namespace_news.subscribe()
    }

    /// The view as the API server has it now, from one list each and of `databases`: for tools that ask once.
    ///
    /// # Errors
    /// A list failed, such as for missing rights.
    pub async fn look_once(
        client: &Client,
        databases: Vec<DynamicObject>,
        own_namespace: &str,
    ) -> Result<View, kube::Error> {
        let everything = ListParams::default();
        let namespaces = Api::<PartialObjectMeta<KubeNamespace>>::all(client.clone());
        let nodes = Api::<KubeNode>::all(client.clone());
        let opted_in = ListParams::default().labels(keys::FOLLOW);
        let (namespaces, nodes) = tokio::try_join!(namespaces.list(&opted_in), nodes.list(&everything))?;
        let metrics = WebhookMetrics::register(&mut Registry::default());
        let cache = Self::new(own_namespace, Duration::from_secs(60), metrics);
        fill(namespaces.items, |event| cache.apply_namespace(event));
        fill(databases, |event| cache.apply_database(event));
        fill(nodes.items, |event| cache.apply_node(event));
        cache.publish();
        Ok(View::clone(&cache.view().load()))
    }

    /// Starts what keeps the view current, as tasks that never end by themselves. `filled` holds from the first view on
    /// that is made of complete tables.
    pub fn spawn(&self, client: &Client, lease: &str, filled: Check, tasks: &mut JoinSet<()>) {
        let [namespace, database, node] = self.0.healths.clone();
        let cache = self.clone();
        // Namespaces that did not opt in are none of ours.
        let config = watch::attentive().labels(keys::FOLLOW);
        let objects = Objects::<PartialObjectMeta<KubeNamespace>>::all(client);
        tasks.spawn(watch::run(objects, config, namespace, move |event| cache.apply_namespace(event)));

        let databases: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::erase::<DatabaseCluster>(&()));
        let (cache, config) = (self.clone(), watch::attentive());
        tasks.spawn(watch::follow_dynamic(databases.clone(), config, database, move |event| {
            cache.apply_database(event)
        }));

        // Pages are read as a whole, and a Node may have 20 kB: with thousands of them small pages keep the memory small.
        let (cache, config) = (self.clone(), watch::attentive().page_size(100));
        let objects = Objects::<LeanNode>::all(client);
        tasks.spawn(watch::run(objects, config, node, move |event| cache.apply_node(whole(event))));

        // Without the right to see it nothing else is missing: so it is none of what `filled` waits for.
        let (cache, config) = (self.clone(), watch::attentive().fields(&format!("metadata.name={lease}")));
        let objects = Objects::<Lease>::namespaced(client, &self.0.view.load().own_namespace);
        tasks.spawn(watch::run(objects, config, Health::new("Lease"), move |event| cache.apply_lease(event)));

        let cache = self.clone();
        tasks.spawn(async move { cache.confirm_forever(databases).await });
        let cache = self.clone();
        tasks.spawn(async move { cache.publish_forever(filled).await });
    }

    fn apply_namespace(&self, event: Event<PartialObjectMeta<KubeNamespace>>) {
        let mut tables = self.tables();
        if tables.namespaces.apply(event, namespace) != Changed::Nothing {
            tables.namespaces_changed = true;
            self.0.changed.notify_one();
        }
    }

    fn apply_database(&self, event: Event<DynamicObject>) {
        let there = matches!(event, Event::Apply(_) | Event::InitApply(_));
        let mut read = None;
        let changed = self.tables().databases.apply(event, |object| {
            let (name, known) = database(object);
            read = known.is_some().then(|| name.clone());
            (name, known)
        });
        if let (true, Some(name)) = (there, read) {
            self.confirm(&name);
        }
        if changed != Changed::Nothing {
            self.0.changed.notify_one();
        }
    }

    fn apply_node(&self, event: Event<KubeNode>) {
        let mut tables = self.tables();
        if tables.nodes.apply(event, node) != Changed::Nothing {
            tables.summaries.clear();
            self.0.changed.notify_one();
        }
    }

    fn apply_lease(&self, event: Event<Lease>) {
        if let Event::Apply(Lease { spec: Some(spec), .. }) | Event::InitApply(Lease { spec: Some(spec), .. }) = event {
            self.0.heartbeat.beat(&spec, Instant::now());
        }
    }

    fn confirm(&self, database: &str) {
        self.0.confirmed.insert(database.to_owned(), Instant::now());
        self.0.metrics.facts_confirmed(database, Timestamp::now());
    }

    /// Asks the API server again and again whether it still has what the table has. A watch can hang for minutes before
    /// it fails, and silence from it means nothing.
    async fn confirm_forever(&self, databases: Api<DynamicObject>) {
        let (pause, everything) = (self.0.facts_ttl / 4, ListParams::default());
        loop {
            tokio::time::sleep(pause).await;
            let list = databases.list_metadata(&everything);
            if let Ok(Ok(listed)) = tokio::time::timeout(pause, list).await {
                self.confirm_listed(listed.items.iter().map(|object| (object.name_any(), object.resource_version())));
            }
        }
    }

    fn confirm_listed(&self, listed: impl Iterator<Item = (String, Option<String>)>) {
        // Facts about a database are as good as the picture of the nodes that they are applied to.
        if !self.0.healths.iter().all(Health::current) {
            return;
        }
        let same: Vec<String> = {
            let tables = self.tables();
            listed
                .filter(|(name, version)| tables.databases.get(name).is_some_and(|known| known.version == *version))
                .map(|(name, _)| name)
                .collect()
        };
        for name in same {
            self.confirm(&name);
        }
        self.0.changed.notify_one();
    }

    async fn publish_forever(&self, filled: Check) {
        loop {
            // The pause without a change is for the metrics, and for the check.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.0.changed.notified()).await;
            tokio::time::sleep(DEBOUNCE).await;
            let synced = self.0.healths.iter().all(Health::synced);
            self.publish();
            if synced && !filled.holds() {
                tracing::info!("the caches are filled");
                filled.set_ready();
            }
        }
    }

    /// Makes a view of the tables as they are and swaps it in.
    fn publish(&self) {
        let now = Instant::now();
        let mut tables = self.tables();
        let tables = &mut *tables;
        let before = self.0.view.load();
        let other_namespaces = std::mem::take(&mut tables.namespaces_changed);
        let namespaces = if other_namespaces {
            Arc::new(tables.namespaces.iter().map(|(name, said)| (name.clone(), said.clone())).collect())
        } else {
            Arc::clone(&before.namespaces)
        };

        // Whatever the API server confirms of facts that nobody keeps current.
        let controlled_until = self.0.heartbeat.until();
        self.0.metrics.controller_alive(now < controlled_until);
        let mut databases = HashMap::with_capacity(tables.databases.len());
        for (name, known) in tables.databases.iter() {
            let node_label = &known.defaults.node_label;
            let nodes = tables
                .summaries
                .entry(node_label.clone())
                .or_insert_with(|| Arc::new(TierSummary::new(tables.nodes.values(), node_label)));
            let database = Database {
                defaults: known.defaults.clone(),
                primary: known.primary,
                epoch: known.epoch,
                fresh_until: self.0.confirmed.get(name).map_or(now, |at| at + self.0.facts_ttl).min(controlled_until),
                nodes: Arc::clone(nodes),
            };
            databases.insert(name.as_str().into(), database);
        }
        if tables.summaries.len() > databases.len() {
            let used: HashSet<&LabelKey> = databases.values().map(|database| &database.defaults.node_label).collect();
            tables.summaries.retain(|key, _| used.contains(key));
        }
        for gone in before.databases.keys().filter(|name| !databases.contains_key(*name)) {
            self.0.metrics.database_gone(gone);
        }
        for (health, objects) in
            self.0.healths.iter().zip([tables.namespaces.len(), tables.databases.len(), tables.nodes.len()])
        {
            self.0.metrics.cache(health, objects);
        }
        let own_namespace = Arc::clone(&before.own_namespace);
        self.0.view.store(Arc::new(View {
            namespaces,
            databases: Arc::new(databases),
            own_namespace,
            schedulers: before.schedulers.clone(),
            ..View::default()
        }));
        if other_namespaces {
            self.0.namespace_news.send_replace(());
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock()
    }
}

fn whole(event: Event<LeanNode>) -> Event<KubeNode> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(node) => Event::InitApply(node.into()),
        Event::Apply(node) => Event::Apply(node.into()),
        Event::Delete(node) => Event::Delete(node.into()),
    }
}

/// One whole list, as a watch would tell it.
fn fill<K>(objects: Vec<K>, mut apply: impl FnMut(Event<K>)) {
    apply(Event::Init);
    objects.into_iter().map(Event::InitApply).for_each(&mut apply);
    apply(Event::InitDone);
}

fn namespace(object: PartialObjectMeta<KubeNamespace>) -> (Box<str>, Option<Namespace>) {
    let name = object.name_any().into_boxed_str();
    let opt_in = read::opt_in(&object.metadata);
    let namespace = opt_in.map(|label| Namespace::new(label, read::annotations(&object.metadata)));
    (name, namespace)
}

/// Each object is read on its own, so that one that can't be read stops no other.
fn database(object: DynamicObject) -> (String, Option<KnownDatabase>) {
    let name = object.name_any();
    let version = object.resource_version();
    let cluster = match read::database(object) {
        Ok(cluster) => cluster,
        Err(error) => {
            tracing::warn!(database = name, %error, "the DatabaseCluster can't be read; its followers are left alone");
            return (name, None);
        }
    };
    let status = cluster.status.clone().unwrap_or_default();
    let refused = status.condition("Accepted").is_some_and(|it| it.status == "False");
    // What the other conditions say is from before.
    let primary = if refused {
        PrimaryBelief::Refused
    } else if status.holds("SplitBrain") {
        PrimaryBelief::Split
    } else if status.holds("Frozen") {
        PrimaryBelief::Frozen
    } else if status.holds("PrimaryKnown") {
        PrimaryBelief::Known
    } else {
        PrimaryBelief::Unknown
    };
    let defaults = cluster.defaults();
    (name, Some(KnownDatabase { version, defaults, primary, epoch: status.epoch }))
}

fn node(mut object: KubeNode) -> (String, Option<Arc<Node>>) {
    let name = object.name_any();
    let spec = object.spec.take().unwrap_or_default();
    let closed = spec.unschedulable.unwrap_or(false);
    let ready = read::node_ready(&object);
    let labels = object.metadata.labels.unwrap_or_default();
    let node = Node::new(&name, ready && !closed, labels).tainted(read::taints(spec.taints.unwrap_or_default()));
    (name, Some(Arc::new(node)))
}

#[cfg(test)]
mod tests;
