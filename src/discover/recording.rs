//! Recorded answers: JSON lines of `t` (seconds), `member`, `path`, `status` or `error`, `body`; one line whenever an
//! answer changed. An answer holds until the same member's next line for that path.
//!
//! Where answers bear no name, `member` is the URL that was asked, until it is found out whose answers they are: from then on
//! the member's name stands there, and a line of the URL with `is` says so. Lists of the members (`/cluster`) tell who is who.
//!
//! Files come from other hands too, so they are read leniently: unknown keys and blank lines are skipped, a body may be
//! an object or its text. Only `/primary` decides; a recording without it is judged by the nearest thing that it has.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    http::PatroniError,
    patroni::{parse_cluster, parse_member},
};
use crate::core::primary::{
    Answer, Belief, Identities, MemberBody, Observation, Primary, PrimaryState, PrimaryTracker, PrimaryView,
};

/// Other paths of a recording that are named when none of them can be judged.
const MOST_NAMED: usize = 8;
/// An answer may be so much older than its line says, and holds for so much less long: pauses between questions and the time
/// that one takes.
const LAG: Duration = Duration::from_secs(3);
/// Two that hold the leader lock are a split brain after this long, as they are to a controller with its default interval.
const CONTRADICTED_AFTER: Duration = Duration::from_secs(5);
/// Longest recording, in seconds: about 30 years.
const LONGEST_S: f64 = 1e9;

#[derive(Deserialize)]
struct Line {
    t: f64,
    member: String,
    path: String,
    status: Option<u16>,
    error: Option<String>,
    body: Option<Box<RawValue>>,
    /// The name of whoever answers at the URL that stands for the member.
    is: Option<String>,
}

/// What an answer's status says about the leader lock.
#[derive(Debug, Clone, Copy)]
enum Knows {
    /// 200 to the holder, unless it leads a standby cluster.
    PrimaryLock,
    /// 200 to the holder, also of a standby cluster.
    LeaderLock,
    /// Nothing: only the body counts, and a stale primary can't be told from a true one but by its timeline.
    Nothing,
}

/// The paths that can be judged, the best first. Patroni gives the first four the same meaning.
const JUDGED: [(&str, Knows); 7] = [
    ("/primary", Knows::PrimaryLock),
    ("/read-write", Knows::PrimaryLock),
    ("/master", Knows::PrimaryLock),
    ("/", Knows::PrimaryLock),
    ("/leader", Knows::LeaderLock),
    ("/patroni", Knows::Nothing),
    ("/health", Knows::Nothing),
];
/// The rank of `/primary`, which decides alone.
const BEST: usize = 0;

/// One answer of one member to a path that can be judged.
#[derive(Debug)]
struct Said {
    t: f64,
    member: String,
    /// In [`JUDGED`].
    rank: usize,
    answer: Answer,
}

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error(
        "line {line} is not a recorded answer: {error}: \
         write {{\"t\": 1.5, \"member\": \"pg1\", \"path\": \"/primary\", \"status\": 200, \"body\": {{…}}}}"
    )]
    NoAnswer {
        line: usize,
        error: String,
        /// The line ends before its JSON does.
        cut_off: bool,
    },
    #[error("line {line} is {what}: {instead}")]
    NoLines { line: usize, what: &'static str, instead: &'static str },
    #[error("line {line}: member is empty: write the name of who answered, as Patroni has it")]
    NoMember { line: usize },
    #[error("line {line}: t is {t:?}: write seconds since the recording began, from 0 on")]
    Time { line: usize, t: f64 },
    #[error("line {line}: t is {t}, but {before} stands above it: write the lines in the order of their times")]
    Order { line: usize, t: f64, before: f64 },
    #[error("no line is an answer to /primary (there are {others}): record GET /primary of every member")]
    NothingJudged { others: String },
    #[error("it is empty: record GET /primary of every member, one JSON object per line")]
    Empty,
}

/// What of a view counts as a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// [`PrimaryState::name`].
    pub state: &'static str,
    /// The confirmed primary, or the last one while it is degraded.
    pub primary: Option<String>,
    /// Its timeline, if the database knows of any.
    pub timeline: Option<u64>,
    pub epoch: u64,
    /// [`crate::core::primary::FrozenReason::name`].
    pub frozen: Vec<&'static str>,
}

impl Shown {
    fn of(view: &PrimaryView) -> Self {
        let primary = match &view.state {
            PrimaryState::Known(primary) => Some(primary),
            // It keeps the lock until it is known to have lost it.
            PrimaryState::Degraded { member } => view.last.as_ref().filter(|last| last.name == *member),
            _ => None,
        };
        Self {
            state: view.state.name(),
            primary: primary.map(|primary| primary.name.clone()),
            timeline: primary.and_then(Primary::timeline_if_any),
            epoch: view.epoch,
            frozen: view.frozen.iter().map(|reason| reason.name()).collect(),
        }
    }
}

/// What was believed from `t` on.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Seconds since the recording began.
    pub t: f64,
    pub shown: Shown,
    pub view: PrimaryView,
}

/// Runs the decision over a recording, line by line, and returns every change of what it shows. Lines of the same `t`
/// are one look.
#[derive(Debug)]
pub struct Replay {
    /// The instant at which the recording began.
    base: Instant,
    tracker: PrimaryTracker,
    /// By member, or by URL while its name isn't known.
    latest: BTreeMap<String, Observation>,
    identities: Identities,
    /// Everybody who was ever listed, and where it said that it answers.
    listed: BTreeMap<String, Option<String>>,
    /// The time of the answers in `latest` that were not looked at yet.
    unseen: Option<f64>,
    shown: Option<Shown>,
    /// The sentence that was shown last, if one that changes alone is a change.
    said: Option<String>,
    sentences: bool,
    /// Lines read, blank ones too.
    lines: usize,
    t: f64,
    /// Answers to other paths than `/primary`, kept until there is one to `/primary`.
    instead: Vec<Said>,
    /// Whether `/primary` was answered.
    decided: bool,
    /// Paths that were not judged.
    others: BTreeSet<String>,
}

impl Replay {
    /// `base` stands for the instant at which the recording began.
    #[must_use]
    pub fn new(base: Instant) -> Self {
        Self {
            base,
            // An answer holds until the next one, however long that takes.
            tracker: PrimaryTracker::lasting(Belief::default(), CONTRADICTED_AFTER),
            latest: BTreeMap::new(),
            identities: Identities::lasting(LAG),
            listed: BTreeMap::new(),
            unseen: None,
            shown: None,
            said: None,
            sentences: false,
            lines: 0,
            t: 0.0,
            instead: Vec::new(),
            decided: false,
            others: BTreeSet::new(),
        }
    }

    /// The same, where also a sentence that changes alone is a change.
    #[must_use]
    pub fn with_sentences(mut self, sentences: bool) -> Self {
        self.sentences = sentences;
        self
    }

    /// Takes the next line, blank ones too. What changed by the lines before it is certain only now.
    ///
    /// # Errors
    /// When the line isn't JSON of the form above, or its time is before that of an earlier line. A recorded body that
    /// isn't Patroni's is an answer like any other.
    pub fn line(&mut self, text: &[u8]) -> Result<Option<Change>, RecordingError> {
        self.lines += 1;
        let number = self.lines;
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii();
        if text.is_empty() {
            return Ok(None);
        }
        if let Some((what, instead)) = no_lines(text) {
            return Err(RecordingError::NoLines { line: number, what, instead });
        }
        let line: Line = serde_json::from_slice(text).map_err(|error| no_answer(number, &error))?;
        if line.member.trim().is_empty() {
            return Err(RecordingError::NoMember { line: number });
        }
        if !(0.0..=LONGEST_S).contains(&line.t) {
            return Err(RecordingError::Time { line: number, t: line.t });
        }
        if line.t < self.t {
            return Err(RecordingError::Order { line: number, t: line.t, before: self.t });
        }
        self.t = line.t;
        let path = bare_path(&line.path);
        if let Some(name) = line.is.as_ref().filter(|name| !name.is_empty()) {
            let change = self.turn(line.t);
            self.latest.remove(&line.member);
            self.identities.told(&line.member, name, self.at(line.t));
            return Ok(change);
        }
        if path == "/cluster" && self.listed(&line) {
            self.others.insert(path);
            return Ok(self.turn(line.t));
        }
        let Some(rank) = JUDGED.iter().position(|(judged, _)| *judged == path) else {
            if self.others.len() < MOST_NAMED {
                self.others.insert(path);
            }
            return Ok(None);
        };
        if rank != BEST {
            if !self.decided {
                self.instead.push(said(line, rank));
            }
            return Ok(None);
        }
        self.decided = true;
        self.instead = Vec::new();
        Ok(self.take(said(line, rank)))
    }

    /// The changes that only the end of the recording makes certain, and the paths that were judged in the place of
    /// `/primary`, if it has none.
    ///
    /// # Errors
    /// When there was nothing to judge.
    pub fn finish(mut self) -> Result<(Vec<Change>, BTreeSet<&'static str>), RecordingError> {
        let instead = std::mem::take(&mut self.instead);
        let mut best: BTreeMap<String, usize> = BTreeMap::new();
        for said in &instead {
            let rank = best.entry(said.member.clone()).or_insert(said.rank);
            *rank = said.rank.min(*rank);
        }
        if best.values().any(|rank| matches!(JUDGED[*rank].1, Knows::Nothing)) {
            self.tracker.knows_no_locks();
        }
        let judged = instead.into_iter().filter(|said| best[&said.member] == said.rank);
        let mut changes: Vec<Change> = judged.filter_map(|said| self.take(said)).collect();
        if self.unseen.is_none() {
            return Err(match self.others.into_iter().collect::<Vec<_>>() {
                others if others.is_empty() => RecordingError::Empty,
                others => RecordingError::NothingJudged { others: others.join(", ") },
            });
        }
        changes.extend(self.look());
        self.identities.settle();
        changes.extend(self.look());
        Ok((changes, best.into_values().map(|rank| JUDGED[rank].0).collect()))
    }

    fn take(&mut self, said: Said) -> Option<Change> {
        let change = self.turn(said.t);
        self.unseen = Some(said.t);
        let at = self.at(said.t);
        self.identities.heard(&said.member, &said.answer, at, at);
        self.latest.insert(said.member, Observation { answer: said.answer, at });
        change
    }

    /// Looks at what was said before `t`, and will look again at that.
    fn turn(&mut self, t: f64) -> Option<Change> {
        let before = self.unseen.filter(|before| *before != t)?;
        debug_assert!(before <= t, "lines are in the order of their times");
        let change = self.look();
        self.unseen = Some(t);
        change
    }

    /// Takes over a list of members. False: it is none.
    fn listed(&mut self, line: &Line) -> bool {
        let body = line.body.as_deref().filter(|_| line.status == Some(200)).map(text_of);
        let Some(list) = body.and_then(|body| parse_cluster(body.as_bytes()).ok()) else { return false };
        self.listed.extend(list.members.into_iter().map(|member| (member.name, member.api_url)));
        let members = self.listed.iter().map(|(name, url)| (name.as_str(), url.as_deref()));
        let at = self.base + Duration::from_secs_f64(line.t);
        self.identities.listed(members, list.leader.as_deref(), at, at);
        true
    }

    fn at(&self, t: f64) -> Instant {
        self.base + Duration::from_secs_f64(t)
    }

    fn look(&mut self) -> Option<Change> {
        let t = self.unseen?;
        let now = self.at(t);
        self.tracker.rename(&self.identities.aliases(now));
        let view = self.tracker.observe(&self.identities.named(&self.latest, now), now);
        let shown = Shown::of(&view);
        let said = self.sentences.then(|| view.why.clone());
        if self.shown.as_ref() == Some(&shown) && self.said == said {
            return None;
        }
        self.said = said;
        self.shown = Some(shown.clone());
        Some(Change { t, shown, view })
    }
}

/// What isn't lines of JSON objects at all, by how it begins, and what to write instead.
fn no_lines(text: &[u8]) -> Option<(&'static str, &'static str)> {
    match text {
        [0x1f, 0x8b, ..] => Some(("compressed by gzip", "write zcat FILE | switchover replay -")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(("compressed by zstd", "write zstdcat FILE | switchover replay -")),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(("UTF-16", "write the file as UTF-8")),
        [b'[', ..] => {
            Some(("a JSON array", "write one object per line, such as jq -c '.[]' FILE | switchover replay -"))
        }
        _ => None,
    }
}

fn no_answer(line: usize, error: &serde_json::Error) -> RecordingError {
    // serde_json counts lines too, and each of ours is its first.
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    // serde names the types of our source.
    let what = [
        ("expected f64", "expected a number"),
        ("expected u16", "expected an HTTP status"),
        ("expected struct Line", "expected an object"),
    ]
    .into_iter()
    .fold(what.to_owned(), |what, (ours, theirs)| what.replace(ours, theirs));
    let error_text = if error.column() > 0 { format!("{what} (column {})", error.column()) } else { what.to_owned() };
    RecordingError::NoAnswer { line, error: error_text, cut_off: error.is_eof() }
}

/// `/primary` of `/primary/?wait=1` and of `http://10.0.0.1:8008/primary`.
fn bare_path(path: &str) -> String {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
    format!("/{}", path.trim_matches('/'))
}

fn said(line: Line, rank: usize) -> Said {
    // The recording's own name is the member's: bodies are edited before they are passed on. But an address is only
    // what a member is called as long as nobody knows its name.
    let named = !line.member.contains("://");
    let answer = match answer(line.status, line.error, line.body.as_deref()) {
        Answer::Http { status, mut body } => {
            if named {
                body.name = None;
            }
            Answer::Http { status: lock_status(JUDGED[rank].1, status, &body), body }
        }
        other => other,
    };
    Said { t: line.t, member: line.member, rank, answer }
}

/// The status that `/primary` would have had.
fn lock_status(knows: Knows, status: u16, body: &MemberBody) -> u16 {
    let holds = match knows {
        Knows::PrimaryLock => return status,
        Knows::LeaderLock => status == 200 && body.role != "standby_leader",
        Knows::Nothing => body.acts_as_primary(),
    };
    if holds { 200 } else { 503 }
}

fn answer(status: Option<u16>, error: Option<String>, body: Option<&RawValue>) -> Answer {
    let unreachable = |error: String| Answer::Unreachable { error };
    match (status, body) {
        (Some(status @ (200 | 503)), Some(body)) => match parse_member(text_of(body).as_bytes()) {
            Ok(body) => Answer::Http { status, body },
            Err(error) => unreachable(error.to_string()),
        },
        (Some(status @ (200 | 503)), None) => unreachable(format!("answered {status} without a body")),
        (Some(status), _) => unreachable(PatroniError::Status(status).to_string()),
        (None, _) => {
            unreachable(error.filter(|error| !error.is_empty()).unwrap_or_else(|| "no reason recorded".to_owned()))
        }
    }
}

/// A body as it came: an object, or its text.
fn text_of(body: &RawValue) -> String {
    serde_json::from_str(body.get()).unwrap_or_else(|_| body.get().to_owned())
}

#[cfg(test)]
pub(crate) mod tests;
