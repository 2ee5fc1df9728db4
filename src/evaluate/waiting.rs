//! Since when workloads wait for what passes by itself, and may never: a rollout that is paused, hangs or is held back for a canary, or a
//! replica that never becomes Ready. Nobody's movement stays open for it.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::Stays;
use crate::core::{
    hash::HashSet,
    movement::{held::HeldReason, journal::Underway},
};

/// Since when, by the workload's UID and the reason. Only those are in it who wait in the newest plan: it is no larger than that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Waiting(BTreeMap<(String, &'static str), Instant>);

impl Waiting {
    /// Takes note of who stays, and marks those who are left behind: they have waited for `timeout`, and no move of their workload is
    /// under way whose replacement is still waited for. `underway` are the moves of all databases.
    pub(super) fn note<'u>(
        &mut self,
        stays: &mut [Stays],
        underway: impl Iterator<Item = &'u Underway>,
        timeout: Duration,
        now: Instant,
    ) {
        let uid = |move_: &'u Underway| &*move_.workload.uid;
        let (given_up, moving): (Vec<_>, Vec<_>) = underway.partition(|move_| move_.given_up(timeout, now));
        let given_up: HashSet<&str> = given_up.into_iter().map(uid).collect();
        let moving: HashSet<&str> = moving.into_iter().map(uid).collect();
        let before = std::mem::take(&mut self.0);
        for stays in &mut *stays {
            let uid = &*stays.workload.uid;
            let one_failed = given_up.contains(uid)
                && matches!(stays.reason, HeldReason::OneAtATime | HeldReason::PerWorkload { .. });
            if moving.contains(uid) || !(stays.reason.may_last() || one_failed) {
                continue;
            }
            let key = (uid.to_owned(), stays.reason.name());
            let since = before.get(&key).copied().unwrap_or(now);
            stays.left_behind = now.saturating_duration_since(since) >= timeout;
            self.0.insert(key, since);
        }
        stays.sort_by_key(Stays::rank);
    }
}

#[cfg(test)]
mod tests;
