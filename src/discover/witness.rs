//! A witness at another site: the words that it tells in, and how it is asked.
//!
//! `GET /v1/databases/NAME` answers a [`Report`]: each member's answer to `/primary` in Patroni's own words, and how old it is.
//! No wall clocks are compared: an age counts from the moment at which we asked, so that no answer is ever taken for younger
//! than it is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    Member,
    http::{Http, MemberClient, PatroniError, Raw},
    patroni::{self, MAX_MEMBERS},
};
use crate::{
    api::witness::WitnessRules,
    core::{
        primary::{Answer, Observation, WitnessAnswer},
        words::is_obeyed,
    },
    credentials::{Access, Sources},
};

/// What a witness says of one database.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub database: String,
    /// In the order of their names.
    pub members: Vec<MemberReport>,
}

/// What a witness says of one member.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberReport {
    /// Its name, or its base URL while the name isn't known.
    pub name: String,
    /// The base URL that it is asked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The database host that it states.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Since when this is its last answer, or the lack of one.
    pub age_ms: u64,
    /// HTTP status of its answer to `/primary`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What counts of that answer, in Patroni's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Box<RawValue>>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a witness says of a database that it doesn't know.
#[derive(Debug, Serialize, Deserialize)]
pub struct NoSuchDatabase {
    pub error: String,
    /// The ones that it knows.
    pub databases: Vec<String>,
}

impl Report {
    /// Of what was heard from the members.
    #[must_use]
    pub fn new(database: &str, members: &[Member], observations: &BTreeMap<String, Observation>, now: Instant) -> Self {
        let member = |(name, observation): (&String, &Observation)| {
            let listed = members.iter().find(|member| member.name == *name);
            let (status, body, error) = match &observation.answer {
                Answer::Http { status, body } => (Some(*status), patroni::written(body), None),
                Answer::Nameless { .. } => (None, None, Some("it isn't known which member answers".to_owned())),
                Answer::Unreachable { error } => (None, None, Some(error.clone())),
                Answer::Pending | Answer::Seen(_) => (None, None, Some("no answer yet".to_owned())),
            };
            let age = now.saturating_duration_since(observation.at);
            MemberReport {
                name: name.clone(),
                url: listed.map_or_else(|| patroni::base_url(name), |member| member.api_url.clone()),
                host: listed.map(|member| member.host.clone()),
                age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
                status,
                body,
                error,
            }
        };
        Self { database: database.to_owned(), members: observations.iter().map(member).collect() }
    }

    /// What a witness answered when it was `asked`: what it hears, and the members that it doesn't hear.
    fn read(raw: &Raw, database: &str, asked: Instant) -> Result<(Vec<WitnessAnswer>, Vec<String>), WitnessError> {
        let report: Self = match raw {
            (200, body) => serde_json::from_slice(body).map_err(|error| WitnessError::Body(patroni::unquoted(error.to_string())))?,
            (404, body) => {
                let known = serde_json::from_slice::<NoSuchDatabase>(body).map_err(|_| WitnessError::Status(404))?;
                return Err(WitnessError::NoSuchDatabase(database.to_owned(), known.databases.join(", ")));
            }
            (other, _) => return Err(WitnessError::Status(*other)),
        };
        if report.database != database {
            return Err(WitnessError::Body(format!("it is about {}, not {database}", report.database)));
        }
        if report.members.len() > MAX_MEMBERS {
            return Err(WitnessError::Body(format!("{} members, more than {MAX_MEMBERS}", report.members.len())));
        }
        let (mut heard, mut silent) = (Vec::new(), Vec::new());
        if report.members.iter().any(|member| member.name.contains(is_obeyed)) {
            return Err(WitnessError::Body("a member's name holds a control character".to_owned()));
        }
        for member in report.members {
            let (Some(status), Some(body)) = (member.status, member.body) else {
                silent.push(member.name);
                continue;
            };
            let raw = Ok((status, body.get().as_bytes().to_vec()));
            let Answer::Http { status, body } = patroni::answer(&raw) else {
                return Err(WitnessError::Body(format!("what it says of {} isn't Patroni's", member.name)));
            };
            // What is too old for an instant is older than any answer that counts.
            let Some(at) = asked.checked_sub(Duration::from_millis(member.age_ms)) else { continue };
            let url = member.url.as_deref().and_then(patroni::base_url);
            heard.push(WitnessAnswer { member: member.name, url, status, body, at });
        }
        Ok((heard, silent))
    }
}

/// Why a witness's answer is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum WitnessError {
    /// No connection, too late, refused.
    #[error("{0}")]
    Unheard(PatroniError),
    #[error("answered {0}, which a witness doesn't: is this the address of `switchover witness`?")]
    Status(u16),
    #[error("doesn't know a database {0}, only {1}: write one of these as spec.witness.database")]
    NoSuchDatabase(String, String),
    #[error("answered with a body that isn't a witness's: {0}")]
    Body(String),
}

/// Where a witness is, and how it is asked.
#[derive(Debug, Clone)]
pub struct WitnessAddress {
    /// Base URL.
    pub url: String,
    /// What the witness calls the database.
    pub database: String,
    /// What to show and whom to believe.
    pub access: Access,
}

/// Where the credentials for a witness lie; `namespace` is switchover's own.
#[must_use]
pub fn sources(rules: &WitnessRules, namespace: &str) -> Sources {
    Sources {
        field: "spec.witness",
        in_place: true,
        namespace: namespace.to_owned(),
        tls_secret: Some(rules.secret_name.clone()),
        server_name: rules.server_name.clone(),
        ..Sources::default()
    }
}

/// How a witness stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessStanding {
    /// It tells what it sees.
    pub seen: bool,
    /// In one sentence.
    pub why: String,
}

/// What there is of a witness at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct WitnessReport {
    pub sightings: Vec<WitnessAnswer>,
    /// `None` until it was asked for the first time.
    pub standing: Option<WitnessStanding>,
}

/// What came of asking once.
pub(super) type Told = (Instant, Result<Raw, PatroniError>);

/// Asks one witness, with one request in flight.
#[derive(Debug)]
pub(super) struct Questioner {
    url: String,
    database: String,
    way: MemberClient,
    timeout: Duration,
    asked: Option<Instant>,
    in_flight: bool,
    /// When the last good answer was asked for.
    heard: Option<Instant>,
    testimony: WitnessReport,
}

impl Questioner {
    pub(super) fn new(address: WitnessAddress, timeout: Duration) -> Self {
        // The schema has seen to it that this is a base URL.
        let url = patroni::base_url(&address.url).unwrap_or(address.url);
        let hosts = patroni::hosts_of([&url]);
        Self {
            url,
            database: address.database,
            way: MemberClient::new(address.access, true, hosts),
            timeout,
            asked: None,
            in_flight: false,
            heard: None,
            testimony: WitnessReport::default(),
        }
    }

    /// The next question, if it is time for one.
    pub(super) fn ask(&mut self, pause: Duration, now: Instant) -> Option<BoxFuture<'static, Told>> {
        let due = self.asked.is_none_or(|at| at + pause <= now);
        let http = self.way.http().filter(|_| due && !self.in_flight)?.clone();
        (self.asked, self.in_flight) = (Some(now), true);
        let (url, timeout) = (format!("{}/v1/databases/{}", self.url, self.database), self.timeout);
        Some(Box::pin(async move { (now, get(http, &url, timeout).await) }))
    }

    /// When [`Self::ask`] is worth calling again.
    pub(super) fn next(&self, pause: Duration) -> Option<Instant> {
        self.asked.filter(|_| !self.in_flight).map(|at| at + pause)
    }

    /// Takes an answer in. What was seen before counts until it is older than `max_age`, as any answer does.
    pub(super) fn take(&mut self, (asked, raw): Told, max_age: Duration, now: Instant) {
        self.in_flight = false;
        let read = raw.map_err(WitnessError::Unheard).and_then(|raw| Report::read(&raw, &self.database, asked));
        let url = &self.url;
        match read {
            Ok((sightings, silent)) => {
                let heard: Vec<&str> = sightings.iter().map(|sighting| &*sighting.member).collect();
                let but = if silent.is_empty() { String::new() } else { format!(", but not {}", silent.join(", ")) };
                let heard = if heard.is_empty() { "nobody".to_owned() } else { heard.join(", ") };
                let why = format!("the witness at {url} hears {heard}{but}");
                self.heard = Some(asked);
                self.testimony = WitnessReport { sightings, standing: Some(WitnessStanding { seen: true, why }) };
            }
            Err(error) => {
                let lately = self.heard.is_some_and(|at| now.saturating_duration_since(at) <= max_age);
                if !lately {
                    let why = format!("the witness at {url} can't be heard, and nothing depends on it: {error}");
                    self.testimony =
                        WitnessReport { sightings: Vec::new(), standing: Some(WitnessStanding { seen: false, why }) };
                }
            }
        }
    }

    pub(super) const fn testimony(&self) -> &WitnessReport {
        &self.testimony
    }

    /// Returns when there are new credentials.
    pub(super) async fn changed(&mut self) {
        self.way.changed().await;
    }
}

async fn get(http: Result<Http, String>, url: &str, timeout: Duration) -> Result<Raw, PatroniError> {
    match http {
        Ok(http) => http.get(url, timeout).await,
        Err(error) => Err(PatroniError::Tls(error)),
    }
}

#[cfg(test)]
mod tests;
