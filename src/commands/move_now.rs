//! `switchover move`: a person asks that a workload be moved now. Whatever is about turn and time alone is waived for it; budgets, room
//! and all else that keeps a service up are asked as ever. What would be moved is told, and why each other pod stays.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    look::Look,
    target::{Target, TargetError, WorkloadName},
};
use crate::{
    api::keys,
    cli::{MoveArgs, Output},
    cluster::{self, ClusterError, DatabaseError},
    core::{distance::tier::Tier, movement::ways::Way, workload::Pod},
    evaluate::Decided,
    index::LookError,
};

/// Why nothing was asked.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("can't see what would be moved")]
    Look(#[from] LookError),
    #[error("no pod of {workload} follows {database}: switchover explain POD says why")]
    Follows { workload: String, database: String },
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    workload: String,
    databases: Vec<OfDatabase>,
    /// It was asked for, and not only looked at.
    asked: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfDatabase {
    database: String,
    pods: Vec<OfPod>,
}

/// What becomes of one pod.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfPod {
    pod: String,
    node: Option<String>,
    moves: bool,
    /// Why it stays, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    /// In one sentence.
    message: String,
}

/// Asks, and tells what that leads to.
///
/// # Errors
/// No cluster, missing rights, or no such workload.
pub async fn run(args: &MoveArgs) -> Result<(), MoveError> {
    let name: WorkloadName = args.workload.parse().map_err(TargetError::Usage)?;
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let target = Target::workload(&client, &name).await?;
    let uid = target.object.uid().unwrap_or_default();
    if let Some(database) = &args.database {
        cluster::database(&client, database).await?;
    }
    let mut look = Look::at(&client, &args.schedulers.clone().schedulers(), &args.own_namespace).await?;
    look.ask_for(&uid);
    let pods = look.pods(&uid);
    let mut databases = look.followed(&pods);
    databases.retain(|database| args.database.as_ref().is_none_or(|only| only == database));
    if databases.is_empty() {
        let database = args.database.clone().unwrap_or_else(|| "a database".to_owned());
        return Err(MoveError::Follows { workload: name.to_string(), database });
    }
    let databases = databases.into_iter().filter_map(|database| {
        let decided = look.decide(&database)?;
        let key = look.tables.databases.get(&database)?.object.as_ref().ok()?.node_label();
        let tier = |node: &str| look.tables.nodes.get(node).map_or(Tier::Unknown, |node| node.labelled(&key));
        Some(OfDatabase { database, pods: pods.iter().map(|pod| of_pod(pod, &decided, tier)).collect() })
    });
    let databases = databases.collect();
    if !args.dry_run {
        target.annotate(&[(keys::MOVE_NOW, Some(format!("{:.0}", Timestamp::now())))]).await?;
    }
    let answer = Answer { workload: name.to_string(), databases, asked: !args.dry_run };
    match args.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&answer)?),
        Output::Text => print!("{}", text(&answer)),
    }
    Ok(())
}

fn of_pod(pod: &Pod, decided: &Decided, tier: impl Fn(&str) -> Tier) -> OfPod {
    let (name, node) = (pod.name.clone(), pod.node.clone());
    if let Some(move_) = decided.plan.moves.iter().find(|move_| move_.uid == pod.uid) {
        let by = match move_.way {
            Way::Evict => "evicted",
            Way::Restart => "replaced by a restart of its workload",
        };
        let message = format!("{by}: there is room on {} or a node as near", move_.to);
        return OfPod { pod: name, node, moves: true, reason: None, message };
    }
    let (reason, message) = match decided.plan.held.iter().find(|held| held.uid == pod.uid) {
        Some(held) => (Some(held.reason.name()), held.reason.to_string()),
        None => {
            let tier = node.as_deref().map(tier).and_then(Tier::label);
            (None, tier.map_or_else(|| "its node isn't labelled".to_owned(), |tier| format!("its node is {tier}")))
        }
    };
    OfPod { pod: name, node, moves: false, reason, message }
}

fn text(answer: &Answer) -> String {
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = write_text(&mut out, answer);
    out
}

fn write_text(out: &mut String, answer: &Answer) -> fmt::Result {
    for OfDatabase { database, pods } in &answer.databases {
        writeln!(out, "{}, for {database}:", answer.workload)?;
        for OfPod { pod, node, moves, reason, message } in pods {
            write!(out, "  {pod} on {} ", node.as_deref().unwrap_or("no node"))?;
            match (moves, reason) {
                (true, _) => writeln!(out, "moves: {message}")?,
                (false, Some(reason)) => writeln!(out, "stays: {reason}: {message}")?,
                (false, None) => writeln!(out, "stays: {message}")?,
            }
        }
    }
    let asked =
        "Asked for 10 minutes: the controller moves what it may, one wave after the other. switchover status shows it.";
    writeln!(out, "{}", if answer.asked { asked } else { "Nothing was changed (--dry-run)." })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        movement::{
            held::HeldReason,
            plan::{Held, Move, Plan},
            workloads::WorkloadKey,
        },
        testing::pod,
    };

    #[test]
    fn an_answer_reads_well() {
        let move_ = Move {
            way: Way::Evict,
            workload: WorkloadKey::default(),
            namespace: "shop".into(),
            pod: "web-1".into(),
            uid: "uid-web-1".into(),
            from: "b1".into(),
            from_tier: Tier::Far,
            to: "a1".into(),
            from_rtt_us: Some(20_000),
            to_rtt_us: Some(300),
            pods: 1,
            time: 1,
            spends: None,
            unready: false,
            beside: Default::default(),
        };
        let held = Held {
            namespace: "shop".into(),
            pod: "web-2".into(),
            uid: "uid-web-2".into(),
            node: "b1".into(),
            reason: HeldReason::OneAtATime,
        };
        let plan = Plan { moves: vec![move_], held: vec![held] };
        let decided = Decided { plan, ..Decided::default() };
        let tier = |node: &str| if node == "a1" { Tier::Closely } else { Tier::Unknown };
        let pods = [pod("web-1").on("b1"), pod("web-2").on("b1"), pod("web-3").on("a1"), pod("web-4")];
        let pods = pods.iter().map(|pod| of_pod(pod, &decided, tier)).collect();
        let databases = vec![OfDatabase { database: "orders".into(), pods }];
        let answer = Answer { workload: "shop/web".into(), databases, asked: false };
        let expected = "\
shop/web, for orders:
  web-1 on b1 moves: evicted: there is room on a1 or a node as near
  web-2 on b1 stays: OneAtATime: another pod of its workload is on the move
  web-3 on a1 stays: its node is closely
  web-4 on no node stays: its node isn't labelled
Nothing was changed (--dry-run).
";
        assert_eq!(text(&answer), expected);
    }
}
