//! Readings → tiers → label changes.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};

use super::Shared;
use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus, database_cluster::TaintRule},
    cluster::{self, EffectError, NodeChange, nodes::StillRight},
    core::{
        distance::{
            doubt::Doubt,
            overwrite::{Seen, Wanted},
            tier::{Measured, NodeTier, Thresholds, Tier, TierMap, tiers},
        },
        movement::taint::TaintEffect,
        workload::{Node, Taint},
    },
    index::Tables,
};

/// Label changes of one database that wait to be written at the same time. More than are written at once
/// ([`NodeWriter`](super::nodes::NodeWriter)), so that those of several databases to one node can go together.
const CONCURRENT: usize = 256;
/// Characters of a refusal that are shown.
const LONGEST_REFUSAL: usize = 200;

pub(super) fn thresholds(object: &DatabaseCluster) -> Thresholds {
    let rules = &object.spec.tiers;
    Thresholds {
        window_us: rules.window.as_us(),
        closely_below_us: rules.closely_below.map(crate::api::Span::as_us),
        far_above_us: rules.far_above.map(crate::api::Span::as_us),
        margin_us: rules.margin.as_us(),
        confirmations: rules.confirmations,
    }
}

/// Every node's tier. `primary` is the host of the confirmed primary; without one nothing changes.
pub(super) fn evaluate(
    tables: &Tables,
    object: &DatabaseCluster,
    primary: Option<&str>,
    previous: &TierMap,
    at_once: bool,
    now: Instant,
) -> TierMap {
    let key = object.node_label();
    let stale_after = object.spec.tiers.stale_after.0;
    let rtt = |node: &str| primary.and_then(|host| fresh_rtt_us(tables, node, host, stale_after, now));
    let label = |node: &Node| node.labelled(&key);
    let (managed, left_alone): (Vec<&Node>, Vec<&Node>) = tables.nodes.values().partition(|node| node.managed);
    let measured = managed
        .into_iter()
        .map(|node| (node.name.clone(), Measured { label: label(node), rtt_us: rtt(&node.name) }))
        .collect();
    let mut map = tiers(&measured, previous, &thresholds(object), at_once, now);
    for node in left_alone {
        map.nodes.insert(node.name.clone(), NodeTier::labelled(label(node), rtt(&node.name)));
    }
    if primary.is_none() {
        // Nothing was looked at, so that nothing has ended either.
        map.doubts.clone_from(&previous.doubts);
    }
    map
}

fn milliseconds(us: u64) -> f64 {
    us as f64 / 1000.0
}

/// What begins to be ignored now, `NODE: WHY`. What the status says already was told by an earlier leader.
pub(super) fn new_doubts(before: &TierMap, now: &TierMap, status: &DatabaseClusterStatus) -> Vec<String> {
    let known = |node: &String, doubt: &Doubt| {
        before.doubts.get(node).is_some_and(|before| before.name() == doubt.name())
            || status.ignored.iter().any(|ignored| ignored.node == *node && ignored.reason == doubt.name())
    };
    let new = now.doubts.iter().filter(|(node, doubt)| !known(node, doubt));
    new.map(|(node, doubt)| format!("{node}: {doubt}")).collect()
}

/// The fresh median from a node to a member's host, in microseconds.
pub(super) fn fresh_rtt_us(
    tables: &Tables,
    node: &str,
    host: &str,
    stale_after: Duration,
    now: Instant,
) -> Option<u64> {
    let latency = tables.latencies.get(node)?;
    if now.saturating_duration_since(latency.received) > stale_after {
        return None;
    }
    latency.spec.readings.iter().find(|reading| reading.host == host)?.rtt_us.map(u64::from)
}

/// What of every node is ours to write, as it is and as it should be.
pub(super) fn seen<'a>(tables: &'a Tables, object: &DatabaseCluster, map: &TierMap) -> Vec<Seen<'a>> {
    let key = object.node_label();
    let taint = object.spec.taint.map(TaintRule::effect);
    let look = |node: &'a Node| {
        let ours = |taint: &&Taint| taint.key == key && Some(taint.value.as_str()) == Tier::Far.label();
        Seen {
            node: &node.name,
            wanted: Wanted { tier: map.tier(&node.name), taint },
            label: node.labels.get(&key).map(String::as_str),
            taints: node.taints.iter().filter(ours).map(|taint| taint.effect.as_str()).collect(),
        }
    };
    tables.nodes.values().filter(|node| node.managed).map(look).collect()
}

/// What differs between a node as it is and as it should be. A taint that evicts is not put on here.
pub(super) fn change(seen: &Seen<'_>) -> Option<NodeChange> {
    let Wanted { tier, taint } = seen.wanted;
    let retaint = !seen.tainted();
    let change = NodeChange { tier, taint: taint.map(TaintEffect::without_eviction), retaint };
    (retaint || !seen.labelled()).then_some(change)
}

/// Why a change could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub why: String,
    /// The API server said so, rather than nothing; and not because somebody else wrote at the same moment.
    pub answered: bool,
}

impl Refusal {
    pub fn of(error: &EffectError) -> Self {
        let answered = matches!(error, EffectError::Api(kube::Error::Api(status)) if status.code != 409);
        Self { why: error.to_string().chars().take(LONGEST_REFUSAL).collect(), answered }
    }
}

/// What led to label changes, for the log.
pub(super) struct Because<'a> {
    pub tiers: &'a TierMap,
    /// Name of the primary.
    pub primary: Option<&'a str>,
}

/// Makes the changes: new closely nodes first, so that there is somewhere to go, then the rest. Says of every node that was
/// tried whether it was refused. The rest is left when they are not right any more: with a slow API server and
/// thousands of nodes they would take minutes.
pub(super) async fn apply(
    shared: &Shared,
    database: &str,
    key: &str,
    changes: BTreeMap<String, NodeChange>,
    because: &Because<'_>,
    still_right: StillRight,
) -> Vec<(String, Option<Refusal>)> {
    let still_right = &still_right;
    let mut ends = Vec::new();
    for wave in cluster::in_order(changes) {
        let tries = stream::iter(wave)
            .map(|(node, change)| async move {
                if !still_right() {
                    return None;
                }
                let from = shared.index.read().nodes.get(&node).and_then(|node| node.labels.get(key).cloned());
                match shared.nodes.write(&node, key, change, Arc::clone(still_right)).await {
                    Ok(()) => {
                        let [from, tier] = [from.as_deref(), change.tier.label()].map(|tier| tier.unwrap_or("unknown"));
                        let rtt_ms = because.tiers.rtt_us(&node).map(milliseconds);
                        let primary = because.primary;
                        tracing::info!(database, node, label = key, from, tier, rtt_ms, primary, "labelled a node");
                        shared.metrics.labelled(database, true);
                        Some((node, None))
                    }
                    Err(error) if matches!(*error, EffectError::Outdated) => None,
                    Err(error) => {
                        let refusal = Refusal::of(&error);
                        let error = &*error as &dyn std::error::Error;
                        tracing::warn!(database, node, label = key, error, "could not label a node; will try again");
                        shared.metrics.labelled(database, false);
                        Some((node, Some(refusal)))
                    }
                }
            })
            .buffer_unordered(CONCURRENT);
        ends.extend(tries.filter_map(std::future::ready).collect::<Vec<_>>().await);
    }
    if !still_right() {
        tracing::info!(
            database,
            label = key,
            "nodes are not labelled further: leadership or primary changed meanwhile"
        );
    }
    ends
}
