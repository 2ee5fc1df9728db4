//! Who follows: so many pods, all of them in one of two data centres, each of which has room for all.

use lab::light::READY_DELAY;
use serde_json::{Value, json};

use super::light::support::Scene;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Fleet {
    #[arg(long, default_value_t = 40)]
    pub workloads: usize,
    #[arg(long, default_value_t = 15)]
    pub replicas: usize,
}

impl Fleet {
    pub(crate) fn pods(self) -> usize {
        self.workloads * self.replicas
    }

    /// Nodes in each of the two data centres: room for all pods and for those that begin before others end.
    pub(crate) fn nodes(self) -> usize {
        (self.pods() * 3 / 2).div_ceil(110).max(2)
    }

    /// The labels of all nodes, those of dc1 and those of dc3.
    pub(crate) fn tiers(self, first: &str, second: &str) -> String {
        let mut tiers: Vec<String> = [("dc1", first), ("dc3", second)]
            .into_iter()
            .flat_map(|(zone, tier)| (1..=self.nodes()).map(move |number| format!("{zone}-{number}={tier}")))
            .collect();
        tiers.sort();
        tiers.join(" ")
    }

    /// One of the Deployments, whose pods are Ready after `ready_s`.
    pub(crate) fn deployment(self, scene: &Scene, namespace: &str, number: usize, ready_s: u64) -> Value {
        let name = format!("web-{number}");
        let mut workload = scene.workload(namespace, "web");
        workload.annotations = json!({READY_DELAY: format!("{ready_s}s")});
        let mut template = workload.template();
        template["metadata"]["labels"]["app"] = name.as_str().into();
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"replicas": self.replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
        })
    }

    /// Its disruption budget.
    pub(crate) fn budget(namespace: &str, number: usize, unavailable: &Value) -> Value {
        let name = format!("web-{number}");
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"maxUnavailable": unavailable, "selector": {"matchLabels": {"app": name}}},
        })
    }
}
