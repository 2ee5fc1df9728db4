use super::{check, pod, web, world};
use crate::core::{
    testing::selector,
    workload::{Pod, PodTerm},
};

const APART: &str = "pod anti-affinity";
const ALONE: &str = "pod affinity";

/// The pod, whose first rule about others looks at these namespaces, and at those with this label `team`.
fn looking_at(mut pod: Pod, namespaces: &[&str], team: Option<&str>) -> Pod {
    let term: &mut PodTerm = pod.anti_affinity.first_mut().or(pod.affinity.first_mut()).unwrap();
    term.namespaces = namespaces.iter().map(ToString::to_string).collect();
    term.namespace_selector = team.map(|team| if team == "*" { Default::default() } else { selector("team", team) });
    pod
}

#[test]
fn a_pod_goes_where_it_refuses_nobody() {
    let lonely = |key: &str| web().not_beside(key, "web");
    let itself = || pod("web").on("a2").not_beside("zone", "web");
    let of_a_set = || itself().owned_by("StatefulSet/web");
    check([
        ("one in its zone", world().pod(pod("x").on("a2")), lonely("zone"), APART),
        ("one on another node", world().pod(pod("x").on("a2")), lonely("host"), ""),
        ("one that it doesn't mean", world().pod(pod("x").on("a1").labelled("app", "api")), lonely("host"), ""),
        ("one that is on its way out", world().pod(pod("x").on("a1").terminating()), lonely("host"), APART),
        ("itself elsewhere", world().pod(lonely("zone")), lonely("zone"), ""),
        ("itself in the same zone, replaced before it is gone", world().pod(itself()), itself(), APART),
        ("itself in the same zone, replaced when it is gone", world().pod(of_a_set()), of_a_set(), ""),
    ]);
}

#[test]
fn a_pod_goes_where_nobody_refuses_it() {
    let lonely = || pod("x").on("a1").not_beside("host", "web").within("batch");
    let batch = |team: &str| world().namespace("shop", team).namespace("batch", "batch");
    let selecting = |team: &str| looking_at(lonely(), &[], Some(team));
    check([
        ("in its zone", world().pod(pod("x").on("a2").not_beside("zone", "web")), web(), APART),
        ("another one", world().pod(pod("x").on("a2").not_beside("zone", "api")), web(), ""),
        ("of another namespace", world().pod(lonely()), web(), ""),
        ("which looks at its namespace", world().pod(looking_at(lonely(), &["shop"], None)), web(), APART),
        ("which looks at others", world().pod(looking_at(lonely(), &["tools"], None)), web(), ""),
        ("which looks at all", world().pod(selecting("*")), web(), APART),
        ("which looks at such namespaces", batch("shop").pod(selecting("shop")), web(), APART),
        ("which looks at other ones", batch("shop").pod(selecting("ops")), web(), ""),
        ("which looks at such as nobody knows it is", world().pod(selecting("shop")), web(), APART),
    ]);
}

#[test]
fn a_pod_goes_where_somebody_is_whom_it_wants_beside_it() {
    let beside = |apps: &[&str]| {
        apps.iter().fold(web(), |pod, app| pod.beside("zone", if *app == "web" { "app" } else { "also" }, app))
    };
    let api = |pod: Pod| pod.labelled("app", "other").labelled("also", "api");
    let both = || pod("x").on("a1").labelled("also", "api");
    let itself = || pod("web").on("b1").beside("zone", "app", "web");
    let of_a_set = || itself().owned_by("StatefulSet/web");
    let in_batch = || pod("x").on("a1").within("batch");
    let teams = || world().namespace("shop", "shop").namespace("batch", "batch").pod(in_batch());
    check([
        ("there is one", world().pod(pod("x").on("a2")), beside(&["web"]), ""),
        ("there is one elsewhere", world().pod(pod("x").on("b1")), beside(&["web"]), ALONE),
        ("the first one of its kind", world(), beside(&["web"]), ""),
        ("the first one of its kind, without the key", world(), web().beside("rack", "app", "web"), ALONE),
        ("nobody, and it is of another kind", world(), beside(&["api"]), ALONE),
        ("one that is on its way out", world().pod(pod("x").on("a1").terminating()), beside(&["web"]), ALONE),
        // Its replacement is drawn to where it is as long as it is there, and its controller doesn't wait.
        ("itself, replaced before it is gone", world().pod(itself()), itself(), ALONE),
        ("itself, replaced when it is gone", world().pod(of_a_set()), of_a_set(), ""),
        ("two in one", world().pod(both()), beside(&["web", "api"]), ""),
        (
            "two that are two",
            world().pod(pod("x").on("a1")).pod(api(pod("y").on("a2"))),
            beside(&["web", "api"]),
            ALONE,
        ),
        ("one of another namespace", world().pod(in_batch()).pod(pod("y").on("b1")), beside(&["web"]), ALONE),
        ("a namespace that it names", world().pod(in_batch()), looking_at(beside(&["web"]), &["batch"], None), ""),
        ("a namespace by its label", teams(), looking_at(beside(&["web"]), &[], Some("batch")), ""),
        (
            "its own namespace isn't among them",
            world().namespace("shop", "shop"),
            looking_at(beside(&["web"]), &[], Some("batch")),
            ALONE,
        ),
    ]);
}
