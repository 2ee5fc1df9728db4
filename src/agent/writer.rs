//! Writes this node's NodeLatency, and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Node, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{AgentConfig, schedule::Schedule};
use crate::{
    agent::probe::Readings,
    api::{
        NodeLatency, NodeLatencySpec,
        node_latency::{Method, Reading},
    },
    cluster::{EffectError, bounded},
    core::distance::{
        doubt::POSSIBLE_US,
        rtt::{self, Summary, worth_writing},
    },
};

const FIELD_MANAGER: &str = "switchover-agent";

/// Writes by what came of them.
#[derive(Debug, Clone, Default)]
pub(super) struct WriteMetrics {
    writes: Family<[(&'static str, &'static str); 2], Counter>,
}

impl WriteMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "node_latency_writes",
            "Writes of this node's NodeLatency, by cause (change, heartbeat) and outcome (ok, error)",
            metrics.writes.clone(),
        );
        metrics
    }

    fn count(&self, changed: bool, ok: bool) {
        let cause = if changed { "change" } else { "heartbeat" };
        self.writes.get_or_create(&[("cause", cause), ("outcome", if ok { "ok" } else { "error" })]).inc();
    }
}

/// Keeps the NodeLatency of one node current until `shutdown`.
pub(super) async fn run(
    config: AgentConfig,
    client: Client,
    mut readings: watch::Receiver<Arc<Readings>>,
    metrics: WriteMetrics,
    shutdown: CancellationToken,
) {
    let mut writer = Writer {
        latencies: Api::all(client.clone()),
        nodes: Api::all(client),
        owner: None,
        object_uid: None,
        told_no_owner: false,
        written: BTreeMap::new(),
        schedule: Schedule::new(config.heartbeat, Instant::now(), (rand::random(), rand::random())),
        metrics,
        config,
    };
    loop {
        let current = Arc::clone(&readings.borrow_and_update());
        writer.weigh(&current, Instant::now());
        if writer.schedule.next() <= Instant::now() {
            if shutdown.run_until_cancelled(writer.write(&current)).await.is_none() {
                return;
            }
            continue;
        }
        tokio::select! {
            changed = readings.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(writer.schedule.next().into()) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

struct Writer {
    latencies: Api<NodeLatency>,
    nodes: Api<Node>,
    config: AgentConfig,
    /// This node, once its UID is known.
    owner: Option<OwnerReference>,
    /// UID of the NodeLatency as it was last written.
    object_uid: Option<String>,
    told_no_owner: bool,
    /// What the API server has.
    written: BTreeMap<String, Summary>,
    schedule: Schedule,
    metrics: WriteMetrics,
}

impl Writer {
    /// Schedules a write if a reading says something that was not written.
    fn weigh(&mut self, readings: &Readings, now: Instant) {
        if differs(&self.written, readings, &self.config.deadband) {
            let delay = self.config.spread.mul_f64(rand::random());
            self.schedule.changed(now, delay);
        } else {
            self.schedule.unchanged();
        }
    }

    async fn write(&mut self, readings: &Readings) {
        let changed = differs(&self.written, readings, &self.config.deadband);
        if self.owner.is_none() {
            self.find_owner().await;
        }
        let result = self.apply(readings).await;
        self.metrics.count(changed, result.is_ok());
        let now = Instant::now();
        match result {
            Ok(uid) => {
                if self.schedule.failing() {
                    tracing::info!(node = self.config.node_name, "the NodeLatency can be written again");
                }
                self.schedule.wrote(now, rand::random());
                self.written =
                    readings.iter().filter_map(|(host, reading)| Some((host.clone(), (*reading)?))).collect();
                if self.object_uid.is_some() && self.object_uid != uid {
                    // Made anew: perhaps because the node was, and then the node has another UID.
                    self.owner = None;
                }
                self.object_uid = uid;
            }
            Err(error) => {
                if self.schedule.failed(now, rand::random()) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        node = self.config.node_name,
                        error,
                        "the NodeLatency can't be written; measuring on and retrying"
                    );
                }
            }
        }
    }

    /// Server-side apply of the whole object: creates it if need be, and takes nothing from other writers but the
    /// fields of ours. Returns its UID.
    async fn apply(&self, readings: &Readings) -> Result<Option<String>, EffectError> {
        let mut object = NodeLatency::new(&self.config.node_name, spec(readings, Timestamp::now()));
        object.metadata.owner_references = self.owner.clone().map(|owner| vec![owner]);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&object);
        let request = self.latencies.patch(&self.config.node_name, &params, &patch);
        Ok(bounded(request).await?.metadata.uid)
    }

    /// With its node as the owner a NodeLatency goes when the node goes. Without, it stays and gets stale.
    async fn find_owner(&mut self) {
        let request = self.nodes.get_metadata(&self.config.node_name);
        let error = match bounded(request).await {
            Ok(node) => {
                self.owner = node.metadata.uid.map(|uid| OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Node".to_owned(),
                    name: self.config.node_name.clone(),
                    uid,
                    ..OwnerReference::default()
                });
                return;
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut self.told_no_owner, true) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                node = self.config.node_name,
                error,
                "this node's UID can't be read; the NodeLatency is written without an owner until it can"
            );
        }
    }
}

/// Whether any host's reading is worth a write. A host whose window has only just begun says nothing yet.
fn differs(written: &BTreeMap<String, Summary>, readings: &Readings, deadband: &rtt::Deadband) -> bool {
    let hosts: BTreeSet<&String> = written.keys().chain(readings.keys()).collect();
    hosts.into_iter().any(|host| match readings.get(host) {
        Some(None) => false,
        now => worth_writing(written.get(host), now.and_then(Option::as_ref), deadband),
    })
}

fn spec(readings: &Readings, heartbeat: Timestamp) -> NodeLatencySpec {
    let reading = |(host, reading): (&String, &Option<Summary>)| {
        let reading = (*reading)?;
        Some(Reading {
            host: host.clone(),
            // The schema refuses the whole object for one reading that can't be.
            rtt_us: reading.rtt_us.filter(|us| POSSIBLE_US.contains(&u64::from(*us))),
            jitter_us: reading.jitter_us,
            loss_percent: reading.loss_percent,
            samples: reading.samples,
            method: match reading.method {
                rtt::Method::Icmp => Method::Icmp,
                rtt::Method::Tcp => Method::Tcp,
            },
        })
    };
    let readings: Vec<Reading> = readings.iter().filter_map(reading).collect();
    NodeLatencySpec { heartbeat, member_count: u32::try_from(readings.len()).unwrap_or(u32::MAX), readings }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    /// `"a=300 b=- c=?"`: `-` is all lost, `?` not enough echoes yet.
    fn readings(text: &str) -> Readings {
        let reading = |word: &str| {
            let (host, rtt) = word.split_once('=').unwrap();
            let rtt_us = rtt.parse().ok();
            let loss_percent = if rtt_us.is_some() { 0 } else { 100 };
            let summary = Summary { rtt_us, loss_percent, samples: 10, ..Summary::default() };
            (host.to_owned(), (rtt != "?").then_some(summary))
        };
        text.split_whitespace().map(reading).collect()
    }

    #[test]
    fn what_is_worth_a_write() {
        let rows = [
            ("nothing to measure", "", "", false),
            ("the first reading", "", "a=300", true),
            ("a member appears, its window has just begun", "a=300", "a=300 b=?", false),
            ("a member has its first reading", "a=300", "a=300 b=20000", true),
            ("a member goes", "a=300 b=20000", "a=300", true),
            ("calm", "a=300 b=20000", "a=310 b=20100", false),
            ("a route changes", "a=300 b=20000", "a=20000 b=20000", true),
            ("a member's network dies", "a=300 b=20000", "a=300 b=-", true),
            ("its window starts over", "a=300 b=20000", "a=300 b=?", false),
        ];
        check_rows(rows, |(what, written, now, expected)| {
            let written = readings(written).into_iter().map(|(host, reading)| (host, reading.unwrap())).collect();
            assert_eq!(differs(&written, &readings(now), &rtt::Deadband::default()), expected, "{what}");
        });
    }

    #[test]
    fn the_object_holds_what_was_measured() {
        let spec = spec(&readings("a=300 b=- c=?"), Timestamp::UNIX_EPOCH);
        assert_eq!(spec.member_count, 2);
        assert_eq!(
            serde_json::to_value(&spec.readings).unwrap(),
            serde_json::json!([
                { "host": "a", "rttUs": 300, "lossPercent": 0, "samples": 10, "method": "icmp" },
                { "host": "b", "lossPercent": 100, "samples": 10, "method": "icmp" },
            ])
        );
    }
}
