use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use lab::table::check_rows;

use super::{pods::explain, *};
use crate::{
    api::{
        DatabaseClusterStatus,
        database_cluster::{HeldStatus, MovingStatus},
    },
    core::{
        affinity::{Database, Namespace, Node, PrimaryBelief, TierSummary},
        distance::tier::Tier,
        follow::{DatabaseDefaults, Weight},
        label_key::LabelKey,
        taints::Taint,
    },
};

/// `orders` follows the database `default`, which is known; one closely node and one far node take pods.
fn view() -> View {
    let node = |name: &str, tier: &str| Arc::new(Node::new(name, true, [("switchover", tier)]));
    let nodes = [node("n1", "closely"), node("n2", "far")];
    let defaults = DatabaseDefaults {
        node_label: LabelKey::read("switchover").unwrap(),
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
fn a_dump_of_a_whole_cluster_is_read_and_one_that_is_too_large_says_so() {
    let pod = |n: usize| format!("{{kind: Pod, metadata: {{name: p{n}}}, spec: {{containers: []}}}}\n");
    let many: String = (0..1_100).map(|n| format!("---\n{}", pod(n))).collect();
    assert_eq!(manifest::templates(&many, "orders").unwrap().len(), 1_100);

    let labels: serde_json::Map<String, Value> = (0..300_000).map(|n| (n.to_string(), "x".into())).collect();
    let dump = serde_json::json!({"kind": "List", "items": [
        {"kind": "Pod", "metadata": {"name": "a", "labels": labels}, "spec": {"containers": []}},
    ]});
    assert_eq!(manifest::templates(&dump.to_string(), "orders").unwrap().len(), 1);

    let twice = "{kind: Pod, kind: Pod, metadata: {name: a, name: b}, spec: {containers: []}}";
    assert_eq!(manifest::templates(twice, "orders").unwrap()[0].subject, "pod orders/b");

    let refused = manifest::documents(&many, 1_000).unwrap_err().to_string();
    assert_eq!(refused, "the manifest is too large or too deep: it may have 1000 values; split it");
}

#[test]
fn a_hard_mode_that_taints_leave_no_node_for_is_told() {
    let mut view = view();
    let database = Arc::make_mut(&mut view.databases).get_mut("default").unwrap();
    let taint = Taint { key: "gpu".into(), value: String::new(), effect: "NoSchedule".into() };
    let node = Node::new("n1", true, [("switchover", "closely")]).tainted([taint]);
    database.nodes = Arc::new(TierSummary::new(&[Arc::new(node)], "switchover"));
    let warned = |tolerations: &str| {
        let pod = format!(
            "{{kind: Pod, metadata: {{name: a, annotations: {{switchover.dev/affinity: required}}}}, \
             spec: {{containers: [], tolerations: {tolerations}}}}}"
        );
        explain(&manifest::templates(&pod, "orders").unwrap()[0], &view).unwrap().warnings
    };
    let expected = "database default: required became preferred: the pod's rules and taints leave no closely node";
    assert_eq!(warned("[]"), [expected]);
    assert_eq!(warned("[{key: gpu, operator: Exists}]"), Vec::<String>::new());
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
        words::movement(&more, "orders/x", Some(Tier::Far), None, now),
        "it is far; it may be held: status.held names the first 1 of 44 pods that stay; switchover_held_pods counts all \
         of them by reason"
    );
    assert_eq!(words::movement(&more, "orders/c", Some(Tier::Closely), None, now), "it is closely; nothing moves it");
    assert_eq!(
        words::movement(&more, "orders/x", Some(Tier::Far), Some("it is held: NoRoom: none"), now),
        "it is far; it is held: NoRoom: none",
        "what is decided anew is told, also of whom the status doesn't list"
    );
    let known = HeldStatus {
        pod: "orders/e".into(),
        reason: "MovedBack".into(),
        message: "3 times".into(),
        ..Default::default()
    };
    let remembering = DatabaseClusterStatus { held: vec![known], ..DatabaseClusterStatus::default() };
    assert_eq!(
        words::movement(&remembering, "orders/e", Some(Tier::Far), Some("it is to be moved now"), now),
        "it is far; it is held: MovedBack: 3 times",
        "what only the leader remembers is told by the status"
    );
    for (pod, tier, expected) in [
        ("orders/a", Some(Tier::Far), "it is far; it is being moved from n2 (Evict, since 4 s)"),
        ("orders/b", Some(Tier::Far), "it is far; it is held: Never: no"),
        ("orders/c", Some(Tier::Closely), "it is closely; nothing moves it"),
        ("orders/d", None, "it is on no node yet; nothing moves it"),
    ] {
        assert_eq!(words::movement(&status, pod, tier, None, now), expected);
    }
}
