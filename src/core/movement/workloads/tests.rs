use lab::table::check_rows;

use super::*;
use crate::core::testing::{World, pod};

/// `desired 2, serving 1, a rollout` of the workload that this pod belongs to.
fn told(world: &World, pod: &str) -> String {
    let workloads = Workloads::of(world.snapshot(), |_| true);
    let key = workload_of(world.snapshot(), &world.pods[&format!("uid-{pod}")]).unwrap();
    let it = workloads.get(&key).unwrap();
    let rollout = if it.rollout { ", a rollout" } else { "" };
    format!("{key}: desired {:?}, serving {}{rollout}", it.desired, it.serving).replace(" in shop", "")
}

#[test]
fn a_workload_is_counted_with_all_that_its_controller_says() {
    let web = |name: &str| pod(name).on("a1").owned_by("ReplicaSet/web");
    let deployment = |wanted: u32, of_set: u32| {
        World::with_nodes("a1=closely b1=far")
            .workload("Deployment/web", wanted)
            .workload("ReplicaSet/web", of_set)
            .under("ReplicaSet/web", "web")
            .pod(web("p"))
            .pod(web("q"))
    };
    let alone = || World::with_nodes("a1=closely b1=far").workload("ReplicaSet/web", 2).pod(web("p")).pod(web("q"));
    let dead = |mut world: World| {
        std::sync::Arc::make_mut(world.nodes.get_mut("a1").unwrap()).ready = false;
        world
    };
    let rows = [
        ("a ReplicaSet", alone(), "replicaset/web: desired Some(2), serving 2"),
        ("on a dead node", dead(alone()), "replicaset/web: desired Some(2), serving 0"),
        ("under a Deployment", deployment(2, 2), "deployment/web: desired Some(2), serving 2"),
        // As with maxSurge: 0 or Recreate: old pods end first.
        ("that makes room first", deployment(2, 1), "deployment/web: desired Some(2), serving 2, a rollout"),
        ("that has ended all", deployment(2, 0), "deployment/web: desired Some(2), serving 2, a rollout"),
        (
            "that hasn't been looked at",
            deployment(2, 2).changed("Deployment/web", |it| it.rolling = true),
            "deployment/web: desired Some(2), serving 2, a rollout",
        ),
        (
            "Ready, but not for long enough",
            alone().changed("ReplicaSet/web", |it| it.available = Some(1)),
            "replicaset/web: desired Some(2), serving 1",
        ),
    ];
    check_rows(rows, |(what, world, expected)| {
        assert_eq!(told(&world, "p"), expected, "{what}");
    });
}

#[test]
fn owners_that_nobody_watches_are_counted_by_what_they_were_asked() {
    let fleet = |name: &str| pod(name).on("a1").owned_by("Fleet/web");
    let two = || World::with_nodes("a1=closely b1=far").pod(fleet("p")).pod(fleet("q"));
    let asked = |wanted: u32| two().workload("Fleet/web", wanted).changed("Fleet/web", |it| it.scaled = true);
    let rollout = |wanted: u32, of_set: u32| {
        let set = |name: &str| pod(name).on("a1").owned_by("ReplicaSet/web");
        let above = Owner { kind: "Rollout".into(), uid: "Rollout/web".into(), name: "web".into(), ..Owner::default() };
        World::with_nodes("a1=closely b1=far")
            .workload("Rollout/web", wanted)
            .workload("ReplicaSet/web", of_set)
            .changed("ReplicaSet/web", |it| it.owner = Some(above))
            .pod(set("p"))
            .pod(set("q"))
    };
    let rows = [
        ("not asked", two(), "fleet/web: desired None, serving 2"),
        ("asked", asked(2), "fleet/web: desired Some(2), serving 2"),
        ("that wants one more", asked(3), "fleet/web: desired Some(3), serving 2"),
        ("asked before a pod came", asked(1), "fleet/web: desired Some(2), serving 2"),
        (
            "asked before a pod came that isn't Ready",
            asked(2).pod(fleet("r").unready()),
            "fleet/web: desired Some(3), serving 2",
        ),
        ("one of whose pods ends", asked(1).pod(fleet("q").terminating()), "fleet/web: desired Some(1), serving 1"),
        (
            "that replaces its pods",
            asked(2).pod(fleet("q").labelled("controller-revision-hash", "2")),
            "fleet/web: desired Some(2), serving 2, a rollout",
        ),
        ("a Rollout", rollout(2, 2), "rollout/web: desired Some(2), serving 2"),
        ("a Rollout whose set wants fewer", rollout(3, 2), "rollout/web: desired Some(3), serving 2, a rollout"),
        (
            "a Rollout that restarts its pods",
            rollout(2, 2).changed("Rollout/web", |it| it.rolling = true),
            "rollout/web: desired Some(2), serving 2, a rollout",
        ),
    ];
    check_rows(rows, |(what, world, expected)| {
        assert_eq!(told(&world, "p"), expected, "{what}");
    });
}

#[test]
fn each_stateful_set_is_a_workload_of_its_own_whoever_made_it() {
    let shard = |world: World, name: &str| {
        let set = format!("StatefulSet/{name}");
        let owner = Owner { kind: "Prometheus".into(), name: "p".into(), uid: "p".into(), ..Owner::default() };
        world.workload(&set, 1).changed(&set, |it| it.owner = Some(owner)).pod(pod(name).on("a1").owned_by(&set))
    };
    let world = shard(shard(World::with_nodes("a1=closely"), "p-0"), "p-1");
    assert_eq!(told(&world, "p-0"), "statefulset/p-0: desired Some(1), serving 1");
    assert_eq!(told(&world, "p-1"), "statefulset/p-1: desired Some(1), serving 1");
}
