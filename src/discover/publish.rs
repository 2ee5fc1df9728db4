//! What every source has in common: answers → what is believed → whoever listens, the log and the metrics.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{DiscoveryState, Member, Metrics, Word, cut, described, witness::Testimony};
use crate::{
    core::primary::{Answer, Belief, Observation, PrimaryTracker, PrimaryView},
    credentials::Standing,
};

/// Longest reason for which there is no answer, in bytes. It may be a server's own words.
const LONGEST_ERROR: usize = 1000;

/// Everything that a source knows at one moment.
#[derive(Debug)]
pub(super) struct Look {
    /// Whether everybody who is known has been asked and has answered, or failed to.
    pub complete: bool,
    /// The latest answer of every member, by name, or by address while the name isn't known.
    pub observations: BTreeMap<String, Observation>,
    /// In the order of their names.
    pub members: Vec<Member>,
    /// How the Secrets with credentials stand, if there are any.
    pub credentials: Option<Standing>,
    /// When the client certificate expires that is in use.
    pub expires: Option<Timestamp>,
    /// What another site sees.
    pub testimony: Testimony,
}

/// What a look changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    /// A primary was known and none is now.
    pub lost: bool,
    /// Another member was confirmed.
    pub changed: bool,
}

/// Tells what is believed of one database. Its metrics go with it.
#[derive(Debug)]
pub(super) struct Publisher {
    pub database: String,
    tracker: PrimaryTracker,
    metrics: Metrics,
    sender: watch::Sender<DiscoveryState>,
    heard: watch::Sender<BTreeMap<String, Observation>>,
    /// Members that metrics were written for.
    counted: BTreeSet<String>,
}

impl Publisher {
    /// Goes on from what was believed. Answers older than `max_age` count as none. The source's first look follows.
    pub fn new(
        database: String,
        belief: Belief,
        max_age: Duration,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<DiscoveryState>, watch::Receiver<BTreeMap<String, Observation>>) {
        let mut tracker = PrimaryTracker::new(belief, max_age);
        let view = tracker.observe(&BTreeMap::new(), Instant::now());
        let first = DiscoveryState {
            looked: false,
            view,
            members: Vec::new(),
            answers: Vec::new(),
            credentials: None,
            witness: None,
        };
        let (sender, state) = watch::channel(first);
        let (heard, observations) = watch::channel(BTreeMap::new());
        (Self { database, tracker, metrics, sender, heard, counted: BTreeSet::new() }, state, observations)
    }

    /// Name of the primary, if it is known now.
    pub fn primary(&self) -> Option<String> {
        self.sender.borrow().view.known().map(|primary| primary.name.clone())
    }

    /// Hears what a person says of the primary.
    pub fn heed(&mut self, word: Word) {
        match word {
            Word::Accept { member, epoch } => self.tracker.accept(member, epoch),
            Word::Withdraw => self.tracker.withdraw(),
        }
    }

    /// Counts one look at one member.
    pub fn count(&mut self, member: String, answer: &Answer, took: Duration) {
        self.metrics.asked(&self.database, &member, answer, took);
        self.counted.insert(member);
    }

    /// Counts one look at the list of members.
    pub fn count_list(&self, ok: bool) {
        self.metrics.listed(&self.database, ok);
    }

    /// Judges a look and tells what is believed, if that has changed.
    pub fn publish(&mut self, mut look: Look, now: Instant) -> News {
        for seen in look.observations.values_mut() {
            if let Answer::Unreachable { error } = &mut seen.answer {
                cut(error, LONGEST_ERROR);
            }
        }
        let Testimony { sightings, standing: witness } = look.testimony;
        let view = self.tracker.observe_with(&look.observations, &sightings, now);
        let described = |(name, seen): (&String, &Observation)| described(name.clone(), seen.answer.clone());
        let answers = look.observations.iter().map(described).collect();
        self.counted.retain(|member| {
            // Whoever answers may call itself by a new name each time.
            let known = look.observations.contains_key(member);
            if !known {
                self.metrics.forget_member(&self.database, member);
            }
            known
        });
        self.heard.send_replace(look.observations);
        let looked = self.sender.borrow().looked || look.complete;
        let (members, credentials) = (look.members, look.credentials);
        let state = DiscoveryState { looked, view, members, answers, credentials, witness };
        self.tell_of_witness(&state);
        let (news, changed) = {
            let before = &self.sender.borrow().view;
            let news = News {
                lost: before.known().is_some() && state.view.known().is_none(),
                changed: before.epoch != state.view.epoch,
            };
            let told = |view: &PrimaryView| (view.state.clone(), view.frozen.clone(), view.stale.clone());
            (news, told(before) != told(&state.view))
        };
        if changed {
            tracing::info!(
                database = self.database,
                state = state.view.state.name(),
                epoch = state.view.epoch,
                frozen = state.view.why_frozen(),
                "{}",
                state.view.why
            );
        }
        self.metrics.view(&self.database, &state.view);
        self.metrics.credentials(&self.database, state.credentials.as_ref(), look.expires);
        self.metrics.witness(&self.database, state.witness.as_ref());
        self.sender.send_if_modified(|current| {
            let differs = *current != state;
            *current = state;
            differs
        });
        news
    }

    /// Logs when a witness begins or ceases to be heard.
    fn tell_of_witness(&self, state: &DiscoveryState) {
        let before = self.sender.borrow().witness.as_ref().map(|standing| standing.seen);
        match &state.witness {
            Some(standing) if before == Some(standing.seen) => {}
            Some(standing) if standing.seen => tracing::info!(database = self.database, "{}", standing.why),
            Some(standing) => tracing::warn!(database = self.database, "{}", standing.why),
            None => {}
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        for member in &self.counted {
            self.metrics.forget_member(&self.database, member);
        }
        self.metrics.forget(&self.database);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics;

    #[test]
    fn members_that_there_are_no_more_are_no_longer_counted_and_long_words_are_cut() {
        let mut registry = metrics::registry();
        let max_age = Duration::from_secs(5);
        let (mut publisher, _state, heard) =
            Publisher::new("orders".to_owned(), Belief::default(), max_age, Metrics::register(&mut registry));
        let now = Instant::now();
        for names in [["pg1", "guest1"], ["pg1", "guest2"], ["pg1", "guest3"]] {
            let silent = || Answer::Unreachable { error: "ü".repeat(5_000) };
            for name in names {
                publisher.count(name.to_owned(), &silent(), Duration::ZERO);
            }
            let look = Look {
                complete: true,
                observations: names.map(|name| (name.to_owned(), Observation { answer: silent(), at: now })).into(),
                members: Vec::new(),
                credentials: None,
                expires: None,
                testimony: Testimony::default(),
            };
            publisher.publish(look, now);
        }
        let (told, cut) = (heard.borrow()["pg1"].answer.clone(), format!("{}…", "ü".repeat(498)));
        assert_eq!(told, Answer::Unreachable { error: cut }, "whatever a server says");
        let text = metrics::render(&registry);
        let polls: Vec<&str> =
            text.lines().filter(|line| line.starts_with("switchover_discovery_polls_total")).collect();
        let poll = |member: &str, count| {
            format!(
                "switchover_discovery_polls_total{{database=\"orders\",member=\"{member}\",outcome=\"unreachable\"}} {count}"
            )
        };
        assert_eq!(polls.len(), 2, "{polls:?}");
        assert!(polls.contains(&&*poll("pg1", 3)) && polls.contains(&&*poll("guest3", 1)), "{polls:?}");
        drop(publisher);
        assert!(!metrics::render(&registry).contains("orders"));
    }
}
