use serde_json::json;

use crate::{
    core::{
        orders::Orders,
        testing::{World, at, pod},
        workload::Workload,
    },
    evaluate::{
        Decided,
        testing::{Stage, told},
    },
};

/// Two replicas of each of two workloads, all of them far from pg1.
fn world() -> World {
    let of = |name: &str, set: &str| pod(name).on("b1").owned_by(set);
    World::with_nodes("a1=far b1=closely")
        .workload("ReplicaSet/api", 2)
        .workload("ReplicaSet/web", 2)
        .pod(of("api-1", "ReplicaSet/api"))
        .pod(of("api-2", "ReplicaSet/api"))
        .pod(of("web-1", "ReplicaSet/web"))
        .pod(of("web-2", "ReplicaSet/web"))
}

fn stage(movement: serde_json::Value) -> Stage {
    let mut stage = Stage::after_a_failover(&world());
    stage.object.spec.movement = serde_json::from_value(movement).unwrap();
    stage
}

fn sentences(decided: &Decided) -> Vec<String> {
    decided.plan.held.iter().map(|held| format!("{}: {}", held.pod, held.reason)).collect()
}

#[test]
fn a_dry_run_says_what_would_be_moved_and_moves_nothing() {
    let mut stage = stage(json!({"mode": "DryRun"}));
    let held = "api-1 DryRun, api-2 DryRun, web-1 DryRun, web-2 DryRun";
    for second in [130, 131, 1000] {
        stage.read(second);
        let decided = stage.at(second);
        assert_eq!(told(&decided), format!("gate: DryRun; held: {held}"));
        assert_eq!(
            decided.gate.as_ref().map(ToString::to_string).as_deref(),
            Some("2 moves would begin now, but spec.movement.mode is DryRun")
        );
        assert_eq!(
            sentences(&decided),
            [
                "api-1: it would be moved to a1 now, but spec.movement.mode is DryRun",
                "api-2: it would be moved when others have been, but spec.movement.mode is DryRun",
                "web-1: it would be moved to a1 now, but spec.movement.mode is DryRun",
                "web-2: it would be moved when others have been, but spec.movement.mode is DryRun",
            ]
        );
        assert!(stage.memory.journal.underway.is_empty() && !decided.over);
    }
    stage.object.spec.movement.mode = Default::default();
    assert_eq!(stage.at(1001).plan.moves.len(), 2, "what was said is done");
}

#[test]
fn what_would_hold_the_movement_itself_is_told_before_that_it_is_a_dry_run() {
    let decided = stage(json!({"mode": "DryRun", "settle": "60s"})).at(130);
    assert_eq!(told(&decided), "gate: Settling; held: api-1 Settling, api-2 Settling, web-1 Settling, web-2 Settling");
}

#[test]
fn switched_off_nothing_moves_while_nodes_are_labelled() {
    let mut stage = stage(json!({"mode": "Off"}));
    stage.read(200);
    stage.fail_over("pg2", 200);
    let decided = stage.at(200);
    assert_eq!(told(&decided), "labels: a1 far, b1 closely; gate: Off");
}

#[test]
fn outside_of_windows_only_those_move_that_are_very_far_or_asked_for() {
    // Second 130 is 13:48:50.
    let windows = json!([{"schedule": "0 22 * * *", "duration": "1h"}]);
    let rows = [
        (json!({"windows": windows}), "gate: OutsideWindow; held: "),
        (json!({"windows": windows, "fartherThan": "25ms"}), "gate: OutsideWindow; held: "),
        (
            json!({"windows": windows, "fartherThan": "5ms"}),
            "gate: OutsideWindow; moves: api-1 b1→a1, web-1 b1→a1; held: ",
        ),
        (json!({"windows": [{"schedule": "0 13 * * *", "duration": "1h"}]}), "moves: api-1 b1→a1, web-1 b1→a1; held: "),
    ];
    for (movement, expected) in rows {
        let decided = stage(movement.clone()).at(130);
        assert!(told(&decided).starts_with(expected), "{movement}: {}", told(&decided));
    }
    let mut stage = stage(json!({"windows": windows, "settle": "10m"}));
    let asked = |mut it: Workload| {
        it.orders = Some(Box::new(Orders { move_now: Some(at(100)), ..Orders::default() }));
        it
    };
    let web = asked((*stage.tables.all_workloads["ReplicaSet/web"]).clone());
    stage.tables.all_workloads.insert("ReplicaSet/web".into(), web.into());
    assert_eq!(
        told(&stage.at(130)),
        "gate: Settling; moves: web-1 b1→a1; held: api-1 Settling, api-2 Settling, web-2 OneAtATime"
    );
}

#[test]
fn a_minute_and_a_namespace_have_their_limits() {
    let mut stage = stage(json!({"perMinute": 1}));
    assert_eq!(told(&stage.at(130)), "moves: api-1 b1→a1; held: web-1 PerMinute, api-2 OneAtATime, web-2 PerMinute");
    stage.read(189);
    assert_eq!(stage.at(189).plan.moves.len(), 0);
    assert_eq!(stage.at(190).plan.moves.len(), 1, "the next minute has its own");
    let mut stage = self::stage(json!({"perNamespace": 1}));
    assert_eq!(
        told(&stage.at(130)),
        "moves: api-1 b1→a1; held: web-1 PerNamespace, api-2 OneAtATime, web-2 PerNamespace"
    );
    assert_eq!(stage.at(131).plan.moves.len(), 0, "while that one is under way");
}

/// Four replicas of one workload, whose budget lets three be away at once.
fn with_a_budget(movement: serde_json::Value) -> Stage {
    let world = (1..=4).fold(
        World::with_nodes("a1=far b1=closely").workload("ReplicaSet/mail", 4).budget("mail", "web", 3),
        |world, it| world.pod(pod(&format!("mail-{it}")).on("b1").owned_by("ReplicaSet/mail")),
    );
    let mut stage = Stage::after_a_failover(&world);
    stage.object.spec.movement = serde_json::from_value(movement).unwrap();
    stage
}

#[test]
fn each_limit_counts_the_pods_of_one_workload_that_move_at_once() {
    let rows = [
        (json!({}), "mail-2 b1→a1, mail-3 b1→a1; held: mail-4 DisruptionBudgetSpent"),
        (json!({"perWorkload": 2}), "mail-2 b1→a1; held: mail-3 PerWorkload, mail-4 PerWorkload"),
        (json!({"perNamespace": 2}), "mail-2 b1→a1; held: mail-3 PerNamespace, mail-4 PerNamespace"),
        (json!({"perMinute": 2}), "mail-2 b1→a1; held: mail-3 PerMinute, mail-4 PerMinute"),
        (json!({"maxConcurrent": 2}), "mail-2 b1→a1; held: mail-3 Concurrency, mail-4 Concurrency"),
    ];
    lab::table::check_rows(rows, |(movement, expected)| {
        assert_eq!(
            told(&with_a_budget(movement.clone()).at(130)),
            format!("moves: mail-1 b1→a1, {expected}"),
            "{movement}"
        );
    });
    let dry = with_a_budget(json!({"mode": "DryRun"})).at(130);
    assert_eq!(sentences(&dry)[3], "mail-4: it would be moved when others have been, but spec.movement.mode is DryRun");
}

#[test]
fn what_another_database_moves_in_a_namespace_counts_there() {
    let mut other = with_a_budget(json!({}));
    assert_eq!(other.at(130).plan.moves.len(), 3);
    let mut stage = stage(json!({"perNamespace": 4}));
    stage.others.underway.clone_from(&other.memory.journal.underway);
    assert_eq!(
        told(&stage.at(130)),
        "moves: api-1 b1→a1; held: web-1 PerNamespace, api-2 OneAtATime, web-2 PerNamespace"
    );
}
