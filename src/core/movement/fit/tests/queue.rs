use super::{Misfit, Room, check, node, pod, web, world};
use crate::core::workload::Pod;

#[test]
fn pods_that_come_first_may_take_the_room() {
    let waiting = |priority, cpu_m| pod("x").pending(priority).asking_for_cpu(cpu_m);
    let gated = || Pod { gated: true, ..waiting(0, 950) };
    let finished = || Pod { phase: crate::core::workload::Phase::Finished, ..waiting(0, 950) };
    let nominated = |node: &str| Pod { nominated: Some(node.into()), ..waiting(0, 2_000) };
    let several =
        |pods: u64| (0..pods).fold(world(), |world, n| world.pod(pod(&format!("x{n}")).pending(0).owned_by("Job/x")));
    let one_place = || world().node(crate::core::workload::Node { pods: 1, ..node("a1") });
    let taken = "pods that wait for a node may take its cpu";
    check([
        ("of the same priority", world().pod(waiting(0, 950)), web(), taken),
        ("of a higher one", world().pod(waiting(7, 950)), web(), taken),
        ("of a lower one", world().pod(waiting(-1, 950)), web(), ""),
        ("there is room for both", world().pod(waiting(0, 900)), web(), ""),
        ("one that fits nowhere", world().pod(waiting(0, 1_001)), web(), ""),
        ("one that goes elsewhere", world().pod(waiting(0, 950).only_on("zone", "b")), web(), ""),
        ("one that nobody lets go", world().pod(gated()), web(), ""),
        ("one that is over", world().pod(finished()), web(), ""),
        ("one that is on its way out", world().pod(waiting(0, 950).terminating()), web(), ""),
        ("nine of a kind", several(9), web(), ""),
        ("ten of a kind", several(10), web(), "pods that wait for a node may take its pods"),
        ("the last place", one_place().pod(waiting(0, 0)), web(), "pods that wait for a node may take its pods"),
        ("one for which room is made here", world().pod(nominated("a1")), web(), "insufficient cpu"),
        ("one for which room is made elsewhere", world().pod(nominated("a2")), web(), ""),
    ]);
}

#[test]
fn a_pod_that_waits_for_a_reserved_place_takes_no_other_one() {
    let waiting = || pod("new").pending(0).owned_by("ReplicaSet/web").asking_for_cpu(500);
    let world = world().pod(pod("old").on("b1").owned_by("ReplicaSet/web").asking_for_cpu(500)).pod(waiting());
    let other = web().asking_for_cpu(600);
    let mut room = Room::of(world.snapshot());
    let fits = |room: &Room<'_>| ["a1", "a2"].map(|node| room.fits(&other, &world.nodes[node]));
    let queued = || Err(Misfit::Queued("cpu".into()));
    assert_eq!(fits(&room), [queued(), queued()]);
    room.add(&world.pods["uid-old"], "a1");
    assert_eq!(fits(&room), [Err(Misfit::Insufficient("cpu".into())), Ok(())]);
    room.take_back(&world.pods["uid-old"], "a1");
    assert_eq!(fits(&room), [queued(), queued()]);
}
