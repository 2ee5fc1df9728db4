//! What the controllers of Deployments, ReplicaSets and StatefulSets do when they look at a workload.

use super::{Cluster, Kind, Ms, Pod, Set, Timer};
use crate::core::workload::Strategy;

impl Cluster {
    /// How many pods of a workload, or of one set of it, have been Ready for as long as they must.
    pub(in crate::simulate) fn available(&self, at: usize, revision: Option<u32>) -> u32 {
        let wait = self.workloads[at].spec.available_after;
        let counts = |pod: &Pod| {
            !pod.dying
                && pod.ready.is_some_and(|since| since + wait <= self.now)
                && revision.is_none_or(|it| it == pod.revision)
        };
        u32::try_from(self.pods_of(at).filter(|(_, pod)| counts(pod)).count()).unwrap_or(u32::MAX)
    }

    pub(super) fn sync(&mut self, at: usize, now: Ms) {
        if self.workloads[at].deleted {
            return;
        }
        self.workloads[at].observed = true;
        // Who has just become available.
        self.moved = true;
        match self.workloads[at].spec.kind {
            Kind::Deployment => self.sync_deployment(at, now),
            Kind::StatefulSet => self.sync_stateful_set(at, now),
            Kind::ReplicaSet => {
                let replicas = self.workloads[at].spec.replicas;
                self.fill(at, None, replicas, now);
            }
        }
        self.tell_workload(at);
    }

    /// pkg/controller/deployment: rolling.go, recreate.go.
    fn sync_deployment(&mut self, at: usize, now: Ms) {
        let (revision, desired) = (self.workloads[at].revision, self.workloads[at].spec.replicas);
        let before = self.workloads[at].sets.clone();
        if !before.iter().any(|set| set.revision == revision) {
            let mark = self.workloads[at].mark.clone();
            self.workloads[at].sets.push(Set { revision, replicas: 0, mark });
        }
        match self.workloads[at].spec.strategy {
            Strategy::Recreate => self.recreate(at, revision, desired),
            Strategy::Rolling { surge, unavailable } => self.roll(at, revision, (desired, surge, unavailable)),
            _ => {}
        }
        for set in self.workloads[at].sets.clone() {
            self.fill(at, Some(set.revision), set.replicas, now);
        }
        // An old set that wants nobody is kept by a real one for a while; nobody asks for it here.
        let empty = |set: &Set, pods: bool| set.replicas == 0 && set.revision != revision && !pods;
        let with_pods: Vec<u32> = self.pods_of(at).map(|(_, pod)| pod.revision).collect();
        let gone: Vec<Set> = self.workloads[at]
            .sets
            .iter()
            .filter(|set| empty(set, with_pods.contains(&set.revision)))
            .cloned()
            .collect();
        for set in gone {
            self.workloads[at].sets.retain(|it| it.revision != set.revision);
            let uid = format!("{}-{}", self.workloads[at].uid(), set.revision);
            self.changes.push(super::Change::Workload(uid, "ReplicaSet", None));
        }
        if self.workloads[at]
            .sets
            .iter()
            .map(|set| (set.revision, set.replicas))
            .ne(before.iter().map(|set| (set.revision, set.replicas)))
        {
            self.touch(at, now);
        }
    }

    fn recreate(&mut self, at: usize, revision: u32, desired: u32) {
        let old = self.pods_of(at).any(|(_, pod)| pod.revision != revision);
        for set in &mut self.workloads[at].sets {
            match set.revision == revision {
                true if !old => set.replicas = desired,
                true => {}
                false => set.replicas = 0,
            }
        }
    }

    fn roll(&mut self, at: usize, revision: u32, (desired, surge, unavailable): (u32, u32, u32)) {
        let available: Vec<u32> =
            self.workloads[at].sets.iter().map(|set| self.available(at, Some(set.revision))).collect();
        let sets = &mut self.workloads[at].sets;
        let total: u32 = sets.iter().map(|set| set.replicas).sum();
        let Some(new) = sets.iter().position(|set| set.revision == revision) else { return };
        if sets[new].replicas > desired {
            sets[new].replicas = desired;
            return;
        }
        let old: u32 = total - sets[new].replicas;
        let most = desired + surge;
        let more = most.saturating_sub(total).min(desired - sets[new].replicas);
        if more > 0 {
            sets[new].replicas += more;
            return;
        }
        if old == 0 {
            return;
        }
        let least = desired.saturating_sub(unavailable);
        let new_unavailable = sets[new].replicas.saturating_sub(available[new]);
        let mut down = total.saturating_sub(least).saturating_sub(new_unavailable);
        for place in (0..sets.len()).filter(|place| *place != new) {
            let unhealthy = sets[place].replicas.saturating_sub(available[place]).min(down);
            sets[place].replicas -= unhealthy;
            down -= unhealthy;
        }
        let all: u32 = available.iter().sum();
        let mut down = down.min(all.saturating_sub(least));
        for place in (0..sets.len()).filter(|place| *place != new) {
            let fewer = sets[place].replicas.min(down);
            sets[place].replicas -= fewer;
            down -= fewer;
        }
    }

    /// pkg/controller/replicaset: pods that are on their way out don't count.
    fn fill(&mut self, at: usize, revision: Option<u32>, replicas: u32, now: Ms) {
        let of_set = |pod: &Pod| !pod.dying && revision.is_none_or(|it| it == pod.revision);
        let mut pods: Vec<(bool, bool, u64)> = self
            .pods_of(at)
            .filter(|(_, pod)| of_set(pod))
            .map(|(id, pod)| (pod.node.is_some(), pod.ready.is_some(), id))
            .collect();
        let has = u32::try_from(pods.len()).unwrap_or(u32::MAX);
        for _ in has..replicas {
            self.make(at, revision.unwrap_or(self.workloads[at].revision), None, now);
        }
        // Who is nowhere, then who isn't Ready, then the newest goes first.
        pods.sort_by_key(|(bound, ready, id)| (*bound, *ready, std::cmp::Reverse(*id)));
        for (_, _, id) in pods.into_iter().take(has.saturating_sub(replicas) as usize) {
            self.delete(id, now);
        }
    }

    /// pkg/controller/statefulset: OrderedReady, one after the other.
    fn sync_stateful_set(&mut self, at: usize, now: Ms) {
        let (replicas, revision) = (self.workloads[at].spec.replicas, self.workloads[at].revision);
        let wait = self.workloads[at].spec.available_after;
        let pods: Vec<(u32, u64, bool, bool, u32)> = self
            .pods_of(at)
            .map(|(id, pod)| {
                let healthy = pod.ready.is_some_and(|since| since + wait <= self.now) && !pod.dying;
                (pod.ordinal.unwrap_or(0), id, healthy, pod.dying, pod.revision)
            })
            .collect();
        let of = |ordinal: u32| pods.iter().find(|(it, ..)| *it == ordinal);
        let partition = match self.workloads[at].spec.strategy {
            Strategy::Ordered { partition, .. } => partition,
            _ => u32::MAX,
        };
        for ordinal in 0..replicas {
            match of(ordinal) {
                None => {
                    // Pods before the partition keep the revision that the others had; nobody here asks which.
                    self.make(at, revision, Some(ordinal), now);
                    return;
                }
                Some((_, _, true, ..)) => {}
                Some(_) => return,
            }
        }
        if let Some((_, id, _, dying, _)) =
            pods.iter().filter(|(ordinal, ..)| *ordinal >= replicas).max_by_key(|it| it.0)
        {
            if !dying {
                self.delete(*id, now);
            }
            return;
        }
        let old = pods.iter().filter(|(ordinal, _, _, _, it)| *ordinal >= partition && *it != revision);
        if let Some((_, id, ..)) = old.max_by_key(|it| it.0) {
            self.delete(*id, now);
        }
    }

    /// Makes a pod, which admission looks at.
    pub(in crate::simulate) fn make(&mut self, at: usize, revision: u32, ordinal: Option<u32>, now: Ms) -> u64 {
        let id = self.next_pod;
        self.next_pod += 1;
        let keys = if self.webhook {
            let key = |database: &usize| self.databases[*database].object.node_label().to_string();
            self.workloads[at].follow.iter().map(key).collect()
        } else {
            Vec::new()
        };
        let home = self.workloads[at].follow.first().and_then(|database| self.databases[*database].home());
        let shunned = home.filter(|_| self.workloads[at].shunned > 0).map(str::to_owned);
        let it = &mut self.workloads[at];
        it.shunned = it.shunned.saturating_sub(1);
        it.made += 1;
        let name = match ordinal {
            Some(ordinal) => format!("{}-{ordinal}", it.spec.name),
            None => format!("{}-{revision}-{}", it.spec.name, it.made),
        };
        let mark = match it.sets.iter().find(|set| set.revision == revision) {
            Some(set) => set.mark.clone(),
            None => it.mark.clone(),
        };
        self.pods.insert(
            id,
            Pod {
                name,
                workload: at,
                revision,
                mark,
                ordinal,
                node: None,
                created: now,
                running: false,
                ready: None,
                dying: false,
                keys,
                shunned,
            },
        );
        self.tell_pod(id);
        self.timer(now + 80, Timer::Schedule);
        self.touch(at, now);
        id
    }

    /// `kubectl rollout restart`, with a mark.
    pub(in crate::simulate) fn restart(&mut self, at: usize, mark: &str, now: Ms) {
        self.workloads[at].mark = Some(mark.to_owned());
        self.deploy(at, now);
    }
}
