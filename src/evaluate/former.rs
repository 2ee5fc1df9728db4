//! Nodes that may have lost their power with the former primary, and of which Kubernetes doesn't know it yet.
//!
//! Kubernetes calls a node dead that it hasn't heard of for 40 to 55 s, and until then the node's pods look as if they served: to us, and to
//! the disruption budgets that count them. A database may be promoted elsewhere in half of that time. So after a primary was lost
//! without a word the agents are asked: those that are alive write within seconds that its host is silent, and one whose last word is
//! older, and says that the host is there, may be as dead as that.

use std::time::{Duration, Instant};

use super::{Facts, Memory};
use crate::{
    api::node_latency::Reading,
    core::{moment::Moment, movement::held::Gate, words::listed},
    index::{Latency, reckoned},
};

/// By then Kubernetes has called a dead node NotReady, and the agent of one that is alive has written: it does each minute.
const LONGEST: Duration = Duration::from_secs(90);
/// An agent writes when the loss of its echoes has changed by so much.
const NOTICED_PERCENT: u8 = 30;

/// Where the primary was before the present one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Former {
    pub host: String,
    /// When this process last believed in it. `None`: it never did.
    pub believed: Option<Instant>,
}

/// The nodes that may be gone, if there are any.
pub(super) fn in_doubt(facts: &Facts<'_>, memory: &Memory, now: Moment) -> Option<Gate> {
    let former = memory.former.as_ref()?;
    let failover = facts.failover()?;
    if failover.why.as_deref() == Some("Planned") {
        return None;
    }
    let confirmed = || failover.confirmed_at.map(|at| reckoned(at, now.wall, now.instant));
    let believed = former.believed.or_else(confirmed)?;
    let left = LONGEST.checked_sub(now.instant.saturating_duration_since(believed)).filter(|left| !left.is_zero())?;
    let latency = |node: &str| facts.tables.latencies.get(node);
    let ready = facts.tables.nodes.values().filter(|node| node.ready);
    let said: Vec<(&str, &Latency, &Reading)> = ready
        .filter_map(|node| Some((&*node.name, latency(&node.name)?)))
        .filter_map(|(node, it)| Some((node, it, it.spec.of(&former.host)?)))
        .collect();
    let noticed = |reading: &Reading| reading.rtt_us.is_none() || reading.loss_percent >= NOTICED_PERCENT;
    if !said.iter().any(|(_, _, reading)| noticed(reading)) {
        // The host is there: something else went wrong with the primary.
        return None;
    }
    let silent = said.iter().filter(|(_, latency, reading)| !noticed(reading) && latency.received <= believed);
    let mut silent: Vec<String> = silent.map(|(node, ..)| (*node).to_owned()).collect();
    silent.sort_unstable();
    let until = now.wall.checked_add(left).unwrap_or(now.wall);
    (!silent.is_empty()).then(|| Gate::NodesInDoubt { nodes: listed(&silent), until })
}

#[cfg(test)]
mod tests;
