use lab::table::check_rows;
use serde_json::{Value, json};

use super::*;

fn pod_of(change: &Value) -> Pod {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "shop", "annotations": {}},
        "spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "1"}}}]},
    });
    json_patch::merge(&mut object, change);
    pod(serde_json::from_value(object).unwrap(), &Schedulers::default())
}

#[test]
fn volumes_that_tie_a_pod_to_its_node_are_named() {
    let rows = [
        (json!({"persistentVolumeClaim": {"claimName": "data"}}), Some("the volume claim data")),
        (json!({"hostPath": {"path": "/data"}}), Some("the host path /data")),
        (json!({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}), Some("the volume v")),
        (json!({"awsElasticBlockStore": {"volumeID": "1"}}), Some("the volume v")),
        (json!({"rbd": {"monitors": [], "image": "i"}}), Some("the volume v")),
        (json!({"csi": {"driver": "secrets-store.csi.k8s.io"}}), None),
        (json!({"configMap": {"name": "c"}}), None),
        (json!({"emptyDir": {}}), None),
    ];
    check_rows(rows, |(mut volume, expected)| {
        volume["name"] = "v".into();
        let pod = pod_of(&json!({"spec": {"volumes": [volume]}}));
        assert_eq!(pod.pinned_by.as_deref(), expected, "{volume}");
    });
}

#[test]
fn an_empty_dir_on_disk_is_scratch_and_one_in_memory_is_not() {
    let scratch = |dir: Value| pod_of(&json!({"spec": {"volumes": [{"name": "data", "emptyDir": dir}]}})).scratch;
    assert_eq!(scratch(json!({})), Some("data".to_owned()));
    assert_eq!(scratch(json!({"medium": "Memory"})), None);
}

#[test]
fn marks_of_others_that_forbid_evictions_are_read() {
    let rows = [
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", "false", true),
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", "true", false),
        ("karpenter.sh/do-not-disrupt", "true", true),
        ("karpenter.sh/do-not-disrupt", "false", false),
        ("descheduler.alpha.kubernetes.io/prefer-no-eviction", "", true),
    ];
    check_rows(rows, |(key, value, expected)| {
        let mark = pod_of(&json!({"metadata": {"annotations": {key: value}}})).not_to_evict;
        assert_eq!(mark, expected.then(|| format!("{key}: \"{value}\"")));
    });
}

#[test]
fn what_is_not_evaluated_is_said() {
    assert_eq!(pod_of(&json!({})).unforeseen, None);
    let claims = json!({"spec": {"resourceClaims": [{"name": "gpu", "resourceClaimName": "shared"}]}});
    assert_eq!(pod_of(&claims).unforeseen, Some("where devices are that its resourceClaims ask for"));
}

#[test]
fn a_pod_counts_with_all_that_it_holds() {
    let cpu_m = |change: Value| pod_of(&change).requests.cpu_m;
    assert_eq!(cpu_m(json!({})), 1_000);
    let given = json!({"name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0, "allocatedResources": {"cpu": "3"}});
    assert_eq!(cpu_m(json!({"status": {"containerStatuses": [given]}})), 3_000, "it is being made smaller");
    let pages = pod_of(&json!({"spec": {"resources": {"requests": {"hugepages-2Mi": "4Mi"}}}})).requests.other;
    assert_eq!(pages["hugepages-2Mi"], 4 << 20, "asked for by the pod as a whole");
}

#[test]
fn a_sidecars_host_port_is_the_pods() {
    let init = |policy: Option<&str>| {
        let ports = json!([{"containerPort": 9090, "hostPort": 9090}]);
        pod_of(&json!({"spec": {"initContainers": [{"name": "proxy", "restartPolicy": policy, "ports": ports}]}}))
            .host_ports
    };
    assert_eq!((init(Some("Always")), init(None)), (vec![9090], vec![]));
}

#[test]
fn a_pods_priority_is_what_admission_made_of_its_class() {
    assert_eq!(pod_of(&json!({})).priority, 0);
    assert_eq!(pod_of(&json!({"spec": {"priorityClassName": "urgent", "priority": -10}})).priority, -10);
}
