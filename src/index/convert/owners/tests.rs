use serde_json::{Value, json};

use super::*;

fn owner() -> Owner {
    Owner { api: "argoproj.io/v1alpha1".into(), kind: "Rollout".into(), name: "web".into(), uid: "1".into() }
}

/// A Rollout of 4 that was observed, but for this.
fn read_rollout(change: Value) -> Option<Workload> {
    let mut object = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop", "uid": "1", "generation": 3},
        "spec": {"replicas": 4, "strategy": {"canary": {"steps": [{"setWeight": 20}]}}, "workloadRef": {"kind": "Deployment"}},
        "status": {"observedGeneration": "3", "HPAReplicas": 4, "phase": "Healthy"},
    });
    json_patch::merge(&mut object, &change);
    rollout(&owner(), serde_json::from_value(object).unwrap())
}

#[test]
fn a_rollout_is_read_as_its_controller_reckons() {
    let at: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let expected = Workload {
        kind: "Rollout".into(),
        namespace: "shop".into(),
        name: "web".into(),
        uid: "1".into(),
        desired: 4,
        strategy: Strategy::Ordered { unavailable: 1, partition: 0 },
        ..Workload::default()
    };
    assert_eq!(read_rollout(json!({})).as_ref(), Some(&expected));
    assert_eq!(read_rollout(json!({"metadata": {"uid": "2"}})), None, "another one of that name");
    assert_eq!(read_rollout(json!({"spec": {"replicas": "many"}})), None, "what can't be read is not known");
    let newer = Workload { rolling: true, ..expected.clone() };
    assert_eq!(read_rollout(json!({"metadata": {"generation": 4}})).as_ref(), Some(&newer));
    assert_eq!(read_rollout(json!({"status": null})).as_ref(), Some(&newer), "nobody has looked at it");
    // It restarts until the status says that it has.
    let restarting = json!({
        "metadata": {"annotations": {"switchover.dev/restarted-for": "orders/2"}},
        "spec": {"restartAt": "2026-01-01T00:00:00Z"},
        "status": {"restartedAt": "2025-12-01T00:00:00Z"},
    });
    let expected = Workload { restart_at: Some(at), restarted_for: Some("orders/2".into()), ..expected };
    let begun = Workload { rolling: true, ..expected.clone() };
    assert_eq!(read_rollout(restarting.clone()), Some(begun.clone()));
    let mut never = restarting.clone();
    never["status"]["restartedAt"] = Value::Null;
    assert_eq!(read_rollout(never), Some(begun));
    let mut over = restarting;
    over["status"]["restartedAt"] = "2026-01-01T00:00:00Z".into();
    assert_eq!(read_rollout(over), Some(expected));
}

#[test]
fn a_rollout_evicts_as_many_at_once_as_may_be_unavailable_and_at_least_one() {
    let at_once = |strategy: Value| {
        let read = read_rollout(json!({"spec": {"replicas": 10, "strategy": strategy}})).unwrap();
        let Strategy::Ordered { unavailable, partition: 0 } = read.strategy else { panic!("{:?}", read.strategy) };
        unavailable
    };
    assert_eq!(at_once(json!({})), 2, "a quarter");
    assert_eq!(at_once(json!({"canary": {"maxUnavailable": 3}})), 3);
    assert_eq!(at_once(json!({"canary": {"maxUnavailable": 0, "maxSurge": 1}})), 1);
    assert_eq!(at_once(json!({"canary": null, "blueGreen": {"activeService": "web"}})), 1);
}

#[test]
fn a_scale_tells_how_many_pods_its_object_wants() {
    let read = |change: Value| {
        let mut told = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "1"},
            "spec": {"replicas": 3}, "status": {"replicas": 2},
        });
        json_patch::merge(&mut told, &change);
        scale(&owner(), serde_json::from_value(told).unwrap()).map(|it| (it.desired, it.scaled, it.uid))
    };
    assert_eq!(read(json!({})), Some((3, true, "1".into())));
    assert_eq!(read(json!({"spec": {"replicas": null}})), Some((0, true, "1".into())));
    assert_eq!(read(json!({"metadata": {"uid": "2"}})), None, "another one of that name");
}
