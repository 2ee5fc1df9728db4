use serde_json::json;

use super::*;
use crate::{
    api::{NodeLatencySpec, database_cluster::MovingStatus, node_latency::Reading},
    core::testing::{World, at, instant, moment, pod},
    index::Latency,
};

/// A far replica of a pair, and a database whose primary pg1 (near the nodes of zone a) is known since second 0.
fn cluster(spec: serde_json::Value, frozen: &str) -> Tables {
    let world = World::with_nodes("a1=closely b1=far")
        .workload("ReplicaSet/web", 2)
        .pod(pod("web-1").on("b1").owned_by("ReplicaSet/web"))
        .pod(pod("web-2").on("a1").owned_by("ReplicaSet/web"));
    let mut tables = Tables::from(&world);
    tables.follow("shop", "default");
    let condition = |type_: &str, status: &str| {
        json!({"type": type_, "status": status, "reason": "x", "message": "Patroni is paused",
               "lastTransitionTime": at(0).to_string()})
    };
    let mut spec = spec;
    spec["discovery"] = json!({"patroni": {"urls": ["http://10.0.0.1:8008"]}});
    let object: DatabaseCluster = serde_json::from_value(json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster",
        "metadata": {"name": "default", "uid": "uid-default"},
        "spec": spec,
        "status": {
            "primary": "pg1", "primaryHost": "10.0.0.1", "timeline": 5, "epoch": 1, "since": at(0).to_string(),
            "members": [{"name": "pg1", "host": "10.0.0.1", "port": 5432}],
            "conditions": [condition("PrimaryKnown", "True"), condition("Frozen", frozen)],
        },
    }))
    .unwrap();
    tables.put_database(&object);
    for (node, us) in [("a1", 300), ("b1", 20_000)] {
        let readings = vec![Reading { host: "10.0.0.1".into(), rtt_us: Some(us), ..Reading::default() }];
        let spec = NodeLatencySpec { heartbeat: at(100), member_count: 1, readings };
        tables.put_latency(node, Latency { spec, received: instant(100) });
    }
    tables
}

fn told(tables: Tables, asked: bool) -> String {
    let mut look = Look { tables, own_namespace: "switchover-system".into(), now: moment(100) };
    if asked {
        look.ask_for("ReplicaSet/web");
    }
    let decided = look.decide("default").unwrap();
    let moves = decided.plan.moves.iter().map(|it| format!("{} {}→{}", it.pod, it.from, it.to));
    let held = decided.plan.held.iter().map(|it| format!("{} {}", it.pod, it.reason.name()));
    moves.chain(held).collect::<Vec<_>>().join(", ")
}

#[test]
fn one_look_decides_what_the_controller_would() {
    assert_eq!(told(cluster(json!({}), "False"), false), "web-1 b1→a1");
    assert_eq!(told(cluster(json!({}), "True"), false), "web-1 Frozen");
    assert_eq!(told(cluster(json!({"paused": true}), "False"), false), "web-1 Paused");
    assert_eq!(told(cluster(json!({"movement": {"settle": "10m"}}), "False"), false), "web-1 Settling");
}

/// A controller that took over counts a primary as having held for a minute less than the status says, and says itself when that is over.
#[test]
fn the_primary_has_held_for_long_enough_when_the_controller_says_so() {
    let told_beside = |reason: &str, epoch: Option<u64>| {
        let mut tables = cluster(json!({"movement": {"settle": "70s"}}), "False");
        let mut object = DatabaseCluster::clone(tables.databases.get("default").unwrap().object.as_ref().unwrap());
        object.metadata.resource_version = Some("2".into());
        let status = object.status.as_mut().unwrap();
        let mut moving = status.conditions[0].clone();
        (moving.type_, moving.reason) = ("Moving".into(), reason.into());
        status.conditions.push(moving);
        let of = |epoch| MovingStatus {
            pod: "bank/app-1".into(),
            uid: "9".into(),
            epoch: Some(epoch),
            ..MovingStatus::default()
        };
        status.moving = epoch.map(of).into_iter().collect();
        tables.put_database(&object);
        told(tables, false)
    };
    assert_eq!(told_beside("Settling", None), "web-1 Settling");
    assert_eq!(told_beside("Paused", None), "web-1 Settling", "nothing follows from that");
    for reason in ["Held", "Done", "NodesInDoubt", "OutsideWindow", "Moving"] {
        assert_eq!(told_beside(reason, None), "web-1 b1→a1", "{reason}");
    }
    assert_eq!(told_beside("Moving", Some(1)), "web-1 b1→a1", "a move for this primary");
    assert_eq!(told_beside("Moving", Some(0)), "web-1 Settling", "one for the last primary goes on");
}

#[test]
fn whoever_asks_for_a_workload_waits_for_no_turn_and_no_window() {
    let spec = || json!({"movement": {"settle": "10m", "windows": [{"schedule": "0 22 * * *", "duration": "1h"}]}});
    assert_eq!(told(cluster(spec(), "False"), false), "web-1 Settling");
    assert_eq!(told(cluster(spec(), "False"), true), "web-1 b1→a1");
    // What keeps the pods' service safe holds all the same.
    let mut paused = spec();
    paused["paused"] = json!(true);
    assert_eq!(told(cluster(paused, "False"), true), "web-1 Paused");
    assert_eq!(told(cluster(spec(), "True"), true), "web-1 Frozen");
}
