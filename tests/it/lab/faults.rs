//! Parts of the product and of the cluster are away: pods start all the same, and it heals by itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{control::NodeAction, process::Power};

use super::stage::{REPLICAS, SYSTEM, Stage, scene};

fn scale_webhook(stage: &Stage, replicas: &str) -> Result<()> {
    stage.kubectl(["-n", SYSTEM, "scale", "deployment/switchover-webhook", &format!("--replicas={replicas}")])?;
    stage.kubectl(["-n", SYSTEM, "rollout", "status", "deployment/switchover-webhook", "--timeout=60s"])?;
    if replicas == "0" {
        let pods = ["-n", SYSTEM, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/component=webhook"];
        stage.kubectl(pods.into_iter().chain(["--timeout=60s"]))?;
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the lab"]
fn without_the_webhook_pods_start_where_they_may_and_are_brought_near_when_it_is_back() {
    scene(|stage| {
        scale_webhook(stage, "0")?;
        let born = || -> Result<()> {
            stage.kubectl(["-n", "orders", "rollout", "restart", "deployment/shop"])?;
            stage.kubectl(["-n", "orders", "rollout", "status", "deployment/shop", "--timeout=90s"])?;
            let seen = stage.scene.seen();
            let far = |pod: &&lab::demo::SeenPod| seen.labels.get(&pod.node).is_some_and(|label| label == "far");
            let scattered = seen.pods.values().filter(far).count();
            ensure!(scattered > 0, "nothing draws the pods near pg1, and yet none is far");
            Ok(())
        };
        let born = born();
        scale_webhook(stage, "6")?;
        born?;
        let load = stage.load()?;
        // Only far nodes are left: a pod on an intermediate one stays (spec.movement.includeIntermediate).
        stage.not_far_from("pg1")?;
        load.unharmed(stage)?;
        stage.kubectl(["-n", "orders", "rollout", "restart", "deployment/shop"])?;
        stage.kubectl(["-n", "orders", "rollout", "status", "deployment/shop", "--timeout=90s"]).map(drop)
    });
}

#[test]
#[ignore = "needs root and the lab"]
fn a_node_that_loses_its_power_keeps_its_label_and_gets_no_pods() {
    scene(|stage| {
        let label = |node: &str| stage.scene.seen().labels.get(node).cloned().unwrap_or_default();
        ensure!(label("n6") == "far", "n6 is {}", label("n6"));
        stage.lab.node("n6", NodeAction::Kill)?;
        let lived = || -> Result<()> {
            let ready = ["get", "node", "n6", "-o", "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}"];
            stage.until("n6 to be noticed as away", || Ok(stage.kubectl(ready)? == "Unknown"))?;
            stage.stays("the labels", Duration::from_secs(5), |seen| seen.labels.clone())?;
            stage.switch("pg3")?;
            stage.wait("all pods are beside pg3, where only n5 is left", |seen| {
                let serving: Vec<_> = seen.pods.values().filter(|pod| !pod.terminating && pod.ready).collect();
                serving.len() == REPLICAS && serving.iter().all(|pod| pod.node == "n5")
            })
        };
        let lived = lived();
        stage.lab.node("n6", NodeAction::Start)?;
        lived?;
        let power = stage.lab.status()?.nodes.iter().find(|node| node.name == "n6").context("n6 is a node")?.power;
        ensure!(power == Power::On, "n6 did not start");
        stage.wait("n6 is labelled for pg3", |seen| seen.labels_right("pg3"))
    });
}
