//! Every degraded state has its alert, runbook, panel, check, condition and scene: ARCHITECTURE.md says which states there are,
//! docs/runbooks/README.md what each of them has, and here that is compared with what there is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::files::{Files, join};

const STATES: &str = "ARCHITECTURE.md";
const TABLE: &str = "docs/runbooks/README.md";
const RULES: &str = "deploy/alerts/switchover.yaml";
const TESTS: &str = "deploy/alerts/switchover.test.yaml";
/// What each runbook has, in this order.
const PARTS: [&str; 4] = ["What it means", "What users feel", "How to look", "What to do"];

/// What one row of the table says.
struct State<'t> {
    fault: &'t str,
    alert: &'t str,
    panel: &'t str,
    check: &'t str,
    condition: &'t str,
    scene: &'t str,
}

/// What there is, by name.
struct Artefacts<'t> {
    /// Each with the address of its runbook.
    alerts: BTreeMap<String, String>,
    /// `dashboard: title`.
    panels: BTreeSet<String>,
    checks: BTreeSet<&'t str>,
    conditions: BTreeSet<&'t str>,
    scenes: BTreeSet<String>,
}

/// What a state lacks, or names without there being one; and what belongs to no state.
pub(crate) fn findings(files: &Files) -> Vec<String> {
    let mut findings = Vec::new();
    let text = |path: &str| files.text(path).unwrap_or_default();
    let there = Artefacts::read(files, &mut findings);
    let rows: Vec<State<'_>> =
        table(text(TABLE), "## States").into_iter().filter_map(|row| State::read(&row, &mut findings)).collect();
    let states: Vec<&str> =
        table(text(STATES), "## Degraded states").into_iter().filter_map(|row| row.first().copied()).collect();
    for state in &states {
        match rows.iter().filter(|row| row.fault == *state).count() {
            1 => {}
            0 => findings.push(format!("{TABLE}: says nothing of the state: {state}")),
            _ => findings.push(format!("{TABLE}: says more than once: {state}")),
        }
    }
    for row in &rows {
        if !states.contains(&row.fault) {
            findings.push(format!("{STATES}: doesn't know the state: {}", row.fault));
        }
        row.compare(files, &there, &mut findings);
    }
    let named: BTreeSet<&str> = rows.iter().filter_map(|row| Some(link(row.alert)?.0)).collect();
    let tested = text(TESTS);
    for alert in there.alerts.keys() {
        if !named.contains(&**alert) {
            findings.push(format!("{RULES}: {alert} belongs to no state of {TABLE}"));
        }
        if !tested.contains(&format!("alertname=\"{alert}\"")) {
            findings.push(format!("{TESTS}: nobody has seen {alert} fire"));
        }
    }
    let books: BTreeSet<&str> = rows.iter().filter_map(|row| Some(link(row.alert)?.1)).collect();
    for (path, _) in files.ending(".md").filter(|(path, _)| path.starts_with("docs/runbooks/") && *path != TABLE) {
        if !books.iter().any(|book| join("docs/runbooks", book) == path) {
            findings.push(format!("{path}: no state of {TABLE} leads to it"));
        }
    }
    findings
}

impl<'t> State<'t> {
    fn read(row: &[&'t str], findings: &mut Vec<String>) -> Option<Self> {
        let &[fault, alert, panel, check, condition, scene] = row else {
            findings.push(format!("{TABLE}: six cells: {}", row.join(" | ")));
            return None;
        };
        Some(Self { fault, alert, panel, check, condition, scene })
    }

    fn compare(&self, files: &Files, there: &Artefacts<'_>, findings: &mut Vec<String>) {
        let mut find = |what: String| findings.push(format!("{TABLE}: {}: {what}", self.fault));
        match link(self.alert) {
            None => find("names no alert with its runbook".to_owned()),
            Some((alert, book)) => {
                let path = join("docs/runbooks", book);
                match there.alerts.get(alert) {
                    None => find(format!("{RULES} has no alert {alert}")),
                    Some(url) if url.ends_with(&format!("/{path}")) => {}
                    Some(url) => find(format!("{alert} leads to {url}, not to {path}")),
                }
                match files.text(&path) {
                    None => find(format!("there is no {path}")),
                    Some(text) => lacks(text, alert).into_iter().for_each(|what| find(format!("{path}: {what}"))),
                }
            }
        }
        if !there.panels.contains(self.panel) {
            find(format!("no dashboard has the panel {}", self.panel));
        }
        for (what, cell, known) in
            [("check", self.check, &there.checks), ("condition", self.condition, &there.conditions)]
        {
            match (word(cell), exception(cell)) {
                (Some(name), _) if known.contains(name) => {}
                (Some(name), _) => find(format!("there is no {what} {name}")),
                (None, true) => {}
                (None, false) => find(format!("names no {what}, and doesn't say why there is none")),
            }
        }
        match word(self.scene) {
            Some(scene) if there.scenes.contains(scene) => {}
            Some(scene) => find(format!("there is no scene {scene}")),
            None => find("names no scene".to_owned()),
        }
    }
}

impl<'t> Artefacts<'t> {
    fn read(files: &'t Files, findings: &mut Vec<String>) -> Self {
        let text = |path: &str| files.text(path).unwrap_or_default();
        let rules: Value = serde_saphyr::from_str(text(RULES)).unwrap_or_default();
        let rules = rules["groups"].as_array().into_iter().flatten().flat_map(|group| group["rules"].as_array());
        let alerts = rules.flatten().filter_map(|rule| {
            let url = rule["annotations"]["runbook_url"].as_str().unwrap_or("nowhere");
            Some((rule["alert"].as_str()?.to_owned(), url.to_owned()))
        });
        let alerts = alerts.collect();
        let mut panels = BTreeSet::new();
        for (path, text) in files.ending(".json").filter(|(path, _)| path.starts_with("deploy/dashboards/")) {
            let name = path.trim_start_matches("deploy/dashboards/").trim_end_matches(".json");
            let Ok(board) = serde_json::from_str::<Value>(text) else {
                findings.push(format!("{path}: it is no JSON"));
                continue;
            };
            let titles = board["panels"].as_array().into_iter().flatten().filter(|panel| panel["type"] != "row");
            panels.extend(titles.filter_map(|panel| Some(format!("{name}: {}", panel["title"].as_str()?))));
        }
        let checks = text("docs/check.md").lines().filter(|line| line.starts_with("| `")).filter_map(word);
        let checks = checks.collect();
        let conditions = table(text("docs/reference.md"), "## Conditions");
        let conditions = conditions.into_iter().filter_map(|row| word(row.first()?)).collect();
        Self { alerts, panels, checks, conditions, scenes: scenes(files) }
    }
}

/// The functions that are tests.
fn scenes(files: &Files) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, text) in files.ending(".rs") {
        for after in text.split("#[test]\n").skip(1).chain(text.split("#[tokio::test").skip(1)) {
            let name = after.split_once("fn ").and_then(|(between, rest)| {
                let attributes = between.lines().all(|line| {
                    let line = line.trim();
                    line.is_empty() || line.starts_with("#[") || line.starts_with(['(', ']', '/']) || line == "async"
                });
                attributes.then(|| rest.split(['(', '<']).next()).flatten()
            });
            found.extend(name.map(str::to_owned));
        }
    }
    found
}

/// What a runbook lacks.
fn lacks(text: &str, alert: &str) -> Vec<String> {
    let mut lacks = Vec::new();
    if text.lines().next().is_none_or(|line| line != format!("# {alert}")) {
        lacks.push(format!("its title isn't {alert}"));
    }
    let parts: Vec<(&str, &str)> = text.split("\n## ").skip(1).filter_map(|part| part.split_once('\n')).collect();
    if parts.iter().map(|(title, _)| *title).ne(PARTS) {
        lacks.push(format!("its parts aren't {}", PARTS.join(", ")));
    }
    let empty = parts.iter().filter(|(_, text)| text.trim().len() < 20);
    lacks.extend(empty.map(|(title, _)| format!("{title}: says nothing")));
    lacks
}

/// The rows of the first table below this heading, without its head.
fn table<'t>(page: &'t str, heading: &str) -> Vec<Vec<&'t str>> {
    let section = page.split_once(&format!("\n{heading}\n")).map_or("", |(_, section)| section);
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows =
        section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// `[name](target)`.
fn link(cell: &str) -> Option<(&str, &str)> {
    cell.strip_prefix('[')?.strip_suffix(')')?.split_once("](")
}

/// What stands between the first backticks.
fn word(cell: &str) -> Option<&str> {
    cell.split('`').nth(1)
}

/// A dash, and why.
fn exception(cell: &str) -> bool {
    cell.strip_prefix("– ").is_some_and(|why| why.len() > 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOK: &str = "# Down\n\n## What it means\n\nThe webhook is down now.\n\n## What users feel\n\nNothing whatsoever, mostly.\n\n\
                        ## How to look\n\nswitchover check, and the log.\n\n## What to do\n\nStart it, and wait for a while.\n";

    fn found(changes: &[(&str, &str, &str)]) -> Vec<String> {
        let mut files = BTreeMap::from([
            (STATES, "\n## Degraded states\n\n| fault | x |\n|---|---|\n| webhook down | y |\n".to_owned()),
            (
                TABLE,
                "\n## States\n\n| state | alert | panel | check | condition | scene |\n|---|---|---|---|---|---|\n\
                 | webhook down | [Down](down.md) | overview: Roles | `webhooks` | – it is about no database | `it_is_down` |\n"
                    .to_owned(),
            ),
            (
                RULES,
                "groups:\n- rules:\n  - record: r\n  - alert: Down\n    annotations: {runbook_url: 'https://x/docs/runbooks/down.md'}\n"
                    .to_owned(),
            ),
            (TESTS, "ALERTS{alertname=\"Down\"}".to_owned()),
            ("docs/runbooks/down.md", BOOK.to_owned()),
            (
                "deploy/dashboards/overview.json",
                r#"{"panels": [{"type": "row", "title": "Row"}, {"type": "stat", "title": "Roles"}]}"#.to_owned(),
            ),
            ("docs/check.md", "| `webhooks` | they run |\n".to_owned()),
            ("docs/reference.md", "\n## Conditions\n\n| c | r |\n|---|---|\n| `Frozen` | r |\n".to_owned()),
            ("tests/it.rs", "#[test]\n#[ignore = \"long\"]\nfn it_is_down() {}\nfn helper() {}\n".to_owned()),
        ]);
        for (path, from, to) in changes {
            let text = files.get_mut(path).expect("a file");
            assert!(text.contains(from), "{path}: {from}");
            *text = text.replace(from, to);
        }
        findings(&files.into_iter().collect())
    }

    #[test]
    fn whatever_a_state_lacks_is_found() {
        let row = "docs/runbooks/README.md: webhook down";
        for (changes, expected) in [
            (vec![], vec![]),
            (
                vec![(STATES, "| webhook down", "| agent down")],
                vec![
                    format!("{TABLE}: says nothing of the state: agent down"),
                    format!("{STATES}: doesn't know the state: webhook down"),
                ],
            ),
            (
                vec![(RULES, "alert: Down", "alert: Up")],
                vec![
                    format!("{row}: {RULES} has no alert Down"),
                    format!("{RULES}: Up belongs to no state of {TABLE}"),
                    format!("{TESTS}: nobody has seen Up fire"),
                ],
            ),
            (
                vec![(RULES, "down.md", "gone.md")],
                vec![format!("{row}: Down leads to https://x/docs/runbooks/gone.md, not to docs/runbooks/down.md")],
            ),
            (vec![(TESTS, "Down", "Up")], vec![format!("{TESTS}: nobody has seen Down fire")]),
            (
                vec![("docs/runbooks/down.md", "## What to do", "## What not to do")],
                vec![format!(
                    "{row}: docs/runbooks/down.md: its parts aren't What it means, What users feel, How to look, What to do"
                )],
            ),
            (
                vec![("docs/runbooks/down.md", "Nothing whatsoever, mostly.", "")],
                vec![format!("{row}: docs/runbooks/down.md: What users feel: says nothing")],
            ),
            (
                vec![(TABLE, "(down.md)", "(up.md)")],
                vec![
                    format!("{row}: Down leads to https://x/docs/runbooks/down.md, not to docs/runbooks/up.md"),
                    format!("{row}: there is no docs/runbooks/up.md"),
                    format!("docs/runbooks/down.md: no state of {TABLE} leads to it"),
                ],
            ),
            (
                vec![("deploy/dashboards/overview.json", "Roles", "Rolls")],
                vec![format!("{row}: no dashboard has the panel overview: Roles")],
            ),
            (
                vec![(TABLE, "overview: Roles", "overview: Row")],
                vec![format!("{row}: no dashboard has the panel overview: Row")],
            ),
            (vec![("docs/check.md", "webhooks", "agents")], vec![format!("{row}: there is no check webhooks")]),
            (
                vec![(TABLE, "– it is about no database", "`Thawed`")],
                vec![format!("{row}: there is no condition Thawed")],
            ),
            (
                vec![(TABLE, "– it is about no database", "–")],
                vec![format!("{row}: names no condition, and doesn't say why there is none")],
            ),
            (vec![(TABLE, "`it_is_down`", "`helper`")], vec![format!("{row}: there is no scene helper")]),
            (
                vec![(TABLE, " | `it_is_down`", "")],
                vec![
                    format!(
                        "{TABLE}: six cells: webhook down | [Down](down.md) | overview: Roles | `webhooks` | – it is about no database"
                    ),
                    format!("{TABLE}: says nothing of the state: webhook down"),
                    format!("{RULES}: Down belongs to no state of {TABLE}"),
                    format!("docs/runbooks/down.md: no state of {TABLE} leads to it"),
                ],
            ),
        ] {
            assert_eq!(found(&changes), expected, "{changes:?}");
        }
    }
}
