//! As the plugin PodTopologySpread (KEP-895), for constraints with `whenUnsatisfiable: DoNotSchedule`.

use std::rc::Rc;

use super::{Misfit, Resident, Room, nodes, taints};
use crate::core::{
    hash::HashMap,
    selector::{Labels, NodeTerm},
    shared::Shared,
    workload::{Node, Pod, Snapshot, Spread, Toleration},
};

/// What of a pod decides who is counted for its spreads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rules {
    spread: Shared<Vec<Spread>>,
    node_selector: Shared<Labels>,
    node_terms: Option<Shared<Vec<NodeTerm>>>,
    tolerations: Shared<Vec<Toleration>>,
}

/// How many pods like one there are and stay, in each domain: the value that nodes have for the constraint's key.
#[derive(Debug, Clone)]
pub(super) struct Alikes<'a> {
    rules: Rules,
    /// For each of the spreads.
    each: Vec<Domains<'a>>,
}

#[derive(Debug, Clone)]
struct Domains<'a> {
    /// By node, of those that count.
    of: Rc<HashMap<&'a str, &'a str>>,
    pods: HashMap<&'a str, u64>,
}

impl<'a> Alikes<'a> {
    /// Counts one of their namespace who stays from now on, or doesn't any more.
    pub(super) fn count(&mut self, it: Resident<'a>, comes: bool) {
        for (spread, Domains { of, pods }) in self.rules.spread.iter().zip(&mut self.each) {
            let Some(domain) = of.get(it.node).filter(|_| counts(spread, it.pod)) else { continue };
            let pods = pods.entry(domain).or_default();
            *pods = if comes { *pods + 1 } else { pods.saturating_sub(1) };
        }
    }
}

/// Whether a pod is one of those. A selector that selects everybody counts nobody, for the scheduler.
fn counts(spread: &Spread, pod: &Pod) -> bool {
    !spread.selector.expressions.is_empty() && spread.selector.matches(&pod.labels)
}

/// The same for one of the spreads of a pod that looks for a node, which isn't counted itself.
pub(super) struct Alike<'r> {
    alikes: Rc<Alikes<'r>>,
    spread: usize,
    /// Domains in which it was counted.
    itself: Vec<&'r str>,
    least: u64,
}

impl<'r> Alike<'r> {
    fn of(alikes: &Rc<Alikes<'r>>, spread: usize, itself: &[Resident<'_>]) -> Self {
        let (rule, domains) = (&alikes.rules.spread[spread], &alikes.each[spread]);
        let counted = itself.iter().filter(|it| !it.leaving && counts(rule, it.pod));
        let itself = counted.filter_map(|it| domains.of.get(it.node).copied()).collect();
        let mut alike = Self { alikes: Rc::clone(alikes), spread, itself, least: 0 };
        if domains.pods.len() >= rule.min_domains {
            let least = domains.pods.values().min().copied();
            alike.least = alike.itself.iter().map(|domain| alike.pods(domain)).chain(least).min().unwrap_or(0);
        }
        alike
    }

    fn pods(&self, domain: &str) -> u64 {
        let all = self.alikes.each[self.spread].pods.get(domain).copied().unwrap_or(0);
        all.saturating_sub(self.itself.iter().filter(|it| **it == domain).count() as u64)
    }

    pub(super) fn allow(&self, pod: &Pod, spread: &Spread, node: &Node) -> Result<(), Misfit> {
        let misfit = || Misfit::Spread(spread.key.clone());
        let here = node.labels.get(&spread.key).ok_or_else(misfit)?;
        let then = self.pods(here) + u64::from(spread.selector.matches(&pod.labels));
        if then.saturating_sub(self.least) > spread.max_skew { Err(misfit()) } else { Ok(()) }
    }
}

impl<'a> Room<'a> {
    /// For each of the pod's spreads.
    pub(super) fn alike(&self, pod: &Pod) -> Vec<Alike<'a>> {
        if pod.spread.is_empty() {
            return Vec::new();
        }
        let (alikes, itself) = (self.alikes(pod), self.itself(pod));
        (0..pod.spread.len()).map(|spread| Alike::of(&alikes, spread, &itself)).collect()
    }

    fn alikes(&self, pod: &Pod) -> Rc<Alikes<'a>> {
        let rules = Rules {
            spread: pod.spread.clone(),
            node_selector: pod.node_selector.clone(),
            node_terms: pod.node_terms.clone(),
            tolerations: pod.tolerations.clone(),
        };
        let mut tallies = self.tallies.alike.borrow_mut();
        if let Some(known) = tallies.at_home.get(&pod.namespace).into_iter().flatten().find(|it| it.rules == rules) {
            return Rc::clone(known);
        }
        // Most workloads count the same nodes.
        let of_others = |spread: &Spread| {
            let mut others = tallies.at_home.values().flatten();
            others.find_map(|other| other.counts_nodes_as(&rules, spread))
        };
        let domains = |spread: &Spread| {
            let of = of_others(spread).unwrap_or_else(|| Rc::new(domains(self.snapshot, pod, spread)));
            Domains { pods: of.values().map(|domain| (*domain, 0)).collect(), of }
        };
        let mut alikes = Alikes { each: pod.spread.iter().map(domains).collect(), rules };
        self.residents_of(&pod.namespace).filter(|it| !it.leaving).for_each(|it| alikes.count(it, true));
        let alikes = Rc::new(alikes);
        tallies.at_home.entry(pod.namespace.clone()).or_default().push(Rc::clone(&alikes));
        alikes
    }
}

impl<'a> Alikes<'a> {
    /// The domains of a spread, where the same nodes count for it as for one of these.
    fn counts_nodes_as(&self, rules: &Rules, spread: &Spread) -> Option<Rc<HashMap<&'a str, &'a str>>> {
        let own = &self.rules;
        let keys = |spreads: &[Spread]| spreads.iter().map(|it| it.key.clone()).collect::<Vec<_>>();
        let chosen = (&own.node_selector, &own.node_terms) == (&rules.node_selector, &rules.node_terms);
        let alike = |it: &Spread| {
            (&it.key, it.every_node, it.heeds_taints) == (&spread.key, spread.every_node, spread.heeds_taints)
                && (spread.every_node || chosen)
                && (!spread.heeds_taints || own.tolerations == rules.tolerations)
        };
        let at = own.spread.iter().position(alike).filter(|_| keys(&own.spread) == keys(&rules.spread))?;
        Some(Rc::clone(&self.each[at].of))
    }
}

/// The domain of each node that counts for one of the pod's spreads. Nodes that lack one of the keys count for none of them.
fn domains<'a>(snapshot: Snapshot<'a>, pod: &Pod, spread: &Spread) -> HashMap<&'a str, &'a str> {
    let counts = |node: &&Node| {
        pod.spread.iter().all(|spread| node.labels.contains_key(&spread.key))
            && (spread.every_node || nodes::allow(pod, node).is_ok())
            && (!spread.heeds_taints || taints::refused_by(pod, node).is_none())
    };
    snapshot.nodes().filter(counts).map(|node| (&*node.name, &*node.labels[&spread.key])).collect()
}
