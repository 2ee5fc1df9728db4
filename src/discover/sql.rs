//! Asks the database itself, over SQL.
//!
//! Every member is asked at one [`Pace`], and has one question in flight at most; each keeps its connection.

mod answers;
mod connection;
mod mysql;
mod postgres;
mod session;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::sync::mpsc;

use self::{
    answers::Answers,
    connection::{Asked, Connection},
};
use super::{
    Member, PersonsDecision, TICK, max_age,
    pace::Pace,
    publish::{Observed, Publisher},
    witness::WitnessReport,
};
use crate::{
    api::discovery::SqlDiscovery,
    core::{
        announcement::Heard,
        primary::{Answer, Observation},
    },
    credentials::{Access, Sources},
};

/// The Secrets that a spec names.
#[must_use]
pub fn sources(spec: &SqlDiscovery, namespace: &str) -> Sources {
    let tls = spec.tls.clone().unwrap_or_default();
    Sources {
        field: "spec.discovery.sql",
        namespace: namespace.to_owned(),
        tls_secret: tls.secret_name,
        server_name: tls.server_name,
        basic_auth_secret: Some(spec.basic_auth.secret_name.clone()),
        unencrypted: spec.unencrypted,
        ..Sources::default()
    }
}

/// Whom to connect to, and as whom.
struct Login<'a> {
    /// What the server's certificate is verified for.
    pub host: &'a str,
    /// Where the host is, at least one.
    pub addresses: Vec<IpAddr>,
    pub port: u16,
    /// PostgreSQL's.
    pub database: &'a str,
    pub user: &'a str,
    pub password: &'a str,
    /// For the connection, and for every statement.
    pub timeout: Duration,
}

/// Why a server can't be asked.
#[derive(Debug, thiserror::Error)]
enum SqlError {
    /// The server's own words.
    #[error("{message} (SQLSTATE {code})")]
    Refused { code: String, message: String },
    #[error("{0}")]
    Connection(String),
    #[error("{0}")]
    Tls(rustls::Error),
}

impl SqlError {
    /// Whether other credentials may help: class 28 is "invalid authorization specification".
    pub(crate) fn doubts_credentials(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code.starts_with("28"))
    }
}

/// How to ask.
#[derive(Debug, Clone)]
pub struct SqlConfig {
    pub spec: SqlDiscovery,
    /// The login, and by what servers are believed.
    pub access: Access,
}

impl SqlConfig {
    pub(super) fn max_age(&self) -> Duration {
        max_age(self.spec.interval.0, self.spec.timeout.0)
    }

    /// In the order of their names.
    fn members(&self) -> Vec<Member> {
        let names = self.spec.members.iter().map(|member| member.name.clone());
        let mut members: Vec<Member> = names
            .zip(self.spec.hosts())
            .map(|(name, (host, port))| Member { name, host: host.to_owned(), port, api_url: None })
            .collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }
}

/// A member that nobody is asking just now.
struct Idle {
    connection: Connection,
    /// When it was asked last.
    asked: Option<Instant>,
    /// It refused our login, or we its certificate: asking faster would only fill its log.
    refused: bool,
}

pub(super) struct Task {
    members: Vec<Member>,
    answers: Answers,
    idle: Vec<Idle>,
    in_flight: FuturesUnordered<BoxFuture<'static, Asked>>,
    pace: Pace,
    access: Access,
    publisher: Publisher,
}

impl Task {
    pub(super) fn new(config: SqlConfig, publisher: Publisher, now: Instant) -> Self {
        let members = config.members();
        let connection = |(index, member): (usize, &Member)| Connection::new(index, member.clone(), config.clone());
        let idle = members
            .iter()
            .enumerate()
            .map(|it| Idle { connection: connection(it), asked: None, refused: false })
            .collect();
        let mut task = Self {
            answers: Answers::new(members.len(), now),
            members,
            idle,
            in_flight: FuturesUnordered::new(),
            pace: Pace::new(config.spec.interval.0, now),
            access: config.access,
            publisher,
        };
        task.publish(task.answers.heard(), now);
        task
    }

    pub(super) async fn run(mut self, mut spoken: mpsc::Receiver<PersonsDecision>) {
        loop {
            let next = self.ask_who_is_due(Instant::now());
            tokio::select! {
                Some(asked) = self.in_flight.next(), if !self.in_flight.is_empty() => self.take(asked, Instant::now()),
                Some(word) = spoken.recv() => self.publisher.heed(word),
                () = self.access.changed() => self.idle.iter_mut().for_each(|idle| idle.refused = false),
                () = tokio::time::sleep_until(next.into()) => {}
            }
            self.publish(self.answers.heard(), Instant::now());
        }
    }

    /// Says when the next one is due.
    fn ask_who_is_due(&mut self, now: Instant) -> Instant {
        let mut next = now + TICK;
        let held = self.access.held();
        if held.credentials.is_none() && held.problem.is_none() {
            // The Secrets are being read.
            return next;
        }
        let known = self.publisher.primary().is_some();
        for idle in std::mem::take(&mut self.idle) {
            let pause = self.pace.pause(known || idle.refused, now);
            let wanted = self.answers.wanted(idle.connection.index);
            let due = idle.asked.filter(|_| !wanted).map_or(now, |asked| asked + pause);
            if due <= now {
                self.in_flight.push(idle.connection.look().boxed());
            } else {
                next = next.min(due);
                self.idle.push(idle);
            }
        }
        next
    }

    fn take(&mut self, asked: Asked, now: Instant) {
        let Asked { connection, answer, refused, began, took } = asked;
        let index = connection.index;
        self.idle.push(Idle { connection, asked: Some(began), refused });
        self.publisher.count(self.members[index].name.clone(), &answer, took);
        if self.answers.wanted(index) && matches!(answer, Answer::Unreachable { .. }) {
            // It fell silent before the one that waits for it is heard: there was a moment without anybody.
            let mut look = self.answers.heard();
            look[index] = Observation { answer: answer.clone(), at: now };
            self.publish(look, now);
        }
        self.answers.take(index, answer, began, now);
    }

    fn publish(&mut self, heard: Vec<Observation>, now: Instant) {
        let names = self.members.iter().map(|member| member.name.clone());
        let look = Observed {
            complete: heard.iter().all(|heard| heard.answer != Answer::Pending),
            observations: names.zip(heard).collect(),
            hosts: BTreeMap::new(),
            members: self.members.clone(),
            aliases: BTreeMap::new(),
            credentials: self.access.standing(),
            expires: self.access.held().credentials.and_then(|credentials| credentials.expires()),
            testimony: WitnessReport::default(),
            refused: Vec::new(),
            // Nobody announces anything over SQL.
            announced: Heard::None,
        };
        if self.publisher.publish(look, now).lost {
            self.pace.lost(now);
        }
    }
}
