//! What a pod's spec says of ports, and of other pods, to the scheduler.

use super::selector::{Labels, NodeTerm, Selector};

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

/// A port of its node that a pod asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct HostPort {
    pub port: i32,
    pub protocol: Protocol,
    /// `None`: at every address of the node.
    pub ip: Option<String>,
}

impl HostPort {
    /// Whether no node has both.
    #[must_use]
    pub fn excludes(&self, other: &Self) -> bool {
        let same = (self.port, self.protocol) == (other.port, other.protocol);
        same && (self.ip.is_none() || other.ip.is_none() || self.ip == other.ip)
    }
}

/// A topology spread constraint with `whenUnsatisfiable: DoNotSchedule`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spread {
    pub key: String,
    pub max_skew: u64,
    /// With what its `matchLabelKeys` ask for.
    pub selector: Selector,
    /// With fewer domains than this the emptiest one counts as empty.
    pub min_domains: usize,
    /// Nodes count, too, that the pod's own choice excludes (`nodeAffinityPolicy: Ignore`).
    pub every_node: bool,
    /// Nodes don't count whose taints the pod doesn't tolerate (`nodeTaintsPolicy: Honor`).
    pub heeds_taints: bool,
}

/// Nodes that a pod prefers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PreferredNodes {
    pub weight: i64,
    pub term: NodeTerm,
}

/// Pods that a pod is preferred beside or, by a negative weight, apart from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Leaning {
    pub weight: i64,
    pub term: PodTerm,
}

/// A required term of affinity or anti-affinity between pods.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodTerm {
    pub key: String,
    /// With what its `matchLabelKeys` and `mismatchLabelKeys` ask for: the API server writes that into the pod.
    pub selector: Selector,
    /// Namespaces that it looks at.
    pub namespaces: Vec<String>,
    /// It looks at namespaces with such labels, too. With neither it looks at its pod's own.
    pub namespace_selector: Option<Selector>,
}

impl PodTerm {
    /// Whether it looks at its pod's own namespace alone.
    #[must_use]
    pub fn stays_at_home(&self) -> bool {
        self.namespaces.is_empty() && self.namespace_selector.is_none()
    }

    /// Whether a term of a pod in `own` looks at the pods of a namespace with these labels. `None` if they aren't known and decide it.
    #[must_use]
    pub fn looks_at(&self, own: &str, namespace: &str, labels: Option<&Labels>) -> Option<bool> {
        if self.stays_at_home() {
            return Some(own == namespace);
        }
        if self.namespaces.iter().any(|listed| listed == namespace) {
            return Some(true);
        }
        match &self.namespace_selector {
            None => Some(false),
            Some(selector) if selector.expressions.is_empty() => Some(true),
            Some(selector) => labels.map(|labels| selector.matches(labels)),
        }
    }
}
