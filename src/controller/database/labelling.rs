//! The labels of one database: what of them is to be written now, and what came of it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Task, history::listed};
use crate::{
    api::DatabaseCluster,
    cluster::NodeChange,
    controller::labels::{self, Refusal},
    core::{
        backoff::{Backoffs, Pause},
        distance::{
            overwrite::{Overwrites, Seen},
            tier::{NodeTier, Tier},
        },
        primary::PrimaryView,
    },
    index::Tables,
};

/// A node whose label the API server refuses, such as by somebody's admission policy, is tried again after this long.
const REFUSED: Pause = Pause { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
/// One about which there was no answer.
const UNANSWERED: Pause = Pause { first: Duration::from_secs(1), longest: Duration::from_secs(1) };

/// Nodes that could not be changed, and why.
pub(super) type Refusals = Backoffs<Refusal>;

/// What of a database's nodes is not as it should be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Labelling {
    /// To be made now.
    pub changes: BTreeMap<String, NodeChange>,
    /// Nodes that wait for a change and hold the movement until then. One whose change the API server refused doesn't unless
    /// its label promises more than is true: otherwise it is only room that is lost, perhaps for ever, and nothing is drawn to it.
    /// Nor do those count that somebody else changes again and again: their label was right.
    pub pending: usize,
    /// Of these, the ones whose change was refused, and why: `NODE (closely, should be far): WHY`.
    pub refused: Vec<String>,
    /// Those that hold nothing although their change was refused, and why.
    pub lost: Vec<String>,
    /// Every node that has a tier bears its label and taint.
    pub right: bool,
}

impl Labelling {
    fn of(
        seen: &[Seen<'_>],
        overwrites: &Overwrites,
        refused: &Refusals,
        waiting: &BTreeMap<String, Refusal>,
        now: Instant,
    ) -> Self {
        let mut it = Self { right: seen.iter().all(Seen::right), ..Self::default() };
        for seen in seen.iter().filter(|seen| overwrites.may_write(seen.node, now)) {
            let Some(change) = labels::change(seen) else { continue };
            match refused.last(seen.node).filter(|refusal| refusal.answered) {
                Some(refusal) if seen.draws_too_much() => {
                    it.pending += 1;
                    it.refused.push(told(seen, refusal));
                }
                Some(refusal) => it.lost.push(told(seen, refusal)),
                None => it.pending += 1,
            }
            if !waiting.contains_key(seen.node) {
                it.changes.insert(seen.node.to_owned(), change);
            }
        }
        it.refused.sort();
        it.lost.sort();
        it
    }

    /// All nodes whose change was refused, in words.
    pub fn refusing(&self) -> String {
        let all: Vec<&String> = self.refused.iter().chain(&self.lost).collect();
        listed(&all)
    }
}

/// `NODE (closely, should be far): WHY`, or `NODE (its taint): WHY`
fn told(seen: &Seen<'_>, refusal: &Refusal) -> String {
    let node = seen.node;
    let label = match seen.label {
        _ if seen.labelled() => "its taint".to_owned(),
        Some(label) => format!("{label}, should be {}", seen.wanted.tier.label().unwrap_or("unknown")),
        None => format!("should be {}", seen.wanted.tier.label().unwrap_or("unknown")),
    };
    format!("{node} ({label}): {}", refusal.why)
}

impl Task {
    /// Looks at every node. Who waits is in `waiting`.
    pub(super) fn look_at_labels(
        &mut self,
        tables: &Tables,
        object: &DatabaseCluster,
        waiting: &BTreeMap<String, Refusal>,
        now: Instant,
    ) -> Labelling {
        let seen = labels::seen(tables, object, &self.tiers);
        self.overwritten.extend(self.overwrites.look(&object.node_label(), &seen, now));
        let mut labelling = Labelling::of(&seen, &self.overwrites, &self.refused, waiting, now);
        if self.tiers.bounds.is_some() {
            self.at_once &= !labelling.changes.is_empty();
            let undecided = |node: &NodeTier| node.tier == Tier::Unknown && node.candidate.is_some();
            self.relabelling &= labelling.pending > 0 || self.tiers.nodes.values().any(undecided);
        } else {
            // What the labels are now says nothing of what they should be.
            labelling.right = false;
        }
        labelling
    }

    /// Makes the changes, and remembers who refused them.
    pub(super) async fn label(&mut self, key: &str, changes: BTreeMap<String, NodeChange>, view: &PrimaryView) {
        let still_right = self.still_believed(view);
        let primary = view.last.as_ref().map(|primary| &*primary.name);
        let because = labels::Because { tiers: &self.tiers, primary };
        let ends = labels::apply(&self.shared, &self.name, key, changes, &because, Arc::clone(&still_right)).await;
        for (node, refusal) in ends {
            match refusal {
                None => self.refused.end(&node),
                Some(refusal) => self.note_refusal(&node, refusal),
            }
        }
        // Every node was tried. Whoever refused is tried again; but from now on readings that waver change nothing.
        if still_right() && view.known().is_some() && self.tiers.bounds.is_some() {
            self.at_once = false;
        }
    }

    /// A node waits that could not be changed.
    pub(super) fn note_refusal(&mut self, node: &str, refusal: Refusal) {
        let pause = if refusal.answered { REFUSED } else { UNANSWERED };
        self.refused.add(node, refusal, pause, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{distance::overwrite::Wanted, movement::taint::TaintEffect};

    fn seen<'a>(node: &'a str, label: Option<&'a str>, tier: Tier) -> Seen<'a> {
        Seen { node, wanted: Wanted { tier, taint: None }, label, taints: Vec::new() }
    }

    fn refusal(answered: bool) -> Refusal {
        Refusal { why: "a policy".to_owned(), answered }
    }

    const fn change(tier: Tier) -> NodeChange {
        NodeChange { tier, taint: None, retaint: false }
    }

    #[test]
    fn a_node_that_refuses_is_tried_later_and_named_until_it_is_labelled() {
        let nodes = [
            seen("n1", Some("far"), Tier::Far),
            seen("n2", Some("far"), Tier::Closely),
            seen("n3", None, Tier::Far),
            seen("n4", None, Tier::Unknown),
        ];
        let began = Instant::now();
        let mut refused = Refusals::default();
        let mut look = |nodes: &[Seen<'_>], refusing: &[&str], now| {
            refusing.iter().for_each(|node| refused.add(node, refusal(true), REFUSED, now));
            let waiting = refused.current(now);
            Labelling::of(nodes, &Overwrites::default(), &refused, &waiting, now)
        };
        let both = [("n2".to_owned(), change(Tier::Closely)), ("n3".to_owned(), change(Tier::Far))];
        let [_, third] = both.clone();
        let first = Labelling { changes: both.clone().into(), pending: 2, ..Labelling::default() };
        assert_eq!(look(&nodes, &[], began), first);
        let named = vec!["n2 (far, should be closely): a policy".to_owned()];
        let then = Labelling { changes: [third].into(), pending: 1, lost: named.clone(), ..Labelling::default() };
        assert_eq!(look(&nodes, &["n1", "n2"], began), then);
        let again = Labelling { changes: both.into(), pending: 1, lost: named, ..Labelling::default() };
        assert_eq!(look(&nodes, &[], began + REFUSED.first), again, "it is named until it is labelled");
        let right = Labelling { right: true, ..Labelling::default() };
        assert_eq!(look(&[nodes[0].clone(), nodes[3].clone()], &[], began), right);
    }

    #[test]
    fn a_refused_node_holds_the_movement_if_it_looks_nearer_than_it_is() {
        let (now, far) = (Instant::now(), Some("far"));
        for (what, label, tier, answered, holds) in [
            ("draws pods although it is far", Some("closely"), Tier::Far, true, true),
            ("draws them a little", Some("intermediate"), Tier::Far, true, true),
            ("is said to be nearer than it is", Some("closely"), Tier::Intermediate, true, true),
            ("room that is lost", far, Tier::Closely, true, false),
            ("too modest", far, Tier::Intermediate, true, false),
            ("a new node near by", None, Tier::Closely, true, false),
            ("a new node far away: it draws nobody", None, Tier::Far, true, false),
            ("somebody else's word draws nobody", Some("near"), Tier::Far, true, false),
            ("no answer: it may come a moment later", far, Tier::Closely, false, true),
            ("no answer", None, Tier::Far, false, true),
        ] {
            let mut refused = Refusals::default();
            refused.add("n1", refusal(answered), REFUSED, now);
            let waiting = refused.current(now);
            let look = Labelling::of(&[seen("n1", label, tier)], &Overwrites::default(), &refused, &waiting, now);
            assert_eq!(look.pending == 1, holds, "{what}: {look:?}");
            assert_eq!(
                (look.refused.len(), look.lost.len()),
                (usize::from(holds && answered), usize::from(!holds)),
                "{what}"
            );
        }
    }

    #[test]
    fn a_refused_taint_holds_nothing() {
        let (now, mut refused) = (Instant::now(), Refusals::default());
        refused.add("n1", refusal(true), REFUSED, now);
        let wanted = Wanted { tier: Tier::Far, taint: Some(TaintEffect::NoSchedule) };
        let bare = Seen { wanted, ..seen("n1", Some("far"), Tier::Far) };
        let look = Labelling::of(&[bare], &Overwrites::default(), &refused, &refused.clone().current(now), now);
        assert_eq!((look.pending, look.refusing()), (0, "n1 (its taint): a policy".to_owned()));
    }

    #[test]
    fn a_node_that_is_put_back_later_is_not_pending_and_not_right() {
        let (now, mut overwrites) = (Instant::now(), Overwrites::default());
        for _ in 0..4 {
            overwrites.look("switchover", &[seen("n1", Some("far"), Tier::Far)], now);
            overwrites.look("switchover", &[seen("n1", None, Tier::Far)], now);
        }
        let look =
            Labelling::of(&[seen("n1", None, Tier::Far)], &overwrites, &Refusals::default(), &BTreeMap::new(), now);
        assert_eq!(look, Labelling::default());
    }
}
