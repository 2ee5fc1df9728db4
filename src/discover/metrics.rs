//! What discovery counts. Labels are bounded by configuration: databases, their members, and the words below.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::witness::WitnessStanding;
use crate::{
    core::primary::{Answer, Claim, Primary, PrimaryState, PrimaryView},
    credentials::SecretState,
};

type GaugeU64 = Gauge<u64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Database {
    database: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Poll {
    database: String,
    member: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct List {
    database: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    database: String,
    state: &'static str,
}

const OUTCOMES: [&str; 3] = ["primary", "other", "unreachable"];
const LIST_OUTCOMES: [&str; 2] = ["ok", "failed"];

/// The metrics of every database's discovery. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    polls: Family<Poll, Counter>,
    lists: Family<List, Counter>,
    durations: Family<Database, Histogram, fn() -> Histogram>,
    states: Family<State, Gauge>,
    frozen: Family<Database, Gauge>,
    stale: Family<Database, Gauge>,
    epochs: Family<Database, GaugeU64>,
    timelines: Family<Database, GaugeU64>,
    credentials_failing: Family<Database, Gauge>,
    credentials_expiry: Family<Database, Gauge>,
    witness_seen: Family<Database, Gauge>,
}

fn duration_histogram() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])
}

impl Metrics {
    /// Registers the families. Once per registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            polls: Family::default(),
            lists: Family::default(),
            durations: Family::new_with_constructor(duration_histogram),
            states: Family::default(),
            frozen: Family::default(),
            stale: Family::default(),
            epochs: Family::default(),
            timelines: Family::default(),
            credentials_failing: Family::default(),
            credentials_expiry: Family::default(),
            witness_seen: Family::default(),
        };
        registry.register(
            "discovery_polls",
            "Looks at one member, by what came of it: it holds the leader lock (primary), it doesn't (other), no answer (unreachable)",
            metrics.polls.clone(),
        );
        registry.register(
            "discovery_member_lists",
            "Looks at the list of members, by what came of it",
            metrics.lists.clone(),
        );
        registry.register_with_unit(
            "discovery_poll_duration",
            "Time that one look at a member took",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "primary_state",
            "1 for what is believed of the database's primary now, 0 for every other state",
            metrics.states.clone(),
        );
        registry.register(
            "primary_frozen",
            "Number of reasons for which nothing may be moved, as far as the database goes",
            metrics.frozen.clone(),
        );
        registry.register(
            "primary_stale_members",
            "Number of members that act as primary, or may, and are not believed",
            metrics.stale.clone(),
        );
        registry.register(
            "primary_epoch",
            "Number of confirmed changes of the database's primary",
            metrics.epochs.clone(),
        );
        registry.register(
            "primary_timeline",
            "PostgreSQL timeline of the last confirmed primary",
            metrics.timelines.clone(),
        );
        registry.register(
            "credentials_failing",
            "1 while the Secrets with the credentials for a database can't be used as they are; what was good before is in use",
            metrics.credentials_failing.clone(),
        );
        registry.register_with_unit(
            "credentials_expiry_timestamp",
            "When the client certificate expires that a database's members are shown",
            Unit::Seconds,
            metrics.credentials_expiry.clone(),
        );
        registry.register(
            "witness_seen",
            "1 while the witness of a database tells what it sees, 0 while it can't be heard",
            metrics.witness_seen.clone(),
        );
        metrics
    }

    pub(super) fn asked(&self, database: &str, member: &str, answer: &Answer, took: Duration) {
        let outcome = match answer {
            Answer::Http { status: 200, .. } | Answer::Nameless { status: 200, .. } => OUTCOMES[0],
            Answer::Seen(sight) if matches!(sight.claim, Claim::Primary { .. }) => OUTCOMES[0],
            Answer::Http { .. } | Answer::Nameless { .. } | Answer::Seen(_) => OUTCOMES[1],
            Answer::Unreachable { .. } | Answer::Pending => OUTCOMES[2],
        };
        let label = Poll { database: database.to_owned(), member: member.to_owned(), outcome };
        self.polls.get_or_create(&label).inc();
        self.durations.get_or_create(&Database { database: database.to_owned() }).observe(took.as_secs_f64());
    }

    pub(super) fn listed(&self, database: &str, ok: bool) {
        let outcome = LIST_OUTCOMES[usize::from(!ok)];
        self.lists.get_or_create(&List { database: database.to_owned(), outcome }).inc();
    }

    pub(super) fn view(&self, database: &str, view: &PrimaryView) {
        for &state in PrimaryState::NAMES {
            let value = i64::from(view.state.name() == state);
            self.states.get_or_create(&State { database: database.to_owned(), state }).set(value);
        }
        let database = Database { database: database.to_owned() };
        self.frozen.get_or_create(&database).set(i64::try_from(view.frozen.len()).unwrap_or(i64::MAX));
        self.stale.get_or_create(&database).set(i64::try_from(view.stale.len()).unwrap_or(i64::MAX));
        self.epochs.get_or_create(&database).inner().store(view.epoch, Ordering::Relaxed);
        if let Some(timeline) = view.last.as_ref().and_then(Primary::timeline_if_any) {
            self.timelines.get_or_create(&database).inner().store(timeline, Ordering::Relaxed);
        }
    }

    /// Nothing is written of a database without Secrets, nor of one without a client certificate.
    pub(super) fn credentials(&self, database: &str, standing: Option<&SecretState>, expires: Option<Timestamp>) {
        let database = Database { database: database.to_owned() };
        if let Some(standing) = standing {
            let failing = !matches!(standing, SecretState::Current { .. });
            self.credentials_failing.get_or_create(&database).set(i64::from(failing));
        }
        match expires {
            Some(at) => drop(self.credentials_expiry.get_or_create(&database).set(at.as_second())),
            None => drop(self.credentials_expiry.remove(&database)),
        }
    }

    /// Nothing is written of a database without a witness.
    pub(super) fn witness(&self, database: &str, standing: Option<&WitnessStanding>) {
        if let Some(standing) = standing {
            let database = Database { database: database.to_owned() };
            self.witness_seen.get_or_create(&database).set(i64::from(standing.seen));
        }
    }

    /// Takes a member that there isn't any more out of the exposition.
    pub(super) fn forget_member(&self, database: &str, member: &str) {
        for outcome in OUTCOMES {
            self.polls.remove(&Poll { database: database.to_owned(), member: member.to_owned(), outcome });
        }
    }

    /// Takes a database that is no longer followed out of the exposition, without its members.
    pub(super) fn forget(&self, database: &str) {
        for outcome in LIST_OUTCOMES {
            self.lists.remove(&List { database: database.to_owned(), outcome });
        }
        for &state in PrimaryState::NAMES {
            self.states.remove(&State { database: database.to_owned(), state });
        }
        let database = Database { database: database.to_owned() };
        self.durations.remove(&database);
        self.frozen.remove(&database);
        self.stale.remove(&database);
        self.epochs.remove(&database);
        self.timelines.remove(&database);
        self.credentials_failing.remove(&database);
        self.credentials_expiry.remove(&database);
        self.witness_seen.remove(&database);
    }
}
