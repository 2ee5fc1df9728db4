//! The movement is not the only one that ends pods: while it moves them off the nodes that the primary has left, people drain these nodes.
//! Three who evict meet one disruption budget; nobody is lost, and everybody ends.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{REPLICAS, Story, WINDOW};
use crate::{Lab, install::kubectl, measured::tenths, site, tools};

/// What `kubectl drain` says of a pod that the budget doesn't let go yet.
const REFUSED: &str = "would violate the pod's disruption budget";

/// How it went.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Drains {
    pub from: String,
    pub to: String,
    /// The nodes that were drained, each by a `kubectl drain` of its own.
    pub nodes: Vec<String>,
    /// How many of these drains ended well.
    pub ended: usize,
    /// From when they began until the last one ended.
    pub drained_s: f64,
    /// From when they began until every replica served near the primary.
    pub near_s: f64,
    /// Evictions that the budget refused to the drains, to which they came back.
    pub refused: usize,
    /// Replicas that switchover itself moved.
    pub moved: u64,
    pub held: u64,
    pub min_ready: usize,
    pub replicas: usize,
    pub requests: u64,
    pub transport_failures: u64,
    pub other_failures: u64,
}

impl Drains {
    /// What is not as it should be, in sentences.
    pub fn problems(&self) -> Vec<String> {
        let checks = [
            (self.nodes.len() == 2, format!("{} nodes were drained, and not two", self.nodes.len())),
            (self.ended == self.nodes.len(), format!("only {} drains ended well", self.ended)),
            (self.transport_failures == 0, format!("{} requests failed in transport", self.transport_failures)),
            (self.other_failures == 0, format!("{} requests failed otherwise", self.other_failures)),
            (self.min_ready + 1 >= self.replicas, format!("only {} replicas were ready at one time", self.min_ready)),
            (self.refused > 0, "the drains and the movement never met at the budget".to_owned()),
            (self.moved > 0, "switchover moved nobody".to_owned()),
            (self.held == 0, format!("{} pods were held", self.held)),
        ];
        let failed = checks.into_iter().filter(|(holds, _)| !holds);
        failed.map(|(_, problem)| format!("two drains amid {} → {}: {problem}", self.from, self.to)).collect()
    }

    /// In the last line of the demo.
    pub fn line(&self) -> String {
        format!(
            "two drains amid {}→{}: near +{:.1} s, drained +{:.1} s, {} pods moved, {} evictions refused by the budget, never below {} of {}",
            self.from, self.to, self.near_s, self.drained_s, self.moved, self.refused, self.min_ready, self.replicas
        )
    }
}

impl Story<'_> {
    /// The primary moves, and as soon as the first pod follows it, both nodes of the data centre that it has left are drained.
    pub(in crate::demo) fn drains(&self) -> Result<Drains> {
        let from = self.primary()?;
        let to = if from == "pg3" { "pg1" } else { "pg3" };
        let mut drains = Drains { from: from.clone(), to: to.into(), replicas: REPLICAS, ..Drains::default() };
        println!();
        self.clock.say(&format!(
            "drains: the primary moves from {from} to {to}, and amid the movement both nodes are drained that it leaves"
        ));
        let epoch = self.scene.seen().epoch();
        self.scene.seen().begin_counting();
        let start = Instant::now();
        self.lab.switchover(Some(to))?;
        self.scene.wait(Duration::from_secs(90), "switchover confirms a new primary", |seen| {
            seen.failover(epoch).is_some()
        })?;
        self.first_move(epoch)?;
        let left = |node: &&String| site::of_node(node).is_some_and(|site| from == format!("pg{}", site.index()));
        drains.nodes = self.scene.seen().labels.keys().filter(left).cloned().collect();
        self.clock.say(&format!(
            "the first pod moves: kubectl drain {}, each by somebody of his own",
            drains.nodes.join(" and ")
        ));
        let began = Instant::now();
        let under_way: Vec<Drain> =
            drains.nodes.iter().map(|node| Drain::begin(self.lab, node)).collect::<Result<_>>()?;
        self.scene.wait(Duration::from_secs(120), "all replicas are near the primary", |seen| {
            seen.settled_at(to, REPLICAS)
        })?;
        drains.near_s = tenths(began.elapsed());
        self.clock.say(&format!("all replicas are near {to}, {:.1} s after the drains began", drains.near_s));
        for drain in under_way {
            let (ended, refused) = drain.end()?;
            drains.ended += usize::from(ended);
            drains.refused += refused;
        }
        drains.drained_s = tenths(began.elapsed());
        self.clock.say(&format!(
            "both drains have ended, {:.1} s after they began; {} times the budget refused them a pod",
            drains.drained_s, drains.refused
        ));
        self.scene.wait(Duration::from_secs(60), "switchover says that the movement is over", |seen| {
            seen.failover(epoch).is_some_and(|failover| failover["movedAt"].is_string())
        })?;
        // The old pods drain for a few seconds; their last requests count too.
        std::thread::sleep(WINDOW);
        let summary = self.load.window(start, Instant::now());
        let failover = self.scene.seen().failover(epoch).cloned().unwrap_or_default();
        drains.moved = failover["moved"].as_u64().unwrap_or(0);
        drains.held = failover["held"].as_u64().unwrap_or(0);
        drains.min_ready = self.scene.seen().min_ready;
        drains.requests = summary.requests;
        drains.transport_failures = summary.transport_failures;
        drains.other_failures = summary.other + summary.no_endpoint;
        self.clock.say("after:");
        self.table();
        self.clock.say(&format!("requests since the event: {summary}"));
        for node in &drains.nodes {
            kubectl(self.lab, ["uncordon", node])?;
        }
        Ok(drains)
    }
}

/// `kubectl drain` of one node, with everything that runs there. It is killed if nobody waits for its end.
struct Drain {
    kubectl: Option<Child>,
}

impl Drain {
    fn begin(lab: &Lab, node: &str) -> Result<Drain> {
        let mut command = Command::new(tools::kubectl()?);
        command
            .args(["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=100s"])
            .env("KUBECONFIG", lab.kubeconfig())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        Ok(Drain { kubectl: Some(command.spawn().context("kubectl can't be run")?) })
    }

    /// Waits for its end: whether that was a good one, and how often the budget refused it a pod.
    fn end(mut self) -> Result<(bool, usize)> {
        let output = self.kubectl.take().context("it was begun")?.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            println!("           {}", said.trim().replace('\n', "\n           "));
        }
        Ok((output.status.success(), said.matches(REFUSED).count()))
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if let Some(kubectl) = &mut self.kubectl {
            let _ = kubectl.kill();
            let _ = kubectl.wait();
        }
    }
}
