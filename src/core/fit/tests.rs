use super::*;
use crate::core::testing::{World, node, pod};

/// A fit of `candidate` on node `a1`, beside nodes `a2` and `b1`.
fn fit(world: World, candidate: &Pod) -> Result<(), String> {
    let room = Room::of(world.snapshot());
    room.fits(candidate, &world.nodes["a1"]).map_err(|misfit| misfit.to_string())
}

fn world() -> World {
    World::with_nodes("a1=closely a2=closely b1=far")
}

#[test]
fn a_pod_fits_where_the_scheduler_would_put_it() {
    let web = || pod("web").on("b1");
    let error = |text: &str| Err(text.to_owned());
    let unready = || {
        let mut node = node("a1");
        node.ready = false;
        node
    };
    let cordoned = || {
        let mut node = node("a1");
        node.unschedulable = true;
        node
    };
    let with_port = |mut pod: Pod| {
        pod.host_ports = vec![80];
        pod
    };
    let asking_for_a_gpu = || {
        let mut pod = web();
        pod.requests.other.insert("nvidia.com/gpu".into(), 1);
        pod
    };
    let selecting = || {
        let mut pod = web();
        pod.node_selector.insert("disk".into(), "ssd".into());
        pod
    };
    for (what, world, candidate, expected) in [
        ("an empty node", world(), web(), Ok(())),
        ("an unready node", world().node(unready()), web(), error("not Ready")),
        ("a cordoned node", world().node(cordoned()), web(), error("cordoned")),
        ("a taint", world().node(node("a1").tainted("gpu", "NoSchedule")), web(), error("taint gpu not tolerated")),
        ("a soft taint", world().node(node("a1").tainted("gpu", "PreferNoSchedule")), web(), Ok(())),
        ("nodeSelector", world(), selecting(), error("nodeSelector doesn't match")),
        ("another zone", world(), web().only_on("zone", "b"), error("required node affinity doesn't match")),
        ("its zone", world(), web().only_on("zone", "a"), Ok(())),
        ("just enough cpu", world().pod(pod("x").on("a1").asking_for_cpu(900)), web(), Ok(())),
        ("too little cpu", world().pod(pod("x").on("a1").asking_for_cpu(901)), web(), error("insufficient cpu")),
        (
            "terminating pods still take room",
            world().pod(pod("x").on("a1").asking_for_cpu(901).terminating()),
            web(),
            error("insufficient cpu"),
        ),
        ("an extended resource", world(), asking_for_a_gpu(), error("insufficient nvidia.com/gpu")),
        ("a host port", world().pod(with_port(pod("x").on("a1"))), with_port(web()), error("host port 80 taken")),
        (
            "spread over zones",
            world().pod(pod("x").on("a1")),
            web().spread_over("zone"),
            error("topology spread over zone would be violated"),
        ),
        ("spread over zones, first there", world(), web().spread_over("zone"), Ok(())),
        ("spread over hosts", world().pod(pod("x").on("a2")).pod(pod("y").on("b1")), web().spread_over("host"), Ok(())),
        (
            "a spread key that the node lacks",
            world(),
            web().spread_over("rack"),
            error("topology spread over rack would be violated"),
        ),
        ("anti-affinity", world().pod(pod("x").on("a2")), web().not_beside("zone", "web"), error("pod anti-affinity")),
        ("anti-affinity by host", world().pod(pod("x").on("a2")), web().not_beside("host", "web"), Ok(())),
        (
            "another's anti-affinity",
            world().pod(pod("x").on("a2").not_beside("zone", "web")),
            web(),
            error("pod anti-affinity"),
        ),
        ("its own anti-affinity where it is", world().pod(web()), web().not_beside("zone", "web"), Ok(())),
    ] {
        assert_eq!(fit(world, &candidate), expected, "{what}");
    }
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
    assert_eq!(room.free_pods(&world.nodes["b1"]), 9);
}
