use proptest::prelude::*;

use super::*;
use crate::core::{
    movement::fit::tests::properties::any_pod,
    testing::{World, node, pod},
};

const NEAR: [&str; 4] = ["a1", "a2", "a3", "a4"];

fn world() -> World {
    let world = World::with_nodes("a1=closely a2=closely a3=closely a4=closely b1=far");
    let roomy = |name: &str| Node { pods: 100, ..node(name).bearing(Some("closely")) };
    NEAR.iter().fold(world, |world, name| world.node(roomy(name)))
}

/// What crowds of so many pods find.
fn found(world: &World, crowds: &[(&Pod, u64)]) -> Vec<Places> {
    let near: Vec<&Node> = NEAR.iter().map(|name| &*world.nodes[*name]).collect();
    let crowds: Vec<Crowd<'_>> = crowds.iter().map(|(pod, pods)| Crowd { pod, pods: *pods, nearer: 4 }).collect();
    Room::of(world.snapshot()).places(&crowds, &near, &near)
}

#[test]
fn everybody_surely_finds_a_place_where_nobody_can_close_all_of_the_nodes() {
    use Places::{ForAll, ForNobody, Unsure};
    let asks = |cpu_m| pod("web").on("b1").asking_for_cpu(cpu_m);
    let small = |left: u64| world().quota("small", &[("pods", left)]);
    let waiting = || (0..6).fold(world(), |world, it| world.pod(pod(&format!("w{it}")).asking_for_cpu(150).pending(0)));
    let rows: [(&str, World, Pod, u64, Places); 14] = [
        ("nobody", world(), asks(2_000), 0, ForAll),
        ("with room for ten on each node, three quarters fill three", world(), asks(100), 29, ForAll),
        ("and with more of them somebody may be refused", world(), asks(100), 41, Unsure),
        ("more than a node has", world(), asks(1_001), 1, Unsure),
        ("where none may go", world(), asks(1).only_on("zone", "b"), 1, ForNobody),
        ("what nobody can foresee", world(), Pod { unforeseen: Some("it"), ..asks(1) }, 1, ForNobody),
        ("apart, three of four", world(), asks(1).not_beside("host", "web"), 3, ForAll),
        ("apart, five", world(), asks(1).not_beside("host", "web"), 5, Unsure),
        ("apart over one zone", world(), asks(1).not_beside("zone", "web"), 1, Unsure),
        ("apart from somebody there", world().pod(pod("x").on("a1")), asks(1).not_beside("host", "web"), 3, Unsure),
        ("spread", world(), asks(1).spread_over("zone"), 1, Unsure),
        ("beside others", world(), asks(1).beside("zone", "app", "web"), 1, Unsure),
        ("with a quota", small(100), asks(1), 1, Unsure),
        ("behind others that wait", waiting(), asks(200), 1, Unsure),
    ];
    for (what, world, pod, pods, expected) in &rows {
        assert_eq!(found(world, &[(pod, *pods)]), [*expected], "{what}");
    }
    let (web, exclusive) = (asks(1), asks(1).labelled("app", "db").not_beside("host", "web"));
    assert_eq!(found(&world(), &[(&web, 1), (&exclusive, 1)]), [ForAll, ForAll]);
    assert_eq!(found(&world(), &[(&web, 1), (&exclusive, 4)]), [Unsure, ForAll], "they may be everywhere before it");
    assert_eq!(found(&world(), &[(&web, 4), (&exclusive, 1)]), [ForAll, Unsure]);
}

proptest! {
    /// Wherever everybody goes whom a node takes, and in whatever order: who surely finds a place finds one.
    #[test]
    fn who_surely_finds_a_place_finds_one(
        there in prop::collection::vec((any_pod(), 0u64..200), 0..4),
        crowds in prop::collection::vec((any_pod(), 0u64..300, 1u64..9), 1..4),
        order in prop::collection::vec((0usize..3, 0usize..4), 24),
    ) {
        let mut world = world();
        for (number, (mut pod, cpu_m)) in there.into_iter().enumerate() {
            (pod.name, pod.uid, pod.requests.cpu_m) = (format!("t{number}"), format!("t{number}"), cpu_m);
            world = world.pod(pod);
        }
        let mut coming: Vec<Vec<Pod>> = Vec::new();
        for (number, (pod, cpu_m, pods)) in crowds.into_iter().enumerate() {
            let of_it = |it: u64| {
                let name = format!("c{number}-{it}");
                let mut pod = pod.clone().on("b1");
                (pod.name, pod.uid, pod.requests.cpu_m, pod.terminating) = (name.clone(), name, cpu_m, false);
                pod
            };
            coming.push((0..pods).map(of_it).collect());
        }
        for pod in coming.iter().flatten() {
            world = world.pod(pod.clone());
        }
        let asked: Vec<(&Pod, u64)> = coming.iter().map(|pods| (&pods[0], pods.len() as u64)).collect();
        let sure = found(&world, &asked);
        let mut room = Room::of(world.snapshot());
        let mut left: Vec<&[Pod]> = coming.iter().map(Vec::as_slice).collect();
        for (whose, first) in order {
            let whose = whose % left.len();
            let Some((pod, rest)) = left[whose].split_first() else { continue };
            left[whose] = rest;
            let takes = |number: &usize| room.fits(pod, &world.nodes[NEAR[number % 4]]).is_ok();
            let found = (first..first + 4).find(takes);
            prop_assert!(found.is_some() || sure[whose] != Places::ForAll, "{} of {:?}: {:?}", pod.name, sure, world.places());
            prop_assert!(found.is_none() || sure[whose] != Places::ForNobody, "{}", pod.name);
            if let Some(number) = found {
                room.place(pod, NEAR[number % 4]);
            }
        }
    }
}
