use std::sync::Arc;

use lab::table::check_rows;

use super::{Room, World, pod, web, world};
use crate::core::{
    quota::Scope,
    selector::{Expression, Operator},
    workload::{Pod, Resources},
};

fn scoped(mut world: World, scopes: &[Scope]) -> World {
    let quota = Arc::make_mut(world.quotas.get_mut("small").unwrap());
    quota.scopes = scopes.to_vec();
    world
}

#[test]
fn a_replacement_wants_what_the_quota_has_left_beside_the_pod_itself() {
    let left = |left: &[(&str, u64)]| world().quota("small", left);
    let limited = || Pod { limits: Resources { cpu_m: 200, ..Resources::default() }.into(), ..web() };
    let class = |operator, values: &[&str]| {
        let values = values.iter().map(ToString::to_string).collect();
        Scope::PriorityClass(Expression { key: String::new(), operator, values })
    };
    let urgent = || Pod { priority_class: Some("urgent".into()), ..web() };
    let no_pods = |scopes: &[Scope]| scoped(left(&[("pods", 0)]), scopes);
    let unused = || {
        let mut world = left(&[("pods", 0)]);
        Arc::make_mut(world.quotas.get_mut("small").unwrap()).unused = true;
        world
    };
    let idle = || web().asking_for_cpu(0);
    let rows = [
        ("no quota", world(), web(), 1, ""),
        ("one more pod", left(&[("pods", 1)]), web(), 1, ""),
        ("no more pod", left(&[("pods", 0)]), web(), 1, "small (pods)"),
        ("no more pod, and none is wanted", left(&[("pods", 0)]), web(), 0, ""),
        ("no more pod of another namespace", left(&[("pods", 0)]), web().within("batch"), 1, ""),
        ("two more pods", left(&[("count/pods", 1)]), web(), 2, "small (count/pods)"),
        ("just enough cpu", left(&[("requests.cpu", 100)]), web(), 1, ""),
        ("too little cpu", left(&[("requests.cpu", 99)]), web(), 1, "small (requests.cpu)"),
        ("too little cpu, by its short name", left(&[("cpu", 99)]), web(), 1, "small (cpu)"),
        ("no memory, and it asks for none", left(&[("memory", 0)]), web(), 1, ""),
        ("too low a limit", left(&[("limits.cpu", 199)]), limited(), 1, "small (limits.cpu)"),
        ("something else", left(&[("services", 0)]), web(), 1, ""),
        // Its controller waits until it is gone.
        ("of a StatefulSet", left(&[("pods", 0)]), web().owned_by("StatefulSet/web"), 1, ""),
        ("a quota that counts nobody here", unused(), web(), 1, ""),
        ("best effort, and it asks", no_pods(&[Scope::BestEffort(true)]), web(), 1, ""),
        ("best effort, and it doesn't", no_pods(&[Scope::BestEffort(true)]), idle(), 1, "small (pods)"),
        ("not best effort", no_pods(&[Scope::BestEffort(false)]), web(), 1, "small (pods)"),
        ("pods that end", no_pods(&[Scope::Ending(true)]), web(), 1, ""),
        ("pods that don't", no_pods(&[Scope::Ending(false)]), web(), 1, "small (pods)"),
        ("its class", no_pods(&[class(Operator::In, &["urgent"])]), urgent(), 1, "small (pods)"),
        ("another class", no_pods(&[class(Operator::In, &["system-node-critical"])]), urgent(), 1, ""),
        ("any class, and it has none", no_pods(&[class(Operator::Exists, &[])]), web(), 1, ""),
        ("one of two scopes", no_pods(&[Scope::BestEffort(false), Scope::Ending(true)]), web(), 1, ""),
        ("a scope that isn't read", no_pods(&[Scope::Other]), web(), 1, "small (pods)"),
    ];
    check_rows(rows, |(what, world, candidate, more, expected)| {
        let expected = if expected.is_empty() { Ok(()) } else { Err(expected.to_owned()) };
        assert_eq!(Room::of(world.snapshot()).within_quota(&candidate, more), expected, "{what}");
    });
}

#[test]
fn pods_that_are_on_the_move_in_thought_take_of_the_quota() {
    let world = world().quota("small", &[("pods", 1)]).pod(pod("one").on("b1")).pod(pod("two").on("b1"));
    let mut room = Room::of(world.snapshot());
    assert_eq!(room.within_quota(&world.pods["uid-one"], 1), Ok(()));
    room.place(&world.pods["uid-one"], "a1");
    assert_eq!(room.within_quota(&world.pods["uid-two"], 1), Err("small (pods)".to_owned()));
}
