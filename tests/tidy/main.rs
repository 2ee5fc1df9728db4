//! Rules of this house that neither the compiler nor clippy keeps. Each is a function from files to what is wrong with them,
//! and is itself tested with files that break it.

mod chart;
mod degraded;
mod files;
mod links;
mod manifests;
mod modules;
mod queries;
mod reference;
mod rooms;
mod shape;
mod tokens;

use std::sync::LazyLock;

use files::Files;

static FILES: LazyLock<Files> = LazyLock::new(Files::read);

#[track_caller]
fn nothing_in(findings: &[String]) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn every_file_is_named_by_a_mod_and_every_path_attribute_is_needed() {
    nothing_in(&modules::findings(&FILES));
}

#[test]
fn the_table_of_rooms_is_what_the_code_does() {
    nothing_in(&rooms::findings(&FILES));
}

#[test]
fn no_modules_use_each_other_in_a_circle() {
    nothing_in(&rooms::circles(&FILES));
}

#[test]
fn the_root_has_room_for_no_more() {
    nothing_in(&rooms::crowd(&FILES));
}

#[test]
fn decisions_know_no_clock_client_chance_or_log() {
    nothing_in(&rooms::impurities(&FILES));
}

#[test]
fn every_link_leads_somewhere() {
    nothing_in(&links::findings(&FILES));
}

#[test]
fn every_metric_is_documented() {
    nothing_in(&reference::metrics(&FILES));
}

#[test]
fn every_degraded_state_has_its_alert_runbook_panel_check_condition_and_scene() {
    nothing_in(&degraded::findings(&FILES));
}

#[test]
fn alerts_and_dashboards_ask_for_what_there_is() {
    nothing_in(&queries::findings(&FILES));
}

#[test]
fn the_chart_s_values_are_what_its_readme_and_its_schema_say() {
    nothing_in(&chart::findings(&FILES));
}

#[test]
fn no_file_is_too_long() {
    nothing_in(&shape::lengths(&FILES));
}

#[test]
fn every_dependency_is_used() {
    nothing_in(&manifests::findings(&FILES));
}

#[test]
fn every_public_item_says_what_it_is() {
    nothing_in(&shape::undocumented(&FILES));
}

#[test]
fn nothing_is_left_over() {
    nothing_in(&shape::leftovers(&FILES));
}

#[test]
fn the_promised_compiler_is_the_one_that_builds() {
    nothing_in(&shape::compiler(&FILES));
}
