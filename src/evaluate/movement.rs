//! Which moves are over, which come next, and why the other pods stay.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::{Facts, Memory};
use crate::{
    api::DatabaseCluster,
    core::{
        affinity::SkipReason,
        backoff::Pause,
        distance::tier::{NodeTier, TierMap},
        follow::{Follow, MoveMode, is_left_alone},
        moment::Moment,
        movement::{
            breaker::Breaker,
            held::{Gate, HeldReason},
            journal::{End, Look, Outcome, Settled, Trace, Underway},
            plan::{Follower, Input, Move, Plan, Rules, plan},
            restart::MISSED,
            window::Evidence,
        },
        workload::{Node, Pod},
    },
    index::Tables,
};

/// A workload that something moves back is moved again after this long, then after twice as long.
const MOVED_BACK: Pause = Pause { first: Duration::from_secs(600), longest: Duration::from_secs(6 * 3600) };

pub(super) fn rules(object: &DatabaseCluster) -> Rules {
    let movement = &object.spec.movement;
    Rules {
        settle: movement.settle.0,
        max_concurrent: movement.max_concurrent,
        per_workload: movement.per_workload,
        include_intermediate: movement.include_intermediate,
        replacement_timeout: movement.replacement_timeout.0,
        halt_after_failures: movement.halt_after_failures,
        max_useless_moves: movement.max_useless_moves,
    }
}

/// A pod that follows the database.
pub(super) struct Followed<'a> {
    pod: &'a Pod,
    mode: MoveMode,
    left_alone: Option<String>,
    /// The other databases that it follows.
    others: Vec<&'a str>,
}

/// The pods that follow the database, with how each may be moved.
pub(super) fn followed<'a>(facts: &Facts<'a>) -> Vec<Followed<'a>> {
    let (tables, name) = (facts.tables, facts.database());
    let followed = |pod: &'a Pod| {
        let namespace = tables.namespaces.get(&pod.namespace)?;
        namespace.opt_in.as_ref()?;
        let (namespace_says, pod_says) = (namespace.wishes.says(), pod.wishes.says());
        let lookup = |database: &str| tables.defaults(database);
        let follow = Follow::resolve(namespace.opt_in.as_deref(), &namespace_says, &pod_says, lookup);
        let databases = follow.databases.ok()?;
        let mine = databases.iter().find(|followed| &*followed.name == name)?;
        // Following a namespace that is going away is nothing to move for.
        let mode = if namespace.terminating { MoveMode::Never } else { mine.move_mode };
        let others = databases.iter().filter(|followed| &*followed.name != name);
        let others = others.filter_map(|followed| Some(tables.databases.get(&*followed.name)?.name.as_str()));
        let left_alone = is_left_alone(&pod.namespace, facts.own_namespace);
        let left_alone = left_alone.then(|| SkipReason::SystemNamespace.to_string());
        Some(Followed { pod, mode, left_alone, others: others.collect() })
    };
    tables.pods.values().filter_map(followed).collect()
}

/// How far the labels of the other databases that they follow say each node is, by database.
pub(super) fn other_tiers<'a>(tables: &'a Tables, followed: &[Followed<'a>]) -> HashMap<&'a str, TierMap> {
    let mut maps = HashMap::new();
    for other in followed.iter().flat_map(|followed| &followed.others) {
        let Some(object) = tables.databases.get(*other).and_then(|database| database.object.as_ref().ok()) else {
            continue;
        };
        maps.entry(*other).or_insert_with(|| {
            let key = object.node_label();
            let tier = |node: &Node| (node.name.clone(), NodeTier::labelled(node.labelled(&key), None));
            TierMap { nodes: tables.nodes.values().map(tier).collect(), ..TierMap::default() }
        });
    }
    maps
}

/// The same pods, as plans are made of them.
pub(super) fn followers<'a>(followed: &[Followed<'a>], others: &'a HashMap<&'a str, TierMap>) -> Vec<Follower<'a>> {
    let follower = |it: &Followed<'a>| Follower {
        pod: it.pod,
        mode: it.mode,
        left_alone: it.left_alone.clone(),
        others: it.others.iter().filter_map(|other| others.get(other)).collect(),
    };
    followed.iter().map(follower).collect()
}

/// The median round-trip time from the followers' nodes to the primary, in microseconds.
pub(super) fn median_rtt_us(followers: &[Follower<'_>], tiers: &TierMap) -> Option<u64> {
    let mut rtts: Vec<u64> = followers
        .iter()
        .filter(|follower| follower.pod.serves())
        .filter_map(|follower| tiers.rtt_us(follower.pod.node.as_deref()?))
        .collect();
    rtts.sort_unstable();
    rtts.get(rtts.len() / 2).copied()
}

/// Ends the moves that are over, and remembers what they say of the next ones.
pub(super) fn end_moves(
    facts: &Facts<'_>,
    followers: &[Follower<'_>],
    series: &str,
    memory: &mut Memory,
    now: Moment,
) -> Settled {
    let (snapshot, node_label) = (facts.tables.snapshot(), facts.object.node_label());
    memory.note_near(snapshot, &node_label);
    let settled = memory.journal.settle(&Look {
        snapshot,
        tiers: &memory.tiers,
        node_label: &node_label,
        restart_series: series,
        timeout: facts.object.spec.movement.replacement_timeout.0,
        now,
    });
    learn(memory, &settled.outcomes, now.instant);
    memory.missed.look(snapshot, followers.iter().map(|follower| follower.pod), series, &node_label, now.instant);
    settled
}

/// Where replacements fail, those of other databases among them.
pub(super) fn breaker(facts: &Facts<'_>, followers: &[Follower<'_>], memory: &Memory, now: Moment) -> Breaker {
    let rules = &facts.object.spec.movement;
    let own = memory.journal.failures(rules.replacement_timeout.0, now);
    let theirs = facts.others.underway.iter().filter(|move_| move_.trace.failed && !move_.trace.unready);
    let following: BTreeSet<&str> = followers.iter().map(|follower| &*follower.pod.namespace).collect();
    Breaker::of(own.chain(theirs), &memory.journal.fine, &following, rules.halt_after_failures)
}

/// Takes note of what moves that are over say of the next ones.
fn learn(memory: &mut Memory, outcomes: &[Outcome], now: Instant) {
    let Memory { backoffs, journal, .. } = memory;
    for Outcome { underway, end } in outcomes {
        match end {
            End::Missed { .. } => backoffs.add(&underway.workload.uid, HeldReason::AdmissionMissed, MISSED, now),
            End::Unjudged => {}
            End::Moved { .. } if journal.moved_back(&underway.workload).is_some() => {
                let moves = journal.moved_back(&underway.workload).unwrap_or_default();
                backoffs.add(&underway.workload.uid, HeldReason::MovedBack { moves }, MOVED_BACK, now);
            }
            _ => backoffs.end(&underway.workload.uid),
        }
    }
}

/// Plans the next wave.
pub(super) fn next_moves(
    facts: &Facts<'_>,
    followers: &[Follower<'_>],
    series: &str,
    (gate, breaker): (Option<&Gate>, &Breaker),
    evidence: Evidence,
    memory: &mut Memory,
    now: Moment,
) -> Plan {
    let backoff = memory.backoffs.current(now.instant);
    plan(&Input {
        snapshot: facts.tables.snapshot(),
        tiers: &memory.tiers,
        node_label: &facts.object.node_label(),
        followers,
        rules: rules(facts.object),
        gate,
        breaker,
        journal: &memory.journal,
        others: facts.others,
        window: facts.others.window_after(evidence, facts.object.spec.movement.max_concurrent),
        backoff: &backoff,
        restart_series: series,
        missed: &memory.missed,
        now,
    })
}

/// The journal's entry of a move that is about to be carried out.
pub(super) fn entry(facts: &Facts<'_>, move_: &Move, now: Moment) -> Underway {
    let (beside, after) = move_.beside.clone();
    Underway {
        way: Ok(move_.way),
        workload: move_.workload.clone(),
        pod: move_.pod.clone(),
        uid: move_.uid.clone(),
        from: move_.from.clone(),
        from_tier: move_.from_tier,
        started: now.wall,
        since: now.instant,
        pods: move_.pods,
        trace: Trace {
            to: move_.to.clone(),
            like: facts.tables.snapshot().pods.get(&move_.uid).cloned(),
            spends: move_.spends.clone(),
            beside: Some(beside),
            after: Some(after),
            unready: move_.unready,
            ..Trace::default()
        },
    }
}
