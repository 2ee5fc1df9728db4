//! A workload's explanation as people read it.

use std::fmt::{self, Write as _};

use super::{Alike, IfPrimary, OfDatabase, Placed, WorkloadExplanation};
use crate::commands::lines::{milliseconds, table, time};

/// Pods that are listed one by one.
const MOST_PODS: usize = 30;
/// Pods of which the same is said that are named.
const MOST_NAMED: usize = 3;

/// All of it.
pub(in crate::commands::explain) fn text(explanation: &WorkloadExplanation) -> String {
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = write_text(&mut out, explanation);
    out
}

fn write_text(out: &mut String, explanation: &WorkloadExplanation) -> fmt::Result {
    let WorkloadExplanation { workload, through, replicas, note, admission, pods, databases, weaknesses } = explanation;
    match replicas {
        Some(replicas) => writeln!(out, "{workload}: {replicas} wanted, {} there", pods.len())?,
        None => writeln!(out, "{workload}: {} pods", pods.len())?,
    }
    if let Some(through) = through {
        writeln!(out, "  {through} is one of its")?;
    }
    match admission {
        None => writeln!(out, "  its template can't be read with your rights")?,
        Some(admission) => {
            match &admission.why {
                Some(why) => writeln!(out, "  a new pod is left as it is: {why}")?,
                None => writeln!(out, "  a new pod is injected")?,
            }
            for followed in &admission.follows {
                writeln!(out, "  follows {}: {} (moved by: {})", followed.database, followed.means, followed.movement)?;
            }
            admission.warnings.iter().try_for_each(|warning| writeln!(out, "  warning: {warning}"))?;
        }
    }
    if let Some(note) = note {
        writeln!(out, "  {note}")?;
    }
    write_pods(out, pods, databases)?;
    databases.iter().try_for_each(|database| write_database(out, database))?;
    if !weaknesses.is_empty() {
        writeln!(out, "\nnot ready for moves, drains and rollouts without an outage:")?;
    }
    for weakness in weaknesses {
        writeln!(out, "  {}: {weakness}", weakness.name())?;
        writeln!(out, "    {} ({})", weakness.advice(), weakness.doc())?;
    }
    Ok(())
}

fn write_pods(out: &mut String, pods: &[Placed], databases: &[OfDatabase]) -> fmt::Result {
    if pods.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let to = |of: &OfDatabase| format!("TO {}", of.database);
    let head: Vec<String> =
        ["POD", "NODE", "ZONE", "READY"].map(str::to_owned).into_iter().chain(databases.iter().map(to)).collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let dash = || "-".to_owned();
    table(
        out,
        &head,
        pods.iter().take(MOST_PODS).map(|pod| {
            let ready = if pod.ready { "yes" } else { "no" }.to_owned();
            let mut cells = vec![
                pod.pod.clone(),
                pod.node.clone().unwrap_or_else(dash),
                pod.zone.clone().unwrap_or_else(dash),
                ready,
            ];
            cells.extend(databases.iter().map(|of| match pod.distances.get(&of.database) {
                Some(it) => format!("{} {}", it.tier.label().unwrap_or("unknown"), milliseconds(it.rtt_us)),
                None => dash(),
            }));
            cells
        }),
    )?;
    match pods.len().saturating_sub(MOST_PODS) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

fn write_database(out: &mut String, of: &OfDatabase) -> fmt::Result {
    let OfDatabase { database, primary, now, if_primary } = of;
    writeln!(out, "\n{database}, now that {} is the primary:", primary.as_deref().unwrap_or("nobody"))?;
    if now.is_empty() {
        writeln!(out, "  no pod of it follows")?;
    }
    now.iter().try_for_each(|Alike { message, pods }| writeln!(out, "  {}: {message}", named(pods)))?;
    if_primary.iter().try_for_each(|it| write_member(out, database, it))
}

fn write_member(out: &mut String, database: &str, it: &IfPrimary) -> fmt::Result {
    writeln!(out, "{database}, if {} were the primary:", it.member)?;
    if let Some(unclear) = &it.unclear {
        return writeln!(out, "  nobody can tell: {unclear}");
    }
    let near = format!("{} near already", it.near);
    match it.way {
        Some("restart") => writeln!(out, "  {near}, {} restarted in about {}", it.moves, time(it.seconds))?,
        Some(_) => {
            let (moves, at_once, seconds) = (it.moves, it.at_once, time(it.seconds));
            writeln!(out, "  {near}, {moves} evicted, {at_once} at once, in about {seconds}")?;
        }
        None => writeln!(out, "  {near}, none moved")?,
    }
    for held in &it.stays {
        let stay = if held.pods == 1 { "stays" } else { "stay" };
        writeln!(out, "  {} {stay}, {}: {}: {}", held.pods, held.standing.words(), held.reason, held.message)?;
    }
    it.missing.iter().try_for_each(|missing| writeln!(out, "  missing: {missing}"))?;
    it.obstacles.iter().try_for_each(|obstacle| writeln!(out, "  obstacle: {obstacle}"))
}

/// `web-1, web-2 and 4 more`
fn named(pods: &[String]) -> String {
    let (named, more) = pods.split_at(pods.len().min(MOST_NAMED));
    match more.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
