use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::core::workload::Phase;

/// Somebody on a node; whether he is on his way out.
type Place<'a> = (&'a str, &'a Pod, bool);

/// The rules about other pods as they read: for every node, every pod on every node of its domain.
fn one_by_one(world: &World, places: &[Place<'_>], pod: &Pod, node: &Node) -> Result<(), Misfit> {
    let domain = |name: &str, key: &str| world.nodes[name].labels.get(key).map(String::as_str);
    let others = || places.iter().map(|(at, other, leaving)| (*at, *other, *leaving || other.uid == pod.uid));
    for spread in &pod.spread {
        let misfit = Misfit::Spread(spread.key.clone());
        let Some(here) = domain(&node.name, &spread.key) else { return Err(misfit) };
        let count = |wanted: &str| {
            let there = others().filter(|(at, other, leaving)| {
                domain(at, &spread.key) == Some(wanted) && !leaving && spread.selector.matches(&other.labels)
            });
            there.count() as u64
        };
        let least = world.nodes.values().filter_map(|node| domain(&node.name, &spread.key)).map(count).min();
        let itself = u64::from(spread.selector.matches(&pod.labels));
        if (count(here) + itself).saturating_sub(least.unwrap()) > spread.max_skew {
            return Err(misfit);
        }
    }
    let beside = |at: &str, key: &str| domain(at, key).is_some() && domain(at, key) == domain(&node.name, key);
    let refused = others().any(|(at, other, _)| {
        let by_it = pod.anti_affinity.iter().any(|term| beside(at, &term.key) && term.selector.matches(&other.labels));
        let by_other =
            other.anti_affinity.iter().any(|term| beside(at, &term.key) && term.selector.matches(&pod.labels));
        by_it || by_other
    });
    // With one term at most, whoever it selects is selected by all.
    let drawn = |term: &crate::core::workload::PodTerm| {
        others().any(|(at, other, leaving)| !leaving && beside(at, &term.key) && term.selector.matches(&other.labels))
    };
    let drawing = |(at, other, _): Place<'_>| {
        pod.affinity.iter().any(|term| domain(at, &term.key).is_some() && term.selector.matches(&other.labels))
    };
    let first = !others().any(drawing) && pod.affinity.iter().all(|term| term.selector.matches(&pod.labels));
    let has_keys = pod.affinity.iter().all(|term| domain(&node.name, &term.key).is_some());
    if refused {
        Err(Misfit::AntiAffinity)
    } else if !(if first { has_keys } else { pod.affinity.iter().all(drawn) }) {
        Err(Misfit::PodAffinity)
    } else {
        Ok(())
    }
}

/// A pod of one of two applications, with some rules about others, somewhere.
pub(in crate::core::movement::fit) fn any_pod() -> impl Strategy<Value = Pod> {
    const NODES: [&str; 5] = ["a1", "a2", "b1", "b2", "c1"];
    let key = || prop::sample::select(vec!["zone", "host"]);
    let app = || prop::sample::select(vec!["web", "api"]);
    let term = || prop::option::weighted(0.3, (key(), app()));
    let rules = (term(), term(), prop::option::weighted(0.3, key()));
    let node = prop::sample::select(NODES.to_vec());
    (node, app(), rules, prop::bool::weighted(0.1)).prop_map(|(node, app, (apart, together, spread), terminating)| {
        let mut pod = pod("").on(node).labelled("app", app);
        pod.terminating = terminating;
        if let Some((key, app)) = together {
            pod = pod.beside(key, "app", app);
        }
        if let Some((key, app)) = apart {
            pod = pod.not_beside(key, app);
        }
        if let Some(key) = spread { pod.spread_over(key) } else { pod }
    })
}

proptest! {
    #[test]
    fn rules_about_others_are_what_they_are_when_read_one_by_one(
        pods in prop::collection::vec(any_pod(), 1..8),
        placed in prop::collection::vec((0usize..8, prop::sample::select(vec!["a1", "b2"])), 0..3),
    ) {
        let mut world = World::with_nodes("a1=closely a2=closely b1=far b2=far c1=far");
        Arc::make_mut(world.nodes.get_mut("c1").unwrap()).labels.remove("zone");
        for (number, mut pod) in pods.into_iter().enumerate() {
            (pod.name, pod.uid) = (format!("{number}"), format!("{number}"));
            world = world.pod(pod);
        }
        let mut room = Room::of(world.snapshot());
        let mut places: Vec<Place<'_>> =
            world.pods.values().map(|pod| (pod.node.as_deref().unwrap(), &**pod, pod.terminating)).collect();
        let mut moved = HashSet::new();
        for (number, node) in &placed {
            let Some(pod) = world.pods.get(&number.to_string()).filter(|_| moved.insert(number)) else { continue };
            room.place(pod, node);
            for place in places.iter_mut().filter(|(_, other, _)| other.uid == pod.uid) {
                place.2 = true;
            }
            places.push((node, pod, false));
        }
        for (pod, node) in world.pods.values().flat_map(|pod| world.nodes.values().map(move |node| (pod, node))) {
            // What others only prefer is no rule.
            let said = room.fits(pod, node).or_else(|misfit| if misfit == Misfit::Drawn { Ok(()) } else { Err(misfit) });
            prop_assert_eq!(said, one_by_one(&world, &places, pod, node), "{} on {}", pod.name, node.name);
        }
    }

    /// What is summed up with the pods is what a look at each of them finds, with everything that is carried out in thought.
    #[test]
    fn what_a_node_has_left_is_what_everybody_there_leaves(
        pods in prop::collection::vec((any_pod(), 0u64..400, 0u8..4), 1..8),
        steps in prop::collection::vec((0usize..8, prop::sample::select(vec!["a1", "b2"]), any::<bool>()), 0..6),
        asks in 1u64..400,
    ) {
        let mut world = World::with_nodes("a1=closely a2=closely b1=far b2=far c1=far");
        for (number, (mut pod, cpu_m, state)) in pods.into_iter().enumerate() {
            (pod.name, pod.uid, pod.requests.cpu_m) = (format!("{number}"), format!("{number}"), cpu_m);
            match state {
                0 => (pod.nominated, pod.phase, pod.terminating) = (pod.node.take(), Phase::Pending, false),
                1 => pod.phase = Phase::Finished,
                _ => {}
            }
            world = world.pod(pod);
        }
        let mut room = Room::of(world.snapshot());
        // By node: pods, and what they ask for.
        let mut used: HashMap<&str, (i64, u64)> = HashMap::new();
        let there = |pod: &'_ Pod| pod.phase != Phase::Finished;
        for pod in world.pods.values().filter(|pod| there(pod)) {
            let node = pod.node.as_deref().or(pod.nominated.as_deref()).unwrap();
            let (count, cpu_m) = used.entry(node).or_default();
            (*count, *cpu_m) = (*count + 1, *cpu_m + pod.requests.cpu_m);
        }
        let mut moved = HashSet::new();
        for (number, to, stays) in &steps {
            let Some(pod) = world.pods.get(&number.to_string()).filter(|_| moved.insert(number)) else { continue };
            room.place(pod, to);
            if !stays {
                room.put_back(pod, to);
                continue;
            }
            if let Some(node) = pod.node.as_deref().or(pod.nominated.as_deref()).filter(|_| there(pod)) {
                used.entry(node).or_default().0 -= 1;
            }
            let (count, cpu_m) = used.entry(to).or_default();
            (*count, *cpu_m) = (*count + 1, *cpu_m + pod.requests.cpu_m);
        }
        let candidate = pod("candidate").asking_for_cpu(asks).labelled("app", "other");
        for node in world.nodes.values() {
            let (count, cpu_m) = used.get(&*node.name).copied().unwrap_or_default();
            prop_assert_eq!(node.pods.saturating_sub(room.used(&node.name).pods), (node.pods as i64 - count) as u64, "{}", node.name);
            let lacks = count >= node.pods as i64 || cpu_m + asks > node.allocatable.cpu_m;
            let insufficient = matches!(room.fits(&candidate, node), Err(Misfit::Insufficient(_)));
            prop_assert_eq!(insufficient, lacks, "{}: {} of {}", node.name, cpu_m, count);
        }
    }
}
