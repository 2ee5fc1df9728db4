//! The history as a report that people paste into a post-mortem.

use std::fmt::{self, Write as _};

use super::{
    DatabaseHistory,
    timeline::timeline,
    worth::{FailoverReport, RECKONED},
};
use crate::{
    api::database_cluster::FailoverStatus,
    commands::lines::workload_path,
    core::words::{Milliseconds, printable},
};

/// Changes of which the timeline is drawn, newest first; the table has them all.
const MOST_DRAWN: usize = 10;

/// The report on these databases.
#[must_use]
pub fn markdown(histories: &[DatabaseHistory]) -> String {
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = write_all(&mut out, histories);
    out
}

fn write_all(out: &mut String, histories: &[DatabaseHistory]) -> fmt::Result {
    for (at, history) in histories.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        write_one(out, history)?;
    }
    if histories.iter().flat_map(|history| &history.failovers).any(|report| report.worth.is_some()) {
        writeln!(out, "\nHow it is reckoned: {RECKONED}")?;
    }
    Ok(())
}

fn write_one(out: &mut String, history: &DatabaseHistory) -> fmt::Result {
    writeln!(out, "# Changes of primary of {}\n", text(&history.name))?;
    if let Some(error) = &history.error {
        return writeln!(out, "{}", text(error));
    }
    if history.failovers.is_empty() {
        return writeln!(out, "None is known.");
    }
    writeln!(
        out,
        "| epoch | change | why | confirmed | labels | pods | moved | held | far, with us | far, without us | RTT |"
    )?;
    writeln!(out, "|---|---|---|---|---|---|---|---|---|---|---|")?;
    for report in &history.failovers {
        let row = &report.row;
        let after = |at| row.after_s(at).map_or_else(|| "–".to_owned(), |after_s| format!("+{after_s:.1} s"));
        let without = report
            .worth
            .map_or_else(|| "–".to_owned(), |worth| format!("≥ {}", pod_time(worth.far_without_pod_seconds)));
        writeln!(
            out,
            "| {} | {} → {} | {} | {} | {} | {} | {} | {} | {} | {without} | {} |",
            row.epoch,
            text(row.from.as_deref().unwrap_or("nobody")),
            text(&row.to),
            why(row),
            row.confirmed_at.map_or_else(|| "?".to_owned(), |at| format!("{at:.0}")),
            after(row.labelled_at),
            after(row.moved_at),
            row.moved,
            row.held,
            pod_time(row.far_pod_seconds),
            rtts(report),
        )?;
    }
    for report in history.failovers.iter().take(MOST_DRAWN) {
        write_change(out, report)?;
    }
    Ok(())
}

/// Why the primary changed, and for when that had been announced.
fn why(row: &FailoverStatus) -> String {
    let announced = row.announced_for.map(|at| format!("announced for {at:.0}"));
    let parts: Vec<String> = row.why.as_deref().map(text).into_iter().chain(announced).collect();
    if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
}

fn write_change(out: &mut String, report: &FailoverReport) -> fmt::Result {
    let row = &report.row;
    let at = row.confirmed_at.map_or_else(|| "at an unknown time".to_owned(), |at| format!("at {at:.0}"));
    writeln!(out, "\n## Epoch {}: {} became the primary {at}\n", row.epoch, text(&row.to))?;
    writeln!(out, "```text")?;
    for line in timeline(report) {
        // No line ends the block.
        writeln!(out, "{}", printable(&line).replace("```", "'''"))?;
    }
    writeln!(out, "```\n")?;
    if row.moved_at.is_none() {
        let so_far = if report.ended_at.is_some() {
            "The primary changed again before the movement was over"
        } else {
            "The movement isn't over yet"
        };
        writeln!(out, "{so_far}: {} moved.", count(row.moved, "pod"))?;
    }
    if let Some(worth) = &report.worth {
        writeln!(
            out,
            "Moving {} saved at least {} of being far from the primary until {:.0}{}.",
            count(row.moved, "pod"),
            pod_time(worth.saved_pod_seconds()),
            worth.until,
            nearer(report),
        )?;
    }
    if !row.held_by_reason.is_empty() {
        let reasons: Vec<String> =
            row.held_by_reason.iter().map(|(reason, pods)| format!("{pods} × {}", text(reason))).collect();
        writeln!(out, "\nStayed where they were: {}.", reasons.join(", "))?;
    }
    let vain = [
        (row.refused_by_budgets, "eviction", "refused by disruption budgets"),
        (row.useless, "move", "brought a pod no nearer"),
    ];
    for (times, what, came) in vain.into_iter().filter(|(times, ..)| *times > 0) {
        writeln!(out, "\n{} {came}.", count(times, what))?;
    }
    if !row.workloads.is_empty() {
        writeln!(out, "\n| workload | moved | held | far | RTT of its farthest pod |\n|---|---|---|---|---|")?;
        for workload in &row.workloads {
            let name = workload_path(&workload.namespace, &workload.kind, &workload.name);
            let far = pod_time(workload.far_pod_seconds);
            let rtt = change(workload.rtt_before_us, workload.rtt_after_us);
            writeln!(out, "| {} | {} | {} | {far} | {rtt} |", text(&name), workload.moved, workload.held)?;
        }
        let more = (row.workloads_total as usize).saturating_sub(row.workloads.len());
        if more > 0 {
            writeln!(out, "\n… and {}.", count(u32::try_from(more).unwrap_or(u32::MAX), "more workload"))?;
        }
    }
    Ok(())
}

fn nearer(report: &FailoverReport) -> String {
    match (report.row.rtt_before_us, report.row.rtt_after_us) {
        (Some(before), Some(after)) if after < before => {
            format!("; each round trip to it took {} less", Milliseconds { us: before - after })
        }
        _ => String::new(),
    }
}

/// Median round-trip times: to the primary before, to the new one before the pods moved, and after.
fn rtts(report: &FailoverReport) -> String {
    let earlier = report.rtt_earlier_us.map(|us| format!("{} → ", Milliseconds { us })).unwrap_or_default();
    format!("{earlier}{}", change(report.row.rtt_before_us, report.row.rtt_after_us))
}

fn change(before_us: Option<u64>, after_us: Option<u64>) -> String {
    let shown = |us: Option<u64>| us.map_or_else(|| "–".to_owned(), |us| Milliseconds { us }.to_string());
    format!("{} → {}", shown(before_us), shown(after_us))
}

fn count(number: u32, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Seconds of pods, in the unit that people can grasp.
pub(super) fn pod_time(seconds: u64) -> String {
    match seconds {
        0..7200 => format!("{seconds} pod s"),
        7200..360_000 => format!("{:.1} pod h", seconds as f64 / 3600.0),
        _ => format!("{} pod h", seconds / 3600),
    }
}

/// Text of others in Markdown: shown, and never markup.
fn text(of_others: &str) -> String {
    let mut out = String::with_capacity(of_others.len());
    for char in printable(of_others).chars() {
        match char {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '(' | ')' | '#' | '|' | '!' | '~' | '$' | '@' => {
                out.push('\\');
                out.push(char);
            }
            // A bare address would become a link.
            ':' => out.push_str("&#58;"),
            other => out.push(other),
        }
    }
    out
}
