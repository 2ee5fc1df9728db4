//! The controller: finds primaries, labels nodes, moves pods. Every replica keeps its picture current; only the leader
//! acts.
//!
//! Each database has a task of its own ([`database`]), so that one whose members hang never delays another.

mod database;
mod labels;
mod metrics;
mod movement;
mod opt_in;
mod owners;
mod removal;
mod running;
pub(crate) mod status_update;

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::metrics::ControllerMetrics;
use self::running::{Running, retire, run_until_stopped};
use crate::{
    api::DatabaseCluster,
    certificates::{install::Rotation, keeper},
    cluster::{
        EventReason, Notice, Notices, database_reference,
        lease::{self, Leadership, LeaseConfig},
        nodes::NodeWriter,
    },
    core::{
        backoff::Pause, label_key::LabelKey, map::Map, movement::ledger::Ledger, schedulers::Schedulers,
        workload::Namespace,
    },
    discover,
    index::{Database, Index},
    serve::{self, Probes, TaskEnded},
};

/// How the controller runs.
#[derive(Debug, Clone)]
pub struct ControllerConfig {
    pub lease: LeaseConfig,
    /// Where /livez, /readyz and /metrics are served.
    pub metrics_listen: SocketAddr,
    /// Who places pods by their affinity.
    pub schedulers: Schedulers,
    /// Longest pause between two evaluations of a database. Each evaluation is also a confirmation of tiers.
    pub tick: Duration,
    /// The webhook's certificates to keep; `None` when somebody else keeps them.
    pub certificates: Option<Rotation>,
}

/// What comes together so soon after a change is looked at with it.
const BURST: Duration = Duration::from_millis(100);

/// What couldn't be written into the status of a refused database is tried again.
const REFUSAL_RETRY: Pause = Pause { first: Duration::from_secs(1), longest: Duration::from_secs(60) };

/// Why the controller ended.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    #[error("can't serve health and metrics: {0}")]
    Serve(#[from] serve::ServeError),
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

/// What every database's task shares.
pub(crate) struct Shared {
    pub client: Client,
    /// The namespace that switchover runs in. Secrets are read nowhere else.
    pub namespace: String,
    pub index: Index,
    pub leadership: watch::Receiver<Leadership>,
    pub nodes: NodeWriter,
    /// What every database has on the move.
    pub ledger: Mutex<Ledger>,
    /// Of all databases one at a time finds out what would come of another primary, and after a look nobody does until then.
    pub foresight: Arc<tokio::sync::Mutex<Option<Instant>>>,
    pub notices: Notices,
    pub metrics: ControllerMetrics,
    pub discovery_metrics: discover::Metrics,
    pub tick: Duration,
}

/// Runs until `shutdown`.
///
/// # Errors
/// The health port can't be had, or a background task died.
pub async fn run(config: ControllerConfig, client: Client, shutdown: CancellationToken) -> Result<(), ControllerError> {
    let mut registry = crate::metrics::begin("controller");
    let metrics = ControllerMetrics::new(&mut registry);
    let discovery_metrics = discover::Metrics::register(&mut registry);

    let mut tasks = JoinSet::new();
    let index = Index::spawn(&client, config.schedulers, &mut tasks);
    let (notices, publish) = Notices::new(client.clone(), config.lease.identity.clone());
    tasks.spawn(publish);
    registry.register("events_dropped", "Events that were dropped because too many waited", notices.dropped());
    let (leadership_sender, leadership) = watch::channel(Leadership::default());
    // The election ends last, so that the Lease is given back after the last effect.
    let election_over = CancellationToken::new();
    let namespace = config.lease.namespace.clone();
    let mut election = JoinSet::new();
    let watches = index.health().to_vec();
    let doubt = move |why: &str| watches.iter().for_each(|health| health.doubt(why));
    election.spawn(lease::run(config.lease, client.clone(), leadership_sender, doubt, election_over.clone()));

    if let Some(rotation) = config.certificates {
        let metrics = keeper::CertificateMetrics::register(&mut registry);
        let keeper = keeper::Keeper::new(client.clone(), rotation, leadership.clone(), notices.clone(), metrics);
        tasks.spawn(keeper.run());
    }

    let probes = Probes::new(Arc::new(registry));
    let ready = probes.check("caches", "the watches have not filled the caches yet");
    let health = serve::serve_http(config.metrics_listen, probes.router(), shutdown.clone()).await?;
    tasks.spawn(async move {
        let _ = health.await;
    });

    let tick = config.tick;
    let nodes = NodeWriter::new(client.clone());
    let ledger = Mutex::default();
    let foresight = Arc::default();
    let shared = Shared {
        client,
        namespace,
        index,
        leadership,
        nodes,
        ledger,
        foresight,
        notices,
        metrics,
        discovery_metrics,
        tick,
    };
    let shared = Arc::new(shared);
    tasks.spawn(owners::run(Arc::clone(&shared)));
    let mut manager = Manager {
        shared: Arc::clone(&shared),
        seen: Default::default(),
        databases: HashMap::new(),
        opt_ins: opt_in::OptIns::default(),
        refused: HashMap::new(),
        refusals: HashMap::new(),
        removals: removal::Removals::default(),
        counted: BTreeSet::new(),
    };
    let mut changes = shared.index.changes();
    let mut leadership = shared.leadership.clone();
    let died = loop {
        if shared.index.synced() {
            ready.set_ready();
        }
        manager.tick();
        tokio::select! {
            () = manager.news(&mut changes) => {}
            _ = leadership.changed() => {}
            () = tokio::time::sleep(config.tick) => {}
            Some(ended) = tasks.join_next() => {
                if !shutdown.is_cancelled() {
                    break Some(format!("{ended:?}"));
                }
            }
            // Without it nobody would lead again here, and the process would still seem ready.
            Some(ended) = election.join_next() => break Some(format!("the election: {ended:?}")),
            () = shutdown.cancelled() => break None,
        }
    };
    // Databases first: whatever they are doing ends before the leadership does.
    manager.stop().await;
    election_over.cancel();
    while election.join_next().await.is_some() {}
    died.map_or(Ok(()), |task| Err(TaskEnded(task).into()))
}

/// Keeps one task for each database that is accepted, while this replica leads.
struct Manager {
    shared: Arc<Shared>,
    /// The databases and namespaces of the last look.
    seen: (Map<String, Arc<Database>>, Map<String, Arc<Namespace>>),
    databases: HashMap<String, Running>,
    opt_ins: opt_in::OptIns,
    /// Why databases are not accepted, by name, so that each refusal is told once.
    refused: HashMap<String, String>,
    /// By name: what is written into the status of a refused database, for as long as it is refused.
    refusals: HashMap<String, DropGuard>,
    removals: removal::Removals,
    /// Databases that were seen and have metrics.
    counted: BTreeSet<String>,
}

impl Manager {
    /// Returns when there is something new about a database or a namespace, or the first picture is there: pods come and go all the time,
    /// and say nothing of who is to be followed.
    async fn news(&self, changes: &mut watch::Receiver<u64>) {
        let synced = self.shared.index.synced();
        while changes.changed().await.is_ok() {
            // A burst costs one look.
            tokio::time::sleep(BURST).await;
            let tables = self.shared.index.read();
            let (databases, namespaces) = &self.seen;
            if !(databases.is_same(tables.databases.live()) && namespaces.is_same(tables.namespaces.live()))
                || synced != self.shared.index.synced()
            {
                return;
            }
        }
        // Nobody is left who would tell.
        std::future::pending().await
    }

    fn tick(&mut self) {
        let tables = self.shared.index.read();
        self.seen = (tables.databases.live().clone(), tables.namespaces.live().clone());
        drop(tables);
        let leads = self.shared.leadership.borrow().leads(std::time::Instant::now());
        self.shared.metrics.observe_process(&self.shared.index, leads);
        if self.shared.index.synced() {
            self.forget_deleted();
        }
        if !leads || !self.shared.index.synced() {
            retire(&mut self.databases, |_, _| false);
            self.removals.stop();
            self.shared.metrics.leads_no_more();
            return;
        }
        let databases: Vec<Database> = self.shared.index.read().databases.values().cloned().collect();
        let accepted = self.accept(&databases);
        self.remove(&databases, &accepted);
        retire(&mut self.databases, |name, running| accepted.get(name).is_some_and(|object| running.follows(object)));
        for (name, object) in accepted {
            let shared = &self.shared;
            self.databases.entry(name.to_owned()).or_insert_with(|| {
                let stop = CancellationToken::new();
                let task = database::run(Arc::clone(shared), name.to_owned(), object.as_ref().clone(), stop.clone());
                let task = run_until_stopped(name.to_owned(), stop.clone(), task);
                Running {
                    uid: object.metadata.uid.clone().unwrap_or_default(),
                    discovery: object.spec.discovery.clone(),
                    witness: object.spec.witness.clone(),
                    stop,
                    task: tokio::spawn(task),
                }
            });
        }
        self.opt_ins.check(&self.shared, Instant::now());
    }

    /// Metrics of databases that are gone go, too, once their tasks have ended.
    fn forget_deleted(&mut self) {
        let tables = self.shared.index.read();
        let existing: BTreeSet<String> = tables.databases.values().map(|database| database.name.clone()).collect();
        drop(tables);
        self.counted.retain(|name| {
            let gone = !existing.contains(name) && !self.databases.contains_key(name);
            if gone {
                self.shared.metrics.deleted(name);
            }
            !gone
        });
        self.counted.extend(existing);
    }

    /// Begins to clear up after databases that are deleted. A key that another database has now is that one's.
    fn remove(&mut self, databases: &[Database], accepted: &HashMap<&str, &Arc<DatabaseCluster>>) {
        let going = |database: &&Database| database.deleted && database.finalizer;
        self.removals.retain(&databases.iter().filter(going).map(|database| database.uid.as_str()).collect());
        let theirs: BTreeSet<LabelKey> = accepted.values().map(|object| object.node_label()).collect();
        for database in databases.iter().filter(going) {
            if !self.removals.due(database) {
                continue;
            }
            // It may have been followed until now: what its task is writing comes first.
            let before = self.databases.remove(&database.name).map(|running| {
                running.stop.cancel();
                running.task
            });
            self.removals.begin(&self.shared, database, &database.keys - &theirs, before);
        }
    }

    /// The databases that can be followed. Each refusal goes to the log, an event and a condition, once.
    fn accept<'d>(&mut self, databases: &'d [Database]) -> HashMap<&'d str, &'d Arc<DatabaseCluster>> {
        let mut readable: Vec<_> = databases.iter().filter(|d| d.object.is_ok()).collect();
        // Who came first keeps the label key.
        readable.sort_by_cached_key(|d| {
            let created = d.object.as_ref().ok().and_then(|o| o.metadata.creation_timestamp.as_ref().map(|t| t.0));
            (created, d.name.clone())
        });
        let mut keys: HashMap<LabelKey, &str> = HashMap::new();
        let mut accepted = HashMap::new();
        let mut refused = HashMap::new();
        for database in readable {
            let Ok(object) = &database.object else { continue };
            let key = object.node_label();
            if database.deleted {
                // Until its labels have gone, nobody else's may come.
                if database.finalizer {
                    keys.entry(key).or_insert(&database.name);
                }
            } else if let Some(owner) = keys.get(&key) {
                refused.insert(
                    database.name.clone(),
                    format!(
                        "spec.nodeLabel: the key {key} belongs to the DatabaseCluster {owner}: write another one, such as {}",
                        crate::api::keys::default_node_label(&database.name)
                    ),
                );
            } else {
                keys.insert(key, &database.name);
                accepted.insert(database.name.as_str(), object);
            }
        }
        for database in databases.iter().filter(|database| !database.deleted) {
            if let Err(error) = &database.object {
                refused.insert(database.name.clone(), format!("the object can't be read: {error}"));
            }
        }
        let mut untold = Vec::new();
        for database in databases {
            let stands =
                if refused.contains_key(&database.name) { Some(false) } else { (!database.deleted).then_some(true) };
            self.shared.metrics.accepted(&database.name, stands);
            let Some(why) = refused.get(&database.name) else { continue };
            if self.refused.get(&database.name) != Some(why) && !self.refuse(database, why) {
                untold.push(&database.name);
            }
        }
        // What the queue of events had no room for is told at the next look.
        refused.retain(|name, _| !untold.contains(&name));
        self.refusals.retain(|name, _| refused.contains_key(name));
        self.refused = refused;
        accepted
    }

    /// False if the event could not be queued.
    fn refuse(&mut self, database: &Database, why: &str) -> bool {
        tracing::warn!(database = database.name, why, "this DatabaseCluster is not followed");
        let told = self.shared.notices.send(Notice {
            about: database_reference(&database.name, &database.uid),
            warning: true,
            reason: EventReason::NotAccepted,
            action: "Accept",
            note: why.to_owned(),
        });
        let (shared, name, why) = (Arc::clone(&self.shared), database.name.clone(), why.to_owned());
        let followed = self.databases.remove(&name);
        let stop = CancellationToken::new();
        // An earlier reason isn't written any more.
        self.refusals.insert(name.clone(), stop.clone().drop_guard());
        tokio::spawn(async move {
            // It may have been followed until now: its task's last word comes first.
            if let Some(running) = followed {
                running.stop.cancel();
                let _ = running.task.await;
            }
            let mut failures = 0;
            while !status_update::write_refusal(&shared.client, &name, &why).await {
                failures += 1;
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(REFUSAL_RETRY.nth(failures)) => {}
                }
            }
        });
        told
    }

    async fn stop(&mut self) {
        self.refusals.clear();
        self.removals.stop();
        for (_, running) in self.databases.drain() {
            running.stop.cancel();
            // A tick is bounded by the time limit of its calls.
            let _ = tokio::time::timeout(Duration::from_secs(15), running.task).await;
        }
    }
}
