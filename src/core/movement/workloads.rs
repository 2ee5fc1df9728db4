//! Which pods belong to which workload, and whether a workload is whole.

use std::collections::{BTreeMap, HashMap};

use crate::core::workload::{Owner, Pod, Snapshot, Workload};

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
    /// Its controller is replacing pods, or is about to.
    pub rollout: bool,
    /// The Deployment, StatefulSet or ReplicaSet itself, if it is one.
    pub itself: Option<&'a Workload>,
    /// How many of its pods serve, on nodes that are Ready, and have for as long as they must.
    pub serving: u32,
    /// How many more serve, but haven't for as long as they must (`minReadySeconds`): disruption budgets count these, too.
    pub warming: u32,
}

impl WorkloadPods<'_> {
    /// Every replica that is asked for serves.
    #[must_use]
    pub fn whole(&self) -> bool {
        !self.rollout && self.desired.is_some_and(|desired| self.serving >= desired)
    }
}

/// What the ReplicaSets of one workload want together, or its StatefulSet.
#[derive(Default)]
struct Wants {
    desired: u32,
    /// How many of them want pods.
    sets: u32,
    rolling: bool,
    available: Option<u32>,
}

impl Wants {
    fn add(&mut self, set: &Workload) {
        self.desired += set.desired;
        self.sets += u32::from(set.desired > 0);
        self.rolling |= set.rolling;
        self.available = set.available.map(|more| self.available.unwrap_or(0) + more).or(self.available);
    }
}

/// All workloads that own pods.
#[derive(Debug)]
pub struct Workloads<'a> {
    workloads: BTreeMap<WorkloadKey, WorkloadPods<'a>>,
}

impl<'a> Workloads<'a> {
    /// Counts the pods of the workloads that `wanted` accepts, by their UID.
    #[must_use]
    pub fn of(snapshot: Snapshot<'a>, wanted: impl Fn(&str) -> bool) -> Self {
        let mut workloads: BTreeMap<WorkloadKey, WorkloadPods<'a>> = BTreeMap::new();
        for pod in snapshot.pods() {
            let Some(owner) = owner_of(snapshot, pod).filter(|owner| wanted(&owner.uid)) else { continue };
            workloads.entry(key_of(owner, pod)).or_default().pods.push(pod);
        }
        let mut wants: HashMap<&str, Wants> = HashMap::new();
        for workload in snapshot.workloads.values().filter(|workload| workload.kind != "Deployment") {
            wants.entry(top(workload)).or_default().add(workload);
        }
        for (key, workload_pods) in &mut workloads {
            workload_pods.count(snapshot, snapshot.workloads.get(&key.uid).map(AsRef::as_ref), wants.get(&*key.uid));
        }
        Self { workloads }
    }

    #[must_use]
    pub fn get(&self, key: &WorkloadKey) -> Option<&WorkloadPods<'a>> {
        self.workloads.get(key)
    }
}

impl<'a> WorkloadPods<'a> {
    fn count(&mut self, snapshot: Snapshot<'a>, itself: Option<&'a Workload>, wants: Option<&Wants>) {
        let serving = self.pods.iter().filter(|pod| snapshot.serves(pod)).count();
        self.serving = u32::try_from(serving).unwrap_or(u32::MAX);
        self.itself = itself;
        if let Some(wants) = wants {
            self.desired = Some(wants.desired);
            self.rollout = wants.sets > 1 || wants.rolling;
            let available = self.serving.min(wants.available.unwrap_or(u32::MAX));
            self.warming = self.serving - available;
            self.serving = available;
        }
        if let Some(deployment) = itself.filter(|workload| workload.kind == "Deployment") {
            // While it ends pods before it makes new ones, its ReplicaSets want fewer than it does.
            let wanted = wants.map_or(0, |wants| wants.desired);
            self.desired = Some(deployment.desired);
            self.rollout |= deployment.rolling || wanted < deployment.desired;
        }
    }
}

/// The UID of what a set belongs to. A ReplicaSet is its Deployment's, or another owner's, because there may be several; each
/// StatefulSet is a workload of its own, whoever made it.
fn top(set: &Workload) -> &str {
    let owner = set.owner.as_ref().filter(|_| set.kind == "ReplicaSet");
    owner.map_or(&set.uid, |owner| &owner.uid)
}

fn owner_of<'a>(snapshot: Snapshot<'a>, pod: &'a Pod) -> Option<&'a Owner> {
    let owner = pod.owner.as_ref()?;
    let set = snapshot.workloads.get(&owner.uid).filter(|set| set.kind == "ReplicaSet");
    Some(set.and_then(|set| set.owner.as_ref()).unwrap_or(owner))
}

fn key_of(owner: &Owner, pod: &Pod) -> WorkloadKey {
    WorkloadKey {
        namespace: pod.namespace.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    }
}

/// The workload that owns a pod: the owner of its ReplicaSet if that has one, else its owner.
#[must_use]
pub fn workload_of(snapshot: Snapshot<'_>, pod: &Pod) -> Option<WorkloadKey> {
    owner_of(snapshot, pod).map(|owner| key_of(owner, pod))
}

#[cfg(test)]
mod tests;
