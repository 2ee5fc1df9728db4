//! `switchover uninstall`: takes labels, taints and finalizers off again, also when no controller runs any more.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kube::{Client, ResourceExt, core::DynamicObject};
use serde::Serialize;

use crate::{
    api::keys,
    cli::{Output, UninstallArgs},
    cluster::{
        self, ClusterError, EffectError, controllers, lease,
        leftovers::{self, Leftover},
    },
    core::label_key::LabelKey,
    index::labelled_with,
};

/// A pod is given 30 s to end; one of a node that is lost stays longer, and then the Lease alone tells.
const PODS_END: Duration = Duration::from_secs(45);
/// A leader that could not give its Lease back loses it in this time.
const LEASE_ENDS: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Why nothing, or not everything, was removed.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("can't read {what}")]
    Read { what: &'static str, source: EffectError },
    #[error("can't change {what}; repeat this command to go on")]
    Write { what: String, source: EffectError },
    #[error(
        "the controller {holder} runs and would put everything back. Either let it do the work: kubectl delete \
         databaseclusters --all; or stop it by repeating this command with --stop"
    )]
    StillRuns { holder: String },
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What is, or would be, removed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removal {
    pub dry_run: bool,
    /// Who leads now, and would put everything back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// Deployments of controllers that want no replicas any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stopped: Vec<String>,
    /// DatabaseClusters whose finalizer is removed.
    pub databases: Vec<String>,
    pub nodes: Vec<Leftover>,
    /// Nodes that are annotated `switchover.dev/manage: "false"`, and keep what they bear.
    pub left_alone: Vec<String>,
    /// Commands that remove the rest.
    pub rest: Vec<String>,
}

/// Removes, or says what it would remove.
///
/// # Errors
/// No cluster, missing rights, or a controller that runs.
pub async fn run(args: &UninstallArgs) -> Result<(), UninstallError> {
    let client = cluster::client(args.installation.cluster.context.as_deref()).await?;
    let removal = uninstall(&client, args).await?;
    match args.installation.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&removal)?),
        Output::Text => print!("{}", text(&removal)),
    }
    Ok(())
}

async fn uninstall(client: &Client, args: &UninstallArgs) -> Result<Removal, UninstallError> {
    let (namespace, dry_run) = (&*args.installation.namespace, args.dry_run);
    let read = |what| move |source| UninstallError::Read { what, source };
    let stopped = if args.stop { stop(client, namespace, dry_run).await? } else { Vec::new() };
    let patience = if stopped.is_empty() { Duration::ZERO } else { LEASE_ENDS };
    let controller = holder(client, namespace, patience).await.map_err(read("the controller's Lease"))?;
    if let (Some(holder), false) = (&controller, dry_run) {
        return Err(UninstallError::StillRuns { holder: holder.clone() });
    }
    let databases = cluster::databases_if_any(client).await.map_err(read("DatabaseClusters"))?;
    let keys: BTreeSet<LabelKey> = databases.iter().flat_map(labelled_with).collect();
    // Also of databases that are gone: whatever has a tier as its value under these keys was written by switchover.
    let ours =
        |key: &str| keys.contains(key) || key == keys::DEFAULT_NODE_LABEL || key.starts_with(keys::NODE_LABEL_PREFIX);
    let nodes = leftovers::find(client, ours).await.map_err(read("Nodes"))?;
    let held = |database: &&DynamicObject| database.finalizers().iter().any(|it| it == keys::FINALIZER);
    let held: Vec<&DynamicObject> = databases.iter().filter(held).collect();
    if !dry_run {
        // The finalizers last: while they are there, another try finds every key.
        let write = |what: String| move |source| UninstallError::Write { what, source };
        leftovers::strip(client, nodes.clone()).await.map_err(write("a node".into()))?;
        for database in &held {
            let (name, uid) = (database.name_any(), database.uid().unwrap_or_default());
            leftovers::remove_finalizer(client, &name, &uid)
                .await
                .map_err(write(format!("the DatabaseCluster {name}")))?;
        }
    }
    let (left_alone, nodes): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| node.left_alone);
    Ok(Removal {
        dry_run,
        controller,
        stopped,
        databases: held.iter().map(|database| database.name_any()).collect(),
        nodes,
        left_alone: left_alone.into_iter().map(|node| node.node).collect(),
        rest: rest(namespace),
    })
}

/// Stops the controllers and waits for their end: one that ends later would take the Lease of the one that ended first.
async fn stop(client: &Client, namespace: &str, dry_run: bool) -> Result<Vec<String>, UninstallError> {
    let read = |what| move |source| UninstallError::Read { what, source };
    let found = controllers::find(client, namespace).await.map_err(read("Deployments"))?;
    if dry_run {
        return Ok(found);
    }
    for name in &found {
        let write = |source| UninstallError::Write { what: format!("the Deployment {name}"), source };
        controllers::stop(client, namespace, name).await.map_err(write)?;
    }
    let began = Instant::now();
    while began.elapsed() < PODS_END && controllers::any_pod(client, namespace).await.map_err(read("Pods"))? {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(found)
}

/// Who leads, after those that end have had time for it.
async fn holder(client: &Client, namespace: &str, patience: Duration) -> Result<Option<String>, EffectError> {
    let began = Instant::now();
    loop {
        let holder = lease::holder(client, namespace).await?;
        if holder.is_none() || began.elapsed() >= patience {
            return Ok(holder);
        }
    }
}

/// All of them; none if their definition is gone.
fn rest(namespace: &str) -> Vec<String> {
    let shared = "mutatingwebhookconfigurations,validatingadmissionpolicybindings,validatingadmissionpolicies,\
                  clusterrolebindings,clusterroles,flowschemas";
    vec![
        "kubectl delete databaseclusters --all".into(),
        format!("kubectl delete {shared} -l {}", keys::PART_OF_US),
        // Kinds that no API server before Kubernetes 1.36 knows, in a command of their own.
        format!("kubectl delete mutatingadmissionpolicybindings,mutatingadmissionpolicies -l {}", keys::PART_OF_US),
        format!("kubectl delete namespace {namespace}"),
        "kubectl delete crd databaseclusters.switchover.dev nodelatencies.switchover.dev".into(),
        format!("kubectl label namespaces -l {key} {key}-", key = keys::FOLLOW),
    ]
}

/// As people read it.
fn text(removal: &Removal) -> String {
    let Removal { dry_run, controller, stopped, databases, nodes, left_alone, rest } = removal;
    let mut out = String::new();
    if let Some(controller) = controller {
        out += &format!("The controller {controller} runs: stop it before you do this, or say --stop.\n");
    }
    let (did, stops) = if *dry_run { ("would remove", "would stop") } else { ("removed", "stopped") };
    for deployment in stopped {
        out += &format!("{stops} the Deployment {deployment}\n");
    }
    for Leftover { node, labels, taints, .. } in nodes {
        let things = labels.iter().map(|key| format!("label {key}"));
        let things: Vec<String> = things.chain(taints.iter().map(|key| format!("taint {key}"))).collect();
        out += &format!("{did} from node {node}: {}\n", things.join(", "));
    }
    for node in left_alone {
        out += &format!("left alone: node {node} (annotated switchover.dev/manage: \"false\")\n");
    }
    for database in databases {
        out += &format!("{did} the finalizer of DatabaseCluster {database}\n");
    }
    if nodes.is_empty() && databases.is_empty() {
        out += "No node bears a label or taint of switchover, and no DatabaseCluster its finalizer.\n";
    }
    out += "\nThe rest goes with:\n";
    for command in rest {
        out += &format!("  {command}\n");
    }
    out
}
