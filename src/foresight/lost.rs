//! The loss of a node or of a data centre: its pods are gone, and what replaces them comes on top of everybody else.

use std::{cmp::Reverse, collections::HashMap};

use super::{
    forecast::Loss,
    near::count,
    picture::{Gone, Picture},
};
use crate::{
    api::DatabaseCluster,
    core::{
        distance::tier::{Tier, TierMap},
        movement::fit::{Ranked, Room},
        workload::Node,
    },
    index::Following,
};

impl Picture {
    /// Puts everybody who was lost somewhere else: those that come first by priority first, and whoever is drawn there as near as he may.
    /// Whoever finds no place waits for one.
    pub(super) fn replace(&mut self, gone: &Gone, tiers: &TierMap, object: &DatabaseCluster) -> Option<Loss> {
        if gone.nodes.is_empty() {
            return None;
        }
        let mut loss = Loss { nodes: count(gone.nodes.len()), pods: count(gone.pods.len()), ..Loss::default() };
        let mut pods: Vec<_> = gone.pods.iter().collect();
        pods.sort_by_key(|(pod, _)| (Reverse(pod.priority), pod.namespace.clone(), pod.name.clone()));
        let before = self.tables.clone();
        let mut nodes: Vec<&Node> = before.nodes.values().collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let of_tier = |tier: &Tier| Ranked::of(nodes.iter().copied().filter(|node| tiers.tier(&node.name) == *tier));
        let (nearest_first, all): (Vec<_>, _) = (Tier::ALL.iter().map(of_tier).collect(), Ranked::of(nodes.clone()));
        let label = object.node_label();
        let mut room = Room::of(before.snapshot());
        let followers: HashMap<&str, &Following> = gone.followers.iter().map(|it| (&*it.pod.uid, it)).collect();
        for (pod, replacement) in pods {
            let following = followers.get(&*pod.uid).copied();
            if pod.pinned_by.is_some() {
                loss.tied += 1;
                continue;
            }
            let drawn = following.is_some() || replacement.is_drawn_by(&label);
            let among = if drawn { &*nearest_first } else { std::slice::from_ref(&all) };
            let node = among.iter().find_map(|nodes| room.emptiest(replacement, nodes, |_| Ok(())).ok());
            match node {
                Some(node) => room.add(replacement, &node.name),
                None => loss.pending += 1,
            }
            self.put_again(replacement, node.map(|node| &*node.name), following);
        }
        Some(loss)
    }
}
