//! The cluster as watches tell of it.

use std::time::Duration;

use super::{Cluster, Kind, Ms, NAMESPACE, Pod, Set, Workload};
use crate::core::{
    follow::MoveMode,
    selector::{Expression, Labels, Operator, Selector},
    workload::{self as facts, Owner, Phase, Resources, Strategy, Wishes},
};

/// One object that changed; `None`: it is gone.
#[derive(Debug, Clone)]
pub(in crate::simulate) enum Change {
    Node(String, Box<facts::Node>),
    Pod(String, Option<Box<facts::Pod>>),
    Workload(String, &'static str, Option<Box<facts::Workload>>),
    Budget(String, Option<facts::DisruptionBudget>),
    Database(usize),
}

impl Change {
    /// Which watch tells of it.
    pub(in crate::simulate) const fn kind(&self) -> &'static str {
        match self {
            Self::Node(..) => "Node",
            Self::Pod(..) => "Pod",
            Self::Workload(_, kind, _) => kind,
            Self::Budget(..) => "PodDisruptionBudget",
            Self::Database(_) => "DatabaseCluster",
        }
    }
}

impl Workload {
    /// Of the Deployment or StatefulSet, or of the ReplicaSet that nobody owns.
    pub(in crate::simulate) fn uid(&self) -> String {
        format!("{}-{}", self.spec.kind.word(), self.spec.name)
    }

    fn kind(&self) -> &'static str {
        match self.spec.kind {
            Kind::Deployment => "Deployment",
            Kind::StatefulSet => "StatefulSet",
            Kind::ReplicaSet => "ReplicaSet",
        }
    }

    fn owner(&self) -> Owner {
        Owner { api: "apps/v1".to_owned(), kind: self.kind().to_owned(), name: self.spec.name.clone(), uid: self.uid() }
    }

    fn set_uid(&self, revision: u32) -> String {
        match self.spec.kind {
            Kind::Deployment => format!("{}-{revision}", self.uid()),
            _ => self.uid(),
        }
    }

    fn requests(&self) -> Resources {
        Resources { cpu_m: self.spec.cpu_m, ..Resources::default() }
    }
}

/// By the wall, in this simulation, which begins at the first second of 2026.
pub(in crate::simulate) fn wall(ms: Ms) -> jiff::Timestamp {
    const BEGIN: jiff::Timestamp = jiff::Timestamp::constant(1_767_225_600, 0);
    BEGIN.checked_add(Duration::from_millis(ms)).unwrap_or(BEGIN)
}

impl Cluster {
    pub(in crate::simulate) fn tell_node(&mut self, node: usize) {
        let it = &self.nodes[node];
        let mut labels = it.labels.clone();
        labels.insert("zone".to_owned(), it.zone.clone());
        let fact = facts::Node {
            name: it.name.clone(),
            uid: format!("node-{}", it.name),
            labels,
            managed: true,
            ready: it.ready,
            unschedulable: it.cordoned,
            allocatable: Resources { cpu_m: it.cpu_m, memory_bytes: 1 << 40, ..Resources::default() },
            pods: it.pods,
            ..facts::Node::default()
        };
        self.changes.push(Change::Node(it.name.clone(), Box::new(fact)));
    }

    pub(in crate::simulate) fn tell_pod(&mut self, id: u64) {
        let Some(pod) = self.pods.get(&id) else { return };
        let fact = self.fact(id, pod);
        self.changes.push(Change::Pod(format!("pod-{id}"), Some(Box::new(fact))));
    }

    pub(in crate::simulate) fn tell_gone(&mut self, id: u64) {
        self.changes.push(Change::Pod(format!("pod-{id}"), None));
    }

    fn fact(&self, id: u64, pod: &Pod) -> facts::Pod {
        let workload = &self.workloads[pod.workload];
        let follow = (!workload.spec.follow.is_empty()).then(|| workload.spec.follow.join(","));
        let mut labels: Labels = [("app".to_owned(), workload.spec.name.clone())].into();
        let mut owner = workload.owner();
        match workload.spec.kind {
            Kind::StatefulSet => {
                labels.insert("controller-revision-hash".to_owned(), pod.revision.to_string());
            }
            Kind::Deployment => {
                let name = format!("{}-{}", workload.spec.name, pod.revision);
                owner = Owner {
                    api: "apps/v1".to_owned(),
                    kind: "ReplicaSet".to_owned(),
                    name,
                    uid: workload.set_uid(pod.revision),
                };
            }
            Kind::ReplicaSet => {}
        }
        facts::Pod {
            namespace: NAMESPACE.to_owned(),
            name: pod.name.clone(),
            uid: format!("pod-{id}"),
            labels: labels.into(),
            wishes: Wishes {
                follow,
                movement: workload.spec.moved_by.map(|mode: MoveMode| mode.as_str().to_owned()),
                ..Wishes::default()
            }
            .into(),
            node: pod.node.map(|node| self.nodes[node].name.clone()),
            phase: if pod.running { Phase::Running } else { Phase::Pending },
            ready: pod.ready.is_some(),
            terminating: pod.dying,
            // The API server writes whole seconds.
            created: wall(pod.created / 1000 * 1000),
            owner: Some(owner.into()),
            requests: workload.requests().into(),
            preferred_keys: pod.keys.clone().into(),
            restarted_for: pod.mark.clone(),
            ready_after_s: pod
                .ready
                .and_then(|ready| u32::try_from(ready.checked_sub(pod.created)? / 1000).ok())
                .filter(|it| *it > 0),
            ..facts::Pod::default()
        }
    }

    pub(in crate::simulate) fn tell_workload(&mut self, at: usize) {
        let workload = &self.workloads[at];
        let (uid, kind) = (workload.uid(), workload.kind());
        let fact = (!workload.deleted).then(|| Box::new(self.workload_fact(at)));
        self.changes.push(Change::Workload(uid, kind, fact));
        if self.workloads[at].spec.kind == Kind::Deployment {
            for set in self.workloads[at].sets.clone() {
                self.tell_set(at, &set);
            }
        }
    }

    /// A set of a Deployment, such as one that was scaled.
    pub(super) fn tell_set(&mut self, at: usize, set: &Set) {
        let workload = &self.workloads[at];
        let fact = facts::Workload {
            kind: "ReplicaSet".to_owned(),
            namespace: NAMESPACE.to_owned(),
            name: format!("{}-{}", workload.spec.name, set.revision),
            uid: workload.set_uid(set.revision),
            owner: Some(workload.owner()),
            desired: set.replicas,
            restarted_for: set.mark.clone(),
            requests: workload.requests(),
            available: self.counted(at, Some(set.revision)),
            ..facts::Workload::default()
        };
        let fact = (!workload.deleted).then(|| Box::new(fact));
        self.changes.push(Change::Workload(workload.set_uid(set.revision), "ReplicaSet", fact));
    }

    /// `status.availableReplicas`, where pods have to be Ready for a while.
    fn counted(&self, at: usize, revision: Option<u32>) -> Option<u32> {
        let workload = &self.workloads[at];
        (workload.spec.available_after > 0).then(|| self.available(at, revision))
    }

    fn workload_fact(&self, at: usize) -> facts::Workload {
        let workload = &self.workloads[at];
        let updates = matches!(workload.spec.strategy, Strategy::Ordered { .. });
        let partition = match workload.spec.strategy {
            Strategy::Ordered { partition, .. } => partition,
            _ => 0,
        };
        let new = self.pods_of(at).filter(|(_, pod)| pod.revision == workload.revision).count();
        let replacing = updates
            && self.pods_of(at).any(|(_, pod)| pod.revision != workload.revision)
            && (new as u64) < u64::from(workload.spec.replicas.saturating_sub(partition));
        let stateful = workload.spec.kind == Kind::StatefulSet;
        facts::Workload {
            kind: workload.kind().to_owned(),
            namespace: NAMESPACE.to_owned(),
            name: workload.spec.name.clone(),
            uid: workload.uid(),
            desired: workload.spec.replicas,
            restarted_for: workload.mark.clone(),
            requests: workload.requests(),
            strategy: workload.spec.strategy,
            rolling: !workload.observed || (stateful && replacing),
            available: if workload.spec.kind == Kind::Deployment { None } else { self.counted(at, None) },
            revision: stateful.then(|| workload.revision.to_string()),
            ..facts::Workload::default()
        }
    }

    pub(super) fn tell_budget(&mut self, at: usize) {
        self.budget_version += 1;
        let name = &self.workloads[at].spec.name;
        let app = Expression { key: "app".to_owned(), operator: Operator::In, values: vec![name.clone()] };
        let fact = self.allowed(at).map(|allowed| facts::DisruptionBudget {
            namespace: NAMESPACE.to_owned(),
            name: name.clone(),
            selector: Selector { expressions: vec![app] },
            allowed,
            version: self.budget_version.to_string(),
            ..self.counts(at)
        });
        self.changes.push(Change::Budget(format!("budget-{name}"), fact));
    }
}
