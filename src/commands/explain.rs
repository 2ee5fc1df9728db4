//! `switchover explain`: what admission decides on a pod, in words, by the very function that the webhook calls; and for
//! a pod that runs already, what moves or holds it.

mod manifest;
mod words;

use std::{collections::BTreeMap, io::Read as _, path::PathBuf, time::Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    core::{DynamicObject, GroupVersionKind, PartialObjectMeta},
    discovery::ApiResource,
};
use serde::Serialize;
use serde_json::Value;

use super::look::Look;
use crate::{
    admission::View,
    api::DatabaseClusterStatus,
    cli::{ExplainArgs, Output},
    cluster::{self, ClusterError, DatabaseError, plainly},
    core::{
        affinity::{Operation, Pod, Verdict},
        distance::tier::Tier,
        follow::{Follow, FollowedDatabase},
    },
    webhook::Cache,
};
pub use manifest::{ManifestError, Template};

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("can't read {what}: {}", plainly(source))]
    Read { what: String, source: Box<kube::Error> },
    #[error("can't read {path}: {source}", path = path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{what} can't be read as a pod: {source}")]
    Pod { what: String, source: serde_json::Error },
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What is said of one pod, or of the pods that a workload will have.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `pod orders/web-1`, `pods of deployment orders/web`.
    pub subject: String,
    pub follows: Vec<Followed>,
    /// Whether a pod like this would be changed if it were created now.
    pub injects: bool,
    /// In one word, where it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// In one sentence, where it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The JSON patch.
    pub patch: Vec<Operation>,
    pub warnings: Vec<String>,
    /// Only of a pod that is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
}

/// One database that the pod follows.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Followed {
    pub database: String,
    pub node_label: String,
    /// As asked for.
    pub mode: &'static str,
    pub weight: u8,
    /// `auto`, `evict`, `restart` or `never`.
    #[serde(rename = "move")]
    pub movement: &'static str,
    /// What a node must or should be, as injected.
    pub means: String,
}

/// What is known of a pod that is there.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    pub node: Option<String>,
    /// The value of the annotation `switchover.dev/injected`: what it was given when it was created.
    pub injected: Option<Value>,
    /// One sentence per database: how far the node is, what moves the pod, or what holds it and why.
    pub movement: Vec<String>,
}

/// Prints what is decided.
///
/// # Errors
/// No cluster, missing rights, no such pod, or a manifest that can't be read.
pub async fn run(args: &ExplainArgs) -> Result<(), ExplainError> {
    let templates = match &args.filename {
        Some(path) => manifest::templates(&read(path)?, &args.namespace)?,
        None => Vec::new(),
    };
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let databases = cluster::databases(&client).await.map_err(DatabaseError::from)?;
    let lists = |source| ExplainError::Read { what: "namespaces and nodes".into(), source: Box::new(source) };
    let view = Cache::look_once(&client, databases.clone(), &args.own_namespace).await.map_err(lists)?;
    let view = View { schedulers: args.schedulers.clone().schedulers(), ..view };
    let explanations = match &args.pod {
        Some(name) => {
            let look = Look::at(&client, &view.schedulers, &args.own_namespace).await;
            if let Err(error) = &look {
                eprintln!("What moves or holds it is told by the status alone: {error}");
            }
            vec![explain_running(&client, &view, (&databases, look.ok()), &args.namespace, name).await?]
        }
        None => templates.iter().map(|template| explain(template, &view)).collect::<Result<_, _>>()?,
    };
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "pods": explanations }))?),
        Output::Text => print!("{}", explanations.iter().map(words::text).collect::<Vec<_>>().join("\n")),
    }
    Ok(())
}

fn read(path: &PathBuf) -> Result<String, ExplainError> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().read_to_string(&mut text).map(|_| text),
        _ => std::fs::read_to_string(path),
    };
    read.map_err(|source| ExplainError::File { path: path.clone(), source })
}

/// Decides on one template as the webhook would now.
fn explain(template: &Template, view: &View) -> Result<Explanation, ExplainError> {
    let unreadable = |source| ExplainError::Pod { what: template.subject.clone(), source };
    let text = serde_json::to_vec(&template.pod)?;
    let pod: Pod<'_> = serde_json::from_slice(&text).map_err(unreadable)?;
    let decision = view.decide(&template.namespace, &pod, Instant::now());
    let namespace = view.namespaces.get(template.namespace.as_str());
    let followed = namespace.and_then(|namespace| {
        let lookup = |name: &str| view.databases.get(name).map(|database| &database.defaults);
        Follow::resolve(namespace.label.as_deref(), &namespace.says(), &pod.says(), lookup).databases.ok()
    });
    let (patch, skipped, injected) = match decision.verdict {
        Verdict::Inject(injection) => (injection.operations, None, serde_json::from_str(&injection.summary)?),
        Verdict::Skip(reason) => (Vec::new(), Some(reason), Value::Null),
    };
    Ok(Explanation {
        subject: template.subject.clone(),
        follows: followed.unwrap_or_default().iter().map(|database| described(database, &injected)).collect(),
        injects: skipped.is_none(),
        reason: skipped.map(|reason| reason.as_str()),
        why: skipped.map(|reason| reason.to_string()),
        patch,
        warnings: decision.warnings.iter().map(ToString::to_string).collect(),
        running: None,
    })
}

fn described(database: &FollowedDatabase, injected: &Value) -> Followed {
    let records = injected.as_array().map(Vec::as_slice).unwrap_or_default();
    let record = records.iter().find(|record| record["database"] == *database.name);
    let mode = record.and_then(|record| record["mode"].as_str()).unwrap_or(database.mode.as_str());
    Followed {
        database: database.name.to_string(),
        node_label: database.node_label.to_string(),
        mode: database.mode.as_str(),
        weight: database.weight.closely(),
        movement: database.move_mode.as_str(),
        means: words::meaning(mode, database),
    }
}

async fn explain_running(
    client: &Client,
    view: &View,
    (databases, look): (&[DynamicObject], Option<Look>),
    namespace: &str,
    name: &str,
) -> Result<Explanation, ExplainError> {
    let what = || format!("pod {namespace}/{name}");
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let pods: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let found = pods.get(name).await.map_err(|source| ExplainError::Read { what: what(), source: Box::new(source) })?;

    let mut pod = serde_json::to_value(&found)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let node = text(&pod["spec"]["nodeName"]);
    let injected = text(&pod["metadata"]["annotations"]["switchover.dev/injected"]);
    // As it would be if it were created anew: not placed yet.
    if let Some(spec) = pod["spec"].as_object_mut() {
        spec.remove("nodeName");
    }
    let template = Template { subject: what(), namespace: namespace.to_owned(), pod };
    let mut explanation = explain(&template, view)?;
    let labels = match &node {
        Some(node) => {
            let nodes: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
            let read = |source| ExplainError::Read { what: format!("node {node}"), source: Box::new(source) };
            nodes.get_opt(node).await.map_err(read)?.map(|node| node.metadata.labels.unwrap_or_default())
        }
        None => None,
    };
    let movement = explanation.follows.iter().map(|followed| {
        let object = databases.iter().find(|object| object.metadata.name.as_deref() == Some(&followed.database));
        let status = object.and_then(|object| serde_json::from_value(object.data["status"].clone()).ok());
        let status: DatabaseClusterStatus = status.unwrap_or_default();
        let label =
            |labels: &BTreeMap<String, String>| Tier::from_label(labels.get(&*followed.node_label).map(String::as_str));
        let tier = labels.as_ref().map(label);
        let decided = look.as_ref().and_then(|look| look.decide(&followed.database));
        let anew = decided.and_then(|decided| words::decided(&decided, found.metadata.uid.as_deref()?));
        let pod = format!("{namespace}/{name}");
        words::movement(&followed.database, &status, &pod, tier, anew.as_deref(), Timestamp::now())
    });
    explanation.running = Some(Running {
        movement: movement.collect(),
        // Somebody else may have written it: then it is shown as it is.
        injected: injected.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
        node,
    });
    Ok(explanation)
}

#[cfg(test)]
mod tests;
