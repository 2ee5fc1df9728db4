use lab::table::check_rows;
use serde_json::{Value, json};

use super::*;
use crate::core::{
    schedulers::Schedulers,
    workload::{HostPort, Pod, Protocol},
};

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
    let users = json!({"spec": {"hostNetwork": true, "hostUsers": false}});
    assert_eq!(pod_of(&users).unforeseen, Some("which nodes have user namespaces for pods in the host's network"));
    let set = |spec: Value| {
        let object = json!({"metadata": {"name": "web"}, "spec": {"selector": {}, "template": {"spec": spec}}});
        replica_set(serde_json::from_value(object).unwrap()).unforeseen
    };
    assert_eq!(set(json!({"containers": []})), None);
    let gated = json!({"containers": [], "schedulingGates": [{"name": "example.com/wait"}]});
    assert_eq!(set(gated), Some("when somebody takes the schedulingGates of its template away"));
}

#[test]
fn a_pod_counts_with_all_that_it_holds() {
    let cpu_m = |change: Value| pod_of(&change).requests.cpu_m;
    assert_eq!(cpu_m(json!({})), 1_000);
    let given = json!({"name": "main", "image": "", "imageID": "", "ready": true, "restartCount": 0, "allocatedResources": {"cpu": "3"}});
    assert_eq!(cpu_m(json!({"status": {"containerStatuses": [given]}})), 3_000, "it is being made smaller");
    let container = |name: &str, cpu: &str| json!({"name": name, "resources": {"requests": {"cpu": cpu}}});
    let status = |name: &str, given: &str, has: &str| {
        json!({
            "name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "allocatedResources": {"cpu": given}, "resources": {"requests": {"cpu": has}},
        })
    };
    let two = |status_of: Value, reason: &str| {
        let pending = json!([{"type": "PodResizePending", "status": "True", "reason": reason}]);
        cpu_m(json!({
            "spec": {"containers": [container("one", "1"), container("two", "5")]},
            "status": {"containerStatuses": status_of, "conditions": pending},
        }))
    };
    let statuses = || json!([status("one", "3", "2"), status("two", "2", "2")]);
    assert_eq!(two(statuses(), "Deferred"), 3_000 + 5_000, "each container for itself");
    assert_eq!(two(statuses(), "Infeasible"), 3_000 + 2_000, "what the node can't give doesn't count");
    let sidecar = json!([{"name": "log", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}]);
    let resized =
        json!({"spec": {"initContainers": sidecar}, "status": {"initContainerStatuses": [status("log", "2", "1")]}});
    assert_eq!(cpu_m(resized), 1_000 + 2_000, "a sidecar, too");
    let over = json!({"spec": {"overhead": {"cpu": "250m"}, "resources": {"requests": {"cpu": "4"}}}});
    assert_eq!(cpu_m(over), 4_000 + 250, "what it asks for as a whole, and overhead");
    let pages = pod_of(&json!({"spec": {"resources": {"requests": {"hugepages-2Mi": "4Mi"}}}})).requests.other.clone();
    assert_eq!(pages["hugepages-2Mi"], 4 << 20, "asked for by the pod as a whole");
}

#[test]
fn a_sidecars_host_port_is_the_pods() {
    let init = |policy: Option<&str>| {
        let ports = json!([{"containerPort": 9090, "hostPort": 9090}]);
        pod_of(&json!({"spec": {"initContainers": [{"name": "proxy", "restartPolicy": policy, "ports": ports}]}}))
            .host_ports
            .to_vec()
    };
    let port = HostPort { port: 9090, ..HostPort::default() };
    assert_eq!((init(Some("Always")), init(None)), (vec![port], vec![]));
}

#[test]
fn a_host_port_has_a_protocol_and_perhaps_an_address() {
    let rows = [
        (json!({"hostPort": 80}), Some((80, Protocol::Tcp, None))),
        (json!({"hostPort": 80, "protocol": "UDP", "hostIP": "0.0.0.0"}), Some((80, Protocol::Udp, None))),
        (json!({"hostPort": 80, "protocol": "SCTP", "hostIP": "::1"}), Some((80, Protocol::Sctp, Some("::1")))),
        (json!({"hostPort": 0}), None),
        (json!({}), None),
    ];
    check_rows(rows, |(mut port, expected)| {
        port["containerPort"] = 80.into();
        let pod = pod_of(&json!({"spec": {"containers": [{"name": "main", "ports": [port]}]}}));
        let expected = expected.map(|(port, protocol, ip)| HostPort { port, protocol, ip: ip.map(str::to_owned) });
        assert_eq!(pod.host_ports.to_vec(), expected.into_iter().collect::<Vec<_>>(), "{port}");
    });
}

#[test]
fn a_spread_asks_for_the_pods_own_values_of_its_match_label_keys() {
    let constraint = json!({
        "topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule", "minDomains": 3,
        "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["version", "absent"],
        "nodeAffinityPolicy": "Ignore", "nodeTaintsPolicy": "Honor",
    });
    let soft = json!({"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"});
    let pod = pod_of(&json!({
        "metadata": {"labels": {"version": "7"}},
        "spec": {"topologySpreadConstraints": [constraint, soft]},
    }));
    let [spread] = &pod.spread[..] else { panic!("{:?}", pod.spread) };
    let said = spread.selector.expressions.iter().map(|it| format!("{} {}", it.key, it.values.join(",")));
    assert_eq!(said.collect::<Vec<_>>(), ["app web", "version 7"]);
    assert_eq!((spread.max_skew, spread.min_domains, spread.every_node, spread.heeds_taints), (2, 3, true, true));
}

#[test]
fn what_a_pod_only_prefers_has_its_weight_and_what_it_avoids_a_negative_one() {
    let term = |app: &str| json!({"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}});
    let leaning = |weight: u32, app: &str| json!([{"weight": weight, "podAffinityTerm": term(app)}]);
    let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
    let nodes = json!([{"weight": 7, "preference": {"matchExpressions": [{"key": "size", "operator": "Exists"}]}}]);
    let pod = pod_of(&json!({"spec": {"affinity": {
        "nodeAffinity": {preferred: nodes},
        "podAffinity": {preferred: leaning(30, "api")},
        "podAntiAffinity": {preferred: leaning(100, "web")},
    }}}));
    let leanings: Vec<_> =
        pod.leanings.iter().map(|it| (it.weight, &*it.term.selector.expressions[0].values)).collect();
    assert_eq!(leanings, [(30, &["api".to_owned()][..]), (-100, &["web".to_owned()][..])]);
    assert_eq!(pod.preferred_nodes.iter().map(|it| it.weight).collect::<Vec<_>>(), [7]);
    assert_eq!(**pod.preferred_keys, ["size"]);
}

#[test]
fn a_term_looks_at_the_namespaces_that_it_names_or_selects() {
    let term = |change: Value| {
        let mut term = json!({"topologyKey": "zone", "labelSelector": {}});
        json_patch::merge(&mut term, &change);
        let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
        pod_of(&json!({"spec": {"affinity": affinity}})).affinity.remove(0)
    };
    let team = |team: &str| [("team".to_owned(), team.to_owned())].into();
    let rows = [
        ("its own", json!({}), "shop", Some(team("a")), Some(true)),
        ("another one", json!({}), "batch", Some(team("a")), Some(false)),
        ("one that it names", json!({"namespaces": ["batch"]}), "batch", None, Some(true)),
        ("its own, while it names others", json!({"namespaces": ["batch"]}), "shop", None, Some(false)),
        (
            "one of a team",
            json!({"namespaceSelector": {"matchLabels": {"team": "a"}}}),
            "batch",
            Some(team("a")),
            Some(true),
        ),
        (
            "another team's",
            json!({"namespaceSelector": {"matchLabels": {"team": "a"}}}),
            "batch",
            Some(team("b")),
            Some(false),
        ),
        ("an unknown one", json!({"namespaceSelector": {"matchLabels": {"team": "a"}}}), "batch", None, None),
        ("any", json!({"namespaceSelector": {}}), "batch", None, Some(true)),
    ];
    check_rows(rows, |(what, change, namespace, labels, expected)| {
        let labels: Option<crate::core::selector::Labels> = labels;
        assert_eq!(term(change).looks_at("shop", namespace, labels.as_ref()), expected, "{what}");
    });
}

#[test]
fn the_hard_modes_of_admissions_record_are_read() {
    let read = |record: Option<&str>| {
        let annotations = record.map(|record| json!({"switchover.dev/injected": record}));
        let pod = pod_of(&json!({"metadata": {"annotations": annotations}}));
        let modes = pod.required_for.iter().map(|it| format!("{} {}", it.database, it.mode.as_str()));
        (pod.injected, modes.collect::<Vec<_>>().join(", "))
    };
    let rows = [
        ("none", None, (false, "")),
        ("preferred", Some(r#"[{"database":"default","mode":"preferred","epoch":7}]"#), (true, "")),
        ("softened", Some(r#"[{"database":"default","mode":"preferred","asked":"required","epoch":7}]"#), (true, "")),
        (
            "hard ones",
            Some(r#"[{"database":"a","mode":"required","epoch":7},{"database":"b","mode":"avoid-far","epoch":1}]"#),
            (true, "a required, b avoid-far"),
        ),
        ("another version's", Some(r#"[{"database":"a","mode":"required-or-so"}]"#), (true, "")),
        ("nobody's", Some("required"), (true, "")),
    ];
    check_rows(rows, |(what, record, (injected, modes))| {
        assert_eq!(read(record), (injected, modes.to_owned()), "{what}")
    });
}

#[test]
fn a_pod_of_a_scheduler_that_nobody_named_is_left_alone_unless_it_opts_in_itself() {
    let of = |annotations: serde_json::Value| {
        pod_of(&json!({"metadata": {"annotations": annotations}, "spec": {"schedulerName": "packer"}})).not_injected
    };
    assert_eq!(of(json!({})).as_deref(), Some("it is scheduled by packer"));
    assert_eq!(of(json!({"switchover.dev/follow": "default"})), None);
}

#[test]
fn what_the_scheduler_does_with_a_pod_that_waits_is_read() {
    let pending = pod_of(&json!({
        "metadata": {"annotations": {"switchover.dev/injected": "[]"}},
        "spec": {"schedulingGates": [{"name": "example.com/wait"}], "priorityClassName": "urgent"},
        "status": {"nominatedNodeName": "n1"},
    }));
    assert!(pending.gated && pending.injected && !pending.waits() && !pending.unschedulable);
    let refused = json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]);
    assert!(pod_of(&json!({"status": {"conditions": refused}})).unschedulable);
    assert_eq!((pending.nominated.as_deref(), pending.priority_class.as_deref()), (Some("n1"), Some("urgent")));
    let free = pod_of(&json!({"status": {"nominatedNodeName": ""}}));
    assert!(free.waits() && !free.injected);
    assert_eq!(free.nominated, None);
}

#[test]
fn a_quotas_rest_is_what_its_status_says() {
    let rest = |change: Value| {
        let mut object = json!({
            "metadata": {"name": "small", "namespace": "shop"},
            "status": {
                "hard": {"pods": "4", "requests.cpu": "2", "limits.memory": "1Gi", "services": "1"},
                "used": {"pods": "3", "requests.cpu": "500m", "limits.memory": "2Gi"},
            },
        });
        json_patch::merge(&mut object, &change);
        quota(serde_json::from_value(object).unwrap())
    };
    let left = [("pods", 1), ("requests.cpu", 1_500), ("limits.memory", 0), ("services", 1)];
    let left = || left.map(|(name, left)| (name.to_owned(), left)).into();
    let plain = Quota { namespace: "shop".into(), name: "small".into(), left: left(), ..Quota::default() };
    assert_eq!(rest(json!({})), plain);
    let unused = json!({"pods": "0", "requests.cpu": "0", "limits.memory": null});
    assert!(rest(json!({"status": {"used": unused}})).unused);
    let class = json!({"scopeName": "PriorityClass", "operator": "In", "values": ["urgent"]});
    let scoped =
        rest(json!({"spec": {"scopes": ["NotTerminating", "New"], "scopeSelector": {"matchExpressions": [class]}}}));
    let class = Scope::PriorityClass(expression(String::new(), "In", Some(vec!["urgent".into()])));
    assert_eq!(scoped.scopes, [Scope::Ending(false), Scope::Other, class]);
}

#[test]
fn a_pods_priority_is_what_admission_made_of_its_class() {
    assert_eq!(pod_of(&json!({})).priority, 0);
    assert_eq!(pod_of(&json!({"spec": {"priorityClassName": "urgent", "priority": -10}})).priority, -10);
}
