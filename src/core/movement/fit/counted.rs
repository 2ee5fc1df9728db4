//! How many there are whom rules about other pods mean, by domain: the value that their node has for a label's key. Everybody is looked at
//! once for each rule, and what is carried out in thought is counted along: thousands of pods have the few rules of their templates.

use std::{cell::RefCell, rc::Rc};

use super::{Resident, spread::Alikes, terms::may_select};
use crate::core::{
    hash::HashMap,
    selector::Labels,
    shared::Shared,
    workload::{Pod, PodTerm, Snapshot},
};

/// What is counted, once somebody has asked for it.
#[derive(Debug)]
pub(super) struct Tallies<'a> {
    pub snapshot: Snapshot<'a>,
    /// Whom required anti-affinity selects.
    pub selected: RefCell<ByReach<Counted<'a>>>,
    /// Who has it, in the namespaces that it was asked for.
    pub refusing: RefCell<ByReach<Counted<'a>>>,
    /// Who is alike, by namespace.
    pub alike: RefCell<ByReach<Alikes<'a>>>,
}

/// Counts by what they look at.
#[derive(Debug)]
pub(super) struct ByReach<Count> {
    /// One namespace alone, by it.
    pub at_home: HashMap<String, Vec<Rc<Count>>>,
    /// `None`: nobody has asked.
    pub anywhere: Option<Vec<Rc<Count>>>,
}

impl<Count> Default for ByReach<Count> {
    fn default() -> Self {
        Self { at_home: HashMap::default(), anywhere: None }
    }
}

impl<Count: Clone> ByReach<Count> {
    /// Those that look at this namespace.
    fn about(&mut self, namespace: &str) -> impl Iterator<Item = &mut Count> {
        let at_home = self.at_home.get_mut(namespace).into_iter().flatten();
        at_home.chain(self.anywhere.iter_mut().flatten()).map(Rc::make_mut)
    }
}

/// What has become of a pod on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Comes,
    Goes,
    /// It is on its way out from now on.
    Leaves,
    /// It isn't any more.
    Stays,
}

/// For each term of some pods' rules how many there are whom it selects, or who have it, by domain.
#[derive(Debug, Clone)]
pub(super) struct Counted<'a> {
    /// Of whoever has the rules.
    pub namespace: String,
    pub rules: Shared<Vec<PodTerm>>,
    pods: Vec<HashMap<&'a str, usize>>,
}

impl<'a> Counted<'a> {
    pub(super) fn of(namespace: &str, rules: &Shared<Vec<PodTerm>>) -> Self {
        let pods = vec![HashMap::default(); rules.len()];
        Self { namespace: namespace.to_owned(), rules: rules.clone(), pods }
    }

    pub(super) fn is_of(&self, namespace: &str, rules: &Shared<Vec<PodTerm>>) -> bool {
        self.namespace == namespace && self.rules == *rules
    }

    /// How many there are in a domain.
    pub(super) fn pods(&self, term: usize, domain: &str) -> usize {
        self.pods[term].get(domain).copied().unwrap_or(0)
    }

    /// The domains where there is anybody.
    pub(super) fn domains(&self, term: usize) -> impl Iterator<Item = &'a str> {
        self.pods[term].iter().filter(|(_, pods)| **pods > 0).map(|(domain, _)| *domain)
    }

    /// Counts one whom some of the terms select.
    pub(super) fn count_selected(&mut self, snapshot: Snapshot<'a>, it: Resident<'a>, comes: bool) {
        let Self { namespace, rules, pods } = self;
        for (term, pods) in rules.iter().zip(pods) {
            if may_select(snapshot, term, namespace, it.pod) {
                count(pods, domain(snapshot, it.node, &term.key), comes);
            }
        }
    }

    /// Counts one who has the rules.
    pub(super) fn count_holder(&mut self, snapshot: Snapshot<'a>, node: &str, comes: bool) {
        for (term, pods) in self.rules.iter().zip(&mut self.pods) {
            count(pods, domain(snapshot, node, &term.key), comes);
        }
    }
}

fn count<'a>(pods: &mut HashMap<&'a str, usize>, domain: Option<&'a str>, comes: bool) {
    let Some(domain) = domain else { return };
    let pods = pods.entry(domain).or_default();
    *pods = if comes { *pods + 1 } else { pods.saturating_sub(1) };
}

/// Those of one namespace of whom this is true, which goes by their labels alone: pods of one template have these in common, in memory,
/// too, and are looked at once.
pub(super) fn by_labels<'a>(
    pods: impl Iterator<Item = Resident<'a>>,
    is: impl Fn(&Pod) -> bool,
) -> impl Iterator<Item = Resident<'a>> {
    let mut known: HashMap<*const Labels, bool> = HashMap::default();
    pods.filter(move |it| *known.entry(&raw const *it.pod.labels).or_insert_with(|| is(it.pod)))
}

/// Counts a pod with the others who have its rules.
pub(super) fn count_holder<'a>(
    of: &mut Vec<Rc<Counted<'a>>>,
    snapshot: Snapshot<'a>,
    (node, pod): (&str, &Pod),
    comes: bool,
) {
    let known = of.iter().position(|it| it.is_of(&pod.namespace, &pod.anti_affinity));
    let at = known.unwrap_or_else(|| {
        of.push(Rc::new(Counted::of(&pod.namespace, &pod.anti_affinity)));
        of.len() - 1
    });
    Rc::make_mut(&mut of[at]).count_holder(snapshot, node, comes);
}

/// The value that a node has for a label's key.
pub(super) fn domain<'a>(snapshot: Snapshot<'a>, node: &str, key: &str) -> Option<&'a str> {
    snapshot.nodes.get(node)?.labels.get(key).map(String::as_str)
}

impl<'a> Tallies<'a> {
    pub(super) fn of(snapshot: Snapshot<'a>) -> Self {
        Self { snapshot, selected: RefCell::default(), refusing: RefCell::default(), alike: RefCell::default() }
    }

    /// Goes along with what is carried out in thought.
    pub(super) fn go_along(&mut self, it: Resident<'a>, step: Step) {
        let (snapshot, namespace) = (self.snapshot, &*it.pod.namespace);
        let staying = match step {
            Step::Comes | Step::Goes if it.leaving => None,
            step => Some(matches!(step, Step::Comes | Step::Stays)),
        };
        if let Some(comes) = staying {
            self.alike.get_mut().about(namespace).for_each(|alikes| alikes.count(it, comes));
        }
        if matches!(step, Step::Leaves | Step::Stays) {
            return;
        }
        let comes = step == Step::Comes;
        self.selected.get_mut().about(namespace).for_each(|counted| counted.count_selected(snapshot, it, comes));
        if it.pod.refuses() {
            let refusing = self.refusing.get_mut();
            let of =
                if it.pod.refuses_at_home() { refusing.at_home.get_mut(namespace) } else { refusing.anywhere.as_mut() };
            if let Some(of) = of {
                count_holder(of, snapshot, (it.node, it.pod), comes);
            }
        }
    }
}
