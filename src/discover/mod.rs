//! Asks the database who is primary: one task per database, which keeps a [`DiscoveryState`] current.
//!
//! Every member is asked for `/primary` once per interval, and five times a second while no primary is known; each has
//! one request in flight at most. `/cluster` makes the member read its store, which may hang: it is asked rarely, only
//! to find the members, and of members that take turns.

pub(crate) mod book;
pub mod http;
mod metrics;
pub mod patroni;
pub mod recording;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::{mpsc, watch};

pub use self::metrics::Metrics;
use self::{
    book::Book,
    http::Way,
    patroni::{ClusterBody, PatroniError},
};
use crate::{
    core::primary::{Answer, Belief, PrimaryTracker, PrimaryView},
    credentials::{Access, Standing},
};

/// Pause between two looks at a member while no primary is known.
const FAST_PAUSE: Duration = Duration::from_millis(200);
/// A database without a primary for this long is not about to get one: look at the ordinary pace again.
const FAST_FOR: Duration = Duration::from_secs(600);
/// Pause between two looks at the list of members.
const LIST_PAUSE: Duration = Duration::from_secs(30);
/// After a change of primary the list is looked at again: roles lag by a second.
const LIST_AFTER_CHANGE: Duration = Duration::from_secs(2);
/// A member that is on no list asks for a look at the list, but not more often than this.
const LIST_FOR_UNLISTED: Duration = Duration::from_secs(10);
/// First pause after a list could not be had; doubles up to [`LIST_PAUSE`].
const LIST_RETRY: Duration = Duration::from_millis(500);
/// Giving up early would leave the member's request running and fill its five threads.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// The task looks at the answers' age at least this often.
const TICK: Duration = Duration::from_secs(1);

/// One member of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// Database host, as the member states it.
    pub host: String,
    /// Database port.
    pub port: u16,
    /// Base URL of its REST API, without a path.
    pub api_url: String,
}

/// How to ask Patroni.
#[derive(Debug, Clone)]
pub struct PatroniConfig {
    /// Base URLs to start from.
    pub urls: Vec<String>,
    /// What to show and whom to believe.
    pub access: Access,
    /// Time allowed for one answer.
    pub timeout: Duration,
    /// Pause between two looks at one member.
    pub interval: Duration,
}

impl PatroniConfig {
    /// An answer that is older than this counts as none.
    fn max_age(&self) -> Duration {
        (self.interval * 2 + self.timeout).max(Duration::from_secs(5))
    }
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
    pub credentials: Option<Standing>,
}

impl DiscoveryState {
    /// The database host of a member.
    #[must_use]
    pub fn host(&self, member: &str) -> Option<&str> {
        self.members.iter().find(|m| m.name == member).map(|m| m.host.as_str())
    }
}

/// What a person says of the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Accept { member: String, epoch: u64 },
    Withdraw,
}

/// The task that follows one database. It ends when this is dropped.
#[derive(Debug)]
pub struct Discovery {
    pub state: watch::Receiver<DiscoveryState>,
    words: mpsc::Sender<Word>,
    task: tokio::task::JoinHandle<()>,
}

impl Discovery {
    /// Passes on a person's word of `epoch` that `member` is the primary. See [`PrimaryTracker::accept`]. False: an
    /// earlier word wasn't heard yet.
    pub fn accept(&self, member: String, epoch: u64) -> bool {
        self.words.try_send(Word::Accept { member, epoch }).is_ok()
    }

    /// The person takes it back. False: as above.
    pub fn withdraw(&self) -> bool {
        self.words.try_send(Word::Withdraw).is_ok()
    }

    /// Whether the task still runs. It ends by itself only by a panic.
    #[must_use]
    pub fn alive(&self) -> bool {
        !self.task.is_finished()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Starts to follow `database`, going on from what was `restored`. Needs a Tokio runtime. URLs that aren't http or
/// https are left out; the schema of DatabaseCluster refuses them.
#[must_use]
pub fn spawn(database: String, config: PatroniConfig, restored: Restored, metrics: Metrics) -> Discovery {
    let now = Instant::now();
    let seeds: BTreeSet<String> = config.urls.iter().filter_map(|url| patroni::base_url(url)).collect();
    let way = Way::new(config.access.clone(), seeds.iter().any(|url| url.starts_with("https:")));
    let book = Book::new(seeds, restored.members, now);
    let mut tracker = PrimaryTracker::new(restored.belief, config.max_age());
    let view = tracker.observe(&book.observations(), now);
    let (members, answers) = (book.members(), book.answers());
    let first = DiscoveryState { looked: false, view, members, answers, credentials: way.standing() };
    let (sender, state) = watch::channel(first);
    let (words, spoken) = mpsc::channel(1);
    let task = Task {
        list: ListSchedule { next: now, failures: 0, asked: 0, in_flight: false, last: None },
        fast_until: now + FAST_FOR,
        in_flight: FuturesUnordered::new(),
        database,
        config,
        book,
        tracker,
        way,
        metrics,
        sender,
        counted: BTreeSet::new(),
    };
    Discovery { state, words, task: tokio::spawn(task.run(spoken)) }
}

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
}

struct Task {
    database: String,
    config: PatroniConfig,
    book: Book,
    tracker: PrimaryTracker,
    list: ListSchedule,
    /// How long the fast pace is worth it.
    fast_until: Instant,
    in_flight: FuturesUnordered<BoxFuture<'static, Done>>,
    way: Way,
    metrics: Metrics,
    sender: watch::Sender<DiscoveryState>,
    /// Members that metrics were written for.
    counted: BTreeSet<String>,
}

impl Task {
    async fn run(mut self, mut spoken: mpsc::Receiver<Word>) {
        loop {
            let now = Instant::now();
            self.ask_members(now);
            self.ask_for_the_list(now);
            let next = self.book.next_due(self.pause(now)).into_iter().chain([now + TICK]).min().unwrap_or(now);
            let next = if self.list.in_flight { next } else { next.min(self.list.next) };
            // Never spin, whatever a schedule says.
            let next = next.max(now + Duration::from_millis(10));
            tokio::select! {
                Some(done) = self.in_flight.next(), if !self.in_flight.is_empty() => self.take(done, Instant::now()),
                Some(word) = spoken.recv() => match word {
                    Word::Accept { member, epoch } => self.tracker.accept(member, epoch),
                    Word::Withdraw => self.tracker.withdraw(),
                },
                () = self.way.changed() => {}
                () = tokio::time::sleep_until(next.into()) => {}
            }
            self.publish(Instant::now());
        }
    }

    fn pause(&self, now: Instant) -> Duration {
        if self.sender.borrow().view.known().is_some() || now > self.fast_until {
            self.config.interval
        } else {
            self.config.interval.min(FAST_PAUSE)
        }
    }

    fn ask_members(&mut self, now: Instant) {
        let Some(http) = self.way.http() else { return };
        for url in self.book.due(self.pause(now), now, self.config.max_age()) {
            self.book.asked(&url, now);
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

    /// Only of a member that answered the cheap question, so that a hung one isn't burdened.
    fn ask_for_the_list(&mut self, now: Instant) {
        if self.list.in_flight || now < self.list.next {
            return;
        }
        let answering = self.book.answering();
        let Some(Ok(http)) = self.way.http().filter(|_| !answering.is_empty()) else {
            self.list.next = now + FAST_PAUSE;
            return;
        };
        let url = answering[self.list.asked % answering.len()].clone();
        self.list.asked += 1;
        self.list.in_flight = true;
        let http = http.clone();
        let ask = async move {
            let list = patroni::cluster(&http, &url, LIST_TIMEOUT).await;
            Done::Listed { url, list }
        };
        self.in_flight.push(ask.boxed());
    }

    fn take(&mut self, done: Done, now: Instant) {
        match done {
            Done::Asked { url, answer, took } => {
                let known = self.book.name_of(&url);
                self.metrics.asked(&self.database, &known, &answer, took);
                self.counted.insert(known);
                let unlisted = self.book.answered(&url, answer, now);
                if unlisted && self.list.last.is_some_and(|last| now >= last + LIST_FOR_UNLISTED) {
                    self.list.next = self.list.next.min(now);
                }
            }
            Done::Listed { url, list } => {
                self.list.in_flight = false;
                self.metrics.listed(&self.database, list.as_ref().is_ok_and(|list| !list.members.is_empty()));
                match list {
                    // For a moment after a recovery of the store the list is empty: that's no list.
                    Ok(list) if !list.members.is_empty() => {
                        self.list.failures = 0;
                        self.list.last = Some(now);
                        self.list.next = now + LIST_PAUSE;
                        let view = &self.sender.borrow().view;
                        self.book.listed(list, view.known().map(|primary| primary.name.as_str()), now);
                    }
                    failed => {
                        if self.list.failures == 0 {
                            let error = failed.err().map_or_else(|| "the list is empty".to_owned(), |e| e.to_string());
                            tracing::info!(
                                database = self.database,
                                url,
                                error,
                                "the list of members can't be had; keeping the last one and asking another member"
                            );
                        }
                        let pause = LIST_RETRY * 2u32.saturating_pow(self.list.failures.min(10));
                        self.list.failures += 1;
                        self.list.next = now + pause.min(LIST_PAUSE);
                    }
                }
            }
        }
    }

    fn publish(&mut self, now: Instant) {
        let view = self.tracker.observe(&self.book.observations(), now);
        let state = DiscoveryState {
            looked: self.sender.borrow().looked || self.book.all_heard(),
            view,
            members: self.book.members(),
            answers: self.book.answers(),
            credentials: self.way.standing(),
        };
        let changed = {
            let before = &self.sender.borrow().view;
            if before.known().is_some() && state.view.known().is_none() {
                self.fast_until = now + FAST_FOR;
            }
            if before.epoch != state.view.epoch {
                self.list.next = self.list.next.min(now + LIST_AFTER_CHANGE);
            }
            before.state != state.view.state || before.frozen != state.view.frozen
        };
        if changed {
            tracing::info!(
                database = self.database,
                state = state.view.state.name(),
                epoch = state.view.epoch,
                frozen = state.view.frozen.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                "{}",
                state.view.why
            );
        }
        self.metrics.view(&self.database, &state.view);
        self.metrics.credentials(&self.database, state.credentials.as_ref(), self.way.expires());
        self.sender.send_if_modified(|current| {
            let differs = *current != state;
            *current = state;
            differs
        });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.metrics.forget(&self.database, std::mem::take(&mut self.counted));
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
