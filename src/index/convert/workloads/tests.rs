use lab::table::check_rows;
use serde_json::{Value, json};

use super::*;

fn deployment_of(replicas: i32, strategy: Value) -> Workload {
    let object = json!({
        "metadata": {"name": "web", "generation": 2},
        "spec": {"replicas": replicas, "selector": {}, "strategy": strategy, "template": {}},
        "status": {"observedGeneration": 2},
    });
    deployment(serde_json::from_value(object).unwrap())
}

#[test]
fn a_deployment_replaces_its_pods_as_its_controller_reckons() {
    let rolling = |surge: Value, unavailable: Value| json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
    let rows = [
        (1, json!({}), Strategy::Rolling { surge: 1, unavailable: 0 }),
        (3, json!({}), Strategy::Rolling { surge: 1, unavailable: 0 }),
        (4, json!({}), Strategy::Rolling { surge: 1, unavailable: 1 }),
        (10, json!({}), Strategy::Rolling { surge: 3, unavailable: 2 }),
        (10, rolling(json!(2), json!(0)), Strategy::Rolling { surge: 2, unavailable: 0 }),
        (1, rolling(json!(1), json!(1)), Strategy::Rolling { surge: 1, unavailable: 1 }),
        (4, rolling(json!("0%"), json!("50%")), Strategy::Rolling { surge: 0, unavailable: 2 }),
        // Both would be none: then one may be away.
        (1, rolling(json!(0), json!("25%")), Strategy::Rolling { surge: 0, unavailable: 1 }),
        (3, json!({"type": "Recreate"}), Strategy::Recreate),
    ];
    check_rows(rows, |(replicas, strategy, expected)| {
        assert_eq!(deployment_of(replicas, strategy.clone()).strategy, expected, "{replicas} {strategy}");
    });
}

/// A StatefulSet of 3 whose newest template is `b`.
fn set_of(strategy: Value, status: Value) -> Workload {
    let mut object = json!({
        "metadata": {"name": "db", "generation": 2},
        "spec": {"replicas": 3, "selector": {}, "serviceName": "db", "updateStrategy": strategy, "template": {}},
        "status": {"replicas": 3, "observedGeneration": 2, "currentRevision": "a", "updateRevision": "b"},
    });
    json_patch::merge(&mut object["status"], &status);
    stateful_set(serde_json::from_value(object).unwrap())
}

#[test]
fn a_stateful_set_is_rolled_out_until_every_pod_that_it_replaces_is_new() {
    let partition = |first: i32| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": first}});
    let rows = [
        ("nothing is new", json!({}), json!({}), true),
        ("some are", json!({}), json!({"updatedReplicas": 2}), true),
        ("all are", json!({}), json!({"updatedReplicas": 3, "currentRevision": "b"}), false),
        ("at rest", json!({}), json!({"updateRevision": "a", "updatedReplicas": 3}), false),
        ("not looked at yet", json!({}), json!({"observedGeneration": 1, "updateRevision": "a"}), true),
        ("the last one is replaced", partition(2), json!({}), true),
        ("and it was", partition(2), json!({"updatedReplicas": 1}), false),
        ("none is replaced", partition(3), json!({}), false),
        ("people replace them", json!({"type": "OnDelete"}), json!({}), false),
    ];
    check_rows(rows, |(what, strategy, status, expected)| {
        assert_eq!(set_of(strategy, status).rolling, expected, "{what}");
    });
    let held_back = set_of(json!({"type": "OnDelete"}), json!({}));
    assert_eq!((held_back.strategy, held_back.revision), (Strategy::OnDelete, Some("b".to_owned())));
    assert_eq!(set_of(partition(2), json!({})).strategy, Strategy::Ordered { unavailable: 1, partition: 2 });
}

#[test]
fn pods_that_must_be_ready_for_a_while_count_as_the_controller_counts_them() {
    let set = |min_ready_s: i32, status: Value| {
        let spec = json!({"replicas": 2, "minReadySeconds": min_ready_s, "selector": {}});
        let object = json!({"metadata": {"name": "web-1"}, "spec": spec, "status": status});
        replica_set(serde_json::from_value(object).unwrap()).available
    };
    assert_eq!(set(0, json!({"replicas": 2, "availableReplicas": 1})), None);
    assert_eq!(set(10, json!({"replicas": 2, "availableReplicas": 1})), Some(1));
    assert_eq!(set(10, json!({"replicas": 2})), Some(0));
}

#[test]
fn what_people_ask_of_a_workload_stands_on_it_and_not_on_its_replica_sets() {
    let annotations = json!({"switchover.dev/paused": "a load test", "switchover.dev/move": "never"});
    let object = |owner: Value, template: Value| {
        json!({
            "metadata": {"name": "web", "annotations": annotations, "ownerReferences": owner},
            "spec": {"replicas": 1, "selector": {}, "template": {"metadata": {"annotations": template}}},
        })
    };
    let own = json!({"switchover.dev/move": "never"});
    let owned = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1", "controller": true}]);
    let read = |workload: Workload| {
        let orders = workload.orders?;
        let pause = orders.pause.map(|pause| pause.to_string());
        Some((pause.unwrap_or_default(), orders.misread.is_some()))
    };
    let paused = |misread| Some(("by somebody: a load test".to_owned(), misread));
    let deployed = |template| deployment(serde_json::from_value(object(json!([]), template)).unwrap());
    let set = |owner| replica_set(serde_json::from_value(object(owner, json!({}))).unwrap());
    assert_eq!(read(deployed(json!({}))), paused(true));
    assert_eq!(read(deployed(own)), paused(false), "its template says the same");
    assert_eq!(read(set(json!([]))), paused(true));
    assert_eq!(read(set(owned)), None, "a Deployment's annotations are copied to its ReplicaSets");
}
