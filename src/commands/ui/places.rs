//! Nodes with their round-trip times to every member, and the data centres that they stand in.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    api::database_cluster::MemberStatus,
    core::{distance::tier::Tier, workload::Node},
    index::Tables,
};

/// Data centres that are told apart; the rest is one.
const MOST_ZONES: usize = 40;
/// What the rest is called. No label's value has a space.
const REST: &str = "other zones";

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Place<'a> {
    pub name: &'a str,
    /// Empty if nothing says so.
    pub zone: &'a str,
    pub tier: Tier,
    /// Pods there that follow the database.
    pub pods: u32,
    pub ready: bool,
    /// Takes no new pods.
    pub cordoned: bool,
    /// To each member, in microseconds.
    pub rtt_us: Vec<Option<u32>>,
    pub heartbeat: Option<Timestamp>,
}

/// One data centre.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Zone {
    pub name: String,
    pub nodes: u32,
    pub closely: u32,
    pub intermediate: u32,
    pub far: u32,
    pub unknown: u32,
    pub not_ready: u32,
    /// Pods there that follow the database.
    pub pods: u32,
    /// Median round-trip time from its nodes to each member.
    pub rtt_us: Vec<Option<u32>>,
}

/// The nodes, in the order of their data centres and names.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub nodes: Vec<Place<'a>>,
    by_name: HashMap<&'a str, usize>,
    pub members: usize,
    zones_total: usize,
}

impl<'a> Places<'a> {
    /// As the tables have them; `pods` says how many pods of each node follow the database.
    pub(super) fn of(tables: &'a Tables, members: &[MemberStatus], key: &str, pods: &HashMap<String, u32>) -> Self {
        let at: HashMap<&str, usize> =
            members.iter().enumerate().map(|(at, member)| (member.host.as_str(), at)).collect();
        let place = |node: &'a Node| {
            let mut rtt_us = vec![None; members.len()];
            let latency = tables.latencies.get(&node.name);
            for reading in latency.iter().flat_map(|latency| &latency.spec.readings) {
                if let Some(at) = at.get(reading.host.as_str()) {
                    rtt_us[*at] = reading.rtt_us;
                }
            }
            Place {
                name: &node.name,
                zone: node.zone().unwrap_or_default(),
                tier: node.labelled(key),
                pods: pods.get(&node.name).copied().unwrap_or(0),
                ready: node.ready,
                cordoned: node.unschedulable,
                rtt_us,
                heartbeat: latency.map(|latency| latency.spec.heartbeat),
            }
        };
        let mut nodes: Vec<Place<'a>> = tables.nodes.values().map(place).collect();
        let mut sizes: HashMap<&str, usize> = HashMap::new();
        nodes.iter().for_each(|node| *sizes.entry(node.zone).or_default() += 1);
        let zones_total = sizes.len();
        if zones_total > MOST_ZONES {
            let mut zones: Vec<(&str, usize)> = sizes.into_iter().collect();
            zones.sort_by_key(|(zone, size)| (std::cmp::Reverse(*size), *zone));
            let told: Vec<&str> = zones[..MOST_ZONES - 1].iter().map(|(zone, _)| *zone).collect();
            nodes.iter_mut().filter(|node| !told.contains(&node.zone)).for_each(|node| node.zone = REST);
        }
        nodes.sort_by(|a, b| (a.zone, a.name).cmp(&(b.zone, b.name)));
        let by_name = nodes.iter().enumerate().map(|(at, node)| (node.name, at)).collect();
        Self { nodes, by_name, members: members.len(), zones_total }
    }

    /// The data centre of a node.
    pub(super) fn zone_of(&self, node: &str) -> Option<&'a str> {
        self.by_name.get(node).map(|at| self.nodes[*at].zone)
    }

    /// The data centre of the node that is nearest to this member, which is the member's own as far as anybody can say.
    pub(super) fn nearest_zone(&self, member: usize) -> Option<&'a str> {
        let measured = self.nodes.iter().filter_map(|node| Some((node.rtt_us[member]?, node)));
        measured.min_by_key(|(rtt_us, node)| (*rtt_us, node.name)).map(|(_, node)| node.zone)
    }

    /// The nodes of each data centre.
    pub(super) fn by_zone(&self) -> impl Iterator<Item = &[Place<'a>]> {
        self.nodes.chunk_by(|a, b| a.zone == b.zone)
    }

    /// The data centres, and how many there are, told apart or not.
    pub(super) fn zones(&self) -> (Vec<Zone>, usize) {
        let zone = |nodes: &[Place<'_>]| {
            let count = |tier| nodes.iter().filter(|node| node.tier == tier).count();
            let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
            Zone {
                name: nodes[0].zone.to_owned(),
                nodes: number(nodes.len()),
                closely: number(count(Tier::Closely)),
                intermediate: number(count(Tier::Intermediate)),
                far: number(count(Tier::Far)),
                unknown: number(count(Tier::Unknown)),
                not_ready: number(nodes.iter().filter(|node| !node.ready).count()),
                pods: nodes.iter().map(|node| node.pods).sum(),
                rtt_us: (0..self.members).map(|member| median(nodes, member)).collect(),
            }
        };
        (self.by_zone().map(zone).collect(), self.zones_total)
    }
}

fn median(nodes: &[Place<'_>], member: usize) -> Option<u32> {
    let mut measured: Vec<u32> = nodes.iter().filter_map(|node| node.rtt_us[member]).collect();
    measured.sort_unstable();
    measured.get(measured.len().checked_sub(1)? / 2).copied()
}
