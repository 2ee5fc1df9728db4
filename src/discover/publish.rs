//! What every source has in common: answers → what is believed → whoever listens, the log and the metrics.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio::sync::watch;
use tracing::Level;

use super::{DiscoveryState, Member, Metrics, PersonsDecision, cut, described, witness::WitnessReport};
use crate::{
    core::{
        announcement::Heard,
        primary::{Alias, Answer, Belief, Observation, PrimaryTracker, PrimaryView},
        words::printable,
    },
    credentials::SecretState,
};

/// Longest reason for which there is no answer, in bytes. It may be a server's own words.
const LONGEST_ERROR: usize = 1000;

/// Everything that a source knows at one moment.
#[derive(Debug)]
pub(super) struct Observed {
    /// Whether everybody who is known has been asked and has answered, or failed to.
    pub complete: bool,
    /// The latest answer of every member, by name, or by address while the name isn't known.
    pub observations: BTreeMap<String, Observation>,
    /// Where each of these answers came from, as far as it is known: one host speaks for one member.
    pub hosts: BTreeMap<String, String>,
    /// In the order of their names.
    pub members: Vec<Member>,
    /// Addresses in place of which a member's name stands from now on.
    pub aliases: BTreeMap<String, Alias>,
    /// How the Secrets with credentials stand, if there are any.
    pub credentials: Option<SecretState>,
    /// When the client certificate expires that is in use.
    pub expires: Option<Timestamp>,
    /// What another site sees.
    pub testimony: WitnessReport,
    /// Addresses that members state and that are left out, in sentences.
    pub refused: Vec<String>,
    /// The switchover to come, if one is announced.
    pub announced: Heard,
}

/// What a look changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    /// A primary was known and none is now.
    pub lost: bool,
    /// Another member was confirmed.
    pub changed: bool,
    /// What is believed was logged, so loudly.
    pub logged: Option<Level>,
}

/// Tells what is believed of one database. Its metrics go with it.
#[derive(Debug)]
pub(super) struct Publisher {
    pub database: String,
    tracker: PrimaryTracker,
    /// As it was last logged; at first what was restored.
    told: PrimaryView,
    metrics: Metrics,
    sender: watch::Sender<DiscoveryState>,
    heard: watch::Sender<BTreeMap<String, Observation>>,
    /// Members that metrics were written for.
    counted: BTreeSet<String>,
}

impl Publisher {
    /// Goes on from what was believed. Answers older than `max_age` count as none. The source's first look follows.
    pub(super) fn new(
        database: String,
        belief: Belief,
        max_age: Duration,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<DiscoveryState>, watch::Receiver<BTreeMap<String, Observation>>) {
        let mut tracker = PrimaryTracker::new(belief, max_age);
        let view = tracker.observe(&BTreeMap::new(), Instant::now());
        let first = DiscoveryState {
            looked: false,
            view: view.clone(),
            members: Vec::new(),
            answers: Vec::new(),
            credentials: None,
            witness: None,
            refused: Vec::new(),
            announced: Heard::Nothing,
        };
        let (sender, state) = watch::channel(first);
        let (heard, observations) = watch::channel(BTreeMap::new());
        (Self { database, tracker, told: view, metrics, sender, heard, counted: BTreeSet::new() }, state, observations)
    }

    /// Name of the primary, if it is known now.
    pub(super) fn primary(&self) -> Option<String> {
        self.sender.borrow().view.known().map(|primary| primary.name.clone())
    }

    /// Name of the primary that has held for `at_least`, with nothing against moving pods to it.
    pub(super) fn calm(&self, at_least: Duration, now: Instant) -> Option<String> {
        let view = &self.sender.borrow().view;
        view.known().filter(|_| view.calm_for(now) >= at_least).map(|primary| primary.name.clone())
    }

    /// Hears what a person says of the primary.
    pub(super) fn heed(&mut self, word: PersonsDecision) {
        match word {
            PersonsDecision::Accept { member, epoch } => self.tracker.accept(member, epoch),
            PersonsDecision::Withdraw => self.tracker.withdraw(),
        }
    }

    /// Counts one look at one member.
    pub(super) fn count(&mut self, member: String, answer: &Answer, took: Duration) {
        self.metrics.asked(&self.database, &member, answer, took);
        self.counted.insert(member);
    }

    /// Counts one look at the list of members.
    pub(super) fn count_list(&self, ok: bool) {
        self.metrics.listed(&self.database, ok);
    }

    /// Judges a look and tells what is believed, if that has changed.
    pub(super) fn publish(&mut self, mut look: Observed, now: Instant) -> News {
        for seen in look.observations.values_mut() {
            let words = match &mut seen.answer {
                Answer::Unreachable { error } => error,
                Answer::Seen(sight) => &mut sight.because,
                _ => continue,
            };
            cut(words, LONGEST_ERROR);
            // It may be a server's own words, and goes to terminals and logs.
            if let Cow::Owned(shown) = printable(words) {
                *words = shown;
            }
        }
        let WitnessReport { sightings, standing: mut witness } = look.testimony;
        if let Some(standing) = &mut witness {
            standing.why = printable(&standing.why).into_owned();
        }
        self.tracker.rename(&look.aliases);
        self.tracker.heard_from(look.hosts);
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
        let (refused, announced) = (look.refused, look.announced);
        let state = DiscoveryState { looked, view, members, answers, credentials, witness, refused, announced };
        self.tell_of_witness(&state);
        self.tell_of_refused(&state);
        let logged = self.tell(&state);
        let news = {
            let before = &self.sender.borrow().view;
            let lost = before.known().is_some() && state.view.known().is_none();
            News { lost, changed: before.epoch != state.view.epoch, logged }
        };
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

    /// Logs what is believed, once for each change: the first time when everybody was asked.
    fn tell(&mut self, state: &DiscoveryState) -> Option<Level> {
        let view = &state.view;
        let first = !self.sender.borrow().looked;
        if !state.looked || !(first || view.is_news_after(&self.told)) {
            return None;
        }
        let database = &self.database;
        let (name, epoch, why) = (view.state.name(), view.epoch, &view.why);
        let frozen = (!view.frozen.is_empty()).then(|| view.why_frozen());
        let primary = view.last.as_ref().map(|primary| &*primary.name);
        let from = self.told.last.as_ref().filter(|_| self.told.epoch != epoch).map(|primary| &*primary.name);
        let what = if self.told.epoch == epoch { "what is believed of the primary" } else { "the primary has changed" };
        let worries = view.worries_after(&self.told);
        if worries {
            tracing::warn!(database, state = name, from, primary, epoch, frozen, why, "{what}");
        } else {
            tracing::info!(database, state = name, from, primary, epoch, frozen, why, "{what}");
        }
        self.told = view.clone();
        Some(if worries { Level::WARN } else { Level::INFO })
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

impl Publisher {
    /// Logs once of each address that is left out.
    fn tell_of_refused(&self, state: &DiscoveryState) {
        let before = &self.sender.borrow().refused;
        for why in state.refused.iter().filter(|why| !before.contains(why)) {
            tracing::warn!(database = self.database, "{why}");
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
    use crate::{core::primary::MemberBody, metrics};

    /// Of members alone: nobody else says anything.
    fn look(complete: bool, observations: BTreeMap<String, Observation>) -> Observed {
        Observed {
            complete,
            observations,
            hosts: BTreeMap::new(),
            members: Vec::new(),
            aliases: BTreeMap::new(),
            credentials: None,
            expires: None,
            testimony: WitnessReport::default(),
            refused: Vec::new(),
            announced: Heard::Nothing,
        }
    }

    #[test]
    fn each_change_is_logged_once_and_what_worries_as_a_warning() {
        let belief = Belief { primary: Some("pg1".into()), timeline: Some(2), epoch: 1, ..Belief::default() };
        let metrics = Metrics::register(&mut metrics::registry());
        let (mut publisher, ..) = Publisher::new("orders".to_owned(), belief, Duration::from_secs(5), metrics);
        let now = Instant::now();
        let says = |primary: bool, timeline, pause| {
            let role = if primary { "primary" } else { "replica" }.to_owned();
            let state = "running".to_owned();
            let body = MemberBody { state, role, timeline: Some(timeline), pause, ..MemberBody::default() };
            Answer::Http { status: if primary { 200 } else { 503 }, body }
        };
        let first = |pause_1, pause_2| [says(true, 2, pause_1), says(false, 2, pause_2)];
        for (what, complete, answers, expected) in [
            ("not everybody was asked", false, first(false, false), None),
            ("as it was restored", true, first(false, false), Some(Level::INFO)),
            ("the same again", true, first(false, false), None),
            ("a pause", true, first(true, false), Some(Level::WARN)),
            ("of which another member hears", true, first(true, true), None),
            ("its end", true, first(false, false), Some(Level::INFO)),
            ("lost", true, [says(false, 2, false), says(false, 2, false)], Some(Level::WARN)),
            ("another one", true, [says(false, 3, false), says(true, 3, false)], Some(Level::INFO)),
            ("two", true, [says(true, 3, false), says(true, 3, false)], Some(Level::WARN)),
        ] {
            let observation = |(name, answer): (&str, Answer)| (name.to_owned(), Observation { answer, at: now });
            let observations = ["pg1", "pg2"].into_iter().zip(answers).map(observation).collect();
            assert_eq!(publisher.publish(look(complete, observations), now).logged, expected, "{what}");
        }
    }

    #[test]
    fn members_that_there_are_no_more_are_no_longer_counted_and_long_words_are_cut() {
        let mut registry = metrics::registry();
        let max_age = Duration::from_secs(5);
        let (mut publisher, _state, heard) =
            Publisher::new("orders".to_owned(), Belief::default(), max_age, Metrics::register(&mut registry));
        let now = Instant::now();
        for names in [["pg1", "guest1"], ["pg1", "guest2"], ["pg1", "guest3"]] {
            let silent = || Answer::Unreachable { error: format!("a\nb{}", "ü".repeat(5_000)) };
            for name in names {
                publisher.count(name.to_owned(), &silent(), Duration::ZERO);
            }
            let observations = names.map(|name| (name.to_owned(), Observation { answer: silent(), at: now })).into();
            publisher.publish(look(true, observations), now);
        }
        let (told, cut) = (heard.borrow()["pg1"].answer.clone(), format!("a\\nb{}…", "ü".repeat(497)));
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
