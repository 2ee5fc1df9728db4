//! How near each node is to the primary.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use strum::VariantArray;

use super::doubt::{Doubt, doubts};
use crate::core::hash::HashMap;

/// How near a node is to the primary. Ordered: nearer is less.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, VariantArray)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    Closely,
    Intermediate,
    Far,
    /// Never measured. Not far: nothing is moved off or kept away from such a node.
    Unknown,
}

impl Tier {
    /// From the nearest on, and [`Tier::Unknown`].
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The value of the node label; `None` for a node that has no label.
    #[must_use]
    pub const fn label(self) -> Option<&'static str> {
        match self {
            Self::Closely => Some("closely"),
            Self::Intermediate => Some("intermediate"),
            Self::Far => Some("far"),
            Self::Unknown => None,
        }
    }

    /// Reads the value of the node label; anything that switchover never writes is [`Tier::Unknown`].
    #[must_use]
    pub fn from_label(value: Option<&str>) -> Self {
        match value {
            Some("closely") => Self::Closely,
            Some("intermediate") => Self::Intermediate,
            Some("far") => Self::Far,
            _ => Self::Unknown,
        }
    }
}

/// Confirmations that the first tier of a node needs at most: without one it is of no use to anybody.
const FIRST: u32 = 3;

/// When a node counts as closely, intermediate or far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    pub window_us: u64,
    /// Absolute bound that overrides the window.
    pub closely_below_us: Option<u64>,
    /// Absolute bound that overrides the window.
    pub far_above_us: Option<u64>,
    pub margin_us: u64,
    pub confirmations: u32,
}

/// The two boundaries that the thresholds come to for the fleet as it is measured now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Below it a node is closely, in microseconds.
    pub closely_below_us: u64,
    /// From it on a node that isn't closely is far, in microseconds.
    pub far_from_us: u64,
}

impl Bounds {
    /// `min + window` and `max − window`, unless absolute bounds override them.
    #[must_use]
    pub fn of(thresholds: &Thresholds, fresh_us: impl Iterator<Item = u64>) -> Option<Self> {
        let (min, max) = fresh_us.fold(None, |range: Option<(u64, u64)>, us| {
            Some(range.map_or((us, us), |(min, max)| (min.min(us), max.max(us))))
        })?;
        Some(Self {
            closely_below_us: thresholds.closely_below_us.unwrap_or_else(|| min.saturating_add(thresholds.window_us)),
            far_from_us: thresholds.far_above_us.unwrap_or_else(|| max.saturating_sub(thresholds.window_us)),
        })
    }

    /// The tier of a round-trip time. Closely wins where the two boundaries overlap, so that a fleet whose nodes are
    /// all about equally near is all closely and never all far.
    #[must_use]
    pub const fn tier(&self, rtt_us: u64) -> Tier {
        if rtt_us < self.closely_below_us {
            Tier::Closely
        } else if rtt_us >= self.far_from_us {
            Tier::Far
        } else {
            Tier::Intermediate
        }
    }
}

/// What is known of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeTier {
    pub tier: Tier,
    /// Fresh median to the primary, in microseconds, if it is believed.
    pub rtt_us: Option<u64>,
    /// A tier that the readings ask for but that is not confirmed yet, and how many evaluations in a row agreed.
    pub candidate: Option<(Tier, u32)>,
    /// When readings changed the tier. `None` if it was the primary's change that did, or nobody knows any more.
    pub changed_at: Option<Instant>,
}

impl NodeTier {
    /// A tier that is only known by its label.
    #[must_use]
    pub const fn labelled(tier: Tier, rtt_us: Option<u64>) -> Self {
        Self { tier, rtt_us, candidate: None, changed_at: None }
    }

    /// Whether nothing speaks of another tier, and nothing has for `settle`.
    #[must_use]
    pub fn settled(&self, settle: Duration, now: Instant) -> bool {
        self.candidate.is_none() && self.changed_at.is_none_or(|at| now.saturating_duration_since(at) >= settle)
    }
}

/// Every node's tier.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TierMap {
    pub nodes: BTreeMap<String, NodeTier>,
    /// `None` while nothing may change: no reading, or too few.
    pub bounds: Option<Bounds>,
    /// Readings that were not believed, by node.
    pub doubts: BTreeMap<String, Doubt>,
}

impl TierMap {
    #[must_use]
    pub fn tier(&self, node: &str) -> Tier {
        self.nodes.get(node).map_or(Tier::Unknown, |n| n.tier)
    }

    #[must_use]
    pub fn rtt_us(&self, node: &str) -> Option<u64> {
        self.nodes.get(node).and_then(|n| n.rtt_us)
    }

    /// For thousands of look-ups, which take a fifth of the time.
    #[must_use]
    pub fn by_node(&self) -> HashMap<&str, &NodeTier> {
        self.nodes.iter().map(|(node, it)| (node.as_str(), it)).collect()
    }

    /// Whether every node has the same tier in both, whatever its readings are.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        fn tiers(map: &TierMap) -> impl Iterator<Item = (&String, Tier)> {
            map.nodes.iter().map(|(node, it)| (node, it.tier))
        }
        self.bounds.is_some() == other.bounds.is_some() && tiers(self).eq(tiers(other))
    }

    /// How many nodes are in `tier`.
    #[must_use]
    pub fn count(&self, tier: Tier) -> usize {
        self.nodes.values().filter(|n| n.tier == tier).count()
    }
}

/// One node as the tiers see it: what it was, and how far it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// The tier that its label says. It counts where nothing was decided before: after a restart, or on another leader.
    pub label: Tier,
    /// Fresh median to the primary in microseconds, as the node says; `None` when there is none.
    pub rtt_us: Option<u64>,
    /// Kubernetes hears of it. Of one that is dead nobody expects a reading.
    pub ready: bool,
    /// Its agent is silent for so long that it is gone: then people decide on the label, and none that they took off is put back.
    pub abandoned: bool,
}

/// Evaluates every node once. `at_once` is set when the primary has changed since the last evaluation: then the
/// readings count without margin and without confirmations. The first tier of a node needs the latter: when agents start, the
/// first readings are few, and of few echoes. A node without a fresh reading that can be believed keeps
/// its tier. While fewer than half of the nodes that are Ready and have ever been labelled have one, nothing changes: minimum and
/// maximum would be those of the few that happen to be left.
#[must_use]
pub fn tiers(
    nodes: &BTreeMap<String, Measured>,
    previous: &TierMap,
    thresholds: &Thresholds,
    at_once: bool,
    now: Instant,
) -> TierMap {
    let doubts = doubts(nodes.iter().filter_map(|(name, node)| Some((name.as_str(), node.rtt_us?))));
    let believed = |name: &String, measured: &Measured| match doubts.get(name) {
        Some(Doubt::Impossible { .. } | Doubt::LoneNearest { .. }) => Measured { rtt_us: None, ..*measured },
        Some(Doubt::LoneFarthest { .. }) | None => *measured,
    };
    let nodes: BTreeMap<&String, Measured> = nodes.iter().map(|(name, node)| (name, believed(name, node))).collect();
    let fresh = nodes.values().filter(|n| n.rtt_us.is_some()).count();
    let labelled = nodes.values().filter(|n| n.rtt_us.is_some() || (n.ready && n.label != Tier::Unknown)).count();
    let extremes = nodes.iter().filter(|(name, _)| !doubts.contains_key(**name)).filter_map(|(_, node)| node.rtt_us);
    let bounds = if fresh * 2 >= labelled { Bounds::of(thresholds, extremes) } else { None };
    let nodes = nodes
        .into_iter()
        .map(|(name, measured)| {
            let before = previous.nodes.get(name);
            // A label that differs from what was decided wasn't written yet, or somebody else wrote over it.
            let decided = before.map(|n| n.tier).filter(|tier| *tier != Tier::Unknown && !measured.abandoned);
            let current = decided.unwrap_or(measured.label);
            let before = NodeTier {
                candidate: before.and_then(|n| n.candidate),
                changed_at: before.and_then(|n| n.changed_at).filter(|_| !at_once),
                ..NodeTier::labelled(current, measured.rtt_us)
            };
            (name.clone(), evaluate(before, bounds, thresholds, at_once, now))
        })
        .collect();
    TierMap { nodes, bounds, doubts }
}

/// `before`: with the reading of now.
fn evaluate(
    before: NodeTier,
    bounds: Option<Bounds>,
    thresholds: &Thresholds,
    at_once: bool,
    now: Instant,
) -> NodeTier {
    let (keep, current) = (NodeTier { candidate: None, ..before }, before.tier);
    let (Some(bounds), Some(rtt_us)) = (bounds, before.rtt_us) else { return keep };
    let wanted = bounds.tier(rtt_us);
    if wanted == current {
        return keep;
    }
    if at_once {
        return NodeTier { tier: wanted, ..keep };
    }
    // Beyond the boundary by the margin: the reading, shifted back towards the current tier, still leaves it.
    let beyond = if current == Tier::Unknown {
        true
    } else if wanted > current {
        bounds.tier(rtt_us.saturating_sub(thresholds.margin_us)) > current
    } else {
        bounds.tier(rtt_us.saturating_add(thresholds.margin_us)) < current
    };
    if !beyond {
        return keep;
    }
    let agreed = before.candidate.map_or(0, |(tier, agreed)| if tier == wanted { agreed } else { 0 }) + 1;
    let enough = if current == Tier::Unknown { thresholds.confirmations.min(FIRST) } else { thresholds.confirmations };
    if agreed >= enough {
        NodeTier { tier: wanted, changed_at: Some(now), ..keep }
    } else {
        NodeTier { candidate: Some((wanted, agreed)), ..keep }
    }
}

#[cfg(test)]
mod tests;
