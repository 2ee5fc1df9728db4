//! What is believed of the primary follows a real Patroni, and without belief nothing changes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use lab::{control::PatroniAction, site::Site};
use switchover::api::NodeLatency;

use super::stage::{Stage, condition, known, picture, scene};

const MEMBERS: [&str; 3] = ["pg1", "pg2", "pg3"];

#[test]
#[ignore = "needs root and the lab"]
fn while_the_primary_is_unknown_nothing_changes() {
    scene(|stage| {
        let witness = stage.witness()?;
        for member in MEMBERS {
            stage.patroni(PatroniAction::Freeze { member: member.into() })?;
        }
        let frozen = || -> Result<()> {
            stage.wait("the primary is unknown", |seen| condition(seen, "PrimaryKnown") == Some("False"))?;
            stage.stays("labels and pods", Duration::from_secs(10), picture)?;
            let status = stage.status()?;
            ensure!(status.primary.as_deref() == Some("pg1"), "the last primary was forgotten: {:?}", status.primary);
            Ok(())
        };
        let stayed = frozen();
        for member in MEMBERS {
            stage.patroni(PatroniAction::Thaw { member: member.into() })?;
        }
        stayed?;
        ensure!(witness.seen().evicted.is_empty(), "{:?} were evicted", witness.seen().evicted);
        let primary = stage.primary()?;
        stage.wait("the primary is known again", |seen| known(seen) == Some(&primary))
    });
}

#[test]
#[ignore = "needs root and the lab"]
fn a_paused_patroni_is_left_alone() {
    scene(|stage| {
        stage.patroni(PatroniAction::Pause)?;
        let paused = stage.wait("movement is frozen", |seen| condition(seen, "Frozen") == Some("True"));
        stage.patroni(PatroniAction::Resume)?;
        paused?;
        stage.wait("movement is free", |seen| condition(seen, "Frozen") == Some("False"))
    });
}

#[test]
#[ignore = "needs root and the lab"]
fn a_member_that_is_added_is_measured_before_it_is_needed_and_a_removed_one_is_forgotten() {
    scene(|stage| {
        stage.patroni(PatroniAction::Add { name: "pg4".into(), site: Site::Dc3 })?;
        let followed = || -> Result<()> {
            stage.wait("pg4 is a member", |seen| members(seen).contains(&"pg4"))?;
            let status = stage.status()?;
            let host = status.members.iter().find(|m| m.name == "pg4").context("pg4 is a member")?.host.clone();
            stage.until("every agent to measure pg4", || measured_everywhere(stage, &host))?;
            stage.switch("pg4")?;
            // As near as pg3: it stands beside it.
            stage.wait("the labels follow pg4", |seen| known(seen) == Some("pg4") && seen.labels_right("pg3"))?;
            stage.switch("pg1")?;
            stage.at("pg1")
        };
        let done = followed();
        if done.is_err() && stage.primary()? == "pg4" {
            stage.switch("pg1")?;
        }
        stage.patroni(PatroniAction::Remove { member: "pg4".into() })?;
        done?;
        stage.wait("pg4 is forgotten", |seen| members(seen) == MEMBERS)
    });
}

#[test]
#[ignore = "needs root and the lab"]
fn a_data_centre_that_is_cut_off_loses_the_primary_and_the_pods_leave_it() {
    scene(|stage| {
        for other in [Site::Dc2, Site::Dc3, Site::ControlPlane] {
            stage.lab.wan(Site::Dc1, other, "cut")?;
        }
        let moved = || -> Result<()> {
            stage.wait("another primary", |seen| known(seen).is_some_and(|primary| primary != "pg1"))?;
            let split = condition(&stage.scene.seen(), "SplitBrain").map(str::to_owned);
            ensure!(split.as_deref() != Some("True"), "a member out of sight is no split brain");
            Ok(())
        };
        let moved = moved();
        for other in [Site::Dc2, Site::Dc3, Site::ControlPlane] {
            stage.lab.wan(Site::Dc1, other, "heal")?;
        }
        moved?;
        let primary = stage.primary()?;
        ensure!(primary != "pg1", "pg1 took the primary back");
        stage.not_far_from(&primary)
    });
}

fn members(seen: &lab::demo::Seen) -> Vec<&str> {
    let members = seen.database["members"].as_array();
    let mut names: Vec<&str> = members.into_iter().flatten().filter_map(|member| member["name"].as_str()).collect();
    names.sort_unstable();
    names
}

fn measured_everywhere(stage: &Stage, host: &str) -> Result<bool> {
    let latencies: Api<NodeLatency> = Api::all(stage.client.clone());
    let all = stage.runtime.block_on(latencies.list(&Default::default()))?.items;
    let has = |latency: &NodeLatency| latency.spec.readings.iter().any(|r| r.host == host && r.rtt_us.is_some());
    Ok(all.len() == 6 && all.iter().all(has))
}

#[test]
#[ignore = "needs root and the lab"]
fn pods_are_born_near_the_primary_and_others_are_left_alone() {
    scene(|stage| {
        stage.kubectl(["apply", "-f", &super::stage::manifest("plain.yaml")])?;
        stage.kubectl(["-n", "plain", "rollout", "status", "deployment/plain", "--timeout=60s"])?;
        let affinity = |namespace: &str| -> Result<Vec<bool>> {
            let pods: Api<Pod> = Api::namespaced(stage.client.clone(), namespace);
            let pods = stage.runtime.block_on(pods.list(&Default::default()))?.items;
            Ok(pods.iter().map(|pod| pod.spec.as_ref().is_some_and(|spec| spec.affinity.is_some())).collect())
        };
        ensure!(affinity("orders")? == [true; 6], "{:?}", affinity("orders")?);
        ensure!(affinity("plain")? == [false; 3], "{:?}", affinity("plain")?);
        let plain = || stage.kubectl(["-n", "plain", "get", "pods", "-o", "name"]);
        let before = plain()?;
        stage.switch("pg3")?;
        stage.at("pg3")?;
        ensure!(plain()? == before, "pods of a namespace that didn't opt in were touched");
        stage.kubectl(["delete", "namespace", "plain", "--wait=false"])?;
        Ok(())
    });
}
