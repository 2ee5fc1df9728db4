//! A forecast as people read it.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use super::{super::lines::time, OfDatabase};
use crate::{
    api::database_cluster::AnnouncedStatus,
    foresight::{Forecast, HeldForecast, Missing, Standing, WaveForecast, WorkloadForecast},
};

/// Waves that are listed one by one.
const MOST_WAVES: usize = 12;

/// Every forecast in full.
pub(super) fn text(answers: &[OfDatabase]) -> String {
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = answers.iter().try_for_each(|answer| write_answer(&mut out, answer));
    out
}

fn write_answer(out: &mut String, answer: &OfDatabase) -> fmt::Result {
    let primary = answer.primary.as_deref().unwrap_or("nobody");
    if !answer.lost.is_empty() {
        writeln!(out, "{}: lost with it: {}", answer.database, answer.lost.join(", "))?;
    }
    for forecast in &answer.forecasts {
        let announced = answer.announced.as_ref().filter(|it| it.to.as_ref() == Some(&forecast.to));
        write_forecast(out, primary, forecast, announced)?;
    }
    for unclear in &answer.unclear {
        writeln!(out, "{}: {primary} → {}: nobody can tell: {}", answer.database, unclear.member, unclear.why)?;
    }
    if answer.forecasts.is_empty() && answer.unclear.is_empty() {
        writeln!(out, "{}: it has no other member that could become the primary", answer.database)?;
    }
    Ok(())
}

fn write_forecast(
    out: &mut String,
    primary: &str,
    forecast: &Forecast,
    announced: Option<&AnnouncedStatus>,
) -> fmt::Result {
    let Forecast { database, to, nodes, followers, near, moves, seconds, .. } = forecast;
    let change = if primary == to { format!("{to} stays") } else { format!("{primary} → {to}") };
    let fits = if forecast.fits() { "all fits" } else { "NOT ALL FITS" };
    writeln!(out, "{database}: {change}: {fits}")?;
    writeln!(
        out,
        "  nodes: {} closely, {} intermediate, {} far, {} unknown; followers: {followers}, {near} of them near already",
        nodes.closely, nodes.intermediate, nodes.far, nodes.unknown
    )?;
    if let Some(loss) = &forecast.loss {
        let (nodes, pods) = (loss.nodes, loss.pods);
        writeln!(
            out,
            "  lost: {nodes} nodes with {pods} pods that are made anew; {} of these find no place, {} may have lost their volume",
            loss.pending, loss.tied
        )?;
    }
    if *moves > 0 {
        writeln!(
            out,
            "  {moves} pods move in about {} (readiness {}, budgets {}, limits {}), {}",
            time(seconds.total),
            time(seconds.readiness),
            time(seconds.budget),
            time(seconds.limits),
            since(seconds.settle, announced)
        )?;
        write_waves(out, &forecast.waves)?;
        write_rows(out, &forecast.workloads)?;
    } else {
        writeln!(out, "  nothing has to move")?;
    }
    write_held(out, &forecast.held)?;
    forecast.missing.iter().try_for_each(|missing| writeln!(out, "  missing: {}", missing.sentence))?;
    forecast.obstacles.iter().try_for_each(|obstacle| writeln!(out, "  obstacle: {obstacle}"))?;
    forecast.notes.iter().try_for_each(|note| writeln!(out, "  note: {note}"))
}

/// From when on they move.
fn since(settle: f64, announced: Option<&AnnouncedStatus>) -> String {
    let settled = format!("after settle ({})", time(settle));
    match announced {
        Some(AnnouncedStatus { at, .. }) => format!("at once if it comes as announced for {at:.0}, else {settled}"),
        None => settled,
    }
}

fn write_waves(out: &mut String, waves: &[WaveForecast]) -> fmt::Result {
    let shown: Vec<_> =
        waves.iter().take(MOST_WAVES).map(|it| format!("{} at {}", it.pods, time(it.begins_s))).collect();
    let more = waves.len().saturating_sub(MOST_WAVES);
    let rest = if more > 0 { format!(", and {more} more") } else { String::new() };
    writeln!(out, "  waves: {}{rest}", shown.join(", "))
}

fn write_rows(out: &mut String, workloads: &[WorkloadForecast]) -> fmt::Result {
    let head = ["WORKLOAD", "PODS", "FROM", "TO", "WAVES", "AT ONCE", "READY", "DONE"].map(str::to_owned);
    let row = |it: &WorkloadForecast| {
        let (first, last) = it.waves;
        let waves = if first == last { first.to_string() } else { format!("{first}-{last}") };
        let ready = format!("{} s{}", it.ready_s, if it.ready_known { "" } else { " (assumed)" });
        let at_once = if it.way == "restart" { "restart".to_owned() } else { it.at_once.to_string() };
        [
            format!("{} {}/{}", it.kind.to_lowercase(), it.namespace, it.name),
            it.pods.to_string(),
            zones(&it.from),
            zones(&it.to),
            waves,
            at_once,
            ready,
            time(it.seconds),
        ]
    };
    write_table(out, std::iter::once(head).chain(workloads.iter().map(row)).collect())
}

/// `dc1 ×3, dc2`
fn zones(zones: &BTreeMap<String, u32>) -> String {
    let one = |(zone, pods): (&String, &u32)| if zones.len() == 1 { zone.clone() } else { format!("{zone} ×{pods}") };
    zones.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn write_held(out: &mut String, held: &[HeldForecast]) -> fmt::Result {
    for it in held {
        let (kind, standing) = (it.kind.to_lowercase(), it.standing.words());
        let (pods, namespace, name) = (it.pods, &it.namespace, &it.name);
        let stay = if pods == 1 { "pod stays" } else { "pods stay" };
        writeln!(out, "  {pods} {stay}, {standing}: {kind} {namespace}/{name}: {}: {}", it.reason, it.message)?;
    }
    Ok(())
}

/// The members beside each other.
pub(super) fn comparison(answers: &[OfDatabase]) -> String {
    let head = ["DATABASE", "PRIMARY", "NEAR", "MOVE", "NO PLACE", "BLOCKED", "TIME", "MISSING"].map(str::to_owned);
    let mut rows = vec![head];
    for answer in answers {
        for forecast in &answer.forecasts {
            let now = if answer.primary.as_ref() == Some(&forecast.to) { " (now)" } else { "" };
            rows.push([
                answer.database.clone(),
                format!("{}{now}", forecast.to),
                forecast.near.to_string(),
                forecast.moves.to_string(),
                forecast.staying(Standing::NoPlace).to_string(),
                forecast.staying(Standing::Blocked).to_string(),
                time(forecast.seconds.total),
                lacks(&forecast.missing),
            ]);
        }
    }
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = write_table(&mut out, rows);
    for answer in answers {
        for unclear in &answer.unclear {
            let _ = writeln!(out, "  {}: {}: nobody can tell: {}", answer.database, unclear.member, unclear.why);
        }
        if let Some(best) = &answer.best {
            let _ = writeln!(out, "  {}: a primary is best at {best} for those who follow", answer.database);
        }
    }
    out
}

fn lacks(missing: &[Missing]) -> String {
    let all: Vec<String> = missing.iter().map(|it| crate::foresight::amounts(&it.resources)).collect();
    if all.is_empty() { "-".to_owned() } else { all.join("; ") }
}

fn write_table<const N: usize>(out: &mut String, rows: Vec<[String; N]>) -> fmt::Result {
    let widths: [usize; N] =
        std::array::from_fn(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}
