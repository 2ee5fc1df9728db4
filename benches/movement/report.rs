//! What was measured, for people and for programs.

use std::{fmt::Write as _, fs, ops::RangeInclusive};

use anyhow::{Context, Result};
use lab::measured::{machine, write_json, write_report, write_section};
use serde_json::{Map, Value, json};

use super::{Args, NAME, Round, movers::Mover};

/// A line of the table.
pub(super) fn row(round: &Round) -> String {
    let Round { mover, seconds, seen, .. } = round;
    let asked = match mover.evicts() {
        true => format!("{} | {}", round.evictions(), round.refused()),
        false => "– | –".to_owned(),
    };
    let far = seen.far_pod_seconds;
    format!("| {mover} | {seconds:.0} | {} | {far:.0} | {asked} |", seen.fewest_serving)
}

/// What is promised of switchover with its defaults: key, between which values, and what it is in words.
const GOALS: [(&str, RangeInclusive<f64>, &str); 6] = [
    ("movement.to_drain", 0.0..=0.85, "seconds, of drain's"),
    ("movement.to_bound", 0.0..=1.2, "seconds, of the bound's"),
    ("movement.far_pod_seconds_to_drain", 0.0..=0.8, "pod-seconds far, of drain's"),
    ("movement.refused_share", 0.0..=0.05, "evictions refused, of all"),
    ("movement.requests_per_move", 0.0..=6.0, "requests of ours, per pod"),
    ("foresight.estimate_ratio", 0.7..=1.3, "seconds that `switchover plan` foresaw, of those it took"),
];

/// Ratios of what was measured in one run, by their keys.
fn figures(args: &Args, rounds: &[Round]) -> Map<String, Value> {
    let of = |mover: Mover| rounds.iter().find(|round| round.mover == mover);
    let mut figures = Map::new();
    let Some(ours) = of(Mover::Switchover) else { return figures };
    let evictions = ours.evictions().max(1) as f64;
    let mut put = |key: &str, value: f64| figures.insert(key.to_owned(), json!(value));
    if let Some(foreseen_s) = ours.foreseen_s {
        put("foresight.estimate_ratio", foreseen_s / ours.seconds);
    }
    put("movement.refused_share", ours.refused() as f64 / evictions);
    put("movement.requests_per_move", ours.requests.ours() as f64 / args.fleet.pods() as f64);
    if let Some(drain) = of(Mover::Drain) {
        put("movement.to_drain", ours.seconds / drain.seconds);
        put("movement.far_pod_seconds_to_drain", ours.seen.far_pod_seconds / drain.seen.far_pod_seconds);
    }
    if let Some(bound) = of(Mover::Bound) {
        put("movement.to_bound", ours.seconds / bound.seconds);
    }
    figures
}

/// Prints everything; the usual case goes to the page and to report.json with everybody in it, the others to a table of their own.
pub(super) fn write(args: &Args, rounds: &[Round], load: &str) -> Result<()> {
    let mut figures = figures(args, rounds);
    let mut goals = String::from("| switchover with its defaults | ratio | goal | met |\n|---|---|---|---|\n");
    for (key, goal, words) in GOALS {
        let Some(value) = figures.get(key).and_then(Value::as_f64) else { continue };
        let met = if goal.contains(&value) { "yes" } else { "**no**" };
        let (least, most) = goal.into_inner();
        let goal = if least > 0.0 { format!("{least} to {most}") } else { format!("≤ {most}") };
        let _ = writeln!(goals, "| {words} `{key}` | {value:.2} | {goal} | {met} |");
    }
    let table: String = rounds.iter().map(|round| row(round) + "\n").collect();
    println!("{table}\n{goals}");
    let whole = whole(args, rounds, load, &figures);
    let case = args.case();
    let name = if case.is_empty() { "as usual" } else { &case };
    let directory = lab::target_directory().join("bench").join(NAME);
    write_json(&directory.join(format!("{name}.json")), &whole)?;
    if !case.is_empty() {
        return write_cases(&directory);
    }
    if !args.movers.is_empty() {
        println!("not everybody moved: docs/performance.md and report.json stay as they are");
        return Ok(());
    }
    figures.insert(NAME.to_owned(), whole);
    write_report(figures)?;
    let text = include_str!("performance.md")
        .replace("{pods}", &args.fleet.pods().to_string())
        .replace("{workloads}", &args.fleet.workloads.to_string())
        .replace("{replicas}", &args.fleet.replicas.to_string())
        .replace("{ready}", &args.ready.to_string())
        .replace("{budget}", &format!("a budget of maxUnavailable {} each", args.budget))
        .replace("{date}", &jiff::Zoned::now().date().to_string())
        .replace("{machine}", &machine())
        .replace("{load}", load)
        .replace("{table}\n", &table)
        .replace("{goals}", goals.trim_end());
    write_section(NAME, &text).context("the figures are in target/bench/report.json")
}

/// The table of all cases that were measured here so far, but for the usual one.
fn write_cases(directory: &std::path::Path) -> Result<()> {
    let mut cases: Vec<Value> = Vec::new();
    for file in fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))? {
        let text = fs::read_to_string(file?.path())?;
        cases.push(serde_json::from_str(&text).context("a case that was measured before")?);
    }
    cases.retain(|case| case["case"].as_str().is_some_and(|case| !case.is_empty()));
    cases.sort_by_key(|case| case["case"].to_string());
    let mut table = String::from(
        "| case | drain | the bound | switchover | of drain's seconds | of the bound's | of drain's pod-seconds far | \
         fewest serving | refused |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for case in &cases {
        let round = |mover: Mover| {
            let rounds = case["rounds"].as_array().into_iter().flatten();
            rounds.clone().find(|round| round["mover"] == mover.key())
        };
        let seconds = |mover: Mover| {
            round(mover).and_then(|it| it["seconds"].as_f64()).map_or("–".to_owned(), |it| format!("{it:.0} s"))
        };
        let ratio = |key: &str| case["figures"][key].as_f64().map_or("–".to_owned(), |it| format!("{it:.2}"));
        let ours = round(Mover::Switchover).cloned().unwrap_or_default();
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {} of {} | {} |",
            case["case"].as_str().unwrap_or_default(),
            seconds(Mover::Drain),
            seconds(Mover::Bound),
            seconds(Mover::Switchover),
            ratio("movement.to_drain"),
            ratio("movement.to_bound"),
            ratio("movement.far_pod_seconds_to_drain"),
            ours["fewest_serving"],
            case["replicas"],
            ours["refused"],
        );
    }
    println!("{table}");
    write_section("movement-cases", &table)
}

/// Everything that was measured, absolute figures, too.
fn whole(args: &Args, rounds: &[Round], load: &str, figures: &Map<String, Value>) -> Value {
    let round = |round: &Round| {
        json!({
            "mover": round.mover.key(),
            "seconds": round.seconds,
            "fewest_serving": round.seen.fewest_serving,
            "far_pod_seconds": round.seen.far_pod_seconds,
            "evictions": round.evictions(),
            "refused": round.refused(),
            "requests_of_ours": round.requests.ours(),
            "requests": round.requests.total(),
            "requests_by_kind": round.requests.to_string(),
            "controller_cpu_s": round.controller_cpu_s,
            "foreseen_s": round.foreseen_s,
        })
    };
    json!({
        "case": args.case(),
        "figures": figures,
        "workloads": args.fleet.workloads,
        "replicas": args.fleet.replicas,
        "rounds": rounds.iter().map(round).collect::<Vec<_>>(),
        "machine": machine(),
        "date": jiff::Timestamp::now().to_string(),
        "load_average_before": load,
    })
}
