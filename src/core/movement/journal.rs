//! The moves that are under way: when each is over, and how it ended.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use strum::{IntoStaticStr, VariantNames};

use super::{
    held::Gate,
    restart,
    ways::{UnknownWay, Way},
    workloads::{WorkloadKey, WorkloadPods, Workloads},
};
use crate::core::{
    distance::tier::{Tier, TierMap},
    moment::Moment,
    workload::{Snapshot, Workload},
};

/// One move under way. Written to the status of the DatabaseCluster before it is carried out, so that whoever leads
/// next knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Underway {
    /// One that this version doesn't know is nobody's here to judge, repeat or forget before it is over.
    pub way: Result<Way, UnknownWay>,
    pub workload: WorkloadKey,
    pub pod: String,
    pub uid: String,
    pub from: String,
    pub from_tier: Tier,
    pub started: Timestamp,
    /// Since when this process has waited for it: since it began it, or read of it in the status.
    pub since: Instant,
    /// Number of pods that this moves.
    pub pods: u32,
}

impl Underway {
    /// For how long it has been under way. Another leader may have begun it by another clock: it is never less than nothing.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        Duration::try_from(now.duration_since(self.started)).unwrap_or_default()
    }

    /// Whether its replacement should have been Ready by now, which took longer than `timeout` as this process counts.
    ///
    /// What another leader began may be older, but that is for two clocks to say, and one of them may be ahead by more than
    /// `timeout`: then every move that a new leader finds would be a failure, and all movement halt. So it waits itself. Where
    /// controllers end again and again before they have waited for long, nothing would ever be overdue; therefore a move is so, too,
    /// that is older by the clocks than they can be apart. Until then it doesn't go unnoticed either: it keeps its place among
    /// those that may be on the move.
    #[must_use]
    pub fn overdue(&self, timeout: Duration, now: Moment) -> bool {
        now.instant.saturating_duration_since(self.since) > timeout
            || self.age(now.wall) > timeout.saturating_add(CLOCKS_APART)
    }
}

/// How one move ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub underway: Underway,
    pub end: End,
}

/// The ways in which a move ends.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum End {
    /// The replacement is Ready on a better tier.
    Moved { to: String },
    /// The replacement is Ready, but not nearer.
    Useless { to: String },
    /// The replacement is Ready, but not nearer, because admission missed it (`pod`, of this UID): it has no affinity.
    Missed { way: Way, to: String, pod: String, uid: String },
    /// The pod is still there: the move was never carried out.
    NotCarriedOut,
    /// The workload's template doesn't say any more that it is to be restarted: somebody took that back.
    Reverted,
    /// The workload is gone or was scaled down to nothing.
    #[strum(serialize = "workload_gone")]
    Gone,
    /// The pod is gone and its workload whole, by a way that this version doesn't know: so it can't say what the move brought.
    Unjudged,
}

impl End {
    /// Every [`End::name`].
    pub const NAMES: &'static [&'static str] = Self::VARIANTS;

    /// In one word, for metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

/// What the leader remembers of the movement in one epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Journal {
    pub underway: Vec<Underway>,
    /// Pods that reached a better tier.
    pub moved: u32,
    /// Useless moves by workload. A restart that was taken back is one, too.
    pub useless: BTreeMap<WorkloadKey, u32>,
    /// Pods that reached a better tier by eviction, by workload, and how many it wanted then.
    pub brought: BTreeMap<WorkloadKey, Brought>,
    /// Evictions whose replacement admission missed, by workload.
    pub missed: BTreeMap<WorkloadKey, Missed>,
}

/// How often a workload's pods were brought nearer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Brought {
    pub moves: u32,
    pub desired: u32,
}

/// How often admission missed a workload's replacements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    pub times: u32,
    /// When the last one of them was created, as the API server says.
    pub last: Timestamp,
}

/// A move whose pod is still untouched after this long was never carried out. A picture may be old for less than this before that
/// is noticed (`cluster::watch::UNNOTICED`): else a pod that is gone would look untouched, and the next one follow it.
pub const UNTOUCHED: Duration = Duration::from_secs(30);

/// Clocks that are used at all aren't farther apart: one that takes its time zone for another one's is wrong by 14 h.
const CLOCKS_APART: Duration = Duration::from_secs(24 * 3600);

impl Journal {
    /// Ends the moves that are over and returns how they ended. `node_label` is what draws replacements nearer; the marks of
    /// workloads that were restarted for this primary begin with `restart_series`.
    pub fn settle(
        &mut self,
        snapshot: Snapshot<'_>,
        tiers: &TierMap,
        node_label: &str,
        restart_series: &str,
        now: Timestamp,
    ) -> Vec<Outcome> {
        if self.underway.is_empty() {
            return Vec::new();
        }
        let moved: Vec<String> = self.underway.iter().map(|move_| move_.workload.uid.clone()).collect();
        let workloads = Workloads::named(snapshot, moved.iter().map(String::as_str));
        let mut outcomes = Vec::new();
        self.underway.retain(|move_| {
            let workload_pods = workloads.get(&move_.workload);
            let end = end_of(move_, workload_pods, snapshot, tiers, (node_label, restart_series), now);
            let Some(end) = end else { return true };
            outcomes.push(Outcome { underway: move_.clone(), end });
            false
        });
        for outcome in &outcomes {
            match outcome.end {
                End::Moved { .. } => {
                    self.moved += outcome.underway.pods;
                    if outcome.underway.way == Ok(Way::Evict) {
                        let brought = self.brought.entry(outcome.underway.workload.clone()).or_default();
                        brought.moves += outcome.underway.pods;
                        brought.desired =
                            workloads.get(&outcome.underway.workload).and_then(|it| it.desired).unwrap_or(0);
                    }
                }
                End::Useless { .. } | End::Reverted => {
                    *self.useless.entry(outcome.underway.workload.clone()).or_default() += 1;
                }
                End::Missed { way: Way::Evict, ref uid, .. } => {
                    let times = self.missed.get(&outcome.underway.workload).map_or(0, |missed| missed.times) + 1;
                    let last = snapshot.pods.get(uid).map_or(now, |pod| pod.created);
                    self.missed.insert(outcome.underway.workload.clone(), Missed { times, last });
                }
                End::Missed { .. } | End::NotCarriedOut | End::Gone | End::Unjudged => {}
            }
        }
        outcomes
    }

    /// Number of moves whose replacement should have been Ready by now. How long a way takes that this version doesn't know, it
    /// doesn't know either.
    #[must_use]
    pub fn overdue(&self, timeout: Duration, now: Moment) -> usize {
        let known = self.underway.iter().filter(|move_| move_.way.is_ok());
        known.filter(|move_| move_.overdue(timeout, now)).count()
    }

    /// The breaker: so many replacements should have been Ready by now (`timeout` each) that nothing further is moved.
    #[must_use]
    pub fn halted(&self, timeout: Duration, after_failures: u32, now: Moment) -> Option<Gate> {
        let failed = self.overdue(timeout, now);
        (failed >= after_failures as usize).then_some(Gate::Halted { failed })
    }

    /// How often the workload's pods were brought nearer for this primary, if that was more than twice for each: then something else
    /// moves them back.
    #[must_use]
    pub fn moved_back(&self, workload: &WorkloadKey) -> Option<u32> {
        let brought = self.brought.get(workload)?;
        (brought.moves > brought.desired.saturating_mul(2)).then_some(brought.moves)
    }

    /// Begins anew for another primary. What is under way by a way that this version doesn't know stays so until it is over.
    pub fn begin_anew(&mut self) {
        self.underway.retain(|move_| move_.way.is_err());
        *self = Self { underway: std::mem::take(&mut self.underway), ..Self::default() };
    }
}

fn end_of(
    move_: &Underway,
    workload_pods: Option<&WorkloadPods<'_>>,
    snapshot: Snapshot<'_>,
    tiers: &TierMap,
    (node_label, restart_series): (&str, &str),
    now: Timestamp,
) -> Option<End> {
    let age = move_.age(now);
    let Ok(way) = move_.way else { return end_of_unknown(move_, workload_pods, snapshot, age) };
    let untouched = snapshot.pods.get(&move_.uid).is_some_and(|pod| !pod.terminating);
    if way == Way::Evict && untouched {
        return (age >= UNTOUCHED).then_some(End::NotCarriedOut);
    }
    let workload_pods = match workload_pods {
        Some(workload_pods) => workload_pods,
        // No pod at all: either the replacement isn't there yet, or there is no workload any more.
        None => return gone(move_, snapshot, age),
    };
    if workload_pods.desired == Some(0) {
        return Some(End::Gone);
    }
    if !workload_pods.whole() {
        return None;
    }
    // One pod of a workload is moved at a time and only from a whole workload: the newest serving pod took its place.
    let newest =
        workload_pods.pods.iter().filter(|pod| snapshot.serves(pod)).max_by_key(|pod| (pod.created, &pod.uid))?;
    if way == Way::Restart && untouched {
        // The rollout hasn't begun, or it hasn't come to this pod (of a StatefulSet), or somebody took it back: the mark in template
        // and pods tells.
        let mark = workload_pods.itself.and_then(|itself| itself.restarted_for.as_deref());
        let end = match mark.filter(|mark| restart::times(Some(mark), restart_series) > 0) {
            None => End::Reverted,
            Some(mark) if workload_pods.pods.iter().any(|pod| pod.restarted_for.as_deref() == Some(mark)) => {
                return None;
            }
            Some(_) => End::NotCarriedOut,
        };
        return (age >= UNTOUCHED).then_some(end);
    }
    let to = newest.node.clone().unwrap_or_default();
    Some(if tiers.tier(&to) < move_.from_tier {
        End::Moved { to }
    } else if newest.is_drawn_by(node_label) {
        End::Useless { to }
    } else {
        End::Missed { way, to, pod: newest.name.clone(), uid: newest.uid.clone() }
    })
}

/// When a move is over of whose way nothing is known: as soon as nothing of it can be seen any more.
fn end_of_unknown(
    move_: &Underway,
    workload_pods: Option<&WorkloadPods<'_>>,
    snapshot: Snapshot<'_>,
    age: Duration,
) -> Option<End> {
    let Some(workload_pods) = workload_pods else { return gone(move_, snapshot, age) };
    if snapshot.pods.contains_key(&move_.uid) {
        return None;
    }
    match workload_pods.desired {
        Some(0) => Some(End::Gone),
        Some(_) => workload_pods.whole().then_some(End::Unjudged),
        // Whether it is whole can't be said of this kind, and nothing here moves it either.
        None => Some(End::Unjudged),
    }
}

fn gone(move_: &Underway, snapshot: Snapshot<'_>, age: Duration) -> Option<End> {
    let uid = &move_.workload.uid;
    let belongs = |set: &Workload| set.owner.as_ref().is_some_and(|owner| owner.uid == *uid);
    let known = snapshot.workloads.contains_key(uid) || snapshot.workloads.values().any(|set| belongs(set));
    (age >= UNTOUCHED && !known).then_some(End::Gone)
}

#[cfg(test)]
mod tests;
