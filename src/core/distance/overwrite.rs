//! Labels and taints that were right, and then were changed by somebody else. They are put back, which people are told of; and
//! against somebody who changes them again and again ever more slowly, so that two programs don't wear the API server out.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tier::Tier;
use crate::core::backoff::Pause;

/// This often a node is put right at once.
const AT_ONCE: u32 = 3;
/// From then on after a pause.
const PAUSE: Pause = Pause { first: Duration::from_secs(2), longest: Duration::from_secs(120) };
/// A node that was left alone for as long is new again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// What the taint on far nodes does to pods that don't tolerate it.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum TaintEffect {
    /// The scheduler avoids far nodes where it can.
    PreferNoSchedule,
    /// The scheduler does not use far nodes.
    NoSchedule,
    /// Far nodes are emptied, one after the other, once movement may start and has moved what it can. Until then they
    /// bear `NoSchedule`. Needs `evictWithoutBudgets: true`.
    NoExecute,
}

impl TaintEffect {
    /// As Kubernetes spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoSchedule => "NoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }

    /// What a far node bears while nothing may be moved.
    #[must_use]
    pub const fn without_eviction(self) -> Self {
        match self {
            Self::NoExecute => Self::NoSchedule,
            other => other,
        }
    }
}

/// What a database wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub tier: Tier,
    /// Of the taint that the database's far nodes bear, if they do.
    pub taint: Option<TaintEffect>,
}

impl Wanted {
    /// The taint of this very node.
    fn own_taint(self) -> Option<TaintEffect> {
        self.taint.filter(|_| self.tier == Tier::Far)
    }
}

/// What of a node is one database's, as it is and as it should be.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    pub node: &'a str,
    pub wanted: Wanted,
    pub label: Option<&'a str>,
    /// Effects of the taints that have our key and value.
    pub taints: Vec<&'a str>,
}

impl Seen<'_> {
    /// The label is right. One that was never ours to write is not removed either: unknown means that we say nothing.
    #[must_use]
    pub fn labelled(&self) -> bool {
        self.wanted.tier == Tier::Unknown || self.label == self.wanted.tier.label()
    }

    /// The taint is right. One that evicts is put on and taken off by the movement's rules (`core::movement::taint`): here either is.
    #[must_use]
    pub fn tainted(&self) -> bool {
        let taint = self.wanted.own_taint();
        [taint, taint.map(TaintEffect::without_eviction)]
            .into_iter()
            .any(|wanted| self.taints.iter().copied().eq(wanted.map(TaintEffect::as_str)))
    }

    /// Both are.
    #[must_use]
    pub fn right(&self) -> bool {
        self.labelled() && self.tainted()
    }

    /// What differs, if anything does. A taint that evicts is not put on by this.
    #[must_use]
    pub fn change(&self) -> Option<NodeChange> {
        let Wanted { tier, taint } = self.wanted;
        let retaint = !self.tainted();
        let change = NodeChange { tier, taint: taint.map(TaintEffect::without_eviction), retaint };
        (retaint || !self.labelled()).then_some(change)
    }

    /// The label promises more than is true: it draws replacements to a node that isn't as near. A node without a label draws
    /// nobody, and a label that is too modest only means less room.
    #[must_use]
    pub fn draws_too_much(&self) -> bool {
        !self.labelled() && Tier::from_label(self.label) < self.wanted.tier
    }

    /// What was done to it, if it was right.
    fn deeds(&self) -> String {
        let mut deeds = Vec::new();
        if !self.labelled() {
            let was = self.wanted.tier.label().unwrap_or("unknown");
            deeds.push(match self.label {
                Some(found) => format!("{was} became {found}"),
                None => format!("{was} was removed"),
            });
        }
        if !self.tainted() {
            let found = self.taints.join(" and ");
            deeds.push(match (self.wanted.own_taint(), self.taints.is_empty()) {
                (Some(_), true) => "its taint was removed".to_owned(),
                (Some(_), false) => format!("its taint became {found}"),
                (None, _) => format!("the taint {found} was added"),
            });
        }
        deeds.join(", ")
    }
}

/// What is to change on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeChange {
    pub tier: Tier,
    /// The taint that the node is to have, if it is far.
    pub taint: Option<TaintEffect>,
    /// The node's taints are not as they should be.
    pub retaint: bool,
}

impl NodeChange {
    /// A far node is to bear this taint.
    #[must_use]
    pub const fn taint_far(effect: TaintEffect) -> Self {
        Self { tier: Tier::Far, taint: Some(effect), retaint: true }
    }
}

/// What somebody else did to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overwritten {
    pub node: String,
    /// In words.
    pub deeds: String,
    /// Until it is put right.
    pub pause: Duration,
}

impl fmt::Display for Overwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.deeds)?;
        if self.pause.is_zero() { Ok(()) } else { write!(f, " again (put back in {} s)", self.pause.as_secs()) }
    }
}

/// Remembers which nodes were right.
#[derive(Debug, Clone, Default)]
pub struct Overwrites {
    nodes: HashMap<String, Known>,
    /// The key that they bear.
    key: String,
    /// Counts the looks.
    looks: u64,
}

#[derive(Debug, Clone)]
struct Known {
    wanted: Wanted,
    /// It was as it should be when it was last looked at.
    right: bool,
    /// How often somebody else changed it.
    times: u32,
    /// When it may be put right, or was to be the last time.
    put_back_at: Option<Instant>,
    /// The look that it was last seen in.
    look: u64,
}

impl Overwrites {
    /// One look at every node that has a tier; what was changed by somebody else since the last one. Under another `key` no node
    /// bears anything yet, and nobody has done anything to it.
    pub fn look<'a>(
        &mut self,
        key: &str,
        nodes: impl IntoIterator<Item = &'a Seen<'a>>,
        now: Instant,
    ) -> Vec<Overwritten> {
        if self.key != key {
            *self = Self { key: key.to_owned(), ..Self::default() };
        }
        self.looks += 1;
        let look = self.looks;
        let mut news = Vec::new();
        for seen in nodes {
            let &Seen { node, wanted, .. } = seen;
            if wanted.tier == Tier::Unknown {
                continue;
            }
            let right = seen.right();
            let new = Known { wanted, right, times: 0, put_back_at: None, look };
            let Some(known) = self.nodes.get_mut(node) else {
                self.nodes.insert(node.to_owned(), new);
                continue;
            };
            if known.wanted != wanted {
                // A new tier, or another rule for taints, is written at once, whatever happened to the old one.
                *known = new;
            } else if known.right && !right {
                known.times += 1;
                let pause = pause(known.times);
                known.put_back_at = Some(now + pause);
                news.push(Overwritten { node: node.to_owned(), deeds: seen.deeds(), pause });
            } else if right && known.put_back_at.is_some_and(|at| now.saturating_duration_since(at) > FORGIVEN_AFTER) {
                (known.times, known.put_back_at) = (0, None);
            }
            (known.right, known.look) = (right, look);
        }
        self.nodes.retain(|_, known| known.look == look);
        // The same facts are always told alike.
        news.sort_by(|a, b| a.node.cmp(&b.node));
        news
    }

    /// Whether no node was put right lately: nothing is to be forgiven.
    #[must_use]
    pub fn nothing_waits(&self) -> bool {
        self.nodes.values().all(|known| known.put_back_at.is_none())
    }

    /// Whether this node may be written to now.
    #[must_use]
    pub fn may_write(&self, node: &str, now: Instant) -> bool {
        self.nodes.get(node).and_then(|known| known.put_back_at).is_none_or(|at| at <= now)
    }
}

fn pause(times: u32) -> Duration {
    match times.saturating_sub(AT_ONCE) {
        0 => Duration::ZERO,
        time => PAUSE.nth(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "switchover";

    const fn seen<'a>(label: Option<&'a str>, tier: Tier) -> Seen<'a> {
        Seen { node: "n1", wanted: Wanted { tier, taint: None }, label, taints: Vec::new() }
    }

    fn told(news: &[Overwritten]) -> Vec<String> {
        news.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_was_right_can_be_overwritten() {
        let now = Instant::now();
        let mut overwrites = Overwrites::default();
        let mut look = |label, wanted| -> Vec<String> { told(&overwrites.look(KEY, [&seen(label, wanted)], now)) };
        assert!(look(None, Tier::Far).is_empty(), "a new node");
        assert!(look(Some("closely"), Tier::Far).is_empty(), "ours is on its way");
        assert!(look(Some("far"), Tier::Far).is_empty());
        assert_eq!(look(None, Tier::Far), ["n1: far was removed"]);
        assert!(look(None, Tier::Far).is_empty(), "said once");
        assert!(look(Some("far"), Tier::Far).is_empty());
        assert_eq!(look(Some("near"), Tier::Far), ["n1: far became near"]);
        assert!(look(Some("far"), Tier::Closely).is_empty(), "another tier is our own change");
        assert!(look(Some("closely"), Tier::Closely).is_empty());
        assert!(look(Some("closely"), Tier::Unknown).is_empty());
        assert!(look(None, Tier::Closely).is_empty(), "forgotten with the tier");
    }

    #[test]
    fn a_taint_is_looked_after_like_a_label() {
        use TaintEffect::{NoExecute, NoSchedule};
        let now = Instant::now();
        let mut overwrites = Overwrites::default();
        let mut look = |taints: &[&'static str], tier: Tier, taint| {
            let seen =
                Seen { node: "n1", wanted: Wanted { tier, taint }, label: tier.label(), taints: taints.to_vec() };
            told(&overwrites.look(KEY, [&seen], now))
        };
        assert!(look(&[], Tier::Far, None).is_empty());
        assert!(look(&[], Tier::Far, Some(NoSchedule)).is_empty(), "another rule: ours is on its way");
        assert!(look(&["NoSchedule"], Tier::Far, Some(NoSchedule)).is_empty());
        assert_eq!(look(&[], Tier::Far, Some(NoSchedule)), ["n1: its taint was removed"]);
        assert!(look(&["NoSchedule"], Tier::Far, Some(NoSchedule)).is_empty());
        assert_eq!(
            look(&["NoSchedule", "NoExecute"], Tier::Far, Some(NoSchedule)),
            ["n1: its taint became NoSchedule and NoExecute"]
        );
        assert!(look(&["NoSchedule"], Tier::Far, Some(NoExecute)).is_empty());
        assert!(look(&["NoExecute"], Tier::Far, Some(NoExecute)).is_empty(), "either is right");
        assert!(look(&["NoExecute"], Tier::Closely, Some(NoExecute)).is_empty(), "ours is on its way");
        assert!(look(&[], Tier::Closely, Some(NoExecute)).is_empty());
        assert_eq!(look(&["NoSchedule"], Tier::Closely, Some(NoExecute)), ["n1: the taint NoSchedule was added"]);
        assert!(look(&["NoSchedule"], Tier::Unknown, None).is_empty(), "forgotten with the tier");
    }

    #[test]
    fn label_and_taint_at_once_are_told_together() {
        let mut overwrites = Overwrites::default();
        let wanted = Wanted { tier: Tier::Far, taint: Some(TaintEffect::NoSchedule) };
        overwrites.look(
            KEY,
            [&Seen { node: "n1", wanted, label: Some("far"), taints: vec!["NoSchedule"] }],
            Instant::now(),
        );
        let news = overwrites.look(KEY, [&Seen { node: "n1", wanted, label: None, taints: vec![] }], Instant::now());
        assert_eq!(told(&news), ["n1: far was removed, its taint was removed"]);
    }

    #[test]
    fn who_changes_it_again_and_again_is_answered_ever_more_slowly() {
        let start = Instant::now();
        let mut now = start;
        let mut overwrites = Overwrites::default();
        let mut pauses = Vec::new();
        overwrites.look(KEY, [&seen(Some("far"), Tier::Far)], now);
        for _ in 0..12 {
            let news = overwrites.look(KEY, [&seen(None, Tier::Far)], now);
            let pause = news[0].pause;
            pauses.push(pause.as_secs());
            assert_eq!(overwrites.may_write("n1", now), pause.is_zero());
            now += pause;
            assert!(overwrites.may_write("n1", now));
            overwrites.look(KEY, [&seen(Some("far"), Tier::Far)], now);
        }
        assert_eq!(pauses, [0, 0, 0, 2, 4, 8, 16, 32, 64, 120, 120, 120]);

        // A change of tier waits for nobody.
        let news = overwrites.look(KEY, [&seen(None, Tier::Far)], now);
        assert_eq!(news[0].to_string(), "n1: far was removed again (put back in 120 s)");
        assert!(!overwrites.may_write("n1", now));
        overwrites.look(KEY, [&seen(None, Tier::Closely)], now);
        assert!(overwrites.may_write("n1", now));
    }

    #[test]
    fn whoever_stops_is_forgiven_and_a_node_that_is_gone_is_forgotten() {
        let mut now = Instant::now();
        let mut overwrites = Overwrites::default();
        for _ in 0..=AT_ONCE {
            overwrites.look(KEY, [&seen(Some("far"), Tier::Far)], now);
            overwrites.look(KEY, [&seen(None, Tier::Far)], now);
        }
        now += FORGIVEN_AFTER + PAUSE.first + Duration::from_secs(1);
        overwrites.look(KEY, [&seen(Some("far"), Tier::Far)], now);
        assert!(overwrites.look(KEY, [&seen(None, Tier::Far)], now)[0].pause.is_zero());
        overwrites.look(KEY, [], now);
        assert!(overwrites.look(KEY, [&seen(None, Tier::Far)], now).is_empty());
    }

    #[test]
    fn another_key_is_nobody_s_doing() {
        let now = Instant::now();
        let mut overwrites = Overwrites::default();
        for key in 0..10 {
            let key = key.to_string();
            assert!(overwrites.look(&key, [&seen(None, Tier::Far)], now).is_empty());
            assert!(overwrites.may_write("n1", now));
            assert!(overwrites.look(&key, [&seen(Some("far"), Tier::Far)], now).is_empty());
        }
    }
}
