//! Several moves of one workload at once, and what happens to a workload meanwhile.

use super::*;

/// Two pods of one workload that were there together, evicted in this order.
fn two_evicted() -> Journal {
    let beside = Arc::new(["uid-old", "uid-older", "uid-stays"].map(str::to_owned).into());
    let evicted = |name: &str, second| {
        let mut move_ = journal().underway.remove(0);
        (move_.pod, move_.uid, move_.started) = (name.into(), format!("uid-{name}"), at(second));
        move_.trace.beside = Some(Arc::clone(&beside));
        move_
    };
    Journal { underway: vec![evicted("old", 101), evicted("older", 100)], ..Journal::default() }
}

fn web(name: &str) -> Pod {
    pod(name).owned_by("ReplicaSet/web")
}

fn three() -> World {
    World::with_nodes("a1=closely a2=closely b1=far n9=unknown")
        .workload("ReplicaSet/web", 3)
        .pod(web("stays").on("b1"))
}

fn ends(outcomes: &[Outcome]) -> Vec<String> {
    outcomes.iter().map(|outcome| format!("{} {}", outcome.underway.pod, outcome.end.name())).collect()
}

#[test]
fn each_replacement_is_that_of_one_move() {
    let mut journal = two_evicted();
    let world = three().pod(web("new-1").on("a1").created(101));
    // Both are gone and one replacement is there: it is that of whoever went first.
    assert_eq!(ends(&settle(&mut journal, &world, 105)), ["older moved"]);
    assert_eq!(ends(&settle(&mut journal, &world, 106)), Vec::<String>::new(), "it is nobody else's");
    let world = world.pod(web("new-2").on("a2").created(102).unready());
    assert_eq!(ends(&settle(&mut journal, &world, 107)), Vec::<String>::new());
    assert_eq!(journal.underway[0].trace.replacement.as_deref(), Some("uid-new-2"));
    let world = world.pod(web("new-2").on("a2").created(102));
    assert_eq!((ends(&settle(&mut journal, &world, 108)), journal.moved), (vec!["old moved".to_owned()], 2));
}

#[test]
fn a_replacement_that_is_replaced_itself_gives_its_move_to_the_next_one() {
    let mut journal = two_evicted();
    let first = three().pod(web("new-1").on("a1").created(101).unready()).pod(web("new-2").created(101).unready());
    settle(&mut journal, &first, 102);
    let world = three()
        .pod(web("new-1").on("a1").created(101).terminating())
        .pod(web("new-2").on("a2").created(101))
        .pod(web("new-3").on("a1").created(103));
    assert_eq!(ends(&settle(&mut journal, &world, 104)), ["old moved", "older moved"]);
}

#[test]
fn what_was_there_before_or_is_added_besides_tells_nothing_of_a_move() {
    let one = || {
        let mut journal = two_evicted();
        journal.underway.remove(0);
        journal
    };
    // Scaled down: nobody takes its place, and the old ones serve where they are.
    let world = three().workload("ReplicaSet/web", 1);
    let mut scaled = one();
    assert_eq!(ends(&settle(&mut scaled, &world, 105)), ["older not_replaced"]);
    assert_eq!((scaled.moved, scaled.useless.len()), (0, 0));
    // Scaled up: one on the far node is not the replacement if the replacement came first.
    let world = three().workload("ReplicaSet/web", 4);
    let world = world.pod(web("new").on("a1").created(101)).pod(web("more").on("b1").created(102).preferring(LABEL));
    assert_eq!(ends(&settle(&mut one(), &world, 105)), ["older moved"]);
    // An autoscaler's node isn't measured yet.
    let world = three().workload("ReplicaSet/web", 2).pod(web("new").on("n9").created(101).preferring(LABEL));
    let mut undecided = one();
    assert_eq!(ends(&settle(&mut undecided, &world, 105)), Vec::<String>::new());
    let mut measured = world.clone();
    measured.tiers.nodes.insert("n9".into(), measured.tiers.nodes["a1"]);
    assert_eq!(ends(&settle(&mut undecided.clone(), &measured, 106)), ["older moved"]);
    assert_eq!(ends(&settle(&mut undecided, &world, 220)), ["older useless"], "that never is");
}

#[test]
fn a_pod_of_a_stateful_set_is_replaced_by_the_one_of_its_name() {
    let mut journal = journal();
    journal.underway[0].workload.kind = "StatefulSet".into();
    journal.underway[0].workload.uid = "StatefulSet/web".into();
    let member = |name: &str, uid: &str| {
        let mut member = pod(name).owned_by("StatefulSet/web").created(101);
        member.uid = uid.into();
        member
    };
    let world = World::with_nodes("a1=closely b1=far").workload("StatefulSet/web", 2);
    let other = world.clone().pod(member("web-1", "2").on("a1"));
    assert_eq!(ends(&settle(&mut journal, &other, 105)), Vec::<String>::new(), "another one");
    let both = other.pod(member("old", "3").on("a1"));
    assert_eq!(ends(&settle(&mut journal, &both, 106)), ["old moved"]);
}

#[test]
fn the_next_leader_knows_replacements_by_the_clock_of_the_api_server_alone() {
    // The last leader's clock was an hour behind.
    let restored = |after| {
        let mut journal = two_evicted();
        journal.underway.truncate(1);
        let move_ = &mut journal.underway[0];
        (move_.started, move_.trace.beside, move_.trace.after) = (at(-3_500), None, after);
        journal
    };
    let world = three().workload("ReplicaSet/web", 2).pod(web("stays").on("b1").created(50).preferring(LABEL));
    let whole = world.clone().pod(web("new").on("a1").created(101));
    let mut journal = restored(Some(Youngest { created: at(50), pods: Some(1) }));
    assert_eq!(ends(&settle(&mut journal, &world, 105)), Vec::<String>::new(), "the one that stays is no replacement");
    assert_eq!(ends(&settle(&mut journal, &whole, 106)), ["old moved"]);
}

#[test]
fn the_next_leader_knows_a_replacement_of_the_second_in_which_the_youngest_other_pod_came() {
    let restored = |moves, pods| {
        let mut journal = two_evicted();
        journal.underway.truncate(moves);
        for move_ in &mut journal.underway {
            (move_.trace.beside, move_.trace.after) = (None, Some(Youngest { created: at(100), pods }));
        }
        journal
    };
    let world = || World::with_nodes("a1=closely b1=far").workload("ReplicaSet/web", 2);
    let of_second = |name: &str, node: &str| web(name).on(node).created(100).preferring(LABEL);
    let before = world().pod(of_second("stays", "b1"));
    let after = before.clone().pod(of_second("new", "a1"));
    let nobody = Vec::<String>::new();
    // Whoever is whole without another pod was scaled down: here one is still missing.
    let lacking = after.clone().workload("ReplicaSet/web", 3);
    assert_eq!(
        ends(&settle(&mut restored(1, Some(2)), &lacking, 105)),
        nobody,
        "for all that is known both were there"
    );
    assert_eq!(ends(&settle(&mut restored(1, Some(1)), &before, 105)), nobody, "it hasn't come yet");
    let unready = before.clone().pod(of_second("new", "a1").unready());
    assert_eq!(ends(&settle(&mut restored(1, Some(1)), &unready, 105)), nobody, "whoever of both it is isn't Ready");
    assert_eq!(ends(&settle(&mut restored(1, None), &lacking, 105)), nobody, "the last leader was of version 0.1");
    let near = world().pod(of_second("stays", "a1")).pod(of_second("new", "a1"));
    assert_eq!(ends(&settle(&mut restored(1, Some(1)), &near, 105)), ["old moved"]);
    let near = near.workload("ReplicaSet/web", 3);
    assert_eq!(ends(&settle(&mut restored(2, Some(1)), &near, 105)), ["older moved"], "one came, not two");
    let both = near.pod(of_second("newer", "a1"));
    assert_eq!(ends(&settle(&mut restored(2, Some(1)), &both, 105)), ["old moved", "older moved"]);
}

#[test]
fn only_what_has_to_do_with_the_move_is_its_failure() {
    let late = 2_000;
    let old = || web("old").on("b1").terminating();
    let new = || web("new").created(101).unready();
    let failed = |journal: &mut Journal, world: &World, second| {
        let failed = look(journal, world, second).evidence.failed;
        (failed, journal.failures(Duration::from_secs(300), moment(second)).count())
    };
    let world = world();
    let mut ending = journal();
    assert_eq!(failed(&mut ending, &world.clone().pod(old()), late), (0, 0), "the pod takes long to end");
    assert_eq!(failed(&mut ending, &world, late + 299), (0, 0), "and its replacement has as long as any other");
    assert_eq!(failed(&mut ending, &world, late + 301), (1, 1), "but no longer");
    assert_eq!(failed(&mut ending, &world, late + 302), (0, 1), "which is news once");
    let mut journal = journal();
    journal.underway[0].trace.unready = true;
    assert_eq!(failed(&mut journal, &world.clone().pod(new()), late), (0, 0), "it wasn't Ready before either");
    assert_eq!(journal.in_time(Duration::from_secs(300), moment(late)), 0, "its place is free");
    let near = world.pod(new().on("a1"));
    assert_eq!(ends(&settle(&mut journal, &near, late + 1)), ["old moved"], "nobody waits for it any longer");
}

#[test]
fn places_that_are_found_and_replacements_that_are_ready_are_counted_once() {
    let mut journal = two_evicted();
    let evidence = |journal: &mut Journal, world: World| look(journal, &world, 105).evidence;
    let nobody = Evidence::default();
    assert_eq!(evidence(&mut journal, three()), nobody);
    let pending = || three().pod(web("new-1").created(101).unready());
    assert_eq!(evidence(&mut journal, pending()), nobody, "no node yet");
    let placed = || three().pod(web("new-1").on("a1").created(101).unready());
    assert_eq!(evidence(&mut journal, placed()), Evidence { placed: 1, ..nobody });
    assert_eq!(evidence(&mut journal, placed()), nobody);
    let far = || web("new-2").on("b1").created(102).preferring(LABEL);
    assert_eq!(evidence(&mut journal, placed().pod(far().unready())), nobody, "no nearer");
    let both = three().pod(web("new-1").on("a1").created(101)).pod(far());
    assert_eq!(evidence(&mut journal, both), Evidence { placed: 0, ready: 1, failed: 1 });
}
