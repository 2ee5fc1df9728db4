//! The agent: measures the distance from its node to every member of every database, and writes it down.
//!
//! ```text
//! DatabaseClusters → targets → probe → readings → NodeLatency
//! ```
//! All members are measured, not only the primary: after a failover the distances to the new one are known already.

pub mod probe;
mod schedule;
mod targets;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::BTreeSet,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    runtime::watcher,
};
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use self::probe::{ProbeConfig, ProbeError, ProbeMetrics, Sockets, Target};
use crate::{
    api::{
        DatabaseCluster,
        node_latency::{LONGEST_HOST, MOST_READINGS},
    },
    cluster::watch::{Changed, Health, Table},
    core::{distance::rtt::Deadband, words::listed},
    serve::{self, Probes, ServeError, TaskEnded},
};

/// The program that is the agent and nothing else.
pub const PROGRAM: &str = "switchover-agent";

/// How the agent runs.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Name of the node that this agent runs on, and of its NodeLatency.
    pub node_name: String,
    /// Pause between two echoes to one member.
    pub interval: Duration,
    /// Number of echoes in a window.
    pub window: usize,
    /// An echo that isn't answered within this time is lost.
    pub timeout: Duration,
    /// Pause between two TCP connects to one member, where echoes are blocked.
    pub tcp_interval: Duration,
    /// The object is written at least this often.
    pub heartbeat: Duration,
    /// A change is written after a random part of this time, so that agents that see the same don't write at once.
    pub spread: Duration,
    /// What counts as a change.
    pub deadband: Deadband,
    /// Where /metrics is served, and /livez and /readyz where nothing else is said.
    pub metrics_listen: SocketAddr,
    /// Where /livez and /readyz are served instead: an agent is on the node's own addresses, and the kubelet beside it asks
    /// over loopback.
    pub health_listen: Option<SocketAddr>,
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            node_name: String::new(),
            interval: Duration::from_millis(300),
            window: 10,
            timeout: Duration::from_secs(1),
            tcp_interval: Duration::from_secs(1),
            heartbeat: Duration::from_secs(60),
            spread: Duration::from_secs(2),
            deadband: Deadband::default(),
            metrics_listen: SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8089)),
            health_listen: None,
        }
    }
}

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error("can't serve health and metrics: {0}")]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

/// Runs until `shutdown`.
///
/// # Errors
/// No ICMP socket or the health port can be had, or a background task died.
pub async fn run(config: AgentConfig, client: Client, shutdown: CancellationToken) -> Result<(), AgentError> {
    let mut registry = crate::metrics::begin("agent");
    let probe_metrics = ProbeMetrics::register(&mut registry);
    let write_metrics = writer::WriteMetrics::register(&mut registry);
    let probes = Probes::new(Arc::new(registry));
    let databases_known = probes.check("databases", "the DatabaseClusters have not been read yet");
    let sockets = Sockets::open()?;
    serve_probes(&config, &probes, &shutdown).await?;
    tracing::info!(node = config.node_name, by = sockets.kind(), interval = ?config.interval, "measuring");

    let (targets_sender, targets) = watch::channel(BTreeSet::new());
    let (readings_sender, readings) = watch::channel(Arc::default());
    let probing = ProbeConfig {
        interval: config.interval,
        window: config.window,
        timeout: config.timeout,
        tcp_interval: config.tcp_interval,
    };
    let mut tasks = JoinSet::new();
    let known = move || databases_known.set_ready();
    tasks.spawn(follow_databases(client.clone(), targets_sender, probe_metrics.clone(), known));
    tasks.spawn(probe::run(probing, sockets, targets, readings_sender, probe_metrics));
    tasks.spawn(writer::run(config, client, readings, write_metrics, shutdown.clone()));
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = tasks.join_next() => {
            if shutdown.is_cancelled() { Ok(()) } else { Err(TaskEnded(format!("{ended:?}")).into()) }
        }
    }
}

async fn serve_probes(config: &AgentConfig, probes: &Probes, shutdown: &CancellationToken) -> Result<(), ServeError> {
    let metrics = match config.health_listen {
        None => probes.router(),
        Some(address) => {
            serve::serve_http(address, probes.health_router(), shutdown.clone()).await?;
            probes.metrics_router()
        }
    };
    serve::serve_http(config.metrics_listen, metrics, shutdown.clone()).await.map(drop)
}

/// Keeps the targets current. Each object is read by itself: one that can't be read is left out with a line in the
/// log, and the others are measured on. While the watch fails, the last targets are.
async fn follow_databases(
    client: Client,
    targets: watch::Sender<BTreeSet<Target>>,
    metrics: ProbeMetrics,
    known: impl Fn(),
) {
    let resource = ApiResource::erase::<DatabaseCluster>(&());
    let databases: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut table: Table<String, BTreeSet<Target>> = Table::default();
    let mut left_out = Vec::new();
    let health = Health::new("DatabaseCluster");
    crate::cluster::watch::follow_dynamic(databases, watcher::Config::default(), health, |event| {
        if table.apply(event, of_interest) == Changed::Nothing {
            return;
        }
        known();
        let wanted = targets::union(table.values());
        if left_out != wanted.left_out {
            left_out = wanted.left_out;
            metrics.left_out(left_out.len());
            tell_of_left_out(&left_out);
        }
        targets.send_if_modified(|current| {
            let differs = *current != wanted.targets;
            *current = wanted.targets;
            differs
        });
    })
    .await;
}

fn tell_of_left_out(hosts: &[String]) {
    let first = listed(hosts);
    match hosts.len() {
        0 => tracing::info!("every member is measured again"),
        count => tracing::warn!(
            count,
            first,
            "hosts are not measured: a NodeLatency has {MOST_READINGS} readings of hosts of {LONGEST_HOST} characters at most"
        ),
    }
}

fn of_interest(object: DynamicObject) -> (String, Option<BTreeSet<Target>>) {
    let name = object.name_any();
    match object.try_parse::<DatabaseCluster>() {
        Ok(database) => (name, Some(targets::of(&database))),
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(database = name, error, "a DatabaseCluster can't be read; its members are not measured");
            (name, None)
        }
    }
}
