//! What Prometheus is asked, by alerts and by dashboards: every metric is one that the program registers, with labels and words that
//! docs/reference.md knows, which other tests hold to the code. That the expressions are sound, promtool says.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::files::Files;

/// Labels that Prometheus gives to whatever it scrapes, and the one that tells clusters apart.
const SCRAPED: [&str; 4] = ["cluster", "instance", "namespace", "pod"];
/// What histograms have besides.
const OF_HISTOGRAMS: [&str; 3] = ["_bucket", "_count", "_sum"];

/// Names that nothing registers, labels that a metric doesn't have, words that none is.
pub(crate) fn findings(files: &Files) -> Vec<String> {
    let page = files.text("docs/reference.md").unwrap_or_default();
    let mut known = documented(page);
    let words: BTreeSet<&str> = page.split(|char: char| !char.is_alphanumeric() && char != '_').collect();
    let mut findings = Vec::new();
    let mut asked = Vec::new();
    for (path, text) in
        files.ending(".yaml").filter(|(path, _)| path.starts_with("deploy/alerts/") && !path.contains(".test."))
    {
        let rules: Value = serde_saphyr::from_str(text).unwrap_or_default();
        for rule in
            rules["groups"].as_array().into_iter().flatten().filter_map(|group| group["rules"].as_array()).flatten()
        {
            let expression = rule["expr"].as_str().unwrap_or_default().to_owned();
            if let Some(name) = rule["record"].as_str() {
                known.insert(name.to_owned(), kept(&expression, &known));
            }
            let text = rule["annotations"].to_string();
            for label in text.split("$labels.").skip(1).filter_map(|rest| rest.split([' ', '}']).next()) {
                if !kept(&expression, &known).contains(label) {
                    findings.push(format!("{path}: {}: its text names {label}, which no rule keeps", rule["alert"]));
                }
            }
            if !kept(&expression, &known).contains("cluster") {
                findings.push(format!("{path}: doesn't keep the label of the cluster: {expression}"));
            }
            asked.push((path, expression));
        }
    }
    for (path, text) in files.ending(".json").filter(|(path, _)| path.starts_with("deploy/dashboards/")) {
        let board: Value = serde_json::from_str(text).unwrap_or_default();
        let panels = board["panels"].as_array().into_iter().flatten();
        let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
        asked.extend(targets.filter_map(|target| Some((path, target["expr"].as_str()?.to_owned()))));
    }
    for (path, expression) in asked {
        for (name, matchers) in selectors(&expression) {
            let Some(labels) = known.get(name) else {
                findings.push(format!("{path}: nothing registers {name}"));
                continue;
            };
            for (label, value) in matchers {
                if !labels.contains(label) && !SCRAPED.contains(&label) {
                    findings.push(format!("{path}: {name} has no label {label}"));
                }
                let plain = value.split('|').filter(|word| !word.contains('$'));
                for word in plain.filter(|word| !words.contains(word)) {
                    findings.push(format!("{path}: {name}: docs/reference.md doesn't know {label}={word}"));
                }
            }
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Metrics with their labels.
fn documented(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let section = page.split_once("\n## Metrics\n").map_or("", |(_, section)| section);
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut known = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split('|').collect();
        let between = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<String>>();
        let [name, labels] = [1, 3].map(|at| between(cells.get(at).copied().unwrap_or_default()));
        for name in name {
            if cells.get(4).is_some_and(|meaning| meaning.contains("histogram")) {
                for ending in OF_HISTOGRAMS {
                    known.insert(format!("{name}{ending}"), labels.clone());
                }
            } else {
                known.insert(name, labels.clone());
            }
        }
    }
    known
}

/// The labels that come back: what a `by (…)` of it names, or what the recording rules that it asks for do.
fn kept(expression: &str, known: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    if !expression.contains("by (") {
        let recorded = selectors(expression).into_iter().filter(|(name, _)| name.contains(':'));
        return recorded.filter_map(|(name, _)| known.get(name)).flatten().cloned().collect();
    }
    let lists = expression.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    lists.flat_map(|list| list.split(',').map(|label| label.trim().to_owned())).collect()
}

type Selector<'e> = (&'e str, Vec<(&'e str, &'e str)>);

/// The metrics of switchover in it, each with its labels and their values.
fn selectors(expression: &str) -> Vec<Selector<'_>> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find("switchover") {
        let begins = !rest[..at].ends_with(|char: char| char.is_alphanumeric() || "_:\"".contains(char));
        let after = &rest[at..];
        let end = after.find(|char: char| !char.is_alphanumeric() && char != '_' && char != ':').unwrap_or(after.len());
        let name = &after[..end];
        rest = &after[end..];
        if begins {
            let matchers =
                rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
            found.push((name, matchers.split(", ").filter_map(matcher).collect()));
        }
    }
    found
}

/// `label="value"`, also with `=~` and `!=`.
fn matcher(text: &str) -> Option<(&str, &str)> {
    let (label, value) = text.split_once('"')?;
    Some((label.trim_end_matches(['=', '~', '!']).trim(), value.trim_end_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_metric_is_called_is_found() {
        let page = "\n## Metrics\n\n| metric | role | labels | meaning |\n|---|---|---|---|\n\
                    | `switchover_state` | c | `database`, `state` | Known or Unknown |\n\
                    | `switchover_took_seconds` | c | | histogram of times |\n";
        let rules = r#"
groups:
- rules:
  - {record: "switchover:state:leader", expr: 'max by (cluster, state) (switchover_state{state="Known", tier="x"})'}
  - alert: A
    expr: switchover:state:leader{state="Lost"} or sum by (cluster) (switchover_gone{cluster="eu"}) and switchover:other
    annotations: {summary: '{{ $labels.cluster }} {{ $labels.member }}'}
  - {alert: B, expr: max by (database) (switchover_state)}
"#;
        let board = r#"{"panels": [{"title": "row"}, {"targets": [
            {"expr": "rate(switchover_took_seconds_bucket{cluster=~\"$cluster\"}[5m])"}, {"expr": "switchover_took_seconds"},
            {"expr": "ALERTS{alertname=~\"switchover.+\"}"}]}]}"#;
        let files = Files::from([
            ("docs/reference.md", page),
            ("deploy/alerts/a.yaml", rules),
            ("deploy/alerts/a.test.yaml", "groups: [{rules: [{expr: switchover_nothing}]}]"),
            ("deploy/dashboards/d.json", board),
        ]);
        assert_eq!(
            findings(&files),
            [
                "deploy/alerts/a.yaml: \"A\": its text names member, which no rule keeps",
                "deploy/alerts/a.yaml: doesn't keep the label of the cluster: max by (database) (switchover_state)",
                "deploy/alerts/a.yaml: nothing registers switchover:other",
                "deploy/alerts/a.yaml: nothing registers switchover_gone",
                "deploy/alerts/a.yaml: switchover:state:leader: docs/reference.md doesn't know state=Lost",
                "deploy/alerts/a.yaml: switchover_state has no label tier",
                "deploy/alerts/a.yaml: switchover_state: docs/reference.md doesn't know tier=x",
                "deploy/dashboards/d.json: nothing registers switchover_took_seconds",
            ]
        );
    }
}
