use std::time::Duration;

use lab::table::check_rows;

use super::*;
use crate::core::{
    movement::{journal::Trace, window::FIRST},
    testing::{self, instant},
};

/// `"shop/web-1→a1"`
fn underway(text: &str) -> Underway {
    let (namespace, rest) = text.split_once('/').unwrap();
    let (pod, to) = rest.split_once('→').unwrap();
    Underway {
        pod: pod.into(),
        uid: format!("{namespace}/{pod}"),
        trace: Trace { to: to.into(), ..Trace::default() },
        ..testing::underway("ReplicaSet/web", 0).in_namespace(namespace)
    }
}

fn all(text: &str) -> Vec<Underway> {
    text.split(' ').filter(|word| !word.is_empty()).map(underway).collect()
}

fn enter(ledger: &mut Ledger, database: &str, saw: &Others, moves: &str) -> String {
    ledger.enter(database, saw, &all(moves), Evidence::default(), 200).join(" ")
}

fn window(others: &Others) -> u32 {
    others.window_after(Evidence::default(), 0)
}

#[test]
fn what_another_database_began_meanwhile_is_not_touched_by_a_second_one() {
    let rows = [
        ("nothing", "", "shop/web-1→a1", ""),
        ("elsewhere", "bank/app-1→a2", "shop/web-1→a1", ""),
        ("in the same namespace, where one budget may cover both", "shop/api-1→a2", "shop/web-1→a1", "shop/web-1"),
        ("the same pod", "shop/web-1→a1", "shop/web-1→a1", "shop/web-1"),
        ("to the same node", "bank/app-1→a1", "shop/web-1→a1 shop/web-2→a2", "shop/web-1"),
    ];
    check_rows(rows, |(what, theirs, ours, refused)| {
        let mut ledger = Ledger::default();
        let saw = ledger.look("orders", instant(0));
        enter(&mut ledger, "billing", &saw, theirs);
        assert_eq!(enter(&mut ledger, "orders", &saw, ours), refused, "{what}");
        // Whoever has seen what the others do has planned with it.
        let mut ledger = Ledger::default();
        let saw = ledger.look("billing", instant(0));
        enter(&mut ledger, "billing", &saw, theirs);
        let saw = ledger.look("orders", instant(0));
        assert_eq!(saw.underway, all(theirs), "{what}");
        assert_eq!(enter(&mut ledger, "orders", &saw, ours), "", "{what}");
    });
}

#[test]
fn what_was_under_way_before_is_refused_nobody() {
    let mut ledger = Ledger::default();
    let first = ledger.look("orders", instant(0));
    assert_eq!(enter(&mut ledger, "orders", &first, "shop/web-1→a1"), "");
    let saw = ledger.look("orders", instant(1));
    let others = ledger.look("billing", instant(1));
    enter(&mut ledger, "billing", &others, "shop/api-1→a1");
    assert_eq!(enter(&mut ledger, "orders", &saw, "shop/web-1→a1 shop/web-2→a2"), "shop/web-2");
    assert_eq!(ledger.look("billing", instant(2)).underway, all("shop/web-1→a1"));
    assert_eq!(ledger.look("orders", instant(2)).underway, all("shop/api-1→a1"));
}

#[test]
fn what_another_process_began_is_refused_nobody_and_known_to_all() {
    let many =
        |namespace: &str| (0..7).map(|n| format!("{namespace}/p-{n}→{namespace}{n}")).collect::<Vec<_>>().join(" ");
    let (shop, bank) = (many("shop"), many("bank"));
    // More than the window lets begin, on each side of a look.
    let mut ledger = Ledger::default();
    ledger.take_over("orders", &all(&shop));
    let saw = ledger.look("orders", instant(0));
    ledger.take_over("billing", &all(&bank));
    assert_eq!(enter(&mut ledger, "orders", &saw, &shop), "");
    let saw_all = ledger.look("billing", instant(0));
    assert_eq!(enter(&mut ledger, "billing", &saw_all, &bank), "");
    // Who looked before it was known begins nothing there.
    ledger.correct("orders", &[]);
    assert_eq!(enter(&mut ledger, "orders", &saw, "bank/web-1→a1"), "bank/web-1");
    // It is told anew by who has asked what stands in the status by now.
    ledger.take_over("billing", &all("bank/p-1→a1"));
    assert_eq!(ledger.look("orders", instant(0)).underway, all("bank/p-1→a1"));
}

#[test]
fn all_databases_together_begin_no_more_than_the_window_lets() {
    let many = |namespace: &str, moves: u32| {
        (0..moves).map(|n| format!("{namespace}/p-{n}→{namespace}{n}")).collect::<Vec<_>>().join(" ")
    };
    let mut ledger = Ledger::default();
    let saw = ledger.look("orders", instant(0));
    assert_eq!(window(&saw), FIRST);
    enter(&mut ledger, "billing", &saw, &many("bank", 7));
    let refused = enter(&mut ledger, "orders", &saw, &many("shop", 7));
    assert_eq!(refused.split(' ').count(), 4, "{refused}");
    // A failed one gives its place to others.
    assert_eq!(ledger.look("orders", instant(0)).in_time(), 7);
    let failed: Vec<Underway> = all(&many("bank", 7))
        .into_iter()
        .map(|mut move_| {
            move_.trace.failed = true;
            move_
        })
        .collect();
    ledger.correct("billing", &failed);
    assert_eq!(ledger.look("orders", instant(0)).in_time(), 0);
    // Nor does it keep the next movement from beginning small.
    ledger.correct("orders", &[]);
    ledger.enter("billing", &saw, &failed, Evidence { placed: 45, ..Evidence::default() }, 200);
    assert_eq!(window(&ledger.look("billing", instant(1))), 100);
    assert_eq!(window(&ledger.look("billing", instant(61))), FIRST);
}

#[test]
fn a_database_that_is_followed_no_more_leaves_nothing_behind() {
    let mut ledger = Ledger::default();
    let saw = ledger.look("orders", instant(0));
    enter(&mut ledger, "orders", &saw, "shop/web-1→a1");
    ledger.enter("orders", &saw, &all("shop/web-1→a1"), Evidence { placed: 45, ..Evidence::default() }, 200);
    assert_eq!(window(&ledger.look("billing", instant(0))), 100);
    ledger.forget("orders");
    let after = ledger.look("billing", instant(1));
    assert_eq!((window(&after), after.underway), (100, vec![]));
    assert_eq!(window(&ledger.look("billing", instant(1) + Duration::from_secs(60))), FIRST);
}

#[test]
fn two_databases_do_not_empty_two_nodes_at_once() {
    let mut ledger = Ledger::default();
    assert!(ledger.empties("orders", Some("b1")));
    assert_eq!(ledger.look("billing", instant(0)).emptying.as_deref(), Some("b1"));
    assert!(!ledger.empties("billing", Some("b2")));
    assert!(ledger.empties("orders", Some("b1")), "its own is nobody else's");
    assert_eq!(ledger.look("orders", instant(0)).emptying, None, "what was refused isn't begun");
    let saw = ledger.look("orders", instant(0));
    enter(&mut ledger, "orders", &saw, "shop/web-1→a1");
    assert!(!ledger.empties("billing", Some("b2")), "its moves end nothing of that");
    // The picture shows the taint, or it wasn't put on after all.
    assert!(ledger.empties("orders", None));
    assert!(ledger.empties("billing", Some("b2")));
    ledger.forget("billing");
    assert!(ledger.empties("orders", Some("b3")));
}
