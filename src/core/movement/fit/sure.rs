//! Whether pods find places in whatever order they come, and wherever the others go: then nobody has to look for each of them.
//!
//! Everybody together closes so many nodes at most to pods of one sort: each node that has no room for one more holds others who take a
//! whole node's share of what one of the resources has left, and each rule about other pods closes the domains of those who are there and
//! of as many more as come. Where there are more nodes than that, one is always open.

use std::{cmp::Reverse, collections::BTreeSet};

use super::{Candidate, Room, counted::by_labels, nodes, taints, terms::may_select};
use crate::core::{
    hash::HashMap,
    selector::{Labels, NodeTerm},
    shared::Shared,
    workload::{Node, Pod, Resources, Toleration},
};

/// Pods alike of which each looks for a place.
#[derive(Debug, Clone, Copy)]
pub struct Crowd<'a> {
    /// One of the replacements.
    pub pod: &'a Pod,
    pub pods: u64,
    /// So many nodes, the first ones, are nearer than each of them is.
    pub nearer: usize,
}

/// What a crowd finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    ForAll,
    /// However empty the nodes were.
    ForNobody,
    Unsure,
}

/// What of a pod decides how many nodes take it, and how much they have left for it.
#[derive(PartialEq, Eq, Hash)]
struct Chooses<'c> {
    asks: Resources,
    tolerations: &'c Shared<Vec<Toleration>>,
    node_selector: &'c Shared<Labels>,
    node_terms: &'c Option<Shared<Vec<NodeTerm>>>,
    nearer: usize,
}

/// Everybody who comes, found by whom rules about other pods may be about.
struct Coming<'a> {
    all: Vec<Crowd<'a>>,
    at_home: HashMap<&'a str, Vec<Crowd<'a>>>,
    /// Those whose anti-affinity looks beyond their own namespace.
    refusing_anywhere: Vec<Crowd<'a>>,
    demand: HashMap<Resources, u64>,
}

impl<'a> Coming<'a> {
    fn of(room: &Room<'a>, all: Vec<Crowd<'a>>) -> Self {
        let (mut demand, mut at_home) =
            (HashMap::<Resources, u64>::default(), HashMap::<&str, Vec<Crowd<'a>>>::default());
        for crowd in &all {
            let asks = room.asks(crowd.pod);
            match demand.get_mut(&*asks) {
                Some(pods) => *pods += crowd.pods,
                None => drop(demand.insert(asks.into_owned(), crowd.pods)),
            }
            at_home.entry(&*crowd.pod.namespace).or_default().push(*crowd);
        }
        let refusing_anywhere = all.iter().filter(|it| it.pod.refuses() && !it.pod.refuses_at_home());
        Self { refusing_anywhere: refusing_anywhere.copied().collect(), at_home, all, demand }
    }

    fn at_home(&self, namespace: &str) -> &[Crowd<'a>] {
        self.at_home.get(namespace).map_or(&[], |crowds| crowds)
    }

    /// Everybody who may refuse the pod, or be refused by it.
    fn about<'c>(&'c self, pod: &'c Pod) -> impl Iterator<Item = &'c Crowd<'a>> {
        let everywhere = pod.refuses() && !pod.refuses_at_home();
        let all = if everywhere { &*self.all } else { self.at_home(&pod.namespace) };
        let others = self.refusing_anywhere.iter().filter(move |it| !everywhere && it.pod.namespace != pod.namespace);
        all.iter().filter(|it| pod.refuses() || it.pod.refuses()).chain(others)
    }
}

/// The nodes that take a pod of one sort at first.
struct Open<'n> {
    nodes: Vec<&'n Node>,
    /// More and more of them, those with most room first: how many, and how many of these everybody fills who comes, at most.
    shares: Vec<(usize, f64)>,
    /// How many nodes each domain has, the largest first, and of how many domains what sum: by the key.
    domains: HashMap<String, (HashMap<&'n str, usize>, Vec<usize>)>,
}

impl<'a> Room<'a> {
    /// What each of these crowds finds, if all of them come. `near` are the nodes that they may be moved to, the nearest one first, `labelled`
    /// all of the near nodes that bear their label.
    #[must_use]
    pub fn places(&self, crowds: &[Crowd<'a>], near: &[&'a Node], labelled: &[&'a Node]) -> Vec<Places> {
        let refused = |crowd: &Crowd<'a>| {
            let candidate = Candidate::of(self, crowd.pod);
            candidate.unforeseen.is_some() || !labelled.iter().any(|node| may_choose(crowd.pod, node))
        };
        let refused: Vec<bool> = crowds.iter().map(|crowd| crowd.pods > 0 && refused(crowd)).collect();
        let coming: Vec<Crowd<'a>> = crowds
            .iter()
            .zip(&refused)
            .filter(|(crowd, refused)| crowd.pods > 0 && !**refused)
            .map(|it| *it.0)
            .collect();
        let coming = Coming::of(self, coming);
        let mut known: HashMap<Chooses<'_>, Open<'a>> = HashMap::default();
        let mut sure = |crowd: &Crowd<'a>| {
            let Pod { tolerations, node_selector, node_terms, .. } = crowd.pod;
            let asks = self.asks(crowd.pod).into_owned();
            let key = Chooses { asks, tolerations, node_selector, node_terms, nearer: crowd.nearer };
            let near = near.get(..crowd.nearer).unwrap_or(near);
            let open = known.entry(key).or_insert_with(|| self.open(crowd.pod, near, &coming.demand));
            self.is_plain(crowd.pod)
                && self.closed(crowd.pod, &coming, open).is_some_and(|closed| open.outlasts(closed))
        };
        let places = |(crowd, refused): (&Crowd<'a>, &bool)| match (crowd.pods, *refused) {
            (0, _) => Places::ForAll,
            (_, true) => Places::ForNobody,
            _ if sure(crowd) => Places::ForAll,
            _ => Places::Unsure,
        };
        crowds.iter().zip(&refused).map(places).collect()
    }

    /// Neither quotas, ports, affinity nor what it or others prefer keeps it anywhere.
    fn is_plain(&self, pod: &Pod) -> bool {
        let free = pod.host_ports.is_empty() && pod.affinity.is_empty() && !self.quotas.has(&pod.namespace);
        free && self.draws(pod).is_none()
    }

    fn open(&self, pod: &Pod, near: &[&'a Node], demand: &HashMap<Resources, u64>) -> Open<'a> {
        let (asks, (waiting, waiting_pods)) = (self.asks(pod), self.queue.demand());
        let asked: Vec<(String, u64)> = asks.amounts().collect();
        // Beside everybody who waits for the scheduler, and may come first.
        let left = |node: &Node| {
            let used = self.used(&node.name);
            let pods = node.pods.checked_sub(used.pods)?.checked_sub(waiting_pods)?.checked_sub(1)?;
            let left = asked.iter().map(|(name, wanted)| {
                let taken = used.resources.amount(name).checked_add(waiting.amount(name))?.checked_add(*wanted)?;
                node.allocatable.amount(name).checked_sub(taken)
            });
            std::iter::once(Some(pods)).chain(left).collect::<Option<Vec<u64>>>()
        };
        let takes = |node: &&'a Node| may_choose(pod, node).then(|| left(node)).flatten().map(|left| (*node, left));
        let mut open: Vec<(&Node, Vec<u64>)> = near.iter().filter_map(takes).collect();
        let more =
            |left: &[u64]| left.iter().zip([1].iter().chain(asked.iter().map(|(_, it)| it))).map(|(a, b)| a / b).min();
        open.sort_by_cached_key(|(_, left)| Reverse(more(left)));
        let nodes: Vec<&Node> = open.iter().map(|(node, _)| *node).collect();
        let names: Vec<&str> = asked.iter().map(|(name, _)| &**name).collect();
        let (mut least, mut shares) = (vec![u64::MAX; asked.len() + 1], Vec::new());
        for (number, (_, left)) in open.iter().enumerate() {
            least.iter_mut().zip(left).for_each(|(least, left)| *least = (*least).min(*left));
            // Eight of them are enough.
            if (number + 1).is_multiple_of(nodes.len().div_ceil(8)) || number + 1 == nodes.len() {
                shares.push((number + 1, filled(demand, &names, &least)));
            }
        }
        Open { nodes, shares, domains: HashMap::default() }
    }

    /// How many nodes rules about other pods close to it at most, whoever comes. `None`: all of them, for all that is known.
    fn closed(&self, pod: &Pod, coming: &Coming<'a>, open: &mut Open<'a>) -> Option<usize> {
        let (snapshot, namespace) = (self.snapshot, &*pod.namespace);
        let mut closed = 0;
        for spread in &pod.spread {
            let matching = |other: &Pod| spread.selector.matches(&other.labels);
            let there = by_labels(self.residents_of(namespace), matching).count() as u64;
            let come: u64 = coming.at_home(namespace).iter().filter(|it| matching(it.pod)).map(|it| it.pods).sum();
            if there.saturating_add(come) >= spread.max_skew {
                return None;
            }
            closed += open.without(&spread.key);
        }
        if pod.refuses() {
            let counted = self.selected(pod);
            for (number, term) in pod.anti_affinity.iter().enumerate() {
                closed += open.in_domains(&term.key, counted.domains(number));
            }
        }
        for counted in self.refusing_rules(namespace) {
            for (number, term) in counted.rules.iter().enumerate() {
                if may_select(snapshot, term, &counted.namespace, pod) {
                    closed += open.in_domains(&term.key, counted.domains(number));
                }
            }
        }
        // Whichever of both refuses the other: one that comes closes its own domain.
        for Crowd { pod: other, pods, .. } in coming.about(pod) {
            let by_it = pod.anti_affinity.iter().filter(|term| may_select(snapshot, term, namespace, other));
            let by_other = other.anti_affinity.iter().filter(|term| may_select(snapshot, term, &other.namespace, pod));
            let keys: BTreeSet<&str> = by_it.chain(by_other).map(|term| &*term.key).collect();
            closed += keys.into_iter().map(|key| open.in_largest(key, *pods)).sum::<usize>();
        }
        Some(closed)
    }
}

impl<'n> Open<'n> {
    fn of_key(&mut self, key: &str) -> &(HashMap<&'n str, usize>, Vec<usize>) {
        let nodes = &self.nodes;
        self.domains.entry(key.to_owned()).or_insert_with(|| {
            let mut domains: HashMap<&str, usize> = HashMap::default();
            for domain in nodes.iter().filter_map(|node| node.labels.get(key)) {
                *domains.entry(domain).or_default() += 1;
            }
            let mut sizes: Vec<usize> = domains.values().copied().collect();
            sizes.sort_unstable_by_key(|size| Reverse(*size));
            let sums = sizes.iter().scan(0, |sum, size| {
                *sum += size;
                Some(*sum)
            });
            let sums = sums.collect();
            (domains, sums)
        })
    }

    /// How many of the nodes are in no domain.
    fn without(&mut self, key: &str) -> usize {
        let (all, (_, sums)) = (self.nodes.len(), self.of_key(key));
        all - sums.last().copied().unwrap_or(0)
    }

    /// How many of the nodes are in these domains.
    fn in_domains<'d>(&mut self, key: &str, domains: impl Iterator<Item = &'d str>) -> usize {
        let (sizes, _) = self.of_key(key);
        domains.filter_map(|domain| sizes.get(domain)).sum()
    }

    /// How many are in so many domains, at most.
    fn in_largest(&mut self, key: &str, domains: u64) -> usize {
        let (_, sums) = self.of_key(key);
        let last = usize::try_from(domains).unwrap_or(usize::MAX).min(sums.len());
        last.checked_sub(1).map_or(0, |last| sums[last])
    }

    /// Whether one of the nodes is open when so many are closed, and everybody has come who asks for something.
    fn outlasts(&self, closed: usize) -> bool {
        // What is added up of fractions may be a little less than it is.
        self.shares.iter().any(|(nodes, filled)| closed as f64 + filled * 1.000_001 < *nodes as f64)
    }
}

/// How many nodes all of these fill, at most, if each has so much left at least: pods first, then what is named.
fn filled(demand: &HashMap<Resources, u64>, names: &[&str], least: &[u64]) -> f64 {
    let of_node = |asks: &Resources| {
        let pods = share(1, least.first().copied().unwrap_or(0));
        let each = names.iter().zip(least.iter().skip(1)).map(|(name, left)| share(asks.amount(name), *left));
        each.fold(pods, f64::max)
    };
    demand.iter().map(|(asks, pods)| of_node(asks) * *pods as f64).sum()
}

/// How much of a node one takes who asks for so much, where so much is left: whoever are there together with the whole of it close it.
fn share(asks: u64, left: u64) -> f64 {
    asks as f64 / (left as f64 + 1.0)
}

/// Whether the pod may go to the node, whoever is there.
fn may_choose(pod: &Pod, node: &Node) -> bool {
    node.ready && taints::allow(pod, node).is_ok() && nodes::allow(pod, node).is_ok()
}

#[cfg(test)]
mod tests;
