//! Restarts of whole workloads: how often one was restarted for this primary, and when it is restarted again because admission
//! missed its new pods.
//!
//! The mark in the pod template is what persists: whoever leads reads there how often it was done. Templates hand it on to their
//! pods, so that pods which bear it tell that the rollout has come to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::workloads::{WorkloadPods, Workloads, uid_of, workload_of};
use crate::core::{
    backoff::Pause,
    workload::{Phase, Pod, Snapshot},
};

/// A workload whose new pods admission missed is moved again after this long, each time after twice as long: soon after the
/// webhook is back, and rarely while it isn't.
pub const MISSED: Pause = Pause { first: Duration::from_secs(15), longest: Duration::from_secs(1800) };

/// What begins the mark of every restart that is made for one change of primary: `DATABASE/EPOCH`.
#[must_use]
pub fn series(database: &str, epoch: u64) -> String {
    format!("{database}/{epoch}")
}

/// The mark of the first, second, … restart of a series: `DATABASE/EPOCH`, `DATABASE/EPOCH/2`, … They differ, because only a
/// change of the template is a restart.
#[must_use]
pub fn mark(series: &str, time: u32) -> String {
    if time <= 1 { series.to_owned() } else { format!("{series}/{time}") }
}

/// How many restarts of a series a mark tells of. Names of databases hold no slash, so that no other series begins like this one.
#[must_use]
pub fn times(mark: Option<&str>, series: &str) -> u32 {
    match mark.and_then(|mark| mark.strip_prefix(series)) {
        None => 0,
        Some("") => 1,
        // Anything else behind it is of another series (`orders/2` and `orders/21`), or nothing that was ever written.
        Some(rest) => rest.strip_prefix('/').and_then(|time| time.parse().ok()).unwrap_or(0),
    }
}

/// Whether a restart has come to every pod of the workload (by the `mark` of its template) and admission missed this one.
#[must_use]
pub fn missed(workload_pods: &WorkloadPods<'_>, mark: Option<&str>, pod: &Pod, node_label: &str) -> bool {
    let mut staying = workload_pods.pods.iter().filter(|pod| !pod.terminating && pod.phase != Phase::Finished);
    let has_come = |pod: &Pod| match workload_pods.itself {
        Some(itself) => itself.has_restarted(pod),
        None => pod.restarted_for.as_deref() == mark,
    };
    let over = workload_pods.whole() && staying.all(|pod| has_come(pod));
    over && !pod.is_drawn_by(node_label)
}

/// Since when this process has known of restarts that admission missed, by the workload's UID. Nothing of it is kept over a change of
/// leader, so that a new one waits the whole pause anew rather than compare the clocks of two machines.
#[derive(Debug, Clone, Default)]
pub struct MissedRestarts {
    since: BTreeMap<String, (u32, Instant)>,
}

impl MissedRestarts {
    /// One look at every pod that follows. `series` is that of the present primary.
    pub fn look<'a>(
        &mut self,
        snapshot: Snapshot<'_>,
        followers: impl IntoIterator<Item = &'a Pod>,
        series: &str,
        node_label: &str,
        now: Instant,
    ) {
        // Most often nothing was.
        if !snapshot.workloads.values().any(|it| times(it.restarted_for.as_deref(), series) > 0) {
            self.since.clear();
            return;
        }
        let restarted = |uid: &str| {
            let mark = snapshot.workloads.get(uid)?.restarted_for.as_deref();
            Some((mark, times(mark, series))).filter(|(_, times)| *times > 0)
        };
        let candidates: Vec<_> = followers
            .into_iter()
            .filter(|pod| !pod.is_drawn_by(node_label))
            .filter_map(|pod| uid_of(snapshot, pod).and_then(restarted).map(|mark| (pod, mark)))
            .filter_map(|(pod, (mark, times))| Some((pod, workload_of(snapshot, pod)?, mark, times)))
            .collect();
        let mut since = BTreeMap::new();
        if !candidates.is_empty() {
            let uids: BTreeSet<&str> = candidates.iter().map(|(_, key, ..)| &*key.uid).collect();
            let workloads = Workloads::named(snapshot, uids.iter().copied());
            for (pod, key, mark, times) in candidates {
                if workloads.get(&key).is_some_and(|workload_pods| missed(workload_pods, mark, pod, node_label)) {
                    let known = self.since.get(&key.uid).filter(|(known, _)| *known == times);
                    since.insert(key.uid, (times, known.map_or(now, |(_, since)| *since)));
                }
            }
        }
        self.since = since;
    }

    /// Whether a workload that was restarted so many times may be restarted again: its pause is over.
    #[must_use]
    pub fn due(&self, uid: &str, times: u32, now: Instant) -> bool {
        let since = self.since.get(uid).filter(|(known, _)| *known == times);
        since.is_some_and(|(_, since)| now.saturating_duration_since(*since) >= MISSED.nth(times))
    }
}

#[cfg(test)]
mod tests;
