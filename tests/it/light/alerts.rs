//! The alerts that are shipped, by Prometheus' own promtool. No bed is needed.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use lab::{
    prepare::prepare_packages,
    tools::{Cache, PROMTOOL_PACKAGES},
};

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

#[test]
fn every_alert_is_sound_and_fires_and_ends_when_it_should() -> Result<()> {
    let promtool = promtool()?;
    let checked = told(&promtool, &["check", "rules", "--lint=all", "--lint-fatal", "switchover.yaml"])?;
    assert!(checked.contains("SUCCESS:"), "{checked}");
    told(&promtool, &["test", "rules", "switchover.test.yaml"]).map(drop)
}
