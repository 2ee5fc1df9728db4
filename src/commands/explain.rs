//! `switchover explain`: what admission decides on a pod, in words, by the very function that the webhook calls; and what moves a pod or
//! a workload that is there, what stands against it, and how far a node is.

mod invented;
mod manifest;
mod node;
mod patched;
mod pods;
mod subject;
mod words;
mod workload;

use std::{io::Read as _, path::PathBuf};

use jiff::Timestamp;
use kube::{Client, core::DynamicObject};
use serde::Serialize;
use serde_json::{Value, json};

use self::{invented::Invented, subject::Subject};
use super::look::Look;
use crate::{
    admission::View,
    cli::{ExplainArgs, ExplainOutput},
    cluster::{self, ClusterError, DatabaseError, EffectError, plainly},
    core::{affinity::Operation, words::printable_lines},
    index::LookError,
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
    #[error("can't see the cluster")]
    Look(#[from] LookError),
    #[error("can't read {what}: {}", plainly(source))]
    Read { what: String, source: Box<kube::Error> },
    #[error("can't read {what}: {source}")]
    Owner { what: String, source: EffectError },
    #[error("there is no {what}; there are: {existing}")]
    Missing { what: String, existing: String },
    #[error("can't read {path}: {source}", path = path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{what} can't be read as a pod: {source}")]
    Pod { what: String, source: serde_json::Error },
    #[error("{what} can't be patched: {source}")]
    Patch { what: String, source: json_patch::PatchError },
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Yaml(#[from] serde_saphyr::ser::Error),
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
/// No cluster, missing rights, no such pod, workload or node, or a manifest that can't be read.
pub async fn run(args: &ExplainArgs) -> Result<(), ExplainError> {
    if let Some(path) = &args.filename {
        return of_file(args, &read(path)?).await;
    }
    if args.output == ExplainOutput::Yaml {
        let usage = "-o yaml prints a manifest as admission would leave it: write -f FILE, or -o json";
        return Err(ExplainError::Usage(usage.to_owned()));
    }
    let subject: Subject = args.subject.as_deref().unwrap_or_default().parse().map_err(ExplainError::Usage)?;
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let (shown, text) = match subject {
        Subject::Pod(name) => of_pod(args, &client, &name).await?,
        Subject::Node(name) => {
            let look = Look::at(&client, &args.schedulers.clone().schedulers(), &args.own_namespace).await?;
            let explanation = node::explain(&look, &name)?;
            (json!({ "node": explanation }), node::text(&explanation))
        }
        Subject::Workload { kind, name } => {
            let databases = cluster::databases(&client).await.map_err(DatabaseError::from)?;
            let view = view(args, &client, databases).await?;
            let look = Look::at(&client, &view.schedulers, &args.own_namespace).await?;
            let found = match workload::find(&look, &args.namespace, &kind, &name) {
                // What makes pods now and then has none in between.
                Err(missing) => workload::jobs::find(&client, &args.namespace, &kind, &name).await?.ok_or(missing)?,
                found => found?,
            };
            let template = workload::template(&client, &look, &found).await;
            let explanation = workload::explain(&look, &view, &found, template, Timestamp::now())?;
            (json!({ "workload": explanation }), workload::words::text(&explanation))
        }
    };
    print(args.output, &shown, &text)
}

async fn of_pod(args: &ExplainArgs, client: &Client, name: &str) -> Result<(Value, String), ExplainError> {
    let databases = cluster::databases(client).await.map_err(DatabaseError::from)?;
    let view = view(args, client, databases.clone()).await?;
    let look = Look::at(client, &view.schedulers, &args.own_namespace).await;
    if let Err(error) = &look {
        eprintln!("What moves or holds it is told by the status alone: {error}");
    }
    let look = look.ok();
    let explanation = pods::explain_running(client, &view, (&databases, look), &args.namespace, name).await?;
    Ok((json!({ "pods": [explanation] }), words::text(&explanation)))
}

/// What admission sees of the cluster.
async fn view(args: &ExplainArgs, client: &Client, databases: Vec<DynamicObject>) -> Result<View, ExplainError> {
    let lists = |source| ExplainError::Read { what: "namespaces and nodes".into(), source: Box::new(source) };
    let view = Cache::look_once(client, databases, &args.own_namespace).await.map_err(lists)?;
    Ok(View { schedulers: args.schedulers.clone().schedulers(), ..view })
}

async fn of_file(args: &ExplainArgs, text: &str) -> Result<(), ExplainError> {
    let invented = match &args.follow {
        Some(database) => Some(Invented::new(database, &args.own_namespace, args.schedulers.clone().schedulers())?),
        None => None,
    };
    let there = match &invented {
        Some(_) => View::default(),
        None => {
            let client = cluster::client(args.cluster.context.as_deref()).await?;
            let databases = cluster::databases(&client).await.map_err(DatabaseError::from)?;
            view(args, &client, databases).await?
        }
    };
    let explain = |template: &Template| match &invented {
        Some(invented) => pods::explain(template, &invented.view(template)),
        None => pods::explain(template, &there),
    };
    if args.output == ExplainOutput::Yaml {
        let patched = patched::patched(text, &args.namespace, explain)?;
        patched.notes.iter().for_each(|note| eprintln!("{}", printable_lines(note)));
        print!("{}", patched.manifest);
        return Ok(());
    }
    let templates = manifest::templates(text, &args.namespace)?;
    let explanations: Vec<Explanation> = templates.iter().map(explain).collect::<Result<_, _>>()?;
    let texts: Vec<String> = explanations.iter().map(words::text).collect();
    print(args.output, &json!({ "pods": explanations }), &texts.join("\n"))
}

fn print(output: ExplainOutput, shown: &Value, text: &str) -> Result<(), ExplainError> {
    match output {
        ExplainOutput::Text => print!("{}", printable_lines(text)),
        _ => println!("{}", serde_json::to_string_pretty(shown)?),
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

#[cfg(test)]
mod tests;
