use std::{cell::Cell, sync::Arc};

use proptest::prelude::*;

use super::{
    super::{Ranked, tests::properties::any_pod},
    *,
};
use crate::core::testing::{World, pod};

/// How many of these pods were really looked for a place, when one after the other was asked for.
fn looks(world: &World, pods: &[&str]) -> usize {
    let nodes: Vec<&Node> = ["a1", "a2"].map(|name| &*world.nodes[name]).to_vec();
    let (room, refusals, looked) = (Room::of(world.snapshot()), Refusals::of(nodes.clone()), Cell::new(0));
    let ranked = Ranked::of(nodes);
    for name in pods {
        let pod = &world.pods[&format!("uid-{name}")];
        let look = || {
            looked.set(looked.get() + 1);
            room.emptiest(pod, &ranked, |_| Ok(()))
        };
        assert!(refusals.ask(&room, pod, (), look).is_err(), "{name}");
    }
    looked.get()
}

#[test]
fn who_differs_only_by_name_is_looked_for_a_place_once() {
    let full = || World::with_nodes("a1=closely a2=closely b1=far b2=far");
    let greedy = |name: &str| pod(name).on("b1").owned_by("ReplicaSet/web").asking_for_cpu(2_000);
    let alike = full().pod(greedy("one")).pod(greedy("two").on("b2").created(9)).pod(greedy("three").unready());
    assert_eq!(looks(&alike, &["one", "two", "three"]), 1);
    let other = alike.pod(greedy("more").asking_for_cpu(3_000)).pod(greedy("gpu").only_on("gpu", "1"));
    assert_eq!(looks(&other, &["one", "more", "gpu", "two"]), 3);
    // Labels count where anybody has rules about others, and nothing else refuses the pod.
    let api = |pod: Pod| {
        let mut it = pod;
        it.labels.insert("app".into(), "api".into());
        it
    };
    let modest = |name: &str| greedy(name).asking_for_cpu(1);
    let labelled = full().pod(greedy("one")).pod(api(greedy("two"))).pod(modest("three")).pod(api(modest("four")));
    assert_eq!(looks(&labelled, &["one", "two"]), 1);
    let of_all = |world: World, app: &str| {
        let apart = |node: &str| pod(&format!("{app} apart on {node}")).on(node).not_beside("host", app);
        world.pod(apart("a1")).pod(apart("a2"))
    };
    let exclusive = of_all(of_all(labelled, "api"), "web");
    assert_eq!(looks(&exclusive, &["one", "two"]), 1);
    assert_eq!(looks(&exclusive, &["three", "four"]), 2);
    // Where it is itself doesn't count: on nodes of a far zone it is nobody's neighbour.
    let apart = |name: &str, node: &str| greedy(name).on(node).not_beside("zone", "web");
    let all = full().pod(apart("one", "b1")).pod(apart("two", "b2"));
    assert_eq!(looks(&all, &["one", "two"]), 1);
}

proptest! {
    /// What is remembered is what would be said, whatever has been put where meanwhile.
    #[test]
    fn whoever_is_like_one_who_was_refused_would_be_refused_too(
        pods in prop::collection::vec((any_pod(), prop::sample::select(vec![100u64, 500, 1_000]), any::<bool>()), 1..10),
        steps in prop::collection::vec((0usize..10, prop::sample::select(vec!["a1", "a2", "b2"]), 0..4u8), 0..12),
    ) {
        let mut world = World::with_nodes("a1=closely a2=closely b1=far b2=far c1=far");
        Arc::make_mut(world.nodes.get_mut("c1").unwrap()).labels.remove("zone");
        for (number, (mut pod, cpu_m, elsewhere)) in pods.into_iter().enumerate() {
            (pod.name, pod.uid, pod.requests.cpu_m) = (format!("{number}"), format!("{number}"), cpu_m);
            // Some look at another namespace, and some at all.
            pod.namespace = if elsewhere { "bank" } else { "shop" }.into();
            for term in pod.anti_affinity.iter_mut().chain(pod.affinity.iter_mut()).filter(|_| elsewhere) {
                if number % 2 == 0 {
                    term.namespaces = vec!["shop".into()];
                } else {
                    term.namespace_selector = (number % 3 == 0).then(Default::default);
                }
            }
            world = world.pod(pod);
        }
        let nodes: Vec<&Node> = ["a1", "a2"].map(|name| &*world.nodes[name]).to_vec();
        let (mut room, refusals) = (Room::of(world.snapshot()), Refusals::of(nodes.clone()));
        let (ranked, mut added) = (Ranked::of(nodes), Vec::new());
        for (number, node, step) in steps {
            let standing = |pod: &&Arc<Pod>| !pod.terminating;
            for pod in world.pods.values().filter(standing).map(|pod| &**pod) {
                let look = || room.emptiest(pod, &ranked, |_| Ok(())).map(|node| &*node.name);
                let (said, now) = (refusals.ask(&room, pod, (), look), look());
                // In words an older refusal may tell of more than one reason for a node.
                prop_assert_eq!(said.is_ok(), now.is_ok(), "{}: {:?}, now {:?}", pod.name, said, now);
            }
            let Some(pod) = world.pods.get(&number.to_string()) else { continue };
            // Nobody leaves a node that is asked.
            let far = pod.node.as_deref().is_some_and(|node| !node.starts_with('a'));
            match step {
                0 if added.is_empty() && far => room.place(pod, node),
                3 => {
                    if let Some((pod, node)) = added.pop() {
                        room.take_back(pod, node);
                    }
                }
                _ => {
                    room.add(pod, node);
                    added.push((pod, node));
                }
            }
        }
    }
}
