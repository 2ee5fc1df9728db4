//! Whether a pod fits a node, with the reason if it doesn't.
//!
//! This foresees what kube-scheduler's filters will say. Where it can't foresee (a rule that it doesn't evaluate), it
//! says no: a pod that isn't moved is safe, a pod that is evicted and stays Pending is not.

mod occupants;
mod shape;

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{BTreeMap, HashMap, HashSet},
};

use crate::core::{
    taints::refusing,
    workload::{Node, Pod, PodTerm, Resources, Snapshot, Spread, Toleration},
};

use self::occupants::Occupants;
pub use self::shape::Refusals;

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
    /// Its label doesn't say closely, by which the scheduler goes.
    Label,
    /// It is no nearer than the pod is now, or nobody is sure of that.
    Distance(&'static str),
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
            Self::Label => f.write_str("its label doesn't say closely"),
            Self::Distance(why) => f.write_str(why),
            Self::Unforeseeable(rule) => write!(f, "{rule}, which can't be foreseen"),
        }
    }
}

/// Who is where, with planned moves carried out in thought. It looks at the picture, and keeps only what differs from that: one
/// costs nothing to make, and little to clone.
#[derive(Debug, Clone)]
pub struct Room<'a> {
    snapshot: Snapshot<'a>,
    /// The nodes whose pods are others than in the picture.
    changed: HashMap<&'a str, Occupants<'a>>,
    /// The pods that were put somewhere in thought, and where.
    placed: Vec<(&'a str, &'a Pod)>,
    /// The UIDs of those that are not where they are in the picture.
    gone: HashSet<&'a str>,
    /// How often it was added to, and taken back from.
    changes: (usize, usize),
}

/// How a pod's rules about other pods stand, by domain: the value that nodes have for a label's key. It is the same for every
/// node, so that the pods of thousands of nodes are looked at once per pod, and not once per pod and node.
struct Neighbours<'r> {
    /// Domains, by key, that refuse the pod or that it refuses.
    closed: BTreeMap<&'r str, HashSet<&'r str>>,
    /// For each term of its affinity: the domains with somebody that all of them select. `None`: any will do that has its key.
    wanted: Option<Vec<HashSet<&'r str>>>,
    /// For each of its spreads: how many pods alike there are in each domain.
    alike: Vec<BTreeMap<&'r str, u64>>,
}

impl<'a> Room<'a> {
    #[must_use]
    pub fn of(snapshot: Snapshot<'a>) -> Self {
        Self { snapshot, changed: HashMap::new(), placed: Vec::new(), gone: HashSet::new(), changes: (0, 0) }
    }

    /// Carries a move out in thought. The place that the pod leaves is not given back as room: it is far anyway.
    pub fn place(&mut self, pod: &'a Pod, node: &'a str) {
        if let Some(from) = pod.node.as_deref() {
            self.there_mut(from).pods.retain(|occupant| occupant.uid != pod.uid);
        }
        self.gone.insert(&pod.uid);
        self.placed.retain(|(_, placed)| placed.uid != pod.uid);
        self.add(pod, node);
    }

    /// Puts one more pod like this one onto a node in thought: the pod itself stays where it is meanwhile.
    pub fn add(&mut self, pod: &'a Pod, node: &'a str) {
        let requests = self.asks(pod).into_owned();
        self.changes.0 += 1;
        let there = self.there_mut(node);
        there.pods.push(pod);
        there.used.add(&requests);
        self.placed.push((node, pod));
    }

    /// Takes back what was added last to a node.
    pub fn take_back(&mut self, pod: &'a Pod, node: &str) {
        let requests = self.asks(pod).into_owned();
        self.changes.1 += 1;
        if let Some(there) = self.changed.get_mut(node) {
            there.pods.pop();
            there.used.take(&requests);
        }
        self.placed.pop();
    }

    /// What a replacement of the pod asks for: what its template says, at least. (The pod itself may have been resized, and what admission
    /// added to it, it adds again.)
    fn asks<'p>(&self, pod: &'p Pod) -> Cow<'p, Resources> {
        let workload = pod.owner.as_ref().and_then(|owner| self.snapshot.workloads.get(&owner.uid));
        match workload {
            Some(workload) if workload.requests != *pod.requests => {
                let mut most = (*pod.requests).clone();
                most.raise_to(&workload.requests);
                Cow::Owned(most)
            }
            _ => Cow::Borrowed(&pod.requests),
        }
    }

    /// How many more pods the node takes.
    #[must_use]
    pub fn free_pods(&self, node: &Node) -> u64 {
        node.pods.saturating_sub(self.there(&node.name).count() as u64)
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
        let mut misfits: BTreeMap<Misfit, usize> = BTreeMap::new();
        let mut best: Option<&'n Node> = None;
        let neighbours = OnceCell::new();
        for node in nodes {
            match allowed(node).and_then(|()| self.fits_beside(pod, node, &neighbours)) {
                Ok(()) if best.is_some_and(|best| self.free_pods(node) <= self.free_pods(best)) => {}
                Ok(()) => best = Some(node),
                Err(misfit) => *misfits.entry(misfit).or_default() += 1,
            }
        }
        // Thousands of nodes give few reasons, which are worded once.
        best.ok_or_else(|| {
            let mut worded: BTreeMap<String, usize> = BTreeMap::new();
            for (misfit, nodes) in misfits {
                *worded.entry(misfit.to_string()).or_default() += nodes;
            }
            let parts: Vec<_> = worded.iter().map(|(misfit, nodes)| format!("{nodes}: {misfit}")).collect();
            parts.join("; ")
        })
    }

    /// Whether a replacement of `pod` would be scheduled to `node`.
    ///
    /// # Errors
    /// The first filter that refuses.
    pub fn fits(&self, pod: &Pod, node: &Node) -> Result<(), Misfit> {
        self.fits_beside(pod, node, &OnceCell::new())
    }

    /// `neighbours` are the pod's, filled in when they are first needed.
    fn fits_beside<'r>(
        &'r self,
        pod: &'r Pod,
        node: &Node,
        neighbours: &OnceCell<Neighbours<'r>>,
    ) -> Result<(), Misfit> {
        if let Some(rule) = pod.unforeseen {
            return Err(Misfit::Unforeseeable(rule));
        }
        if !node.ready {
            return Err(Misfit::NotReady);
        }
        if node.unschedulable {
            return Err(Misfit::Cordoned);
        }
        if let Some(taint) = refusing(&node.taints, || pod.tolerations.iter().map(Toleration::tolerated)) {
            return Err(Misfit::Taint(taint.key.clone()));
        }
        wants(pod, node)?;
        self.has_resources(pod, node)?;
        let ports = |other: &Pod| other.host_ports.iter().find(|port| pod.host_ports.contains(port)).copied();
        // Hardly any pod has one, and there are thousands of others to look at.
        if let Some(port) = (!pod.host_ports.is_empty()).then(|| self.on(&node.name).find_map(ports)).flatten() {
            return Err(Misfit::HostPort(port));
        }
        let neighbours = neighbours.get_or_init(|| self.neighbours(pod));
        pod.spread.iter().zip(&neighbours.alike).try_for_each(|(spread, alike)| spreads(node, spread, alike))?;
        pod_terms(pod, node, neighbours)
    }

    fn on(&self, node: &str) -> impl Iterator<Item = &'a Pod> {
        self.there(node).pods()
    }

    fn has_resources(&self, pod: &Pod, node: &Node) -> Result<(), Misfit> {
        let there = self.there(&node.name);
        if node.pods <= there.count() as u64 {
            return Err(Misfit::Insufficient("pods".into()));
        }
        let none = Resources::default();
        let used = there.used().unwrap_or(&none);
        let wants = &*self.asks(pod);
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

    fn neighbours<'r>(&'r self, pod: &'r Pod) -> Neighbours<'r> {
        let mut closed: BTreeMap<&str, HashSet<&str>> = BTreeMap::new();
        for term in pod.anti_affinity.iter() {
            closed.entry(&term.key).or_default().extend(self.domains(pod, term));
        }
        // Symmetry: a pod that is there may refuse us.
        for (node, other) in self.refusing(&pod.namespace).filter(|(_, other)| other.uid != pod.uid) {
            for term in other.anti_affinity.iter().filter(|term| selects(term, &other.namespace, pod)) {
                closed.entry(&term.key).or_default().extend(self.domain(node, &term.key));
            }
        }
        Neighbours {
            closed,
            wanted: self.wanted(pod),
            alike: pod.spread.iter().map(|spread| self.alike(pod, spread)).collect(),
        }
    }

    fn domain(&self, node: &str, key: &str) -> Option<&'a str> {
        self.snapshot.nodes.get(node)?.labels.get(key).map(String::as_str)
    }

    /// Everybody whom the term may select: those of the namespaces that it looks at, with the nodes that they are on.
    fn in_scope<'r>(
        &'r self,
        term: &'r PodTerm,
        namespace: &'r str,
    ) -> Box<dyn Iterator<Item = (&'a str, &'a Pod)> + 'r> {
        if term.by_namespace_label {
            return Box::new(self.occupied().flat_map(|(node, there)| there.pods().map(move |pod| (node, pod))));
        }
        if term.namespaces.is_empty() {
            return Box::new(self.of_namespace(namespace));
        }
        Box::new(term.namespaces.iter().flat_map(|namespace| self.of_namespace(namespace)))
    }

    /// For each term of the pod's affinity: the domains with somebody whom all of its terms select. `None` for the first one of its
    /// kind, which the scheduler lets go anywhere: nobody is selected yet but the pod itself.
    fn wanted<'r>(&'r self, pod: &'r Pod) -> Option<Vec<HashSet<&'r str>>> {
        let Some(first) = pod.affinity.first() else { return Some(Vec::new()) };
        let by_all = |other: &Pod| pod.affinity.iter().all(|term| selects(term, &pod.namespace, other));
        let selected = |other: &Pod| other.uid != pod.uid && !other.terminating && by_all(other);
        let selected = self.in_scope(first, &pod.namespace).filter(|(_, other)| selected(other));
        let nodes: HashSet<&str> = selected.map(|(node, _)| node).collect();
        if nodes.is_empty() && by_all(pod) {
            return None;
        }
        let domains = |term: &PodTerm| nodes.iter().filter_map(|node| self.domain(node, &term.key)).collect();
        Some(pod.affinity.iter().map(domains).collect())
    }

    /// The domains with somebody that a term of `pod` selects.
    fn domains<'r>(&'r self, pod: &'r Pod, term: &'r PodTerm) -> impl Iterator<Item = &'r str> {
        let selected = move |other: &Pod| other.uid != pod.uid && selects(term, &pod.namespace, other);
        let selected = self.in_scope(term, &pod.namespace).filter(move |(_, other)| selected(other));
        selected.filter_map(|(node, _)| self.domain(node, &term.key))
    }

    /// How many pods alike each domain has. Nodes that the pod itself excludes don't count (the default node policies).
    fn alike<'r>(&'r self, pod: &Pod, spread: &Spread) -> BTreeMap<&'r str, u64> {
        let counts = |node: &Node| spread.every_node || wants(pod, node).is_ok();
        let counting = self.snapshot.nodes.values().filter(|node| counts(node));
        let mut domains: BTreeMap<&str, u64> =
            counting.filter_map(|node| Some((node.labels.get(&spread.key)?.as_str(), 0))).collect();
        let alike = |other: &Pod| !other.terminating && other.uid != pod.uid && spread.selector.matches(&other.labels);
        for (node, _) in self.of_namespace(&pod.namespace).filter(|(_, other)| alike(other)) {
            let Some(node) = self.snapshot.nodes.get(node).filter(|node| counts(node)) else { continue };
            if let Some(count) = node.labels.get(&spread.key).and_then(|domain| domains.get_mut(domain.as_str())) {
                *count += 1;
            }
        }
        domains
    }
}

/// The pod's own choice of nodes: nodeSelector and required node affinity.
fn wants(pod: &Pod, node: &Node) -> Result<(), Misfit> {
    if !pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value)) {
        return Err(Misfit::NodeSelector);
    }
    match &pod.node_terms {
        Some(terms) if !terms.iter().any(|term| term.matches(&node.name, &node.labels)) => Err(Misfit::NodeAffinity),
        _ => Ok(()),
    }
}

/// Pod topology spread (KEP-895).
fn spreads(node: &Node, spread: &Spread, alike: &BTreeMap<&str, u64>) -> Result<(), Misfit> {
    let misfit = || Misfit::Spread(spread.key.clone());
    let here = node.labels.get(&spread.key).ok_or_else(misfit)?;
    let enough = alike.len() >= spread.min_domains;
    let least = alike.values().min().copied().filter(|_| enough).unwrap_or(0);
    let then = alike.get(here.as_str()).copied().unwrap_or(0) + 1;
    if then.saturating_sub(least) > spread.max_skew { Err(misfit()) } else { Ok(()) }
}

fn pod_terms(pod: &Pod, node: &Node, neighbours: &Neighbours<'_>) -> Result<(), Misfit> {
    if pod.anti_affinity.iter().chain(pod.affinity.iter()).any(|term| term.by_namespace_label) {
        return Err(Misfit::Unforeseeable("pod affinity with a namespaceSelector"));
    }
    let is_in = |key: &str, domains: &HashSet<&str>| {
        node.labels.get(key).is_some_and(|domain| domains.contains(domain.as_str()))
    };
    if neighbours.closed.iter().any(|(key, domains)| is_in(key, domains)) {
        return Err(Misfit::AntiAffinity);
    }
    let drawn = match &neighbours.wanted {
        Some(wanted) => pod.affinity.iter().zip(wanted).all(|(term, domains)| is_in(&term.key, domains)),
        None => pod.affinity.iter().all(|term| node.labels.contains_key(&term.key)),
    };
    if !drawn {
        return Err(Misfit::PodAffinity);
    }
    Ok(())
}

/// Whether a term of a pod in `namespace` selects `other`. The scheduler lets pods that are on their way out count, too.
fn selects(term: &PodTerm, namespace: &str, other: &Pod) -> bool {
    let in_scope = if term.by_namespace_label {
        true
    } else if term.namespaces.is_empty() {
        other.namespace == namespace
    } else {
        term.namespaces.contains(&other.namespace)
    };
    in_scope && term.selector.matches(&other.labels)
}

#[cfg(test)]
mod tests;
