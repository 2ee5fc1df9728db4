//! Wave after wave until nothing is left to move, each carried out in thought before the next one is planned.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Question, near, picture::Picture};
use crate::{
    core::{
        distance::tier::{Tier, TierMap},
        hash::{self, HashSet},
        movement::{
            fit::{Ranked, Room},
            held::HeldReason,
            plan::{Move, Plan},
            ways::Way,
            workloads::{Workloads, uid_of, workload_of},
        },
        workload::{Owner, Pod, Snapshot},
    },
    evaluate::{Stays, thought::Thought},
    index::{Following, Tables},
};

/// What was done in thought, and what is left.
#[derive(Debug)]
pub(super) struct Course {
    /// In the order in which the plan takes them.
    pub carried: Vec<Carried>,
    pub held: Vec<Stays>,
    /// The same, pod by pod.
    pub left: Plan,
}

/// One move that was carried out in thought.
#[derive(Debug)]
pub(super) struct Carried {
    pub move_: Move,
    pub pods: Vec<Moved>,
}

/// One pod of it.
#[derive(Debug)]
pub(super) struct Moved {
    pub pod: Arc<Pod>,
    pub from: String,
    pub to: String,
}

pub(super) fn play(
    question: &Question<'_>,
    picture: &mut Picture,
    tiers: &TierMap,
    other_tiers: &HashMap<String, TierMap>,
) -> Course {
    let mut carried = Vec::new();
    let around = Around { question, tiers, other_tiers };
    let mut waits = {
        let followers: Vec<&Following> = picture.followers.iter().collect();
        around.who_waits(&picture.tables, &followers, &Belongs::of(picture.tables.snapshot(), &followers))
    };
    let next = |picture: &Picture, waits: &BTreeMap<String, HeldReason>| {
        let thought = around.thought(&picture.tables, picture.followers.iter().collect(), waits, true);
        let plan = thought.next_wave();
        let held = if plan.moves.is_empty() { thought.stays(&plan) } else { Vec::new() };
        (plan, held)
    };
    picture.let_budgets_go();
    // Each wave brings somebody near, or restarts a workload for the last time: it ends.
    loop {
        let (plan, held) = next(picture, &waits);
        if plan.moves.is_empty() {
            return Course { carried, held, left: plan };
        }
        // Nobody is left who would be looked at again.
        if plan.held.is_empty() && plan.moves.iter().all(|move_| move_.way == Way::Evict) {
            let snapshot = picture.tables.snapshot();
            carried.extend(plan.moves.into_iter().map(|move_| {
                let pod = snapshot.pods.get(&move_.uid).cloned();
                let moved = pod.map(|pod| Moved { pod, from: move_.from.clone(), to: move_.to.clone() });
                Carried { pods: moved.into_iter().collect(), move_ }
            }));
            return Course { carried, held, left: Plan::default() };
        }
        carry_out(question, picture, tiers, plan, &mut carried, &mut waits);
    }
}

/// What stays the same, whatever is carried out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub question: &'a Question<'a>,
    pub tiers: &'a TierMap,
    pub other_tiers: &'a HashMap<String, TierMap>,
}

impl<'a> Around<'a> {
    pub(super) fn thought(
        self,
        tables: &'a Tables,
        followers: Vec<&'a Following>,
        waits: &'a BTreeMap<String, HeldReason>,
        at_once: bool,
    ) -> Thought<'a> {
        let Self { question, tiers, other_tiers } = self;
        let Question { object, own_namespace, status, now, .. } = *question;
        let (epoch, workloads) = (status.epoch, None);
        Thought { object, tables, followers, workloads, other_tiers, own_namespace, tiers, waits, at_once, epoch, now }
    }

    /// Whoever waits for others of its workload as they are now does so however many may go: pods by UID, and why
    /// ([`HeldReason::NotWhole`]).
    pub(super) fn who_waits(
        self,
        tables: &Tables,
        followers: &[&Following],
        belongs: &Belongs<'_>,
    ) -> BTreeMap<String, HeldReason> {
        let lacking: HashSet<&str> = belongs.workloads.lacking().collect();
        if lacking.is_empty() {
            return BTreeMap::new();
        }
        let lacks = |it: &&Following| belongs.to(it).is_some_and(|uid| lacking.contains(uid));
        let followers: Vec<&Following> = followers.iter().copied().filter(lacks).collect();
        let nobody = BTreeMap::new();
        let as_it_is = Around { ..self }.thought(tables, followers, &nobody, false).next_wave();
        let lack = as_it_is.held.into_iter().filter(|held| matches!(held.reason, HeldReason::NotWhole { .. }));
        lack.map(|held| (held.uid, held.reason)).collect()
    }
}

/// Which workloads followers belong to, and these workloads.
#[derive(Debug)]
pub(super) struct Belongs<'a> {
    /// By where their owner is in memory, which replicas have in common.
    uids: hash::HashMap<*const Owner, &'a str>,
    pub workloads: Workloads<'a>,
}

impl<'a> Belongs<'a> {
    pub(super) fn of(snapshot: Snapshot<'a>, followers: &[&'a Following]) -> Self {
        let by_owner: hash::HashMap<*const Owner, &'a Following> =
            followers.iter().filter_map(|it| Some((owner_at(it)?, *it))).collect();
        let uids: hash::HashMap<*const Owner, &'a str> =
            by_owner.into_iter().filter_map(|(owner, it)| Some((owner, uid_of(snapshot, &it.pod)?))).collect();
        Self { workloads: Workloads::named(snapshot, uids.values().copied()), uids }
    }

    /// The UID of the workload that a follower belongs to.
    fn to(&self, following: &Following) -> Option<&'a str> {
        self.uids.get(&owner_at(following)?).copied()
    }
}

fn owner_at(following: &Following) -> Option<*const Owner> {
    following.pod.owner.as_deref().map(std::ptr::from_ref)
}

/// Evictions first, then restarts, whose pods need places that the plan only proved to be there.
fn carry_out(
    question: &Question<'_>,
    picture: &mut Picture,
    tiers: &TierMap,
    plan: Plan,
    carried: &mut Vec<Carried>,
    waits: &mut BTreeMap<String, HeldReason>,
) {
    let (restarts, evictions): (Vec<_>, Vec<_>) = plan.moves.into_iter().partition(|move_| move_.way == Way::Restart);
    for move_ in evictions {
        let (from, to) = (move_.from.clone(), move_.to.clone());
        let pods = picture.put_replacement(&move_.uid, &to).map(|pod| Moved { pod, from, to });
        carried.push(Carried { pods: pods.into_iter().collect(), move_ });
    }
    for move_ in restarts {
        let places = places(question, picture, tiers, &move_);
        let moved = places.into_iter().filter_map(|(uid, from, to)| {
            let pod = picture.put_replacement(&uid, &to)?;
            Some(Moved { pod, from, to })
        });
        let pods: Vec<Moved> = moved.collect();
        // It is restarted once, whoever found no place.
        waits.insert(move_.workload.uid.clone(), HeldReason::Restarted { times: 1 });
        carried.push(Carried { pods, move_ });
    }
}

/// Where the pods of a workload go that is restarted: those that aren't near, the first one where the plan says. UID, node before, node
/// after.
fn places(question: &Question<'_>, picture: &Picture, tiers: &TierMap, move_: &Move) -> Vec<(String, String, String)> {
    let snapshot = picture.tables.snapshot();
    let mut targets = near::targets(snapshot, tiers, &question.object.node_label());
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    let targets = Ranked::of(targets);
    let mut room = Room::of(snapshot);
    let away = |pod: &Pod| pod.node.as_deref().is_some_and(|node| tiers.tier(node) != Tier::Closely);
    let of_it = |pod: &Pod| workload_of(snapshot, pod).is_some_and(|it| it.uid == move_.workload.uid);
    let mut pods: Vec<_> = picture.followers.iter().filter(|it| away(&it.pod) && of_it(&it.pod)).collect();
    pods.sort_by_key(|it| (it.pod.uid != move_.uid, it.pod.name.clone()));
    let mut places = Vec::new();
    for following in pods {
        let first =
            targets.nodes().iter().copied().find(|node| following.pod.uid == move_.uid && node.name == move_.to);
        let found = first.or_else(|| room.emptiest(&following.replacement, &targets, |_| Ok(())).ok());
        let Some(node) = found else { continue };
        room.place(&following.replacement, &node.name);
        let from = following.pod.node.clone().unwrap_or_default();
        places.push((following.pod.uid.clone(), from, node.name.clone()));
    }
    places
}
