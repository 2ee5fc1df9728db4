//! How many pods of a workload are moved at once, by whom, and in which order.

use super::*;
use crate::core::movement::journal::Spends;

/// So many replicas of one ReplicaSet on the far node, with room for ten nearby.
fn replicas(count: u32) -> World {
    let world = World::with_nodes("a1=closely b1=far").workload("ReplicaSet/web", count);
    (1..=count).map(|n| pod(&format!("web-{n}")).on("b1").owned_by("ReplicaSet/web")).fold(world, World::pod)
}

/// `2 moves; 3 DisruptionBudgetSpent, 1 OneAtATime`
fn counted(case: &Case) -> String {
    let plan = case.plan();
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for it in &plan.held {
        *held.entry(it.reason.name()).or_default() += 1;
    }
    let held: Vec<String> = held.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    format!("{} moves; {}", plan.moves.len(), held.join(", "))
}

#[test]
fn a_workload_moves_as_many_pods_as_its_budget_allows_and_one_without_a_budget() {
    let lacking_one = |world: World| world.workload("ReplicaSet/web", 7);
    let unready_one = |world: World| world.pod(pod("web-6").on("b1").owned_by("ReplicaSet/web").unready());
    let warming = |world: World, available| world.changed("ReplicaSet/web", |it| it.available = Some(available));
    let budget = |allowed| replicas(6).budget("pdb", "web", allowed);
    let counts = |healthy, disrupted: &[&str]| {
        budget(0).budget_changed("pdb", |it| {
            (it.healthy, it.disrupted) = (healthy, disrupted.iter().map(|name| (*name).to_owned()).collect());
        })
    };
    let rows = [
        ("no budget", replicas(6), None, "1 moves; 5 OneAtATime"),
        ("no budget, and more asked for", replicas(6), Some(3), "3 moves; 3 PerWorkload"),
        ("no budget, and all asked for: somebody stays", replicas(6), Some(100), "5 moves; 1 OneAtATime"),
        ("a budget of 3", budget(3), None, "3 moves; 3 DisruptionBudgetSpent"),
        ("a budget of 3, and less asked for", budget(3), Some(2), "2 moves; 4 PerWorkload"),
        ("a budget of 3, and more asked for", budget(3), Some(5), "3 moves; 3 DisruptionBudgetSpent"),
        ("a budget of all: somebody stays", budget(6), None, "5 moves; 1 OneAtATime"),
        ("a budget of none", budget(0), None, "0 moves; 6 NoDisruptionBudget"),
        ("a budget of none that counts all who serve", counts(6, &[]), None, "0 moves; 6 NoDisruptionBudget"),
        ("one that has yet to count somebody", counts(5, &[]), None, "0 moves; 6 DisruptionBudgetSpent"),
        ("one that somebody else has just spent", counts(6, &["gone"]), None, "0 moves; 6 DisruptionBudgetSpent"),
        ("a replica is missing, no budget", lacking_one(replicas(6)), None, "0 moves; 6 WorkloadNotWhole"),
        ("a replica is missing, two may be", lacking_one(replicas(6)), Some(2), "1 moves; 5 WorkloadNotWhole"),
        ("a replica is missing, the budget allows", lacking_one(budget(2)), None, "2 moves; 4 DisruptionBudgetSpent"),
        ("a young replica isn't Ready", unready_one(budget(2)), None, "2 moves; 3 DisruptionBudgetSpent, 1 NotReady"),
        ("two are Ready, but not for long enough", warming(budget(3), 4), None, "1 moves; 5 DisruptionBudgetSpent"),
        ("so are as many as it allows", warming(budget(3), 3), None, "0 moves; 6 WorkloadNotWhole"),
    ];
    check_rows(rows, |(what, world, per_workload, expected)| {
        let case = Case { rules: Rules { per_workload, ..RULES }, ..world.into() };
        assert_eq!(counted(&case), expected, "{what}");
    });
}

/// A move of the workload under the budget `pdb`, planned when that was of version 1.
fn spending(pod: &str) -> Underway {
    let mut move_ = underway("ReplicaSet/web", 99);
    (move_.pod, move_.uid) = (pod.into(), format!("uid-{pod}"));
    move_.trace.spends = Some(Spends { budget: "pdb".into(), version: "1".into() });
    move_
}

#[test]
fn an_eviction_that_the_status_of_its_budget_can_not_show_yet_is_counted() {
    let budget = |version: &str, disrupted: &[&str]| {
        replicas(6).budget("pdb", "web", 2).budget_changed("pdb", |it| {
            it.version = version.into();
            it.disrupted = disrupted.iter().map(|name| (*name).to_owned()).collect();
        })
    };
    let ending = |world: World| world.pod(pod("web-1").on("b1").owned_by("ReplicaSet/web").terminating());
    let gone = |mut world: World| {
        world.pods.remove("uid-web-1");
        world
    };
    let rows = [
        ("as it was", budget("1", &[]), "1 moves; 4 DisruptionBudgetSpent, 1 OneAtATime"),
        ("its pod is ending", ending(budget("1", &[])), "1 moves; 4 DisruptionBudgetSpent"),
        ("its pod is gone", gone(budget("1", &[])), "1 moves; 4 DisruptionBudgetSpent"),
        ("changed, but its pod is untouched", budget("2", &[]), "1 moves; 4 DisruptionBudgetSpent, 1 OneAtATime"),
        ("changed, and its pod is ending", ending(budget("2", &[])), "2 moves; 3 DisruptionBudgetSpent"),
        ("changed, and its pod is gone", gone(budget("2", &[])), "2 moves; 3 DisruptionBudgetSpent"),
        ("it names the pod", budget("2", &["web-1"]), "2 moves; 3 DisruptionBudgetSpent, 1 OneAtATime"),
    ];
    check_rows(rows, |(what, world, expected)| {
        let journal = Journal { underway: vec![spending("web-1")], ..Journal::default() };
        assert_eq!(counted(&Case { journal, ..world.clone().into() }), expected, "{what}");
        // Whichever database did it.
        let others = Others { underway: vec![spending("web-1")], ..Others::default() };
        assert_eq!(counted(&Case { others, ..world.into() }), expected, "{what}, by another database");
    });
}

#[test]
fn two_databases_do_not_move_two_pods_of_one_workload() {
    let others = Others { underway: vec![underway("ReplicaSet/web", 99)], ..Others::default() };
    let case = Case { others, ..replicas(3).into() };
    assert_eq!(counted(&case), "0 moves; 3 OneAtATime");
}

#[test]
fn a_workload_whose_replacement_failed_waits_whatever_its_budget_allows() {
    let mut failed = spending("gone");
    failed.trace.failed = true;
    let journal = Journal { underway: vec![failed], ..Journal::default() };
    assert_eq!(counted(&Case { journal, ..replicas(6).budget("pdb", "web", 3).into() }), "0 moves; 6 OneAtATime");
}

#[test]
fn where_replacements_fail_nothing_more_is_moved_in_that_namespace_and_others_go_on() {
    let mut other = pod("api-1").on("b1").owned_by("ReplicaSet/api");
    other.namespace = "bank".into();
    let world = two_far().workload("ReplicaSet/api", 1).pod(other);
    let underway = vec![underway("ReplicaSet/x", -300), underway("ReplicaSet/y", -300)];
    let case = Case { journal: Journal { underway, ..Journal::default() }, ..world.into() };
    assert_eq!(case.told(), "moves: api-1 b1→a1; held: web-1 NamespaceHalted, web-2 NamespaceHalted");
    let why =
        "halted in this namespace: 2 replacements did not become Ready in time (spec.movement.replacementTimeout)";
    assert_eq!(case.plan().held[0].reason.to_string(), why);
}

#[test]
fn unready_pods_go_first_and_alone_where_their_budget_lets_them() {
    let old = |name: &str| pod(name).on("b1").owned_by("ReplicaSet/web").created(-1_000);
    let all_unready = || {
        let world = World::with_nodes("a1=closely b1=far").workload("ReplicaSet/web", 3);
        (1..=3).map(|n| old(&format!("web-{n}")).unready()).fold(world, World::pod)
    };
    let budget = |world: World, allowed, healthy, always| {
        world.budget("pdb", "web", allowed).budget_changed("pdb", |it| {
            (it.healthy, it.desired_healthy, it.lets_unready_go) = (healthy, 2, always);
        })
    };
    let mixed = || all_unready().pod(old("web-1")).pod(old("web-2"));
    let rows = [
        ("nobody serves, no budget", all_unready(), "moves: web-1 b1→a1; held: web-2 OneAtATime, web-3 OneAtATime"),
        (
            "nobody serves, and the budget wants that they do first",
            budget(all_unready(), 0, 0, false),
            "moves: ; held: web-1 NoDisruptionBudget, web-2 NoDisruptionBudget, web-3 NoDisruptionBudget",
        ),
        (
            "nobody serves, and the budget lets them go",
            budget(all_unready(), 0, 0, true),
            "moves: web-1 b1→a1; held: web-2 OneAtATime, web-3 OneAtATime",
        ),
        (
            "enough serve: it goes first, and nobody who serves",
            budget(mixed(), 0, 2, false),
            "moves: web-3 b1→a1; held: web-1 NoDisruptionBudget, web-2 NoDisruptionBudget",
        ),
        (
            "enough serve, and one may go",
            budget(mixed(), 1, 3, false),
            "moves: web-3 b1→a1, web-1 b1→a1; held: web-2 DisruptionBudgetSpent",
        ),
        ("one of three, no budget", mixed(), "moves: web-3 b1→a1; held: web-1 OneAtATime, web-2 OneAtATime"),
        (
            "it may still be starting",
            mixed().pod(old("web-3").unready().created(-100)),
            "moves: ; held: web-3 NotReady, web-1 WorkloadNotWhole, web-2 WorkloadNotWhole",
        ),
    ];
    check_rows(rows, |(what, world, expected)| {
        assert_eq!(Case::from(world).told(), expected, "{what}");
    });
}

#[test]
fn whoever_suffers_most_goes_first_then_workloads_and_namespaces_take_turns() {
    let node_at = |world: &mut World, name: &str, rtt_us| {
        world.nodes.insert(name.into(), node(name).bearing(Some("far")).into());
        world.tiers.nodes.insert(name.into(), NodeTier::labelled(Tier::Far, Some(rtt_us)));
    };
    let mut world = World::with_nodes("a1=closely");
    node_at(&mut world, "b1", 20_400);
    node_at(&mut world, "b2", 20_100);
    node_at(&mut world, "c1", 60_000);
    let add = |world: World, namespace: &str, set: &str, places: &[&str], change: &dyn Fn(&mut Pod)| {
        let owner = format!("ReplicaSet/{set}");
        let world = world.workload(&owner, u32::try_from(places.len()).unwrap());
        let world = world.budget(set, set, 9).budget_changed(set, |it| it.namespace = namespace.into());
        places.iter().enumerate().fold(world, |world, (n, place)| {
            let mut pod = pod(&format!("{set}-{n}")).on(place).owned_by(&owner);
            pod.namespace = namespace.into();
            pod.labels.insert("app".into(), set.into());
            change(&mut pod);
            world.pod(pod)
        })
    };
    let usual = |_: &mut Pod| {};
    let world = add(world, "bank", "large", &["b1", "b1", "b2"], &usual);
    let world = add(world, "bank", "small", &["b1", "b2"], &usual);
    let world = add(world, "shop", "web", &["b2", "b1"], &usual);
    let world = add(world, "shop", "far", &["c1", "b2"], &usual);
    let world = add(world, "shop", "vip", &["b1", "b2"], &|pod| pod.priority = 1000);
    let case = Case { rules: Rules { max_concurrent: 100, ..RULES }, ..world.into() };
    let told = case.told();
    let expected = "moves: far-0 c1→a1, vip-0 b1→a1, large-0 b1→a1, small-0 b1→a1, web-1 b1→a1, large-1 b1→a1; held: vip-1 OneAtATime";
    assert!(told.starts_with(expected), "{told}");
}

#[test]
fn whose_pods_are_on_the_move_has_had_its_turns() {
    let world = replicas(4).budget("pdb", "web", 4).workload("ReplicaSet/api", 3).budget("api", "api", 3);
    let api = |name: &str| {
        let mut pod = pod(name).on("b1").owned_by("ReplicaSet/api");
        pod.labels.insert("app".into(), "api".into());
        pod
    };
    let world = world.pod(api("api-1")).pod(api("api-2")).pod(api("api-3"));
    let told = |underway: Vec<Underway>| {
        let journal = Journal { underway, ..Journal::default() };
        let told = Case { journal, rules: Rules { max_concurrent: 4, ..RULES }, ..world.clone().into() }.told();
        told.split_once(';').map(|(moves, _)| moves.to_owned())
    };
    assert_eq!(told(vec![]).unwrap(), "moves: web-1 b1→a1, api-1 b1→a1, web-2 b1→a1, api-2 b1→a1");
    let mut moving = spending("gone");
    moving.trace.bound = true;
    assert_eq!(told(vec![moving]).unwrap(), "moves: api-1 b1→a1, web-1 b1→a1, api-2 b1→a1");
}

#[test]
fn the_room_of_moves_under_way_is_nobody_else_s() {
    let world = World::with_nodes("a1=closely b1=far")
        .workload("StatefulSet/x", 1)
        .workload("ReplicaSet/web", 1)
        .pod(pod("x-0").on("b1").owned_by("StatefulSet/x").asking_for_cpu(600).terminating())
        .pod(pod("web-1").on("b1").owned_by("ReplicaSet/web").asking_for_cpu(600));
    let mut reserving = underway("StatefulSet/x", 99);
    (reserving.uid, reserving.trace.to) = ("uid-x-0".into(), "a1".into());
    let (moves, held) = ("moves: web-1 b1→a1; held: ", "moves: ; held: web-1 NoRoom");
    let mut placed = reserving.clone();
    placed.trace.bound = true;
    for (what, move_, expected) in [("no node yet", reserving.clone(), held), ("it has its node", placed, moves)] {
        let journal = Journal { underway: vec![move_.clone()], ..Journal::default() };
        assert_eq!(Case { journal, ..world.clone().into() }.told(), expected, "{what}");
        let others = Others { underway: vec![move_], ..Others::default() };
        assert_eq!(Case { others, ..world.clone().into() }.told(), expected, "{what}, of another database");
    }
    // The pod is gone, and it is known what it was, or it isn't.
    let mut gone = world.clone();
    let like = gone.pods.remove("uid-x-0");
    for (like, expected) in [(like, held), (None, moves)] {
        let mut move_ = reserving.clone();
        move_.trace.like = like;
        let journal = Journal { underway: vec![move_], ..Journal::default() };
        assert_eq!(Case { journal, ..gone.clone().into() }.told(), expected);
    }
}

#[test]
fn all_databases_together_have_no_more_on_the_move_than_the_window_lets() {
    let case = |moves| {
        let others = Others { underway: vec![underway("ReplicaSet/x", 99); moves], ..Others::default() };
        Case { others, window: 3, ..replicas(1).into() }
    };
    assert_eq!(case(2).told(), "moves: web-1 b1→a1; held: ");
    assert_eq!(case(3).told(), "moves: ; held: web-1 Concurrency");
    let why = case(3).plan().held.remove(0).reason.to_string();
    assert!(why.ends_with("more follow as replacements find their places"), "{why}");
}

#[test]
fn from_where_nobody_measured_nobody_goes_far_from_another_database() {
    let rows = [
        (Tier::Unknown, Tier::Closely, true),
        (Tier::Unknown, Tier::Unknown, true),
        (Tier::Unknown, Tier::Intermediate, false),
        (Tier::Unknown, Tier::Far, false),
        (Tier::Far, Tier::Far, true),
        (Tier::Far, Tier::Unknown, false),
        (Tier::Intermediate, Tier::Far, false),
    ];
    check_rows(rows, |(from, to, goes)| {
        let case = Case::from(replicas(1));
        let mut other = TierMap::default();
        other.nodes.insert("b1".into(), NodeTier::labelled(from, None));
        other.nodes.insert("a1".into(), NodeTier::labelled(to, None));
        let mut followers = case.followers();
        followers[0].others.push(&other);
        assert_eq!(case.plan_for(&case.world, &followers).moves.len() == 1, goes, "{from:?} {to:?}");
    });
}
