use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::index::convert;

fn pod() -> KubePod {
    serde_json::from_value(json!({
        "metadata": {
            "name": "web-1", "namespace": "shop", "uid": "u1", "labels": {"app": "web"},
            "annotations": {
                "switchover.dev/move": "never", "karpenter.sh/do-not-disrupt": "true", "vault.example/token": "hidden",
            },
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {
            "nodeName": "n1",
            "containers": [{
                "name": "app", "image": "app:1", "command": ["run", "--password=hidden"],
                "env": [{"name": "PASSWORD", "value": "hidden"}],
                "resources": {"requests": {"cpu": "100m"}}, "ports": [{"containerPort": 80, "hostPort": 80}],
                "livenessProbe": {"exec": {"command": ["hidden"]}},
            }],
            "initContainers": [{"name": "first", "args": ["hidden"], "resources": {"requests": {"memory": "1Gi"}}}],
            "volumes": [
                {"name": "a", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "b", "csi": {"driver": "x", "volumeAttributes": {"key": "hidden"}}},
                {"name": "c", "emptyDir": {}},
            ],
            "tolerations": [{"operator": "Exists"}],
        },
        "status": {
            "phase": "Running",
            "message": "hidden",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:07Z"},
            ],
            "containerStatuses": [{"name": "app", "image": "app:1", "imageID": "hidden", "ready": true, "restartCount": 0}],
        },
    }))
    .unwrap()
}

#[test]
fn what_is_pared_away_nobody_reads_and_what_is_secret_is_pared_away() {
    let mut pared = pod();
    pare_pod(&mut pared);
    let text = serde_json::to_string(&pared).unwrap();
    assert!(!text.contains("hidden") && !text.contains("managedFields"), "{text}");
    let read: KubePod = serde_json::from_str(&text).unwrap();
    let schedulers = Schedulers::default();
    let (whole, pared) = (convert::pod(pod(), &schedulers), convert::pod(read, &schedulers));
    assert_eq!(pared, whole);
    assert_eq!((whole.ready_after_s, whole.pinned_by.as_deref()), (Some(7), Some("the volume claim data")));
    assert_eq!(whole.not_to_evict.as_deref(), Some("karpenter.sh/do-not-disrupt: \"true\""));
}

fn snapshot() -> Value {
    json!({
        "kind": "SwitchoverSnapshot", "version": 1, "takenAt": "2026-01-01T00:01:00Z",
        "databases": [], "namespaces": [], "replicaSets": [], "statefulSets": [], "deployments": [], "budgets": [],
        "quotas": [],
        "nodes": [{"metadata": {"name": "n1"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}],
        "latencies": [{
            "apiVersion": "switchover.dev/v1alpha1", "kind": "NodeLatency", "metadata": {"name": "n1"},
            "spec": {"heartbeat": "2026-01-01T00:00:30Z", "memberCount": 0, "readings": []},
        }],
        "pods": [pod()],
    })
}

#[test]
fn what_is_read_from_the_file_is_what_a_look_found() {
    let read = ClusterSnapshot::read(snapshot().to_string().as_bytes()).unwrap();
    assert_eq!(read.counts(), [("databases", 0), ("nodes", 1), ("pods", 1), ("workloads", 0)].into());
    let now = Moment { instant: Instant::now() + std::time::Duration::from_secs(1_000), wall: read.taken_at };
    let tables = read.tables(&Schedulers::default(), now);
    assert_eq!((tables.nodes.len(), tables.pods.len()), (1, 1));
    let age = now.instant.duration_since(tables.latencies.get("n1").unwrap().received);
    assert_eq!(age.as_secs(), 30, "as old as it was when the file was written");
}

#[test]
fn what_is_no_snapshot_is_refused_with_what_to_do() {
    let told = |text: &str| ClusterSnapshot::read(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(told("{"), "it is no snapshot: write one by switchover snapshot -o FILE");
    assert_eq!(
        told("{\"kind\": \"List\"}"),
        "it is a List, and no SwitchoverSnapshot: write one by switchover snapshot -o FILE"
    );
    let mut newer = snapshot();
    newer["version"] = 2.into();
    assert_eq!(
        told(&newer.to_string()),
        "another version of switchover wrote it (form 2, here it is 1): read it by that one"
    );
}
