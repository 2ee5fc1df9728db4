//! What pods have alike is kept once: replicas have all of it from one template.

use crate::core::{
    selector::{Labels, NodeTerm},
    shared::Pool,
    workload::{
        HostPort, Leaning, Owner, Pod, PodTerm, PreferredNodes, RequiredFor, Resources, Spread, Toleration, Wishes,
    },
};

/// Everything that any pod in the tables says.
#[derive(Debug, Default)]
pub(super) struct Pools {
    labels: Pool<Labels>,
    wishes: Pool<Wishes>,
    owners: Pool<Owner>,
    requests: Pool<Resources>,
    host_ports: Pool<Vec<HostPort>>,
    tolerations: Pool<Vec<Toleration>>,
    node_terms: Pool<Vec<NodeTerm>>,
    preferred_keys: Pool<Vec<String>>,
    preferred_nodes: Pool<Vec<PreferredNodes>>,
    leanings: Pool<Vec<Leaning>>,
    spreads: Pool<Vec<Spread>>,
    terms: Pool<Vec<PodTerm>>,
    required_for: Pool<Vec<RequiredFor>>,
}

impl Pools {
    /// Keeps with others what they say, too.
    pub(super) fn share(&mut self, pod: &mut Pod) {
        self.labels.share(&mut pod.labels);
        self.labels.share(&mut pod.node_selector);
        self.wishes.share(&mut pod.wishes);
        self.requests.share(&mut pod.requests);
        self.requests.share(&mut pod.limits);
        self.host_ports.share(&mut pod.host_ports);
        self.tolerations.share(&mut pod.tolerations);
        self.preferred_keys.share(&mut pod.preferred_keys);
        self.preferred_nodes.share(&mut pod.preferred_nodes);
        self.leanings.share(&mut pod.leanings);
        self.spreads.share(&mut pod.spread);
        self.terms.share(&mut pod.anti_affinity);
        self.terms.share(&mut pod.affinity);
        self.required_for.share(&mut pod.required_for);
        pod.owner.iter_mut().for_each(|owner| self.owners.share(owner));
        pod.node_terms.iter_mut().for_each(|terms| self.node_terms.share(terms));
    }
}
