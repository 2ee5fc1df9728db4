use super::{check, web, world};
use crate::core::{selector::NodeTerm, workload::Pod};

#[test]
fn a_pod_goes_where_its_own_choice_of_nodes_lets_it() {
    let selecting = |key: &str, value: &str| {
        let mut pod = web();
        pod.node_selector.insert(key.into(), value.into());
        pod
    };
    let none = || Pod { node_terms: Some(vec![NodeTerm::default()].into()), ..web() };
    check([
        ("a nodeSelector", world(), selecting("zone", "a"), ""),
        ("a nodeSelector for others", world(), selecting("disk", "ssd"), "nodeSelector doesn't match"),
        ("its zone", world(), web().only_on("zone", "a"), ""),
        ("another zone", world(), web().only_on("zone", "b"), "required node affinity doesn't match"),
        ("an empty term", world(), none(), "required node affinity doesn't match"),
    ]);
}
