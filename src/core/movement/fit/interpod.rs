//! As the plugin InterPodAffinity: required affinity and anti-affinity between pods, of both sides.

use std::{collections::HashSet, rc::Rc, sync::Arc};

use super::{
    Misfit, Resident, Room,
    added::Ruling,
    counted::{Counted, by_labels, count_holder},
    terms::{may_select, selects},
};
use crate::core::{
    map::Groups,
    workload::{Node, Pod, PodTerm},
};

/// How a pod's rules about others stand, by domain: the value that nodes have for a label's key.
pub(super) struct Neighbours<'r> {
    /// Those that refuse the pod or that it refuses.
    closed: Vec<Closed<'r>>,
    /// For each term of its affinity: the domains with somebody that all of them select. `None`: any will do that has its key.
    wanted: Option<Vec<HashSet<&'r str>>>,
}

/// Domains that one term of required anti-affinity keeps the pod from: it selects somebody there, or somebody there has it.
struct Closed<'r> {
    counted: Rc<Counted<'r>>,
    term: usize,
    /// Domains in which the pod itself was counted, which isn't there any more by then.
    itself: Vec<&'r str>,
}

impl Closed<'_> {
    fn refuses(&self, node: &Node) -> bool {
        let Self { counted, term, itself } = self;
        node.labels.get(&counted.rules[*term].key).is_some_and(|domain| {
            let itself = itself.iter().filter(|it| *it == domain).count();
            counted.pods(*term, domain) > itself
        })
    }
}

impl Neighbours<'_> {
    pub(super) fn allow(&self, pod: &Pod, node: &Node) -> Result<(), Misfit> {
        let is_in = |key: &str, domains: &HashSet<&str>| {
            node.labels.get(key).is_some_and(|domain| domains.contains(domain.as_str()))
        };
        if self.closed.iter().any(|closed| closed.refuses(node)) {
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
        with_rules(namespace, (&groups.refusing_at_home, &groups.refusing_anywhere), &self.added.refusing)
    }

    pub(super) fn neighbours<'r>(&'r self, pod: &'r Pod) -> Neighbours<'r> {
        // One that is replaced first counts itself.
        let itself = if pod.is_replaced_before_it_is_gone() { Vec::new() } else { self.itself(pod) };
        let domains = |key: &str, is_counted: &dyn Fn(&Pod) -> bool| {
            let counted = itself.iter().filter(|it| is_counted(it.pod));
            counted.filter_map(|it| self.domain(it.node, key)).collect::<Vec<_>>()
        };
        let mut closed = Vec::new();
        if pod.refuses() {
            let counted = self.selected(pod);
            for (term, rule) in pod.anti_affinity.iter().enumerate() {
                let itself = domains(&rule.key, &|it| self.may_select(rule, pod, it));
                closed.push(Closed { counted: Rc::clone(&counted), term, itself });
            }
        }
        // Symmetry: whoever is there may refuse the pod.
        for counted in self.refusing_rules(&pod.namespace) {
            for (term, rule) in counted.rules.iter().enumerate() {
                if may_select(self.snapshot, rule, &counted.namespace, pod) {
                    let itself = domains(&rule.key, &|it| counted.is_of(&it.namespace, &it.anti_affinity));
                    closed.push(Closed { counted: Rc::clone(&counted), term, itself });
                }
            }
        }
        Neighbours { closed, wanted: self.wanted(pod) }
    }

    /// Whom the pod's anti-affinity selects.
    pub(super) fn selected(&self, pod: &Pod) -> Rc<Counted<'a>> {
        let (rules, at_home) = (&pod.anti_affinity, pod.refuses_at_home());
        let mut selected = self.tallies.selected.borrow_mut();
        let of = match at_home {
            true => selected.at_home.entry(pod.namespace.clone()).or_default(),
            false => selected.anywhere.get_or_insert_default(),
        };
        if let Some(known) = of.iter().find(|it| it.is_of(&pod.namespace, rules)) {
            return Rc::clone(known);
        }
        let mut counted = Counted::of(&pod.namespace, rules);
        match at_home {
            true => {
                let is_selected =
                    |it: &Pod| rules.iter().any(|term| may_select(self.snapshot, term, &pod.namespace, it));
                let selected = by_labels(self.residents_of(&pod.namespace), is_selected);
                selected.for_each(|it| counted.count_selected(self.snapshot, it, true));
            }
            false => self.residents().for_each(|it| counted.count_selected(self.snapshot, it, true)),
        }
        let counted = Rc::new(counted);
        of.push(Rc::clone(&counted));
        counted
    }

    /// The anti-affinity that may be about pods of this namespace, and who has it.
    pub(super) fn refusing_rules(&self, namespace: &str) -> Vec<Rc<Counted<'a>>> {
        let (groups, mut refusing) = (self.snapshot.groups, self.tallies.refusing.borrow_mut());
        if !refusing.at_home.contains_key(namespace) {
            let there = located(groups.refusing_at_home.get(namespace).into_iter());
            let of = self.holders(there.chain(self.added.refusing.at_home(namespace)));
            refusing.at_home.insert(namespace.to_owned(), of);
        }
        if refusing.anywhere.is_none() {
            let there = located(groups.refusing_anywhere.values());
            refusing.anywhere = Some(self.holders(there.chain(self.added.refusing.anywhere())));
        }
        refusing.at_home[namespace].iter().chain(refusing.anywhere.iter().flatten()).cloned().collect()
    }

    fn holders(&self, pods: impl Iterator<Item = (&'a str, &'a Pod)>) -> Vec<Rc<Counted<'a>>> {
        let mut of = Vec::new();
        pods.for_each(|it| count_holder(&mut of, self.snapshot, it, true));
        of
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
        selects(self.snapshot, term, &pod.namespace, other)
    }

    pub(super) fn may_select(&self, term: &PodTerm, pod: &Pod, other: &Pod) -> bool {
        may_select(self.snapshot, term, &pod.namespace, other)
    }
}

/// Where there are pods with rules of one sort that may be about pods of this namespace: those that are there, whose rules look at their
/// own namespace alone or anywhere, and those that are somewhere in thought.
pub(super) fn with_rules<'r, 'a>(
    namespace: &str,
    (at_home, anywhere): (&'a Groups<Pod>, &'a Groups<Pod>),
    added: &'r Ruling<'a>,
) -> impl Iterator<Item = (&'a str, &'a Pod)> + use<'r, 'a> {
    let there = at_home.get(namespace).into_iter().chain(anywhere.values());
    located(there).chain(added.at_home(namespace)).chain(added.anywhere())
}

fn located<'a>(groups: impl Iterator<Item = &'a Arc<Vec<Arc<Pod>>>>) -> impl Iterator<Item = (&'a str, &'a Pod)> {
    groups.flat_map(|pods| pods.iter()).filter_map(|pod| Some((pod.node.as_deref()?, &**pod)))
}
