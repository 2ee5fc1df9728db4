//! Which hard modes a pod could be held to now, whoever it is: for whoever injects and knows no nodes.

use crate::core::{distance::tier::Tier, follow::AffinityMode, taints, workload::Node};

/// The modes beyond `preferred` that leave some node to a pod that has no rules of its own and tolerates no taint, weakest first.
/// `sure`: the primary is known, and nothing is frozen.
pub fn possible<'n>(nodes: impl IntoIterator<Item = &'n Node>, node_label: &str, sure: bool) -> Vec<AffinityMode> {
    let (mut closely, mut not_far) = (false, false);
    for node in nodes.into_iter().filter(|node| takes_anybody(node)) {
        let tier = node.labelled(node_label);
        not_far |= tier != Tier::Far;
        closely |= tier == Tier::Closely;
        if closely {
            break;
        }
    }
    let modes = [(AffinityMode::AvoidFar, not_far), (AffinityMode::Required, closely && sure)];
    modes.into_iter().filter_map(|(mode, leaves)| leaves.then_some(mode)).collect()
}

fn takes_anybody(node: &Node) -> bool {
    node.ready && !node.unschedulable && taints::refusing(&node.taints, std::iter::empty).is_none()
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;
    use crate::core::workload::Taint;

    fn node(tier: &str) -> Node {
        let labels = [("switchover".to_owned(), tier.to_owned())].into_iter().filter(|(_, tier)| !tier.is_empty());
        Node { ready: true, labels: labels.collect(), ..Node::default() }
    }

    #[test]
    fn a_hard_mode_is_possible_while_it_leaves_a_node_that_takes_anybody() {
        use AffinityMode::{AvoidFar, Required};
        let taint = |effect: &str| Taint { key: "dedicated".into(), value: "db".into(), effect: effect.into() };
        let cordoned = Node { unschedulable: true, ..node("closely") };
        let not_ready = Node { ready: false, ..node("closely") };
        let tainted = Node { taints: vec![taint("NoSchedule")], ..node("closely") };
        let shunned = Node { taints: vec![taint("PreferNoSchedule")], ..node("closely") };
        let rows = [
            (vec![], true, vec![]),
            (vec![node("far")], true, vec![]),
            (vec![node("far"), node("")], true, vec![AvoidFar]),
            (vec![node("intermediate")], true, vec![AvoidFar]),
            (vec![node("far"), node("closely")], true, vec![AvoidFar, Required]),
            (vec![node("far"), node("closely")], false, vec![AvoidFar]),
            (vec![cordoned.clone(), not_ready.clone(), tainted.clone()], true, vec![]),
            (vec![cordoned, not_ready, tainted, node("intermediate")], true, vec![AvoidFar]),
            (vec![shunned], true, vec![AvoidFar, Required]),
        ];
        check_rows(rows, |(nodes, sure, expected)| assert_eq!(possible(&nodes, "switchover", sure), expected));
    }
}
