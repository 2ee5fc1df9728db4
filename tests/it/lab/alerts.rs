//! A data centre that is cut off fires its alert, on a real Prometheus that scrapes the roles where they run.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};
use lab::{
    process::{Place, Process},
    site::Site,
    wait::until_within,
};

use super::stage::{SYSTEM, Stage, known, scene};
use crate::prometheus::Prometheus;

/// The one that scrapes from outside of Kubernetes.
const HOST: &str = "client";
const PORT: u16 = 9090;
/// Patroni's ttl and far more than the longest wait of a rule.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
#[ignore = "needs root, the lab, and a Prometheus that is built from its module: make alerts-test"]
fn a_data_centre_that_is_cut_off_fires_its_alert_and_a_switchover_fires_none() {
    scene(|stage| {
        let prometheus = start(stage)?;
        let begun = Timestamp::now();
        stage.switch("pg2")?;
        stage.at("pg2")?;
        stage.switch("pg1")?;
        stage.at("pg1")?;
        let fired = stage.runtime.block_on(prometheus.ever_fired(begun))?;
        ensure!(fired.is_empty(), "of switchovers nobody is woken: {fired:?}");

        let (cut, others) = (Timestamp::now(), [Site::Dc2, Site::Dc3, Site::ControlPlane]);
        let link = |change: &str| others.into_iter().try_for_each(|other| stage.lab.wan(Site::Dc1, other, change));
        let told = link("cut").and_then(|()| {
            stage.wait("another primary", |seen| known(seen).is_some_and(|primary| primary != "pg1"))?;
            let alert = "SwitchoverMemberUnreachable";
            let fired = async || prometheus.fired(cut, alert, "default").await;
            stage.runtime.block_on(until_within(PATIENCE, "the alert of the member that is cut off", fired))
        });
        let before = told.is_ok().then(|| stage.runtime.block_on(prometheus.ever_fired(cut)));
        link("heal")?;
        let after_s = told? - cut.as_duration().as_secs_f64();
        println!("| a data centre that is cut off | `SwitchoverMemberUnreachable` | {after_s:.0} s |");
        println!("fired by then: {:?}", before.context("it was asked")??);
        let healed = Timestamp::now();
        let primary = stage.primary()?;
        stage.not_far_from(&primary)?;
        stage.until("every alert to end", || {
            let query = "ALERTS{alertstate=\"firing\"}";
            Ok(stage.runtime.block_on(prometheus.ask(query))?.is_empty())
        })?;
        println!("none fires {:.0} s after it healed", Timestamp::now().duration_since(healed).as_secs_f64());
        Ok(())
    });
}

fn start(stage: &Stage) -> Result<Prometheus> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), SYSTEM);
    let pods = stage.runtime.block_on(pods.list(&Default::default()))?.items;
    let target = |pod: &Pod| {
        let port = if pod.labels().get("app.kubernetes.io/component")? == "agent" { 8089 } else { 8080 };
        Some((pod.name_any(), format!("{}:{port}", pod.status.as_ref()?.pod_ip.as_ref()?)))
    };
    let targets: Vec<(String, String)> = pods.iter().filter_map(target).collect();
    ensure!(targets.len() > 6, "{targets:?}");
    let targets: Vec<(&str, String)> = targets.iter().map(|(pod, address)| (&**pod, address.clone())).collect();
    let (folder, namespace) = (stage.lab.state().join("prometheus"), stage.lab.netns(HOST));
    let log = stage.lab.state().join("prometheus.log");
    let place = Place { namespace: Some(namespace.clone()), die_with_thread: true, ..Place::default() };
    let start = |command| Process::start("prometheus", command, &log, &place);
    stage.runtime.block_on(Prometheus::start(&folder, (PORT, Some(namespace)), &targets, start))
}
