//! The programs themselves, without any cluster: `switchover agent` goes on as the program that is the agent alone.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};

const PROGRAM: &str = env!("CARGO_BIN_EXE_switchover");
const AGENT: &str = env!("CARGO_BIN_EXE_switchover-agent");
/// What an agent says that finds no cluster to talk to.
const NO_CLUSTER: &str = "switchover: no cluster to talk to";

/// A directory that holds the program and nothing beside it.
struct Alone(PathBuf);

impl Alone {
    fn new(name: &str) -> Result<Alone> {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let alone = Alone(directory);
        // No symbolic link: a program is found where it really lies.
        fs::hard_link(PROGRAM, alone.program()).or_else(|_| fs::copy(PROGRAM, alone.program()).map(drop))?;
        Ok(alone)
    }

    fn program(&self) -> PathBuf {
        self.0.join("switchover")
    }

    fn beside(&self, text: &str, mode: u32) -> Result<()> {
        let path = self.0.join("switchover-agent");
        fs::write(&path, text)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs an agent that has no cluster; its process id and what came of it.
fn run(program: &Path, arguments: &[&str]) -> Result<(u32, Output)> {
    let child = Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", "/nonexistent/kubeconfig")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't run {}", program.display()))?;
    Ok((child.id(), child.wait_with_output()?))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_agent_goes_on_as_the_program_beside_it_in_the_same_process_with_what_was_typed() -> Result<()> {
    let alone = Alone::new("agent-beside")?;
    alone.beside("#!/bin/sh\necho \"$$ $KUBECONFIG $*\"\n", 0o755)?;
    for typed in [
        &["agent", "--node-name", "n1", "--interval=1s"][..],
        &["--log", "agent=debug", "agent", "--node-name=n1", "--log-format=json"],
    ] {
        let (pid, output) = run(&alone.program(), typed)?;
        assert_eq!(said(&output).trim(), format!("{pid} /nonexistent/kubeconfig {}", typed.join(" ")));
    }
    // Through a link the same one is found; and what can't mean anything is said before anything else is run.
    symlink(alone.program(), alone.0.join("linked"))?;
    let (pid, output) = run(&alone.0.join("linked"), &["agent", "--node-name=n1"])?;
    assert!(said(&output).starts_with(&format!("{pid} ")), "{}", said(&output));
    let (_, output) = run(&alone.program(), &["agent", "--interval=soon", "--node-name=n1"])?;
    assert!(!output.status.success() && said(&output).contains("'soon'"), "{}", said(&output));
    // No other role does.
    let (_, output) = run(&alone.program(), &["controller"])?;
    assert!(said(&output).contains(NO_CLUSTER), "{}", said(&output));
    Ok(())
}

#[test]
fn without_that_program_the_agent_runs_all_the_same_and_says_why() -> Result<()> {
    let alone = Alone::new("agent-alone")?;
    let told = |what: &str| -> Result<()> {
        let (_, output) = run(&alone.program(), &["agent", "--node-name=n1"])?;
        let said = said(&output);
        ensure!(said.contains("switchover-agent can't be run") && said.contains(what), "not {what}: {said}");
        ensure!(said.contains(NO_CLUSTER), "it did not go on: {said}");
        Ok(())
    };
    told("No such file")?;
    alone.beside("", 0o644)?;
    told("Permission denied")
}

#[test]
fn the_program_beside_it_is_the_agent() -> Result<()> {
    for program in [PROGRAM, AGENT] {
        let (_, output) = run(Path::new(program), &["agent", "--node-name=n1"])?;
        let said = said(&output);
        assert!(said.contains(NO_CLUSTER) && !said.contains("can't be run"), "{program}: {said}");
    }
    let version = |program: &str| run(Path::new(program), &["--version"]).map(|(_, output)| said(&output));
    assert_eq!(version(PROGRAM)?, version(AGENT)?);
    Ok(())
}
