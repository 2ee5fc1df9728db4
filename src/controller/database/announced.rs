//! A switchover to come: remembered in the status, and told when it is new, when it changes, and when it ends.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Task;
use crate::{
    api::DatabaseCluster,
    cluster::EventReason,
    controller::status_update::announced::{end, foreseen, is_worse, rank, readiness, written},
    core::announcement::{Announcement, Known, Turn},
    discover::DiscoveryState,
    foresight::Grade,
};

/// How bad it would be, as people were last told: how many would find no place, and how many could not be moved.
pub(super) type Told = (Option<Grade>, u32, u32);

impl Task {
    /// Takes note of what is announced.
    pub(super) fn remember_announced(&mut self, object: &DatabaseCluster, found: &DiscoveryState, wall: Timestamp) {
        let members: BTreeSet<&str> = self.status.members.iter().map(|member| member.name.as_str()).collect();
        let known = Known { primary: self.status.primary.as_deref(), members: &members };
        let turn = self.announcements.hear(&found.announced, known, wall);
        self.note_turn(turn, object, wall);
        self.tell_readiness_for_it();
    }

    /// Another primary was confirmed. When it was announced, if it came as announced.
    pub(super) fn end_announced(
        &mut self,
        object: &DatabaseCluster,
        from: Option<&str>,
        to: &str,
        wall: Timestamp,
    ) -> Option<Timestamp> {
        let turn = self.announcements.confirmed(from, to, wall);
        let came = match &turn {
            Some(Turn::Came(it)) => Some(it.at),
            _ => None,
        };
        self.note_turn(turn, object, wall);
        came
    }

    fn note_turn(&mut self, turn: Option<Turn>, object: &DatabaseCluster, wall: Timestamp) {
        self.status.announced = self.announcements.current.as_ref().map(written);
        let Some(turn) = turn else { return };
        self.told_announced = None;
        let (warning, reason) = match &turn {
            Turn::Announced(_) | Turn::Changed(_) => (false, EventReason::SwitchoverAnnounced),
            Turn::Withdrawn(_) => (false, EventReason::SwitchoverWithdrawn),
            Turn::Came(_) => (false, EventReason::SwitchoverCame),
            Turn::Missed(_) | Turn::Other(..) => (true, EventReason::SwitchoverDidNotCome),
            Turn::Ignored(_) => (true, EventReason::AnnouncementIgnored),
        };
        if self.status.announced.is_none() {
            end(&mut self.status, &turn, object.metadata.generation, wall);
        }
        let note = turn.to_string();
        tracing::info!(database = self.name, turn = turn.name(), note, "a switchover that is announced");
        self.notice(warning, reason, note);
    }

    /// Warns people ahead of it when not everybody would find a place, and again when it has become worse.
    fn tell_readiness_for_it(&mut self) {
        let Some(of) = readiness(&self.status) else { return };
        let worse = is_worse(self.told_announced, of);
        self.told_announced = Some(rank(of));
        if let Some(announced) = self.announcements.current.as_ref().filter(|_| worse) {
            let note = warning(announced, &foreseen(of));
            tracing::warn!(database = self.name, why = note, "not ready for the switchover that is announced");
            self.notice(true, EventReason::NotReadyForSwitchover, note);
        }
    }
}

fn warning(announced: &Announcement, foreseen: &str) -> String {
    format!("{announced}: {foreseen}; switchover plan says more")
}
