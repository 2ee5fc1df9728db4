//! `switchover resume`: lets the movement go on, or says who is primary when nobody else can.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::{Client, ResourceExt};

use super::{
    pause::{Done, resume, show, who},
    target::{Target, TargetError},
};
use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus, decision::Decision, keys},
    cli::ResumeArgs,
    cluster::{self, ClusterError, DatabaseError},
};

/// The controller takes a decision up within this time, if one runs and the member answers.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Change(#[from] TargetError),
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

/// Lets the movement go on, or decides who is primary.
///
/// # Errors
/// No cluster, missing rights, no such database, no such member, or nothing to decide.
pub async fn run(args: &ResumeArgs) -> Result<(), ResumeError> {
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let (Some(member), Some(name)) = (&args.primary, &args.what.database) else {
        return Ok(show(args.output, &resume(&client, &args.what, &args.own_namespace).await?)?);
    };
    let object = read(&client, name).await?;
    let status = object.status.clone().unwrap_or_default();
    check(name, member, &status)?;
    let decision = Decision {
        member: member.clone(),
        by: who(&client).await.unwrap_or_else(nobody),
        at: Timestamp::now(),
        epoch: status.epoch,
    };
    let text = serde_json::to_string(&decision)?;
    Target::database(&client, name).await?.annotate(&[(keys::DECISION, Some(text))]).await?;
    let taken = wait(&client, &decision, name).await?;
    let message = match &taken {
        Ok(epoch) => format!("{member} is the primary of {name} (epoch {epoch}), by decision of {}", decision.by),
        Err(believed) => format!(
            "{member} is to be the primary of {name}, by decision of {}; that holds from when it says so itself. \
             Until now: {believed}",
            decision.by
        ),
    };
    let (database, paused, taken) = (Some(name.clone()), object.spec.paused, Some(taken.is_ok()));
    show(args.output, &Done { database, paused, decision: Some(decision), taken, message })?;
    Ok(())
}

/// A decision is for when nobody else can make it.
fn check(name: &str, member: &str, status: &DatabaseClusterStatus) -> Result<(), ResumeError> {
    if !status.members.iter().any(|known| known.name == member) {
        let members: Vec<&str> = status.members.iter().map(|known| known.name.as_str()).collect();
        let members = if members.is_empty() { "none known yet".into() } else { members.join(", ") };
        return Err(ResumeError::NoSuchMember { member: member.into(), name: name.into(), members });
    }
    let known = status.holds("PrimaryKnown");
    match status.primary.clone().filter(|_| known) {
        Some(primary) => Err(ResumeError::Known { primary, name: name.into() }),
        None => Ok(()),
    }
}

/// Waits for what becomes of a decision: the epoch that it led to, or what is believed instead.
async fn wait(client: &Client, decision: &Decision, name: &str) -> Result<Result<u64, String>, ResumeError> {
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

fn nobody() -> String {
    "somebody whom the API server doesn't name".to_owned()
}

async fn read(client: &Client, name: &str) -> Result<DatabaseCluster, ResumeError> {
    Ok(cluster::typed(cluster::database(client, name).await?)?)
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;
    use serde_json::json;

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
        let rows = [
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
        ];
        check_rows(rows, |(member, status, expected)| {
            let said = check("orders", member, &status).map_err(|error| error.to_string());
            assert_eq!(said, expected.map_err(str::to_owned), "{member}");
        });
    }
}
