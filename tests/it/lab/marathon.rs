//! Ten failovers in a row. Too long for every change: `make failovers`, which is part of `make nightly`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use lab::{control::PatroniAction, install, process::Power};
use serde_json::json;

use super::stage::{Stage, scene};
use crate::light::support::Witness;

/// Of each workload of company.yaml, how many pods it has, and how many serve at least.
const COMPANY: [(&str, usize, usize); 4] = [("slow", 3, 2), ("ordered", 3, 2), ("single", 1, 1), ("recreate", 2, 1)];

const NAMESPACE: &str = "company";

/// Where the pods of a workload that serve are, as the labels of their nodes say.
fn places(stage: &Stage, app: &str) -> Result<BTreeMap<String, usize>> {
    let pods: Api<Pod> = Api::namespaced(stage.client.clone(), NAMESPACE);
    let mine = ListParams::default().labels(&format!("app={app}"));
    let labels = stage.scene.seen().labels.clone();
    let mut places = BTreeMap::new();
    for pod in stage.runtime.block_on(pods.list(&mine))?.items {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        let label = labels.get(node).map_or("nowhere", String::as_str);
        let goes = pod.metadata.deletion_timestamp.is_some();
        let place = if goes {
            "goes"
        } else if ready {
            label
        } else {
            "not ready"
        };
        *places.entry(place.to_owned()).or_default() += 1;
    }
    Ok(places)
}

/// Waits until every pod of the company serves beside the primary and nothing else is there.
fn all_near(stage: &Stage) -> Result<()> {
    for (app, replicas, _) in COMPANY {
        let near = BTreeMap::from([("closely".to_owned(), replicas)]);
        stage.until(&format!("{app} to be near the primary"), || Ok(places(stage, app)? == near))?;
    }
    Ok(())
}

/// Whether pods leave nodes that are neither near nor far.
fn intermediate_too(stage: &Stage, include: bool) -> Result<()> {
    let patch = json!({"spec": {"movement": {"includeIntermediate": include}}}).to_string();
    stage.kubectl(["patch", "databasecluster", "default", "--type=merge", "--patch", &patch]).map(drop)
}

#[test]
#[ignore = "needs root and the lab, and a quarter of an hour"]
fn ten_failovers_in_a_row_hurt_nobody() {
    scene(|stage| {
        // pg1 and pg2 are only 8 ms from each other: without it pods would stay where they are.
        intermediate_too(stage, true)?;
        let manifest = include_str!("company.yaml").replace("@DATABASE_URL@", &stage.lab.database_url()?);
        install::apply(&stage.lab, &manifest)?;
        all_near(stage)?;
        let load = stage.load()?;
        let pods: Api<Pod> = Api::namespaced(stage.client.clone(), NAMESPACE);
        let watch = |(app, ..): (&'static str, usize, usize)| {
            let witness = stage.runtime.block_on(Witness::of_app(pods.clone(), app))?;
            Ok((app, witness))
        };
        let witnesses = COMPANY.into_iter().map(watch).collect::<Result<BTreeMap<_, _>>>()?;
        for round in 1..=10 {
            let from = stage.primary()?;
            let killed = round % 2 == 0;
            if killed {
                stage.patroni(PatroniAction::Kill { member: from.clone() })?;
                stage.until("another primary", || Ok(stage.primary()? != from))?;
                stage.patroni(PatroniAction::Start { member: from.clone() })?;
            } else {
                stage.switch(if from == "pg1" { "pg3" } else { "pg1" })?;
            }
            let to = stage.primary()?;
            println!("{round}: from {from} to {to}{}", if killed { ", killed" } else { "" });
            stage.at(&to)?;
            all_near(stage)?;
            for (app, replicas, least) in COMPANY {
                let seen = witnesses.get(app).context("nobody watched it")?.seen();
                let fewest = seen.fewest_serving.unwrap_or_default();
                ensure!(fewest >= least, "after failover {round} {fewest} of {replicas} pods of {app} had served");
            }
            let on = |member: &lab::patroni::MemberState| {
                member.patroni == Power::On && (member.is_primary() || member.is_streaming())
            };
            stage.until("every member to be well", || Ok(stage.lab.members()?.iter().all(on)))?;
        }
        let orders = stage.kubectl(["-n", "orders", "get", "pods", "--no-headers"])?;
        println!("{orders}");
        load.unharmed(stage)?;
        intermediate_too(stage, false)?;
        stage.kubectl(["delete", "namespace", NAMESPACE, "--wait=false"]).map(drop)
    });
}
