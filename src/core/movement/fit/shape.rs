//! Pods alike get the same answer: nodes that have no room for one have none for the next one either.

use std::{
    cell::{OnceCell, RefCell},
    hash::{Hash, Hasher},
};

use super::{Nowhere, Room};
use crate::core::{
    hash::{HashMap, HashSet},
    selector::{Labels, NodeTerm},
    shared::Shared,
    workload::{HostPort, Leaning, Node, Pod, PodTerm, PreferredNodes, Resources, Spread, Toleration},
};

/// Everything of a pod that decides which of some nodes take its replacement.
#[derive(Debug, PartialEq, Eq)]
struct Shape<'a> {
    requests: &'a Shared<Resources>,
    /// What its template asks for.
    template: Option<&'a Resources>,
    host_ports: &'a Shared<Vec<HostPort>>,
    priority: i32,
    tolerations: &'a Shared<Vec<Toleration>>,
    node_selector: &'a Shared<Labels>,
    node_terms: &'a Option<Shared<Vec<NodeTerm>>>,
    preferred_nodes: &'a Shared<Vec<PreferredNodes>>,
    unforeseen: [Option<&'static str>; 2],
    rules: Option<Rules<'a>>,
}

/// Replicas have most of it in the same place in memory, so that comparing costs little, and hashing all of it much. What differs most
/// is hashed.
impl Hash for Shape<'_> {
    fn hash<State: Hasher>(&self, state: &mut State) {
        let Resources { cpu_m, memory_bytes, other } = &**self.requests;
        (cpu_m, memory_bytes, other.len(), self.priority, self.unforeseen).hash(state);
        if let Some(Rules { namespace, labels, own, .. }) = &self.rules {
            (namespace, labels, own).hash(state);
        }
    }
}

/// Of a pod that has rules about others, or that others may have rules about.
#[derive(Debug, PartialEq, Eq)]
struct Rules<'a> {
    namespace: &'a str,
    labels: &'a Shared<Labels>,
    spread: &'a Shared<Vec<Spread>>,
    anti_affinity: &'a Shared<Vec<PodTerm>>,
    affinity: &'a Shared<Vec<PodTerm>>,
    leanings: &'a Shared<Vec<Leaning>>,
    /// It counts itself until it is gone.
    replaced_first: bool,
    /// Where it is itself, which may not count: by the keys of its spreads and its affinity, and, where any of the nodes is in the
    /// same domain, by those of its anti-affinity.
    own: Vec<Option<&'a str>>,
}

/// Who was refused by all of some nodes, and what they said.
#[derive(Debug)]
pub struct Refusals<'a, Context> {
    nodes: Vec<&'a Node>,
    /// Of the nodes, by key.
    domains: RefCell<HashMap<&'a str, HashSet<&'a str>>>,
    known: RefCell<HashMap<(Shape<'a>, Context), Refused>>,
}

#[derive(Debug)]
struct Refused {
    why: String,
    /// How often a room had been added to, and taken back from.
    room: (usize, usize),
}

impl<'a, Context: Clone + Eq + Hash> Refusals<'a, Context> {
    /// Of these nodes, which no pod is moved off.
    #[must_use]
    pub fn of(nodes: Vec<&'a Node>) -> Self {
        Self { nodes, domains: RefCell::default(), known: RefCell::default() }
    }

    /// What `look` says of the pod, or said of one like it. Besides the pod and the room it may depend on the context alone. Of one
    /// room only: what is said of a clone that is then forgotten must not be remembered.
    ///
    /// # Errors
    /// Those of `look`, in words.
    pub fn ask<Found>(
        &self,
        room: &Room<'a>,
        pod: &'a Pod,
        context: Context,
        look: impl FnOnce() -> Result<Found, Nowhere>,
    ) -> Result<Found, String> {
        let nobody_was = self.known.borrow().is_empty();
        if let Some(why) = (!nobody_was).then(|| self.recall(room, pod, context.clone())).flatten() {
            return Err(why);
        }
        look().map_err(|Nowhere { why, whatever_its_rules }| {
            let rules = if whatever_its_rules { None } else { self.rules(room, pod) };
            let refused = Refused { why: why.clone(), room: room.changes() };
            self.known.borrow_mut().insert((shape(room, pod, rules), context), refused);
            why
        })
    }

    /// Why the pod would be refused in this room, if that follows from what was said before. Rules about others only refuse more: who is
    /// refused without any is refused with them.
    #[must_use]
    pub fn recall(&self, room: &Room<'a>, pod: &'a Pod, context: Context) -> Option<String> {
        let mut key = (shape(room, pod, None), context);
        let whatever_its_rules = self.known(room, &key);
        whatever_its_rules.or_else(|| {
            key.0.rules = Some(self.rules(room, pod)?);
            self.known(room, &key)
        })
    }

    fn known(&self, room: &Room<'a>, key: &(Shape<'a>, Context)) -> Option<String> {
        let known = self.known.borrow();
        known.get(key).filter(|refused| refused.holds(&key.0, room)).map(|refused| refused.why.clone())
    }

    /// What of the pod decides it by rules about others: its own, or theirs.
    fn rules(&self, room: &Room<'a>, pod: &'a Pod) -> Option<Rules<'a>> {
        let Pod { namespace, labels, node, spread, anti_affinity, affinity, leanings, .. } = pod;
        let own_rules = !(spread.is_empty() && anti_affinity.is_empty() && !pod.draws());
        let others = || room.may_be_refused(namespace) || room.drawing(namespace).next().is_some();
        if !own_rules && !others() {
            return None;
        }
        let at = OnceCell::new();
        let at = || *at.get_or_init(|| room.snapshot.nodes.get(node.as_deref()?));
        let domain = |key: &str| at()?.labels.get(key).map(String::as_str);
        let shared = |key: &'a str| domain(key).filter(|domain| self.has(key, domain));
        let by_spread = spread.iter().map(|spread| domain(&spread.key));
        let by_affinity = leanings.iter().map(|it| &it.term).chain(affinity.iter()).map(|term| domain(&term.key));
        let by_anti_affinity = anti_affinity.iter().map(|term| shared(&term.key));
        Some(Rules {
            namespace,
            labels,
            spread,
            anti_affinity,
            affinity,
            leanings,
            replaced_first: pod.is_replaced_before_it_is_gone(),
            own: by_spread.chain(by_affinity).chain(by_anti_affinity).collect(),
        })
    }

    /// Whether one of the nodes is in this domain.
    fn has(&self, key: &'a str, domain: &str) -> bool {
        let mut domains = self.domains.borrow_mut();
        let of_key = domains
            .entry(key)
            .or_insert_with(|| self.nodes.iter().filter_map(|node| node.labels.get(key)).map(String::as_str).collect());
        of_key.contains(domain)
    }
}

fn shape<'a>(room: &Room<'a>, pod: &'a Pod, rules: Option<Rules<'a>>) -> Shape<'a> {
    // Each field is named, so that a new one is thought about here, or among the rules.
    let Pod {
        namespace: _,
        labels: _,
        node: _,
        owner: _,
        requests,
        host_ports,
        tolerations,
        node_selector,
        node_terms,
        preferred_nodes,
        spread: _,
        anti_affinity: _,
        affinity: _,
        leanings: _,
        priority,
        unforeseen,
        // Who it is, and how it does; and what says whether it may be moved, not where to.
        name: _,
        uid: _,
        wishes: _,
        phase: _,
        ready: _,
        terminating: _,
        created: _,
        mirror: _,
        preferred_keys: _,
        not_injected: _,
        restarted_for: _,
        pinned_by: _,
        not_to_evict: _,
        scratch: _,
        // What its namespace's quotas say of it is asked apart.
        limits: _,
        priority_class: _,
        nominated: _,
        unschedulable: _,
        gated: _,
        injected: _,
        required_for: _,
        orders: _,
        ready_after_s: _,
    } = pod;
    let template = room.template(pod);
    Shape {
        requests,
        template: template.map(|template| &template.requests),
        host_ports,
        priority: *priority,
        tolerations,
        node_selector,
        node_terms,
        preferred_nodes,
        unforeseen: [*unforeseen, template.and_then(|template| template.unforeseen)],
        rules,
    }
}

impl Refused {
    /// Whether it was said of the room as it is now, or of one with no less room. For pods with rules about others, more of these may
    /// be more room.
    fn holds(&self, shape: &Shape<'_>, room: &Room<'_>) -> bool {
        let (added, taken_back) = room.changes();
        self.room.1 == taken_back && (self.room.0 == added || shape.rules.is_none() && room.only_fills())
    }
}

#[cfg(test)]
mod tests;
