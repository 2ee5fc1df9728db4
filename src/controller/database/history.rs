//! What people are told of a database, and what its status remembers of each change of primary.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Decided, Task, labelling::Refusals};
use crate::{
    api::{
        DatabaseClusterStatus,
        database_cluster::{FailoverStatus, MemberStatus},
    },
    cluster::{Notice, database_reference},
    controller::{movement, report},
    core::{
        keys,
        movement::journal::Journal,
        primary::{PrimaryState, PrimaryView},
    },
    credentials::Standing,
    discover::{DiscoveryState, Member},
};

/// Changes of primary that status remembers.
const MOST_FAILOVERS: usize = 10;
/// Nodes that one log line and one event name.
const MOST_TOLD: usize = 5;
/// A held pod may only be waiting for others to catch up, such as a disruption budget whose status lags behind its pods:
/// the movement is called over when nothing has been left to do for this long.
const QUIET: Duration = Duration::from_secs(5);

impl Task {
    /// Takes note of who is primary: a new epoch begins a new entry of the history.
    pub(super) fn note_primary(&mut self, found: &DiscoveryState, wall: Timestamp) {
        let view = &found.view;
        self.status.members = found
            .members
            .iter()
            .map(|member| MemberStatus {
                name: member.name.clone(),
                host: member.host.clone(),
                port: member.port,
                api_url: member.api_url.clone(),
            })
            .collect();
        if !view.movement_allowed() {
            // The streak is broken: a primary that comes back, or is free again, has to hold anew.
            self.credit = None;
        }
        self.tell_state(view);
        let Some(primary) = view.last.as_ref() else { return };
        self.status.primary_host = host_of(&primary.name, &found.members, &self.status);
        let (before, from) = (self.status.epoch, self.status.primary.clone());
        report::believe(&mut self.status, view);
        if view.epoch == before {
            return;
        }
        let timeline = primary.timeline_if_any().map(|timeline| format!("timeline {timeline}, ")).unwrap_or_default();
        self.notice(
            false,
            "PrimaryChanged",
            format!("{} → {} ({timeline}epoch {})", from.as_deref().unwrap_or("nobody"), primary.name, view.epoch),
        );
        self.status.since = Some(wall);
        let first = from.is_none();
        self.status.failovers.insert(
            0,
            FailoverStatus {
                epoch: view.epoch,
                from,
                to: primary.name.clone(),
                timeline: primary.timeline,
                confirmed_at: Some(wall),
                ..FailoverStatus::default()
            },
        );
        self.status.failovers.truncate(MOST_FAILOVERS);
        // The first labels of all wait until the agents are up.
        (self.relabelling, self.at_once) = (true, !first);
        self.refused = Refusals::default();
        self.credit = None;
        self.journal = Journal::default();
        self.backoffs = movement::Backoffs::default();
    }

    /// Fills in the history: when the labels were right, when the pods had moved.
    pub(super) fn note_progress(&mut self, decided: &Decided, now: Instant, wall: Timestamp) {
        let idle = decided.gate.is_none() && decided.plan.finished() && self.journal.underway.is_empty();
        self.quiet_since = idle.then(|| self.quiet_since.unwrap_or(now));
        self.ended_some |= !decided.outcomes.is_empty();
        let epoch = self.status.epoch;
        let Some(failover) = self.status.failovers.first_mut().filter(|failover| failover.epoch == epoch) else {
            return;
        };
        if failover.labelled_at.is_none() && !self.relabelling {
            failover.labelled_at = Some(wall);
            let took_ms = failover.confirmed_at.map(|at| wall.duration_since(at).as_millis());
            let refusing = decided.labelling.lost.len();
            tracing::info!(database = self.name, took_ms, refusing, "every node has its label that takes one");
        }
        if failover.rtt_before_us.is_none() && failover.labelled_at.is_some() {
            failover.rtt_before_us = decided.rtt_us;
        }
        failover.moved = self.journal.moved;
        let quiet = self.quiet_since.is_some_and(|since| now.saturating_duration_since(since) >= QUIET);
        let over = idle && (decided.plan.held.is_empty() || quiet);
        if over && (failover.moved_at.is_none() || self.ended_some) {
            self.ended_some = false;
            failover.moved_at = Some(wall);
            failover.held = u32::try_from(decided.plan.held.len()).unwrap_or(u32::MAX);
            failover.rtt_after_us = decided.rtt_us;
            let (moved, held) = (failover.moved, failover.held);
            tracing::info!(database = self.name, moved, held, rtt_us = decided.rtt_us, "the movement is over");
            self.notice(false, "MovementOver", format!("pods moved: {moved}, held: {held}"));
        }
    }

    /// Tells people of changes that worry, and when all is well again. (The discovery logs every one.)
    fn tell_state(&mut self, view: &PrimaryView) {
        let state = (view.state.name(), view.frozen.iter().map(|reason| reason.name()).collect::<Vec<_>>().join(","));
        if self.last_state.as_ref() == Some(&state) {
            return;
        }
        let before = self.last_state.as_ref().map(|(state, _)| *state);
        match &view.state {
            PrimaryState::Known(_) if !view.frozen.is_empty() => {
                self.notice(true, "Frozen", format!("nothing is moved: {}", view.why_frozen()));
            }
            PrimaryState::Known(_) if before.is_some() => {
                self.notice(false, "PrimaryKnown", view.why.clone());
            }
            PrimaryState::Known(_) | PrimaryState::Promoting { .. } => {}
            // Only the reasons of the freeze are others.
            _ if before == Some(state.0) => {}
            PrimaryState::SplitBrain(_) => self.notice(true, "SplitBrain", view.why.clone()),
            PrimaryState::Degraded { .. } => self.notice(true, "PrimaryDegraded", view.why.clone()),
            PrimaryState::Unknown => self.notice(true, "PrimaryUnknown", view.why.clone()),
        }
        self.last_state = Some(state);
    }

    /// Tells people of credentials that can't be used, and when they can again.
    pub(super) fn tell_standing(&mut self, standing: Option<&Standing>) {
        if self.last_standing.as_ref() == standing {
            return;
        }
        match standing {
            Some(Standing::Current { .. }) if self.last_standing.is_none() => {}
            Some(good @ Standing::Current { .. }) => self.notice(false, "CredentialsCurrent", good.to_string()),
            Some(bad) => self.notice(true, "CredentialsRefused", bad.to_string()),
            None => {}
        }
        self.last_standing = standing.cloned();
    }

    /// Logs the readings that begin to be ignored, and tells people.
    pub(super) fn tell_doubts(&mut self) {
        let new = std::mem::take(&mut self.new_doubts);
        if new.is_empty() {
            return;
        }
        let note = listed(&new);
        tracing::warn!(database = self.name, nodes = new.len(), why = note, "readings are not believed");
        self.notice(true, "ReadingIgnored", note);
    }

    /// Logs the labels and taints that somebody else changed, and tells people.
    pub(super) fn tell_overwritten(&mut self, key: &str) {
        let new = std::mem::take(&mut self.overwritten);
        if new.is_empty() {
            return;
        }
        self.shared.metrics.overwritten(&self.name, new.len());
        let what = listed(&new);
        tracing::warn!(database = self.name, label = key, nodes = new.len(), what, "somebody else changed nodes");
        let note = format!(
            "somebody else changed the label or taint {key}, which is put back; annotate the node {}: \"false\" to keep \
             one of your own: {what}",
            keys::MANAGE
        );
        self.notice(true, "LabelPutBack", note);
    }

    /// Tells that the task died that finds out who is primary. The panic itself is in the log before this.
    pub(super) fn tell_of_death(&self) {
        tracing::error!(
            database = self.name,
            "the discovery died, which is a bug; this database is followed anew soon"
        );
        let note = "the task that asks who is primary died, which is a bug: labels stay, nothing moves and the database \
                    is followed anew in a few seconds; please report it with the controller's log";
        self.notice(true, "DiscoveryDied", note.to_owned());
    }

    pub(super) fn notice(&self, warning: bool, reason: &'static str, note: String) {
        let tables = self.shared.index.read();
        let uid = tables.databases.get(&self.name).map(|database| database.uid.clone()).unwrap_or_default();
        drop(tables);
        let about = database_reference(&self.name, &uid);
        self.shared.notices.send(Notice { about, warning, reason, action: "Watch", note });
    }
}

/// The host of the primary. One that nobody lists has the host that was known of it; another member's it never has, because
/// tiers would be those towards that one.
fn host_of(primary: &str, members: &[Member], before: &DatabaseClusterStatus) -> Option<String> {
    let listed = members.iter().find(|member| member.name == primary).map(|member| member.host.clone());
    listed.or_else(|| before.primary_host.clone().filter(|_| before.primary.as_deref() == Some(primary)))
}

/// The first few, and how many more there are.
pub(super) fn listed(all: &[impl ToString]) -> String {
    let (told, unlisted) = all.split_at(all.len().min(MOST_TOLD));
    let mut text = told.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if !unlisted.is_empty() {
        text.push_str(&format!("; and {} more", unlisted.len()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_primary_that_nobody_lists_does_not_have_the_host_of_the_last_one() {
        let member =
            |name: &str, host: &str| Member { name: name.into(), host: host.into(), port: 5432, api_url: None };
        let (listed, others) = ([member("pg2", "10.2.0.1")], [member("pg1", "10.1.0.1")]);
        for (what, before, members, expected) in [
            ("listed", ("pg2", "10.2.0.9"), &listed[..], Some("10.2.0.1")),
            ("not listed any more", ("pg2", "10.2.0.9"), &others, Some("10.2.0.9")),
            ("new and listed", ("pg1", "10.1.0.1"), &listed, Some("10.2.0.1")),
            ("new and not listed", ("pg1", "10.1.0.1"), &others, None),
        ] {
            let before = DatabaseClusterStatus {
                primary: Some(before.0.into()),
                primary_host: Some(before.1.into()),
                ..DatabaseClusterStatus::default()
            };
            assert_eq!(host_of("pg2", members, &before).as_deref(), expected, "{what}");
        }
    }
}
