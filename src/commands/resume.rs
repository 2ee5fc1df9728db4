//! `switchover pause` and `switchover resume`: what only a person may decide.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus, decision::Decision, keys},
    cli::{Output, PauseArgs, ResumeArgs},
    cluster::{self, ClusterError, DatabaseError},
    effect::{EffectError, bounded},
};

/// The controller takes a decision up within this time, if one runs and the member answers.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// As what these commands write.
const FIELD_MANAGER: &str = "switchover-cli";

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("can't change the DatabaseCluster {name}")]
    Change { name: String, source: EffectError },
    #[error("{member} is no member of {name}; there are: {members}")]
    NoSuchMember { member: String, name: String, members: String },
    #[error(
        "there is nothing to decide: {primary} is known to be the primary of {name}. (switchover doesn't move a primary; \
         patronictl switchover does)"
    )]
    Known { primary: String, name: String },
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    database: String,
    paused: bool,
    /// The decision that was written, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Decision>,
    /// Whether the controller has taken it up, and the member was confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    taken: Option<bool>,
    /// In one sentence.
    message: String,
}

/// Stops the movement of one database.
///
/// # Errors
/// No cluster, missing rights, or no such database.
pub async fn pause(args: &PauseArgs) -> Result<(), DecideError> {
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let name = &args.database;
    set_paused(&client, name, true).await?;
    let message = format!("{name} is paused: labels and admission go on, and no pod is moved");
    show(args.output, Done { database: name.clone(), paused: true, decision: None, taken: None, message })
}

/// Lets the movement go on, or decides who is primary.
///
/// # Errors
/// No cluster, missing rights, no such database, no such member, or nothing to decide.
pub async fn resume(args: &ResumeArgs) -> Result<(), DecideError> {
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let name = &args.database;
    let Some(member) = &args.primary else {
        set_paused(&client, name, false).await?;
        let message = format!("{name} is not paused any more");
        let done = Done { database: name.clone(), paused: false, decision: None, taken: None, message };
        return show(args.output, done);
    };
    let object = read(&client, name).await?;
    let status = object.status.clone().unwrap_or_default();
    check(name, member, &status)?;
    let decision =
        Decision { member: member.clone(), by: who(&client).await, at: Timestamp::now(), epoch: status.epoch };
    let text = serde_json::to_string(&decision)?;
    patch(&client, name, json!({ "metadata": { "annotations": { keys::DECISION: text } } })).await?;
    let taken = wait(&client, &decision, name).await?;
    let message = match &taken {
        Ok(epoch) => format!("{member} is the primary of {name} (epoch {epoch}), by decision of {}", decision.by),
        Err(believed) => format!(
            "{member} is to be the primary of {name}, by decision of {}; that holds from when it says so itself. \
             Until now: {believed}",
            decision.by
        ),
    };
    let (database, paused, taken) = (name.clone(), object.spec.paused, Some(taken.is_ok()));
    show(args.output, Done { database, paused, decision: Some(decision), taken, message })
}

/// A decision is for when nobody else can make it.
fn check(name: &str, member: &str, status: &DatabaseClusterStatus) -> Result<(), DecideError> {
    if !status.members.iter().any(|known| known.name == member) {
        let members: Vec<&str> = status.members.iter().map(|known| known.name.as_str()).collect();
        let members = if members.is_empty() { "none known yet".into() } else { members.join(", ") };
        return Err(DecideError::NoSuchMember { member: member.into(), name: name.into(), members });
    }
    let known = status.conditions.iter().any(|it| it.type_ == "PrimaryKnown" && it.status == "True");
    match status.primary.clone().filter(|_| known) {
        Some(primary) => Err(DecideError::Known { primary, name: name.into() }),
        None => Ok(()),
    }
}

/// Waits for what becomes of a decision: the epoch that it led to, or what is believed instead.
async fn wait(client: &Client, decision: &Decision, name: &str) -> Result<Result<u64, String>, DecideError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let object = read(client, name).await?;
        let pending = object.annotations().contains_key(keys::DECISION);
        let status = object.status.unwrap_or_default();
        let taken = status.decision.filter(|taken| taken.member == decision.member && taken.at == Some(decision.at));
        if let Some(taken) = taken {
            return Ok(Ok(taken.epoch));
        }
        if !pending || Instant::now() > deadline {
            let believed = status.message.unwrap_or_else(|| "nothing is known".into());
            return Ok(Err(if pending { believed } else { format!("the controller refused it: {believed}") }));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Who is asking, as the API server knows them.
async fn who(client: &Client) -> String {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = bounded(reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await;
    let user = review.ok().and_then(|review| review.status?.user_info?.username);
    user.unwrap_or_else(|| "somebody whom the API server doesn't name".into())
}

async fn set_paused(client: &Client, name: &str, paused: bool) -> Result<(), DecideError> {
    cluster::database(client, name).await?;
    patch(client, name, json!({ "spec": { "paused": paused } })).await
}

async fn read(client: &Client, name: &str) -> Result<DatabaseCluster, DecideError> {
    Ok(cluster::typed(cluster::database(client, name).await?)?)
}

async fn patch(client: &Client, name: &str, patch: Value) -> Result<(), DecideError> {
    let api: Api<DatabaseCluster> = Api::all(client.clone());
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    match bounded(api.patch(name, &params, &Patch::Merge(patch))).await {
        Ok(_) => Ok(()),
        Err(source) => Err(DecideError::Change { name: name.into(), source }),
    }
}

fn show(output: Output, done: Done) -> Result<(), DecideError> {
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&done)?),
        Output::Text => {
            println!("{}", done.message);
            if done.paused && done.decision.is_some() {
                println!("It is paused: switchover resume {} lets pods move.", done.database);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_member_can_be_named_and_only_when_nobody_knows() {
        let status = |members: &[&str], known: &str| {
            let members: Vec<_> = members.iter().map(|name| json!({"name": name, "host": "h", "port": 5432})).collect();
            let condition = json!({
                "type": "PrimaryKnown", "status": known, "reason": "", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            serde_json::from_value(json!({"members": members, "primary": "pg1", "conditions": [condition]})).unwrap()
        };
        for (member, status, expected) in [
            ("pg2", status(&["pg1", "pg2"], "False"), Ok(())),
            ("pg1", status(&["pg1", "pg2"], "False"), Ok(())),
            ("pg9", status(&["pg1", "pg2"], "False"), Err("pg9 is no member of orders; there are: pg1, pg2")),
            ("pg1", status(&[], "False"), Err("pg1 is no member of orders; there are: none known yet")),
            (
                "pg2",
                status(&["pg1", "pg2"], "True"),
                Err(
                    "there is nothing to decide: pg1 is known to be the primary of orders. (switchover doesn't move a \
                     primary; patronictl switchover does)",
                ),
            ),
        ] {
            let said = check("orders", member, &status).map_err(|error| error.to_string());
            assert_eq!(said, expected.map_err(str::to_owned), "{member}");
        }
    }
}
