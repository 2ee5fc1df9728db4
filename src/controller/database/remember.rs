//! What the status remembers of who is primary, and of each change.

use jiff::Timestamp;

use super::Task;
use crate::{
    api::database_cluster::{FailoverStatus, MemberStatus},
    cluster::EventReason,
    controller::status_update,
    discover::{DiscoveryState, Member},
    evaluate::Decided,
};

/// Changes of primary that status remembers.
const MOST_FAILOVERS: usize = 10;

impl Task {
    /// Takes note of who is primary: a new epoch begins a new entry of the history.
    pub(super) fn remember_primary(&mut self, found: &DiscoveryState, wall: Timestamp) {
        let view = &found.view;
        self.status.members = found.members.iter().map(member).collect();
        self.tell_state(view);
        let Some(primary) = view.last.as_ref() else { return };
        let (before, from) = (self.status.epoch, self.status.primary.clone());
        status_update::believe(&mut self.status, view);
        if view.epoch == before {
            return;
        }
        let timeline = primary.timeline_if_any().map(|timeline| format!("timeline {timeline}, ")).unwrap_or_default();
        self.notice(
            false,
            EventReason::PrimaryChanged,
            format!("{} → {} ({timeline}epoch {})", from.as_deref().unwrap_or("nobody"), primary.name, view.epoch),
        );
        self.status.since = Some(wall);
        let failover = FailoverStatus {
            epoch: view.epoch,
            from,
            to: primary.name.clone(),
            timeline: primary.timeline,
            confirmed_at: Some(wall),
            ..FailoverStatus::default()
        };
        self.status.failovers.insert(0, failover);
        self.status.failovers.truncate(MOST_FAILOVERS);
    }

    /// Fills in the history: when the labels were right, when the pods had moved.
    pub(super) fn remember_progress(&mut self, decided: &Decided, wall: Timestamp) {
        let epoch = self.status.epoch;
        let Some(failover) = self.status.failovers.first_mut().filter(|failover| failover.epoch == epoch) else {
            return;
        };
        if decided.labelled {
            failover.labelled_at = Some(wall);
            let took_ms = failover.confirmed_at.map(|at| wall.duration_since(at).as_millis());
            let refusing = decided.labelling.lost.len();
            tracing::info!(database = self.name, took_ms, refusing, "every node has its label that takes one");
        }
        if failover.rtt_before_us.is_none() && failover.labelled_at.is_some() {
            failover.rtt_before_us = decided.rtt_us;
        }
        failover.moved = self.memory.journal.moved;
        if decided.over {
            failover.moved_at = Some(wall);
            failover.held = u32::try_from(decided.plan.held.len()).unwrap_or(u32::MAX);
            failover.rtt_after_us = decided.rtt_us;
            let (moved, held) = (failover.moved, failover.held);
            tracing::info!(database = self.name, moved, held, rtt_us = decided.rtt_us, "the movement is over");
            self.notice(false, EventReason::MovementOver, format!("pods moved: {moved}, held: {held}"));
        }
    }
}

fn member(member: &Member) -> MemberStatus {
    MemberStatus {
        name: member.name.clone(),
        host: member.host.clone(),
        port: member.port,
        api_url: member.api_url.clone(),
    }
}
