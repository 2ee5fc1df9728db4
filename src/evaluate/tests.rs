//! Whole evaluations, second by second.

use proptest::prelude::*;

use super::{
    testing::{Stage, told, view},
    *,
};
use crate::{
    api::database_cluster::{UselessStatus, WorkloadStatus},
    core::{
        follow::AffinityMode,
        movement::{journal::End, ways::Way, workloads::WorkloadKey},
        testing::{World, moment, node, pod},
        workload::RequiredFor,
    },
};

/// Two nodes in each of two zones, all of them labelled for pg2 in zone b, and two replicas there.
fn world() -> World {
    World::with_nodes("a1=far a2=far b1=closely b2=closely")
        .workload("ReplicaSet/web", 2)
        .pod(pod("web-1").on("b1").owned_by("ReplicaSet/web"))
        .pod(pod("web-2").on("b2").owned_by("ReplicaSet/web"))
}

#[test]
fn a_failover_is_labelled_settled_moved_and_called_over() {
    let mut stage = Stage::new(&world()).primary("pg2", 0);
    let calm: Vec<String> = [0, 1, 2, 40].map(|second| told(&stage.at(second))).into();
    assert_eq!(calm, ["gate: Settling; labelled", "gate: Settling", "gate: Settling", "over"]);

    stage.fail_over("pg1", 100);
    let relabelled = stage.at(100);
    assert_eq!(
        told(&relabelled),
        "labels: a1 closely, a2 closely, b1 far, b2 far; gate: LabelsPending; held: web-1 LabelsPending, web-2 LabelsPending"
    );
    stage.label(&relabelled);
    assert_eq!(told(&stage.at(101)), "gate: Settling; held: web-1 Settling, web-2 Settling; labelled");
    assert_eq!(told(&stage.at(129)), "gate: Settling; held: web-1 Settling, web-2 Settling");
    let first = stage.at(130);
    assert_eq!(told(&first), "moves: web-1 b1→a1; held: web-2 OneAtATime");
    assert_eq!(first.rtt_us, Some(20_000));
    assert_eq!(told(&stage.at(131)), "held: web-1 OneAtATime, web-2 OneAtATime", "it is under way");

    let replace = |stage: &mut Stage, old: &str, new: crate::core::workload::Pod| {
        use kube::runtime::watcher::Event;
        let uid = format!("uid-{old}");
        stage.tables.pods.apply(Event::Delete(uid), |uid| (uid, None));
        stage.tables.pods.apply(Event::Apply(new), |pod| (pod.uid.clone(), Some(pod)));
    };
    let new = |name: &str, second| pod(name).on("a1").owned_by("ReplicaSet/web").created(second);
    replace(&mut stage, "web-1", new("web-3", 132).unready());
    assert_eq!(told(&stage.at(132)), "held: web-2 OneAtATime", "the replacement isn't Ready yet");
    replace(&mut stage, "web-3", new("web-3", 132));
    assert_eq!(told(&stage.at(140)), "ends: web-1 moved; moves: web-2 b2→a2");
    replace(&mut stage, "web-2", new("web-4", 142));
    let last = stage.at(150);
    assert_eq!((told(&last).as_str(), last.rtt_us), ("ends: web-2 moved; over", Some(300)));
    assert_eq!(told(&stage.at(160)), "", "that is said once");
    assert_eq!(stage.memory.journal.moved, 2);
}

#[test]
fn a_replacement_is_foreseen_with_what_admission_injects_now() {
    let planned = |mode: &str| {
        let web = |name: &str, node: &str| {
            let mut pod = pod(name).on(node).owned_by("ReplicaSet/web").spread_over("zone");
            pod.wishes.affinity = Some(mode.to_owned());
            pod
        };
        let world = World::with_nodes("a1=far a2=far b1=closely b2=closely").workload("ReplicaSet/web", 2);
        let mut stage = Stage::new(&world.pod(web("web-1", "b1")).pod(web("web-2", "a1"))).primary("pg2", 0);
        stage.at(0);
        stage.fail_over("pg1", 100);
        let relabelled = stage.at(100);
        stage.label(&relabelled);
        stage.at(101);
        told(&stage.at(130))
    };
    assert_eq!(planned("preferred"), "held: web-1 NoRoom", "two in one zone, and none in the other");
    assert_eq!(planned("required"), "moves: web-1 b1→a2", "there is one zone");
}

#[test]
fn a_pod_that_was_injected_under_a_former_key_moves_to_where_admission_puts_its_replacement() {
    let told_of = |records: &[&str]| {
        let mut web = pod("web-1").on("b1").owned_by("ReplicaSet/web").only_on("old-key", "closely");
        web.injected = true;
        web.wishes.affinity = Some("required".to_owned());
        let record = |database: &&str| RequiredFor { database: (*database).to_owned(), mode: AffinityMode::Required };
        web.required_for = records.iter().map(record).collect();
        let beside = pod("web-2").on("a1").owned_by("ReplicaSet/web");
        let world = World::with_nodes("a1=far a2=far b1=closely").workload("ReplicaSet/web", 2).pod(web).pod(beside);
        told(&Stage::after_a_failover(&world).at(131))
    };
    assert_eq!(told_of(&["default"]), "moves: web-1 b1→a2");
    assert_eq!(told_of(&[]), "held: web-1 NoRoom", "it may be a rule of its own");
}

#[test]
fn nothing_changes_while_nobody_is_known_to_be_primary() {
    let mut stage = Stage::new(&world()).primary("pg2", 0);
    stage.at(0);
    let before = stage.memory.tiers.clone();
    // Readings change all the same.
    stage.read_node("b1", [300, 20_000], 100);
    for (what, primaries, expected) in
        [("nobody is", &[][..], "gate: PrimaryNotConfirmed"), ("two are", &["pg1", "pg2"][..], "gate: SplitBrain")]
    {
        stage.view = view(primaries, false, 1, 100);
        for second in 100..110 {
            assert_eq!(told(&stage.at(second)), expected, "{what}");
        }
        let tiers = |tiers: &crate::core::distance::tier::TierMap| {
            tiers.nodes.iter().map(|(node, it)| (node.clone(), it.tier)).collect::<Vec<_>>()
        };
        assert_eq!(tiers(&stage.memory.tiers), tiers(&before), "{what}");
    }
}

#[test]
fn a_move_that_failed_halts_and_says_so_in_the_one_gate() {
    let mut stage = Stage::after_a_failover(&world());
    assert_eq!(stage.at(131).plan.moves.len(), 1);
    stage.object.spec.movement.halt_after_failures = 1;
    stage.tables.pods.apply(kube::runtime::watcher::Event::Delete("uid-web-1".to_owned()), |uid| (uid, None));
    stage.read(430);
    assert_eq!(stage.at(431).gate, None, "it may still become Ready");
    let halted = stage.at(432);
    assert_eq!(halted.gate, Some(Gate::Halted { failed: 1 }));
    assert_eq!(told(&halted), "gate: Halted; held: web-2 Halted");
}

#[test]
fn a_rollout_that_hangs_keeps_no_movement_open() {
    let world = world().changed("ReplicaSet/web", |it| it.rolling = true);
    let mut stage = Stage::after_a_failover(&world);
    let mut look = |second| {
        stage.read(second);
        let decided = stage.at(second);
        (told(&decided), decided.stays[0].passes())
    };
    let held = "held: web-1 Rollout, web-2 Rollout";
    assert_eq!(look(131), (held.to_owned(), true));
    assert_eq!(look(430), (held.to_owned(), true));
    assert_eq!(look(431), (held.to_owned(), false), "nobody waits for it any more");
    assert_eq!(look(436), (format!("{held}; over"), false));
    assert_eq!(look(440), (held.to_owned(), false), "that is said once");
}

#[test]
fn what_another_leader_finds_in_the_status_is_what_the_last_one_left() {
    let mut stage = Stage::new(&world()).primary("pg2", 0);
    stage.at(0);
    stage.at(40);
    let next = Memory::restored(&stage.status, moment(50));
    let mut heir = Stage { memory: next, ..stage.clone() };
    assert_eq!((told(&stage.at(50)), told(&heir.at(50))), (String::new(), String::new()));
    assert_eq!(heir.memory.tiers, stage.memory.tiers);
    assert_eq!(heir.memory.journal, stage.memory.journal);
}

#[test]
fn a_replacement_that_admission_missed_waits_and_is_told() {
    let mut stage = Stage::after_a_failover(&world());
    stage.at(131);
    use kube::runtime::watcher::Event;
    stage.tables.pods.apply(Event::Delete("uid-web-1".to_owned()), |uid| (uid, None));
    let bare = pod("web-3").on("b1").owned_by("ReplicaSet/web").created(132);
    stage.tables.pods.apply(Event::Apply(bare), |pod| (pod.uid.clone(), Some(pod)));
    let missed = stage.at(140);
    assert_eq!(
        missed.outcomes[0].end,
        End::Missed { way: Way::Evict, to: "b1".into(), pod: "web-3".into(), uid: "uid-web-3".into() }
    );
    assert_eq!(told(&missed), "ends: web-1 missed; held: web-2 AdmissionMissed, web-3 AdmissionMissed");
    assert_eq!(told(&stage.at(155)), "moves: web-2 b2→a1; held: web-3 OneAtATime", "after a pause it is tried again");
}

proptest! {
    /// The same facts and memories always lead to the same decision, and one that wasn't carried out is decided again.
    #[test]
    fn an_evaluation_is_a_function_of_its_arguments(
        seconds in prop::collection::vec(1i64..40, 1..12),
        failovers in prop::collection::vec(any::<bool>(), 12),
        far in prop::collection::vec(any::<bool>(), 12),
    ) {
        let (mut stage, mut now) = (Stage::new(&world()).primary("pg2", 0), 0);
        for (at, step) in seconds.into_iter().enumerate() {
            now += step;
            if failovers[at] {
                stage.fail_over(if far[at] { "pg1" } else { "pg2" }, now);
            }
            stage.read(now);
            let mut twin = stage.clone();
            let (decided, same) = (stage.at(now), twin.at(now));
            prop_assert_eq!(&decided, &same);
            prop_assert_eq!(&stage.memory.tiers, &twin.memory.tiers);
            // One pod of the only workload at a time, and never without a reason for every other.
            prop_assert!(stage.memory.journal.underway.len() <= 1);
            prop_assert!(decided.gate.is_none() || decided.plan.moves.is_empty());
            if at % 3 == 0 {
                stage.label(&decided);
            }
        }
    }
}

#[test]
fn nobody_moves_in_the_systems_namespace_or_our_own_whoever_labelled_them() {
    for (namespace, expected) in [
        ("shop", "moves: web-1 b1→a1; held: web-2 OneAtATime"),
        ("kube-system", "held: web-1 NotInjected, web-2 NotInjected"),
        ("switchover-system", "held: web-1 NotInjected, web-2 NotInjected"),
    ] {
        let mut world = world();
        for pod in world.pods.values_mut().map(std::sync::Arc::make_mut) {
            pod.namespace = namespace.into();
        }
        let mut stage = Stage::after_a_failover(&world);
        stage.tables.follow(namespace, "default");
        assert_eq!(told(&stage.at(131)), expected, "{namespace}");
    }
}

#[test]
fn a_workload_that_something_moves_back_is_moved_ever_more_rarely() {
    use kube::runtime::watcher::Event;
    let mut stage = Stage::after_a_failover(&world());
    let place = |stage: &mut Stage, name: &str, node: &str| {
        let pod = pod(name).on(node).owned_by("ReplicaSet/web").preferring("switchover");
        stage.tables.pods.apply(Event::Apply(pod), |pod| (pod.uid.clone(), Some(pod)));
    };
    place(&mut stage, "web-2", "a2");
    let (mut second, mut moved) = (130, Vec::new());
    while second < 4_000 {
        stage.read(second);
        if let Some(move_) = stage.at(second).plan.moves.first() {
            moved.push(second);
            let (old, new) = (move_.uid.clone(), format!("new-{second}"));
            stage.tables.pods.apply(Event::Delete(old.clone()), |uid| (uid, None));
            place(&mut stage, &new, "a1");
            stage.read(second + 2);
            stage.at(second + 2);
            // Somebody else brings it back at once.
            stage.tables.pods.apply(Event::Delete(format!("uid-{new}")), |uid| (uid, None));
            place(&mut stage, &format!("back-{second}"), "b1");
        }
        second += 5;
    }
    let pauses: Vec<_> = moved.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(pauses, [5, 5, 5, 5, 605, 1205], "{moved:?}");
    assert_eq!(told(&stage.at(4_000)), "held: back-1960 MovedBack");
}

#[test]
fn another_node_near_the_primary_gives_workloads_that_came_no_nearer_another_chance() {
    use kube::runtime::watcher::Event;
    let mut stage = Stage::after_a_failover(&world());
    let key = WorkloadKey {
        namespace: "shop".into(),
        kind: "ReplicaSet".into(),
        name: "web".into(),
        uid: "ReplicaSet/web".into(),
    };
    stage.memory.journal.useless = [(key, 2)].into();
    assert_eq!(told(&stage.at(131)), "held: web-1 UselessMoves, web-2 UselessMoves");
    let workload = WorkloadStatus {
        kind: "ReplicaSet".into(),
        namespace: "shop".into(),
        name: "web".into(),
        uid: "ReplicaSet/web".into(),
    };
    stage.status.useless = vec![UselessStatus { workload, moves: 2 }];
    let mut heir = Stage { memory: Memory::restored(&stage.status, moment(132)), ..stage.clone() };
    let first = heir.at(132);
    assert_eq!(heir.memory.journal.useless.len(), 1, "the first look says nothing of what is new: {}", told(&first));

    stage.tables.nodes.apply(Event::Apply(node("a3").bearing(Some("closely"))), |it| (it.name.clone(), Some(it)));
    let mut looks = (133..150).map(|second| {
        stage.read(second);
        told(&stage.at(second))
    });
    assert!(looks.any(|told| told.contains("moves: web-1")), "it may be what they lacked");
}

/// An operator, or whoever applies from Git, takes back what it doesn't know.
#[test]
fn a_workload_whose_restarts_are_taken_back_is_left_alone_and_one_whose_restarts_never_came_is_not() {
    let restarted = |accepted: bool| {
        let replica = |name: &str, node: &str| pod(name).on(node).owned_by("ReplicaSet/web-1").moved_by("restart");
        let world = World::with_nodes("a1=far a2=far b1=closely b2=closely")
            .workload("Deployment/web", 2)
            .workload("ReplicaSet/web-1", 2)
            .under("ReplicaSet/web-1", "web")
            .pod(replica("web-1", "b1"))
            .pod(replica("web-2", "b2"));
        let mut stage = Stage::after_a_failover(&world);
        let looks = [131, 161, 191, 221].map(|second| {
            stage.read(second);
            let decided = stage.at(second);
            for move_ in decided.plan.moves.iter().filter(|_| accepted) {
                assert_eq!(move_.way, Way::Restart);
                stage.memory.note_accepted_move(move_);
            }
            told(&decided)
        });
        looks.map(|told| told.split("; held: web-2").next().unwrap_or_default().to_owned())
    };
    let left_alone = "held: web-1 UselessMoves, web-2 UselessMoves";
    assert_eq!(
        restarted(true),
        [
            "moves: web-1 b1→a1",
            "ends: web-1 reverted; moves: web-1 b1→a1",
            &format!("ends: web-1 reverted; {left_alone}"),
            &format!("{left_alone}; over")
        ]
    );
    let again = "ends: web-1 not_carried_out; moves: web-1 b1→a1";
    assert_eq!(restarted(false), ["moves: web-1 b1→a1", again, again, again]);
}

#[test]
fn what_nothing_speaks_against_is_not_looked_at_again_and_what_does_is() {
    let mut stage = Stage::new(&world()).primary("pg2", 0);
    let _ = stage.at(0);
    let looked = |stage: &Stage| (stage.memory.looked.is_some(), stage.memory.compared.is_some());
    assert_eq!((told(&stage.at(40)).as_str(), looked(&stage)), ("over", (true, true)));
    // Readings that say the same are none that change anything, a node that somebody writes to is looked at.
    stage.read(50);
    assert_eq!((told(&stage.at(50)).as_str(), looked(&stage)), ("", (true, true)));
    let strange = stage.tables.nodes.get("a1").unwrap().clone().bearing(Some("closely"));
    stage.tables.nodes.apply(kube::runtime::watcher::Event::Apply(strange), |it| (it.name.clone(), Some(it)));
    let seen = stage.at(51);
    assert_eq!(told(&seen), "labels: a1 far; gate: LabelsPending");
    assert_eq!(seen.overwritten.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a1: far became closely"]);
    stage.label(&seen);
    assert_eq!(told(&stage.at(52)), "");
    // A reading counts when it has been the same often enough, also if nothing else is news meanwhile.
    stage.read_node("a1", [20_000, 300], 53);
    let then: Vec<String> = (53..60).map(|second| told(&stage.at(second))).collect();
    assert_eq!(then.iter().position(|told| told.contains("labels: a1 closely")), Some(2), "{then:?}");
    // And when it is too old, it counts no more.
    let mut silent = Stage::new(&world()).primary("pg2", 0);
    let gates: Vec<_> = [0, 40, 180, 181].map(|second| silent.at(second).gate.is_some()).into();
    assert_eq!(gates, [true, false, false, true]);
}
