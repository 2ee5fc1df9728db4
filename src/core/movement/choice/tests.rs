use lab::table::check_rows;

use super::*;
use crate::core::{
    movement::workloads::{Workloads, workload_of},
    testing::{World, pod},
    workload::Workload,
};

/// How a far pod is moved whose workload wants so many and is as `change` makes it: `Evict`, or the reason that holds it.
fn chosen(mode: MoveMode, workload: &str, replicas: u32, change: impl FnOnce(&mut Workload)) -> String {
    let mut mine = pod("web-1").on("b1").owned_by(workload);
    mine.labels.insert("controller-revision-hash".into(), "old".into());
    let world = World::with_nodes("a1=closely b1=far").workload(workload, replicas).changed(workload, change).pod(mine);
    let workloads = Workloads::of(world.snapshot(), |_| true);
    let mine = &world.pods["uid-web-1"];
    let key = workload_of(world.snapshot(), mine).unwrap();
    match choose(mode, &key.kind, mine, workloads.get(&key)) {
        Ok(way) => way.event().to_owned(),
        Err(reason) => format!("{}: {reason}", reason.name()),
    }
}

#[test]
fn a_single_replica_moves_by_itself_only_where_the_new_pod_comes_first() {
    use Strategy::{None, OnDelete, Ordered, Recreate, Rolling};
    let evict = ": to allow the outage, annotate pod or namespace with switchover.dev/move: evict";
    let held = |why: &str| format!("SingleReplica: it is the only replica of its workload, and {why}{evict}");
    let surging = Rolling { surge: 1, unavailable: 0 };
    let ordered = Ordered { unavailable: 1, partition: 0 };
    let rows = [
        ("Deployment/web", 2, surging, "Evict".to_owned()),
        ("Deployment/web", 2, Recreate, "Evict".to_owned()),
        ("StatefulSet/db", 2, ordered, "Evict".to_owned()),
        ("Deployment/web", 1, surging, "Restart".to_owned()),
        ("Deployment/web", 1, Rolling { surge: 2, unavailable: 0 }, "Restart".to_owned()),
        (
            "Deployment/web",
            1,
            Rolling { surge: 1, unavailable: 1 },
            held("its Deployment has a maxUnavailable that lets every pod be away at once"),
        ),
        (
            "Deployment/web",
            1,
            Rolling { surge: 0, unavailable: 1 },
            held("its Deployment has maxSurge: 0, which ends pods before new ones start"),
        ),
        (
            "Deployment/web",
            1,
            Recreate,
            held("its Deployment has the strategy Recreate, which ends every pod before it starts a new one"),
        ),
        ("StatefulSet/db", 1, ordered, held("its StatefulSet ends every pod before it starts a new one")),
        (
            "StatefulSet/db",
            1,
            OnDelete,
            held("its StatefulSet has the updateStrategy OnDelete, so that its template isn't rolled out"),
        ),
        ("ReplicaSet/web", 1, None, held("a ReplicaSet can't be restarted by its template")),
        // Its controller evicts it as anybody would.
        ("Rollout/web", 1, ordered, held("its Rollout ends every pod before it starts a new one")),
    ];
    check_rows(rows, |(workload, replicas, strategy, expected)| {
        let told = chosen(MoveMode::Auto, workload, replicas, |it| it.strategy = strategy);
        assert_eq!(told, expected, "{workload} {replicas} {strategy:?}");
    });
    assert_eq!(chosen(MoveMode::Evict, "StatefulSet/db", 1, |_| {}), "Evict", "whoever allows the outage has it");
    assert!(chosen(MoveMode::Auto, "Deployment/web", 1, |it| it.paused = true).contains("is paused"));
}

#[test]
fn a_restart_is_refused_where_it_would_end_everybody_or_nobody() {
    let rows = [
        ("Deployment/web", Strategy::Rolling { surge: 1, unavailable: 0 }, false, "Restart"),
        ("Deployment/web", Strategy::Rolling { surge: 1, unavailable: 1 }, false, "Restart"),
        ("Deployment/web", Strategy::Rolling { surge: 1, unavailable: 0 }, true, "CannotRestart"),
        ("Deployment/web", Strategy::Rolling { surge: 0, unavailable: 1 }, false, "CannotRestart"),
        ("Deployment/web", Strategy::Rolling { surge: 1, unavailable: 2 }, false, "CannotRestart"),
        ("Deployment/web", Strategy::Recreate, false, "CannotRestart"),
        ("Deployment/web", Strategy::None, false, "CannotRestart"),
        ("StatefulSet/db", Strategy::Ordered { unavailable: 1, partition: 0 }, false, "Restart"),
        ("StatefulSet/db", Strategy::Ordered { unavailable: 1, partition: 1 }, false, "CannotRestart"),
        ("StatefulSet/db", Strategy::Ordered { unavailable: 2, partition: 0 }, false, "CannotRestart"),
        ("StatefulSet/db", Strategy::OnDelete, false, "CannotRestart"),
        ("ReplicaSet/web", Strategy::None, false, "CannotRestart"),
        ("Rollout/web", Strategy::Ordered { unavailable: 1, partition: 0 }, false, "Restart"),
        ("Rollout/web", Strategy::Ordered { unavailable: 1, partition: 0 }, true, "CannotRestart"),
        ("Rollout/web", Strategy::Ordered { unavailable: 2, partition: 0 }, false, "CannotRestart"),
    ];
    check_rows(rows, |(workload, strategy, paused, expected)| {
        let told = chosen(MoveMode::Restart, workload, 2, |it| (it.strategy, it.paused) = (strategy, paused));
        assert_eq!(told.split(':').next(), Some(expected), "{workload} {strategy:?}: {told}");
    });
}

#[test]
fn an_eviction_rolls_out_no_template_that_is_left_to_people() {
    let on_delete = |newest: &'static str| {
        chosen(MoveMode::Evict, "StatefulSet/db", 2, |it| {
            (it.strategy, it.revision) = (Strategy::OnDelete, Some(newest.into()));
        })
    };
    assert_eq!(on_delete("old"), "Evict");
    assert_eq!(
        on_delete("new"),
        "NotRolledOut: its replacement would be of a newer template, and updateStrategy OnDelete leaves that to people"
    );
}
