//! How far the movement after the last change of primary has come, and when it will be over if it goes on as it did.

use jiff::Timestamp;
use serde::Serialize;

use crate::api::{DatabaseClusterStatus, database_cluster::FailoverStatus};

/// Where the movement stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Progress {
    /// Pods that were moved since the primary changed.
    pub moved: u32,
    /// Pods that are on the move.
    pub moving: u32,
    /// Pods that wait for their turn.
    pub waiting: u32,
    /// Pods that stay until somebody does something about it.
    pub staying: u32,
    /// It is over.
    pub over: bool,
    /// So many seconds more, if the rest takes as long for each pod as those did that were moved. `None` while that can't be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_s: Option<u64>,
}

impl Progress {
    /// As the status says at `now`.
    #[must_use]
    pub(super) fn of(status: &DatabaseClusterStatus, now: Timestamp) -> Self {
        let row = status.failover();
        let moving: u32 = status.moving.iter().filter(|moving| !moving.failed).map(|moving| moving.pods).sum();
        let waiting: u32 = status.held_workloads.iter().filter(|held| held.passes).map(|held| held.pods).sum();
        let staying = status.held_total.saturating_sub(waiting);
        let moved = row.map_or(0, |row| row.moved);
        let over = row.is_some_and(|row| row.moved_at.is_some()) && moving == 0;
        let left_s = row.filter(|_| !over).and_then(|row| left_s(row, moving + waiting, now));
        Self { moved, moving, waiting, staying, over, left_s }
    }

    /// How many of the pods that can be moved were moved, in percent.
    #[must_use]
    pub(super) fn percent(&self) -> Option<u32> {
        let all = self.moved + self.moving + self.waiting;
        (all > 0).then(|| u32::try_from(u64::from(self.moved) * 100 / u64::from(all)).unwrap_or(100))
    }

    /// In one sentence. Empty where there was nothing to move.
    #[must_use]
    pub(super) fn sentence(&self) -> String {
        let Self { moved, moving, waiting, staying, .. } = self;
        if moved + moving + waiting + staying == 0 {
            return String::new();
        }
        let left = self.left_s.map(|left_s| format!("; about {left_s} s more")).unwrap_or_default();
        format!("{moved} moved, {moving} on the move, {waiting} wait for their turn, {staying} stay{left}")
    }
}

fn left_s(row: &FailoverStatus, rest: u32, now: Timestamp) -> Option<u64> {
    let begun = row.first_move_at.filter(|_| row.moved > 0 && rest > 0)?;
    let took_ms = u64::try_from(now.duration_since(begun).as_millis()).ok()?;
    Some((took_ms.saturating_mul(u64::from(rest)) / u64::from(row.moved)).div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;
    use crate::api::database_cluster::{HeldWorkloadStatus, MovingStatus};

    fn status(moved: u32, moving: u32, waiting: u32, staying: u32, over: bool) -> DatabaseClusterStatus {
        let at = |text: &str| Some(text.parse().unwrap());
        let held = |pods, passes| HeldWorkloadStatus { pods, passes, ..HeldWorkloadStatus::default() };
        DatabaseClusterStatus {
            epoch: 2,
            moving: (0..moving).map(|_| MovingStatus { pods: 1, ..MovingStatus::default() }).collect(),
            held_workloads: vec![held(waiting, true), held(staying, false)],
            held_total: waiting + staying,
            failovers: vec![FailoverStatus {
                epoch: 2,
                moved,
                first_move_at: at("2026-01-01T00:00:10Z"),
                moved_at: at("2026-01-01T00:00:20Z").filter(|_| over),
                ..FailoverStatus::default()
            }],
            ..DatabaseClusterStatus::default()
        }
    }

    #[test]
    fn the_end_is_estimated_from_how_long_those_took_that_were_moved() {
        let rows = [
            // Ten seconds have passed since the first move.
            ((5, 2, 3, 0, false), Some(50), Some(10)),
            ((4, 1, 0, 7, false), Some(80), Some(3)),
            ((0, 3, 7, 0, false), Some(0), None),
            ((6, 0, 0, 2, true), Some(100), None),
            ((0, 0, 0, 2, true), None, None),
        ];
        let now = "2026-01-01T00:00:20Z".parse().unwrap();
        check_rows(rows, |((moved, moving, waiting, staying, over), percent, left_s)| {
            let progress = Progress::of(&status(moved, moving, waiting, staying, over), now);
            assert_eq!(progress, Progress { moved, moving, waiting, staying, over, left_s });
            assert_eq!(progress.percent(), percent);
        });
    }

    #[test]
    fn progress_is_one_sentence_and_none_where_there_is_nothing_to_move() {
        let now = "2026-01-01T00:00:20Z".parse().unwrap();
        let sentence = |status| Progress::of(&status, now).sentence();
        assert_eq!(
            sentence(status(5, 2, 3, 1, false)),
            "5 moved, 2 on the move, 3 wait for their turn, 1 stay; about 10 s more"
        );
        assert_eq!(sentence(DatabaseClusterStatus::default()), "");
    }
}
