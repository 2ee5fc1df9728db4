//! Asks who is primary: one task per database, which keeps a [`DiscoveryState`] current.
//!
//! A [`Source`] says whom it asks: Patroni's REST API ([`rest`]), the objects of an operator in Kubernetes ([`operator`])
//! or the database itself ([`sql`]). Each turns what it learns into one answer per member; what is believed of them, and how it is told, is
//! the same for all.

mod announced;
pub mod http;
pub(crate) mod lookups;
mod metrics;
mod operator;
pub(crate) mod pace;
pub mod patroni;
mod publish;
pub mod recording;
mod rest;
pub(crate) mod roster;
mod source;
pub mod sql;
pub mod witness;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, watch};

pub use self::{
    metrics::Metrics,
    source::{host_rules, hosts},
};
use self::{
    publish::Publisher,
    sql::SqlConfig,
    witness::{WitnessAddress, WitnessStanding},
};
use crate::{
    api::discovery::OperatorDiscovery,
    core::{
        announcement::Heard,
        hosts::HostRules,
        primary::{Answer, Belief, Observation, PrimaryView},
    },
    credentials::{Access, SecretState},
};

/// A task looks at the answers' age at least this often.
const TICK: Duration = Duration::from_secs(1);

/// One member of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Database host, as the member states it.
    pub host: String,
    /// Database port.
    pub port: u16,
    /// Base URL of its REST API, without a path, if it is asked there.
    pub api_url: Option<String>,
}

/// Whom to ask.
#[derive(Clone)]
pub enum Source {
    /// Every member's Patroni.
    Patroni(PatroniConfig),
    /// Kubernetes, where an operator writes who is primary.
    Operator(OperatorDiscovery, kube::Client),
    /// Every member's database.
    Sql(SqlConfig),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Patroni(config) => f.debug_tuple("Patroni").field(config).finish(),
            Self::Operator(spec, _) => f.debug_tuple("Operator").field(spec).finish_non_exhaustive(),
            Self::Sql(config) => f.debug_tuple("Sql").field(config).finish(),
        }
    }
}

/// How to ask Patroni.
#[derive(Debug, Clone)]
pub struct PatroniConfig {
    /// Base URLs to start from.
    pub urls: Vec<String>,
    /// Which hosts are asked, and measured, of those that members state.
    pub hosts: Arc<HostRules>,
    /// What to show and whom to believe.
    pub access: Access,
    /// Time allowed for one answer.
    pub timeout: Duration,
    /// Pause between two looks at one member.
    pub interval: Duration,
    /// Another site's view of the members.
    pub witness: Option<WitnessAddress>,
}

impl PatroniConfig {
    /// An answer that is older than this counts as none.
    fn max_age(&self) -> Duration {
        max_age(self.interval, self.timeout)
    }
}

/// An answer that is older than this counts as none, where one is asked for in each `interval`.
fn max_age(interval: Duration, timeout: Duration) -> Duration {
    (interval * 2 + timeout).max(Duration::from_secs(5))
}

/// What was known before a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    pub belief: Belief,
    /// Asked from the start, so that a primary is found although the seeds may be down.
    pub members: Vec<Member>,
}

/// What one member said last, for status and people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberAnswer {
    /// Its name, or its URL while the name isn't known.
    pub name: String,
    /// HTTP status.
    pub status: Option<u16>,
    pub state: Option<String>,
    pub role: Option<String>,
    pub timeline: Option<u64>,
    /// Why there is no answer.
    pub error: Option<String>,
}

/// What is known of one database now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryState {
    /// Whether everybody who is known has been asked and has answered, or failed to. Before that `view` only repeats
    /// what was restored.
    pub looked: bool,
    pub view: PrimaryView,
    /// In the order of their names. Empty until a list was had or restored.
    pub members: Vec<Member>,
    pub answers: Vec<MemberAnswer>,
    /// How the Secrets with credentials stand, if there are any.
    pub credentials: Option<SecretState>,
    /// How the witness stands, if there is one and it was asked.
    pub witness: Option<WitnessStanding>,
    /// Addresses that members state and that are neither asked nor measured, in sentences.
    pub refused: Vec<String>,
    /// The switchover to come, if one is announced.
    pub announced: Heard,
}

/// What a person says of the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
enum PersonsDecision {
    Accept { member: String, epoch: u64 },
    Withdraw,
}

/// The task that follows one database. It ends when this is dropped.
#[derive(Debug)]
pub struct Discovery {
    pub state: watch::Receiver<DiscoveryState>,
    /// The latest answer of every member, by name, or by address while the name isn't known.
    pub heard: watch::Receiver<BTreeMap<String, Observation>>,
    words: mpsc::Sender<PersonsDecision>,
    task: tokio::task::JoinHandle<()>,
}

impl Discovery {
    /// Passes on a person's word of `epoch` that `member` is the primary. See [`PrimaryTracker::accept`](crate::core::primary::PrimaryTracker::accept). False: an
    /// earlier word wasn't heard yet.
    pub fn accept(&self, member: String, epoch: u64) -> bool {
        self.words.try_send(PersonsDecision::Accept { member, epoch }).is_ok()
    }

    /// The person takes it back. False: as above.
    pub fn withdraw(&self) -> bool {
        self.words.try_send(PersonsDecision::Withdraw).is_ok()
    }

    /// Whether somebody still keeps `state` current. The task ends by itself only by a panic, its own or a watch's.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.state.has_changed().is_ok()
    }
}

/// Whether pods may be moved for the primary of `epoch`, as far as it is still known. What a task left behind that has
/// ended says nothing of who is primary now.
#[must_use]
pub fn movement_allowed(state: &watch::Receiver<DiscoveryState>, epoch: u64) -> bool {
    let found = state.borrow();
    state.has_changed().is_ok() && found.view.epoch == epoch && found.view.movement_allowed()
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts to follow `database`, going on from what was `restored`. Needs a Tokio runtime. URLs that aren't http or
/// https are left out; the schema of DatabaseCluster refuses them.
#[must_use]
pub fn spawn(database: String, source: Source, restored: Restored, metrics: Metrics) -> Discovery {
    let now = Instant::now();
    let Restored { belief, members } = restored;
    let (words, spoken) = mpsc::channel(1);
    let (state, heard, task) = match source {
        Source::Patroni(config) => {
            let (publisher, state, heard) = Publisher::new(database, belief, config.max_age(), metrics);
            (state, heard, tokio::spawn(rest::Task::new(config, members, publisher, now).run(spoken)))
        }
        Source::Operator(config, client) => {
            let (publisher, state, heard) = Publisher::new(database, belief, operator::MAX_AGE, metrics);
            (state, heard, tokio::spawn(operator::Task::new(config, client, members, publisher, now).run(spoken)))
        }
        Source::Sql(config) => {
            let (publisher, state, heard) = Publisher::new(database, belief, config.max_age(), metrics);
            (state, heard, tokio::spawn(sql::Task::new(config, publisher, now).run(spoken)))
        }
    };
    Discovery { state, heard, words, task }
}

/// Cuts what somebody else says to at most `most` bytes.
fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        let fits = (0..=most.saturating_sub("…".len())).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(fits.unwrap_or_default());
        text.push('…');
    }
}

/// What one member's latest answer says, for people.
fn described(name: String, answer: Answer) -> MemberAnswer {
    match answer {
        Answer::Http { status, body } | Answer::Nameless { status, body, .. } => MemberAnswer {
            name,
            status: Some(status),
            state: Some(body.state),
            role: Some(body.role),
            timeline: body.timeline,
            error: None,
        },
        Answer::Seen(sight) => MemberAnswer {
            name,
            role: Some(sight.claim.name().to_owned()),
            timeline: sight.claim.timeline(),
            ..MemberAnswer::default()
        },
        Answer::Pending => MemberAnswer { name, error: Some("no answer yet".to_owned()), ..MemberAnswer::default() },
        Answer::Unreachable { error } => MemberAnswer { name, error: Some(error), ..MemberAnswer::default() },
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
