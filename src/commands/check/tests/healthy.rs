//! An installation in which all is well, and what it is made of.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::{
    facts::{Accounts, Asked, Came, Facts, Follower, Injecting, Reached, Server, Shown, Tried, Workloads},
    shipped::{self, Right},
};
use crate::{
    api::custom_resource_definitions,
    certificates::{authority::Authority, served::Chain},
    commands::report::ControllerReport,
    core::{weakness::Budget, workload::Workload},
};

pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn now() -> Timestamp {
    "2026-11-28T12:00:00Z".parse().unwrap()
}

pub(super) fn read<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

pub(super) fn chain(authority: &Authority, from: Timestamp) -> Chain {
    let made = authority.issue("switchover-webhook", "switchover-system", 90 * DAY, from).unwrap();
    Chain::read(made.certificate_pem.as_bytes()).unwrap()
}

pub(super) fn authority() -> Authority {
    Authority::generate(730 * DAY, now()).unwrap()
}

pub(super) fn trust(facts: &mut Facts, pem: &str) {
    let bundle = k8s_openapi::ByteString(pem.as_bytes().to_vec());
    facts.configurations.as_mut().unwrap()[0].webhooks.as_mut().unwrap()[0].client_config.ca_bundle = Some(bundle);
}

pub(super) fn node(name: &str, labels: Value) -> kube::core::PartialObjectMeta<k8s_openapi::api::core::v1::Node> {
    read(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}))
}

pub(super) fn namespace(
    name: &str,
    labels: Value,
) -> kube::core::PartialObjectMeta<k8s_openapi::api::core::v1::Namespace> {
    read(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}))
}

pub(super) fn latency(node: &str, age_s: i64, reading: Value) -> crate::api::NodeLatency {
    let heartbeat = now() - SignedDuration::from_secs(age_s);
    read(json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "NodeLatency", "metadata": {"name": node},
        "spec": {"heartbeat": heartbeat, "readings": [reading]},
    }))
}

pub(super) fn condition(type_: &str, status: &str) -> Value {
    json!({"type": type_, "status": status, "reason": "Because", "message": "it is so", "lastTransitionTime": now()})
}

pub(super) fn database(conditions: &[Value]) -> DynamicObject {
    read(json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "metadata": {"name": "default", "generation": 2},
        "spec": {"discovery": {"patroni": {"urls": ["http://10.0.1.5:8008"]}}},
        "status": {
            "observedGeneration": 2, "conditions": conditions, "epoch": 1, "ignoredTotal": 0,
            "members": [{"name": "pg1", "host": "10.0.1.5", "port": 5432}],
        },
    }))
}

pub(super) fn good_conditions() -> Vec<Value> {
    vec![condition("Accepted", "True"), condition("PrimaryKnown", "True"), condition("SplitBrain", "False")]
}

pub(super) fn deployment(role: &str, replicas: i32, available: i32) -> k8s_openapi::api::apps::v1::Deployment {
    read(json!({
        "metadata": {"name": format!("switchover-{role}"), "labels": {"app.kubernetes.io/component": role}},
        "spec": {"replicas": replicas, "selector": {}, "template": {}},
        "status": {"availableReplicas": available},
    }))
}

/// All is well.
pub(super) fn healthy() -> Facts {
    let authority = authority();
    let established = |mut definition: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        definition.status = Some(read(json!({"conditions": [{"type": "Established", "status": "True"}]})));
        definition
    };
    let of_role = |role: &'static str| {
        let ask = move |allowed| move |right: Right| Asked { role: Some(role), right, allowed: Ok(allowed) };
        let needed = shipped::rights_of(role).into_iter().map(ask(true));
        needed.chain(shipped::too_much_for(role).into_iter().map(ask(false))).collect::<Vec<_>>()
    };
    let zone = |zone: &str| json!({"topology.kubernetes.io/zone": zone, "kubernetes.io/os": "linux"});
    let answered = json!({"host": "10.0.1.5", "rttUs": 300});
    let mut facts = Facts {
        namespace: "switchover-system".into(),
        now: now(),
        server: Server { version: "v1.37.2".into(), minor: Some(37), ahead_s: Some(0) },
        served: Ok(shipped::SERVED.map(str::to_owned).into()),
        nodes: Ok(vec![node("n1", zone("dc1")), node("n2", zone("dc2"))]),
        namespaces: Ok(vec![
            namespace("orders", json!({"switchover.dev/follow": "default"})),
            namespace("kube-system", json!({"kubernetes.io/metadata.name": "kube-system"})),
            namespace("switchover-system", json!({"switchover.dev/system": "true"})),
        ]),
        definitions: Ok(custom_resource_definitions().into_iter().map(established).collect()),
        configurations: Ok(vec![read(shipped::configuration())]),
        policies: Ok(shipped::policies().into_iter().map(read).collect()),
        bindings: Ok(shipped::bindings().into_iter().map(read).collect()),
        injecting: Ok(Injecting::default()),
        accounts: Accounts::default(),
        rights: ["controller", "webhook", "agent"].into_iter().flat_map(of_role).collect(),
        workloads: Ok(Workloads {
            deployments: vec![deployment("controller", 2, 2), deployment("webhook", 6, 6)],
            sets: vec![read(json!({
                "metadata": {"name": "switchover-agent", "labels": {"app.kubernetes.io/component": "agent"}},
                "status": {"desiredNumberScheduled": 2, "numberReady": 2, "currentNumberScheduled": 2, "numberMisscheduled": 0},
            }))],
            refusals: Vec::new(),
        }),
        lease: Ok(ControllerReport { leader: Some("controller-1".into()), silent_s: Some(1), runs: true }),
        certificates: vec![Shown { by: "pod w1".into(), chain: Ok(chain(&authority, now())) }],
        tried: vec![Tried { namespace: "orders".into(), came: back(true, &["switchover"], "default-scheduler") }],
        followers: Ok(vec![follower()]),
        latencies: Ok(vec![latency("n1", 5, answered.clone()), latency("n2", 5, answered)]),
        databases: Ok(vec![database(&good_conditions())]),
        reached: vec![reached(Ok(()))],
    };
    trust(&mut facts, &authority.certificate_pem);
    facts
}

/// A Deployment that lacks nothing.
fn follower() -> Follower {
    let container = json!({"name": "app", "readinessProbe": {}, "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}});
    let workload = Workload {
        kind: "Deployment".into(),
        namespace: "orders".into(),
        name: "shop".into(),
        desired: 3,
        ..Workload::default()
    };
    Follower {
        workload,
        min_ready_s: 0,
        pod: json!({"containers": [container]}),
        budgets: vec![Budget { name: "shop".into(), covers: 3, wants: 2 }],
    }
}

pub(super) fn back(injected: bool, keys: &[&str], scheduler: &str) -> Came {
    let keys: BTreeSet<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    Came::Back { injected, keys, scheduler: scheduler.to_owned() }
}

pub(super) fn reached(reached: Result<(), String>) -> Reached {
    Reached { database: "default".into(), member: "pg1".into(), address: "10.0.1.5:8008".into(), reached }
}
