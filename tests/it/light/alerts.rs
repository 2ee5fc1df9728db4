//! The alerts and dashboards that are shipped: by Prometheus' own promtool, which needs no bed; and by a real Prometheus that scrapes
//! the roles, in `faults`.

mod faults;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use lab::{
    prepare::prepare_packages,
    tools::{Cache, PROMTOOL_PACKAGES},
};
use serde_json::{Value, json};

use super::manifests::root;

fn promtool() -> Result<PathBuf> {
    let programs = prepare_packages(&Cache::from_environment()?, &PROMTOOL_PACKAGES, &|step| println!("{step}"))?;
    Ok(programs.join("usr/bin/promtool"))
}

fn told(promtool: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(promtool).args(arguments).current_dir(root().join("deploy/alerts")).output()?;
    let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    ensure!(output.status.success(), "promtool {}: {told}", arguments.join(" "));
    Ok(told)
}

/// What the panels of the shipped dashboards ask, by `dashboard: title`, with everything chosen and this range.
fn asked(range: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut asked = BTreeMap::new();
    for file in fs::read_dir(root().join("deploy/dashboards"))? {
        let path = file?.path();
        let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
        let board: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        for panel in board["panels"].as_array().context("panels")?.iter().filter(|panel| panel["type"] != "row") {
            let title = panel["title"].as_str().context("a title")?;
            let targets = panel["targets"].as_array().context("targets")?;
            let chosen = |target: &Value| {
                let query = target["expr"].as_str().unwrap_or_default();
                query.replace("$cluster", ".*").replace("$database", ".*").replace("$__rate_interval", range)
            };
            asked.insert(format!("{name}: {title}"), targets.iter().map(chosen).collect());
        }
    }
    Ok(asked)
}

#[test]
fn every_alert_is_sound_and_fires_and_ends_when_it_should() -> Result<()> {
    let promtool = promtool()?;
    let checked = told(&promtool, &["check", "rules", "--lint=all", "--lint-fatal", "switchover.yaml"])?;
    assert!(checked.contains("SUCCESS:"), "{checked}");
    told(&promtool, &["test", "rules", "switchover.test.yaml"]).map(drop)
}

/// By the parser that will read them.
#[test]
fn every_expression_of_the_dashboards_is_sound() -> Result<()> {
    let asked = asked("5m")?;
    let queries = asked.values().flatten().collect::<std::collections::BTreeSet<_>>();
    let rules = queries.iter().enumerate().map(|(at, query)| json!({"record": format!("panel:{at}"), "expr": query}));
    let rules = json!({"groups": [{"name": "panels", "rules": rules.collect::<Vec<_>>()}]});
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("panels-{}.yaml", std::process::id()));
    fs::write(&file, rules.to_string())?;
    let checked = told(&promtool()?, &["check", "rules", &file.display().to_string()]);
    let _ = fs::remove_file(&file);
    let checked = checked?;
    assert!(queries.len() > 40 && checked.contains(&format!("SUCCESS: {} rules found", queries.len())), "{checked}");
    Ok(())
}
