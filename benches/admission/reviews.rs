//! AdmissionReviews as an API server sends them for a Deployment's pod, of about the size asked for. Shared with the
//! benchmarks of the pure parts.

use serde_json::{Value, json};

/// One review of about `bytes` bytes, whose uid ends in `number`. What makes it larger is what makes pods large:
/// environment and volumes.
pub(crate) fn review(namespace: &str, number: usize, bytes: usize) -> String {
    // Entries differ by a few bytes; twelve of them are the average.
    let (least, more) = (of(namespace, number, 0).len(), of(namespace, number, 12).len());
    of(namespace, number, bytes.saturating_sub(least) * 12 / (more - least))
}

fn of(namespace: &str, number: usize, entries: usize) -> String {
    let pod = pod(namespace, entries);
    // In the order of the API server's own fields: what decides comes before the object.
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"705ab4f5-6393-11e8-b7cc-{number:012}","kind":{{"group":"","version":"v1","kind":"Pod"}},"resource":{{"group":"","version":"v1","resource":"pods"}},"requestKind":{{"group":"","version":"v1","kind":"Pod"}},"requestResource":{{"group":"","version":"v1","resource":"pods"}},"namespace":"{namespace}","operation":"CREATE","userInfo":{{"username":"system:serviceaccount:kube-system:replicaset-controller","uid":"0cf5e0d3-8d1b-4b5b-9f0d-3d2f7a1c9b11","groups":["system:serviceaccounts","system:serviceaccounts:kube-system","system:authenticated"]}},"object":{pod},"oldObject":null,"dryRun":false,"options":{{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}}}}"#
    )
}

fn pod(namespace: &str, entries: usize) -> Value {
    let env: Vec<Value> = (0..entries).map(environment).collect();
    let volumes: Vec<Value> = (0..entries / 2).map(volume).chain([token_volume()]).collect();
    let mounts: Vec<Value> = (0..entries / 2)
        .map(|n| json!({"name": format!("configuration-{n}"), "readOnly": true, "mountPath": format!("/etc/orders/configuration/{n}")}))
        .chain([json!({"name": "kube-api-access-x7k2p", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"})])
        .collect();
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": "orders-6d4cf56db6-",
            "namespace": namespace,
            "creationTimestamp": null,
            "labels": {"app.kubernetes.io/name": "orders", "app.kubernetes.io/part-of": "shop", "pod-template-hash": "6d4cf56db6"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090", "checksum/config": "5f0f2c9f0e8c4a1b7d6e3c2a1f0e9d8c7b6a5f4e3d2c1b0a"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "orders-6d4cf56db6",
                "uid": "5a3e6f0c-6f0b-4a3e-8f7c-2a1f5b0c7d11", "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-01T10:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:metadata": {"f:generateName": {}, "f:labels": {".": {}, "f:app.kubernetes.io/name": {}},
                "f:ownerReferences": {".": {}}}, "f:spec": {"f:containers": {"k:{\"name\":\"orders\"}": {".": {}, "f:image": {}, "f:env": {}}}}}}],
        },
        "spec": {
            "volumes": volumes,
            "initContainers": [container("migrate", &env[..env.len() / 4], &mounts[mounts.len() - 1..])],
            "containers": [container("orders", &env[env.len() / 4..], &mounts), container("proxy", &[], &mounts[mounts.len() - 1..])],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "orders",
            "serviceAccount": "orders",
            "securityContext": {"runAsNonRoot": true, "fsGroup": 10001, "seccompProfile": {"type": "RuntimeDefault"}},
            "schedulerName": "default-scheduler",
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "priority": 0,
            "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority",
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "orders"}}}],
        },
        "status": {},
    })
}

fn container(name: &str, env: &[Value], mounts: &[Value]) -> Value {
    json!({
        "name": name,
        "image": format!("registry.example.com/shop/{name}:1.42.0"),
        "env": env,
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "resources": {"limits": {"memory": "512Mi"}, "requests": {"cpu": "250m", "memory": "512Mi"}},
        "volumeMounts": mounts,
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    })
}

fn environment(n: usize) -> Value {
    match n % 3 {
        0 => {
            json!({"name": format!("ORDERS_FEATURE_{n}"), "value": format!("{{\"enabled\":true,\"share\":{n},\"note\":\"switched on for every customer of the second wave, see the run book\"}}")})
        }
        1 => {
            json!({"name": format!("ORDERS_UPSTREAM_{n}"), "value": format!("https://upstream-{n}.orders.svc.cluster.local:8443/api/v2/some/longer/path?timeout=5s&retries=3")})
        }
        _ => {
            json!({"name": format!("ORDERS_PASSWORD_{n}"), "valueFrom": {"secretKeyRef": {"name": format!("orders-credentials-of-upstream-{n}"), "key": "password", "optional": false}}})
        }
    }
}

fn volume(n: usize) -> Value {
    json!({"name": format!("configuration-{n}"), "configMap": {"name": format!("orders-configuration-{n}"), "defaultMode": 420,
        "items": [{"key": "application.yaml", "path": "application.yaml"}, {"key": "logging.yaml", "path": "logging.yaml"}]}})
}

fn token_volume() -> Value {
    json!({"name": "kube-api-access-x7k2p", "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}})
}
