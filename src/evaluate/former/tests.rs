use lab::table::check_rows;

use super::*;
use crate::{
    core::testing::{World, moment},
    evaluate::testing::{Stage, latency},
};

/// pg1 near the nodes of zone a was the primary until second 100, was lost at second 95, and pg2 near those of zone b is it since then.
/// Agents of zone a wrote at second 60 for the last time, those of zone b at second 98 that pg1's host is silent.
fn stage() -> Stage {
    let mut stage = Stage::new(&World::with_nodes("a1=closely a2=closely b1=far b2=far")).primary("pg1", 0);
    stage.read(60);
    let _ = stage.at(96);
    for node in ["b1", "b2"] {
        notices(&mut stage, node, None, 98);
    }
    stage.fail_over("pg2", 100);
    let relabelled = stage.at(100);
    stage.label(&relabelled);
    stage
}

/// The agent of a node of zone b writes how far pg1 is.
fn notices(stage: &mut Stage, node: &str, rtt_us: Option<u32>, second: i64) {
    let mut latency = latency([20_000, 300], second);
    latency.spec.readings[0].rtt_us = rtt_us;
    stage.tables.put_latency(node, latency);
}

/// The gate that is told, and its nodes.
fn gate(stage: &mut Stage, second: i64) -> String {
    match stage.at(second).gate {
        Some(Gate::NodesInDoubt { nodes, .. }) => nodes,
        Some(gate) => gate.name().to_owned(),
        None => "none".to_owned(),
    }
}

#[test]
fn nodes_that_are_as_silent_as_the_former_primary_hold_the_movement_until_kubernetes_must_know() {
    type Change = fn(&mut Stage);
    let planned: Change = |stage| stage.status.failovers[0].why = Some("Planned".into());
    let crashed: Change = |stage| stage.status.failovers[0].why = Some("Crash".into());
    let known: Change = |stage| {
        for name in ["a1", "a2"] {
            let mut node = stage.tables.nodes.get(name).unwrap().clone();
            node.ready = false;
            stage.tables.put_node(name, Some(node));
        }
    };
    let lives: Change = |stage| stage.read_node("a1", [300, 20_000], 99);
    let unnoticed: Change = |stage| ["b1", "b2"].iter().for_each(|node| notices(stage, node, Some(20_000), 98));
    let losing: Change = |stage| {
        for node in ["b1", "b2"] {
            let mut latency = latency([20_000, 300], 98);
            latency.spec.readings[0].loss_percent = 40;
            stage.tables.put_latency(node, latency);
        }
    };
    let restarted: Change = |stage| {
        stage.status.members.clone_from(&stage.members);
        stage.status.primary_host = Some("10.0.0.2".into());
        stage.memory = Memory::restored(&stage.status, moment(125));
        stage.memory.note_settled();
    };
    let nothing: Change = |_| ();
    let rows = [
        ("they may be dead", nothing, 131, "a1; a2"),
        ("for all that the database says", crashed, 131, "a1; a2"),
        ("as long as Kubernetes may not know", nothing, 185, "a1; a2"),
        ("by then it does, if they are", nothing, 187, "none"),
        ("it settles first", nothing, 120, "Settling"),
        ("the former primary goes on as a follower", planned, 131, "none"),
        ("Kubernetes knows", known, 131, "none"),
        ("one has written since", lives, 131, "a2"),
        ("its host is there: only the database ended", unnoticed, 131, "none"),
        ("echoes begin to be lost", losing, 131, "a1; a2"),
        ("a new leader goes by when the new primary was confirmed", restarted, 131, "a1; a2"),
        ("and for as long", restarted, 191, "none"),
    ];
    check_rows(rows, |(what, change, second, expected)| {
        let mut stage = stage();
        change(&mut stage);
        assert_eq!(gate(&mut stage, second), expected, "{what}");
    });
}
