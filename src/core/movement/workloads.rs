//! Which pods belong to which workload, and whether a workload is whole.

use std::{collections::BTreeMap, sync::Arc};

use crate::core::{
    hash::{HashMap, HashSet},
    workload::{Owner, Phase, Pod, Snapshot, Workload},
};

/// A workload as people name it: the Deployment rather than its ReplicaSet.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadKey {
    pub namespace: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

impl WorkloadKey {
    /// A pod that nobody owns, or whose owner nobody knows.
    #[must_use]
    pub fn of_pod(namespace: &str, name: &str, uid: &str) -> Self {
        Self { namespace: namespace.to_owned(), kind: "Pod".to_owned(), name: name.to_owned(), uid: uid.to_owned() }
    }
}

impl std::fmt::Display for WorkloadKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} in {}", self.kind.to_lowercase(), self.name, self.namespace)
    }
}

/// One workload's pods.
#[derive(Debug, Default, Clone)]
pub struct WorkloadPods<'a> {
    pub pods: Vec<&'a Pod>,
    /// Replicas asked for; `None` for a kind that we don't know.
    pub desired: Option<u32>,
    /// Its controller is replacing pods, or is about to.
    pub rollout: bool,
    /// The Deployment, StatefulSet or ReplicaSet itself, if it is one, or another owner that was asked for.
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

    /// Fewer serve than are asked for, or some of those that serve haven't for as long as they must.
    #[must_use]
    pub fn waits_for_some(&self) -> bool {
        self.warming > 0 || self.desired.is_some_and(|desired| self.serving < desired)
    }
}

/// Labels by which controllers tell pods of one template from those of another.
const REVISIONS: [&str; 2] = ["controller-revision-hash", "pod-template-hash"];

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
#[derive(Debug, Clone)]
pub struct Workloads<'a> {
    /// By UID, under each of the names that its pods call it by.
    workloads: HashMap<String, BTreeMap<WorkloadKey, WorkloadPods<'a>>>,
}

impl<'a> Workloads<'a> {
    /// Counts the pods of the workloads that `wanted` accepts, by their UID. It looks at every pod: of few workloads that are
    /// known by name, ask [`Workloads::named`].
    #[must_use]
    pub fn of(snapshot: Snapshot<'a>, wanted: impl Fn(&str) -> bool) -> Self {
        let owners = snapshot.pods().filter_map(|pod| owner_of(snapshot, pod));
        Self::named(snapshot, owners.map(|owner| &*owner.uid).filter(|uid| wanted(uid)))
    }

    /// Counts the pods of the workloads of these UIDs, however often each is named.
    #[must_use]
    pub fn named<'n>(snapshot: Snapshot<'a>, uids: impl IntoIterator<Item = &'n str>) -> Self {
        let mut workloads = HashMap::default();
        for uid in uids.into_iter().collect::<HashSet<_>>() {
            let sets: &[Arc<Workload>] = snapshot.sets.0.get(uid).map_or(&[], |sets| sets);
            let parts = sets.iter().map(|set| &*set.uid).filter(|set| *set != uid);
            let mut wants = None::<Wants>;
            sets.iter().for_each(|set| wants.get_or_insert_default().add(set));
            let itself = snapshot.workloads.get(uid).map(AsRef::as_ref);
            let of_parts = std::iter::once(uid).chain(parts).filter_map(|part| snapshot.groups.by_owner.get(part));
            let mut of_uid: BTreeMap<WorkloadKey, WorkloadPods<'a>> = BTreeMap::new();
            for pods in alike(of_parts.flat_map(|it| &**it)) {
                let Some(first) = pods.first() else { continue };
                let Some(owner) = owner_of(snapshot, first).filter(|owner| owner.uid == uid) else { continue };
                of_uid.entry(key_of(owner, first)).or_default().pods.extend(pods);
            }
            of_uid.values_mut().for_each(|workload_pods| workload_pods.count(snapshot, itself, wants.as_ref()));
            if !of_uid.is_empty() {
                workloads.insert(uid.to_owned(), of_uid);
            }
        }
        Self { workloads }
    }

    /// The UIDs of those that wait for some of their pods ([`WorkloadPods::waits_for_some`]), in no order.
    pub fn lacking(&self) -> impl Iterator<Item = &str> {
        let lacks =
            |of_uid: &BTreeMap<WorkloadKey, WorkloadPods<'_>>| of_uid.values().any(WorkloadPods::waits_for_some);
        self.workloads.iter().filter(move |(_, of_uid)| lacks(of_uid)).map(|(uid, _)| uid.as_str())
    }

    #[must_use]
    pub fn get(&self, key: &WorkloadKey) -> Option<&WorkloadPods<'a>> {
        self.workloads.get(&key.uid)?.get(key)
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
        if let Some(above) = itself.filter(|workload| workload.is_above_sets()) {
            // While it ends pods before it makes new ones, its ReplicaSets want fewer than it does.
            let wanted = wants.map_or(0, |wants| wants.desired);
            self.desired = Some(above.desired);
            self.rollout |= above.rolling || wanted < above.desired;
        }
        if itself.is_some_and(|workload| workload.scaled) {
            // It was asked a while ago: pods that have come since are wanted, too. And whether it replaces them, only they tell.
            let staying = || self.pods.iter().filter(|pod| !pod.terminating && pod.phase != Phase::Finished);
            self.desired = self.desired.max(u32::try_from(staying().count()).ok());
            self.rollout |= REVISIONS.iter().any(|key| {
                let mut revisions = staying().map(|pod| pod.labels.get(*key));
                revisions.next().is_some_and(|first| revisions.any(|other| other != first))
            });
        }
    }
}

fn owner_of<'a>(snapshot: Snapshot<'a>, pod: &'a Pod) -> Option<&'a Owner> {
    let owner = pod.owner.as_deref()?;
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

/// Those of one owner that follow each other, together: replicas have their owner in common, in memory, too.
fn alike<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>) -> Vec<Vec<&'a Pod>> {
    let owner = |pod: &'a Pod| Some((std::ptr::from_ref(pod.owner.as_deref()?), &*pod.namespace));
    let mut all: Vec<Vec<&Pod>> = Vec::new();
    let mut last = None;
    for pod in pods {
        let of = owner(pod);
        match all.last_mut().filter(|_| of == last) {
            Some(pods) => pods.push(pod),
            None => all.push(vec![pod]),
        }
        last = of;
    }
    all
}

/// The workloads of many pods, each named once for all of its pods.
#[derive(Debug, Default)]
pub(super) struct Keys<'a> {
    by_owner: HashMap<(&'a Owner, &'a str), Arc<WorkloadKey>>,
    /// The same by where an owner is in memory, which replicas have in common.
    by_place: HashMap<(*const Owner, &'a str), Arc<WorkloadKey>>,
}

impl<'a> Keys<'a> {
    /// The workload that owns a pod ([`workload_of`]).
    pub(super) fn of(&mut self, snapshot: Snapshot<'a>, pod: &'a Pod) -> Option<Arc<WorkloadKey>> {
        let (owner, namespace) = (pod.owner.as_deref()?, &*pod.namespace);
        let known = self.by_place.entry((owner, namespace)).or_insert_with(|| {
            let of = || Arc::new(key_of(owner_of(snapshot, pod).unwrap_or(owner), pod));
            Arc::clone(self.by_owner.entry((owner, namespace)).or_insert_with(of))
        });
        Some(Arc::clone(known))
    }
}

/// The UID of the workload that owns a pod ([`workload_of`]).
pub fn uid_of<'a>(snapshot: Snapshot<'a>, pod: &'a Pod) -> Option<&'a str> {
    owner_of(snapshot, pod).map(|owner| &*owner.uid)
}

/// The workload that owns a pod: the owner of its ReplicaSet if that has one, else its owner.
#[must_use]
pub fn workload_of(snapshot: Snapshot<'_>, pod: &Pod) -> Option<WorkloadKey> {
    owner_of(snapshot, pod).map(|owner| key_of(owner, pod))
}

#[cfg(test)]
mod tests;
