//! Alerts of what only a WAN can do: a Prometheus at the third site scrapes every role by its pods' addresses, with the shipped rules in a
//! hurry. The other faults are played on the light bed. `make alerts-lab`, which is part of `make nightly`.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use lab::{
    net,
    process::{Place, Process},
    site::Site,
};
use serde_json::json;
use tokio::runtime::Builder;

use super::stage::{SYSTEM, Stage, scene};
use crate::prometheus::{self, HASTE, Prometheus, Target};

/// Where it runs, and what is left to it there.
const HOST: &str = "client";
const PORT: u16 = 9090;
/// Far more than the longest wait of a rule that is played here.
const PATIENCE: Duration = Duration::from_secs(240);
/// Every database has this one.
const DATABASE: &str = "default";

/// The Prometheus of the lab. Whatever asks it does so from the host that it runs on.
struct Watcher<'s> {
    stage: &'s Stage,
    prometheus: Arc<Prometheus>,
}

impl<'s> Watcher<'s> {
    fn start(stage: &'s Stage) -> Result<Self> {
        // Its build wants the world outside.
        prometheus::program()?;
        let targets = targets(stage)?;
        let (namespace, folder) = (stage.lab.netns(HOST), stage.lab.state().join("prometheus"));
        let log = folder.join("prometheus.log");
        std::fs::create_dir_all(&folder)?;
        let place = Place { namespace: Some(namespace.clone()), ..Place::default() };
        let prometheus = asked_from(&namespace, async move || {
            let start = |command| Process::start("prometheus", command, &log, &place);
            Prometheus::start(&folder, PORT, &targets, start).await
        })?;
        Ok(Self { stage, prometheus: Arc::new(prometheus) })
    }

    /// When this alert first fired since then.
    fn fired(&self, begun: Timestamp, alert: &'static str, database: &'static str) -> Result<f64> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let prometheus = Arc::clone(&self.prometheus);
            let fired =
                asked_from(&self.stage.lab.netns(HOST), async move || prometheus.fired(begun, alert, database).await)?;
            if let Some(at) = fired {
                return Ok(at - begun.as_duration().as_secs_f64());
            }
            if Instant::now() > deadline {
                bail!("waited {} s for {alert} to fire; what did: {:?}", PATIENCE.as_secs(), self.ever_fired(begun)?);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn ever_fired(&self, begun: Timestamp) -> Result<Vec<String>> {
        let prometheus = Arc::clone(&self.prometheus);
        let mut fired = asked_from(&self.stage.lab.netns(HOST), async move || prometheus.ever_fired(begun).await)?;
        fired.sort();
        fired.dedup();
        Ok(fired)
    }

    /// Alerts that fire now.
    fn firing(&self) -> Result<usize> {
        let prometheus = Arc::clone(&self.prometheus);
        let ask = async move || prometheus.ask("ALERTS{alertstate=\"firing\"}").await;
        asked_from(&self.stage.lab.netns(HOST), ask).map(|series| series.len())
    }
}

/// Every role's pods, by their own addresses; agents by their nodes'.
fn targets(stage: &Stage) -> Result<Vec<Target>> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), SYSTEM);
    let pods = stage.runtime.block_on(pods.list(&ListParams::default()))?;
    let target = |pod: Pod| {
        let annotations = pod.metadata.annotations.unwrap_or_default();
        let port = annotations.get("prometheus.io/port").context("a pod says its port")?;
        let address = pod.status.and_then(|status| status.pod_ip).context("a pod has an address")?;
        Ok(Target { pod: pod.metadata.name.unwrap_or_default(), address: format!("{address}:{port}") })
    };
    pods.items.into_iter().map(target).collect()
}

/// Does it on a thread of that network, which sockets belong to.
fn asked_from<T: Send + 'static>(
    namespace: &Path,
    work: impl AsyncFnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    net::in_netns(namespace, move || Builder::new_current_thread().enable_all().build()?.block_on(work()))?
}

/// Everything between dc3 and the rest of the world.
fn cut_dc3(stage: &Stage, change: &str) -> Result<()> {
    [Site::ControlPlane, Site::Dc1, Site::Dc2].into_iter().try_for_each(|site| stage.lab.wan(Site::Dc3, site, change))
}

fn stale_after(stage: &Stage, time: serde_json::Value) -> Result<()> {
    let patch = json!({"spec": {"tiers": {"staleAfter": time}}}).to_string();
    stage.kubectl(["patch", "databasecluster", DATABASE, "--type=merge", "--patch", &patch]).map(drop)
}

#[test]
#[ignore = "needs root, the lab and a Prometheus that is built from its module: make alerts-lab"]
fn a_wan_that_is_cut_fires_its_alerts_and_switchovers_before_it_fire_none() {
    scene(|stage| {
        stale_after(stage, json!("15s"))?;
        let watcher = Watcher::start(stage)?;
        let quiet = Timestamp::now();
        for to in ["pg3", "pg1"] {
            stage.switch(to)?;
            stage.at(to)?;
        }
        let fired = watcher.ever_fired(quiet)?;
        ensure!(fired.is_empty(), "of switchovers nobody is woken: {fired:?}");

        let cut = Timestamp::now();
        let seen = cut_dc3(stage, "cut").and_then(|()| {
            let seconds = |alert| watcher.fired(cut, alert, DATABASE).map(|seconds| (alert, seconds));
            let seen = [seconds("SwitchoverMemberUnreachable")?, seconds("SwitchoverAgentSilent")?];
            let all = watcher.ever_fired(cut)?;
            println!("a cut WAN: {all:?}");
            for wrong in
                ["SwitchoverSplitBrain", "SwitchoverPrimaryUnknown", "SwitchoverNoLeader", "SwitchoverWebhookDown"]
            {
                ensure!(
                    !all.iter().any(|fired| fired.starts_with(wrong)),
                    "{wrong} fired of a cut that leaves the primary in sight: {all:?}"
                );
            }
            Ok(seen)
        });
        cut_dc3(stage, "heal")?;
        let healed = Instant::now();
        let seen = seen?;
        stage.until("every alert to end", || Ok(watcher.firing()? == 0))?;
        println!("every alert had ended {} s after the WAN was whole again", healed.elapsed().as_secs());
        stale_after(stage, serde_json::Value::Null)?;
        stage.at("pg1")?;
        println!("\n| fault | alert | fired after |\n|---|---|---|");
        for (alert, seconds) in seen {
            println!("| a data centre that is cut off | `{alert}` | {seconds:.0} s |");
        }
        println!("an hour of the rules was {} s", 3600 / HASTE);
        Ok(())
    });
}
