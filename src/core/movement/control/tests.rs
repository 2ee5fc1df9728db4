use std::sync::Arc;

use lab::table::check_rows;

use super::*;
use crate::core::{
    movement::workloads::workload_of,
    orders::{Orders, Pause},
    testing::{World, at, moment, pod},
    workload::{Namespace, Wishes},
};

fn paused(until: Option<i64>) -> Option<Box<Orders>> {
    let pause = Pause { why: Some("a load test".into()), by: Some("alice".into()), until: until.map(at) };
    Some(Box::new(Orders { pause: Some(pause), ..Orders::default() }))
}

fn misread() -> Option<Box<Orders>> {
    Some(Box::new(Orders { misread: Some("what?".into()), ..Orders::default() }))
}

fn asked(second: i64) -> Option<Box<Orders>> {
    Some(Box::new(Orders { move_now: Some(at(second)), ..Orders::default() }))
}

/// A pod of the Deployment `web` in the namespace `shop`.
fn world(orders: [Option<Box<Orders>>; 3], wishes: [Wishes; 2]) -> World {
    let ([namespace, workload, itself], [defaults, own]) = (orders, wishes);
    let mut pod = pod("web-1").on("b1").owned_by("ReplicaSet/web");
    (pod.orders, pod.wishes) = (itself, own.into());
    let namespace = Namespace {
        name: "shop".into(),
        opt_in: Some("orders".into()),
        wishes: defaults,
        orders: namespace,
        ..Namespace::default()
    };
    let mut world = World::with_nodes("a1=closely b1=far")
        .workload("ReplicaSet/web", 1)
        .under("ReplicaSet/web", "web")
        .workload("Deployment/web", 1)
        .changed("Deployment/web", |it| it.orders = workload)
        .pod(pod);
    world.namespaces.insert("shop".into(), Arc::new(namespace));
    world
}

fn told(world: &World, control: &Control<'_>, gate: Option<&Gate>) -> String {
    let snapshot = world.snapshot();
    let pod = &snapshot.pods["uid-web-1"];
    let key = workload_of(snapshot, pod).unwrap();
    let rtt_us = world.tiers.rtt_us("b1");
    match control.allow(snapshot, (&key, pod), (gate, rtt_us), moment(100)) {
        Ok(()) => "moves".to_owned(),
        Err(reason) => format!("{}: {reason}", reason.name()),
    }
}

fn nothing() -> [Option<Box<Orders>>; 3] {
    [None, None, None]
}

#[test]
fn a_pause_or_a_mistake_holds_wherever_it_stands_and_says_so() {
    let by = "(switchover.dev/paused) by alice: a load test";
    let says = |what: &str| format!("PausedByAnnotation: {what} {by}");
    let rows = [
        (nothing(), "moves".to_owned()),
        ([paused(None), None, None], says("its namespace shop is paused")),
        ([None, paused(None), None], says("its Deployment web is paused")),
        ([None, None, paused(None)], says("it is paused itself")),
        ([paused(Some(100)), None, None], "moves".to_owned()),
        ([misread(), None, None], "Misread: what?".to_owned()),
        ([None, misread(), None], "Misread: what?".to_owned()),
        ([None, None, misread()], "Misread: what?".to_owned()),
        // A person who stopped it knows more than a mistake does.
        ([misread(), None, paused(None)], says("it is paused itself")),
    ];
    check_rows(rows, |(orders, expected)| {
        let world = world(orders.clone(), Default::default());
        assert_eq!(told(&world, &Control::default(), None), expected, "{orders:?}");
    });
}

#[test]
fn a_value_that_can_not_be_read_holds_and_says_what_to_write() {
    let wishes = |movement: Option<&str>, follow: Option<&str>| Wishes {
        movement: movement.map(Into::into),
        follow: follow.map(Into::into),
        ..Wishes::default()
    };
    let none = Wishes::default;
    let rows = [
        ([none(), wishes(Some("evict"), None)], "moves"),
        (
            [none(), wishes(Some("nevr"), None)],
            "Misread: pod annotation switchover.dev/move \"nevr\": write auto, evict, restart or never",
        ),
        (
            [wishes(Some("nevr"), None), none()],
            "Misread: namespace annotation switchover.dev/move \"nevr\": write auto, evict, restart or never",
        ),
        (
            [none(), wishes(None, Some("a;b"))],
            "Misread: pod annotation switchover.dev/follow \"a;b\": write databases (a,b) or none",
        ),
        // Whether there is such a database isn't for here to say.
        ([none(), wishes(None, Some("a,b"))], "moves"),
    ];
    check_rows(rows, |(wishes, expected)| {
        let world = world(nothing(), wishes.clone());
        assert_eq!(told(&world, &Control::default(), None), expected, "{wishes:?}");
    });
}

#[test]
fn who_asks_for_a_move_or_is_very_far_passes_gates_of_time_and_no_others() {
    let settling = || Gate::Settling { until: at(200), grown: None };
    let outside = || Gate::OutsideWindow { opens: None };
    let halted = || Gate::Halted { failed: 3 };
    let (is_asked, by_now) = (|| asked(90), || asked(-600));
    let rows = [
        (None, None, vec![settling()], "Settling"),
        (is_asked(), None, vec![settling()], "moves"),
        (by_now(), None, vec![settling()], "Settling"),
        (is_asked(), None, vec![settling(), outside()], "moves"),
        (is_asked(), None, vec![settling(), halted(), outside()], "Halted"),
        (is_asked(), None, vec![Gate::Off], "Off"),
        (None, None, vec![outside()], "OutsideWindow"),
        (None, Some(19_999), vec![outside()], "moves"),
        (None, Some(20_000), vec![outside()], "OutsideWindow"),
        (None, Some(0), vec![settling(), outside()], "Settling"),
        (None, Some(0), vec![halted(), outside()], "Halted"),
    ];
    check_rows(rows, |(orders, farther_than_us, gates, expected)| {
        let world = world([None, orders.clone(), None], Default::default());
        let control = Control { behind: &gates[1..], farther_than_us, ..Control::default() };
        let told = told(&world, &control, gates.first());
        assert_eq!(told.split(':').next(), Some(expected), "{orders:?} {farther_than_us:?} {gates:?}");
    });
}
