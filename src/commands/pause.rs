//! `switchover pause`: stops the movement of one database, which only a person may decide.

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    api::{DatabaseCluster, decision::Decision},
    cli::{Output, PauseArgs},
    cluster::{self, ClusterError, DatabaseError, EffectError, bounded},
};

/// As what `pause` and `resume` write.
const FIELD_MANAGER: &str = "switchover-cli";

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("can't change the DatabaseCluster {name}")]
    Change { name: String, source: EffectError },
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Done {
    pub database: String,
    pub paused: bool,
    /// The decision that was written, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Whether the controller has taken it up, and the member was confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<bool>,
    /// In one sentence.
    pub message: String,
}

/// Stops the movement of one database.
///
/// # Errors
/// No cluster, missing rights, or no such database.
pub async fn run(args: &PauseArgs) -> Result<(), PauseError> {
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let name = &args.database;
    set_paused(&client, name, true).await?;
    let message = format!("{name} is paused: labels and admission go on, and no pod is moved");
    show(args.output, &Done { database: name.clone(), paused: true, decision: None, taken: None, message })?;
    Ok(())
}

pub(super) async fn set_paused(client: &Client, name: &str, paused: bool) -> Result<(), PauseError> {
    cluster::database(client, name).await?;
    patch(client, name, json!({ "spec": { "paused": paused } })).await
}

/// Changes a DatabaseCluster in the name of whoever typed the command.
pub(super) async fn patch(client: &Client, name: &str, patch: Value) -> Result<(), PauseError> {
    let api: Api<DatabaseCluster> = Api::all(client.clone());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    match bounded(api.patch(name, &params, &Patch::Merge(patch))).await {
        Ok(_) => Ok(()),
        Err(source) => Err(PauseError::Change { name: name.into(), source }),
    }
}

pub(super) fn show(output: Output, done: &Done) -> Result<(), serde_json::Error> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(done)?),
        Output::Text => {
            println!("{}", done.message);
            if done.paused && done.decision.is_some() {
                println!("It is paused: switchover resume {} lets pods move.", done.database);
            }
        }
    }
    Ok(())
}
