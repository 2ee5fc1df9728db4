//! Where nodes and pods are.

use crate::{
    core::{
        distance::tier::{Tier, TierMap},
        workload::{Node, Snapshot},
    },
    index::Tables,
};

/// The zone of a node, or its name where it has none.
pub(super) fn zone_of(tables: &Tables, node: &str) -> String {
    tables.nodes.get(node).and_then(|node| node.zone()).unwrap_or(node).to_owned()
}

/// The zones of the nodes that are near, or some words for them.
pub(super) fn places(tables: &Tables, tiers: &TierMap, member: &str) -> String {
    let near = tables.nodes.values().filter(|node| tiers.tier(&node.name) == Tier::Closely);
    let zones: std::collections::BTreeSet<&str> = near.filter_map(|node| node.zone()).collect();
    match zones.len() {
        0 => format!("what is near {member}"),
        _ => zones.into_iter().collect::<Vec<_>>().join(" and "),
    }
}

/// The nodes that pods are moved to: they are near, and say so.
pub(super) fn targets<'a>(snapshot: Snapshot<'a>, tiers: &TierMap, label: &str) -> Vec<&'a Node> {
    let near = |node: &&Node| tiers.tier(&node.name) == Tier::Closely && node.labelled(label) == Tier::Closely;
    snapshot.nodes().filter(near).collect()
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What is lost, by the names of nodes and zones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost {
    pub names: Vec<String>,
}

impl Lost {
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.names.is_empty()
    }

    /// The names that no node and no zone has.
    #[must_use]
    pub fn unknown(&self, tables: &Tables) -> Vec<&str> {
        let is_known = |name: &&String| {
            let alone = Self { names: vec![(*name).clone()] };
            tables.nodes.values().any(|node| alone.takes(node))
        };
        self.names.iter().filter(|name| !is_known(name)).map(String::as_str).collect()
    }

    /// Whether this node is among what is lost.
    #[must_use]
    pub fn takes(&self, node: &Node) -> bool {
        self.names.iter().any(|name| *name == node.name || node.zone() == Some(name))
    }
}
