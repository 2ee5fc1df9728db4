//! What is shown of switchover and its databases, whoever shows it: [`status`](super::status) prints it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::{coordination::v1::LeaseSpec, core::v1::Node};
use kube::{
    ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
};
use serde::Serialize;

use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus, NodeLatency, keys, read},
    core::distance::tier::Tier,
};

/// One database, as shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseReport {
    pub name: String,
    pub node_label: String,
    pub paused: bool,
    /// Deleted, and waiting for its labels to be removed from the nodes.
    pub deleted: bool,
    pub status: DatabaseClusterStatus,
    pub nodes: Vec<NodeReport>,
    /// Why the object itself can't be read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl DatabaseReport {
    /// Of the object as it is, with every node's label and reading. One that can't be read says so and nothing else.
    #[must_use]
    pub fn of(
        object: DynamicObject,
        nodes: &[PartialObjectMeta<Node>],
        latencies: &BTreeMap<String, NodeLatency>,
    ) -> Self {
        let name = object.name_any();
        let deleted = object.metadata.deletion_timestamp.is_some();
        let object: DatabaseCluster = match read::database(object) {
            Ok(object) => object,
            Err(error) => {
                let (node_label, status) = (keys::default_node_label(&name), DatabaseClusterStatus::default());
                let error = Some(format!("the object can't be read: {error}"));
                return Self { name, node_label, paused: false, deleted, status, nodes: Vec::new(), error };
            }
        };
        let node_label = object.node_label().to_string();
        let status = object.status.unwrap_or_default();
        let mut rows: Vec<NodeReport> = nodes
            .iter()
            .map(|node| {
                let name = node.name_any();
                let latency = latencies.get(&name).map(|latency| &latency.spec);
                let reading = latency.and_then(|latency| {
                    latency.readings.iter().find(|reading| Some(&reading.host) == status.primary_host.as_ref())
                });
                NodeReport {
                    tier: Tier::from_label(node.labels().get(&node_label).map(String::as_str)),
                    rtt_us: reading.and_then(|reading| reading.rtt_us),
                    loss_percent: reading.map(|reading| reading.loss_percent),
                    jitter_us: reading.and_then(|reading| reading.jitter_us),
                    heartbeat: latency.map(|latency| latency.heartbeat),
                    name,
                }
            })
            .collect();
        rows.sort_by(|a, b| (a.tier, a.rtt_us, &a.name).cmp(&(b.tier, b.rtt_us, &b.name)));
        Self { name, node_label, paused: object.spec.paused, deleted, status, nodes: rows, error: None }
    }
}

/// One node, as shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    pub name: String,
    pub tier: Tier,
    /// Last median to the primary in microseconds.
    pub rtt_us: Option<u32>,
    pub loss_percent: Option<u8>,
    pub jitter_us: Option<u32>,
    /// When the agent last wrote.
    pub heartbeat: Option<Timestamp>,
}

/// Whether somebody keeps current what is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControllerReport {
    /// Who leads, or did last.
    pub leader: Option<String>,
    /// For how long its Lease has not been renewed, in seconds, by this machine's clock and the leader's.
    pub silent_s: Option<i64>,
    /// It renews its Lease.
    pub runs: bool,
}

impl ControllerReport {
    /// By its Lease.
    #[must_use]
    pub fn of(lease: Option<&LeaseSpec>, now: Timestamp) -> Self {
        let Some(lease) = lease else { return Self { leader: None, silent_s: None, runs: false } };
        let silent_s = lease.renew_time.as_ref().map(|at| now.duration_since(at.0).as_secs());
        // Clocks differ a little, and a Lease that ran out a moment ago is another replica's in another one.
        let patience = 2 * i64::from(lease.lease_duration_seconds.unwrap_or(10)) + CLOCKS_DIFFER_S;
        let leader = lease.holder_identity.clone().filter(|holder| !holder.is_empty());
        let recent = silent_s.is_some_and(|silent_s| (-CLOCKS_DIFFER_S..=patience).contains(&silent_s));
        Self { runs: leader.is_some() && recent, leader, silent_s }
    }

    /// Nobody renewed the Lease a moment ago, by two clocks that may differ by more than they should: only watching it tells.
    #[must_use]
    pub const fn unclear(&self) -> bool {
        !self.runs && self.leader.is_some()
    }

    /// Above everything else, for whoever is in a hurry.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        if self.runs {
            return None;
        }
        let why = match (&self.leader, self.silent_s) {
            (Some(leader), Some(silent_s @ 0..)) => format!("{leader} has not renewed its Lease for {silent_s} s"),
            (Some(leader), _) => format!("{leader} doesn't renew its Lease"),
            (None, Some(silent_s)) => format!("the Lease was given back {silent_s} s ago"),
            _ => "nobody has ever taken the Lease".to_owned(),
        };
        Some(format!("NO CONTROLLER RUNS ({why}): what follows is as the last one left it."))
    }
}

/// By how much the clocks of two machines may differ, in seconds.
const CLOCKS_DIFFER_S: i64 = 10;

#[cfg(test)]
mod tests;
