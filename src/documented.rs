//! docs/reference.md says what every name means that people meet. Here its tables are read against the lists of the code; those
//! of metrics are read by tests/tidy. The pages below docs/reference/ are made of the code (`pages.rs`).

mod pages;

use std::collections::BTreeSet;

use crate::{
    admission::Failure,
    api::database_cluster::ConditionType,
    cluster::EventReason,
    core::{
        affinity::SkipReason,
        distance::doubt::Doubt,
        movement::held::{Gate, HeldReason},
    },
};

const PAGE: &str = include_str!("../docs/reference.md");

/// The names in the first column of the table after this heading.
fn names(heading: &str) -> BTreeSet<&'static str> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.filter_map(|row| row.split('`').nth(1)).collect()
}

#[test]
fn every_event_is_documented() {
    assert_eq!(names("Events"), EventReason::names().collect::<BTreeSet<_>>());
}

#[test]
fn every_condition_is_documented() {
    assert_eq!(names("Conditions"), BTreeSet::from_iter(ConditionType::NAMES.iter().copied()));
}

#[test]
fn every_gate_and_held_reason_is_documented() {
    let gates = BTreeSet::from_iter(Gate::NAMES.iter().copied());
    assert_eq!(names("Gates"), gates);
    let held = HeldReason::names().filter(|name| !gates.contains(name));
    assert_eq!(names("Held reasons"), held.collect());
}

/// The rows of docs/reasons.md: what each name means, whether that passes, and what to do.
fn reasons() -> Vec<[&'static str; 4]> {
    let rows = include_str!("../docs/reasons.md").lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    cells.map(|cells| cells.try_into().unwrap_or_else(|row| panic!("four cells: {row:?}"))).collect()
}

#[test]
fn every_gate_and_held_reason_says_what_to_do() {
    let named: Vec<&str> = reasons().iter().map(|row| row[0].trim_matches('`')).collect();
    let there_are: Vec<&str> = HeldReason::names().collect();
    let (named_once, all): (BTreeSet<_>, BTreeSet<_>) = (named.iter().collect(), there_are.iter().collect());
    assert_eq!(named_once, all);
    assert_eq!(named.len(), named_once.len(), "each once");
    let short: Vec<_> = reasons().into_iter().filter(|row| row[1..].iter().any(|cell| cell.len() < 2)).collect();
    assert_eq!(short, Vec::<[&str; 4]>::new(), "every cell says something");
}

#[test]
fn what_passes_by_itself_is_what_the_movement_waits_for() {
    // One of each whose name tells it all; what the rest carries changes nothing of that.
    use HeldReason as Held;
    let why = String::new;
    let some = [
        Held::Gate(Gate::Paused),
        Held::Gate(Gate::Off),
        Held::Gate(Gate::Halted { failed: 1 }),
        Held::Gate(Gate::OutsideWindow { opens: None }),
        Held::Never,
        Held::NamespaceTerminating,
        Held::MovedBack { moves: 5 },
        Held::BarePod,
        Held::Job,
        Held::Misread(why()),
        Held::Rollout,
        Held::OneAtATime,
        Held::PerWorkload { limit: 2 },
        Held::Concurrency { limit: 1, growing: true },
        Held::NamespaceHalted { failed: 1 },
        Held::BudgetSpent(why()),
        Held::PerNamespace { limit: 1 },
        Held::PerMinute { limit: 1 },
        Held::NoBudget(why()),
        Held::SingleReplica(why()),
        Held::NodeNotReady,
        Held::NotReady,
        Held::NoRoom(why()),
        Held::Useless { moves: 1 },
    ];
    let passes = |name: &str| reasons().iter().find(|row| row[0].trim_matches('`') == name).map(|row| row[2] == "yes");
    let gates: BTreeSet<&str> = Gate::NAMES.iter().copied().collect();
    // A gate's row says whether it opens by itself, which the movement doesn't ask.
    for reason in some.iter().filter(|reason| !gates.contains(reason.name())) {
        assert_eq!(passes(reason.name()), Some(reason.waits()), "{}", reason.name());
    }
}

#[test]
fn every_reason_to_ignore_a_reading_is_documented() {
    assert_eq!(names("Why a reading is ignored"), BTreeSet::from_iter(Doubt::NAMES.iter().copied()));
}

#[test]
fn every_reason_to_leave_a_pod_as_it_is_is_documented() {
    let names_of_code = SkipReason::names().chain(Failure::NAMES.iter().copied());
    assert_eq!(names("Why a pod is left as it is"), names_of_code.collect());
}

#[test]
fn every_label_and_annotation_is_documented() {
    let written = include_str!("core/keys.rs").lines().filter(|line| line.starts_with("pub const "));
    let values = written.filter_map(|line| line.split('"').nth(1)).filter(|it| it.starts_with("switchover.dev/"));
    // What only begins keys is none.
    let keys: BTreeSet<&str> = values.filter(|it| !it.ends_with('/')).collect();
    let (_, section) = PAGE.split_once("\n## Labels, annotations and the like\n").unwrap();
    let rows = section.split("\n## ").next().unwrap_or_default().lines().filter(|line| line.starts_with("| `"));
    let cells = rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    // The last one stands for the label of any database.
    let documented: BTreeSet<&str> = cells.filter(|it| it.contains('/') && *it != "switchover.dev/NAME").collect();
    assert_eq!(documented, keys);
}
