//! The whole lab comes up, does what it is told, and leaves nothing behind. Needs root and `lab prepare`, takes a minute:
//! `cargo test -p switchover-lab --test full_lab -- --ignored --nocapture`

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, ListParams};
use lab::{
    Lab, Options,
    control::{NodeAction, ProcessAction},
    control_plane::Component,
    net,
    process::Power,
    site::{self, Site},
    wait::until_within,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and the tools of `lab prepare`"]
async fn a_lab_comes_up_survives_faults_and_leaves_nothing_behind() -> Result<()> {
    let state = lab::target_directory().join("lab-test");
    let options = Options { state: state.clone(), nodes: 3, patroni: false, ..Options::default() };
    let start = Instant::now();
    let lab = tokio::task::block_in_place(|| Lab::up(&options, &|line| println!("{line}")))?;
    let result = faults(&lab).await;
    let down = Instant::now();
    tokio::task::block_in_place(|| Lab::down(&state))?;
    println!("down in {:.1} s, all in all {:.1} s", down.elapsed().as_secs_f64(), start.elapsed().as_secs_f64());
    result?;

    assert!(Lab::attach(&state).is_err(), "the lab still answers");
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    assert!(!mounts.contains(&state.display().to_string()), "mounts were left behind:\n{mounts}");
    // A control group with a process in it can't be removed: without the groups, there are no processes either. Other
    // labs may run beside this test.
    for hierarchy in lab::cgroup::hierarchies()? {
        let left = hierarchy.base.join("switchover-lab").join(lab.id());
        assert!(!left.exists(), "{} was left behind", left.display());
    }
    Ok(())
}

async fn faults(lab: &Lab) -> Result<()> {
    let nodes: Api<Node> = Api::all(lab.client().await?);
    let zones = nodes.list(&ListParams::default().labels("topology.kubernetes.io/zone=dc1")).await?;
    ensure!(zones.items.len() == 2, "n1 and n2 are in dc1");

    // From the client's network namespace the API server is as far as the WAN says.
    lab.wan(Site::ControlPlane, Site::ControlPlane, "30ms")?;
    let took = connect_from(lab, "client")?;
    ensure!(took >= Duration::from_millis(25), "a connection took {took:?} over a link of 30 ms");
    lab.wan(Site::ControlPlane, Site::ControlPlane, "heal")?;

    lab.node("n3", NodeAction::Kill)?;
    ensure!(lab.status()?.nodes[2].power == Power::Off, "n3 is still on");
    becomes(&nodes, "n3", false).await?;
    lab.node("n3", NodeAction::Start)?;
    becomes(&nodes, "n3", true).await?;

    lab.node("n1", NodeAction::Cut)?;
    becomes(&nodes, "n1", false).await?;
    lab.node("n1", NodeAction::Heal)?;
    becomes(&nodes, "n1", true).await?;

    lab.process(Component::KubeApiserver, ProcessAction::Kill)?;
    ensure!(nodes.get("n1").await.is_err(), "a killed API server answered");
    lab.process(Component::KubeApiserver, ProcessAction::Restart)?;
    ensure!(nodes.list(&ListParams::default()).await?.items.len() == 3, "the API server forgot its nodes");

    let refusal = lab.node("n9", NodeAction::Kill).unwrap_err().to_string();
    ensure!(refusal.contains("no node \"n9\"; it has n1, n2, n3"), "{refusal}");
    Ok(())
}

/// How long it takes to connect to the API server from a host of the lab.
fn connect_from(lab: &Lab, host: &str) -> Result<Duration> {
    let address = SocketAddr::from((site::API_SERVER, 443));
    net::in_netns(&lab.netns(host), move || {
        let start = Instant::now();
        TcpStream::connect_timeout(&address, Duration::from_secs(5)).context("the API server can't be reached")?;
        Ok(start.elapsed())
    })?
}

async fn ready(nodes: &Api<Node>, name: &str) -> Result<bool> {
    let status = nodes.get(name).await?.status.unwrap_or_default();
    let mut conditions = status.conditions.into_iter().flatten();
    Ok(conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True"))
}

/// Waits until a node is Ready, or noticed not to be.
async fn becomes(nodes: &Api<Node>, name: &str, expected: bool) -> Result<()> {
    let start = Instant::now();
    let what = format!("{name} to be {}Ready", if expected { "" } else { "un" });
    let look = async || Ok((ready(nodes, name).await? == expected).then_some(()));
    until_within(Duration::from_secs(20), &what, look).await?;
    println!("waited {:.1} s for {what}", start.elapsed().as_secs_f64());
    Ok(())
}
