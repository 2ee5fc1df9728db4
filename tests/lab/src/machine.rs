//! A node "machine": namespaces whose process 1 runs containerd and the kubelet. Killing it is a power cut.
//!
//! The supervisor holds a [`Machine`]; the inside is `machine::init`. They talk over a pair of pipes: one command a
//! line, one answer a line.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::{
    cgroup::{self, Hierarchy},
    process::{Power, last_lines},
    site::{self, Site},
    tools::Cache,
};

pub(crate) mod config;
pub mod init;

/// Everything that a machine needs to know; written to a file that its process 1 reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    pub name: String,
    /// 1-based.
    pub number: usize,
    pub site: Site,
    pub address: Ipv4Addr,
    /// Its disk and logs.
    pub directory: PathBuf,
    pub cache: PathBuf,
    /// Holds its kubeconfig and the authority's certificate.
    pub pki: PathBuf,
    pub namespace: PathBuf,
    pub lab: String,
    pub hierarchies: Vec<Hierarchy>,
}

/// A node's machine, seen from the supervisor.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    running: Option<Running>,
    kubelet: Power,
}

#[derive(Debug)]
struct Running {
    /// The process that waits for process 1; in the supervisor's process namespace.
    child: Child,
    /// Process 1 of the machine, as numbered in the supervisor's namespace.
    init: Pid,
    commands: ChildStdin,
    answers: Receiver<String>,
}

/// Booting and importing take a few seconds when all nodes do so at once on two processors.
const PATIENCE: Duration = Duration::from_secs(90);

impl Machine {
    /// Prepares the machine's disk. It is off until [`Machine::boot`].
    pub fn new(settings: Settings) -> Result<Machine> {
        for directory in ["kubelet", "containerd", "log"] {
            let directory = settings.directory.join(directory);
            fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let cache = Cache { directory: settings.cache.clone() };
        let write = |name: &str, text: String| {
            fs::write(settings.directory.join(name), text).with_context(|| format!("cannot write {name}"))
        };
        write("containerd.toml", config::containerd(&cache))?;
        write("network.conflist", config::pod_network(settings.number))?;
        write("kubelet.json", config::kubelet(&settings))?;
        write("machine.json", serde_json::to_string_pretty(&settings)?)?;
        Ok(Machine { settings, running: None, kubelet: Power::Off })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether the machine has power.
    pub fn power(&mut self) -> Power {
        let on = self.running.as_mut().is_some_and(|running| matches!(running.child.try_wait(), Ok(None)));
        if on { Power::On } else { Power::Off }
    }

    /// Whether the kubelet is meant to run.
    pub fn kubelet(&mut self) -> Power {
        if self.power() == Power::On { self.kubelet } else { Power::Off }
    }

    /// Switches the machine on. Returns when its container runtime answers; the kubelet is not started yet.
    pub fn boot(&mut self) -> Result<()> {
        let name = &self.settings.name;
        ensure!(self.running.is_none(), "the node {name} is already on");
        cgroup::create(&self.settings.hierarchies, &self.settings.lab, name)?;
        let log = self.log("machine.log");
        let mut child = Command::new("/proc/self/exe")
            .arg("machine")
            .arg(self.settings.directory.join("machine.json"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::OpenOptions::new().create(true).append(true).open(&log)?)
            .spawn()
            .with_context(|| format!("cannot start the machine of the node {name}"))?;
        let commands = child.stdin.take().context("the machine has a stdin")?;
        let mut lines = BufReader::new(child.stdout.take().context("the machine has a stdout")?).lines();
        let (sender, answers) = mpsc::channel();
        thread::spawn(move || {
            while let Some(Ok(line)) = lines.next() {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let first = answers.recv_timeout(PATIENCE).unwrap_or_default();
        let Some(init) = first.strip_prefix("pid ").and_then(|pid| pid.parse().ok()).map(Pid::from_raw) else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("the machine of the node {name} did not start: {}", last_lines(&log, 5));
        };
        self.running = Some(Running { child, init, commands, answers });
        self.answer("boot").inspect_err(|_| {
            // Half a machine is worse than none.
            let _ = self.power_off();
        })
    }

    /// Cuts the power: every process of the node ends at once.
    pub fn power_off(&mut self) -> Result<()> {
        let name = &self.settings.name;
        let Some(mut running) = self.running.take() else { bail!("the node {name} is already off") };
        self.kubelet = Power::Off;
        // It may have ended by itself, which is what was wanted.
        let _ = kill(running.init, Signal::SIGKILL);
        running.child.wait().with_context(|| format!("cannot wait for the machine of {name}"))?;
        cgroup::clear(&self.settings.hierarchies, &self.settings.lab, name);
        Ok(())
    }

    pub fn start_kubelet(&mut self) -> Result<()> {
        self.command("kubelet start")?;
        self.kubelet = Power::On;
        Ok(())
    }

    pub fn stop_kubelet(&mut self) -> Result<()> {
        self.command("kubelet stop")?;
        self.kubelet = Power::Off;
        Ok(())
    }

    /// Imports an image archive into the node's container runtime.
    pub fn import(&mut self, archive: &Path) -> Result<()> {
        self.command(&format!("import {}", archive.display()))
    }

    fn command(&mut self, line: &str) -> Result<()> {
        let name = &self.settings.name;
        let running = self.running.as_mut().with_context(|| format!("the node {name} is off; start it first"))?;
        writeln!(running.commands, "{line}").with_context(|| format!("the machine of the node {name} has ended"))?;
        self.answer(line)
    }

    fn answer(&self, asked: &str) -> Result<()> {
        let name = &self.settings.name;
        let running = self.running.as_ref().with_context(|| format!("the node {name} is off"))?;
        let answer = running.answers.recv_timeout(PATIENCE).map_err(|_| {
            anyhow!("the node {name} did not answer to {asked:?}: {}", last_lines(&self.log("machine.log"), 5))
        })?;
        match answer.strip_prefix("error ") {
            None => Ok(()),
            Some(error) => bail!("{asked:?} failed on the node {name}: {error}"),
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.settings.directory.join("log").join(name)
    }
}

impl Settings {
    /// What the kubelet tells about its node.
    fn labels(&self) -> String {
        format!("topology.kubernetes.io/zone={},topology.kubernetes.io/region=lab", self.site)
    }

    /// The network behind this node.
    pub fn pods(&self) -> String {
        site::pod_range(self.number)
    }
}
