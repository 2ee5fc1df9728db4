//! One base URL, and what was heard there.

use std::{collections::BTreeMap, time::Instant};

use crate::core::primary::{Answer, Observation, Who};

/// One base URL that is asked for `/primary`. Mostly one member answers there; behind a proxy, or an address that goes with
/// the primary, it may be now this one and now that one.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// Written by people in the DatabaseCluster: asked for ever.
    pub seed: bool,
    /// The last answer of everybody who has answered here, by the name that they gave themselves or were found out by. When nobody answers, the
    /// one who did is known to be silent; of several nobody knows whom the question would have reached.
    pub heard: BTreeMap<String, Observation>,
    /// Who gave the last answer that bore a name, or whose it was found out to be.
    pub speaker: Option<String>,
    /// Whose the latest answer is, if it bears no name and no member states this URL alone.
    pub nameless: Option<Who>,
    /// What came of the last question.
    pub latest: Observation,
    pub asked_at: Option<Instant>,
    pub in_flight: bool,
}

impl Endpoint {
    pub(super) const fn new(seed: bool, now: Instant) -> Self {
        let latest = Observation { answer: Answer::Pending, at: now };
        Self { seed, heard: BTreeMap::new(), speaker: None, nameless: None, latest, asked_at: None, in_flight: false }
    }

    /// Who gave the last answer, and with which status, if it says so and nobody else's answer is remembered.
    pub(super) fn only_speaker(&self) -> Option<(&str, u16)> {
        let Answer::Http { status, body } = &self.latest.answer else { return None };
        let name = body.name.as_deref()?;
        (self.heard.len() == 1 && self.heard.contains_key(name)).then_some((name, *status))
    }

    /// Whether one other member than the primary answers here, and doesn't hold the leader lock.
    pub(super) fn follows(&self, primary: &str) -> bool {
        self.only_speaker().is_some_and(|(member, status)| member != primary && status != 200)
    }

    /// What is known of a member that states this URL and was not heard anywhere.
    pub(super) fn missed(&self, url: &str) -> Observation {
        let answer = match (named(&self.latest), &self.nameless) {
            (Some(other), _) => Answer::Unreachable { error: format!("at its address {url} {other} answers") },
            (None, Some(Who::Member(other))) => {
                Answer::Unreachable { error: format!("at its address {url} {other} answers") }
            }
            (None, Some(_)) => {
                Answer::Unreachable { error: format!("at its address {url} somebody answers without a name") }
            }
            (None, None) => self.latest.answer.clone(),
        };
        Observation { answer, at: self.latest.at }
    }
}

/// Who gave an answer, if it says so.
pub(super) fn named(observation: &Observation) -> Option<&str> {
    match &observation.answer {
        Answer::Http { body, .. } => body.name.as_deref(),
        _ => None,
    }
}
