//! What else people should know of a forecast: images that have to be fetched first, and whom the scheduler could drive out.

use std::collections::{BTreeMap, BTreeSet};

use super::{missing::asks, owner, picture::Picture, placeless::Placeless, waves::Course, words::joined};
use crate::core::{
    movement::{
        fit::{Misfit, Room},
        workloads::WorkloadKey,
    },
    workload::{Node, Pod},
};

/// So many of several are named.
const MOST_NAMED: usize = 3;

/// In sentences. `targets` are the nodes that pods are moved to.
pub(super) fn notes(picture: &Picture, course: &Course, placeless: &Placeless<'_>, targets: &[&Node]) -> Vec<String> {
    let mut notes = images(picture, course, targets);
    notes.extend(victims(picture, placeless, targets));
    notes.into_iter().collect()
}

/// Images that no node near has: the first replacement on each waits until they are fetched.
fn images(picture: &Picture, course: &Course, targets: &[&Node]) -> BTreeSet<String> {
    let names = || targets.iter().map(|node| &*node.name);
    let mut notes = BTreeSet::new();
    let owners: BTreeMap<&str, String> = course
        .carried
        .iter()
        .filter_map(|carried| {
            let owner = carried.pods.first()?.pod.owner.as_ref()?;
            Some((&*owner.uid, format!("{}/{}", carried.move_.workload.namespace, carried.move_.workload.name)))
        })
        .collect();
    for (owner, workload) in owners {
        let nowhere = picture.tables.images.nowhere(owner, names());
        if !nowhere.is_empty() {
            let (images, it) = (named(&nowhere), if nowhere.len() == 1 { "it" } else { "them" });
            notes.insert(format!(
                "{workload}: no node near has {images} yet, and the first replacement on each fetches {it}"
            ));
        }
    }
    notes
}

/// Pods of lower priority in whose place the scheduler would put one that finds none: nobody is moved for that.
fn victims(picture: &Picture, placeless: &Placeless<'_>, targets: &[&Node]) -> Vec<String> {
    let snapshot = picture.tables.snapshot();
    let room = Room::of(snapshot);
    let of_workload = |(key, pods): (&WorkloadKey, &Vec<&Pod>)| {
        let pod = *pods.first()?;
        let makes_room = |node: &&&Node| {
            let lacks = matches!(room.fits(pod, node), Err(Misfit::Insufficient(_)));
            lacks && fits_without(picture, pod, node)
        };
        let node = targets.iter().find(makes_room)?;
        let there = picture.tables.pods.groups().by_node.get(&node.name)?;
        let lower = there.pods.iter().filter(|it| it.priority < pod.priority);
        let names: BTreeSet<String> =
            lower.map(|it| owner(&picture.tables, it)).map(|it| format!("{}/{}", it.namespace, it.name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Some(format!(
            "{}/{}: by its priority ({}) the scheduler would drive out pods of {} for it, such as on {}; nobody is moved for that",
            key.namespace,
            key.name,
            pod.priority,
            named(&names),
            node.name
        ))
    };
    placeless.by_workload.iter().filter_map(of_workload).collect()
}

/// Whether the node has room for the pod without those of lower priority.
fn fits_without(picture: &Picture, pod: &Pod, node: &Node) -> bool {
    let Some(there) = picture.tables.pods.groups().by_node.get(&node.name) else { return false };
    let (mut left, mut pods) = (node.allocatable.clone(), 0);
    for other in there.pods.iter().filter(|it| it.priority >= pod.priority) {
        left.take(&other.requests);
        pods += 1;
    }
    pods < node.pods && asks(picture, pod).amounts().all(|(name, wanted)| wanted <= left.amount(&name))
}

/// `a, b, c and 4 more`
fn named(all: &[&str]) -> String {
    let mut shown: Vec<String> = all.iter().take(MOST_NAMED).map(|it| (*it).to_owned()).collect();
    if all.len() > MOST_NAMED {
        shown.push(format!("{} more", all.len() - MOST_NAMED));
    }
    joined(&shown)
}
