//! Who is moved first: whoever suffers most, then whoever comes first by priority, in turns over workloads and namespaces, where least
//! is taken away.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use super::{Follower, Input};
use crate::core::{
    distance::tier::Tier,
    movement::workloads::{WorkloadKey, Workloads},
};

/// A follower that sits where it should not.
#[derive(Debug)]
pub(super) struct Candidate<'i, 'a> {
    pub key: Option<WorkloadKey>,
    pub follower: &'i Follower<'a>,
    pub node: &'a str,
}

/// How much a pod suffers, most first: one that isn't Ready, perhaps because it is far; on the worst tier; by whole milliseconds. Then by
/// its own priority.
type Suffers = (bool, Reverse<Tier>, Reverse<u64>, Reverse<i32>);

fn suffers(input: &Input<'_>, candidate: &Candidate<'_, '_>) -> Suffers {
    let pod = candidate.follower.pod;
    let rtt_ms = input.tiers.rtt_us(candidate.node).unwrap_or(0) / 1_000;
    (pod.ready, Reverse(input.tiers.tier(candidate.node)), Reverse(rtt_ms), Reverse(pod.priority))
}

/// Puts candidates into the order in which they are moved, which depends on nothing but the picture.
pub(super) fn sort(candidates: &mut [Candidate<'_, '_>], input: &Input<'_>, workloads: &Workloads<'_>) {
    let name = |it: &Candidate<'_, '_>| (it.follower.pod.name.clone(), it.follower.pod.uid.clone());
    let rtt = |it: &Candidate<'_, '_>| Reverse(input.tiers.rtt_us(it.node));
    candidates.sort_by_cached_key(|it| (it.key.clone(), suffers(input, it), rtt(it), name(it)));

    let desired = |key: &WorkloadKey| workloads.get(key).and_then(|it| it.desired).unwrap_or(0);
    // One move takes the smallest part of the largest workload.
    let mut of_namespace: BTreeMap<&str, Vec<(Reverse<u32>, &WorkloadKey)>> = BTreeMap::new();
    // Whose pods are on the move has had that many turns.
    let mut moving: HashMap<&str, usize> = HashMap::new();
    for move_ in input.journal.underway.iter().chain(&input.others.underway) {
        *moving.entry(&move_.workload.uid).or_default() += 1;
    }
    let mut turns: HashMap<&str, usize> = HashMap::new();
    let mut turn = Vec::new();
    for candidate in candidates.iter() {
        let Some(key) = &candidate.key else {
            turn.push((0, candidate.follower.pod.uid.clone()));
            continue;
        };
        let next = turns.entry(&key.uid).or_insert_with(|| {
            of_namespace.entry(&key.namespace).or_default().push((Reverse(desired(key)), key));
            moving.get(&*key.uid).copied().unwrap_or(0)
        });
        turn.push((*next, candidate.follower.pod.uid.clone()));
        *next += 1;
    }
    let mut ranks: HashMap<String, usize> = HashMap::new();
    for keys in of_namespace.values_mut() {
        keys.sort();
        ranks.extend(keys.iter().enumerate().map(|(rank, (_, key))| (key.uid.clone(), rank)));
    }
    let turn: HashMap<String, usize> = turn.into_iter().map(|(turn, uid)| (uid, turn)).collect();
    candidates.sort_by_cached_key(|it| {
        let of = |key: &WorkloadKey| (ranks.get(&key.uid).copied().unwrap_or(0), Reverse(desired(key)));
        let its = it.key.as_ref().map_or((0, Reverse(0)), of);
        let turn = turn.get(&it.follower.pod.uid).copied().unwrap_or(0);
        (suffers(input, it), turn, its, it.key.clone(), name(it))
    });
}
