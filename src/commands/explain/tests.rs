use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::SignedDuration;
use lab::table::check_rows;

use super::*;
use crate::{
    api::database_cluster::{HeldStatus, MovingStatus},
    core::{
        affinity::{Database, Namespace, Node, PrimaryBelief, TierSummary},
        follow::{DatabaseDefaults, Weight},
    },
};

/// `orders` follows the database `default`, which is known; one closely node and one far node take pods.
fn view() -> View {
    let node = |name: &str, tier: &str| Arc::new(Node::new(name, true, [("switchover", tier)]));
    let nodes = [node("n1", "closely"), node("n2", "far")];
    let defaults = DatabaseDefaults {
        node_label: "switchover".into(),
        mode: Default::default(),
        weight: Weight::default(),
        move_mode: Default::default(),
    };
    let database = Database {
        defaults,
        primary: PrimaryBelief::Known,
        epoch: 3,
        fresh_until: Instant::now() + Duration::from_secs(60),
        nodes: Arc::new(TierSummary::new(&nodes, "switchover")),
    };
    let orders = Namespace { label: Some("default".into()), ..Namespace::default() };
    View {
        namespaces: Arc::new(HashMap::from([("orders".into(), orders)])),
        databases: Arc::new(HashMap::from([("default".into(), database)])),
        own_namespace: "switchover-system".into(),
        ..View::default()
    }
}

fn told(manifest: &str) -> String {
    let templates = manifest::templates(manifest, "orders").unwrap();
    templates.iter().map(|template| words::text(&explain(template, &view()).unwrap())).collect()
}

#[test]
fn a_deployment_is_told_what_its_pods_are_given() {
    let manifest = "
kind: Service
---
kind: Deployment
metadata: {name: web}
spec:
  template:
    metadata: {annotations: {switchover.dev/affinity: required, switchover.dev/weight: much}}
    spec: {containers: [{name: web}]}
";
    let expected = r#"pods of deployment orders/web
  injected
  follows default: requires switchover=closely (moved by: auto)
  warning: pod annotation switchover.dev/weight "much": write a weight of 1 to 100
  patch: {"op":"add","path":"/spec/affinity","value":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[{"key":"switchover","operator":"In","values":["closely"]}]}]}}}}
  patch: {"op":"add","path":"/metadata/annotations/switchover.dev~1injected","value":"[{\"database\":\"default\",\"mode\":\"required\",\"epoch\":3}]"}
"#;
    assert_eq!(told(manifest), expected);
}

#[test]
fn whatever_is_left_alone_is_told_why() {
    let workload = |kind: &str, namespace: &str| {
        format!(
            "{{kind: {kind}, metadata: {{name: a, namespace: {namespace}}}, spec: {{template: {{spec: {{containers: []}}}}}}}}"
        )
    };
    let last_line = |manifest: &str| told(manifest).lines().nth(1).unwrap().to_owned();
    let rows = [
        (workload("DaemonSet", "orders"), "  left as it is: a DaemonSet's pod belongs to its node"),
        (workload("Deployment", "plain"), "  left as it is: the namespace has no label switchover.dev/follow"),
        (
            workload("Deployment", "kube-system"),
            "  left as it is: pods of kube-system and of switchover's own namespace are left alone",
        ),
        (
            "{kind: Pod, metadata: {generateName: b-}, spec: {containers: [], nodeName: n1}}".into(),
            "  left as it is: spec.nodeName is set, so nothing is left to schedule",
        ),
    ];
    check_rows(rows, |(manifest, expected)| {
        assert_eq!(last_line(&manifest), expected, "{manifest}");
    });
}

#[test]
fn lists_and_every_kind_of_workload_are_read() {
    let manifest = "
kind: List
items:
- {kind: Pod, metadata: {generateName: b-}, spec: {containers: []}}
- {kind: CronJob, metadata: {name: c}, spec: {jobTemplate: {spec: {template: {spec: {containers: []}}}}}}
- {kind: ConfigMap, metadata: {name: d}}
- {kind: Rollout, metadata: {name: e, namespace: other}, spec: {template: {metadata: {}, spec: {containers: []}}}}
";
    let subjects: Vec<_> = manifest::templates(manifest, "orders").unwrap().into_iter().map(|t| t.subject).collect();
    assert_eq!(subjects, ["pod orders/b-", "pods of cronjob orders/c", "pods of rollout other/e"]);
}

#[test]
fn a_manifest_without_pods_is_refused() {
    for (manifest, expected) in [
        ("kind: ConfigMap", "has no pod and nothing that makes pods, only ConfigMap: write a Pod, Deployment"),
        ("", "only nothing"),
        ("a: [", "neither YAML nor JSON"),
    ] {
        let error = manifest::templates(manifest, "orders").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_running_pod_is_told_what_moves_or_holds_it() {
    let now = Timestamp::now();
    let moving = MovingStatus {
        pod: "orders/a".into(),
        from: "n2".into(),
        action: "Evict".into(),
        started_at: Some(now - SignedDuration::from_secs(4)),
        ..MovingStatus::default()
    };
    let held =
        HeldStatus { pod: "orders/b".into(), reason: "Never".into(), message: "no".into(), ..Default::default() };
    let status = DatabaseClusterStatus { moving: vec![moving], held: vec![held], ..DatabaseClusterStatus::default() };
    let more = DatabaseClusterStatus { held_total: 44, ..status.clone() };
    assert_eq!(
        words::movement("default", &more, "orders/x", Some(Tier::Far), now),
        "default: it is far; it may be held: status.held names the first 1 of 44 pods that stay; switchover_held_pods counts all \
         of them by reason"
    );
    assert_eq!(
        words::movement("default", &more, "orders/c", Some(Tier::Closely), now),
        "default: it is closely; nothing moves it"
    );
    for (pod, tier, expected) in [
        ("orders/a", Some(Tier::Far), "default: it is far; it is being moved from n2 (Evict, since 4 s)"),
        ("orders/b", Some(Tier::Far), "default: it is far; it is held: Never: no"),
        ("orders/c", Some(Tier::Closely), "default: it is closely; nothing moves it"),
        ("orders/d", None, "default: it is on no node yet; nothing moves it"),
    ] {
        assert_eq!(words::movement("default", &status, pod, tier, now), expected);
    }
}
