//! Asks Patroni's REST API.
//!
//! Every member is asked for `/primary` at the database's [`Pace`]; each has one request in flight at most. So is the witness, if
//! there is one; nothing waits for it. `/cluster` makes the member read its store, which may hang: it is asked rarely, only
//! to find the members, and of members that take turns.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::mpsc;

use super::{
    Member, PatroniConfig, PersonsDecision, TICK,
    http::{MemberClient, PatroniError},
    pace::{CALM, FAST_PAUSE, Pace, Pauses},
    patroni::{self, ClusterBody},
    publish::{Observed, Publisher},
    roster::Roster,
    witness::{Questioner, Told, WitnessReport},
};
use crate::core::{announcement::Heard, backoff::Pause, primary::Answer};

/// Pause between two looks at the list of members.
const LIST_PAUSE: Duration = Duration::from_secs(30);
/// After a change of primary the list is looked at again: roles lag by a second.
const LIST_AFTER_CHANGE: Duration = Duration::from_secs(2);
/// A member that is on no list asks for a look at the list, but not more often than this.
const LIST_FOR_UNLISTED: Duration = Duration::from_secs(10);
/// After a list could not be had.
const LIST_RETRY: Pause = Pause { first: Duration::from_millis(500), longest: LIST_PAUSE };
/// Giving up early would leave the member's request running and fill its five threads.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// When the list of members is looked at, and of whom.
#[derive(Debug)]
struct ListSchedule {
    next: Instant,
    failures: u32,
    /// Number of lists asked for, so that the members take turns.
    asked: usize,
    in_flight: bool,
    /// When the last list came.
    last: Option<Instant>,
}

enum Done {
    Asked { url: String, answer: Answer, took: Duration },
    Listed { url: String, list: Result<ClusterBody, PatroniError> },
    Witnessed(Told),
}

pub(super) struct Task {
    config: PatroniConfig,
    roster: Roster,
    publisher: Publisher,
    list: ListSchedule,
    pace: Pace,
    in_flight: FuturesUnordered<BoxFuture<'static, Done>>,
    way: MemberClient,
    witness: Option<Questioner>,
    /// As the last list had it.
    announced: Heard,
    /// When the last look was judged.
    published: Instant,
}

impl Task {
    /// Goes on from the members that were known.
    pub(super) fn new(config: PatroniConfig, members: Vec<Member>, publisher: Publisher, now: Instant) -> Self {
        let seeds: BTreeSet<String> = config.urls.iter().filter_map(|url| patroni::base_url(url)).collect();
        let way = MemberClient::new(
            config.access.clone(),
            seeds.iter().any(|url| url.starts_with("https:")),
            config.hosts.clone(),
        );
        let witness = config.witness.clone().map(|address| Questioner::new(address, config.timeout));
        let mut task = Self {
            list: ListSchedule { next: now, failures: 0, asked: 0, in_flight: false, last: None },
            pace: Pace::new(config.interval, now),
            in_flight: FuturesUnordered::new(),
            roster: Roster::new(seeds, members, config.hosts.clone(), now),
            config,
            publisher,
            way,
            witness,
            announced: Heard::Nothing,
            published: now,
        };
        task.publish(now);
        task
    }

    pub(super) async fn run(mut self, mut spoken: mpsc::Receiver<PersonsDecision>) {
        loop {
            let now = Instant::now();
            let pauses = self.pauses(now);
            self.ask_members(&pauses, now);
            self.ask_for_the_list(now);
            self.ask_the_witness(&pauses, now);
            let witness = self.witness.as_ref().and_then(|witness| witness.next(pauses.each));
            let asks = self.roster.next_due(&pauses, now, self.config.max_age()).into_iter().chain(witness);
            let next = asks.chain([self.published + TICK]).min().unwrap_or(now);
            let next = if self.list.in_flight { next } else { next.min(self.list.next) };
            // Never spin, whatever a schedule says.
            let next = next.max(now + Duration::from_millis(10));
            let news = tokio::select! {
                Some(done) = self.in_flight.next(), if !self.in_flight.is_empty() => self.take(done, Instant::now()),
                Some(word) = spoken.recv() => {
                    self.publisher.heed(word);
                    true
                }
                () = self.way.changed() => true,
                () = changed(&mut self.witness) => true,
                () = tokio::time::sleep_until(next.into()) => false,
            };
            // Most answers say what the one before them said. That they are newer is judged once in a while, for all of them.
            let now = Instant::now();
            if news || self.publisher.primary().is_none() || now >= self.published + TICK {
                self.publish(now);
            }
        }
    }

    /// Followers are asked anew before their answers are too old to count.
    fn pauses(&self, now: Instant) -> Pauses {
        let each = self.pace.pause(self.publisher.primary().is_some(), now);
        let longer = self.config.max_age().saturating_sub(self.config.timeout).max(each);
        Pauses { each, followers: self.publisher.calm(CALM, now).map(|primary| (primary, longer)) }
    }

    fn ask_members(&mut self, pauses: &Pauses, now: Instant) {
        let Some(http) = self.way.http() else { return };
        for url in self.roster.due(pauses, now, self.config.max_age()) {
            self.roster.asked(&url, now);
            let (http, timeout) = (http.clone(), self.config.timeout);
            let ask = async move {
                let started = Instant::now();
                let answer = match http {
                    Ok(http) => patroni::ask(&http, &url, timeout).await,
                    Err(error) => Answer::Unreachable { error },
                };
                Done::Asked { url, answer, took: started.elapsed() }
            };
            self.in_flight.push(ask.boxed());
        }
    }

    fn ask_the_witness(&mut self, pauses: &Pauses, now: Instant) {
        if let Some(question) = self.witness.as_mut().and_then(|witness| witness.ask(pauses.each, now)) {
            self.in_flight.push(question.map(Done::Witnessed).boxed());
        }
    }

    /// Only of a member that answered the cheap question, so that a hung one isn't burdened.
    fn ask_for_the_list(&mut self, now: Instant) {
        if self.list.in_flight || now < self.list.next {
            return;
        }
        let answering = self.roster.answering();
        let Some(Ok(http)) = self.way.http().filter(|_| !answering.is_empty()) else {
            self.list.next = now + FAST_PAUSE;
            return;
        };
        let url = answering[self.list.asked % answering.len()].clone();
        self.list.asked += 1;
        self.list.in_flight = true;
        self.roster.asks_for_list(now);
        let http = http.clone();
        let ask = async move {
            let list = patroni::cluster(&http, &url, LIST_TIMEOUT).await;
            Done::Listed { url, list }
        };
        self.in_flight.push(ask.boxed());
    }

    /// Says whether there is something new in it.
    fn take(&mut self, done: Done, now: Instant) -> bool {
        match done {
            Done::Asked { url, answer, took } => {
                let news = !self.roster.repeats(&url, &answer);
                let known = self.roster.name_of(&url);
                self.publisher.count(known, &answer, took);
                let wants_list = self.roster.answered(&url, answer, now);
                if wants_list && self.list.last.is_some_and(|last| now >= last + LIST_FOR_UNLISTED) {
                    self.list.next = self.list.next.min(now);
                }
                return news;
            }
            Done::Witnessed(told) => {
                let max_age = self.config.max_age();
                if let Some(witness) = &mut self.witness {
                    witness.take(told, max_age, now);
                }
            }
            Done::Listed { url, list } => {
                self.list.in_flight = false;
                self.publisher.count_list(list.as_ref().is_ok_and(|list| !list.members.is_empty()));
                match list {
                    // For a moment after a recovery of the store the list is empty: that's no list.
                    Ok(list) if !list.members.is_empty() => {
                        self.list.failures = 0;
                        self.list.last = Some(now);
                        self.list.next = now + LIST_PAUSE;
                        self.announced.clone_from(&list.announced);
                        self.roster.listed(list, self.publisher.primary().as_deref(), now);
                    }
                    failed => {
                        if self.list.failures == 0 {
                            let error = failed.err().map_or_else(|| "the list is empty".to_owned(), |e| e.to_string());
                            tracing::info!(
                                database = self.publisher.database,
                                url,
                                error,
                                "the list of members can't be had; keeping the last one and asking another member"
                            );
                        }
                        self.list.failures = self.list.failures.saturating_add(1);
                        self.list.next = now + LIST_RETRY.nth(self.list.failures);
                    }
                }
            }
        }
        true
    }

    fn publish(&mut self, now: Instant) {
        self.published = now;
        let news = self.publisher.publish(
            Observed {
                complete: self.roster.all_heard(),
                observations: self.roster.observations(),
                hosts: self.roster.hosts(),
                members: self.roster.members(),
                aliases: self.roster.aliases(now),
                credentials: self.way.standing(),
                expires: self.way.expires(),
                refused: self.roster.refused(),
                announced: self.announced.clone(),
                testimony: self.witness.as_ref().map_or_else(WitnessReport::default, |it| it.testimony().clone()),
            },
            now,
        );
        if news.lost {
            self.pace.lost(now);
        }
        if news.changed {
            self.list.next = self.list.next.min(now + LIST_AFTER_CHANGE);
        }
    }
}

async fn changed(witness: &mut Option<Questioner>) {
    match witness {
        Some(witness) => witness.changed().await,
        None => std::future::pending().await,
    }
}
