//! Which pods belong to which workload, and whether a workload is whole.

use std::collections::{BTreeMap, HashMap};

use crate::core::workload::{Pod, Snapshot};

/// A workload as people name it: the Deployment rather than its ReplicaSet.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadKey {
    pub namespace: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

impl std::fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} in {}", self.kind.to_lowercase(), self.name, self.namespace)
    }
}

/// One workload's pods.
#[derive(Debug, Default)]
pub struct WorkloadPods<'a> {
    pub pods: Vec<&'a Pod>,
    /// Replicas asked for; `None` for a kind that we don't know.
    pub desired: Option<u32>,
    /// More than one ReplicaSet wants pods.
    pub rollout: bool,
}

impl WorkloadPods<'_> {
    /// How many of its pods serve.
    #[must_use]
    pub fn serving(&self) -> u32 {
        u32::try_from(self.pods.iter().filter(|pod| pod.serves()).count()).unwrap_or(u32::MAX)
    }

    /// Every replica that is asked for serves.
    #[must_use]
    pub fn whole(&self) -> bool {
        !self.rollout && self.desired.is_some_and(|desired| self.serving() >= desired)
    }
}

/// All workloads that own pods.
#[derive(Debug)]
pub struct Workloads<'a> {
    snapshot: Snapshot<'a>,
    workloads: BTreeMap<WorkloadKey, WorkloadPods<'a>>,
}

impl<'a> Workloads<'a> {
    /// Counts the pods of the workloads whose key `wanted` accepts.
    #[must_use]
    pub fn of(snapshot: Snapshot<'a>, wanted: impl Fn(&WorkloadKey) -> bool) -> Self {
        let mut workloads: BTreeMap<WorkloadKey, WorkloadPods<'a>> = BTreeMap::new();
        for pod in snapshot.pods() {
            if let Some(key) = workload_of(snapshot, pod).filter(&wanted) {
                workloads.entry(key).or_default().pods.push(pod);
            }
        }
        let mut wants: HashMap<&str, (u32, u32)> = HashMap::new();
        for workload in snapshot.workloads.values().filter(|workload| workload.kind != "Deployment") {
            let uid = workload.owner.as_ref().map_or(workload.uid.as_str(), |owner| owner.uid.as_str());
            let (desired, sets) = wants.entry(uid).or_default();
            *desired += workload.desired;
            *sets += u32::from(workload.desired > 0);
        }
        for (key, workload_pods) in &mut workloads {
            if let Some((desired, sets)) = wants.get(key.uid.as_str()) {
                workload_pods.desired = Some(*desired);
                workload_pods.rollout = *sets > 1;
            }
        }
        Self { snapshot, workloads }
    }

    #[must_use]
    pub fn key(&self, pod: &Pod) -> Option<WorkloadKey> {
        workload_of(self.snapshot, pod)
    }

    #[must_use]
    pub fn get(&self, key: &WorkloadKey) -> Option<&WorkloadPods<'a>> {
        self.workloads.get(key)
    }
}

/// The workload that owns a pod: the owner of its ReplicaSet if that has one, else its owner.
#[must_use]
pub fn workload_of(snapshot: Snapshot<'_>, pod: &Pod) -> Option<WorkloadKey> {
    let owner = pod.owner.as_ref()?;
    let top = snapshot.workloads.get(&owner.uid).and_then(|workload| workload.owner.as_ref()).unwrap_or(owner);
    Some(WorkloadKey {
        namespace: pod.namespace.clone(),
        kind: top.kind.clone(),
        name: top.name.clone(),
        uid: top.uid.clone(),
    })
}
