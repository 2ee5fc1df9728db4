//! Which moves are over, which come next, and why the other pods stay.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Facts, Memory};
use crate::{
    api::{DatabaseCluster, Span},
    core::{
        affinity::SkipReason,
        backoff::Pause,
        distance::tier::{NodeTier, TierMap},
        follow::is_left_alone,
        moment::Moment,
        movement::{
            breaker::Breaker,
            control::{Control, wanted_now},
            held::{Gate, HeldReason},
            journal::{End, Look, MOST_UNDERWAY, Outcome, Settled},
            limits::Limits,
            plan::{Follower, Input, Plan, Rules, plan},
            restart::MISSED,
            window::Evidence,
        },
        workload::Node,
    },
    index::{Followers, Following, How, Tables},
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
        most_underway: MOST_UNDERWAY,
        all_together: false,
    }
}

/// How far the labels of the other databases that they follow say each node is, by database.
pub(super) fn other_tiers(tables: &Tables, followers: &Followers) -> HashMap<String, TierMap> {
    let mut maps = HashMap::new();
    let (mut last, others) = (None, followers.iter().map(|following| &following.how));
    // Most of them follow the same ones, and then by the same value.
    for how in others.filter(|how| !how.others.is_empty()) {
        if last.replace(how).is_some_and(|last: &Arc<How>| Arc::ptr_eq(last, how)) {
            continue;
        }
        for other in &how.others {
            let Some(object) = tables.databases.get(&**other).and_then(|database| database.object.as_ref().ok()) else {
                continue;
            };
            maps.entry(other.to_string()).or_insert_with(|| {
                let key = object.node_label();
                let tier = |node: &Node| (node.name.clone(), NodeTier::labelled(node.labelled(&key), None));
                TierMap { nodes: tables.nodes.values().map(tier).collect(), ..TierMap::default() }
            });
        }
    }
    maps
}

/// The pods that follow the database, as plans are made of them.
pub(super) fn followers<'a>(
    followers: impl IntoIterator<Item = &'a Following>,
    own_namespace: &str,
    tiers: &'a TierMap,
    others: &'a HashMap<String, TierMap>,
) -> Vec<Follower<'a>> {
    let followers: Vec<&Following> = followers.into_iter().collect();
    // A few are looked up sooner than every node is gone through.
    let by_node = (followers.len() > tiers.nodes.len()).then(|| tiers.by_node());
    let at = |node: &str| match &by_node {
        Some(by_node) => by_node.get(node).copied(),
        None => tiers.nodes.get(node),
    };
    let follower = |it: &'a Following| {
        let alone = is_left_alone(&it.pod.namespace, own_namespace);
        Follower {
            pod: &it.pod,
            replacement: &it.replacement,
            at: it.pod.node.as_deref().and_then(at),
            mode: it.how.mode,
            left_alone: alone.then(|| SkipReason::SystemNamespace.to_string()),
            others: it.how.others.iter().filter_map(|other| others.get(&**other)).collect(),
        }
    };
    followers.into_iter().map(follower).collect()
}

/// The median round-trip time from the followers' nodes to the primary, in microseconds.
pub(super) fn median_rtt_us(followers: &[Follower<'_>]) -> Option<u64> {
    let serving = followers.iter().filter(|follower| follower.pod.serves());
    let mut rtts: Vec<u64> = serving.filter_map(|follower| follower.at?.rtt_us).collect();
    if rtts.is_empty() {
        return None;
    }
    let middle = rtts.len() / 2;
    Some(*rtts.select_nth_unstable(middle).1)
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
    let mut failures = own.chain(theirs).peekable();
    if failures.peek().is_none() {
        return Breaker::default();
    }
    let following: BTreeSet<&str> = followers.iter().map(|follower| &*follower.pod.namespace).collect();
    Breaker::of(failures, &memory.journal.fine, &following, rules.halt_after_failures)
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
    (gates, breaker): (&[Gate], &Breaker),
    evidence: Evidence,
    memory: &mut Memory,
    now: Moment,
) -> Plan {
    let mut backoff = memory.backoffs.current(now.instant);
    // Who asks for a move now doesn't wait for its turn.
    backoff.retain(|uid, why| {
        let asked = || wanted_now(facts.tables.all_workloads.get(uid).map(AsRef::as_ref), now);
        !(matches!(why, HeldReason::MovedBack { .. }) && asked())
    });
    let movement = &facts.object.spec.movement;
    let begun = memory.begun_lately(now.instant);
    plan(&Input {
        snapshot: facts.tables.snapshot(),
        workloads: None,
        tiers: &memory.tiers,
        node_label: &facts.object.node_label(),
        followers,
        rules: rules(facts.object),
        gate: gates.first(),
        control: Control {
            behind: gates.get(1..).unwrap_or_default(),
            farther_than_us: movement.farther_than.map(Span::as_us),
            limits: Limits { per_namespace: movement.per_namespace, per_minute: movement.per_minute, begun },
        },
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
