//! What the scheduler's scores NodeAffinity and InterPodAffinity draw a replacement to that may go elsewhere, too.
//!
//! That nodes near the primary are preferred is one score of several. Preferred terms that people wrote weigh as much, and so does every
//! pod with affinity that selects the replacement: the old pod itself, while it ends. Where that could decide otherwise nothing is moved.
//! Scores of single nodes (how full they are, which images they have) and spreading that is only preferred are not foreseen.

use std::collections::BTreeMap;

use super::{Misfit, Room, interpod::with_rules, nodes, taints};
use crate::core::{
    distance::tier::Tier,
    hash::HashMap,
    selector::{Expression, NodeTerm, Operator},
    workload::{Node, Pod, PodTerm},
};

/// Most points of either score: 100, which count twice.
const MOST: i64 = 200;
/// What a node near the primary must be ahead by: how full nodes are decides about so many points more.
const AHEAD: i64 = 150;
/// What our term weighs, unless people ask for something else.
const USUAL: i64 = 100;
/// What a pod weighs that selects another one by required affinity (`hardPodAffinityWeight`).
const REQUIRED: i64 = 1;

/// How much draws a pod where.
pub(super) struct Draws<'r> {
    pod: &'r Pod,
    /// By key, and by the value that nodes have for it.
    drawn: BTreeMap<&'r str, HashMap<&'r str, i64>>,
    /// The least and the most that any node has of it.
    range: (i64, i64),
    /// What our own term weighs.
    near: i64,
    /// The most that any node has by preferred node affinity.
    preferred: i64,
    /// The most points of a node that is no nearer.
    elsewhere: i64,
}

impl Draws<'_> {
    pub(super) fn allow(&self, node: &Node) -> Result<(), Misfit> {
        if self.points(node, self.near) - self.elsewhere < AHEAD { Err(Misfit::Drawn) } else { Ok(()) }
    }

    fn points(&self, node: &Node, near: i64) -> i64 {
        let (least, most) = self.range;
        let drawn = MOST * (drawn_to(&self.drawn, node) - least) / (most - least).max(1);
        MOST * (near + others_terms(self.pod, node)) / self.preferred.max(1) + drawn
    }
}

impl<'a> Room<'a> {
    /// `None` where nothing but what we inject is preferred, or the pod may only go where it is nearer.
    pub(super) fn draws<'r>(&'r self, pod: &'r Pod) -> Option<Draws<'r>> {
        let other_terms = pod.preferred_nodes.iter().any(|it| tier_of(&it.term).is_none());
        let drawn_by_others = || self.drawing(&pod.namespace).next().is_some();
        if must_not_be_far(pod) || !(other_terms || !pod.leanings.is_empty() || drawn_by_others()) {
            return None;
        }
        let mut drawn: BTreeMap<&str, HashMap<&str, i64>> = BTreeMap::new();
        let mut draw = |term: &'r PodTerm, node: &str, weight: i64| {
            if let Some(domain) = self.domain(node, &term.key) {
                *drawn.entry(&term.key).or_default().entry(domain).or_default() += weight;
            }
        };
        for leaning in &pod.leanings {
            for resident in self.beside(pod, self.seen_by(pod, &leaning.term)) {
                if self.may_select(&leaning.term, pod, resident.pod) {
                    draw(&leaning.term, resident.node, leaning.weight);
                }
            }
        }
        for (node, other) in self.drawing(&pod.namespace) {
            if other.uid == pod.uid && !pod.is_replaced_before_it_is_gone() {
                continue;
            }
            let required = other.affinity.iter().map(|term| (term, REQUIRED));
            let terms = other.leanings.iter().map(|leaning| (&leaning.term, leaning.weight)).chain(required);
            for (term, weight) in terms.filter(|(term, _)| self.may_select(term, other, pod)) {
                draw(term, node, weight);
            }
        }
        drawn.values_mut().for_each(|domains| domains.retain(|_, weight| *weight != 0));
        drawn.retain(|_, domains| !domains.is_empty());
        if drawn.is_empty() && !other_terms {
            return None;
        }
        Some(self.weighed(pod, drawn))
    }

    /// Over all nodes that the pod may choose, however full they are: some of them may have room by then.
    fn weighed<'r>(&'r self, pod: &'r Pod, drawn: BTreeMap<&'r str, HashMap<&'r str, i64>>) -> Draws<'r> {
        let may_go = |node: &&Node| {
            node.has_room_in_principle() && nodes::allow(pod, node).is_ok() && taints::refused_by(pod, node).is_none()
        };
        let (key, near) = our_term(pod).map_or((None, USUAL), |(key, weight)| (Some(key), weight));
        let nodes: Vec<&Node> = self.snapshot.nodes().filter(may_go).collect();
        let scores = nodes.iter().map(|node| drawn_to(&drawn, node));
        let least = scores.clone().min().unwrap_or(0);
        let range = (least, scores.max().unwrap_or(least));
        let others = nodes.iter().map(|node| others_terms(pod, node)).max().unwrap_or(0);
        let mut draws = Draws { pod, drawn, range, near, preferred: near + others, elsewhere: 0 };
        let nearer =
            |node: &Node| key.is_some_and(|key| matches!(node.labelled(key), Tier::Closely | Tier::Intermediate));
        let elsewhere = nodes.iter().filter(|node| !nearer(node)).map(|node| draws.points(node, 0)).max();
        draws.elsewhere = elsewhere.unwrap_or(i64::MIN / 2);
        draws
    }

    /// Where there are pods that may draw those of this namespace.
    pub(super) fn drawing<'r>(&'r self, namespace: &'r str) -> impl Iterator<Item = (&'a str, &'a Pod)> + use<'r, 'a> {
        let groups = self.snapshot.groups;
        with_rules(namespace, (&groups.drawing_at_home, &groups.drawing_anywhere), &self.added.drawing)
    }
}

fn drawn_to(drawn: &BTreeMap<&str, HashMap<&str, i64>>, node: &Node) -> i64 {
    let by_key = |(key, domains): (&&str, &HashMap<&str, i64>)| domains.get(node.labels.get(*key)?.as_str()).copied();
    drawn.iter().filter_map(by_key).sum()
}

/// What the pod prefers of a node besides that it is near.
fn others_terms(pod: &Pod, node: &Node) -> i64 {
    let others = pod.preferred_nodes.iter().filter(|it| tier_of(&it.term).is_none());
    others.filter(|it| it.term.matches(&node.name, &node.labels)).map(|it| it.weight).sum()
}

/// The key by which a pod prefers nodes that are near, and how much. `None` of one that was made before it followed.
fn our_term(pod: &Pod) -> Option<(&str, i64)> {
    let closely = |term| tier_of(term).filter(|(_, tier)| *tier == Tier::Closely);
    pod.preferred_nodes.iter().find_map(|it| Some((closely(&it.term)?.0, it.weight)))
}

/// Which tier a term of ours asks for, and by which key.
fn tier_of(term: &NodeTerm) -> Option<(&str, Tier)> {
    let [Expression { key, operator: Operator::In, values }] = &*term.expressions else { return None };
    let ([value], true) = (&**values, term.fields.is_empty()) else { return None };
    let tier = Tier::from_label(Some(value));
    matches!(tier, Tier::Closely | Tier::Intermediate).then_some((key, tier))
}

/// Whether the pod's own terms keep it from every node that is far.
fn must_not_be_far(pod: &Pod) -> bool {
    let is = |values: &[String], tier: Tier| values.iter().map(String::as_str).eq(tier.label());
    let keeps = |it: &Expression| match it.operator {
        Operator::In => is(&it.values, Tier::Closely),
        Operator::NotIn => is(&it.values, Tier::Far),
        _ => false,
    };
    pod.node_terms.as_ref().is_some_and(|terms| terms.iter().all(|term| term.expressions.iter().any(keeps)))
}
