use super::{check, pod, world};
use crate::core::{testing::LABEL, workload::Pod};

const DRAWN: &str = "preferred affinity to other pods or nodes draws it elsewhere";

/// A far pod that is only preferred near.
fn web() -> Pod {
    pod("web").on("b1").preferring_nodes(100, LABEL, "closely").preferring_nodes(50, LABEL, "intermediate")
}

#[test]
fn a_pod_goes_where_nothing_draws_it_elsewhere_as_much_as_the_primary_does() {
    let api = |node: &str| pod("api").on(node).labelled("app", "api");
    let near = || pod("x").on("a2");
    let itself = || web().beside("zone", "app", "web");
    let of_a_set = || itself().owned_by("StatefulSet/web");
    let beside_api = |weight| web().leaning(weight, "zone", "api");
    check([
        ("nothing else is preferred", world(), web(), ""),
        // Where it is itself it is drawn to, as long as it is there, by the affinity of its own.
        ("itself where it is", world().pod(near()).pod(itself()), itself(), DRAWN),
        ("itself, and one as near as it", world().pod(near().beside("zone", "app", "web")).pod(itself()), itself(), ""),
        ("itself, replaced when it is gone", world().pod(near()).pod(of_a_set()), of_a_set(), ""),
        ("itself, and it must be near", world().pod(near()).pod(itself()), itself().only_on(LABEL, "closely"), ""),
        ("whom it prefers elsewhere", world().pod(api("b1")), beside_api(1), DRAWN),
        ("whom it prefers there", world().pod(api("a2")), beside_api(1), ""),
        ("whom it avoids there", world().pod(api("a2")), beside_api(-1), DRAWN),
        ("whom it avoids elsewhere", world().pod(api("b1")), beside_api(-1), ""),
        ("its like on that node", world().pod(pod("x").on("a1")), web().leaning(-100, "host", "web"), DRAWN),
        ("its like on another one", world().pod(pod("x").on("a2")), web().leaning(-100, "host", "web"), ""),
        ("who prefers it elsewhere", world().pod(api("b1").leaning(1, "zone", "web")), web(), DRAWN),
        ("who prefers others", world().pod(api("b1").leaning(1, "zone", "api")), web(), ""),
        (
            "who prefers it, in another namespace",
            world().pod(api("b1").leaning(1, "zone", "web").within("bank")),
            web(),
            "",
        ),
        ("nodes that it prefers as much", world(), web().preferring_nodes(100, "zone", "b"), DRAWN),
        ("nodes that it prefers a little", world(), web().preferring_nodes(10, "zone", "b"), ""),
        ("nodes that it prefers, and near ones are such", world(), web().preferring_nodes(100, "zone", "a"), ""),
        ("made before it followed", world().pod(api("a2")), pod("web").on("b1").leaning(9, "zone", "api"), ""),
    ]);
}
