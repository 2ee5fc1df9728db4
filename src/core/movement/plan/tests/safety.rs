//! What must not be moved, or not now: restarts that end too much, moves that bring nothing, pods of which there is no second one.

use super::*;
use crate::core::{movement::journal::Missed, workload::Strategy};

/// Ten replicas of a Deployment, nine near and one far; the near node takes so many pods.
fn nine_of_ten_near(pods: u64) -> World {
    let mut a1 = node("a1").bearing(Some("closely"));
    (a1.pods, a1.allocatable.cpu_m) = (pods, 10_000);
    let world = World::with_nodes("a1=closely b1=far")
        .node(a1)
        .workload("Deployment/web", 10)
        .workload("ReplicaSet/web", 10)
        .under("ReplicaSet/web", "web")
        .changed("Deployment/web", |it| it.strategy = Strategy::Rolling { surge: 3, unavailable: 2 });
    let replica = |n: u32| pod(&format!("web-{n}")).on(if n == 0 { "b1" } else { "a1" }).owned_by("ReplicaSet/web");
    (0..10).map(replica).fold(world, World::pod)
}

#[test]
fn a_restart_needs_room_near_the_primary_for_all_that_it_starts() {
    for (pods, expected) in
        [(10, "moves: ; held: web-0 NoRoom"), (12, "moves: ; held: web-0 NoRoom"), (13, "moves: web-0 b1→a1; held: ")]
    {
        let case = Case { mode: MoveMode::Restart, ..nine_of_ten_near(pods).into() };
        assert_eq!(case.told(), expected, "{pods} pods fit");
    }
    // Whoever finds no room takes none from others.
    let other = pod("x").on("b1").owned_by("ReplicaSet/x");
    let case = Case { mode: MoveMode::Restart, ..nine_of_ten_near(12).into() };
    let world = case
        .world
        .clone()
        .workload("ReplicaSet/x", 2)
        .pod(other.clone())
        .pod(pod("y").on("a1").owned_by("ReplicaSet/x"));
    let mode = |pod: &Pod| if pod.name == "x" { MoveMode::Evict } else { MoveMode::Restart };
    let followers: Vec<_> = world.pods.values().map(|pod| Follower::of(pod, mode(pod), &world.tiers)).collect();
    let plan = case.plan_for(&world, &followers);
    assert_eq!(plan.moves.iter().map(|move_| &*move_.pod).collect::<Vec<_>>(), ["x"]);
}

#[test]
fn a_restart_that_lets_pods_be_away_asks_their_budgets() {
    let told = |strategy, allowed| {
        let world = two_far().workload("Deployment/web", 2).under("ReplicaSet/web", "web");
        let world = world.changed("Deployment/web", |it| it.strategy = strategy).budget("pdb", "web", allowed);
        Case { mode: MoveMode::Restart, ..world.into() }.told()
    };
    let moved = "moves: web-1 b1→a1; held: web-2 OneAtATime";
    let held = "moves: ; held: web-1 NoDisruptionBudget, web-2 NoDisruptionBudget";
    assert_eq!(told(Strategy::Rolling { surge: 1, unavailable: 0 }, 0), moved, "new pods come first");
    assert_eq!(told(Strategy::Rolling { surge: 1, unavailable: 1 }, 0), held);
    assert_eq!(told(Strategy::Rolling { surge: 1, unavailable: 1 }, 1), moved);
    let set = |allowed| {
        let member = |name| pod(name).on("b1").owned_by("StatefulSet/web");
        let world = World::with_nodes("a1=closely b1=far").workload("StatefulSet/web", 2);
        let world = world.pod(member("web-1")).pod(member("web-2")).budget("pdb", "web", allowed);
        Case { mode: MoveMode::Restart, ..world.into() }.told()
    };
    assert_eq!((set(0).as_str(), set(1).as_str()), (held, moved), "a StatefulSet ends each pod first");
}

#[test]
fn two_databases_do_not_restart_a_workload_in_turn_for_ever() {
    let told = |restarts: u32| {
        let world = two_far().workload("Deployment/web", 2).under("ReplicaSet/web", "web");
        let world = world.changed("Deployment/web", |it| it.restarted_for = Some("orders/7".into()));
        let restarts = [(underway("Deployment/web", 0).workload, restarts)].into();
        let journal = Journal { restarts, ..Journal::default() };
        Case { mode: MoveMode::Restart, journal, ..world.into() }.told()
    };
    assert_eq!(told(1), "moves: web-1 b1→a1; held: web-2 OneAtATime");
    assert_eq!(told(2), "moves: ; held: web-1 RestartedBefore, web-2 RestartedBefore");
}

#[test]
fn whoever_asks_for_eviction_after_a_restart_in_vain_has_it() {
    let world = two_far().workload("Deployment/web", 2).under("ReplicaSet/web", "web");
    let world = world.changed("Deployment/web", |it| it.restarted_for = Some("default/2".into()));
    assert_eq!(Case::from(world).told(), "moves: web-1 b1→a1; held: web-2 OneAtATime");
}

#[test]
fn pods_that_admission_leaves_alone_by_their_namespace_stay() {
    let case = Case::from(two_far());
    let left_alone = |pod| Follower {
        left_alone: Some("pods of kube-system are left alone".into()),
        ..Follower::of(pod, MoveMode::Auto, &case.world.tiers)
    };
    let followers: Vec<_> = case.world.pods.values().map(|pod| left_alone(pod)).collect();
    let plan = case.plan_for(&case.world, &followers);
    let held: Vec<_> = plan.held.iter().map(|held| held.reason.to_string()).collect();
    let told = "pods of kube-system are left alone, so nothing would draw its replacement nearer";
    assert_eq!((plan.moves.len(), held), (0, vec![told.to_owned(); 2]));
}

#[test]
fn a_failed_replacement_gives_its_place_to_others_until_too_many_have_failed() {
    let failed = |names: &[&str]| {
        let underway = names.iter().map(|name| underway(&format!("ReplicaSet/{name}"), -300)).collect();
        let rules = Rules { max_concurrent: 1, ..RULES };
        Case { rules, journal: Journal { underway, ..Journal::default() }, ..two_far().into() }.told()
    };
    assert_eq!(failed(&["x"]), "moves: web-1 b1→a1; held: web-2 OneAtATime");
    assert_eq!(failed(&["x", "y"]), "moves: ; held: web-1 Halted, web-2 Halted");
    let underway = vec![underway("ReplicaSet/x", 0)];
    let rules = Rules { max_concurrent: 1, ..RULES };
    let case = Case { rules, journal: Journal { underway, ..Journal::default() }, ..two_far().into() };
    assert_eq!(case.told(), "moves: ; held: web-1 Concurrency, web-2 Concurrency", "in time");
}

#[test]
fn evictions_end_where_admission_is_known_to_inject_nobody() {
    let missed = |times: u32, injected: Option<(&str, i64)>| {
        let missed = [(underway("ReplicaSet/web", 0).workload, Missed { times, last: at(50) })].into();
        let mut world = two_far();
        if let Some((namespace, second)) = injected {
            let mut new = pod("new").on("a1").owned_by("ReplicaSet/new").created(second).preferring(LABEL);
            new.namespace = namespace.into();
            world = world.pod(new);
        }
        Case { journal: Journal { missed, ..Journal::default() }, ..world.into() }.told()
    };
    let (moved, held) =
        ("moves: web-1 b1→a1; held: web-2 OneAtATime", "moves: ; held: web-1 NeverInjected, web-2 NeverInjected");
    assert_eq!(missed(1, None), moved);
    assert_eq!(missed(2, None), held);
    assert_eq!(missed(2, Some(("shop", 50))), held, "that was before");
    assert_eq!(missed(2, Some(("elsewhere", 51))), moved, "the webhook is up");
    assert_eq!(missed(4, Some(("elsewhere", 51))), held, "but it isn't called for this namespace");
    assert_eq!(missed(4, Some(("shop", 51))), moved);
}

#[test]
fn what_people_expect_of_all_who_evict_holds_unless_the_pod_says_how_it_moves() {
    let marked = |pod: Pod| Pod { not_to_evict: Some("karpenter.sh/do-not-disrupt: \"true\"".into()), ..pod };
    let scratch = |pod: Pod| Pod { scratch: Some("data".into()), ..pod };
    let told = |set: &str, replicas: u32, change: &dyn Fn(Pod) -> Pod| {
        let world = World::with_nodes("a1=closely b1=far").workload(set, replicas);
        let replica = |n: u32| change(pod(&format!("web-{n}")).on("b1").owned_by(set));
        Case::from((1..=replicas).map(replica).fold(world, World::pod)).told()
    };
    let moves = "moves: web-1 b1→a1; held: web-2 OneAtATime";
    type Row<'r> = (&'r str, &'r str, u32, &'r dyn Fn(Pod) -> Pod, &'r str);
    let rows: [Row<'_>; 8] = [
        ("marked", "ReplicaSet/web", 2, &marked, "moves: ; held: web-1 DoNotEvict, web-2 DoNotEvict"),
        ("marked, and asked for", "ReplicaSet/web", 2, &|pod| marked(pod).moved_by("evict"), moves),
        (
            "marked, with a word that nobody knows",
            "ReplicaSet/web",
            1,
            &|pod| marked(pod).moved_by("yes"),
            "moves: ; held: web-1 DoNotEvict",
        ),
        ("scratch of many", "ReplicaSet/web", 2, &scratch, moves),
        ("scratch of one", "ReplicaSet/web", 1, &scratch, "moves: ; held: web-1 LocalData"),
        (
            "scratch of one, asked for",
            "ReplicaSet/web",
            1,
            &|pod| scratch(pod).moved_by("evict"),
            "moves: web-1 b1→a1; held: ",
        ),
        ("scratch of a StatefulSet", "StatefulSet/web", 2, &scratch, "moves: ; held: web-1 LocalData, web-2 LocalData"),
        ("scratch of a StatefulSet, asked for", "StatefulSet/web", 2, &|pod| scratch(pod).moved_by("auto"), moves),
    ];
    check_rows(rows, |(what, set, replicas, change, expected)| {
        assert_eq!(told(set, replicas, change), expected, "{what}");
    });
}

#[test]
fn a_planned_move_is_dropped_when_the_newest_picture_speaks_against_it() {
    let move_ = Case::from(two_far()).plan().moves.remove(0);
    let look = |world: World| still_safe(world.snapshot(), &move_, [], None);
    let mut gone = two_far();
    gone.pods.remove("uid-web-1");
    let rows = [
        ("nothing has changed", two_far(), Ok(())),
        ("it is gone", gone, Err("it is gone, or not where it was")),
        (
            "it is on its way out",
            two_far().pod(pod("web-1").on("b1").owned_by("ReplicaSet/web").terminating()),
            Err("it is gone, or not where it was"),
        ),
        (
            "another one crashed",
            two_far().pod(pod("web-2").on("b1").owned_by("ReplicaSet/web").unready()),
            Err("only 1 of 2 replicas of its workload are Ready"),
        ),
        (
            "a rollout began",
            two_far().changed("ReplicaSet/web", |it| it.rolling = true),
            Err("its workload is being rolled out"),
        ),
        (
            "it is to have more",
            two_far().workload("ReplicaSet/web", 3),
            Err("only 2 of 3 replicas of its workload are Ready"),
        ),
    ];
    check_rows(rows, |(what, world, expected)| {
        assert_eq!(look(world), expected.map_err(str::to_owned), "{what}");
    });
}

#[test]
fn pods_on_a_dead_node_stay_and_do_not_serve() {
    let dead = |name: &str| {
        let mut dead = node(name).bearing(Some("far"));
        dead.ready = false;
        dead
    };
    let world = two_far().node(dead("b1"));
    assert_eq!(Case::from(world).told(), "moves: ; held: web-1 NodeNotReady, web-2 NodeNotReady");
    // One of three serves: the others said so last before their node died.
    let mut third = two_far().workload("ReplicaSet/web", 3).node(dead("b1"));
    third = third.pod(pod("web-3").on("c1").owned_by("ReplicaSet/web")).node(node("c1").bearing(Some("far")));
    third.tiers.nodes.insert("c1".into(), NodeTier::labelled(Tier::Far, Some(30_000)));
    let case = Case::from(third);
    assert_eq!(case.told(), "moves: ; held: web-3 WorkloadNotWhole, web-1 NodeNotReady, web-2 NodeNotReady");
}
