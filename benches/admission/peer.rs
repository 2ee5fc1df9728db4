//! The peer: the same injection with controller-runtime, built from benches/peers/controller-runtime.

use std::{path::PathBuf, process::Command};

use anyhow::{Context, ensure};

/// Builds it, or says why not.
pub(crate) fn build(target: &std::path::Path) -> anyhow::Result<PathBuf> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers/controller-runtime");
    let program = target.join("controller-runtime");
    println!("building the peer in Go (some minutes the first time)");
    let status = Command::new("go")
        .args(["build", "-mod=readonly", "-trimpath", "-o"])
        .arg(&program)
        .arg(".")
        .current_dir(source)
        .status()
        .context("go: install Go 1.26 or newer")?;
    ensure!(status.success(), "go build failed: {status}");
    Ok(program)
}
