//! What watches and lists tell → the tables. Each function takes one event, and says whether it changed anything.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{Namespace as KubeNamespace, Node as KubeNode, Pod as KubePod, ResourceQuota},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
    runtime::watcher::Event,
};

use super::{Latency, Tables, convert, database};
use crate::{
    api::NodeLatency,
    cluster::watch::{Changed, Table},
    core::{
        map::Grouping,
        moment::Moment,
        schedulers::Schedulers,
        workload::{Namespace, Workload},
    },
};

impl Tables {
    /// Of a DatabaseCluster.
    pub fn see_database(&mut self, event: Event<DynamicObject>) -> bool {
        is_news(self.databases.apply(event, database))
    }

    /// Of a NodeLatency, which came in now.
    pub fn see_latency(&mut self, event: Event<NodeLatency>, now: Moment) -> bool {
        is_news(received(&mut self.latencies, event, now.instant, now.wall))
    }

    /// Of a node.
    pub fn see_node(&mut self, event: Event<KubeNode>) -> bool {
        is_news(self.nodes.apply(event, keyed_by_name(convert::node)))
    }

    /// Of a namespace.
    pub fn see_namespace(&mut self, event: Event<PartialObjectMeta<KubeNamespace>>) -> bool {
        is_news(self.namespaces.apply(event, namespace))
    }

    /// Of a pod, where these schedulers go by node affinity.
    pub fn see_pod(&mut self, event: Event<KubePod>, schedulers: &Schedulers) -> bool {
        let mut pools = self.pools.lock();
        let mut seen = |object| {
            let mut pod = convert::pod(object, schedulers);
            pools.share(&mut pod);
            pod
        };
        is_news(self.pods.apply(event, |object: KubePod| (object.uid().unwrap_or_default(), Some(seen(object)))))
    }

    /// Of a ReplicaSet.
    pub fn see_replica_set(&mut self, event: Event<ReplicaSet>) -> bool {
        self.see_workload(0, event, keyed_by_uid(convert::replica_set))
    }

    /// Of a StatefulSet.
    pub fn see_stateful_set(&mut self, event: Event<StatefulSet>) -> bool {
        self.see_workload(1, event, keyed_by_uid(convert::stateful_set))
    }

    /// Of a Deployment.
    pub fn see_deployment(&mut self, event: Event<Deployment>) -> bool {
        self.see_workload(2, event, keyed_by_uid(convert::deployment))
    }

    /// Of a PodDisruptionBudget.
    pub fn see_budget(&mut self, event: Event<PodDisruptionBudget>) -> bool {
        is_news(self.budgets.apply(event, keyed_by_uid(convert::budget)))
    }

    /// Of a ResourceQuota.
    pub fn see_quota(&mut self, event: Event<ResourceQuota>) -> bool {
        is_news(self.quotas.apply(event, keyed_by_uid(convert::quota)))
    }

    pub(super) fn see_workload<K>(
        &mut self,
        table: usize,
        event: Event<K>,
        convert: impl Fn(K) -> (String, Option<Workload>),
    ) -> bool {
        match self.workloads[table].apply(event, convert) {
            Changed::Nothing => false,
            Changed::One(uid) => {
                let now = self.workloads[table].live().get(&uid);
                let before = match now {
                    Some(workload) => self.all_workloads.insert(uid, workload.clone()),
                    None => self.all_workloads.remove(&uid),
                };
                self.sets.replace(before.as_ref(), now);
                true
            }
            Changed::All => {
                self.gather_workloads();
                true
            }
        }
    }

    pub(super) fn gather_workloads(&mut self) {
        let all = self.workloads.iter().flat_map(|table| table.live());
        self.all_workloads = all.map(|(uid, workload)| (uid.clone(), workload.clone())).collect();
        self.sets = Default::default();
        self.all_workloads.values().for_each(|workload| self.sets.replace(None, Some(workload)));
    }
}

fn is_news<Key>(changed: Changed<Key>) -> bool {
    !matches!(changed, Changed::Nothing)
}

pub(super) fn keyed_by_uid<K: Resource, V>(convert: impl Fn(K) -> V) -> impl Fn(K) -> (String, Option<V>) {
    move |object| (object.uid().unwrap_or_default(), Some(convert(object)))
}

pub(super) fn keyed_by_name<K: ResourceExt, V>(convert: impl Fn(K) -> V) -> impl Fn(K) -> (String, Option<V>) {
    move |object| (object.name_any(), Some(convert(object)))
}

pub(super) fn namespace(object: PartialObjectMeta<KubeNamespace>) -> (String, Option<Namespace>) {
    (object.name_any(), Some(convert::namespace(&object.metadata)))
}

/// Takes over an event of a NodeLatency. Its heartbeat is compared with the last one and nothing else, so that the node's
/// clock may say what it likes.
pub(super) fn received(
    table: &mut Table<String, Latency>,
    event: Event<NodeLatency>,
    now: Instant,
    wall: Timestamp,
) -> Changed<String> {
    let before = match &event {
        Event::Apply(object) | Event::InitApply(object) => table.get(&object.name_any()),
        _ => None,
    };
    let before = before.map(|latency| (latency.spec.heartbeat, latency.received));
    let listed = matches!(event, Event::InitApply(_));
    table.apply(event, |object| {
        let heartbeat = object.spec.heartbeat;
        let received = match before {
            // Somebody else has written, such as a label.
            Some((same, received)) if same == heartbeat => received,
            None if listed => reckoned(heartbeat, wall, now),
            _ => now,
        };
        (object.name_any(), Some(Latency { spec: object.spec, received }))
    })
}

/// What was there before this process looked is as old as its heartbeat says, if the clocks agree: a node whose clock is
/// ahead counts as fresh until it falls silent, one whose clock is behind may count as stale until its next heartbeat.
pub(crate) fn reckoned(heartbeat: Timestamp, wall: Timestamp, now: Instant) -> Instant {
    let age = Duration::try_from(wall.duration_since(heartbeat)).unwrap_or_default();
    now.checked_sub(age).unwrap_or(now)
}
