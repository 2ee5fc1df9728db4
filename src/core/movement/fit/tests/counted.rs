use proptest::prelude::*;

use super::{properties::any_pod, *};

/// What is done to a room in thought.
#[derive(Debug, Clone, Copy)]
enum Deed<'a> {
    Place(&'a Pod, &'a str),
    Add(&'a Pod, &'a str),
    /// The last one that wasn't undone yet.
    Undo(&'a Pod, &'a str, bool),
}

impl<'a> Deed<'a> {
    fn carry_out(self, room: &mut Room<'a>) {
        match self {
            Self::Place(pod, node) => room.place(pod, node),
            Self::Add(pod, node) => room.add(pod, node),
            Self::Undo(pod, node, true) => room.put_back(pod, node),
            Self::Undo(pod, node, false) => room.take_back(pod, node),
        }
    }
}

/// What the room says to everybody.
fn said<'a>(world: &World, room: &Room<'a>, ranked: &Ranked<'a>) -> Vec<String> {
    let mut pods: Vec<&Pod> = world.pods.values().map(|pod| &**pod).collect();
    pods.sort_by_key(|pod| &pod.uid);
    let of_pod = |pod: &&Pod| {
        let fits = ranked.nodes().iter().map(|node| room.fits(pod, node)).collect::<Vec<_>>();
        let emptiest = room.emptiest(pod, ranked, |_| Ok(())).map(|node| node.name.clone());
        format!("{}: {emptiest:?} of {fits:?}", pod.name)
    };
    pods.iter().map(of_pod).collect()
}

proptest! {
    /// Whoever was asked all along says what one says who is asked for the first time.
    #[test]
    fn what_is_counted_along_is_what_a_look_at_everybody_finds(
        pods in prop::collection::vec((any_pod(), any::<[bool; 3]>()), 1..8),
        steps in prop::collection::vec((0usize..8, prop::sample::select(vec!["a1", "a2", "c1"]), 0..4u8), 1..10),
    ) {
        let mut world = World::with_nodes("a1=closely a2=closely b1=far b2=far c1=far");
        for (number, (mut pod, [elsewhere, waits, tolerates])) in pods.into_iter().enumerate() {
            (pod.name, pod.uid) = (format!("{number}"), format!("{number}"));
            pod.namespace = if elsewhere { "bank" } else { "shop" }.into();
            for term in pod.anti_affinity.iter_mut().chain(pod.affinity.iter_mut()).filter(|_| elsewhere && number % 2 == 0) {
                term.namespaces = vec!["shop".into()];
            }
            for spread in pod.spread.iter_mut().filter(|_| tolerates) {
                (spread.every_node, spread.min_domains) = (false, 4);
            }
            if waits {
                pod = pod.owned_by("StatefulSet/db");
            }
            world = world.pod(pod);
        }
        let mut nodes: Vec<&Node> = world.nodes.values().map(|node| &**node).collect();
        nodes.sort_by_key(|node| &node.name);
        let (mut asked, ranked) = (Room::of(world.snapshot()), Ranked::of(nodes.iter().copied()));
        let (mut deeds, mut standing, mut placed) = (Vec::new(), Vec::new(), HashSet::default());
        for (number, node, what) in steps {
            let Some(pod) = world.pods.get(&number.to_string()).map(|pod| &**pod) else { continue };
            let deed = match (what, standing.last().copied()) {
                (0, Some((pod, node, was_placed))) => {
                    standing.pop();
                    Deed::Undo(pod, node, was_placed)
                }
                (0 | 1, _) => Deed::Add(pod, node),
                _ if placed.insert(number) => Deed::Place(pod, node),
                _ => continue,
            };
            match deed {
                Deed::Place(pod, node) => standing.push((pod, node, true)),
                Deed::Add(pod, node) => standing.push((pod, node, false)),
                Deed::Undo(..) => {}
            }
            said(&world, &asked, &ranked);
            deed.carry_out(&mut asked);
            deeds.push(deed);
            let mut late = Room::of(world.snapshot());
            deeds.iter().for_each(|deed| deed.carry_out(&mut late));
            let anew = Ranked::of(nodes.iter().copied());
            prop_assert_eq!(said(&world, &asked, &ranked), said(&world, &late, &anew), "after {:?}", deeds);
        }
    }
}
