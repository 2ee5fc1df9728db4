//! Whether a pod fits a node, with the reason if it doesn't.
//!
//! This foresees what kube-scheduler's filters will say. Where it can't foresee (a rule that it doesn't evaluate), it
//! says no: a pod that isn't moved is safe, a pod that is evicted and stays Pending is not.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use super::workload::{Node, Pod, PodTerm, Resources, Snapshot, Spread};

/// Why a pod doesn't fit a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Misfit {
    NotReady,
    Cordoned,
    Taint(String),
    NodeSelector,
    NodeAffinity,
    Insufficient(String),
    HostPort(i32),
    Spread(String),
    AntiAffinity,
    PodAffinity,
    /// A rule that we don't evaluate.
    Unforeseeable(&'static str),
}

impl std::fmt::Display for Misfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotReady => f.write_str("not Ready"),
            Self::Cordoned => f.write_str("cordoned"),
            Self::Taint(key) => write!(f, "taint {key} not tolerated"),
            Self::NodeSelector => f.write_str("nodeSelector doesn't match"),
            Self::NodeAffinity => f.write_str("required node affinity doesn't match"),
            Self::Insufficient(resource) => write!(f, "insufficient {resource}"),
            Self::HostPort(port) => write!(f, "host port {port} taken"),
            Self::Spread(key) => write!(f, "topology spread over {key} would be violated"),
            Self::AntiAffinity => f.write_str("pod anti-affinity"),
            Self::PodAffinity => f.write_str("pod affinity"),
            Self::Unforeseeable(rule) => write!(f, "{rule}, which can't be foreseen"),
        }
    }
}

/// Who is where, with planned moves carried out in thought.
#[derive(Debug)]
pub struct Room<'a> {
    nodes: &'a HashMap<String, Arc<Node>>,
    occupants: HashMap<&'a str, Vec<&'a Pod>>,
    used: HashMap<&'a str, Resources>,
}

impl<'a> Room<'a> {
    #[must_use]
    pub fn of(snapshot: Snapshot<'a>) -> Self {
        let mut room = Self { nodes: snapshot.nodes, occupants: HashMap::new(), used: HashMap::new() };
        for pod in snapshot.pods().filter(|pod| pod.occupies()) {
            if let Some(node) = pod.node.as_deref() {
                room.occupy(pod, node);
            }
        }
        room
    }

    fn occupy(&mut self, pod: &'a Pod, node: &'a str) {
        self.occupants.entry(node).or_default().push(pod);
        self.used.entry(node).or_default().add(&pod.requests);
    }

    /// Carries a move out in thought. The place that the pod leaves is not given back as room: it is far anyway.
    pub fn place(&mut self, pod: &'a Pod, node: &'a str) {
        if let Some(left) = pod.node.as_deref().and_then(|from| self.occupants.get_mut(from)) {
            left.retain(|occupant| occupant.uid != pod.uid);
        }
        self.occupy(pod, node);
    }

    /// How many more pods the node takes.
    #[must_use]
    pub fn free_pods(&self, node: &Node) -> u64 {
        node.pods.saturating_sub(self.occupants.get(node.name.as_str()).map_or(0, |o| o.len() as u64))
    }

    /// The node with room for most pods of those that take a replacement of `pod` and that `allowed` has nothing against.
    ///
    /// # Errors
    /// How many refuse for which reason, in words.
    pub fn emptiest<'n>(
        &self,
        pod: &Pod,
        nodes: impl Iterator<Item = &'n Node>,
        allowed: impl Fn(&Node) -> Result<(), Misfit>,
    ) -> Result<&'n Node, String> {
        let mut misfits: BTreeMap<String, usize> = BTreeMap::new();
        let mut best: Option<&'n Node> = None;
        for node in nodes {
            match allowed(node).and_then(|()| self.fits(pod, node)) {
                Ok(()) if best.is_some_and(|best| self.free_pods(node) <= self.free_pods(best)) => {}
                Ok(()) => best = Some(node),
                Err(misfit) => *misfits.entry(misfit.to_string()).or_default() += 1,
            }
        }
        best.ok_or_else(|| {
            let parts: Vec<_> = misfits.iter().map(|(misfit, nodes)| format!("{nodes}: {misfit}")).collect();
            parts.join("; ")
        })
    }

    /// Whether a replacement of `pod` would be scheduled to `node`.
    ///
    /// # Errors
    /// The first filter that refuses.
    pub fn fits(&self, pod: &Pod, node: &Node) -> Result<(), Misfit> {
        if !node.ready {
            return Err(Misfit::NotReady);
        }
        if node.unschedulable {
            return Err(Misfit::Cordoned);
        }
        if let Some(taint) = node
            .taints
            .iter()
            .filter(|taint| taint.effect != "PreferNoSchedule")
            .find(|taint| !pod.tolerations.iter().any(|toleration| toleration.tolerates(taint)))
        {
            return Err(Misfit::Taint(taint.key.clone()));
        }
        self.wants(pod, node)?;
        self.has_resources(pod, node)?;
        let ports = |other: &Pod| other.host_ports.iter().find(|port| pod.host_ports.contains(port)).copied();
        if let Some(port) = self.on(&node.name).find_map(ports) {
            return Err(Misfit::HostPort(port));
        }
        pod.spread.iter().try_for_each(|spread| self.spreads(pod, node, spread))?;
        self.pod_terms(pod, node)
    }

    fn on(&self, node: &str) -> impl Iterator<Item = &'a Pod> {
        self.occupants.get(node).into_iter().flatten().copied()
    }

    /// The pod's own choice of nodes: nodeSelector and required node affinity.
    #[allow(clippy::unused_self)]
    fn wants(&self, pod: &Pod, node: &Node) -> Result<(), Misfit> {
        if !pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value)) {
            return Err(Misfit::NodeSelector);
        }
        match &pod.node_terms {
            Some(terms) if !terms.iter().any(|term| term.matches(&node.name, &node.labels)) => {
                Err(Misfit::NodeAffinity)
            }
            _ => Ok(()),
        }
    }

    fn has_resources(&self, pod: &Pod, node: &Node) -> Result<(), Misfit> {
        if self.free_pods(node) == 0 {
            return Err(Misfit::Insufficient("pods".into()));
        }
        let none = Resources::default();
        let used = self.used.get(node.name.as_str()).unwrap_or(&none);
        let wants = &pod.requests;
        let lacks = |wanted: u64, used: u64, offered: u64| wanted > 0 && used.saturating_add(wanted) > offered;
        if lacks(wants.cpu_m, used.cpu_m, node.allocatable.cpu_m) {
            return Err(Misfit::Insufficient("cpu".into()));
        }
        if lacks(wants.memory_bytes, used.memory_bytes, node.allocatable.memory_bytes) {
            return Err(Misfit::Insufficient("memory".into()));
        }
        for (name, wanted) in &wants.other {
            let amount = |of: &Resources| of.other.get(name).copied().unwrap_or(0);
            if lacks(*wanted, amount(used), amount(&node.allocatable)) {
                return Err(Misfit::Insufficient(name.clone()));
            }
        }
        Ok(())
    }

    /// Pod topology spread (KEP-895) with the default node policies: nodes that the pod itself excludes don't count.
    fn spreads(&self, pod: &Pod, node: &Node, spread: &Spread) -> Result<(), Misfit> {
        let misfit = || Misfit::Spread(spread.key.clone());
        let here = node.labels.get(&spread.key).ok_or_else(misfit)?;
        let mut domains: BTreeMap<&str, u64> = BTreeMap::new();
        for other in self.nodes.values().filter(|other| self.wants(pod, other).is_ok()) {
            let Some(domain) = other.labels.get(&spread.key) else { continue };
            let alike = |p: &&Pod| {
                p.namespace == pod.namespace && !p.terminating && p.uid != pod.uid && spread.selector.matches(&p.labels)
            };
            *domains.entry(domain).or_default() += self.on(&other.name).filter(alike).count() as u64;
        }
        let least = domains.values().min().copied().unwrap_or(0);
        let then = domains.get(here.as_str()).copied().unwrap_or(0) + 1;
        if then.saturating_sub(least) > spread.max_skew { Err(misfit()) } else { Ok(()) }
    }

    fn pod_terms(&self, pod: &Pod, node: &Node) -> Result<(), Misfit> {
        if pod.anti_affinity.iter().chain(&pod.affinity).any(|term| term.by_namespace_label) {
            return Err(Misfit::Unforeseeable("pod affinity with a namespaceSelector"));
        }
        let others = |term: &PodTerm| {
            let here = node.labels.get(&term.key);
            let domain: HashSet<&str> = self
                .nodes
                .values()
                .filter(|other| here.is_some() && other.labels.get(&term.key) == here)
                .map(|other| other.name.as_str())
                .collect();
            domain.into_iter().flat_map(|name| self.on(name)).filter(|other| other.uid != pod.uid)
        };
        if pod.anti_affinity.iter().any(|term| others(term).any(|other| selects(term, &pod.namespace, other))) {
            return Err(Misfit::AntiAffinity);
        }
        // Symmetry: a pod that is there may refuse us.
        let refuses = |other: &&Pod| {
            other.uid != pod.uid
                && other.anti_affinity.iter().any(|term| {
                    let same_domain = other.node.as_ref().and_then(|name| self.nodes.get(name)).is_some_and(|at| {
                        at.labels.contains_key(&term.key) && at.labels.get(&term.key) == node.labels.get(&term.key)
                    });
                    same_domain && selects(term, &other.namespace, pod)
                })
        };
        if self
            .occupants
            .values()
            .flatten()
            .copied()
            .filter(|other| !other.anti_affinity.is_empty())
            .any(|p| refuses(&p))
        {
            return Err(Misfit::AntiAffinity);
        }
        if pod.affinity.iter().any(|term| !others(term).any(|other| selects(term, &pod.namespace, other))) {
            return Err(Misfit::PodAffinity);
        }
        Ok(())
    }
}

/// Whether a term of a pod in `namespace` selects `other`.
fn selects(term: &PodTerm, namespace: &str, other: &Pod) -> bool {
    let in_scope = if term.namespaces.is_empty() {
        other.namespace == namespace
    } else {
        term.namespaces.contains(&other.namespace)
    };
    in_scope && !other.terminating && term.selector.matches(&other.labels)
}

#[cfg(test)]
mod tests;
