//! Tables that a test fills by hand.

use kube::runtime::watcher::Event;

use super::Tables;
use crate::core::{testing::World, workload::Namespace};

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
        self.put_namespace(Namespace { name: namespace.into(), opt_in: Some(database.into()), ..Namespace::default() });
    }
}
