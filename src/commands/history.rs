//! `switchover history`: what each change of primary came to, and what moving the pods was worth.

pub mod markdown;
pub mod timeline;
pub mod worth;

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};
use serde::Serialize;

use self::{
    markdown::{markdown, pod_time},
    worth::{FailoverReport, RECKONED},
};
use super::lines::{milliseconds, table, why};
use crate::{
    api::read,
    cli::{HistoryArgs, HistoryOutput},
    cluster::{self, ClusterError, DatabaseError},
    core::words::printable_lines,
};

/// Why the history can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The changes of primary of one database, newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseHistory {
    pub name: String,
    pub failovers: Vec<FailoverReport>,
    /// Why the object itself can't be read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl DatabaseHistory {
    fn of(object: DynamicObject, now: Timestamp) -> Self {
        let name = object.name_any();
        match read::database(object) {
            Ok(object) => {
                let failovers = FailoverReport::all(&object.status.unwrap_or_default(), now);
                Self { name, failovers, error: None }
            }
            Err(error) => {
                Self { name, failovers: Vec::new(), error: Some(format!("the object can't be read: {error}")) }
            }
        }
    }
}

/// Prints the history.
///
/// # Errors
/// No cluster, missing rights, or no such database.
pub async fn run(args: &HistoryArgs) -> Result<(), HistoryError> {
    let client = cluster::client(args.cluster.context.as_deref()).await?;
    let objects = match &args.database {
        Some(name) => vec![cluster::database(&client, name).await?],
        None => cluster::databases(&client).await.map_err(DatabaseError::from)?,
    };
    let now = Timestamp::now();
    let histories: Vec<DatabaseHistory> = objects.into_iter().map(|object| DatabaseHistory::of(object, now)).collect();
    match args.output {
        HistoryOutput::Json => {
            let shown = serde_json::json!({ "databases": histories, "reckoned": RECKONED });
            println!("{}", serde_json::to_string_pretty(&shown)?);
        }
        HistoryOutput::Markdown => print!("{}", markdown(&histories)),
        HistoryOutput::Table if histories.is_empty() => println!("There is no DatabaseCluster."),
        HistoryOutput::Table => print!("{}", printable_lines(&text(&histories))),
    }
    Ok(())
}

/// The histories as people read them.
#[must_use]
pub fn text(histories: &[DatabaseHistory]) -> String {
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = write_text(&mut out, histories);
    out
}

fn write_text(out: &mut String, histories: &[DatabaseHistory]) -> fmt::Result {
    for (at, history) in histories.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        match &history.error {
            Some(error) => writeln!(out, "{}: {error}", history.name)?,
            None if history.failovers.is_empty() => writeln!(out, "{}: no primary was confirmed yet", history.name)?,
            None => {
                writeln!(out, "{}", history.name)?;
                table(out, &HEAD, history.failovers.iter().map(cells))?;
            }
        }
    }
    if histories.iter().flat_map(|history| &history.failovers).any(|report| report.worth.is_some()) {
        writeln!(
            out,
            "\nSAVED: at least so much less time of pods far from the primary; -o markdown says how it is reckoned."
        )?;
    }
    Ok(())
}

const HEAD: [&str; 13] = [
    "EPOCH",
    "CHANGE",
    "WHY",
    "CONFIRMED",
    "LABELS",
    "FIRST",
    "LAST",
    "OVER",
    "MOVED",
    "HELD",
    "FAR FOR",
    "SAVED",
    "RTT",
];

fn cells(report: &FailoverReport) -> Vec<String> {
    let row = &report.row;
    let after = |at| row.after_s(at).map_or_else(|| "-".to_owned(), |after_s| format!("+{after_s:.1} s"));
    let reasons: Vec<String> = row.held_by_reason.iter().map(|(reason, pods)| format!("{reason} {pods}")).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    vec![
        row.epoch.to_string(),
        format!("{} → {}", row.from.as_deref().unwrap_or("nobody"), row.to),
        why(row).unwrap_or_else(|| "-".to_owned()),
        row.confirmed_at.map_or_else(|| "?".to_owned(), |at| format!("{at:.0}")),
        after(row.labelled_at),
        after(row.first_move_at),
        after(row.last_move_at),
        after(row.moved_at),
        row.moved.to_string(),
        format!("{}{reasons}", row.held),
        pod_time(row.far_pod_seconds),
        report.worth.map_or_else(|| "-".to_owned(), |worth| format!("≥ {}", pod_time(worth.saved_pod_seconds()))),
        format!("{} → {}", milliseconds(row.rtt_before_us), milliseconds(row.rtt_after_us)),
    ]
}

#[cfg(test)]
mod tests;
