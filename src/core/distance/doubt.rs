//! Readings that are not believed. A node may lie, or be ill: it must not decide for the whole fleet what near and far are.
//!
//! What one node says of itself can't be checked. What can be: whether any network is like that, and whether anybody
//! else says something like it. A node that says alone what a network can well be is believed, for nothing tells it from
//! the only node of a data centre.

use std::{collections::BTreeMap, fmt, ops::RangeInclusive};

use strum::{IntoStaticStr, VariantNames};

/// Round trips outside of this, in microseconds, are none. The schema of NodeLatency refuses them.
pub const POSSIBLE_US: RangeInclusive<u64> = 1..=10_000_000;
/// No network answers in less, in microseconds; not even a member on the node itself does.
const NEAR_US: u64 = 10;
/// The data centres of one Kubernetes are nearer to each other than this, in microseconds.
const DISTANT_US: u64 = 100_000;
/// A lone extreme is doubted from this many times the next reading on.
const TIMES: u64 = 10;
/// As many others must be believed as it takes to say who of them is odd.
const FEWEST: usize = 3;

/// Why a reading is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantNames)]
pub enum Doubt {
    /// No round trip takes that long, or that short.
    Impossible { rtt_us: u64 },
    /// One node alone claims to be that near: the reading is ignored, and the node keeps its label.
    LoneNearest { rtt_us: u64, next_us: u64 },
    /// One node alone claims to be that far: what is far is measured without it. The node itself is far.
    LoneFarthest { rtt_us: u64, next_us: u64 },
}

impl Doubt {
    /// Every [`Doubt::name`].
    pub const NAMES: &'static [&'static str] = Self::VARIANTS;

    /// In one CamelCase word, for metrics and status.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Impossible { rtt_us } => {
                let (least, most) = (POSSIBLE_US.start(), POSSIBLE_US.end() / 1_000_000);
                write!(f, "it says {rtt_us} µs, and no round trip is outside of {least} µs to {most} s")
            }
            Self::LoneNearest { rtt_us, next_us } => write!(
                f,
                "it says {rtt_us} µs, faster than any network, and the next nearest node {next_us} µs: it keeps its label"
            ),
            Self::LoneFarthest { rtt_us, next_us } => write!(
                f,
                "it alone says {rtt_us} µs, and the next farthest node {next_us} µs: what is far is measured without it"
            ),
        }
    }
}

/// The readings that are not believed, by node. `readings`: each node's round trip in microseconds.
#[must_use]
pub fn doubts<'a>(readings: impl IntoIterator<Item = (&'a str, u64)>) -> BTreeMap<String, Doubt> {
    let mut doubts = BTreeMap::new();
    let mut possible: Vec<(u64, &str)> = Vec::new();
    for (name, rtt_us) in readings {
        if POSSIBLE_US.contains(&rtt_us) {
            possible.push((rtt_us, name));
        } else {
            doubts.insert(name.to_owned(), Doubt::Impossible { rtt_us });
        }
    }
    possible.sort_unstable();
    let mut believed = possible.as_slice();
    while let [(rtt_us, name), rest @ ..] = believed
        && rest.len() >= FEWEST
        && *rtt_us < NEAR_US
        && rest[0].0 > rtt_us * TIMES
    {
        doubts.insert((*name).to_owned(), Doubt::LoneNearest { rtt_us: *rtt_us, next_us: rest[0].0 });
        believed = rest;
    }
    // When the first one is put aside, the next may stand just as alone.
    while let [rest @ .., (rtt_us, name)] = believed
        && rest.len() >= FEWEST
        && *rtt_us > DISTANT_US
        && *rtt_us > rest[rest.len() - 1].0 * TIMES
    {
        doubts.insert((*name).to_owned(), Doubt::LoneFarthest { rtt_us: *rtt_us, next_us: rest[rest.len() - 1].0 });
        believed = rest;
    }
    doubts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::distance::tier::{Measured, Thresholds, Tier, TierMap, tiers};
    use lab::table::check_rows;
    use proptest::prelude::*;

    #[test]
    fn metrics_and_status_know_these_doubts() {
        assert_eq!(Doubt::NAMES, ["Impossible", "LoneNearest", "LoneFarthest"]);
        assert_eq!(Doubt::LoneNearest { rtt_us: 1, next_us: 2 }.name(), "LoneNearest");
    }

    /// `"300 8000 20000"`: readings in microseconds, of nodes 0, 1 and so on.
    fn shown(readings: &str) -> String {
        let readings: BTreeMap<String, u64> = readings
            .split(' ')
            .enumerate()
            .filter_map(|(number, word)| Some((number.to_string(), word.parse().ok()?)))
            .collect();
        let doubts = doubts(readings.iter().map(|(name, rtt_us)| (name.as_str(), *rtt_us)));
        doubts.iter().map(|(name, doubt)| format!("{name}:{}", doubt.name())).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_reading_is_believed_unless_no_network_is_like_that() {
        let rows = [
            ("nothing measured", "- - -", ""),
            ("three data centres, the farthest with one node", "300 310 8000 8100 20000", ""),
            ("three data centres, the nearest with one node", "300 8000 8100 20000 20100", ""),
            ("one node beside the primary, the rest on another continent", "30 90000 90000 90000", ""),
            ("zero, and eleven seconds", "300 0 310 11000000", "1:Impossible 3:Impossible"),
            ("the edges", "300 310 320 10000000", "3:LoneFarthest"),
            ("next to nothing", "1 8000 8000 20000", "0:LoneNearest"),
            ("next to nothing, beside nodes that are near", "1 300 310 20000", "0:LoneNearest"),
            ("a network without a clock to speak of", "5 6 6 7", ""),
            ("two that say the same", "5 5 8000 8000 8000", ""),
            ("one against two proves nothing", "1 8000 8000", ""),
            ("an hour is impossible, five seconds is not", "300 310 8000 5000000", "3:LoneFarthest"),
            ("a node that is ill", "300 310 20000 20000 250000", "4:LoneFarthest"),
            ("far, but not that far beside the others", "300 310 20000 20000 190000", ""),
            ("a data centre on another continent, with two nodes", "300 310 320 180000 180100", ""),
            ("one that is ten times farther, but no farther than data centres are", "300 310 3500 40000", ""),
            ("two that lie, each in its own way", "300 310 320 200000 9000000", "3:LoneFarthest 4:LoneFarthest"),
            ("one at either end", "2 300 310 320 200000", "0:LoneNearest 4:LoneFarthest"),
        ];
        check_rows(rows, |(what, readings, expected)| {
            assert_eq!(shown(readings), expected, "{what}: {readings}");
        });
    }

    /// An honest fleet of at least five nodes: the distance of each one's data centre, and a little of its own.
    fn honest() -> impl Strategy<Value = Vec<u64>> {
        let centres = prop::collection::vec(20u64..95_000, 1..4);
        (centres, prop::collection::vec((0usize..4, 0u64..500), 5..20)).prop_map(|(centres, nodes)| {
            nodes.into_iter().map(|(centre, own)| centres[centre % centres.len()] + own).collect()
        })
    }

    fn fleet(rtts_us: &[u64]) -> BTreeMap<String, Measured> {
        let node = |(i, rtt): (usize, &u64)| {
            (format!("n{i:02}"), Measured { label: Tier::Unknown, rtt_us: Some(*rtt), ready: true, abandoned: false })
        };
        rtts_us.iter().enumerate().map(node).collect()
    }

    proptest! {
        #[test]
        fn one_liar_changes_no_honest_nodes_tier(
            honest in honest(),
            lie in prop_oneof![Just(0), 1u64..2, 1_000_000u64..20_000_000, Just(3_600_000_000), Just(u64::MAX)],
            absolute in any::<bool>(),
        ) {
            let thresholds = Thresholds {
                window_us: 2_000,
                closely_below_us: absolute.then_some(1_000),
                far_above_us: absolute.then_some(10_000),
                margin_us: 200,
                confirmations: 3,
            };
            let fleet = fleet(&honest);
            let alone = tiers(&fleet, &TierMap::default(), &thresholds, true, std::time::Instant::now());
            prop_assert_eq!(&alone.doubts, &BTreeMap::new());
            let mut with_liar = fleet.clone();
            with_liar.insert("liar".to_owned(), Measured { label: Tier::Closely, rtt_us: Some(lie), ready: true, abandoned: false });
            let beside = tiers(&with_liar, &TierMap::default(), &thresholds, true, std::time::Instant::now());
            prop_assert_eq!(beside.bounds, alone.bounds);
            for (node, tier) in &alone.nodes {
                prop_assert_eq!(beside.nodes[node], *tier);
            }
            prop_assert_eq!(beside.doubts.keys().collect::<Vec<_>>(), ["liar"]);
        }
    }
}
