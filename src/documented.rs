//! docs/reference.md says what every name means that people meet. Here its tables are read against the lists of the code; those
//! of metrics are read by tests/tidy.

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
    assert_eq!(names("Events"), BTreeSet::from_iter(EventReason::NAMES.iter().copied()));
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

#[test]
fn every_reason_to_ignore_a_reading_is_documented() {
    assert_eq!(names("Why a reading is ignored"), BTreeSet::from_iter(Doubt::NAMES.iter().copied()));
}

#[test]
fn every_reason_to_leave_a_pod_as_it_is_is_documented() {
    let names_of_code = SkipReason::names().chain(Failure::NAMES.iter().copied());
    assert_eq!(names("Why a pod is left as it is"), names_of_code.collect());
}
