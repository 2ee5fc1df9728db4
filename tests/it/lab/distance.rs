//! Distances change, packets get lost, agents are away or lie: tiers follow once, or not at all.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use lab::site::Site;
use serde_json::json;
use switchover::api::NodeLatency;

use super::stage::{SYSTEM, Stage, known, picture, scene};

/// Every label that each node had, in order, from a moment on.
struct Histories<'a> {
    stage: &'a Stage,
    seen: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

impl Histories<'_> {
    /// Writes down every change while `play` runs.
    fn of(stage: &Stage, play: impl FnOnce() -> Result<()>) -> Result<BTreeMap<String, Vec<String>>> {
        let histories = Histories { stage, seen: Arc::default() };
        let over = AtomicBool::new(false);
        let played = thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    histories.look();
                    thread::sleep(Duration::from_millis(20));
                }
            });
            let played = play();
            over.store(true, Ordering::Relaxed);
            played
        });
        histories.look();
        played?;
        Ok(std::mem::take(&mut *histories.seen.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn look(&self) {
        let labels = self.stage.scene.seen().labels.clone();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for (node, label) in labels {
            let history = seen.entry(node).or_default();
            if history.last() != Some(&label) {
                history.push(label);
            }
        }
    }
}

fn labels(stage: &Stage, expected: [(&str, &str); 3]) -> Result<()> {
    stage.wait(&format!("the labels are {expected:?}"), |seen| {
        expected
            .iter()
            .all(|(nodes, label)| nodes.split(' ').all(|node| seen.labels.get(node).is_some_and(|its| its == label)))
    })
}

#[test]
#[ignore = "needs root and the lab"]
fn a_route_that_gets_longer_and_shorter_again_is_followed_once_each_time() {
    scene(|stage| {
        stage.switch("pg3")?;
        stage.at("pg3")?;
        let histories = Histories::of(stage, || {
            // From pg3 dc1 is 20 ms away and dc2 22 ms: both far.
            labels(stage, [("n1 n2", "far"), ("n3 n4", "far"), ("n5 n6", "closely")])?;
            stage.lab.wan(Site::Dc1, Site::Dc3, "60ms")?;
            let followed = labels(stage, [("n1 n2", "far"), ("n3 n4", "intermediate"), ("n5 n6", "closely")])
                .and_then(|()| stage.stays("the labels", Duration::from_secs(8), |seen| seen.labels.clone()));
            stage.lab.wan(Site::Dc1, Site::Dc3, "heal")?;
            followed?;
            labels(stage, [("n1 n2", "far"), ("n3 n4", "far"), ("n5 n6", "closely")])?;
            stage.stays("the labels", Duration::from_secs(8), |seen| seen.labels.clone())
        })?;
        for (node, history) in &histories {
            let expected: &[&str] = match node.as_str() {
                "n1" | "n2" => &["far"],
                "n3" | "n4" => &["far", "intermediate", "far"],
                _ => &["closely"],
            };
            ensure!(history == expected, "{node} was {history:?}");
        }
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the lab"]
fn every_third_packet_lost_is_loss_and_not_distance() {
    scene(|stage| {
        let witness = stage.witness()?;
        stage.lab.wan(Site::Dc1, Site::Dc3, "loss 30%")?;
        let latencies: Api<NodeLatency> = Api::all(stage.client.clone());
        let lossy = || -> Result<bool> {
            let readings = stage.runtime.block_on(latencies.get("n5"))?.spec.readings;
            Ok(readings.iter().any(|reading| reading.loss_percent > 0 && reading.rtt_us.is_some()))
        };
        let lived = stage
            .until("n5 to tell of the loss", lossy)
            .and_then(|()| stage.stays("labels and pods", Duration::from_secs(12), picture));
        stage.lab.wan(Site::Dc1, Site::Dc3, "heal")?;
        lived?;
        ensure!(witness.seen().evicted.is_empty(), "{:?} were evicted", witness.seen().evicted);
        Ok(())
    });
}

#[test]
#[ignore = "needs root and the lab"]
fn an_agent_that_lies_pulls_nobody_and_one_that_is_away_leaves_its_label() {
    scene(|stage| {
        let latencies: Api<NodeLatency> = Api::all(stage.client.clone());
        let mut readings = stage.runtime.block_on(latencies.get("n6"))?.spec.readings;
        readings.iter_mut().for_each(|reading| reading.rtt_us = Some(3_600_000));
        let lie = Patch::Merge(json!({ "spec": { "readings": readings } }));
        let ignored = |seen: &lab::demo::Seen| {
            seen.database["ignored"].as_array().into_iter().flatten().any(|ignored| ignored["node"] == "n6")
        };
        // As its own agent would write it, and again: the agent itself writes the truth when something changes.
        stage.until("the lie is ignored, and said so", || {
            stage.runtime.block_on(latencies.patch("n6", &PatchParams::default(), &lie))?;
            Ok(ignored(&stage.scene.seen()))
        })?;
        stage.stays("labels and pods", Duration::from_secs(4), picture)?;

        // Its agent goes, and comes back with the truth.
        let without = json!([{"op": "add", "path": "/spec/template/spec/affinity", "value": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["n6"]}]}]}}}}]);
        let patch = |patch: &serde_json::Value| {
            stage.kubectl([
                "-n",
                SYSTEM,
                "patch",
                "daemonset/switchover-agent",
                "--type=json",
                "-p",
                &patch.to_string(),
            ])
        };
        patch(&without)?;
        let away = || -> Result<()> {
            let status = ["-n", SYSTEM, "rollout", "status", "daemonset/switchover-agent", "--timeout=90s"];
            stage.kubectl(status)?;
            ensure!(stage.scene.seen().labels.get("n6").is_some_and(|label| label == "far"), "n6 lost its label");
            stage.stays("the labels", Duration::from_secs(5), |seen| seen.labels.clone())
        };
        let away = away();
        patch(&json!([{"op": "remove", "path": "/spec/template/spec/affinity"}]))?;
        stage.kubectl(["-n", SYSTEM, "rollout", "status", "daemonset/switchover-agent", "--timeout=90s"])?;
        away?;
        stage.wait("n6 is believed again", |seen| !ignored(seen) && known(seen) == Some("pg1"))
    });
}
