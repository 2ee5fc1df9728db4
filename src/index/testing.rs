//! Tables that a test fills by hand.

use kube::runtime::watcher::Event;

use super::{Latency, Tables, database};
use crate::{
    api::DatabaseCluster,
    core::{testing::World, workload::Namespace},
};

impl From<&World> for Tables {
    fn from(world: &World) -> Self {
        let mut tables = Self::default();
        for node in world.nodes.values() {
            tables.nodes.apply(Event::Apply(node), |node| (node.name.clone(), Some((**node).clone())));
        }
        for pod in world.pods.values() {
            tables.pods.apply(Event::Apply(pod), |pod| (pod.uid.clone(), Some((**pod).clone())));
        }
        for workload in world.workloads.values() {
            tables.see_workload(0, Event::Apply(workload), |it| (it.uid.clone(), Some((**it).clone())));
        }
        for (uid, budget) in &world.budgets {
            tables.budgets.apply(Event::Apply(budget), |budget| (uid.clone(), Some((**budget).clone())));
        }
        for (uid, quota) in &world.quotas {
            tables.quotas.apply(Event::Apply(quota), |quota| (uid.clone(), Some((**quota).clone())));
        }
        tables
    }
}

impl Tables {
    /// A namespace that follows `database`.
    pub(crate) fn follow(&mut self, namespace: &str, database: &str) {
        let namespace = Namespace { name: namespace.into(), opt_in: Some(database.into()), ..Namespace::default() };
        self.namespaces.apply(Event::Apply(namespace), |it| (it.name.clone(), Some(it)));
    }

    pub(crate) fn put_latency(&mut self, node: &str, latency: Latency) {
        self.latencies.apply(Event::Apply(latency), |it| (node.to_owned(), Some(it)));
    }

    pub(crate) fn put_database(&mut self, object: &DatabaseCluster) {
        let object = serde_json::from_value(serde_json::to_value(object).unwrap()).unwrap();
        self.databases.apply(Event::Apply(object), database);
    }
}
