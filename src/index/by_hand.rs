//! Tables that nobody watches, filled by hand: the simulator's, and those of tests.

use std::sync::Arc;

use kube::runtime::watcher::Event;

use super::{Latency, Tables, database};
use crate::{
    api::DatabaseCluster,
    core::workload::{DisruptionBudget, Namespace, Node, Pod, Workload},
};

impl Tables {
    /// A node as it is now; `None`: it is gone.
    pub fn put_node(&mut self, name: &str, node: Option<Node>) {
        self.nodes.apply(Event::Apply(node), |node| (name.to_owned(), node));
    }

    /// A pod, by its UID.
    pub fn put_pod(&mut self, uid: &str, pod: Option<Pod>) {
        self.pods.apply(Event::Apply(pod), |pod| (uid.to_owned(), pod));
    }

    /// A pod that is kept elsewhere, too.
    pub fn share_pod(&mut self, pod: &Arc<Pod>) {
        self.pods.put(pod.uid.clone(), Arc::clone(pod));
    }

    /// A Deployment, StatefulSet or ReplicaSet, or another owner of pods, by its UID.
    pub fn put_workload(&mut self, uid: &str, kind: &str, workload: Option<Workload>) {
        let table = match kind {
            "ReplicaSet" => 0,
            "StatefulSet" => 1,
            "Deployment" => 2,
            _ => super::ASKED,
        };
        self.see_workload(table, Event::Apply(workload), |workload| (uid.to_owned(), workload));
    }

    /// A PodDisruptionBudget, by its UID.
    pub fn put_budget(&mut self, uid: &str, budget: Option<DisruptionBudget>) {
        self.budgets.apply(Event::Apply(budget), |budget| (uid.to_owned(), budget));
    }

    /// A namespace.
    pub fn put_namespace(&mut self, namespace: Namespace) {
        self.namespaces.apply(Event::Apply(namespace), |it| (it.name.clone(), Some(it)));
    }

    /// What a node's agent measured.
    pub fn put_latency(&mut self, node: &str, latency: Latency) {
        self.latencies.apply(Event::Apply(latency), |it| (node.to_owned(), Some(it)));
    }

    /// A database, read as if the API server had told of it. One that can't be written as JSON isn't there.
    pub fn put_database(&mut self, object: &DatabaseCluster) {
        let object = serde_json::to_value(object).and_then(serde_json::from_value);
        if let Ok(object) = object {
            self.databases.apply(Event::Apply(object), database);
        }
    }
}
