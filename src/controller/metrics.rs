//! The controller's metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::{
    api::database_cluster::AnnouncedStatus,
    cluster::Evicted,
    core::{
        distance::{
            doubt::Doubt,
            tier::{Tier, TierMap},
        },
        movement::{
            held::{Gate, HeldReason},
            journal::End,
            ways::Way,
        },
    },
    evaluate::{Decided, Memory},
    foresight::{Grade, Readiness},
    index::Index,
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseTier {
    database: String,
    tier: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseOutcome {
    database: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseMove {
    database: String,
    action: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseReason {
    database: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseMember {
    database: String,
    member: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DatabaseOnly {
    database: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// An eviction of which nobody knows what became of it, beside [`Evicted::NAMES`].
pub(super) const UNANSWERED: &str = "unanswered";

/// What the controller counts. Labels are bounded by the number of databases.
#[derive(Debug, Clone)]
pub struct ControllerMetrics {
    leader: Gauge,
    watch_current: Family<Kind, Gauge>,
    watch_unreadable: Family<Kind, Gauge>,
    nodes: Family<DatabaseTier, Gauge>,
    silent: Family<DatabaseOnly, Gauge>,
    ignored: Family<DatabaseReason, Gauge>,
    label_writes: Family<DatabaseOutcome, Counter>,
    labels_overwritten: Family<DatabaseOnly, Counter>,
    moves: Family<DatabaseMove, Counter>,
    move_ends: Family<DatabaseOutcome, Counter>,
    replacement: Family<DatabaseOnly, Histogram>,
    moving: Family<DatabaseOnly, Gauge>,
    held: Family<DatabaseReason, Gauge>,
    gate: Family<DatabaseReason, Gauge>,
    status_writes: Family<DatabaseOutcome, Counter>,
    accepted: Family<DatabaseOnly, Gauge>,
    discovery_deaths: Family<DatabaseOnly, Counter>,
    mistaken_namespaces: Gauge,
    foreseen: Foreseen,
    announced: Announced,
}

/// Of the switchover that a database announces.
#[derive(Debug, Clone, Default)]
struct Announced {
    at: Family<DatabaseMember, Gauge>,
    /// Whose target is told, by database.
    members: Arc<Mutex<BTreeMap<String, String>>>,
}

/// What would come of another primary, by member.
#[derive(Debug, Clone, Default)]
struct Foreseen {
    ready: Family<DatabaseMember, Gauge>,
    moves: Family<DatabaseMember, Gauge>,
    no_place: Family<DatabaseMember, Gauge>,
    blocked: Family<DatabaseMember, Gauge>,
    seconds: Family<DatabaseMember, Gauge>,
    /// Of whom something is told, by database.
    members: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
}

/// Where one database stands, as it was last shown. Most looks find nothing new in it, and there are a hundred series.
#[derive(Debug, Default)]
pub(super) struct Shown {
    tiers: Option<Arc<TierMap>>,
    movement: Option<Movement>,
}

#[derive(Debug, PartialEq, Eq)]
struct Movement {
    moving: usize,
    /// Pods by reason.
    held: BTreeMap<&'static str, usize>,
    gate: Option<&'static str>,
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl ControllerMetrics {
    /// Creates and registers every family.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let seconds = || Histogram::new([0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0]);
        let metrics = Self {
            leader: Gauge::default(),
            watch_current: Family::default(),
            watch_unreadable: Family::default(),
            nodes: Family::default(),
            silent: Family::default(),
            ignored: Family::default(),
            label_writes: Family::default(),
            labels_overwritten: Family::default(),
            moves: Family::default(),
            move_ends: Family::default(),
            replacement: Family::new_with_constructor(seconds),
            moving: Family::default(),
            held: Family::default(),
            gate: Family::default(),
            status_writes: Family::default(),
            accepted: Family::default(),
            discovery_deaths: Family::default(),
            mistaken_namespaces: Gauge::default(),
            foreseen: Foreseen::default(),
            announced: Announced::default(),
        };
        let m = metrics.clone();
        registry.register("leader", "1 while this replica leads", m.leader);
        registry.register("watch_current", "1 while the watch of a kind is filled and works", m.watch_current);
        let help = "Objects of a kind that can't be read, so that nothing is decided on them as they are";
        registry.register("watch_unreadable", help, m.watch_unreadable);
        registry.register("nodes", "Nodes by tier", m.nodes);
        let help = "Nodes with a label but without a reading that counts, such as where the agent is silent";
        registry.register("nodes_silent", help, m.silent);
        registry.register("ignored_readings", "Nodes whose reading is not believed, by reason", m.ignored);
        registry.register("node_label_writes", "Label changes that were sent, by outcome", m.label_writes);
        registry.register(
            "labels_overwritten",
            "Nodes whose label or taint was right and was changed by others",
            m.labels_overwritten,
        );
        registry.register("moves", "Moves that were sent, by the API server's answer", m.moves);
        registry.register("moves_ended", "Moves that are over, by how they ended", m.move_ends);
        let help = "Time from an eviction to the end of the move";
        registry.register_with_unit("replacement", help, Unit::Seconds, m.replacement);
        registry.register("moving_pods", "Moves under way", m.moving);
        registry.register("held_pods", "Followers that stay on a far node, by reason", m.held);
        registry.register("movement_gate", "1 while nothing may move, by reason", m.gate);
        registry.register("status_writes", "Writes of DatabaseCluster status, by outcome", m.status_writes);
        registry.register("database_accepted", "1 while a database is followed, 0 while it is refused", m.accepted);
        let help = "Deaths of the task that asks who is primary, each of them a bug";
        registry.register("discovery_deaths", help, m.discovery_deaths);
        let help = "Opted-in namespaces whose label or annotations have a wrong value";
        registry.register("namespaces_with_mistakes", help, m.mistaken_namespaces);
        m.foreseen.enter(registry);
        let help = "When the database announces a switchover for, and to which member";
        registry.register_with_unit("announced_switchover_timestamp", help, Unit::Seconds, m.announced.at);
        metrics
    }

    /// Shows what would come of another primary. Members that aren't there any more go.
    pub(super) fn observe_readiness(&self, database: &str, readiness: &[Readiness]) {
        self.foreseen.observe(database, readiness);
    }

    /// Shows the switchover that is announced, if one is.
    pub(super) fn observe_announced(&self, database: &str, announced: Option<&AnnouncedStatus>) {
        let Announced { at, members } = &self.announced;
        let labels = |member: &str| DatabaseMember { database: database.into(), member: member.into() };
        let member = announced.map(|it| it.to.clone().unwrap_or_default());
        let before = match member.clone() {
            Some(member) => members.lock().insert(database.to_owned(), member),
            None => members.lock().remove(database),
        };
        if let Some(before) = before.filter(|before| Some(before) != member.as_ref()) {
            at.remove(&labels(&before));
        }
        if let (Some(it), Some(member)) = (announced, member) {
            at.get_or_create(&labels(&member)).set(it.at.as_second());
        }
    }

    pub(super) fn observe_process(&self, index: &Index, leads: bool) {
        self.leader.set(i64::from(leads));
        for health in index.health() {
            self.watch_current.get_or_create(&Kind { kind: health.kind }).set(i64::from(health.current()));
            self.watch_unreadable.get_or_create(&Kind { kind: health.kind }).set(count(health.unreadable()));
        }
    }

    pub(super) fn namespaces_with_mistakes(&self, namespaces: usize) {
        self.mistaken_namespaces.set(count(namespaces));
    }

    /// Shows whether a database is followed; nothing of one that is being deleted.
    pub(super) fn accepted(&self, database: &str, accepted: Option<bool>) {
        let labels = DatabaseOnly { database: database.into() };
        match accepted {
            Some(accepted) => {
                self.accepted.get_or_create(&labels).set(i64::from(accepted));
            }
            None => {
                self.accepted.remove(&labels);
            }
        }
    }

    /// Whoever doesn't lead accepts nobody.
    pub(super) fn leads_no_more(&self) {
        self.accepted.clear();
    }

    pub(super) fn discovery_died(&self, database: &str) {
        self.discovery_deaths.get_or_create(&DatabaseOnly { database: database.into() }).inc();
    }

    pub(super) fn labelled(&self, database: &str, ok: bool) {
        let outcome = if ok { "ok" } else { "error" };
        self.label_writes.get_or_create(&DatabaseOutcome { database: database.into(), outcome }).inc();
    }

    pub(super) fn overwritten(&self, database: &str, nodes: usize) {
        let counter = self.labels_overwritten.get_or_create(&DatabaseOnly { database: database.into() }).clone();
        counter.inc_by(u64::try_from(nodes).unwrap_or(u64::MAX));
    }

    pub(super) fn moved(&self, database: &str, way: Way, outcome: &'static str) {
        self.moves.get_or_create(&DatabaseMove { database: database.into(), action: way.name(), outcome }).inc();
    }

    pub(super) fn ended(&self, database: &str, outcome: &'static str, took_s: f64) {
        self.move_ends.get_or_create(&DatabaseOutcome { database: database.into(), outcome }).inc();
        self.replacement.get_or_create(&DatabaseOnly { database: database.into() }).observe(took_s);
    }

    pub(super) fn status_written(&self, database: &str, ok: bool) {
        let outcome = if ok { "ok" } else { "error" };
        self.status_writes.get_or_create(&DatabaseOutcome { database: database.into(), outcome }).inc();
    }

    /// Shows where one database stands, as far as that isn't `shown` already.
    pub(super) fn observe(&self, database: &str, memory: &Memory, decided: &Decided, shown: &mut Shown) {
        if !shown.tiers.as_ref().is_some_and(|tiers| Arc::ptr_eq(tiers, &memory.tiers)) {
            self.observe_tiers(database, &memory.tiers);
            shown.tiers = Some(Arc::clone(&memory.tiers));
        }
        let mut held = BTreeMap::new();
        for pod in &decided.plan.held {
            *held.entry(pod.reason.name()).or_default() += 1;
        }
        let moving = memory.journal.underway.len();
        let movement = Movement { moving, held, gate: decided.gate.as_ref().map(Gate::name) };
        if shown.movement.as_ref() != Some(&movement) {
            self.observe_movement(database, &movement);
            shown.movement = Some(movement);
        }
    }

    fn observe_tiers(&self, database: &str, tiers: &TierMap) {
        for &tier in Tier::ALL {
            let labels = DatabaseTier { database: database.into(), tier: tier.label().unwrap_or("unknown") };
            self.nodes.get_or_create(&labels).set(count(tiers.count(tier)));
        }
        let silent = tiers.nodes.values().filter(|node| node.tier != Tier::Unknown && node.rtt_us.is_none()).count();
        self.silent.get_or_create(&DatabaseOnly { database: database.into() }).set(count(silent));
        for &reason in Doubt::NAMES {
            let labels = DatabaseReason { database: database.into(), reason };
            let nodes = tiers.doubts.values().filter(|doubt| doubt.name() == reason).count();
            self.ignored.get_or_create(&labels).set(count(nodes));
        }
    }

    fn observe_movement(&self, database: &str, movement: &Movement) {
        // There from the beginning, so that the first death is an increase.
        drop(self.discovery_deaths.get_or_create(&DatabaseOnly { database: database.into() }));
        self.moving.get_or_create(&DatabaseOnly { database: database.into() }).set(count(movement.moving));
        // Reasons that don't hold any more go, rather than stay at their last value.
        for reason in HeldReason::names() {
            let labels = DatabaseReason { database: database.into(), reason };
            self.held.get_or_create(&labels).set(count(movement.held.get(reason).copied().unwrap_or(0)));
        }
        for &reason in Gate::NAMES {
            let labels = DatabaseReason { database: database.into(), reason };
            self.gate.get_or_create(&labels).set(i64::from(movement.gate == Some(reason)));
        }
    }

    /// Drops every series of a database that is gone.
    pub(super) fn deleted(&self, database: &str) {
        self.forget(database);
        let only = DatabaseOnly { database: database.into() };
        self.labels_overwritten.remove(&only);
        self.replacement.remove(&only);
        self.accepted.remove(&only);
        self.discovery_deaths.remove(&only);
        for outcome in ["ok", "error"] {
            self.label_writes.remove(&DatabaseOutcome { database: database.into(), outcome });
            self.status_writes.remove(&DatabaseOutcome { database: database.into(), outcome });
        }
        for &outcome in End::NAMES {
            self.move_ends.remove(&DatabaseOutcome { database: database.into(), outcome });
        }
        for outcome in Evicted::NAMES.iter().copied().chain([UNANSWERED]) {
            for &way in Way::ALL {
                self.moves.remove(&DatabaseMove { database: database.into(), action: way.name(), outcome });
            }
        }
    }

    /// Drops the series that say where a database stands, which is no longer followed from here. What was counted stays.
    pub(super) fn forget(&self, database: &str) {
        let only = DatabaseOnly { database: database.into() };
        self.moving.remove(&only);
        self.silent.remove(&only);
        self.foreseen.observe(database, &[]);
        self.observe_announced(database, None);
        for tier in Tier::ALL {
            let tier = tier.label().unwrap_or("unknown");
            self.nodes.remove(&DatabaseTier { database: database.into(), tier });
        }
        for &reason in Doubt::NAMES {
            self.ignored.remove(&DatabaseReason { database: database.into(), reason });
        }
        for reason in HeldReason::names() {
            self.held.remove(&DatabaseReason { database: database.into(), reason });
        }
        for &reason in Gate::NAMES {
            self.gate.remove(&DatabaseReason { database: database.into(), reason });
        }
    }
}

impl Foreseen {
    fn enter(self, registry: &mut Registry) {
        let help = "1 if every follower would find its place with this member as the primary";
        registry.register("failover_ready", help, self.ready);
        registry.register("failover_moves", "Followers that would be moved", self.moves);
        registry.register("failover_no_place", "Followers that would find no place", self.no_place);
        registry.register("failover_blocked", "Followers that could not be moved as they are", self.blocked);
        let help = "How long the movement would take";
        registry.register_with_unit("failover", help, Unit::Seconds, self.seconds);
    }

    fn observe(&self, database: &str, readiness: &[Readiness]) {
        let mut all = self.members.lock();
        let now: BTreeSet<String> = readiness.iter().map(|of| of.member.clone()).collect();
        let before = all.insert(database.to_owned(), now.clone()).unwrap_or_default();
        if now.is_empty() {
            all.remove(database);
        }
        drop(all);
        let families = [&self.ready, &self.moves, &self.no_place, &self.blocked, &self.seconds];
        for member in before.difference(&now) {
            let labels = DatabaseMember { database: database.into(), member: member.clone() };
            for family in families {
                family.remove(&labels);
            }
        }
        for of in readiness {
            let labels = DatabaseMember { database: database.into(), member: of.member.clone() };
            let ready = u32::from(of.grade == Grade::Ready);
            let values = [ready, of.would_move, of.would_not_fit, of.blocked, of.seconds];
            for (family, value) in families.iter().zip(values) {
                family.get_or_create(&labels).set(value.into());
            }
        }
    }
}

#[cfg(test)]
mod tests;
