//! What was found, for people and for scripts.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{
    catalogue::Check,
    found::{Found, Mark},
};

/// Grouped, a line for each check, and below what isn't right: what, why it matters, what to do, where to read.
pub(super) fn text(all: &[(&'static Check, Found)]) -> String {
    let mut out = String::new();
    let mut group = "";
    for (check, found) in all {
        if check.group != group {
            let gap = if group.is_empty() { "" } else { "\n" };
            group = check.group;
            // Writing into a String does not fail.
            let _ = writeln!(out, "{gap}{group}\n{}", "-".repeat(group.chars().count()));
        }
        let mark = found.mark();
        let detail =
            if found.detail.is_empty() || mark != Mark::Right { String::new() } else { format!(": {}", found.detail) };
        let _ = writeln!(out, "{} {}{detail}", mark.sign(), check.what);
        for (mark, sentence) in &found.told {
            let _ = writeln!(out, "    {} {sentence}", mark.sign());
        }
        if matches!(mark, Mark::Hint | Mark::Warning | Mark::Wrong) {
            let _ = writeln!(
                out,
                "    why it matters: {}\n    what to do: {}\n    see {}",
                check.why, check.hint, check.doc
            );
        }
    }
    let count = |mark: Mark| all.iter().filter(|(_, found)| found.mark() == mark).count();
    let [wrong, unclear, warnings] = [Mark::Wrong, Mark::Unclear, Mark::Warning].map(count);
    let end = match (wrong, unclear) {
        (0, 0) => "√ nothing is wrong".to_owned(),
        (0, unclear) => format!("? nobody can tell of {unclear} of {} checks; nothing else is wrong", all.len()),
        (wrong, 0) => format!("× {wrong} of {} checks found something wrong", all.len()),
        (wrong, unclear) => {
            format!("× {wrong} of {} checks found something wrong; of {unclear} nobody can tell", all.len())
        }
    };
    let warned = if warnings == 0 { String::new() } else { format!("; ‼ {warnings} with a warning") };
    let _ = writeln!(out, "\n{end}{warned}");
    out
}

/// The same as JSON.
pub(super) fn json(all: &[(&'static Check, Found)]) -> Value {
    let one = |(check, found): &(&'static Check, Found)| {
        let told = found.told.iter().map(|(mark, sentence)| json!({"result": mark, "message": sentence}));
        json!({
            "id": check.id,
            "group": check.group,
            "what": check.what,
            "result": found.mark(),
            "detail": found.detail,
            "found": told.collect::<Vec<_>>(),
            "why": check.why,
            "hint": check.hint,
            "doc": check.doc,
        })
    };
    let worst = all.iter().map(|(_, found)| found.mark()).max();
    json!({"result": worst, "checks": all.iter().map(one).collect::<Vec<_>>()})
}
