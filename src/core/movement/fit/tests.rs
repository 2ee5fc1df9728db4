use std::sync::Arc;

use lab::table::check_rows;
use proptest::prelude::*;

use super::*;
use crate::core::testing::{World, node, pod, selector};

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
        pod.host_ports = vec![80].into();
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
    let elsewhere = |mut pod: Pod, of_any: bool| {
        pod.namespace = "batch".into();
        pod.anti_affinity[0].by_namespace_label = of_any;
        pod
    };
    let labelled = |mut pod: Pod, key: &str, value: &str| {
        pod.labels.insert(key.into(), value.into());
        pod
    };
    let api = |pod: Pod| labelled(labelled(pod, "app", "other"), "also", "api");
    let both = |pod: Pod| labelled(pod, "also", "api");
    let beside = |apps: &[&str]| {
        let term = |app: &&str| PodTerm {
            key: "zone".into(),
            selector: selector(if *app == "web" { "app" } else { "also" }, app),
            namespaces: Vec::new(),
            by_namespace_label: false,
        };
        Pod { affinity: apps.iter().map(term).collect(), ..web() }
    };
    let at_least = |domains: usize, mut pod: Pod| {
        pod.spread[0].min_domains = domains;
        pod
    };
    let every_node = |mut pod: Pod| {
        pod.spread[0].every_node = true;
        pod
    };
    let strange = |pod: Pod| Pod { unforeseen: Some("where devices are"), ..pod };
    let rows = [
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
        (
            "anti-affinity to one that is on its way out",
            world().pod(pod("x").on("a1").terminating()),
            web().not_beside("host", "web"),
            error("pod anti-affinity"),
        ),
        (
            "another's anti-affinity, of any namespace",
            world().pod(elsewhere(pod("x").on("a1").not_beside("host", "web"), true)),
            web(),
            error("pod anti-affinity"),
        ),
        (
            "another's anti-affinity, of its namespace",
            world().pod(elsewhere(pod("x").on("a1").not_beside("host", "web"), false)),
            web(),
            Ok(()),
        ),
        ("beside its own kind, the first one", world(), beside(&["web"]), Ok(())),
        ("beside its own kind, elsewhere", world().pod(pod("x").on("b1")), beside(&["web"]), error("pod affinity")),
        ("beside two in one", world().pod(both(pod("x").on("a1"))), beside(&["web", "api"]), Ok(())),
        (
            "beside two that are two",
            world().pod(pod("x").on("a1")).pod(api(pod("y").on("a2"))),
            beside(&["web", "api"]),
            error("pod affinity"),
        ),
        (
            "fewer zones than there must be",
            world().pod(pod("x").on("a1")).pod(pod("y").on("b1")),
            at_least(3, web().spread_over("zone")),
            error("topology spread over zone would be violated"),
        ),
        (
            "as many zones as there must be",
            world().pod(pod("y").on("b1")),
            at_least(2, web().spread_over("zone")),
            Ok(()),
        ),
        (
            "a zone counts that it doesn't want",
            world().pod(pod("x").on("a1")),
            every_node(web().only_on("zone", "a").spread_over("zone")),
            error("topology spread over zone would be violated"),
        ),
        (
            "a template that asks for more than the pod",
            world().workload("ReplicaSet/web", 1).changed("ReplicaSet/web", |it| it.requests.cpu_m = 2_000),
            web().owned_by("ReplicaSet/web"),
            error("insufficient cpu"),
        ),
        ("what isn't evaluated", world(), strange(web()), error("where devices are, which can't be foreseen")),
    ];
    check_rows(rows, |(what, world, candidate, expected)| {
        assert_eq!(fit(world, &candidate), expected, "{what}");
    });
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

#[test]
fn a_pod_that_is_moved_in_thought_refuses_others_where_it_will_be() {
    let world = world().pod(pod("one").on("b1").not_beside("zone", "web")).pod(pod("two").on("b1"));
    let mut room = Room::of(world.snapshot());
    let (one, two) = (&world.pods["uid-one"], &world.pods["uid-two"]);
    room.place(one, "a1");
    assert_eq!(room.fits(two, &world.nodes["a2"]), Err(Misfit::AntiAffinity));
    assert_eq!(room.fits(two, &world.nodes["b1"]), Ok(()));
}

/// The rules about other pods as they read: for every node, every pod on every node of its domain.
fn one_by_one(world: &World, places: &[(&str, &Pod)], pod: &Pod, node: &Node) -> Result<(), Misfit> {
    let domain = |name: &str, key: &str| world.nodes[name].labels.get(key).map(String::as_str);
    let others = || places.iter().filter(|(_, other)| other.uid != pod.uid);
    for spread in &pod.spread {
        let misfit = Misfit::Spread(spread.key.clone());
        let Some(here) = domain(&node.name, &spread.key) else { return Err(misfit) };
        let alike = |other: &Pod| {
            other.namespace == pod.namespace && !other.terminating && spread.selector.matches(&other.labels)
        };
        let count = |wanted: &str| {
            let there = others().filter(|(at, other)| domain(at, &spread.key) == Some(wanted) && alike(other));
            there.count() as u64
        };
        let least = world.nodes.values().filter_map(|node| domain(&node.name, &spread.key)).map(count).min();
        if count(here) + 1 - least.unwrap() > spread.max_skew {
            return Err(misfit);
        }
    }
    let beside = |at: &str, key: &str| domain(at, key).is_some() && domain(at, key) == domain(&node.name, key);
    let selected =
        |term: &PodTerm| others().any(|(at, other)| beside(at, &term.key) && selects(term, &pod.namespace, other));
    let refuses = |(at, other): &(&str, &Pod)| {
        other.anti_affinity.iter().any(|term| beside(at, &term.key) && selects(term, &other.namespace, pod))
    };
    let drawn = |term: &PodTerm| {
        others().any(|(at, other)| !other.terminating && beside(at, &term.key) && selects(term, &pod.namespace, other))
    };
    // With one term at most, whoever it selects is selected by all.
    let drawing = |(_, other): &(&str, &Pod)| {
        !other.terminating && pod.affinity.iter().all(|term| selects(term, &pod.namespace, other))
    };
    let first = !others().any(drawing) && pod.affinity.iter().all(|term| selects(term, &pod.namespace, pod));
    let has_keys = pod.affinity.iter().all(|term| domain(&node.name, &term.key).is_some());
    if pod.anti_affinity.iter().any(selected) || others().any(refuses) {
        Err(Misfit::AntiAffinity)
    } else if !(if first { has_keys } else { pod.affinity.iter().all(drawn) }) {
        Err(Misfit::PodAffinity)
    } else {
        Ok(())
    }
}

/// A pod of one of two applications, with some rules about others, somewhere.
pub(super) fn any_pod() -> impl Strategy<Value = Pod> {
    const NODES: [&str; 5] = ["a1", "a2", "b1", "b2", "c1"];
    let key = || prop::sample::select(vec!["zone", "host"]);
    let app = || prop::sample::select(vec!["web", "api"]);
    let term = || prop::option::weighted(0.3, (key(), app()));
    let rules = (term(), term(), prop::option::weighted(0.3, key()));
    let node = prop::sample::select(NODES.to_vec());
    (node, app(), rules, prop::bool::weighted(0.1)).prop_map(|(node, app, (apart, together, spread), terminating)| {
        let mut pod = pod("").on(node);
        pod.labels.insert("app".into(), app.into());
        pod.terminating = terminating;
        if let Some((key, app)) = together {
            pod = pod.not_beside(key, app);
            pod.affinity = std::mem::take(&mut pod.anti_affinity);
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
        let mut places: Vec<(&str, &Pod)> =
            world.pods.values().map(|pod| (pod.node.as_deref().unwrap(), &**pod)).collect();
        let mut moved = HashSet::new();
        for (number, node) in &placed {
            let Some(pod) = world.pods.get(&number.to_string()).filter(|_| moved.insert(number)) else { continue };
            room.place(pod, node);
            places.retain(|(_, other)| other.uid != pod.uid);
            places.push((node, pod));
        }
        for (pod, node) in world.pods.values().flat_map(|pod| world.nodes.values().map(move |node| (pod, node))) {
            prop_assert_eq!(room.fits(pod, node), one_by_one(&world, &places, pod, node), "{} on {}", pod.name, node.name);
        }
    }
}
