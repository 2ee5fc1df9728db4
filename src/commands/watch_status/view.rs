//! What `status --watch` shows: the few lines that matter while pods move.

use jiff::Timestamp;
use kube::{ResourceExt, core::DynamicObject};

use super::super::{
    lines::{age, announced, milliseconds, workload_path},
    progress::Progress,
};
use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus, read},
    core::words::printable,
};

/// Rows of a list, of each database.
const MOST_ROWS: usize = 6;
/// Characters of the bar.
const BAR: u32 = 30;

/// The lines of these databases, at most `height`. `away`: why the API server can't be asked, and since when.
pub(super) fn view<'a>(
    databases: impl Iterator<Item = &'a DynamicObject>,
    only: Option<&str>,
    away: Option<(&str, Timestamp)>,
    height: usize,
    now: Timestamp,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((why, since)) = away {
        let since = age(now.duration_since(since));
        lines.push(format!("THE API SERVER CAN'T BE ASKED since {since} ({why}): what follows is older than that."));
    }
    let before = lines.len();
    for object in databases.filter(|object| only.is_none_or(|only| object.name_any() == only)) {
        if lines.len() > before {
            lines.push(String::new());
        }
        let name = object.name_any();
        match read::database(object.clone()) {
            Ok(object) => lines.extend(of_database(&name, &object, now)),
            Err(error) => lines.push(format!("{name}: the object can't be read: {error}")),
        }
    }
    if lines.len() == before {
        lines.push(only.map_or_else(
            || "There is no DatabaseCluster.".to_owned(),
            |only| format!("There is no DatabaseCluster {only} any more."),
        ));
    }
    if lines.len() > height {
        let more = lines.len() - height + 1;
        lines.truncate(height.saturating_sub(1));
        lines.push(format!("… and {more} more lines: make the terminal higher, or name one database"));
    }
    // Names and sentences are others'.
    lines.iter().map(|line| printable(line).into_owned()).collect()
}

fn of_database(name: &str, object: &DatabaseCluster, now: Timestamp) -> Vec<String> {
    let status = object.status.clone().unwrap_or_default();
    if let Some(refused) = status.condition("Accepted").filter(|condition| condition.status == "False") {
        return vec![format!("{name}: not followed: {}", refused.message)];
    }
    let mut lines = vec![primary(name, &status, now)];
    lines.extend(status.message.as_ref().map(|message| format!("  {message}")));
    for type_ in ["SplitBrain", "Frozen"] {
        let holds = status.condition(type_).filter(|condition| condition.status == "True");
        lines.extend(holds.map(|condition| format!("  {type_}: {}", condition.message)));
    }
    lines.extend(announced(&status, now).map(|announced| format!("  {announced}")));
    let tiers = &status.tiers;
    lines.push(format!(
        "  nodes      {} closely, {} intermediate, {} far, {} unknown",
        tiers.closely, tiers.intermediate, tiers.far, tiers.unknown
    ));
    lines
        .extend(status.condition("Moving").map(|moving| format!("  movement   {}: {}", moving.reason, moving.message)));
    let progress = Progress::of(&status, now);
    if let (Some(percent), sentence) = (progress.percent(), progress.sentence()) {
        lines.push(format!("  progress   [{}] {percent} %: {sentence}", bar(percent)));
    }
    let moving = status.moving.iter().map(|moving| {
        let since = moving.started_at.map_or_else(|| "?".to_owned(), |at| age(now.duration_since(at)));
        let to = if moving.to.is_empty() { String::new() } else { format!(" → {}", moving.to) };
        format!("{}  {}{to}  {since}", moving.pod, moving.from)
    });
    list(&mut lines, "moving", status.moving.len(), moving);
    let held = status.held_workloads.iter().map(|held| {
        let workload = workload_path(&held.namespace, &held.kind, &held.name);
        format!("{} of {workload}: {}: {}", held.pods, held.reason, held.message)
    });
    list(&mut lines, "held", status.held_workloads_total as usize, held);
    lines.extend(last_change(&status, now));
    lines
}

fn primary(name: &str, status: &DatabaseClusterStatus, now: Timestamp) -> String {
    let Some(primary) = &status.primary else { return format!("{name}: no primary found yet") };
    let known = status.holds("PrimaryKnown");
    let timeline = status.timeline.map(|timeline| format!(", timeline {timeline}")).unwrap_or_default();
    let since = status.since.map_or_else(|| "?".into(), |since| age(now.duration_since(since)));
    let doubt = if known { "" } else { " (last known; not confirmed now)" };
    format!("{name}: primary {primary}{doubt}{timeline}, for {since}")
}

/// The first rows below a heading at their left, and how many more there are.
fn list(lines: &mut Vec<String>, heading: &str, total: usize, rows: impl Iterator<Item = String>) {
    let before = lines.len();
    for row in rows.take(MOST_ROWS) {
        let heading = if lines.len() == before { heading } else { "" };
        lines.push(format!("  {heading:<10} {row}"));
    }
    let more = total.saturating_sub(lines.len() - before);
    if more > 0 && lines.len() > before {
        lines.push(format!("  {:<10} … and {more} more", ""));
    }
}

fn bar(percent: u32) -> String {
    let full = (percent * BAR / 100).min(BAR);
    (0..BAR).map(|at| if at < full { '#' } else { '.' }).collect()
}

fn last_change(status: &DatabaseClusterStatus, now: Timestamp) -> Option<String> {
    let row = status.failovers.first()?;
    let ago = row.confirmed_at.map_or_else(|| "?".into(), |at| age(now.duration_since(at)));
    let why = row.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let rtt = format!("{} → {}", milliseconds(row.rtt_before_us), milliseconds(row.rtt_after_us));
    let from = row.from.as_deref().unwrap_or("nobody");
    Some(format!("  changed    {from} → {}{why} {ago} ago; far for {} pod s; RTT {rtt}", row.to, row.far_pod_seconds))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn database(name: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "switchover.dev/v1alpha1",
            "kind": "DatabaseCluster",
            "metadata": { "name": name },
            "spec": { "discovery": { "patroni": { "urls": ["http://10.0.0.1:8008"] } } },
            "status": {
                "primary": "pg2", "timeline": 4, "epoch": 2, "since": "2026-01-01T00:00:00Z",
                "message": "pg2 \u{1b}[2J is primary",
                "tiers": { "closely": 2, "intermediate": 0, "far": 4, "unknown": 0 },
                "ignoredTotal": 0, "heldTotal": 3, "heldWorkloadsTotal": 9,
                "conditions": [
                    { "type": "PrimaryKnown", "status": "True", "reason": "Known", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" },
                    { "type": "Moving", "status": "True", "reason": "Moving", "message": "one move is under way", "lastTransitionTime": "2026-01-01T00:00:00Z" },
                ],
                "moving": [{
                    "pod": "shop/web-1", "uid": "1", "from": "n1", "fromTier": "far", "action": "Evict", "pods": 1, "to": "n5",
                    "startedAt": "2026-01-01T00:00:35Z",
                    "workload": { "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "w" },
                }],
                "heldWorkloads": [
                    { "kind": "Deployment", "namespace": "shop", "name": "web", "reason": "BudgetSpent", "message": "its budget waits", "pods": 2, "passes": true },
                    { "kind": "Job", "namespace": "shop", "name": "j", "reason": "Job", "message": "its work would be lost", "pods": 1, "passes": false },
                ],
                "failovers": [{
                    "epoch": 2, "from": "pg1", "to": "pg2", "why": "Crash", "timeline": 4, "moved": 1, "farPodSeconds": 90,
                    "confirmedAt": "2026-01-01T00:00:00Z", "firstMoveAt": "2026-01-01T00:00:30Z", "rttBeforeUs": 20100,
                }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_movement_is_shown_in_few_lines_and_names_are_harmless() {
        let now = "2026-01-01T00:00:40Z".parse().unwrap();
        let expected = [
            "orders: primary pg2, timeline 4, for 40s",
            "  pg2 \\u{1b}[2J is primary",
            "  nodes      2 closely, 0 intermediate, 4 far, 0 unknown",
            "  movement   Moving: one move is under way",
            "  progress   [#######.......................] 25 %: 1 moved, 1 on the move, 2 wait for their turn, 1 stay; about 30 s more",
            "  moving     shop/web-1  n1 → n5  5s",
            "  held       2 of shop/deployment/web: BudgetSpent: its budget waits",
            "             1 of shop/job/j: Job: its work would be lost",
            "             … and 7 more",
            "  changed    pg1 → pg2 (Crash) 40s ago; far for 90 pod s; RTT 20.10 ms → -",
        ];
        assert_eq!(view([database("orders")].iter(), None, None, usize::MAX, now), expected);
    }

    #[test]
    fn a_switchover_to_come_is_shown_and_what_is_ignored_of_it_too() {
        let now = "2026-01-01T00:00:40Z".parse().unwrap();
        let shown = |announced: serde_json::Value, reason: &str, message: &str| {
            let mut database = database("orders");
            database.data["status"]["announced"] = announced;
            let condition = json!({
                "type": "SwitchoverAnnounced", "status": "True", "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            database.data["status"]["conditions"].as_array_mut().unwrap().push(condition);
            view([database].iter(), None, None, usize::MAX, now).remove(2)
        };
        let it = |at: &str| json!({"at": at, "from": "pg2", "to": "pg1", "by": "Patroni"});
        let nodes = "  nodes      2 closely, 0 intermediate, 4 far, 0 unknown";
        for (announced, reason, message, expected) in [
            (it("2026-01-01T03:00:40Z"), "Ready", "pg2 → pg1", "  announced: pg2 → pg1; in 3h00m"),
            (it("2026-01-01T00:00:30Z"), "Ready", "pg2 → pg1", "  announced: pg2 → pg1"),
            (json!(null), "Ignored", "ignored: no time", "  announced, and ignored: no time"),
            (json!(null), "Came", "pg1 → pg2 came", nodes),
        ] {
            assert_eq!(shown(announced, reason, message), expected, "{reason}");
        }
    }

    #[test]
    fn what_is_old_or_has_no_room_says_so() {
        let now = "2026-01-01T00:00:40Z".parse().unwrap();
        let two = [database("a"), database("b")];
        let away = ("Connection refused", "2026-01-01T00:00:10Z".parse().unwrap());
        let shown = view(two.iter(), Some("b"), Some(away), 3, now);
        let expected = [
            "THE API SERVER CAN'T BE ASKED since 30s (Connection refused): what follows is older than that.",
            "b: primary pg2, timeline 4, for 40s",
            "… and 9 more lines: make the terminal higher, or name one database",
        ];
        assert_eq!(shown, expected);
        assert_eq!(view([].iter(), Some("b"), None, 9, now), ["There is no DatabaseCluster b any more."]);
        assert_eq!(view(two.iter(), None, None, usize::MAX, now).len(), 21, "a line between two");
    }
}
