//! Lines for people: ages, round-trip times, and columns.

use std::fmt::{self, Write as _};

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{DatabaseClusterStatus, database_cluster::FailoverStatus},
    core::words::Milliseconds,
};

/// A round-trip time, or that there is none.
pub(super) fn milliseconds(us: Option<u64>) -> String {
    us.map_or_else(|| "-".into(), |us| Milliseconds { us }.to_string())
}

/// Two units at most, as kubectl shows ages.
pub(super) fn age(duration: SignedDuration) -> String {
    let s = duration.as_secs().max(0);
    match s {
        0..120 => format!("{s}s"),
        120..7200 => format!("{}m{:02}s", s / 60, s % 60),
        7200..172_800 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Whole seconds, or minutes and seconds from two minutes on.
pub(super) fn time(seconds: f64) -> String {
    // Longer than anything takes.
    let whole = seconds.clamp(0.0, 1e9).round() as u64;
    if whole < 120 { format!("{whole} s") } else { format!("{} min {} s", whole / 60, whole % 60) }
}

/// The switchover to come, or why one that is announced is ignored.
pub(super) fn announced(status: &DatabaseClusterStatus, now: Timestamp) -> Option<String> {
    let condition = status.condition("SwitchoverAnnounced")?;
    match &status.announced {
        Some(it) if it.at > now => {
            Some(format!("announced: {}; in {}", condition.message, age(it.at.duration_since(now))))
        }
        Some(_) => Some(format!("announced: {}", condition.message)),
        None if condition.reason == "Ignored" => Some(format!("announced, and {}", condition.message)),
        None => None,
    }
}

/// Why the primary changed, and for when that had been announced; `None` where nobody knows.
pub(super) fn why(change: &FailoverStatus) -> Option<String> {
    let announced = change.announced_for.map(|at| format!("announced for {at:.0}"));
    let parts: Vec<String> = change.why.clone().into_iter().chain(announced).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// `orders/deployment/api`, as commands take it.
pub(super) fn workload_path(namespace: &str, kind: &str, name: &str) -> String {
    format!("{namespace}/{}/{name}", kind.to_lowercase())
}

/// Columns as wide as their widest cell; the last one is not padded.
pub(super) fn table(out: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> fmt::Result {
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &rows {
        write!(out, "  ")?;
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == columns {
                writeln!(out, "{cell}")?;
            } else {
                let pad = widths[column] - cell.chars().count();
                write!(out, "{cell}{:pad$}   ", "")?;
            }
        }
    }
    Ok(())
}
