//! The nodes as a table, a few rows at a time: for whoever looks for one, and for whoever sees no heat map.

use serde::Serialize;

use super::{
    page::pods_by_node,
    places::{Place, Places},
};
use crate::index::Tables;

/// Rows of one answer.
const ROWS: usize = 50;

/// Which rows are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub database: String,
    /// Part of the node's name, or of its data centre's.
    pub text: String,
    /// From this one on.
    pub from: usize,
}

/// Some rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rows<'a> {
    pub total: usize,
    pub from: usize,
    pub rows: Vec<Place<'a>>,
}

/// The rows that are asked for, the nearest to the primary first.
pub(super) fn rows<'a>(tables: &'a Tables, asked: &Asked) -> Rows<'a> {
    let object = tables.databases.get(&asked.database).and_then(|database| database.object.as_ref().ok());
    let Some(object) = object else { return Rows::default() };
    let status = object.status.clone().unwrap_or_default();
    let pods = pods_by_node(tables, &asked.database);
    let places = Places::of(tables, &status.members, &object.node_label(), &pods.by_node);
    let primary = status.members.iter().position(|member| Some(&member.name) == status.primary.as_ref());
    let mut found: Vec<_> =
        places.nodes.iter().filter(|node| node.name.contains(&asked.text) || node.zone.contains(&asked.text)).collect();
    // What has no reading comes last.
    let rtt = |rtt_us: &[Option<u32>]| primary.and_then(|at| rtt_us[at]).unwrap_or(u32::MAX);
    found.sort_by_key(|node| (node.tier, rtt(&node.rtt_us), node.name));
    let total = found.len();
    // Of nodes that have gone meanwhile, the last rows are shown.
    let from = if asked.from < total { asked.from } else { total.saturating_sub(1) / ROWS * ROWS };
    Rows { total, from, rows: found[from..].iter().take(ROWS).map(|node| (*node).clone()).collect() }
}
