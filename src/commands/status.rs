//! `switchover status`: what switchover knows and does, for people and for scripts.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, ResourceExt, api::ListParams, core::PartialObjectMeta};

use super::{
    lines::{age, announced, milliseconds, table, why, workload_path},
    report::{ControllerReport, DatabaseReport},
    watch_status,
};
use crate::{
    api::{DatabaseClusterStatus, NodeLatency, database_cluster::FailoverStatus},
    cli::{Output, StatusArgs},
    cluster::{self, ClusterError, DatabaseError, lease, plainly},
    core::words::printable_lines,
};

/// Why the status can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("can't read {what}: {}", plainly(source))]
    Read { what: &'static str, source: Box<kube::Error> },
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Watch(#[from] watch_status::WatchError),
}

/// `None` if that can't be found out: whoever may read the status may not be allowed to read Leases. `unclear` is called when it takes
/// a while, because only watching the Lease tells.
pub(super) async fn look_at_controller(
    client: &Client,
    namespace: &str,
    unclear: impl FnOnce(),
) -> Option<ControllerReport> {
    let lease = lease::read(client, namespace).await.ok()?;
    let mut report = ControllerReport::of(lease.and_then(|lease| lease.spec).as_ref(), Timestamp::now());
    if report.unclear() {
        unclear();
        if let Some(holder) = lease::holder(client, namespace).await.ok()? {
            (report.leader, report.runs) = (Some(holder), true);
        }
    }
    Some(report)
}

fn say_unclear() {
    eprintln!("By this machine's clock no controller has renewed its Lease of late: watching it until it runs out.");
}

/// Prints the status, once or whenever it changes.
///
/// # Errors
/// No cluster, missing rights, or no such database.
pub async fn run(args: &StatusArgs) -> Result<(), StatusError> {
    if args.watch {
        let client = cluster::attentive_client(args.cluster.context.as_deref()).await?;
        return Ok(watch_status::run(&client, args.database.as_deref(), interrupted()).await?);
    }
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let reports = collect(&client, args.database.as_deref()).await?;
    let controller = look_at_controller(&client, &args.namespace, say_unclear).await;
    match args.output {
        Output::Json => {
            let shown = serde_json::json!({ "controller": controller, "databases": reports });
            println!("{}", serde_json::to_string_pretty(&shown)?);
        }
        Output::Text if reports.is_empty() => {
            println!("There is no DatabaseCluster. Write one: kubectl explain databasecluster.spec");
        }
        Output::Text => {
            if let Some(warning) = controller.as_ref().and_then(ControllerReport::warning) {
                println!("{warning}\n");
            }
            let texts: Vec<String> = reports.iter().map(|report| text(report, Timestamp::now())).collect();
            print!("{}", printable_lines(&texts.join("\n")));
        }
    }
    Ok(())
}

/// Ends with Ctrl-C.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // It can't be caught, so it ends the process as it is.
        std::future::pending::<()>().await;
    }
}

pub(super) async fn collect(client: &Client, only: Option<&str>) -> Result<Vec<DatabaseReport>, StatusError> {
    let read = |what| move |source| StatusError::Read { what, source: Box::new(source) };
    let all = ListParams::default();
    let databases = cluster::databases(client).await.map_err(DatabaseError::from)?;
    let latencies: Api<NodeLatency> = Api::all(client.clone());
    let latencies = latencies.list(&all).await.map_err(read("NodeLatencies"))?;
    let nodes: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
    let nodes = nodes.list(&all).await.map_err(read("Nodes"))?;

    if let Some(name) = only.filter(|name| !databases.iter().any(|database| database.name_any() == *name)) {
        return Err(cluster::missing(name, &databases).into());
    }
    let latencies: BTreeMap<String, NodeLatency> = latencies.into_iter().map(|l| (l.name_any(), l)).collect();
    let wanted = databases.into_iter().filter(|database| only.is_none_or(|name| database.name_any() == name));
    Ok(wanted.map(|database| DatabaseReport::of(database, &nodes.items, &latencies)).collect())
}

/// A report as people read it.
#[must_use]
pub fn text(report: &DatabaseReport, now: Timestamp) -> String {
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = write_text(&mut out, report, now);
    out
}

fn write_text(out: &mut String, report: &DatabaseReport, now: Timestamp) -> fmt::Result {
    let status = &report.status;
    if report.deleted {
        writeln!(
            out,
            "{}: deleted, and goes when its labels have gone from the nodes; if no controller runs: switchover uninstall",
            report.name
        )?;
    }
    if let Some(error) = &report.error {
        return writeln!(out, "{}: {error}", report.name);
    }
    if let Some(refused) = status.condition("Accepted").filter(|condition| condition.status == "False") {
        // Whatever else is known of it is old, and the labels may be another database's.
        return writeln!(out, "{}: not followed: {}", report.name, refused.message);
    }
    match &status.primary {
        Some(primary) => {
            let known = status.holds("PrimaryKnown");
            let timeline = status.timeline.map(|timeline| format!(", timeline {timeline}")).unwrap_or_default();
            let since = status.since.map_or_else(|| "?".into(), |since| age(now.duration_since(since)));
            let doubt = if known { "" } else { " (last known; not confirmed now)" };
            writeln!(out, "{}: primary {primary}{doubt}{timeline}, for {since}", report.name)?;
        }
        None => writeln!(out, "{}: no primary found yet", report.name)?,
    }
    if let Some(message) = &status.message {
        writeln!(out, "  {message}")?;
    }
    if let Some(decision) = status.decision.as_ref().filter(|decision| decision.epoch == status.epoch) {
        let ago = decision.at.map_or_else(|| "?".into(), |at| age(now.duration_since(at)));
        writeln!(out, "  decided by {} {ago} ago: {} is the primary", decision.by, decision.member)?;
    }
    for condition in status.conditions.iter().filter(|c| ["SplitBrain", "Frozen"].contains(&c.type_.as_str())) {
        if condition.status == "True" {
            writeln!(out, "  {}: {}", condition.type_, condition.message)?;
            if condition.type_ == "SplitBrain" {
                let name = &report.name;
                writeln!(out, "  a person who knows who is right decides: switchover resume {name} --primary MEMBER")?;
            }
        }
    }
    if let Some(announced) = announced(status, now) {
        writeln!(out, "  {announced}")?;
    }
    for type_ in ["WitnessSeen", "HostsAccepted", "LabelsAccepted"] {
        if let Some(bad) = status.condition(type_).filter(|condition| condition.status == "False") {
            writeln!(out, "  {}: {}", bad.type_, bad.message)?;
        }
    }
    let tiers = &status.tiers;
    writeln!(
        out,
        "\n  nodes (label {}): {} closely, {} intermediate, {} far, {} unknown",
        report.node_label, tiers.closely, tiers.intermediate, tiers.far, tiers.unknown
    )?;
    let rows = report.nodes.iter().map(|node| {
        vec![
            node.name.clone(),
            node.tier.label().unwrap_or("unknown").to_owned(),
            milliseconds(node.rtt_us.map(u64::from)),
            node.loss_percent.map_or_else(|| "-".into(), |loss| format!("{loss} %")),
            node.heartbeat.map_or_else(|| "never".into(), |at| format!("{} ago", age(now.duration_since(at)))),
        ]
    });
    if let Some(evicts) = status.condition("EvictsByTaint") {
        writeln!(out, "  WARNING: spec.taint.evictWithoutBudgets: {}", evicts.message)?;
    }
    table(out, &["NODE", "TIER", "RTT", "LOSS", "HEARTBEAT"], rows)?;
    ignored(out, status, now)?;
    movement(out, report, now)?;
    if !status.failovers.is_empty() {
        writeln!(out, "\n  last changes of primary")?;
        table(
            out,
            &["EPOCH", "CHANGE", "WHY", "AGO", "LABELS", "PODS", "MOVED", "HELD", "FAR FOR", "RTT"],
            status.failovers.iter().map(|f| failover(f, now)),
        )?;
    }
    Ok(())
}

fn ignored(out: &mut String, status: &DatabaseClusterStatus, now: Timestamp) -> fmt::Result {
    if status.ignored.is_empty() {
        return Ok(());
    }
    let rows = status.ignored.iter().map(|ignored| {
        let since = ignored.since.map_or_else(|| "?".into(), |at| age(now.duration_since(at)));
        vec![ignored.node.clone(), since, ignored.reason.clone(), ignored.message.clone()]
    });
    table(out, &["IGNORED", "FOR", "REASON", "WHY"], rows)?;
    unlisted(out, status.ignored_total, status.ignored.len())
}

/// Says how many rows a table would have beyond those that status lists.
fn unlisted(out: &mut String, total: u32, listed: usize) -> fmt::Result {
    match (total as usize).saturating_sub(listed) {
        0 => Ok(()),
        more => writeln!(out, "  … and {more} more"),
    }
}

fn movement(out: &mut String, report: &DatabaseReport, now: Timestamp) -> fmt::Result {
    let status = &report.status;
    if let Some(moving) = status.condition("Moving") {
        writeln!(out, "\n  movement: {}: {}", moving.reason, moving.message)?;
    }
    let moving = status.moving.iter().map(|moving| {
        let since = moving.started_at.map_or_else(|| "?".into(), |at| age(now.duration_since(at)));
        vec![moving.pod.clone(), moving.from.clone(), moving.action.to_lowercase(), since]
    });
    if !status.moving.is_empty() {
        table(out, &["MOVING", "FROM", "BY", "SINCE"], moving)?;
    }
    if !status.held_workloads.is_empty() {
        let held = status.held_workloads.iter().map(|held| {
            let workload = workload_path(&held.namespace, &held.kind, &held.name);
            vec![workload, held.pods.to_string(), held.reason.clone(), held.message.clone()]
        });
        table(out, &["HELD", "PODS", "REASON", "WHY"], held)?;
        unlisted(out, status.held_workloads_total, status.held_workloads.len())?;
    } else if status.held_total > 0 {
        // As an older controller wrote it.
        let held = status
            .held
            .iter()
            .map(|held| vec![held.pod.clone(), held.node.clone(), held.reason.clone(), held.message.clone()]);
        table(out, &["HELD", "ON", "REASON", "WHY"], held)?;
        unlisted(out, status.held_total, status.held.len())?;
    }
    Ok(())
}

fn failover(failover: &FailoverStatus, now: Timestamp) -> Vec<String> {
    let after = |at| failover.after_s(at).map_or_else(|| "-".into(), |after_s| format!("+{after_s:.1} s"));
    vec![
        failover.epoch.to_string(),
        format!("{} → {}", failover.from.as_deref().unwrap_or("nobody"), failover.to),
        why(failover).unwrap_or_else(|| "-".into()),
        failover.confirmed_at.map_or_else(|| "?".into(), |at| age(now.duration_since(at))),
        after(failover.labelled_at),
        after(failover.moved_at),
        failover.moved.to_string(),
        failover.held.to_string(),
        format!("{} pod s", failover.far_pod_seconds),
        format!("{} → {}", milliseconds(failover.rtt_before_us), milliseconds(failover.rtt_after_us)),
    ]
}

#[cfg(test)]
mod tests;
