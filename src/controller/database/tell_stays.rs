//! People are told by events on workloads that their pods stay, and why: once it has lasted, rarely again, and never many at once.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ObjectReference;

use super::Task;
use crate::{
    cluster::{EventReason, HeldName, Notice, reference},
    core::movement::{
        held::{Gate, HeldReason},
        workloads::WorkloadKey,
    },
    evaluate::Stays,
};

/// What has lasted for so long is told.
const LASTS: Duration = Duration::from_secs(30);
/// And again after this long, when Kubernetes has forgotten the event.
const AGAIN: Duration = Duration::from_secs(3600);
/// So many at most in a minute.
const MOST_A_MINUTE: usize = 20;

/// What was told of whom, by UID and reason.
#[derive(Debug, Default)]
pub(super) struct ToldStays {
    since: HashMap<(String, &'static str), Told>,
    lately: VecDeque<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    since: Instant,
    at: Option<Instant>,
}

impl ToldStays {
    /// Those that are to be told now. What doesn't last any more is forgotten.
    fn due<'s>(&mut self, stays: &'s [Stays], now: Instant) -> Vec<&'s Stays> {
        let worth = stays.iter().filter(|stays| is_worth_telling(stays));
        let key = |stays: &Stays| (stays.workload.uid.clone(), stays.reason.name());
        let before = std::mem::take(&mut self.since);
        while self.lately.front().is_some_and(|at| now.saturating_duration_since(*at) >= Duration::from_secs(60)) {
            self.lately.pop_front();
        }
        let mut due = Vec::new();
        for stays in worth {
            let mut told = before.get(&key(stays)).copied().unwrap_or(Told { since: now, at: None });
            let lasts = now.saturating_duration_since(told.since) >= LASTS;
            let again = told.at.is_none_or(|at| now.saturating_duration_since(at) >= AGAIN);
            if lasts && again && self.lately.len() < MOST_A_MINUTE {
                told.at = Some(now);
                self.lately.push_back(now);
                due.push(stays);
            }
            self.since.insert(key(stays), told);
        }
        due
    }
}

/// Who only waits for his turn isn't told that, nor whom a gate holds that is told of the database. In a dry run what would be moved is.
fn is_worth_telling(stays: &Stays) -> bool {
    !stays.passes() || matches!(stays.reason, HeldReason::Gate(Gate::DryRun(_)))
}

/// What the event is about: the workload where its kind is one of Kubernetes' own; of others the version of their group isn't known here.
fn about(key: &WorkloadKey) -> Option<ObjectReference> {
    let version = match &*key.kind {
        "Deployment" | "StatefulSet" | "ReplicaSet" => "apps/v1",
        "Job" => "batch/v1",
        "Pod" => "v1",
        _ => return None,
    };
    Some(reference(version, &key.kind, Some(&key.namespace), &key.name, &key.uid))
}

/// Some of them may be on intermediate nodes (`includeIntermediate`).
fn note(stays: &Stays, database: &str) -> String {
    let pods = if stays.pods == 1 { "a pod stays".to_owned() } else { format!("{} pods stay", stays.pods) };
    format!("{pods} farther from the primary of {database} than need be: {}", stays.reason)
}

impl Task {
    /// Tells the owners of workloads whose pods stay.
    pub(super) fn tell_stays(&mut self, stays: &[Stays], now: Instant) {
        for stays in self.told_stays.due(stays, now) {
            let Some(about) = about(&stays.workload) else { continue };
            self.shared.notices.send(Notice {
                about,
                warning: false,
                reason: EventReason::Held(HeldName(stays.reason.name())),
                action: "Stay",
                note: note(stays, &self.name),
            });
        }
    }
}

#[cfg(test)]
mod tests;
