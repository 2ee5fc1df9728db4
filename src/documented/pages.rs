//! The pages that are made of the code: `make reference` writes them, and each test compares one.

mod api;
mod commands;

use std::{env, fs, path::Path};

/// Holds a page against what the code says; or writes it, where that was asked for.
fn hold(page: &str, says: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if env::var_os("WRITE_REFERENCE").is_some() {
        fs::write(&path, says).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let mut lines = there.lines().zip(says.lines()).enumerate();
    let different = lines.find(|(_, (there, says))| there != says);
    let first = different.map(|(at, (there, says))| format!("line {}:\n  {there}\n  {says}", at + 1));
    assert!(there == says, "{page} is old: run make reference; {}", first.unwrap_or_else(|| "its end".to_owned()));
}

#[test]
fn every_command_is_documented_as_its_help_says() {
    hold("docs/reference/commands.md", &commands::page());
}

#[test]
fn every_field_of_the_api_is_documented_as_its_schema_says() {
    hold("docs/reference/api.md", &api::page());
}
