//! `switchover uninstall`: takes labels, taints and finalizers off again, also when no controller runs any more.

use std::collections::BTreeSet;

use kube::{Client, ResourceExt, core::DynamicObject};
use serde::Serialize;

use crate::{
    api::keys,
    cli::{Output, UninstallArgs},
    cluster::{
        self, ClusterError, EffectError, lease,
        leftovers::{self, Leftover},
    },
    core::label_key::LabelKey,
    index::labelled_with,
};

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
         databaseclusters --all; or stop it and repeat this command: kubectl -n {namespace} scale deployment \
         switchover-controller --replicas=0"
    )]
    StillRuns { holder: String, namespace: String },
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
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let removal = uninstall(&client, &args.namespace, args.dry_run).await?;
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&removal)?),
        Output::Text => print!("{}", text(&removal)),
    }
    Ok(())
}

async fn uninstall(client: &Client, namespace: &str, dry_run: bool) -> Result<Removal, UninstallError> {
    let read = |what| move |source| UninstallError::Read { what, source };
    let controller = lease::holder(client, namespace).await.map_err(read("the controller's Lease"))?;
    if let (Some(holder), false) = (&controller, dry_run) {
        return Err(UninstallError::StillRuns { holder: holder.clone(), namespace: namespace.to_owned() });
    }
    let databases = databases(client).await.map_err(read("DatabaseClusters"))?;
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
        databases: held.iter().map(|database| database.name_any()).collect(),
        nodes,
        left_alone: left_alone.into_iter().map(|node| node.node).collect(),
        rest: rest(namespace),
    })
}

/// All of them; none if their definition is gone.
async fn databases(client: &Client) -> Result<Vec<DynamicObject>, EffectError> {
    match cluster::databases(client).await {
        Err(EffectError::Api(kube::Error::Api(status))) if status.code == 404 => Ok(Vec::new()),
        answer => answer,
    }
}

fn rest(namespace: &str) -> Vec<String> {
    let shared = "mutatingwebhookconfigurations,validatingadmissionpolicybindings,validatingadmissionpolicies,\
                  clusterrolebindings,clusterroles,flowschemas";
    vec![
        "kubectl delete databaseclusters --all".into(),
        format!("kubectl delete {shared} -l app.kubernetes.io/part-of=switchover"),
        format!("kubectl delete namespace {namespace}"),
        "kubectl delete crd databaseclusters.switchover.dev nodelatencies.switchover.dev".into(),
        format!("kubectl label namespaces -l {key} {key}-", key = keys::FOLLOW),
    ]
}

/// As people read it.
fn text(removal: &Removal) -> String {
    let Removal { dry_run, controller, databases, nodes, left_alone, rest } = removal;
    let mut out = String::new();
    if let Some(controller) = controller {
        out += &format!("The controller {controller} runs: stop it before you do this.\n");
    }
    let did = if *dry_run { "would remove" } else { "removed" };
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
