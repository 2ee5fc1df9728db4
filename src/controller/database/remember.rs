//! What the status remembers of who is primary, and of each change.

use jiff::Timestamp;

use super::Task;
use crate::{
    api::{
        DatabaseCluster,
        database_cluster::{FailoverStatus, MemberStatus},
    },
    cluster::EventReason,
    controller::status_update,
    discover::{DiscoveryState, Member, MemberAnswer},
    evaluate::{Decided, Memory},
};

/// Changes of primary that status remembers.
const MOST_FAILOVERS: usize = 10;
/// A minute, in seconds.
const MINUTE_S: u64 = 60;

impl Task {
    /// Takes note of who is primary: a new epoch begins a new entry of the history.
    pub(super) fn remember_primary(&mut self, object: &DatabaseCluster, found: &DiscoveryState, wall: Timestamp) {
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
        let why = from.as_deref().map(|from| why(from, &found.answers).to_owned());
        let announced_for = self.end_announced(object, from.as_deref(), &primary.name, wall);
        let failover = FailoverStatus {
            epoch: view.epoch,
            from,
            why,
            to: primary.name.clone(),
            timeline: primary.timeline,
            confirmed_at: Some(wall),
            announced_for,
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
        // Once it is over, the row stays as it is, whatever moves later.
        let open = failover.moved_at.is_none();
        if failover.rtt_before_us.is_none() && failover.labelled_at.is_some() && open {
            failover.rtt_before_us = decided.rtt_us;
        }
        if open {
            let moves = !decided.plan.moves.is_empty() || !decided.outcomes.is_empty();
            go_on(failover, &self.memory, moves || decided.over);
        }
        if decided.over {
            if open {
                end(failover, decided, wall);
            }
            let (moved, held) = (self.memory.journal.moved, decided.plan.held.len());
            tracing::info!(database = self.name, moved, held, rtt_us = decided.rtt_us, "the movement is over");
            self.notice(false, EventReason::MovementOver, format!("pods moved: {moved}, held: {held}"));
        }
    }
}

/// What the movement came to so far. What grows all the time is written when something else has happened, too, or a minute's worth of a
/// pod has come together: each change is a write.
fn go_on(failover: &mut FailoverStatus, memory: &Memory, happened: bool) {
    let Memory { course, journal, .. } = memory;
    failover.first_move_at = course.first_move;
    failover.last_move_at = course.last_move;
    failover.moved = journal.moved;
    failover.useless = course.useless;
    failover.refused_by_budgets = course.refused_by_budgets;
    let far = course.far_pod_seconds();
    if happened || far >= failover.far_pod_seconds + MINUTE_S.max(failover.far_pod_seconds / 10) {
        failover.far_pod_seconds = far;
        (failover.workloads, failover.workloads_total) = course.workloads();
    }
}

/// The movement is over.
fn end(failover: &mut FailoverStatus, decided: &Decided, wall: Timestamp) {
    failover.moved_at = Some(wall);
    failover.held = u32::try_from(decided.plan.held.len()).unwrap_or(u32::MAX);
    failover.held_by_reason.clear();
    for held in &decided.plan.held {
        *failover.held_by_reason.entry(held.reason.name().to_owned()).or_default() += 1;
    }
    failover.rtt_after_us = decided.rtt_us;
}

/// Why the primary changed, by what the former one says now.
fn why(former: &str, answers: &[MemberAnswer]) -> &'static str {
    // What Patroni says of a PostgreSQL that doesn't run and isn't about to.
    let out_of_order = |state: &str| ["crashed", "start failed", "stop failed", "restart failed"].contains(&state);
    match answers.iter().find(|answer| answer.name == former) {
        None => "Unknown",
        Some(answer) if answer.error.is_some() => "Crash",
        Some(answer) if answer.state.as_deref().is_some_and(out_of_order) => "Crash",
        Some(_) => "Planned",
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

#[cfg(test)]
mod tests;
