//! What happened after one change of primary, drawn in text.

use jiff::Timestamp;

use super::worth::FailoverReport;

/// Characters of the line that is drawn.
const WIDE: usize = 60;

/// The moments of one change, in their order, and a line that shows how long each part took.
#[must_use]
pub fn timeline(report: &FailoverReport) -> Vec<String> {
    let row = &report.row;
    let Some(confirmed) = row.confirmed_at else { return vec!["when it was confirmed isn't known".to_owned()] };
    let former = row.from.as_deref().map(|from| format!(" (it was {from})")).unwrap_or_default();
    let over = format!("the movement is over: {} moved, {} held", row.moved, row.held);
    let moments: [(Option<Timestamp>, String); 6] = [
        (Some(confirmed), format!("{} is confirmed as the primary{former}", row.to)),
        (row.labelled_at, "every node has its label".to_owned()),
        (row.first_move_at, "the first move begins".to_owned()),
        (row.last_move_at.filter(|last| Some(*last) != row.first_move_at), "the last move begins".to_owned()),
        (row.moved_at, over),
        (report.ended_at, "the primary changes again".to_owned()),
    ];
    let mut told: Vec<(f64, String)> =
        moments.into_iter().filter_map(|(at, what)| Some((row.after_s(at)?, what))).collect();
    told.sort_by(|a, b| a.0.total_cmp(&b.0));
    let times: Vec<String> = told.iter().map(|(after_s, _)| format!("+{:.1} s", after_s.max(0.0))).collect();
    let wide = times.iter().map(|time| time.chars().count()).max().unwrap_or(0);
    let mut lines: Vec<String> =
        times.iter().zip(&told).map(|(time, (_, what))| format!("{time:>wide$}  {what}")).collect();
    if let Some(drawn) = drawn(report) {
        lines.push(String::new());
        lines.extend(drawn);
    }
    lines
}

/// From the confirmation to the end of the movement.
fn drawn(report: &FailoverReport) -> Option<[String; 3]> {
    let row = &report.row;
    let end_s = row.after_s(row.moved_at).filter(|end_s| *end_s > 0.0)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and WIDE")]
    let place = |at: Option<Timestamp>| {
        let after_s = row.after_s(at)?;
        Some(((after_s / end_s).clamp(0.0, 1.0) * (WIDE - 1) as f64).round() as usize)
    };
    let (first, last) = (place(row.first_move_at), place(row.last_move_at));
    let labelled = place(row.labelled_at);
    let line: String = (0..WIDE)
        .map(|at| match (first, last) {
            (Some(first), Some(last)) if (first..=last).contains(&at) => '=',
            (_, Some(last)) if at > last => '-',
            _ if labelled.is_none_or(|labelled| at < labelled) => '~',
            _ => '.',
        })
        .collect();
    let end = format!("+{end_s:.1} s");
    Some([
        format!("|{line}|"),
        format!("0 s{end:>wide$}", wide = WIDE - 1),
        "~ nodes are labelled   . the primary has to hold   = moves begin   - the last replacements become Ready"
            .to_owned(),
    ])
}
