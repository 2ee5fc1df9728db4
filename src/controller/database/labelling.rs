//! The labels of one database: what of them is to be written now, and what came of it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::Task;
use crate::{
    api::DatabaseCluster,
    controller::labels::{self, Refusal},
    core::{
        backoff::{Backoffs, Pause},
        overwrite::{Overwrites, Seen},
        primary::PrimaryView,
        tier::{NodeTier, Tier},
    },
    effect::NodeChange,
    index::Tables,
};

/// A node whose label the API server refuses, such as by somebody's admission policy, is tried again after this long.
const REFUSED: Pause = Pause { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
/// One about which there was no answer.
const UNANSWERED: Pause = Pause { first: Duration::from_secs(1), longest: Duration::from_secs(1) };

/// What of a database's nodes is not as it should be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Labelling {
    /// To be made now.
    pub changes: BTreeMap<String, NodeChange>,
    /// Nodes that wait for a change, now or later. Those that somebody else changes again and again don't count: their label
    /// was right.
    pub pending: usize,
    /// Of these, the ones whose change was refused, and why: `NODE: WHY`.
    pub refused: Vec<String>,
    /// Every node that has a tier bears its label and taint.
    pub right: bool,
}

impl Labelling {
    fn of(
        seen: &[Seen<'_>],
        overwrites: &Overwrites,
        refused: &Backoffs<String>,
        waiting: &BTreeMap<String, String>,
        now: Instant,
    ) -> Self {
        let mut it = Self { right: seen.iter().all(Seen::right), ..Self::default() };
        for seen in seen.iter().filter(|seen| overwrites.may_write(seen.node, now)) {
            let Some(change) = labels::change(seen) else { continue };
            it.pending += 1;
            it.refused.extend(refused.last(seen.node).map(|why| format!("{}: {why}", seen.node)));
            if !waiting.contains_key(seen.node) {
                it.changes.insert(seen.node.to_owned(), change);
            }
        }
        it.refused.sort();
        it
    }
}

impl Task {
    /// Looks at every node. Who waits is in `waiting`.
    pub(super) fn look_at_labels(
        &mut self,
        tables: &Tables,
        object: &DatabaseCluster,
        waiting: &BTreeMap<String, String>,
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
        let now = Instant::now();
        for (node, refusal) in ends {
            match refusal {
                None => self.refused.end(&node),
                Some(Refusal { why, answered }) => {
                    self.refused.add(&node, why, if answered { REFUSED } else { UNANSWERED }, now);
                }
            }
        }
        // Every node was tried. Whoever refused is tried again; but from now on readings that waver change nothing.
        if still_right() && view.known().is_some() && self.tiers.bounds.is_some() {
            self.at_once = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::overwrite::Wanted;

    fn seen<'a>(node: &'a str, label: Option<&'a str>, tier: Tier) -> Seen<'a> {
        Seen { node, wanted: Wanted { tier, taint: None }, label, taints: Vec::new() }
    }

    #[test]
    fn a_node_that_refuses_waits_and_stays_pending() {
        let change = |tier| NodeChange { tier, taint: None, retaint: false };
        let nodes = [
            seen("n1", Some("far"), Tier::Far),
            seen("n2", Some("far"), Tier::Closely),
            seen("n3", None, Tier::Far),
            seen("n4", None, Tier::Unknown),
        ];
        let began = Instant::now();
        let mut refused = Backoffs::default();
        let mut look = |nodes: &[Seen<'_>], refusing: &[&str], now| {
            refusing.iter().for_each(|node| refused.add(node, "a policy".to_owned(), REFUSED, now));
            let waiting = refused.current(now);
            Labelling::of(nodes, &Overwrites::default(), &refused, &waiting, now)
        };
        let both = [("n2".to_owned(), change(Tier::Closely)), ("n3".to_owned(), change(Tier::Far))];
        let [_, third] = both.clone();
        let first = Labelling { changes: both.clone().into(), pending: 2, ..Labelling::default() };
        assert_eq!(look(&nodes, &[], began), first);
        let named = vec!["n2: a policy".to_owned()];
        let then = Labelling { changes: [third].into(), refused: named.clone(), ..first };
        assert_eq!(look(&nodes, &["n1", "n2"], began), then);
        let again = Labelling { changes: both.into(), refused: named, pending: 2, right: false };
        assert_eq!(look(&nodes, &[], began + REFUSED.first), again, "it is named until it is labelled");
        let right = Labelling { right: true, ..Labelling::default() };
        assert_eq!(look(&[nodes[0].clone(), nodes[3].clone()], &[], began), right);
    }

    #[test]
    fn a_node_that_is_put_back_later_is_not_pending_and_not_right() {
        let (now, mut overwrites) = (Instant::now(), Overwrites::default());
        for _ in 0..4 {
            overwrites.look("switchover", &[seen("n1", Some("far"), Tier::Far)], now);
            overwrites.look("switchover", &[seen("n1", None, Tier::Far)], now);
        }
        let look =
            Labelling::of(&[seen("n1", None, Tier::Far)], &overwrites, &Backoffs::default(), &BTreeMap::new(), now);
        assert_eq!(look, Labelling::default());
    }
}
