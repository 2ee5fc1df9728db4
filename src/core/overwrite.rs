//! Labels that were right, and then were changed by somebody else. They are put back, which people are told of; and against
//! somebody who changes them again and again ever more slowly, so that two programs don't wear the API server out.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use super::tier::Tier;

/// This often a label is put back at once.
const AT_ONCE: u32 = 3;
/// From then on after a pause that doubles …
const FIRST_PAUSE: Duration = Duration::from_secs(2);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// A label that was left alone for as long is new again.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// A node's label as it is and as it should be.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub node: &'a str,
    pub label: Option<&'a str>,
    pub wanted: Tier,
}

/// What somebody else did to a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overwritten {
    pub node: String,
    /// As it was, and is to be again.
    pub wanted: Tier,
    /// As it was found; `None` where it was removed.
    pub found: Option<String>,
    /// Until it is put back.
    pub pause: Duration,
}

impl fmt::Display for Overwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let was = self.wanted.label().unwrap_or("unknown");
        match &self.found {
            Some(found) => write!(f, "{}: {was} became {found}", self.node)?,
            None => write!(f, "{}: {was} was removed", self.node)?,
        }
        if self.pause.is_zero() { Ok(()) } else { write!(f, " again (it is put back in {} s)", self.pause.as_secs()) }
    }
}

/// Remembers which labels were right.
#[derive(Debug, Clone, Default)]
pub struct Overwrites {
    nodes: HashMap<String, Known>,
    /// Counts the looks.
    looks: u64,
}

#[derive(Debug, Clone)]
struct Known {
    tier: Tier,
    /// The label is, or was when it was last looked at, that of `tier`.
    right: bool,
    /// How often somebody else changed it.
    times: u32,
    /// When it may be put back, or was to be the last time.
    put_back_at: Option<Instant>,
    /// The look that it was last seen in.
    look: u64,
}

impl Overwrites {
    /// One look at every node that has a tier; what was changed by somebody else since the last one.
    pub fn look<'a>(&mut self, nodes: impl IntoIterator<Item = Seen<'a>>, now: Instant) -> Vec<Overwritten> {
        self.looks += 1;
        let look = self.looks;
        let mut news = Vec::new();
        for Seen { node, label, wanted } in nodes {
            if wanted == Tier::Unknown {
                continue;
            }
            let right = label == wanted.label();
            let new = Known { tier: wanted, right, times: 0, put_back_at: None, look };
            let Some(known) = self.nodes.get_mut(node) else {
                self.nodes.insert(node.to_owned(), new);
                continue;
            };
            if known.tier != wanted {
                // A new tier is written at once, whatever happened to the old one.
                *known = new;
            } else if known.right && !right {
                known.times += 1;
                let pause = pause(known.times);
                known.put_back_at = Some(now + pause);
                news.push(Overwritten { node: node.to_owned(), wanted, found: label.map(str::to_owned), pause });
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

    /// Whether the label of this node may be written now.
    #[must_use]
    pub fn may_write(&self, node: &str, now: Instant) -> bool {
        self.nodes.get(node).and_then(|known| known.put_back_at).is_none_or(|at| at <= now)
    }
}

fn pause(times: u32) -> Duration {
    let Some(doublings) = times.checked_sub(AT_ONCE + 1) else { return Duration::ZERO };
    FIRST_PAUSE.saturating_mul(2u32.saturating_pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seen<'a>(label: Option<&'a str>, wanted: Tier) -> Seen<'a> {
        Seen { node: "n1", label, wanted }
    }

    #[test]
    fn only_what_was_right_can_be_overwritten() {
        let now = Instant::now();
        let mut overwrites = Overwrites::default();
        let mut look = |label, wanted| -> Vec<String> {
            overwrites.look([seen(label, wanted)], now).iter().map(ToString::to_string).collect()
        };
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
    fn who_changes_it_again_and_again_is_answered_ever_more_slowly() {
        let start = Instant::now();
        let mut now = start;
        let mut overwrites = Overwrites::default();
        let mut pauses = Vec::new();
        overwrites.look([seen(Some("far"), Tier::Far)], now);
        for _ in 0..12 {
            let news = overwrites.look([seen(None, Tier::Far)], now);
            let pause = news[0].pause;
            pauses.push(pause.as_secs());
            assert_eq!(overwrites.may_write("n1", now), pause.is_zero());
            now += pause;
            assert!(overwrites.may_write("n1", now));
            overwrites.look([seen(Some("far"), Tier::Far)], now);
        }
        assert_eq!(pauses, [0, 0, 0, 2, 4, 8, 16, 32, 64, 120, 120, 120]);

        // A change of tier waits for nobody.
        let news = overwrites.look([seen(None, Tier::Far)], now);
        assert_eq!(news[0].to_string(), "n1: far was removed again (it is put back in 120 s)");
        assert!(!overwrites.may_write("n1", now));
        overwrites.look([seen(None, Tier::Closely)], now);
        assert!(overwrites.may_write("n1", now));
    }

    #[test]
    fn whoever_stops_is_forgiven_and_a_node_that_is_gone_is_forgotten() {
        let mut now = Instant::now();
        let mut overwrites = Overwrites::default();
        for _ in 0..=AT_ONCE {
            overwrites.look([seen(Some("far"), Tier::Far)], now);
            overwrites.look([seen(None, Tier::Far)], now);
        }
        now += FORGIVEN_AFTER + FIRST_PAUSE + Duration::from_secs(1);
        overwrites.look([seen(Some("far"), Tier::Far)], now);
        assert!(overwrites.look([seen(None, Tier::Far)], now)[0].pause.is_zero());
        overwrites.look([], now);
        assert!(overwrites.look([seen(None, Tier::Far)], now).is_empty());
    }
}
