//! Nodes × members as a heat map of a bounded number of columns, however many nodes there are.

use serde::Serialize;

use super::places::{Place, Places};
use crate::core::distance::tier::Tier;

/// Columns, at most. A screen shows no more side by side.
pub(super) const MOST_COLUMNS: usize = 240;

/// One column for each node, or for a few of one data centre.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Heat {
    pub columns: Vec<Column>,
    /// Nodes of one column, at most.
    pub nodes_each: usize,
}

/// A node, or a few of one data centre.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Column {
    pub zone: String,
    /// Of the first node, and of the last one if there are several.
    pub first: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    pub nodes: usize,
    pub pods: u32,
    /// The farthest of theirs.
    pub tier: Tier,
    /// The longest round-trip time of theirs to each member.
    pub rtt_us: Vec<Option<u32>>,
}

/// The heat map of these nodes.
pub(super) fn heat(places: &Places<'_>) -> Heat {
    let zones: Vec<&[Place<'_>]> = places.by_zone().collect();
    let columns = |each: usize| zones.iter().map(|nodes| nodes.len().div_ceil(each)).sum::<usize>();
    let nodes_each = (1..).find(|each| columns(*each) <= MOST_COLUMNS.max(zones.len())).unwrap_or(1);
    let column = |nodes: &[Place<'_>]| Column {
        zone: nodes[0].zone.to_owned(),
        first: nodes[0].name.to_owned(),
        last: nodes.last().filter(|_| nodes.len() > 1).map(|node| node.name.to_owned()),
        nodes: nodes.len(),
        pods: nodes.iter().map(|node| node.pods).sum(),
        tier: farthest(nodes),
        rtt_us: (0..places.members).map(|at| nodes.iter().filter_map(|node| node.rtt_us[at]).max()).collect(),
    };
    Heat { columns: zones.iter().flat_map(|nodes| nodes.chunks(nodes_each)).map(column).collect(), nodes_each }
}

/// Nodes that were never measured don't hide those that were.
fn farthest(nodes: &[Place<'_>]) -> Tier {
    let measured = nodes.iter().map(|node| node.tier).filter(|tier| *tier != Tier::Unknown);
    measured.max().unwrap_or(Tier::Unknown)
}
