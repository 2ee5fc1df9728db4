//! The moves that are under way: which pod takes the place of each, when each is over, and how it ended.

mod end;
mod replacements;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use strum::{IntoStaticStr, VariantNames};

use super::{
    ways::{UnknownWay, Way},
    window::Evidence,
    workloads::{WorkloadKey, Workloads},
};
use crate::core::{
    distance::tier::{Tier, TierMap},
    moment::Moment,
    workload::{Pod, Snapshot},
};

/// Moves that one database may have under way, failed ones among them: as many as its status takes.
pub const MOST_UNDERWAY: usize = 1000;

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
    /// Since when this process has waited for its replacement: since it began it, or read of it in the status, or the pod was last
    /// seen to be ending.
    pub since: Instant,
    /// When this process began it or read of it in the status. However long ago that was by the wall clock, which may have jumped.
    pub found: Instant,
    /// Number of pods that this moves.
    pub pods: u32,
    pub trace: Trace,
}

/// What a move leaves to be seen, and what it takes meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The node that was found for its replacement, which has the room there until it has a node. Empty: none is known.
    pub to: String,
    /// The pod as it was, by which its replacement's room is reckoned. Not known of what another leader began.
    pub like: Option<Arc<Pod>>,
    /// What the eviction takes of a disruption budget. Not known of what another leader began.
    pub spends: Option<Spends>,
    /// UIDs of the pods that its workload had when it was planned. Not known of what another leader began.
    pub beside: Option<Arc<BTreeSet<String>>>,
    /// The youngest of them.
    pub after: Option<Youngest>,
    /// UID of the pod that took its place.
    pub replacement: Option<String>,
    /// That pod has a node.
    pub bound: bool,
    /// That node was nearer.
    pub placed: bool,
    /// It wasn't Ready in time.
    pub failed: bool,
    /// It was begun for an earlier primary: whether it helps nobody can say.
    pub earlier: bool,
    /// The pod wasn't Ready where it was: if its replacement isn't either, that is nobody's failure.
    pub unready: bool,
    /// The API server accepted it, as whoever carried it out noted. Not known of what another leader began.
    pub accepted: bool,
}

/// The youngest pods of a workload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Youngest {
    /// By the API server's clock, which tells whole seconds.
    pub created: Timestamp,
    /// Number of pods that were created in that second, but for the one that is moved. What version 0.1 began leaves it unknown.
    pub pods: Option<u32>,
}

impl Youngest {
    #[must_use]
    pub fn of(pods: &[&Pod]) -> Self {
        let created = pods.iter().map(|pod| pod.created).max().unwrap_or_default();
        let pods = pods.iter().filter(|pod| pod.created == created).count();
        Self { created, pods: u32::try_from(pods).ok() }
    }
}

/// What an eviction takes of a disruption budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spends {
    /// UID of the budget.
    pub budget: String,
    /// The budget as it was: a status of the same version can't show the eviction.
    pub version: String,
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
        self.trace.failed
            || now.instant.saturating_duration_since(self.since) > timeout
            || self.age(now.wall) > timeout.saturating_add(CLOCKS_APART)
    }

    /// Whether nobody waits for its replacement any more: it failed, and has been waited for as long again since.
    #[must_use]
    pub fn given_up(&self, timeout: Duration, now: Instant) -> bool {
        self.trace.failed && now.saturating_duration_since(self.since) > timeout.saturating_mul(2)
    }

    /// Whether its pod is still there as if nothing had been done.
    #[must_use]
    pub fn untouched(&self, snapshot: Snapshot<'_>) -> bool {
        snapshot.pods.get(&self.uid).is_some_and(|pod| !pod.terminating)
    }

    /// Where its replacement's room is promised: one that has a node holds its own.
    #[must_use]
    pub fn reserves(&self) -> Option<&str> {
        (self.way.is_ok() && !self.trace.bound && !self.trace.to.is_empty()).then_some(&*self.trace.to)
    }
}

/// What ends and follow-ups of moves are read off.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    pub snapshot: Snapshot<'a>,
    pub tiers: &'a TierMap,
    /// What draws replacements nearer.
    pub node_label: &'a str,
    /// The marks of workloads that were restarted for this primary begin with it.
    pub restart_series: &'a str,
    /// How long a replacement may take.
    pub timeout: Duration,
    pub now: Moment,
}

/// What one look showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// The moves that are over.
    pub outcomes: Vec<Outcome>,
    pub evidence: Evidence,
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
    /// The pod is still there: the move was never carried out, as far as anybody here knows.
    NotCarriedOut,
    /// The workload's template was told to restart, and doesn't say so any more: somebody took that back.
    Reverted,
    /// The workload is gone or was scaled down to nothing.
    #[strum(serialize = "workload_gone")]
    Gone,
    /// The pod is gone and its workload whole without another one: it was scaled down meanwhile.
    NotReplaced,
    /// The pod is gone and its workload whole, by a way that this version doesn't know, or for an earlier primary: so it can't say what
    /// the move brought.
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
    /// Restarts that were carried out, by workload: the mark in a template is that of the last database alone that restarted it.
    pub restarts: BTreeMap<WorkloadKey, u32>,
    /// Namespaces whose last replacement that could be judged did not fail.
    pub fine: BTreeSet<String>,
    /// UIDs of the replacements of moves that are over: they are nobody else's.
    pub taken: BTreeSet<String>,
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
    /// Ends the moves that are over and says how they ended, and what the others showed.
    pub fn settle(&mut self, look: &Look<'_>) -> Settled {
        if self.underway.is_empty() {
            self.taken.clear();
            return Settled::default();
        }
        let snapshot = look.snapshot;
        let moved: HashSet<String> = self.underway.iter().map(|move_| move_.workload.uid.clone()).collect();
        let workloads = Workloads::named(snapshot, moved.iter().map(String::as_str));
        self.taken.retain(|uid| snapshot.pods.contains_key(uid));
        replacements::claim(&mut self.underway, &self.taken, snapshot, &workloads);
        let mut settled = Settled::default();
        for move_ in &mut self.underway {
            if end::follow(move_, look, &mut settled.evidence) {
                self.fine.remove(&move_.workload.namespace);
            }
        }
        self.underway.retain_mut(|move_| {
            let workload_pods = workloads.get(&move_.workload);
            let Some(end) = end::of(move_, workload_pods, look) else { return true };
            settled.outcomes.push(Outcome { underway: move_.clone(), end });
            false
        });
        for outcome in &settled.outcomes {
            self.remember(outcome, look, &workloads, &mut settled.evidence);
        }
        settled
    }

    fn remember(&mut self, outcome: &Outcome, look: &Look<'_>, workloads: &Workloads<'_>, evidence: &mut Evidence) {
        let Outcome { underway, end } = outcome;
        let workload = &underway.workload;
        self.taken.extend(underway.trace.replacement.clone());
        if underway.way == Ok(Way::Restart) && *end != End::NotCarriedOut {
            *self.restarts.entry(workload.clone()).or_default() += 1;
        }
        match end {
            End::Moved { .. } => {
                self.moved += underway.pods;
                if !underway.trace.failed {
                    self.fine.insert(workload.namespace.clone());
                    evidence.ready += 1;
                }
                if underway.way == Ok(Way::Evict) {
                    let brought = self.brought.entry(workload.clone()).or_default();
                    brought.moves += underway.pods;
                    brought.desired = workloads.get(workload).and_then(|it| it.desired).unwrap_or(0);
                } else {
                    evidence.placed += 1;
                }
            }
            End::Useless { .. } | End::Reverted => {
                *self.useless.entry(workload.clone()).or_default() += 1;
                evidence.failed += 1;
            }
            End::Missed { way, uid, .. } => {
                evidence.failed += 1;
                if *way == Way::Evict {
                    let times = self.missed.get(workload).map_or(0, |missed| missed.times) + 1;
                    let last = look.snapshot.pods.get(uid).map_or(look.now.wall, |pod| pod.created);
                    self.missed.insert(workload.clone(), Missed { times, last });
                }
            }
            End::NotCarriedOut | End::Gone | End::NotReplaced | End::Unjudged => {}
        }
    }

    /// The moves whose replacement should have been Ready by now. How long a way takes that this version doesn't know, it doesn't know
    /// either.
    pub fn overdue(&self, timeout: Duration, now: Moment) -> impl Iterator<Item = &Underway> {
        self.underway.iter().filter(move |move_| move_.way.is_ok() && move_.overdue(timeout, now))
    }

    /// Those among them that say that something is wrong, which a pod that wasn't Ready before doesn't.
    pub fn failures(&self, timeout: Duration, now: Moment) -> impl Iterator<Item = &Underway> {
        self.overdue(timeout, now).filter(|move_| !move_.trace.unready)
    }

    /// How many moves are under way whose replacement may still be Ready in time. A failed one gives its place to others.
    #[must_use]
    pub fn in_time(&self, timeout: Duration, now: Moment) -> usize {
        self.underway.len() - self.overdue(timeout, now).count()
    }

    /// How often the workload's pods were brought nearer for this primary, if that was more than twice for each: then something else
    /// moves them back.
    #[must_use]
    pub fn moved_back(&self, workload: &WorkloadKey) -> Option<u32> {
        let brought = self.brought.get(workload)?;
        (brought.moves > brought.desired.saturating_mul(2)).then_some(brought.moves)
    }

    /// Begins anew for another primary. What is under way stays so until it is over, and counts as neither useful nor useless.
    pub fn begin_anew(&mut self) {
        let mut underway = std::mem::take(&mut self.underway);
        underway.iter_mut().for_each(|move_| move_.trace.earlier = true);
        *self = Self { underway, taken: std::mem::take(&mut self.taken), ..Self::default() };
    }
}

#[cfg(test)]
mod tests;
