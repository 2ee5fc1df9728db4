use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::*;
use crate::{
    core::{
        movement::{
            held::HeldReason,
            journal::{UNTOUCHED, Underway},
            ledger::Others,
            plan::Held,
        },
        testing::{World, at, instant, moment, pod, underway},
    },
    evaluate::testing::{Stage, told, view},
};

fn member(name: &str, host: &str) -> MemberStatus {
    MemberStatus { name: name.into(), host: host.into(), port: 5432, api_url: None }
}

#[test]
fn a_primary_that_nobody_lists_does_not_have_the_host_of_the_last_one() {
    let (listed, others) = ([member("pg2", "10.2.0.1")], [member("pg1", "10.1.0.1")]);
    for (what, before, members, expected) in [
        ("listed", ("pg2", "10.2.0.9"), &listed[..], Some("10.2.0.1")),
        ("not listed any more", ("pg2", "10.2.0.9"), &others, Some("10.2.0.9")),
        ("new and listed", ("pg1", "10.1.0.1"), &listed, Some("10.2.0.1")),
        ("new and not listed", ("pg1", "10.1.0.1"), &others, None),
    ] {
        let mut memory =
            Memory { primary: Some(before.0.into()), primary_host: Some(before.1.into()), ..Memory::default() };
        memory.follow(&view(&["pg2"], false, 1, 0), members, instant(0));
        assert_eq!(memory.primary_host.as_deref(), expected, "{what}");
    }
}

#[test]
fn a_restart_counts_from_when_the_primary_was_known_and_free() {
    let status = |conditions: &[(&str, &str, i64)]| DatabaseClusterStatus {
        since: Some(at(100)),
        conditions: conditions
            .iter()
            .map(|(type_, status, s)| Condition {
                type_: (*type_).to_owned(),
                status: (*status).to_owned(),
                reason: String::new(),
                message: String::new(),
                last_transition_time: Time(at(*s)),
                observed_generation: None,
            })
            .collect(),
        ..DatabaseClusterStatus::default()
    };
    for (conditions, expected) in [
        (&[][..], Some(100)),
        (&[("PrimaryKnown", "True", 50), ("Frozen", "False", 60)], Some(100)),
        (&[("PrimaryKnown", "True", 150), ("Frozen", "False", 60)], Some(150)),
        (&[("PrimaryKnown", "True", 150), ("Frozen", "False", 170)], Some(170)),
        (&[("PrimaryKnown", "True", 150), ("Frozen", "True", 170)], None),
        (&[("PrimaryKnown", "False", 150)], None),
    ] {
        let credit = Memory::restored(&status(conditions), moment(1_000)).credit;
        let expected = expected.map(|since| Duration::from_secs(1_000 - since - 60));
        assert_eq!(credit, expected, "{conditions:?}");
    }
    assert_eq!(Memory::restored(&DatabaseClusterStatus::default(), moment(0)).credit, None);
    let ahead = Memory::restored(&status(&[]), moment(50)).credit;
    assert_eq!(ahead, None, "the last leader's clock is ahead");
    let own = Memory::restored(&status(&[]), moment(159)).credit;
    assert_eq!(
        own,
        Some(Duration::ZERO),
        "this one's may be, so that a primary of this moment seems to have held for a minute"
    );
}

/// A replica on a node that is far once the primary has moved to zone a.
fn world() -> World {
    World::with_nodes("a1=far b1=closely")
        .workload("ReplicaSet/web", 1)
        .pod(pod("web-1").on("b1").owned_by("ReplicaSet/web").moved_by("evict"))
}

#[test]
fn a_move_that_waits_for_its_turn_or_an_answer_is_not_taken_for_one_that_was_never_carried_out() {
    let begun = |second: i64| {
        let mut memory = Memory::default();
        memory.journal.underway = vec![Underway { uid: "uid-web-1".into(), ..underway("ReplicaSet/web", second) }];
        memory
    };
    let asked = BTreeSet::from(["uid-web-1".to_owned()]);
    for (answered, ends_at) in [(100, 130), (125, 155), (190, 220)] {
        let mut memory = begun(100);
        memory.note_asked(&asked, instant(answered));
        let over = |second| instant(second).saturating_duration_since(memory.journal.underway[0].found) >= UNTOUCHED;
        assert_eq!((over(ends_at - 1), over(ends_at)), (false, true), "answered at {answered}");
    }
    let mut memory = begun(100);
    memory.note_asked(&BTreeSet::from(["uid-of-another".to_owned()]), instant(190));
    assert_eq!(memory.journal.underway[0].found, instant(100), "another's answer");
}

#[test]
fn a_new_epoch_begins_without_credit_and_knows_what_is_under_way() {
    let full = || {
        let mut stage = Stage::after_a_failover(&world());
        assert_eq!(told(&stage.at(131)), "moves: web-1 b1→a1");
        stage.memory.backoffs.add("uid-web-9", HeldReason::Backoff("no".into()), MOVE_REFUSED, instant(131));
        stage.memory.note_written("a1", Some(Refusal { why: "no".into(), answered: true }), instant(131));
        stage.memory.credit = Some(Duration::from_secs(9));
        stage.memory
    };
    let what = |memory: &Memory| {
        (
            memory.journal.underway.len(),
            memory.refused.last("a1").is_some(),
            memory.backoffs.last("uid-web-9").is_some(),
            (memory.relabelling, memory.at_once),
            memory.credit.is_some(),
        )
    };
    let members = [member("pg1", "10.0.0.1"), member("pg2", "10.0.0.2")];
    for (told, view, expected) in [
        ("the same primary", view(&["pg1"], false, 2, 100), (1, true, true, (false, false), true)),
        ("nobody for a moment", view(&[], false, 2, 140), (1, true, true, (false, false), false)),
        ("the same, frozen", view(&["pg1"], true, 2, 140), (1, true, true, (false, false), false)),
        ("another one", view(&["pg2"], false, 3, 140), (1, false, false, (true, true), false)),
        ("the same one, promoted anew", view(&["pg1"], false, 3, 140), (1, false, false, (true, true), false)),
    ] {
        let mut memory = full();
        memory.follow(&view, &members, instant(0));
        assert_eq!(what(&memory), expected, "{told}");
    }
    let mut first = Memory::default();
    first.follow(&view(&["pg1"], false, 1, 0), &members, instant(0));
    assert_eq!((first.relabelling, first.at_once), (true, false), "the first labels wait until the agents are up");
}

#[test]
fn the_movement_is_called_over_once_and_again_after_further_moves() {
    let stage = Stage::new(&World::with_nodes("a1=closely b1=far")).primary("pg1", 0);
    let held = |reason| Plan {
        held: vec![Held { namespace: "shop".into(), pod: "web-1".into(), uid: "1".into(), node: "b1".into(), reason }],
        ..Plan::default()
    };
    let (nothing, left_behind) = (Plan::default(), held(HeldReason::Never));
    let waiting = held(HeldReason::OneAtATime);
    let (status, object, tables, view) =
        (stage.status.clone(), stage.object.clone(), stage.tables.clone(), stage.view.clone());
    let facts = |moved_at| {
        let mut status = status.clone();
        status.failovers[0].moved_at = moved_at;
        status
    };
    let ask = |memory: &mut Memory, gate: Option<&Gate>, plan: &Plan, moved_at: Option<i64>, second: i64| {
        let status = facts(moved_at.map(at));
        let facts = Facts {
            object: &object,
            tables: &tables,
            stale: None,
            own_namespace: "switchover-system",
            view: &view,
            members: &[],
            status: &status,
            others: &Others::default(),
            confirm_every: Duration::from_secs(1),
        };
        let mut stays = crate::evaluate::stays::by_workload(plan, tables.snapshot());
        memory.note_waiting(&facts, &mut stays, instant(second));
        memory.is_over(&facts, gate, (plan, &stays), &[], instant(second))
    };
    let mut memory = Memory::default();
    assert!(!ask(&mut memory, Some(&Gate::Paused), &nothing, None, 0), "nobody looked");
    assert!(!ask(&mut memory, None, &waiting, None, 1), "one waits for its turn");
    assert!(!ask(&mut memory, None, &left_behind, None, 2), "a budget may lag behind its pods");
    assert!(!ask(&mut memory, None, &left_behind, None, 6));
    assert!(ask(&mut memory, None, &left_behind, None, 7), "nothing has been left to do for a while");
    assert!(!ask(&mut memory, None, &left_behind, Some(7), 8), "that was said");
    memory.ended_some = true;
    assert!(ask(&mut memory, None, &nothing, Some(7), 9), "pods have moved since");
    assert!(!ask(&mut memory, None, &nothing, Some(9), 10));

    // What passes by itself is waited for as long as a replacement is.
    let (mut memory, hanging) = (Memory::default(), held(HeldReason::Rollout));
    for second in [0, 100, 299, 300, 304] {
        assert!(!ask(&mut memory, None, &hanging, None, second), "{second} s: it may go on");
    }
    assert!(ask(&mut memory, None, &hanging, None, 305), "it hangs");
    assert!(!ask(&mut memory, None, &hanging, Some(305), 306), "that was said");
    // A replacement that isn't Ready in time is waited for as long again.
    let mut memory = Memory::default();
    memory.journal.underway = vec![underway("ReplicaSet/web", 0)];
    memory.journal.underway[0].trace.failed = true;
    assert!(!ask(&mut memory, None, &nothing, None, 600), "it may still become Ready");
    assert!(ask(&mut memory, None, &nothing, None, 601), "it fails for ever");
}

#[test]
fn refused_and_forgotten_moves_are_not_under_way() {
    let mut stage = Stage::after_a_failover(&world());
    let decided = stage.at(131);
    assert_eq!(told(&decided), "moves: web-1 b1→a1");
    assert!(stage.memory.busy());
    stage.memory.note_refused_move(&decided.plan.moves[0], false, "not now".into(), instant(131));
    assert_eq!(told(&stage.at(132)), "held: web-1 Backoff");
    assert_eq!(told(&stage.at(133)), "moves: web-1 b1→a1", "it is tried again");
    stage.memory.forget_move("uid-web-1");
    assert!(!stage.memory.busy());
}
