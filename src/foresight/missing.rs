//! What is missing near the member, in words that buy hardware; and what people wrote that no hardware helps against.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Question,
    forecast::{Loss, Missing},
    near,
    picture::Picture,
    placeless::Placeless,
    words::{amounts, joined},
};
use crate::core::{
    distance::tier::TierMap,
    movement::fit::{Misfit, Room},
    workload::{Node, Pod, Resources},
};

/// What would have to be there for everybody who finds no place, and the sentences about everybody else.
#[derive(Debug)]
pub(super) struct Found {
    pub missing: Vec<Missing>,
    pub obstacles: Vec<String>,
}

pub(super) fn find(
    question: &Question<'_>,
    picture: &Picture,
    placeless: &Placeless<'_>,
    (tiers, targets): (&TierMap, &[&Node]),
    loss: Option<&Loss>,
) -> Found {
    let Placeless { by_workload, never } = placeless;
    let snapshot = picture.tables.snapshot();
    let (mut lacks, mut obstacles) = (Lacks::default(), BTreeSet::new());
    if !by_workload.is_empty() {
        let (room, left) = (Room::of(snapshot), left(targets, picture));
        for (key, pods) in by_workload {
            let Some(pod) = pods.first() else { continue };
            let name = format!("{}/{}", key.namespace, key.name);
            match short(picture, &room, &left, pod) {
                Ok(resources) => lacks.add(&name, near::count(pods.len()), &asks(picture, pod), &resources),
                Err(why) => {
                    obstacles.insert(format!("{name}: {why}"));
                }
            }
        }
    }
    obstacles.extend(never.iter().map(|budget| {
        format!(
            "{}/{}: this disruption budget wants all of its {} pods healthy, and never allows an eviction: let one go",
            budget.namespace, budget.name, budget.healthy
        )
    }));
    if let Some(loss) = loss.filter(|loss| loss.pending > 0) {
        obstacles.insert(format!("{} pods of what is lost find no node at all", loss.pending));
    }
    let places = near::places(&picture.tables, tiers, &format!("a primary of {}", question.database()));
    Found { missing: lacks.told(&places).into_iter().collect(), obstacles: obstacles.into_iter().collect() }
}

/// What each node has left, and for how many pods.
fn left<'n>(targets: &[&'n Node], picture: &Picture) -> Vec<(&'n Node, Resources, u64)> {
    let groups = &picture.tables.pods.groups().by_node;
    let of_node = |node: &&'n Node| {
        let (mut left, mut pods) = (node.allocatable.clone(), node.pods);
        if let Some(there) = groups.get(&node.name) {
            left.take(&there.requests);
            pods = pods.saturating_sub(there.pods.len() as u64);
        }
        (*node, left, pods)
    };
    targets.iter().map(of_node).collect()
}

/// What a replacement asks for: what its template does, at least.
pub(super) fn asks(picture: &Picture, pod: &Pod) -> Resources {
    let mut asks = (*pod.requests).clone();
    if let Some(workload) = pod.owner.as_ref().and_then(|owner| picture.tables.all_workloads.get(&owner.uid)) {
        asks.raise_to(&workload.requests);
    }
    asks
}

/// The resources of which some node has too little that would take the pod otherwise.
///
/// # Errors
/// No node would, whatever it had; why, in words.
fn short(
    picture: &Picture,
    room: &Room<'_>,
    left: &[(&Node, Resources, u64)],
    pod: &Pod,
) -> Result<BTreeSet<String>, String> {
    let (asks, mut short, mut why) = (asks(picture, pod), BTreeSet::new(), HashMap::<String, usize>::new());
    for (node, left, pods) in left {
        match room.fits(pod, node) {
            Err(Misfit::Insufficient(_) | Misfit::Queued(_)) => {
                let lacks = asks.amounts().filter(|(name, wanted)| *wanted > left.amount(name));
                short.extend(lacks.map(|(name, _)| name));
                if *pods == 0 {
                    short.insert("pods".to_owned());
                }
            }
            Err(misfit) => *why.entry(misfit.to_string()).or_default() += 1,
            Ok(()) => {}
        }
    }
    if !short.is_empty() {
        return Ok(short);
    }
    if left.is_empty() {
        return Err("no node is near that takes pods".to_owned());
    }
    let mut why: Vec<(String, usize)> = why.into_iter().collect();
    why.sort();
    let why: Vec<String> =
        why.iter().map(|(misfit, nodes)| format!("{misfit} on {}", nodes_in_words(*nodes))).collect();
    Err(if why.is_empty() { "it finds no place".to_owned() } else { format!("no hardware helps: {}", joined(&why)) })
}

fn nodes_in_words(nodes: usize) -> String {
    if nodes == 1 { "one node near it".to_owned() } else { format!("{nodes} nodes near it") }
}

/// What is lacking altogether.
#[derive(Default)]
struct Lacks {
    resources: BTreeMap<String, u64>,
    workloads: Vec<(String, u32)>,
}

impl Lacks {
    fn add(&mut self, workload: &str, pods: u32, asks: &Resources, short: &BTreeSet<String>) {
        for (name, amount) in asks.amounts().chain([("pods".to_owned(), 1)]).filter(|(name, _)| short.contains(name)) {
            let sum = self.resources.entry(name).or_default();
            *sum = sum.saturating_add(amount.saturating_mul(pods.into()));
        }
        self.workloads.push((workload.to_owned(), pods));
    }

    fn told(self, place: &str) -> Option<Missing> {
        let Self { resources, workloads } = self;
        if workloads.is_empty() {
            return None;
        }
        let pods = |(at, (name, pods)): (usize, &(String, u32))| match (at, pods) {
            (0, 1) => format!("1 pod of {name}"),
            (0, _) => format!("{pods} pods of {name}"),
            _ => format!("{pods} of {name}"),
        };
        let whom = joined(&workloads.iter().enumerate().map(pods).collect::<Vec<_>>());
        let lacks = if place.contains(" and ") { "lack" } else { "lacks" };
        let sentence = format!("{place} {lacks} {} for {whom}", amounts(&resources));
        Some(Missing { place: place.to_owned(), resources, workloads, sentence })
    }
}
