//! Who is moved first: whoever suffers most, then whoever comes first by priority, in turns over workloads and namespaces, where least
//! is taken away.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{Follower, Held, Input};
use crate::core::{
    distance::tier::{NodeTier, Tier},
    hash::HashMap,
    movement::{
        held::HeldReason,
        workloads::{WorkloadKey, Workloads},
    },
    workload::Pod,
};

/// A follower that sits where it should not.
#[derive(Debug)]
pub(super) struct Candidate<'i, 'a> {
    pub key: Option<Arc<WorkloadKey>>,
    pub follower: &'i Follower<'a>,
    pub node: &'a str,
    /// How far that is.
    pub at: &'a NodeTier,
    /// How many of its workload are moved before it.
    pub turn: usize,
}

/// How much a pod suffers, most first: one that isn't Ready, perhaps because it is far; on the worst tier; by whole milliseconds. Then by
/// its own priority.
type Suffers = (bool, Reverse<Tier>, Reverse<u64>, Reverse<i32>);

impl<'a> Candidate<'_, 'a> {
    fn suffers(&self) -> Suffers {
        let (pod, at) = (self.follower.pod, self.at);
        (pod.ready, Reverse(at.tier), Reverse(at.rtt_us.unwrap_or(0) / 1_000), Reverse(pod.priority))
    }

    /// It stays, for this reason.
    pub(super) fn stays(&self, reason: HeldReason) -> Held {
        let Pod { namespace, name, uid, .. } = self.follower.pod;
        let (namespace, pod, uid, node) = (namespace.clone(), name.clone(), uid.clone(), self.node.to_owned());
        Held { namespace, pod, uid, node, reason }
    }

    fn name(&self) -> (&'a str, &'a str) {
        (&self.follower.pod.name, &self.follower.pod.uid)
    }
}

/// A workload among those of all candidates.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// By its key.
    rank: usize,
    desired: Reverse<u32>,
    /// In its namespace: one move takes the smallest part of the largest workload.
    in_namespace: usize,
}

/// By where their keys are in memory, which are the same for all pods of one owner.
type Places = HashMap<*const WorkloadKey, Place>;

/// Puts candidates into the order in which they are moved, which depends on nothing but the picture.
pub(super) fn sort(candidates: &mut [Candidate<'_, '_>], input: &Input<'_>, workloads: &Workloads<'_>) {
    let places = places(candidates, workloads);
    let place = |it: &Candidate<'_, '_>| it.key.as_ref().map(|key| places[&Arc::as_ptr(key)]);
    let rank = |it: &Candidate<'_, '_>| place(it).map(|place| place.rank);
    let mut of_workloads = vec![Vec::new(); places.len()];
    for (at, candidate) in candidates.iter().enumerate() {
        if let Some(rank) = rank(candidate) {
            of_workloads[rank].push(at);
        }
    }
    // Whose pods are on the move has had that many turns.
    let mut moving: HashMap<&str, usize> = HashMap::default();
    for move_ in input.journal.underway.iter().chain(&input.others.underway) {
        *moving.entry(&move_.workload.uid).or_default() += 1;
    }
    for mut of_workload in of_workloads {
        of_workload.sort_by_cached_key(|at| {
            let it = &candidates[*at];
            (it.suffers(), Reverse(it.at.rtt_us), it.name())
        });
        let key = of_workload.first().and_then(|first| candidates[*first].key.as_ref());
        let moving = key.and_then(|key| moving.get(&*key.uid)).copied().unwrap_or(0);
        for (turn, at) in of_workload.into_iter().enumerate() {
            candidates[at].turn = moving + turn;
        }
    }
    candidates.sort_by_cached_key(|it| {
        let of = place(it).map_or((0, Reverse(0)), |place| (place.in_namespace, place.desired));
        (it.suffers(), it.turn, of, rank(it), it.name())
    });
}

fn places(candidates: &[Candidate<'_, '_>], workloads: &Workloads<'_>) -> Places {
    let keys: HashMap<*const WorkloadKey, &WorkloadKey> =
        candidates.iter().filter_map(|it| it.key.as_ref()).map(|key| (Arc::as_ptr(key), &**key)).collect();
    let desired = |key: &WorkloadKey| Reverse(workloads.get(key).and_then(|it| it.desired).unwrap_or(0));
    let mut places: BTreeMap<&WorkloadKey, Place> = BTreeMap::new();
    let mut of_namespace: BTreeMap<&str, Vec<(Reverse<u32>, &WorkloadKey)>> = BTreeMap::new();
    for key in keys.values().copied() {
        places.entry(key).or_insert_with(|| {
            let desired = desired(key);
            of_namespace.entry(&key.namespace).or_default().push((desired, key));
            Place { rank: 0, desired, in_namespace: 0 }
        });
    }
    places.values_mut().enumerate().for_each(|(rank, place)| place.rank = rank);
    for all in of_namespace.values_mut() {
        all.sort();
        for (in_namespace, (_, key)) in all.iter().enumerate() {
            places.entry(key).and_modify(|place| place.in_namespace = in_namespace);
        }
    }
    keys.into_iter().filter_map(|(at, key)| Some((at, *places.get(key)?))).collect()
}
