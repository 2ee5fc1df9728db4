//! Who brings the pods near the new primary: switchover, and what people would do by hand.

use std::{fmt, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{core::v1::Pod, policy::v1::Eviction};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    Args,
    light::support::{Descheduler, Scene},
};

/// Evictions that are under way at the same time, where nobody else limits them.
const CONCURRENT: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mover {
    /// As many of each workload as its budget allows, the next as soon as these are Ready: nobody who evicts is quicker.
    Bound,
    /// `kubectl rollout restart` of every workload: asks no budget.
    Restart,
    /// `kubectl drain` of all far nodes at once.
    Drain,
    /// The descheduler every 5 s, by our labels and affinity.
    Descheduler,
    /// switchover with its defaults.
    Switchover,
    /// switchover with `maxConcurrent: 1000`.
    SwitchoverWide,
}

impl fmt::Display for Mover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mover::Bound => "the bound: what budgets allow, at once",
            Mover::Restart => "`kubectl rollout restart` of everything (asks no budget)",
            Mover::Drain => "`kubectl drain` of all far nodes at once",
            Mover::Descheduler => "descheduler 0.36 every 5 s, by our labels and affinity",
            Mover::Switchover => "switchover with its defaults",
            Mover::SwitchoverWide => "switchover, `maxConcurrent: 1000`",
        })
    }
}

impl Mover {
    /// By which report.json knows it.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Mover::Bound => "bound",
            Mover::Restart => "restart",
            Mover::Drain => "drain",
            Mover::Descheduler => "descheduler",
            Mover::Switchover => "switchover",
            Mover::SwitchoverWide => "switchover_wide",
        }
    }

    /// Whether it goes through the Eviction API.
    pub(crate) const fn evicts(self) -> bool {
        !matches!(self, Mover::Restart)
    }
}

/// What goes on moving until it is dropped.
pub(crate) struct Moving {
    _descheduler: Option<Descheduler>,
    task: Option<tokio::task::JoinHandle<Result<()>>>,
}

impl Moving {
    /// An error if it has failed by now.
    pub(crate) async fn check(&mut self) -> Result<()> {
        match self.task.take_if(|task| task.is_finished()) {
            Some(task) => task.await?,
            None => Ok(()),
        }
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Lets `mover` begin. switchover's movement was paused until now.
pub(crate) async fn begin(mover: Mover, args: &Args, scene: &Scene, namespace: &str) -> Result<Moving> {
    let mut moving = Moving { _descheduler: None, task: None };
    match mover {
        Mover::Switchover => scene.patch_database(json!({"movement": {"paused": false}})).await?,
        Mover::SwitchoverWide => {
            scene.patch_database(json!({"movement": {"paused": false, "maxConcurrent": 1000}})).await?;
        }
        Mover::Restart => {
            let world = scene.world;
            let arguments = ["rollout", "restart", "deployment", "--namespace", namespace];
            tokio::task::block_in_place(|| world.kubectl(&arguments, ""))?;
        }
        Mover::Drain => moving.task = Some(tokio::spawn(drain(scene.world, scene.far_nodes(args)))),
        Mover::Descheduler => {
            let start = || Descheduler::start(scene.world, namespace, 5);
            moving._descheduler = Some(tokio::task::block_in_place(start)?);
        }
        Mover::Bound => {
            let pods = scene.pods(namespace);
            let (allowed, near) = (args.allowed(), scene.node("dc3"));
            moving.task = Some(tokio::spawn(waves(pods, args.fleet.replicas, allowed, near)));
        }
    }
    Ok(moving)
}

/// So often is a drain of a node begun that ends early: an API server on few CPUs answers some of thousands of evictions too late, and whoever
/// drains by hand types it again.
const DRAINS: usize = 20;

async fn drain(world: &'static super::light::support::World, nodes: Vec<String>) -> Result<()> {
    let drained = nodes.into_iter().map(|node| {
        tokio::task::spawn_blocking(move || {
            let options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=30m"];
            let arguments = [&["drain", node.as_str()][..], &options[..]].concat();
            let drain = || world.kubectl(&arguments, "");
            (1..DRAINS).find_map(|_| drain().ok()).map_or_else(drain, Ok)
        })
    });
    for node in futures::future::join_all(drained).await {
        node??;
    }
    Ok(())
}

/// Evicts `allowed` far pods of each workload at once whenever all its replicas serve, until none is far.
async fn waves(pods: Api<Pod>, replicas: usize, allowed: usize, near: String) -> Result<()> {
    let pods = Arc::new(pods);
    loop {
        let mut by_workload = std::collections::BTreeMap::<String, (usize, Vec<String>)>::new();
        for pod in pods.list(&ListParams::default()).await?.items {
            if pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let of = by_workload.entry(pod.labels().get("app").cloned().unwrap_or_default()).or_default();
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            of.0 += usize::from(conditions.iter().any(|it| it.type_ == "Ready" && it.status == "True"));
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
            if !node.is_empty() && !node.starts_with(&near) {
                of.1.push(pod.name_any());
            }
        }
        if by_workload.values().all(|(_, far)| far.is_empty()) {
            return Ok(());
        }
        let whole = by_workload.into_values().filter(|(ready, _)| *ready == replicas);
        let chosen: Vec<String> = whole.flat_map(|(_, far)| far.into_iter().take(allowed)).collect();
        stream::iter(chosen).map(|name| evict(&pods, name)).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn evict(pods: &Api<Pod>, name: String) -> Result<()> {
    let eviction: Eviction = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    let options = PostParams::default();
    let answer = pods.create_subresource::<Eviction, Value>("eviction", &name, &options, &eviction).await;
    match answer {
        // A budget that was not observed yet: the next look tries again.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 429) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot evict {name}")),
        Ok(answer) => {
            ensure!(answer["status"] != "Failure", "the API server refused the eviction of {name}: {answer}");
            Ok(())
        }
    }
}
