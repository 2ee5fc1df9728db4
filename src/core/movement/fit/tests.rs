mod counted;
mod draws;
mod interpod;
mod nodes;
mod ports;
pub(super) mod properties;
mod queue;
mod quotas;
mod resources;
mod spread;
mod taints;

use lab::table::check_rows;

use super::*;
use crate::core::testing::{World, node, pod};

/// What keeps `candidate` from node `a1`, beside `a2` of the same zone and `b1` of another one.
fn misfit(world: &World, candidate: &Pod) -> Result<(), String> {
    let room = Room::of(world.snapshot());
    room.fits(candidate, &world.nodes["a1"]).map_err(|misfit| misfit.to_string())
}

/// Each row: what it is about, the world, a pod, and what keeps it from node `a1`, or nothing.
#[track_caller]
fn check<const N: usize>(rows: [(&str, World, Pod, &str); N]) {
    check_rows(rows, |(what, world, candidate, expected)| {
        let expected = if expected.is_empty() { Ok(()) } else { Err(expected.to_owned()) };
        assert_eq!(misfit(&world, &candidate), expected, "{what}");
    });
}

fn world() -> World {
    World::with_nodes("a1=closely a2=closely b1=far")
}

/// The candidate, unless it has rules.
fn web() -> Pod {
    pod("web").on("b1")
}

#[test]
fn a_pod_fits_where_nothing_is_in_its_way_and_not_where_that_is_unknown() {
    let unready = || Node { ready: false, ..node("a1") };
    let strange = || Pod { unforeseen: Some("where devices are"), ..web() };
    let gated = || {
        world().workload("ReplicaSet/web", 1).changed("ReplicaSet/web", |it| it.unforeseen = Some("when it is let go"))
    };
    check([
        ("an empty node", world(), web(), ""),
        ("an unready node", world().node(unready()), web(), "not Ready"),
        ("what isn't evaluated", world(), strange(), "where devices are, which can't be foreseen"),
        (
            "what its template says",
            gated(),
            web().owned_by("ReplicaSet/web"),
            "when it is let go, which can't be foreseen",
        ),
    ]);
}

#[test]
fn planned_moves_take_room_and_do_not_give_any_back() {
    let world = world().pod(pod("one").on("b1").asking_for_cpu(600)).pod(pod("two").on("b1").asking_for_cpu(600));
    let mut room = Room::of(world.snapshot());
    let (one, two) = (&world.pods["uid-one"], &world.pods["uid-two"]);
    assert_eq!(room.fits(one, &world.nodes["a1"]), Ok(()));
    room.place(one, "a1");
    assert_eq!(room.fits(two, &world.nodes["a1"]), Err(Misfit::Insufficient("cpu".into())));
    assert_eq!(room.fits(two, &world.nodes["a2"]), Ok(()));
    assert_eq!(world.nodes["b1"].pods - room.used("b1").pods, 9);
}

#[test]
fn what_is_taken_back_was_never_there() {
    let lonely = pod("one").on("b1").not_beside("zone", "web").asking_for_cpu(900);
    let world = world().pod(lonely).pod(pod("two").on("b1").asking_for_cpu(600)).quota("small", &[("pods", 1)]);
    let (one, two) = (&world.pods["uid-one"], &world.pods["uid-two"]);
    let mut room = Room::of(world.snapshot());
    room.add(one, "a1");
    assert_eq!(room.fits(two, &world.nodes["a1"]), Err(Misfit::Insufficient("cpu".into())));
    assert_eq!(room.fits(two, &world.nodes["a2"]), Err(Misfit::AntiAffinity));
    assert_eq!(room.within_quota(two, 1), Err("small (pods)".to_owned()));
    room.take_back(one, "a1");
    assert_eq!(["a1", "a2"].map(|node| room.fits(two, &world.nodes[node])), [Ok(()), Ok(())]);
    assert_eq!(room.within_quota(two, 1), Ok(()));
}

#[test]
fn a_pod_that_is_moved_in_thought_refuses_others_where_it_will_be_and_where_it_still_is() {
    let world = world().pod(pod("one").on("b1").not_beside("zone", "web")).pod(pod("two").on("b1"));
    let mut room = Room::of(world.snapshot());
    let (one, two) = (&world.pods["uid-one"], &world.pods["uid-two"]);
    room.place(one, "a1");
    assert_eq!(room.fits(two, &world.nodes["a2"]), Err(Misfit::AntiAffinity));
    assert_eq!(room.fits(two, &world.nodes["b1"]), Err(Misfit::AntiAffinity));
}
