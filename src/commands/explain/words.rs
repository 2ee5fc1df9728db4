//! The words of an explanation.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::Explanation;
use crate::{
    api::{DatabaseClusterStatus, database_cluster::HeldStatus},
    core::{distance::tier::Tier, follow::FollowedDatabase},
    evaluate::Decided,
};

/// What a mode means for the choice of a node.
pub(super) fn meaning(mode: &str, database: &FollowedDatabase) -> String {
    let (label, closely, intermediate) =
        (&database.node_label, database.weight.closely(), database.weight.intermediate());
    let prefers =
        format!("prefers {label}=closely (weight {closely}) and then {label}=intermediate (weight {intermediate})");
    match mode {
        "required" => format!("requires {label}=closely"),
        "avoid-far" => format!("excludes {label}=far, and {prefers}"),
        _ => prefers,
    }
}

/// What is decided of a pod by one look at the cluster, in one sentence; `None` if nothing is.
pub(super) fn decided(decided: &Decided, uid: &str) -> Option<String> {
    if let Some(move_) = decided.plan.moves.iter().find(|move_| move_.uid == uid) {
        return Some(format!("it is to be moved now: there is room on {} or a node as near", move_.to));
    }
    let held = decided.plan.held.iter().find(|held| held.uid == uid)?;
    Some(format!("it is held: {}: {}", held.reason.name(), held.reason))
}

/// Reasons that only the leader remembers: one look at the cluster can't find them.
const REMEMBERED: [&str; 4] = ["Backoff", "AdmissionMissed", "NeverInjected", "MovedBack"];

/// How far a running pod is from a database, and what moves or holds it, in one sentence. Without a tier it has no node. `anew` is what
/// was decided of it by one look at the cluster.
pub(super) fn movement(
    status: &DatabaseClusterStatus,
    pod: &str,
    tier: Option<Tier>,
    anew: Option<&str>,
    now: Timestamp,
) -> String {
    let near = match tier {
        Some(Tier::Closely) => "closely",
        Some(Tier::Intermediate) => "intermediate",
        Some(Tier::Far) => "far",
        Some(Tier::Unknown) => "on a node that was never measured",
        None => "on no node yet",
    };
    let remembered = |held: &HeldStatus| REMEMBERED.contains(&&*held.reason);
    let what = if let Some(moving) = status.moving.iter().find(|moving| moving.pod == pod) {
        let since = moving.started_at.map_or(0, |at| now.duration_since(at).as_secs());
        format!("it is being moved from {} ({}, since {since} s)", moving.from, moving.action)
    } else if let Some(held) = status.held.iter().find(|held| held.pod == pod && remembered(held)) {
        format!("it is held: {}: {}", held.reason, held.message)
    } else if let Some(anew) = anew {
        anew.to_owned()
    } else if let Some(held) = status.held.iter().find(|held| held.pod == pod) {
        format!("it is held: {}: {}", held.reason, held.message)
    } else if tier.is_some_and(|tier| tier != Tier::Closely) && status.held_total as usize > status.held.len() {
        format!(
            "it may be held: status.held names the first {} of {} pods that stay; switchover_held_pods counts all of them by reason",
            status.held.len(),
            status.held_total
        )
    } else {
        "nothing moves it".to_owned()
    };
    format!("it is {near}; {what}")
}

/// An explanation as people read it.
pub(super) fn text(explanation: &Explanation) -> String {
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = write_text(&mut out, explanation);
    out
}

fn write_text(out: &mut String, explanation: &Explanation) -> std::fmt::Result {
    writeln!(out, "{}", explanation.subject)?;
    if let Some(running) = &explanation.running {
        writeln!(out, "  node: {}", running.node.as_deref().unwrap_or("none yet"))?;
        match &running.injected {
            Some(injected) => writeln!(out, "  injected when it was created: {injected}")?,
            None => writeln!(out, "  nothing was injected when it was created")?,
        }
        for sentence in &running.movement {
            writeln!(out, "  {sentence}")?;
        }
    }
    let condition = if explanation.running.is_some() { "if it were created now: " } else { "" };
    match &explanation.why {
        Some(why) => writeln!(out, "  {condition}left as it is: {why}")?,
        None => writeln!(out, "  {condition}injected")?,
    }
    for followed in &explanation.follows {
        writeln!(out, "  follows {}: {} (moved by: {})", followed.database, followed.means, followed.movement)?;
    }
    for warning in &explanation.warnings {
        writeln!(out, "  warning: {warning}")?;
    }
    for operation in &explanation.patch {
        let operation = serde_json::to_string(operation).unwrap_or_default();
        writeln!(out, "  patch: {operation}")?;
    }
    Ok(())
}
