//! Label changes are made.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt, stream};

use super::Shared;
use crate::{
    cluster::{self, EffectError, nodes::StillRight},
    core::distance::{overwrite::NodeChange, tier::TierMap},
    evaluate::Refusal,
};

/// Label changes of one database that wait to be written at the same time. More than are written at once
/// ([`NodeWriter`](crate::cluster::nodes::NodeWriter)), so that those of several databases to one node can go together.
const CONCURRENT: usize = 256;
/// Characters of a refusal that are shown.
const LONGEST_REFUSAL: usize = 200;

fn milliseconds(us: u64) -> f64 {
    us as f64 / 1000.0
}

impl From<&EffectError> for Refusal {
    fn from(error: &EffectError) -> Self {
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
                        let refusal = Refusal::from(&*error);
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
