//! What people are told of a database, by events and in the log.

use jiff::Timestamp;

use super::Task;
use crate::{
    api::database_cluster::ConditionType,
    cluster::{EventReason, Notice, database_reference},
    controller::movement,
    core::{
        distance::overwrite::Overwritten,
        keys,
        movement::journal::Outcome,
        primary::{PrimaryState, PrimaryView},
        words::listed,
    },
    credentials::SecretState,
    evaluate::Decided,
};

impl Task {
    /// Tells what was found at this look.
    pub(super) fn tell(&self, key: &str, decided: &Decided) {
        self.tell_doubts(&decided.doubts);
        self.tell_overwritten(key, &decided.overwritten);
        if decided.emptying.is_some() {
            self.warn_of_eviction();
        }
    }

    /// Tells how moves ended.
    pub(super) fn tell_outcomes(&self, outcomes: &[Outcome], wall: Timestamp) {
        movement::tell_outcomes(&self.shared, &self.name, outcomes, wall);
    }

    /// Tells people of changes that worry, and when all is well again. (The discovery logs every one.)
    pub(super) fn tell_state(&mut self, view: &PrimaryView) {
        let state = (view.state.name(), view.frozen.iter().map(|reason| reason.name()).collect::<Vec<_>>().join(","));
        if self.last_state.as_ref() == Some(&state) {
            return;
        }
        let before = self.last_state.as_ref().map(|(state, _)| *state);
        match &view.state {
            PrimaryState::Known(_) if !view.frozen.is_empty() => {
                self.notice(true, EventReason::Frozen, format!("nothing is moved: {}", view.why_frozen()));
            }
            PrimaryState::Known(_) if before.is_some() => {
                self.notice(false, EventReason::PrimaryKnown, view.why.clone());
            }
            PrimaryState::Known(_) | PrimaryState::Promoting { .. } => {}
            // Only the reasons of the freeze are others.
            _ if before == Some(state.0) => {}
            PrimaryState::SplitBrain(_) => self.notice(true, EventReason::SplitBrain, view.why.clone()),
            PrimaryState::Degraded { .. } => self.notice(true, EventReason::PrimaryDegraded, view.why.clone()),
            PrimaryState::Unknown => self.notice(true, EventReason::PrimaryUnknown, view.why.clone()),
        }
        self.last_state = Some(state);
    }

    /// Tells people of credentials that can't be used, and when they can again.
    pub(super) fn tell_secret_state(&mut self, state: Option<&SecretState>) {
        if self.last_secret_state.as_ref() == state {
            return;
        }
        match state {
            Some(SecretState::Current { .. }) if self.last_secret_state.is_none() => {}
            Some(good @ SecretState::Current { .. }) => {
                self.notice(false, EventReason::CredentialsCurrent, good.to_string())
            }
            Some(bad) => self.notice(true, EventReason::CredentialsRefused, bad.to_string()),
            None => {}
        }
        self.last_secret_state = state.cloned();
    }

    /// Logs the readings that begin to be ignored, and tells people.
    fn tell_doubts(&self, new: &[String]) {
        if new.is_empty() {
            return;
        }
        let note = listed(new);
        tracing::warn!(database = self.name, nodes = new.len(), why = note, "readings are not believed");
        self.notice(true, EventReason::ReadingIgnored, note);
    }

    /// Logs the labels and taints that somebody else changed, and tells people.
    fn tell_overwritten(&self, key: &str, new: &[Overwritten]) {
        if new.is_empty() {
            return;
        }
        self.shared.metrics.overwritten(&self.name, new.len());
        let what = listed(new);
        tracing::warn!(database = self.name, label = key, nodes = new.len(), what, "somebody else changed nodes");
        let note = format!(
            "somebody else changed the label or taint {key}, which is put back; annotate the node {}: \"false\" to keep \
             one of your own: {what}",
            keys::MANAGE
        );
        self.notice(true, EventReason::LabelPutBack, note);
    }

    /// Tells people once what a taint that evicts does. Whether they were told, the status knows by its condition.
    fn warn_of_eviction(&self) {
        if self.status.conditions.iter().any(|condition| condition.type_ == ConditionType::EvictsByTaint.name()) {
            return;
        }
        tracing::warn!(database = self.name, "spec.taint.evictWithoutBudgets: far nodes will be emptied");
        let note = "spec.taint: NoExecute deletes every pod on far nodes that doesn't tolerate it, past its \
                    PodDisruptionBudget; to move pods within their budgets only, write effect: NoSchedule";
        self.notice(true, EventReason::EvictsWithoutBudgets, note.to_owned());
    }

    /// Tells that the task died that finds out who is primary. The panic itself is in the log before this.
    pub(super) fn tell_of_death(&self) {
        self.shared.metrics.discovery_died(&self.name);
        tracing::error!(
            database = self.name,
            "the discovery died, which is a bug; this database is followed anew soon"
        );
        let note = "the task that asks who is primary died, which is a bug: labels stay, nothing moves and the database \
                    is followed anew in a few seconds; please report it with the controller's log";
        self.notice(true, EventReason::DiscoveryDied, note.to_owned());
    }

    pub(super) fn notice(&self, warning: bool, reason: EventReason, note: String) {
        let tables = self.shared.index.read();
        let uid = tables.databases.get(&self.name).map(|database| database.uid.clone()).unwrap_or_default();
        drop(tables);
        let about = database_reference(&self.name, &uid);
        self.shared.notices.send(Notice { about, warning, reason, action: "Watch", note });
    }
}
