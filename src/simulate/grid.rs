//! Which settings cost least: the same failovers and flaps, played by each of many.

use std::{fmt, time::Instant};

use super::{
    chance::Chance,
    play::play,
    report::Report,
    script::{Budget, Database, DatabaseDeed, Event, Kind, Ms, Script, SettingError, Share, What, Workload, Zone},
};

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
/// A disruption costs as much as so many seconds of a pod far from its primary: a connection pool is filled anew, a cache is cold.
const DISRUPTION_S: u64 = 60;

/// What came of one setting.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Fields of `spec.movement`.
    pub settings: Vec<(String, String)>,
    /// Changes of primary.
    pub changes: u64,
    pub far_pod_s: u64,
    pub missing_pod_s: u64,
    pub disruptions: u64,
    /// Something that must hold didn't.
    pub broken: usize,
}

impl Row {
    /// Pod-seconds far, and as much for each disruption as it is worth.
    #[must_use]
    pub const fn cost(&self) -> u64 {
        self.far_pod_s + self.disruptions * DISRUPTION_S
    }
}

impl fmt::Display for Row {
    /// A row of a table in Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings: Vec<_> = self.settings.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let each = |sum: u64| sum / self.changes.max(1);
        write!(
            f,
            "| {} | {} | {} | {:.1} | {} |",
            settings.join(", "),
            each(self.far_pod_s),
            each(self.missing_pod_s),
            self.disruptions as f64 / self.changes.max(1) as f64,
            each(self.cost())
        )
    }
}

/// The head of the table whose rows these are.
pub const HEAD: &str =
    "| settings | pod-seconds far | pod-seconds missing | disruptions | cost |\n|---|---|---|---|---|";

/// Plays so many months of failovers and flaps by every setting.
///
/// # Errors
/// A setting is no field of `spec.movement`.
pub fn grid(seed: u64, months: u32, begin: Instant) -> Result<Vec<Row>, SettingError> {
    let mut rows = Vec::new();
    for settle in ["0s", "5s", "10s", "15s", "30s", "60s", "120s"] {
        for most in ["1", "5", "20", "100"] {
            let settings =
                vec![("settle".to_owned(), settle.to_owned()), ("maxConcurrent".to_owned(), most.to_owned())];
            rows.push(row(seed, months, settings, begin)?);
        }
    }
    Ok(rows)
}

/// One setting.
fn row(seed: u64, months: u32, settings: Vec<(String, String)>, begin: Instant) -> Result<Row, SettingError> {
    let mut row = Row { settings, changes: 0, far_pod_s: 0, missing_pod_s: 0, disruptions: 0, broken: 0 };
    for month in 0..months.max(1) {
        let script = failovers(seed + u64::from(month), &row.settings);
        let Report { far_pod_ms, missing_pod_ms, evictions, restarts, broken, .. } = play(&script, begin)?;
        row.changes += script.events.iter().filter(|event| matches!(event.what, What::Primary { .. })).count() as u64;
        row.far_pod_s += far_pod_ms / SECOND;
        row.missing_pod_s += missing_pod_ms / SECOND;
        row.disruptions += evictions + restarts;
        row.broken += broken.len();
    }
    Ok(row)
}

/// A month in which the primary moves a dozen times: planned, in a crash, or back and forth.
fn failovers(seed: u64, settings: &[(String, String)]) -> Script {
    let mut chance = Chance::new(seed);
    let zones: Vec<Zone> =
        ["a", "b", "c"].map(|name| Zone { name: name.to_owned(), nodes: 4, cpu_m: 16_000, pods: 60 }).into();
    let members = zones.iter().enumerate().map(|(at, zone)| (format!("pg{}", at + 1), zone.name.clone())).collect();
    let database = Database { name: "default".to_owned(), members, settings: settings.to_vec() };
    let workload = |at: u32| Workload {
        budget: Some(Budget::Unavailable(Share::Percent(25))),
        ready: Some(u64::from(2 + at % 5 * 7) * SECOND),
        ..Workload::new(Kind::Deployment, &format!("w{at}"), 2 + at % 7)
    };
    let mut script = Script {
        seed,
        zones,
        distances: Vec::new(),
        databases: vec![database],
        workloads: (0..12).map(workload).collect(),
        events: Vec::new(),
        expectations: Vec::new(),
        until: 30 * 24 * HOUR,
    };
    let (mut now, mut primary) = (HOUR, 0);
    while now < script.until - HOUR {
        move_primary(&mut chance, &mut script, now, &mut primary);
        now += chance.between(12, 96) * HOUR;
    }
    script.events.sort_by_key(|event| event.at);
    script
}

fn move_primary(chance: &mut Chance, script: &mut Script, now: Ms, primary: &mut u32) {
    let mut now = now;
    // Most moves stay; some are taken back, and a few go on and on.
    let moves = match chance.below(10) {
        0..=5 => 1,
        6..=8 => 2,
        _ => chance.between(3, 7),
    };
    for _ in 0..moves {
        let next = (*primary + 1 + chance.below(2)) % 3;
        if chance.percent(50) {
            let deed = DatabaseDeed::Lost;
            script.events.push(Event { at: now, what: What::Database { name: "default".to_owned(), deed } });
            now += chance.between(10, 60) * SECOND;
        }
        script.events.push(Event { at: now, what: What::Primary { member: format!("pg{}", next + 1) } });
        *primary = next;
        now += chance.between(5, 900) * SECOND;
    }
}
