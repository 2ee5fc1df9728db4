//! As the plugin InterPodAffinity: required affinity and anti-affinity between pods, of both sides.

use std::collections::{BTreeMap, HashSet};

use super::{Misfit, Resident, Room};
use crate::core::{
    map::Groups,
    workload::{Node, Pod, PodTerm},
};

/// How a pod's rules about others stand, by domain: the value that nodes have for a label's key.
pub(super) struct Neighbours<'r> {
    /// Domains, by key, that refuse the pod or that it refuses.
    closed: BTreeMap<&'r str, HashSet<&'r str>>,
    /// For each term of its affinity: the domains with somebody that all of them select. `None`: any will do that has its key.
    wanted: Option<Vec<HashSet<&'r str>>>,
}

impl Neighbours<'_> {
    pub(super) fn allow(&self, pod: &Pod, node: &Node) -> Result<(), Misfit> {
        let is_in = |key: &str, domains: &HashSet<&str>| {
            node.labels.get(key).is_some_and(|domain| domains.contains(domain.as_str()))
        };
        if self.closed.iter().any(|(key, domains)| is_in(key, domains)) {
            return Err(Misfit::AntiAffinity);
        }
        let drawn = match &self.wanted {
            Some(wanted) => pod.affinity.iter().zip(wanted).all(|(term, domains)| is_in(&term.key, domains)),
            None => pod.affinity.iter().all(|term| node.labels.contains_key(&term.key)),
        };
        if drawn { Ok(()) } else { Err(Misfit::PodAffinity) }
    }
}

impl<'a> Room<'a> {
    /// Whether the rules of any pod that is somewhere could be about pods of this namespace.
    pub(super) fn may_be_refused(&self, namespace: &str) -> bool {
        self.refusing(namespace).next().is_some()
    }

    /// Where there are pods that may refuse those of this namespace by required anti-affinity.
    fn refusing<'r>(&'r self, namespace: &'r str) -> impl Iterator<Item = (&'a str, &'a Pod)> + use<'r, 'a> {
        let groups = self.snapshot.groups;
        let there = (&groups.refusing_at_home, &groups.refusing_anywhere);
        self.with_rules(namespace, there, Pod::refuses, Pod::refuses_at_home)
    }

    /// Where there are pods with rules of one sort that may be about pods of this namespace: those that are `there`, whose rules look at their
    /// own namespace alone or anywhere, and those that are somewhere in thought.
    pub(super) fn with_rules<'r>(
        &'r self,
        namespace: &'r str,
        (at_home, anywhere): (&'a Groups<Pod>, &'a Groups<Pod>),
        has_rules: fn(&Pod) -> bool,
        look_at_home: fn(&Pod) -> bool,
    ) -> impl Iterator<Item = (&'a str, &'a Pod)> + use<'r, 'a> {
        let at_home = at_home.get(namespace).into_iter().flat_map(|pods| pods.iter());
        let there = at_home.chain(anywhere.values().flat_map(|pods| pods.iter()));
        let there = there.filter_map(|pod| Some((pod.node.as_deref()?, pod.as_ref())));
        let about = move |pod: &Pod| has_rules(pod) && (pod.namespace == namespace || !look_at_home(pod));
        there.chain(self.added.values().flatten().filter(move |it| about(it.pod)).map(|it| (it.node, it.pod)))
    }

    pub(super) fn neighbours<'r>(&'r self, pod: &'r Pod) -> Neighbours<'r> {
        let mut closed: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for term in &pod.anti_affinity {
            let domains = closed.entry(&term.key).or_default();
            for resident in self.beside(pod, self.seen_by(pod, term)) {
                if self.may_select(term, pod, resident.pod) {
                    domains.extend(self.domain(resident.node, &term.key));
                }
            }
        }
        // Symmetry: whoever is there may refuse the pod.
        for (node, other) in self.refusing(&pod.namespace) {
            if other.uid == pod.uid && !pod.is_replaced_before_it_is_gone() {
                continue;
            }
            for term in other.anti_affinity.iter().filter(|term| self.may_select(term, other, pod)) {
                closed.entry(&term.key).or_default().extend(self.domain(node, &term.key));
            }
        }
        Neighbours { closed, wanted: self.wanted(pod) }
    }

    /// For each term of the pod's affinity: the domains with somebody whom all of its terms select and who stays. `None` for the
    /// first one of its kind, which the scheduler lets go anywhere: nobody is selected yet but the pod itself.
    fn wanted<'r>(&'r self, pod: &'r Pod) -> Option<Vec<HashSet<&'r str>>> {
        let Some(first) = pod.affinity.first() else { return Some(Vec::new()) };
        let by_all = |other: &Pod| pod.affinity.iter().all(|term| self.selects(term, pod, other) == Some(true));
        let selected = self.beside(pod, self.seen_by(pod, first)).filter(|it| by_all(it.pod));
        let (leaving, staying): (Vec<Resident<'_>>, Vec<Resident<'_>>) =
            selected.filter(|it| it.pod.node.is_some()).partition(|it| it.leaving);
        let domains = |of: &[Resident<'_>], term: &PodTerm| -> HashSet<&'r str> {
            of.iter().filter_map(|it| self.domain(it.node, &term.key)).collect()
        };
        let any = |of: &[Resident<'_>]| pod.affinity.iter().any(|term| !domains(of, term).is_empty());
        if !any(&leaving) && !any(&staying) && by_all(pod) {
            return None;
        }
        Some(pod.affinity.iter().map(|term| domains(&staying, term)).collect())
    }

    /// The residents that a term of `pod` may look at.
    pub(super) fn seen_by<'r>(
        &'r self,
        pod: &'r Pod,
        term: &PodTerm,
    ) -> impl Iterator<Item = Resident<'a>> + use<'r, 'a> {
        let at_home = term.stays_at_home().then(|| self.residents_of(&pod.namespace));
        let everywhere = (!term.stays_at_home()).then(|| self.residents());
        at_home.into_iter().flatten().chain(everywhere.into_iter().flatten())
    }

    /// Whether a term of `pod` selects `other`. `None`: nobody knows the labels of the other's namespace, and they decide it.
    fn selects(&self, term: &PodTerm, pod: &Pod, other: &Pod) -> Option<bool> {
        if !term.selector.matches(&other.labels) {
            return Some(false);
        }
        let labels = self.snapshot.namespaces.get(&other.namespace).map(|namespace| &namespace.labels);
        term.looks_at(&pod.namespace, &other.namespace, labels)
    }

    pub(super) fn may_select(&self, term: &PodTerm, pod: &Pod, other: &Pod) -> bool {
        self.selects(term, pod, other) != Some(false)
    }
}
