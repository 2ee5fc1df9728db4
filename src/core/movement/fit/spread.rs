//! As the plugin PodTopologySpread (KEP-895), for constraints with `whenUnsatisfiable: DoNotSchedule`.

use std::collections::{BTreeMap, HashMap};

use super::{Misfit, Room, nodes, taints};
use crate::core::workload::{Node, Pod, Spread};

/// How many pods like one there are in each domain: the value that nodes have for the constraint's key.
pub(super) struct Alike<'r>(BTreeMap<&'r str, u64>);

impl Alike<'_> {
    pub(super) fn allow(&self, pod: &Pod, spread: &Spread, node: &Node) -> Result<(), Misfit> {
        let misfit = || Misfit::Spread(spread.key.clone());
        let here = node.labels.get(&spread.key).ok_or_else(misfit)?;
        let enough = self.0.len() >= spread.min_domains;
        let least = self.0.values().min().copied().filter(|_| enough).unwrap_or(0);
        let itself = u64::from(spread.selector.matches(&pod.labels));
        let then = self.0.get(here.as_str()).copied().unwrap_or(0) + itself;
        if then.saturating_sub(least) > spread.max_skew { Err(misfit()) } else { Ok(()) }
    }
}

impl<'a> Room<'a> {
    /// For each of the pod's spreads.
    pub(super) fn alike(&self, pod: &Pod) -> Vec<Alike<'a>> {
        if pod.spread.is_empty() {
            return Vec::new();
        }
        // Nodes that lack one of the keys count for none of them.
        let has_keys = |node: &&&'a Node| pod.spread.iter().all(|spread| node.labels.contains_key(&spread.key));
        let nodes: Vec<&Node> = self.snapshot.nodes.values().map(AsRef::as_ref).collect();
        let nodes: Vec<&Node> = nodes.iter().filter(has_keys).copied().collect();
        pod.spread.iter().map(|spread| self.alike_over(&nodes, pod, spread)).collect()
    }

    fn alike_over(&self, nodes: &[&'a Node], pod: &Pod, spread: &Spread) -> Alike<'a> {
        let mut domains: BTreeMap<&str, u64> = BTreeMap::new();
        let mut domain_of: HashMap<&str, &str> = HashMap::new();
        for node in nodes {
            let wanted = spread.every_node || nodes::allow(pod, node).is_ok();
            let tolerated = !spread.heeds_taints || taints::refused_by(pod, node).is_none();
            if wanted && tolerated {
                let domain = &*node.labels[&spread.key];
                domains.entry(domain).or_default();
                domain_of.insert(&node.name, domain);
            }
        }
        // A selector that selects everybody counts nobody, for the scheduler.
        let selects_some = !spread.selector.expressions.is_empty();
        for resident in self.beside(pod, self.residents_of(&pod.namespace)).filter(|it| selects_some && !it.leaving) {
            if let Some(domain) = domain_of.get(resident.node).filter(|_| spread.selector.matches(&resident.pod.labels))
            {
                *domains.entry(domain).or_default() += 1;
            }
        }
        Alike(domains)
    }
}
