use std::sync::Arc;

use super::{World, check, node, pod, web, world};
use crate::core::{selector::Selector, testing::selector, workload::Pod};

fn changed(mut pod: Pod, change: impl FnOnce(&mut crate::core::workload::Spread)) -> Pod {
    change(&mut pod.spread[0]);
    pod
}

#[test]
fn a_pod_goes_where_no_domain_gets_too_many_of_its_kind() {
    let at_least = |domains, pod| changed(pod, |spread| spread.min_domains = domains);
    let every_node = |pod| changed(pod, |spread| spread.every_node = true);
    let heeding = |pod| changed(pod, |spread| spread.heeds_taints = true);
    let of = |selector: Selector, pod| changed(pod, |spread| spread.selector = selector);
    let over = |key: &str| web().spread_over(key);
    let one_each = || world().pod(pod("x").on("a1")).pod(pod("y").on("b1"));
    let keyless = |mut world: World| {
        Arc::make_mut(world.nodes.get_mut("b1").unwrap()).labels.remove("host");
        world
    };
    let tainted = || one_each().node(node("c1").tainted("gpu", "NoSchedule"));
    let stateful = || pod("web").on("a2").owned_by("StatefulSet/web");
    let zones = "topology spread over zone would be violated";
    check([
        ("the first one", world(), over("zone"), ""),
        ("the second one", world().pod(pod("x").on("a1")), over("zone"), zones),
        ("over hosts", world().pod(pod("x").on("a2")).pod(pod("y").on("b1")), over("host"), ""),
        ("a key that the node lacks", world(), over("rack"), "topology spread over rack would be violated"),
        ("others on their way out", world().pod(pod("x").on("a1").terminating()), over("zone"), ""),
        ("others of another namespace", world().pod(pod("x").on("a1").within("batch")), over("zone"), ""),
        ("the pod itself", world().pod(pod("web").on("a2")), pod("web").on("a2").spread_over("zone"), ""),
        ("itself, of a StatefulSet", world().pod(stateful()), stateful().spread_over("zone"), ""),
        ("fewer zones than there must be", one_each(), at_least(3, over("zone")), zones),
        ("as many as there must be", world().pod(pod("y").on("b1")), at_least(2, over("zone")), ""),
        (
            "a zone that it doesn't want",
            world().pod(pod("x").on("a1")),
            web().only_on("zone", "a").spread_over("zone"),
            "",
        ),
        (
            "a zone that counts all the same",
            world().pod(pod("x").on("a1")),
            every_node(web().only_on("zone", "a").spread_over("zone")),
            zones,
        ),
        ("an empty zone behind a taint", tainted(), over("zone"), zones),
        ("taints are heeded", tainted(), heeding(over("zone")), ""),
        (
            "it isn't one of those that it counts",
            world().pod(pod("x").on("a1")),
            of(selector("app", "web"), over("zone").labelled("app", "api")),
            "",
        ),
        (
            "a selector of everybody counts nobody",
            world().pod(pod("x").on("a1")),
            of(Selector::default(), over("zone")),
            "",
        ),
        (
            "an empty domain on a node that lacks the other key",
            keyless(world().pod(pod("x").on("a1")).pod(pod("y").on("a2"))),
            over("zone").spread_over("host"),
            "",
        ),
    ]);
}
