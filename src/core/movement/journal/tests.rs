use lab::table::check_rows;

use super::*;
use crate::core::{
    movement::workloads::workload_of,
    testing::{World, at, instant, moment, pod, underway},
    workload::{Owner, Pod},
};

mod several;

const LABEL: &str = "switchover";

fn journal() -> Journal {
    let underway = Underway { pod: "old".into(), uid: "uid-old".into(), ..underway("ReplicaSet/web", 100) };
    Journal { underway: vec![underway], ..Journal::default() }
}

fn world() -> World {
    World::with_nodes("a1=closely b1=far").workload("ReplicaSet/web", 1)
}

/// What a look at this second ends, where replacements may take 300 s.
fn settle(journal: &mut Journal, world: &World, second: i64) -> Vec<Outcome> {
    look(journal, world, second).outcomes
}

fn look(journal: &mut Journal, world: &World, second: i64) -> Settled {
    journal.settle(&look_at(world, second))
}

fn look_at(world: &World, second: i64) -> Look<'_> {
    Look {
        snapshot: world.snapshot(),
        tiers: &world.tiers,
        node_label: LABEL,
        restart_series: "default/2",
        timeout: Duration::from_secs(300),
        now: moment(second),
    }
}

#[test]
fn a_move_ends_when_its_replacement_is_ready() {
    let old = || pod("old").on("b1").owned_by("ReplicaSet/web");
    let new = |node| pod("new").on(node).owned_by("ReplicaSet/web").created(101);
    let rows = [
        ("evicted a moment ago, not seen yet", world().pod(old()), 101, None),
        ("never evicted", world().pod(old()), 130, Some(End::NotCarriedOut)),
        ("on its way out", world().pod(old().terminating()), 105, None),
        ("gone, nothing there yet", world(), 105, None),
        ("the replacement is Pending", world().pod(old().terminating()).pod(new("a1").unready()), 105, None),
        (
            "the replacement is Ready",
            world().pod(old().terminating()).pod(new("a1")),
            105,
            Some(End::Moved { to: "a1".into() }),
        ),
        (
            "the replacement is no nearer",
            world().pod(new("b1").preferring(LABEL)),
            105,
            Some(End::Useless { to: "b1".into() }),
        ),
        (
            "nothing drew it nearer",
            world().pod(new("b1")),
            105,
            Some(End::Missed { way: Way::Evict, to: "b1".into(), pod: "new".into(), uid: "uid-new".into() }),
        ),
        (
            "another replica is still missing, as when it was scaled up",
            world().workload("ReplicaSet/web", 2).pod(new("a1")),
            105,
            Some(End::Moved { to: "a1".into() }),
        ),
        ("scaled to nothing", world().workload("ReplicaSet/web", 0).pod(old().terminating()), 105, Some(End::Gone)),
        ("the workload is gone", World::with_nodes("a1=closely b1=far"), 130, Some(End::Gone)),
    ];
    check_rows(rows, |(what, world, second, expected)| {
        let mut journal = journal();
        let outcomes = settle(&mut journal, &world, second);
        assert_eq!(outcomes.first().map(|outcome| outcome.end.clone()), expected, "{what}");
        assert_eq!(journal.underway.is_empty(), expected.is_some(), "{what}");
    });
}

#[test]
fn a_restart_ends_when_its_pod_has_been_replaced() {
    let marked = |mut pod: Pod| {
        pod.restarted_for = Some("default/2".into());
        pod
    };
    let old = || pod("old").on("b1").owned_by("StatefulSet/web").created(0);
    let new = |second| marked(pod("new").on("a1").owned_by("StatefulSet/web").created(second));
    let of = |replicas, mark: Option<&str>| {
        let world = World::with_nodes("a1=closely b1=far").workload("StatefulSet/web", replicas);
        world.changed("StatefulSet/web", |it| it.restarted_for = mark.map(str::to_owned))
    };
    const ACCEPTED: bool = true;
    let (one, two) = (|| of(1, Some("default/2")), || of(2, Some("default/2")));
    let rows = [
        ("a moment ago, nothing done yet", ACCEPTED, of(1, None).pod(old()), 105, None),
        ("never begun", ACCEPTED, one().pod(old()), 130, Some(End::NotCarriedOut)),
        ("taken back", ACCEPTED, of(1, None).pod(old()), 130, Some(End::Reverted)),
        ("another database's", ACCEPTED, of(1, Some("orders/2")).pod(old()), 130, Some(End::Reverted)),
        ("never sent, or without an answer", !ACCEPTED, of(1, None).pod(old()), 130, Some(End::NotCarriedOut)),
        ("without an answer a moment ago", !ACCEPTED, of(1, None).pod(old()), 129, None),
        ("without an answer, but done", !ACCEPTED, one().pod(new(101)), 105, Some(End::Moved { to: "a1".into() })),
        ("new pods, old ones still there", ACCEPTED, two().pod(old()).pod(new(101)), 900, None),
        (
            "another pod came meanwhile",
            ACCEPTED,
            two().pod(old()).pod(pod("x").on("a1").owned_by("StatefulSet/web").created(101)),
            130,
            Some(End::NotCarriedOut),
        ),
        (
            "being rolled out",
            ACCEPTED,
            two().changed("StatefulSet/web", |it| it.rolling = true).pod(new(101)).pod(new(102)),
            130,
            None,
        ),
        ("replaced", ACCEPTED, one().pod(old().terminating()).pod(new(101)), 105, Some(End::Moved { to: "a1".into() })),
        (
            "replaced, by a leader whose clock is ahead",
            ACCEPTED,
            one().pod(new(41)),
            105,
            Some(End::Moved { to: "a1".into() }),
        ),
    ];
    check_rows(rows, |(what, accepted, world, second, expected)| {
        let mut journal = journal();
        journal.underway[0].way = Ok(Way::Restart);
        journal.underway[0].trace.accepted = accepted;
        (journal.underway[0].workload.kind, journal.underway[0].workload.uid) =
            ("StatefulSet".into(), "StatefulSet/web".into());
        let settled = look(&mut journal, &world, second);
        assert_eq!(settled.outcomes.first().map(|outcome| outcome.end.clone()), expected, "{what}");
        let reverted = u32::from(expected == Some(End::Reverted));
        let useless = journal.useless.values().sum::<u32>();
        assert_eq!(useless, reverted, "{what}: what is taken back was useless");
        assert!(second > 300 || settled.evidence.failed == reverted, "{what}: and bodes ill");
        let tried = !matches!(expected, None | Some(End::NotCarriedOut));
        assert_eq!(journal.restarts.len(), usize::from(tried), "{what}: it counts as a restart");
    });
}

#[test]
fn a_restart_of_a_deployment_ends_when_no_old_pod_serves_beside_the_new_ones() {
    let of = |name: &str, node: &str| pod(name).on(node).owned_by("ReplicaSet/new").created(101);
    let new = |name| {
        let mut pod = of(name, "a1");
        pod.restarted_for = Some("default/2".into());
        pod
    };
    let world = || {
        let world = World::with_nodes("a1=closely b1=far").workload("Deployment/web", 2);
        let world = world.changed("Deployment/web", |it| it.restarted_for = Some("default/2".into()));
        // The old ReplicaSet wants nobody any more, and its last pod hasn't heard of that.
        world.workload("ReplicaSet/new", 2).under("ReplicaSet/new", "web").pod(new("new-1"))
    };
    let rows = [
        ("an old pod serves", world().pod(of("last", "b1")), None),
        (
            "it ends",
            world().pod(new("new-2")).pod(of("last", "b1").terminating()),
            Some(End::Moved { to: "a1".into() }),
        ),
    ];
    check_rows(rows, |(what, world, expected)| {
        let mut journal = journal();
        journal.underway[0].way = Ok(Way::Restart);
        (journal.underway[0].workload.kind, journal.underway[0].workload.uid) =
            ("Deployment".into(), "Deployment/web".into());
        journal.underway[0].pods = 2;
        let outcomes = settle(&mut journal, &world, 105);
        assert_eq!(outcomes.first().map(|outcome| outcome.end.clone()), expected, "{what}");
        assert_eq!(journal.moved, if expected.is_some() { 2 } else { 0 }, "{what}");
    });
}

/// Pods of a Rollout bear no mark, because its template has none: those are new that are younger than its `restartAt`.
#[test]
fn a_restart_of_a_rollout_ends_when_it_says_so() {
    let of = |name: &str, node: &str, second: i64| pod(name).on(node).owned_by("ReplicaSet/web").created(second);
    let world = |mark: Option<&str>, rolling: bool| {
        let above = Owner { kind: "Rollout".into(), uid: "Rollout/web".into(), name: "web".into(), ..Owner::default() };
        World::with_nodes("a1=closely b1=far")
            .workload("ReplicaSet/web", 2)
            .changed("ReplicaSet/web", |it| it.owner = Some(above))
            .workload("Rollout/web", 2)
            .changed("Rollout/web", |it| {
                (it.restarted_for, it.rolling) = (mark.map(str::to_owned), rolling);
                it.restart_at = mark.map(|_| crate::core::testing::at(99));
            })
    };
    let mark = Some("default/2");
    let new = |world: World| world.pod(of("new-1", "a1", 101)).pod(of("new-2", "a1", 104));
    let old = |world: World| world.pod(of("old", "b1", 0)).pod(of("other", "b1", 0));
    let rows = [
        ("its answer is older", new(world(None, false)), 105, None),
        ("nobody knows of it any more", new(world(None, false)), 130, Some(End::Moved { to: "a1".into() })),
        ("it is at it", new(world(mark, true)), 105, None),
        ("it has said that it is over", new(world(mark, false)), 105, Some(End::Moved { to: "a1".into() })),
        ("it hasn't begun", old(world(mark, true)), 130, None),
        ("it has come to an end without it", old(world(mark, false)), 130, Some(End::NotCarriedOut)),
        ("somebody took it back", old(world(None, false)), 130, Some(End::Reverted)),
    ];
    check_rows(rows, |(what, world, second, expected)| {
        let mut journal = journal();
        let move_ = &mut journal.underway[0];
        (move_.way, move_.trace.accepted) = (Ok(Way::Restart), true);
        (move_.workload.kind, move_.workload.uid) = ("Rollout".into(), "Rollout/web".into());
        move_.uid = "uid-old".into();
        let outcomes = settle(&mut journal, &world, second);
        assert_eq!(outcomes.first().map(|outcome| outcome.end.clone()), expected, "{what}");
    });
}

#[test]
fn a_clock_that_jumps_ends_no_move() {
    let old = || pod("old").on("b1").owned_by("ReplicaSet/web");
    let unmeasured = || pod("new").on("n9").owned_by("ReplicaSet/web").created(101).preferring(LABEL);
    let granted_a_moment_ago = world().pod(old());
    let no_reading_yet =
        World::with_nodes("a1=closely b1=far n9=unknown").workload("ReplicaSet/web", 1).pod(unmeasured());
    for (what, world) in [("granted a moment ago", granted_a_moment_ago), ("not measured yet", no_reading_yet)] {
        for hours in [-2, 1, 14] {
            let mut journal = journal();
            let now = Moment { instant: instant(101), wall: at(101 + hours * 3600) };
            let look = Look { now, ..look_at(&world, 101) };
            assert_eq!(journal.settle(&look).outcomes, [], "{what}, {hours} h");
        }
    }
}

#[test]
fn a_move_is_overdue_when_this_process_has_waited_for_it_for_too_long() {
    let timeout = Duration::from_secs(300);
    let day = 24 * 3600;
    // The last leader began it at 100 s, by its own clock.
    let rows = [
        ("begun here, in time", 100, 400, 400, 0),
        ("begun here, too late", 100, 401, 401, 1),
        ("our clock jumped", 100, 400, 100 + day, 0),
        ("read a moment ago", 1000, 1010, 1010, 0),
        ("read, and waited for", 1000, 1301, 1301, 1),
        ("read by a leader whose clock is ahead", 1000, 1010, 1010 + day / 2, 0),
        ("who has waited for it", 1000, 1301, 1301 + day / 2, 1),
        ("read by a leader whose clock is behind", 1000, 1300, -300, 0),
        ("who has waited for it, too", 1000, 1301, -299, 1),
        ("no leader lived for long enough, for a day", 1000, 1010, 401 + day, 1),
    ];
    check_rows(rows, |(what, read, now, by_our_clock, expected)| {
        let mut journal = journal();
        journal.underway[0].since = instant(read);
        assert_eq!(
            journal.overdue(timeout, Moment { instant: instant(now), wall: at(by_our_clock) }).count(),
            expected,
            "{what}"
        );
    });
    assert_eq!(journal().underway[0].age(at(-300)), Duration::ZERO);
}

#[test]
fn ends_are_counted() {
    let new = |node| pod("new").on(node).owned_by("ReplicaSet/web").created(101);
    for (replacement, expected) in [
        (new("a1"), (1, 0)),
        (new("b1").preferring(LABEL), (0, 1)),
        (new("b1"), (0, 0)),
        (new("b1").preferring("other"), (0, 0)),
    ] {
        let (mut journal, world) = (journal(), world().pod(replacement));
        settle(&mut journal, &world, 105);
        assert_eq!((journal.moved, journal.useless.len()), expected);
    }
    let mut journal = self::journal();
    for (second, times) in [(101, 1), (201, 2)] {
        let new = pod(&format!("new-{second}")).on("b1").owned_by("ReplicaSet/web").created(second);
        let world = world().pod(new);
        journal.underway = self::journal().underway;
        settle(&mut journal, &world, second + 4);
        let missed: Vec<_> = journal.missed.values().copied().collect();
        assert_eq!(missed, [Missed { times, last: at(second) }]);
    }
}

#[test]
fn an_overdue_move_stays_under_way_and_counts_as_failed() {
    let mut journal = journal();
    let world = world().pod(pod("new").on("a1").owned_by("ReplicaSet/web").unready());
    assert!(settle(&mut journal, &world, 500).is_empty());
    assert_eq!(journal.failures(Duration::from_secs(300), moment(500)).count(), 1);
    // So it stays, whoever looks at it and whenever.
    assert_eq!(journal.failures(Duration::from_secs(300), moment(101)).count(), 1);
}

/// The same move, begun by a version that knows another way.
fn unknown() -> Journal {
    let mut journal = journal();
    journal.underway[0].way = Err(UnknownWay("Surge".into()));
    journal
}

#[test]
fn a_move_by_an_unknown_way_ends_when_its_pod_has_gone_and_its_workload_is_whole() {
    let old = || pod("old").on("b1").owned_by("ReplicaSet/web").created(0);
    let new = |node| pod("new").on(node).owned_by("ReplicaSet/web").created(101);
    let strange = |pod: Pod| World::with_nodes("a1=closely b1=far").pod(pod);
    for (what, world, second, expected) in [
        ("untouched, a moment ago", world().pod(old()), 105, None),
        ("untouched, long ago", world().pod(old()), 100_000, None),
        ("a second pod surges", world().pod(old()).pod(new("a1")), 130, None),
        ("on its way out", world().pod(old().terminating()).pod(new("a1")), 130, None),
        ("gone, nothing there yet", world(), 130, None),
        ("gone, and the next one is Pending", world().pod(new("a1").unready()), 130, None),
        ("replaced", world().pod(new("a1")), 130, Some(End::Unjudged)),
        ("replaced where it was", world().pod(new("b1").preferring(LABEL)), 130, Some(End::Unjudged)),
        ("scaled to nothing", world().workload("ReplicaSet/web", 0).pod(new("a1")), 130, Some(End::Gone)),
        ("the workload is gone", World::with_nodes("a1=closely b1=far"), 130, Some(End::Gone)),
    ] {
        let mut journal = unknown();
        let outcomes = settle(&mut journal, &world, second);
        assert_eq!(outcomes.first().map(|outcome| outcome.end.clone()), expected, "{what}");
        assert_eq!(journal.underway.is_empty(), expected.is_some(), "{what}");
        assert_eq!((journal.moved, journal.useless.len()), (0, 0), "{what}");
    }
    // Of a kind whose replicas nobody here counts.
    for (world, expected) in [
        (strange(pod("old").on("b1").owned_by("Cluster/pg")), None),
        (strange(pod("new").on("b1").owned_by("Cluster/pg")), Some(End::Unjudged)),
    ] {
        let mut journal = unknown();
        journal.underway[0].workload = workload_of(world.snapshot(), world.pods.values().next().unwrap()).unwrap();
        let outcomes = settle(&mut journal, &world, 130);
        assert_eq!(outcomes.first().map(|outcome| outcome.end.clone()), expected);
    }
}

#[test]
fn a_move_by_an_unknown_way_is_no_failure_however_long_it_takes() {
    assert_eq!(unknown().overdue(Duration::from_secs(300), moment(1_000_000)).count(), 0);
}

#[test]
fn another_primary_forgets_what_moves_brought_and_none_that_is_under_way() {
    let mut journal = journal();
    (journal.moved, journal.useless) = (3, [(journal.underway[0].workload.clone(), 1)].into());
    journal.begin_anew();
    assert_eq!((journal.moved, journal.useless.len(), journal.underway.len()), (0, 0, 1));
    // It is over as any other one, and judged by nobody: it was to be near another primary.
    let new = |node| pod("new").on(node).owned_by("ReplicaSet/web").created(101);
    assert_eq!(settle(&mut journal, &world().pod(new("a1").unready()), 105), []);
    let ends: Vec<_> = settle(&mut journal, &world().pod(new("b1")), 106).into_iter().map(|it| it.end).collect();
    assert_eq!((ends, journal.moved), (vec![End::Unjudged], 0));
}

#[test]
fn metrics_know_these_ends() {
    assert_eq!(
        End::NAMES,
        ["moved", "useless", "missed", "not_carried_out", "reverted", "workload_gone", "not_replaced", "unjudged"]
    );
    assert_eq!((End::NotCarriedOut.name(), End::Gone.name()), ("not_carried_out", "workload_gone"));
}
