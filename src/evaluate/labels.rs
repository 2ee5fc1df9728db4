//! Readings → tiers → what is to be written to nodes now.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Facts, Memory};
use crate::{
    api::{
        DatabaseCluster, DatabaseClusterStatus, Span,
        database_cluster::{TaintRule, TierRules},
    },
    core::{
        backoff::{Backoffs, Pause},
        distance::{
            doubt::Doubt,
            overwrite::{NodeChange, Overwrites, Overwritten, Seen, TaintEffect, Wanted},
            tier::{Measured, NodeTier, Thresholds, Tier, TierMap, tiers},
        },
        label_key::LabelKey,
        map::Map,
        words::listed,
        workload::{Node, Taint},
    },
    index::{Latency, Tables},
};

/// A node whose label the API server refuses, such as by somebody's admission policy, is tried again after this long.
const REFUSED: Pause = Pause { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
/// One about which there was no answer.
const UNANSWERED: Pause = Pause { first: Duration::from_secs(1), longest: Duration::from_secs(1) };

/// An agent that hasn't written for so long is gone from its node. (It writes every minute at least.)
const GONE: Duration = Duration::from_secs(3600);

/// Nodes that could not be changed, and why.
pub(super) type Refusals = Backoffs<Refusal>;

/// Why a node could not be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub why: String,
    /// The API server said so, rather than nothing; and not because somebody else wrote at the same moment.
    pub answered: bool,
}

impl Refusal {
    /// How long the node is left alone.
    pub(super) const fn pause(&self) -> Pause {
        if self.answered { REFUSED } else { UNANSWERED }
    }
}

/// What of a database's nodes is not as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labelling {
    /// To be made now.
    pub changes: BTreeMap<String, NodeChange>,
    /// Nodes that wait for a change and hold the movement until then. One whose change the API server refused doesn't unless
    /// its label promises more than is true: otherwise it is only room that is lost, perhaps for ever, and nothing is drawn to it.
    /// Nor do those count that somebody else changes again and again: their label was right.
    pub pending: usize,
    /// Of these, the ones whose change was refused, and why: `NODE (closely, should be far): WHY`.
    pub refused: Vec<String>,
    /// Those that hold nothing although their change was refused, and why.
    pub lost: Vec<String>,
    /// Nodes whose label of this key is no tier: somebody else uses the key there, and they are left alone.
    pub others: Vec<String>,
    /// Every node that has a tier bears its label and taint.
    pub right: bool,
}

impl Labelling {
    /// `waiting`: the nodes among `refused` that are not tried again yet.
    fn of(
        seen: &[Seen<'_>],
        overwrites: &Overwrites,
        refused: &Refusals,
        waiting: &BTreeMap<String, Refusal>,
        now: Instant,
    ) -> Self {
        let mut it = Self { right: seen.iter().all(Seen::right), ..Self::default() };
        for seen in seen.iter().filter(|seen| overwrites.may_write(seen.node, now)) {
            let Some(change) = seen.change() else { continue };
            match refused.last(seen.node).filter(|refusal| refusal.answered) {
                Some(refusal) if seen.draws_too_much() => {
                    it.pending += 1;
                    it.refused.push(sentence(seen, refusal));
                }
                Some(refusal) => it.lost.push(sentence(seen, refusal)),
                None => it.pending += 1,
            }
            if !waiting.contains_key(seen.node) {
                it.changes.insert(seen.node.to_owned(), change);
            }
        }
        it.refused.sort();
        it.lost.sort();
        it
    }

    /// All nodes that don't take the label of this key, in words: whose change was refused, and where somebody else uses it.
    #[must_use]
    pub fn refusing(&self, key: &str) -> String {
        let all: Vec<&String> = self.refused.iter().chain(&self.lost).collect();
        let refused = listed(&all);
        let nodes = match self.others.len() {
            0 => return refused,
            1 => "one node".to_owned(),
            many => format!("{many} nodes"),
        };
        let in_use = format!(
            "the key {key} is in use by somebody else on {nodes}, which are left alone: {}: write another spec.nodeLabel",
            listed(&self.others)
        );
        if refused.is_empty() { in_use } else { format!("{in_use}; {refused}") }
    }
}

/// `NODE (closely, should be far): WHY`, or `NODE (its taint): WHY`
fn sentence(seen: &Seen<'_>, refusal: &Refusal) -> String {
    let node = seen.node;
    let label = match seen.label {
        _ if seen.labelled() => "its taint".to_owned(),
        Some(label) => format!("{label}, should be {}", seen.wanted.tier.label().unwrap_or("unknown")),
        None => format!("should be {}", seen.wanted.tier.label().unwrap_or("unknown")),
    };
    format!("{node} ({label}): {}", refusal.why)
}

/// Lets the readings count, if it is time. Returns those that begin to be ignored now: `NODE: WHY`.
pub(super) fn measure(facts: &Facts<'_>, memory: &mut Memory, now: Instant) -> Vec<String> {
    let due = memory.measured.is_none_or(|at| now.saturating_duration_since(at) >= facts.confirm_every);
    if !due && !memory.at_once {
        return Vec::new();
    }
    memory.measured = Some(now);
    let primary_host = facts.view.known().and(memory.primary_host.as_deref());
    // Of the same readings again nothing comes, but where they count up to a change.
    let undecided = memory.at_once || memory.tiers.nodes.values().any(|node| node.candidate.is_some());
    if !undecided && memory.looked.as_mut().is_some_and(|before| before.goes_on(facts, primary_host, now)) {
        return Vec::new();
    }
    let looked = Looked::at(facts, primary_host, now);
    if !undecided && memory.looked.as_ref().is_some_and(|before| before.is_like(&looked)) {
        memory.looked = Some(looked);
        return Vec::new();
    }
    let measured = measured(facts.tables, facts.object, primary_host, &memory.tiers, memory.at_once, now);
    let doubts = new_doubts(&memory.tiers, &measured, facts.status);
    if !memory.tiers.says_the_same(&measured) {
        (memory.compared, memory.near_of) = (None, None);
    }
    memory.tiers = Arc::new(measured);
    memory.looked = Some(looked);
    doubts
}

/// Looks at every node, and says what others did to them besides. The nodes that are not tried again yet are in `waiting`.
pub(super) fn compare(
    facts: &Facts<'_>,
    memory: &mut Memory,
    waiting: &BTreeMap<String, Refusal>,
    now: Instant,
) -> (Labelling, Vec<Overwritten>) {
    let may_hold = !memory.at_once && !memory.relabelling;
    if let Some(compared) = memory.compared.as_ref().filter(|compared| may_hold && compared.holds(facts)) {
        return (compared.labelling.clone(), Vec::new());
    }
    let seen = seen(facts.tables, facts.object, &memory.tiers);
    let overwritten = memory.overwrites.look(&facts.object.node_label(), &seen, now);
    let mut labelling = Labelling::of(&seen, &memory.overwrites, &memory.refused, waiting, now);
    labelling.others = used_by_others(facts.tables, &facts.object.node_label());
    if memory.tiers.bounds.is_some() {
        memory.at_once &= !labelling.changes.is_empty();
        let undecided = |node: &NodeTier| node.tier == Tier::Unknown && node.candidate.is_some();
        memory.relabelling &= labelling.pending > 0 || memory.tiers.nodes.values().any(undecided);
    } else {
        // What the labels are now says nothing of what they should be.
        labelling.right = false;
    }
    let settled = labelling.right && !memory.at_once && !memory.relabelling && memory.overwrites.nothing_waits();
    memory.compared = settled.then(|| Compared::of(facts, &labelling));
    (labelling, overwritten)
}

/// What the last measurement was made from: from the same comes the same.
#[derive(Debug, Clone)]
pub(super) struct Looked {
    nodes: Map<String, Arc<Node>>,
    latencies: Map<String, Arc<Latency>>,
    /// In the order of the nodes.
    readings: Vec<Reading>,
    /// Until then none of them becomes too old.
    until: Option<Instant>,
    primary_host: Option<String>,
    rules: TierRules,
    key: LabelKey,
}

impl Looked {
    fn at(facts: &Facts<'_>, primary_host: Option<&str>, now: Instant) -> Self {
        let Facts { tables, object, .. } = facts;
        let mut readings = Readings::of(tables, primary_host, object.spec.tiers.stale_after.0, now);
        let mut until = None;
        let of_node = |node: &Arc<Node>| {
            let latency = readings.tables.latencies.get(&node.name);
            until = earlier(until, latency.and_then(|latency| readings.same_until(latency)));
            readings.reading(latency)
        };
        Self {
            nodes: tables.nodes.live().clone(),
            latencies: tables.latencies.live().clone(),
            readings: tables.nodes.live().values().map(of_node).collect(),
            until,
            primary_host: primary_host.map(str::to_owned),
            rules: object.spec.tiers.clone(),
            key: object.node_label(),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.nodes.is_same(&other.nodes)
            && self.readings == other.readings
            && (&self.primary_host, &self.rules, &self.key) == (&other.primary_host, &other.rules, &other.key)
    }

    /// Whether a look now would be like this one, found out by what was written since alone. It may say no where it would. From now on it
    /// is about what there is now.
    fn goes_on(&mut self, facts: &Facts<'_>, primary_host: Option<&str>, now: Instant) -> bool {
        let Facts { tables, object, .. } = facts;
        let same = self.nodes.is_same(tables.nodes.live())
            && self.primary_host.as_deref() == primary_host
            && (&self.rules, &self.key) == (&object.spec.tiers, &object.node_label())
            && self.until.is_none_or(|until| now <= until);
        let latencies = tables.latencies.live();
        let Some(written) = latencies.replaced_since(&self.latencies).filter(|_| same) else { return false };
        let mut readings = Readings::of(tables, primary_host, object.spec.tiers.stale_after.0, now);
        let mut until = self.until;
        for (before, latency) in written {
            if readings.reading(Some(before)) != readings.reading(Some(latency)) {
                return false;
            }
            until = earlier(until, readings.same_until(latency));
        }
        self.until = until;
        self.latencies.clone_from(latencies);
        true
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

/// Every node was as it should be, and nobody waited for anything. Until a node or a tier changes it stays so.
#[derive(Debug, Clone)]
pub(super) struct Compared {
    nodes: Map<String, Arc<Node>>,
    key: LabelKey,
    taint: Option<TaintEffect>,
    labelling: Labelling,
}

impl Compared {
    fn of(facts: &Facts<'_>, labelling: &Labelling) -> Self {
        Self {
            nodes: facts.tables.nodes.live().clone(),
            key: facts.object.node_label(),
            taint: facts.object.spec.taint.map(TaintRule::effect),
            labelling: labelling.clone(),
        }
    }

    fn holds(&self, facts: &Facts<'_>) -> bool {
        let wanted = (facts.object.node_label(), facts.object.spec.taint.map(TaintRule::effect));
        self.nodes.is_same(facts.tables.nodes.live()) && (&self.key, &self.taint) == (&wanted.0, &wanted.1)
    }
}

/// What one node says: the fresh median in microseconds, and whether its agent has gone.
type Reading = (Option<u32>, bool);

/// The readings of all nodes towards one host.
struct Readings<'a> {
    tables: &'a Tables,
    host: Option<&'a str>,
    stale_after: Duration,
    now: Instant,
    /// Where the last node had its reading of the host: others measure the same hosts in the same order.
    place: usize,
}

impl<'a> Readings<'a> {
    const fn of(tables: &'a Tables, host: Option<&'a str>, stale_after: Duration, now: Instant) -> Self {
        Self { tables, host, stale_after, now, place: 0 }
    }

    fn reading(&mut self, latency: Option<&Latency>) -> Reading {
        (latency.and_then(|latency| self.rtt_us(latency)), self.is_abandoned(latency))
    }

    fn of_node(&mut self, node: &str) -> Reading {
        self.reading(self.tables.latencies.get(node))
    }

    fn rtt_us(&mut self, latency: &Latency) -> Option<u32> {
        let host = self.host?;
        if self.now.saturating_duration_since(latency.received) > self.stale_after {
            return None;
        }
        let readings = &latency.spec.readings;
        if readings.get(self.place).is_none_or(|reading| reading.host != host) {
            self.place = readings.iter().position(|reading| reading.host == host)?;
        }
        readings[self.place].rtt_us
    }

    /// No agent has been heard of for so long that it is gone.
    fn is_abandoned(&self, latency: Option<&Latency>) -> bool {
        latency.is_none_or(|latency| self.now.saturating_duration_since(latency.received) > self.gone_after())
    }

    fn gone_after(&self) -> Duration {
        GONE.max(self.stale_after)
    }

    /// Until when it says the same, unless it is written anew. `None`: for ever.
    fn same_until(&self, latency: &Latency) -> Option<Instant> {
        let ends = [self.stale_after, self.gone_after()].map(|age| latency.received.checked_add(age));
        ends.into_iter().flatten().find(|end| *end >= self.now)
    }
}

fn thresholds(object: &DatabaseCluster) -> Thresholds {
    let rules = &object.spec.tiers;
    Thresholds {
        window_us: rules.window.as_us(),
        closely_below_us: rules.closely_below.map(Span::as_us),
        far_above_us: rules.far_above.map(Span::as_us),
        margin_us: rules.margin.as_us(),
        confirmations: rules.confirmations,
    }
}

/// Every node's tier. `primary` is the host of the confirmed primary; without one nothing changes.
pub(super) fn measured(
    tables: &Tables,
    object: &DatabaseCluster,
    primary: Option<&str>,
    previous: &TierMap,
    at_once: bool,
    now: Instant,
) -> TierMap {
    let key = object.node_label();
    let stale_after = object.spec.tiers.stale_after.0;
    let mut readings = Readings::of(tables, primary, stale_after, now);
    let label = |node: &Node| node.labelled(&key);
    let (managed, left_alone): (Vec<&Node>, Vec<&Node>) = tables.nodes.values().partition(|node| is_ours(node, &key));
    let mut look = |node: &Node| {
        let (rtt_us, abandoned) = readings.of_node(&node.name);
        Measured { label: label(node), rtt_us: rtt_us.map(u64::from), ready: node.ready, abandoned }
    };
    let measured = managed.into_iter().map(|node| (node.name.clone(), look(node))).collect();
    let mut map = tiers(&measured, previous, &thresholds(object), at_once, now);
    for node in left_alone {
        let rtt_us = readings.of_node(&node.name).0.map(u64::from);
        map.nodes.insert(node.name.clone(), NodeTier::labelled(label(node), rtt_us));
    }
    if primary.is_none() {
        // Nothing was looked at, so that nothing has ended either.
        map.doubts.clone_from(&previous.doubts);
    }
    map
}

/// Neither a person nor a label of somebody else keeps us off.
fn is_ours(node: &Node, key: &str) -> bool {
    node.managed && !node.labelled_by_others(key)
}

fn used_by_others(tables: &Tables, key: &str) -> Vec<String> {
    let used = tables.nodes.values().filter(|node| node.managed && node.labelled_by_others(key));
    let mut names: Vec<String> = used.map(|node| node.name.clone()).collect();
    names.sort();
    names
}

/// What begins to be ignored now, `NODE: WHY`. What the status says already was told by an earlier leader.
fn new_doubts(before: &TierMap, now: &TierMap, status: &DatabaseClusterStatus) -> Vec<String> {
    let known = |node: &String, doubt: &Doubt| {
        before.doubts.get(node).is_some_and(|before| before.name() == doubt.name())
            || status.ignored.iter().any(|ignored| ignored.node == *node && ignored.reason == doubt.name())
    };
    let new = now.doubts.iter().filter(|(node, doubt)| !known(node, doubt));
    new.map(|(node, doubt)| format!("{node}: {doubt}")).collect()
}

/// What of every node is ours to write, as it is and as it should be.
fn seen<'a>(tables: &'a Tables, object: &DatabaseCluster, map: &TierMap) -> Vec<Seen<'a>> {
    let key = object.node_label();
    let taint = object.spec.taint.map(TaintRule::effect);
    let look = |node: &'a Node| {
        let ours = |taint: &&Taint| *taint.key == *key && Some(taint.value.as_str()) == Tier::Far.label();
        Seen {
            node: &node.name,
            wanted: Wanted { tier: map.tier(&node.name), taint },
            label: node.labels.get(&*key).map(String::as_str),
            taints: node.taints.iter().filter(ours).map(|taint| taint.effect.as_str()).collect(),
        }
    };
    tables.nodes.values().filter(|node| is_ours(node, &key)).map(look).collect()
}

#[cfg(test)]
mod tests;
