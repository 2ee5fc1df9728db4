//! What must be remembered from one evaluation to the next. Everything that a change of leader must not lose is in the status,
//! and is read from there again.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    Facts,
    course::Course,
    former::Former,
    labels::{Compared, Looked, Refusal, Refusals},
    stays::{Lately, Stays},
    waiting::Waiting,
};
use crate::{
    api::{
        DatabaseClusterStatus,
        database_cluster::{MemberStatus, MissedStatus, MovingStatus, WorkloadStatus},
    },
    core::{
        backoff::{Backoffs, Pause},
        distance::{
            overwrite::Overwrites,
            tier::{Tier, TierMap},
        },
        map::Map,
        moment::Moment,
        movement::{
            held::{Gate, HeldReason},
            journal::{Journal, Missed, Outcome, Trace, Underway, Youngest},
            limits::MINUTE,
            plan::{Move, Plan},
            restart::MissedRestarts,
            workloads::WorkloadKey,
        },
        primary::PrimaryView,
        workload::{Node, Snapshot},
    },
};

/// A held pod may only be waiting for others to catch up, such as a disruption budget whose status lags behind its pods:
/// the movement is called over when nothing has been left to do for this long.
const QUIET: Duration = Duration::from_secs(5);
/// A workload whose eviction was refused is tried again after this long; each further refusal doubles it.
const MOVE_REFUSED: Pause = Pause { first: Duration::from_secs(2), longest: Duration::from_secs(60) };
/// So are all pods of a disruption budget that allowed none: others may spend it, or its status came late.
const BUDGET_REFUSED: Pause = Pause { first: Duration::from_millis(500), longest: Duration::from_secs(60) };
/// How far clocks of different machines may be apart before a primary counts as having held for longer than it has.
const CLOCKS_APART: Duration = Duration::from_secs(60);
/// Longer than anybody lets a primary settle.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// What one database's evaluations remember.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// Name of the last confirmed primary.
    primary: Option<String>,
    /// Its host, as far as anybody says.
    pub primary_host: Option<String>,
    /// Of the primary.
    epoch: u64,
    /// When this process last believed in it.
    believed: Option<Instant>,
    /// Whom it followed upon.
    pub(super) former: Option<Former>,
    pub tiers: Arc<TierMap>,
    /// When the readings last counted.
    pub(super) measured: Option<Instant>,
    /// What that came from.
    pub(super) looked: Option<Looked>,
    /// That all labels were right.
    pub(super) compared: Option<Compared>,
    /// Labels that were right.
    pub(super) overwrites: Overwrites,
    /// Nodes whose label could not be written, and why.
    pub(super) refused: Refusals,
    /// The primary has changed and not every node has its new label yet.
    pub(super) relabelling: bool,
    /// The primary has changed and not every node's new label was tried yet.
    pub(super) at_once: bool,
    pub journal: Journal,
    /// Nodes near this primary that were seen with its label.
    near: BTreeSet<String>,
    /// The nodes, and the key of the label, that they were last seen by. Nobody's tier has changed since.
    pub(super) near_of: Option<(Map<String, Arc<Node>>, String)>,
    /// Workloads and disruption budgets that the API server refused evictions of, and workloads whose replacement admission missed, by UID.
    pub(super) backoffs: Backoffs<HeldReason>,
    pub(super) missed: MissedRestarts,
    /// When the latest moves began, by UID of the pod, the latest last.
    begun: VecDeque<(Instant, String)>,
    /// Workloads that had a pod on the move a moment ago.
    pub(super) lately: Lately,
    /// Since when workloads wait for what may never come.
    waiting: Waiting,
    /// How the movement for the present primary goes.
    pub course: Course,
    /// Since when there has been nothing to move.
    quiet_since: Option<Instant>,
    /// Moves have ended since the movement was last called over.
    ended_some: bool,
    /// For how long the primary had held already when this process began, as long as it has held since.
    pub(super) credit: Option<Duration>,
    /// Since when that is, by the last leader's clock.
    pub(super) credited_since: Option<Timestamp>,
}

impl Memory {
    /// As the last leader left it. This process waits for that one's moves from `now` on.
    #[must_use]
    pub fn restored(status: &DatabaseClusterStatus, now: Moment) -> Self {
        let since = calm_since(status);
        let held = since.and_then(|since| Duration::try_from(now.wall.duration_since(since)).ok());
        let held = held.map(|held| held.saturating_sub(CLOCKS_APART));
        let journal = journal(status, now.instant);
        let young = journal.underway.iter().filter(|underway| underway.age(now.wall) < MINUTE);
        let begun = young.map(|underway| (now.instant, underway.uid.clone())).collect();
        let unlabelled = status.failovers.first().filter(|failover| failover.labelled_at.is_none());
        let former = status.failover().and_then(|failover| failover.from.as_ref());
        let former = former.and_then(|former| status.members.iter().find(|member| member.name == *former));
        Self {
            primary: status.primary.clone(),
            primary_host: status.primary_host.clone(),
            epoch: status.epoch,
            former: former.map(|member| Former { host: member.host.clone(), believed: None }),
            relabelling: unlabelled.is_some(),
            at_once: unlabelled.is_some_and(|failover| failover.from.is_some()),
            journal,
            begun,
            course: status.failover().map(Course::restored).unwrap_or_default(),
            credit: held,
            credited_since: since,
            ..Self::default()
        }
    }

    /// Whether there is something to do even if nothing changes.
    #[must_use]
    pub fn busy(&self) -> bool {
        !self.journal.underway.is_empty() || self.at_once
    }

    /// Whoever leads says that the primary has held for long enough: who only looks needn't allow for two clocks.
    pub fn note_settled(&mut self) {
        self.credit = self.credit.map(|_| LONG);
    }

    /// Since when the primary has held, as the last leader wrote it, if it has held since this process began, too.
    pub(super) fn calm_since(&self) -> Option<Timestamp> {
        self.credited_since.filter(|_| self.credit.is_some())
    }

    /// A node was written to, or refused it.
    pub fn note_written(&mut self, node: &str, refusal: Option<Refusal>, now: Instant) {
        match refusal {
            None => self.refused.end(node),
            Some(refusal) => {
                let pause = refusal.pause();
                self.refused.add(node, refusal, pause, now);
            }
        }
    }

    /// Every node was tried. Whoever refused is tried again; but from now on readings that waver change nothing.
    pub fn note_all_tried(&mut self) {
        self.at_once &= self.tiers.bounds.is_none();
    }

    /// A planned move is not under way after all.
    pub fn forget_move(&mut self, uid: &str) {
        self.journal.underway.retain(|underway| underway.uid != uid);
        self.begun.retain(|(_, begun)| begun != uid);
    }

    /// These pods' moves were asked for, or wait for their turn, and have no answer yet: nothing of them can be seen so far.
    pub fn note_asked(&mut self, uids: &BTreeSet<String>, now: Instant) {
        for underway in self.journal.underway.iter_mut().filter(|underway| uids.contains(&underway.uid)) {
            (underway.found, underway.since) = (now, now);
        }
    }

    /// Moves begin.
    pub(super) fn note_begun(&mut self, moves: &[Move], now: Instant) {
        self.begun.extend(moves.iter().map(|move_| (now, move_.uid.clone())));
    }

    /// How many moves began within the last minute. (Of those that another leader began, the ones that are still under way were noted when
    /// this one took over.)
    pub(super) fn begun_lately(&mut self, now: Instant) -> u32 {
        while self.begun.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) >= MINUTE) {
            self.begun.pop_front();
        }
        u32::try_from(self.begun.len()).unwrap_or(u32::MAX)
    }

    /// The API server refused a move, and what is refused one pod is refused the others, too: those of its workload, or of its disruption
    /// budget (`by_budget`) if that allowed none.
    pub fn note_refused_move(&mut self, move_: &Move, by_budget: bool, why: String, now: Instant) {
        self.forget_move(&move_.uid);
        let budget = move_.spends.as_ref().filter(|_| by_budget).map(|spends| &*spends.budget);
        let pause = if by_budget { BUDGET_REFUSED } else { MOVE_REFUSED };
        self.backoffs.add(budget.unwrap_or(&move_.workload.uid), HeldReason::Backoff(why), pause, now);
    }

    /// A move was accepted: who was refused before begins anew.
    pub fn note_accepted_move(&mut self, move_: &Move) {
        if let Some(underway) = self.journal.underway.iter_mut().find(|underway| underway.uid == move_.uid) {
            underway.trace.accepted = true;
        }
        if let Some(spends) = &move_.spends {
            self.backoffs.end(&spends.budget);
        }
    }

    /// Takes note of the nodes near the primary. One that was never among them may be what workloads lacked that came no nearer.
    pub(super) fn note_near(&mut self, snapshot: Snapshot<'_>, node_label: &str) {
        let seen = self.near_of.as_ref();
        if seen.is_some_and(|(nodes, key)| nodes.is_same(snapshot.nodes) && key == node_label) {
            return;
        }
        self.near_of = Some((snapshot.nodes.clone(), node_label.to_owned()));
        let near =
            |node: &&Node| node.labelled(node_label) == Tier::Closely && self.tiers.tier(&node.name) == Tier::Closely;
        let new: Vec<String> = snapshot
            .nodes()
            .filter(|node| near(node) && node.has_room_in_principle() && !self.near.contains(&node.name))
            .map(|node| node.name.clone())
            .collect();
        if !new.is_empty() {
            // The first look of all says nothing of what is new.
            if !self.near.is_empty() {
                self.journal.useless.clear();
            }
            self.near.extend(new);
        }
    }

    /// Goes along with what is believed: a new epoch begins with nothing under way and every label to be looked at.
    pub(super) fn follow(&mut self, view: &PrimaryView, members: &[MemberStatus], now: Instant) {
        if !view.movement_allowed() {
            // The streak is broken: a primary that comes back, or is free again, has to hold anew.
            self.credit = None;
        }
        let Some(primary) = view.last.as_ref() else { return };
        let host = self.host_of(&primary.name, members);
        let host_before = std::mem::replace(&mut self.primary_host, host);
        let before = self.primary.replace(primary.name.clone());
        let believed = self.believed;
        self.believed = view.known().map(|_| now).or(believed);
        if view.epoch == self.epoch {
            return;
        }
        self.former = host_before.map(|host| Former { host, believed });
        self.believed = view.known().map(|_| now);
        self.epoch = view.epoch;
        // The first labels of all wait until the agents are up.
        (self.relabelling, self.at_once) = (true, before.is_some());
        self.refused = Refusals::default();
        self.credit = None;
        self.journal.begin_anew();
        self.course = Course::default();
        self.lately = Lately::default();
        self.near.clear();
        self.near_of = None;
        self.backoffs = Backoffs::default();
    }

    /// The host of the primary. One that nobody lists has the host that was known of it; another member's it never has, because
    /// tiers would be those towards that one.
    fn host_of(&self, primary: &str, members: &[MemberStatus]) -> Option<String> {
        let listed = members.iter().find(|member| member.name == primary).map(|member| member.host.clone());
        if listed.as_deref() == Some("") {
            // It states one that is left out.
            return None;
        }
        listed.or_else(|| self.primary_host.clone().filter(|_| self.primary.as_deref() == Some(primary)))
    }

    /// Takes note of who waits, and marks those who have waited for so long that they are left behind.
    pub(super) fn note_waiting(&mut self, facts: &Facts<'_>, stays: &mut [Stays], now: Instant) {
        let timeout = facts.object.spec.movement.replacement_timeout.0;
        let underway = self.journal.underway.iter().chain(&facts.others.underway);
        self.waiting.note(stays, underway, timeout, now);
    }

    /// Whether the movement is over, which is said once, and again after further moves. A rollout that hangs, or a replacement that fails
    /// for ever, doesn't keep it open.
    pub(super) fn is_over(
        &mut self,
        facts: &Facts<'_>,
        gate: Option<&Gate>,
        (plan, stays): (&Plan, &[Stays]),
        outcomes: &[Outcome],
        now: Instant,
    ) -> bool {
        let timeout = facts.object.spec.movement.replacement_timeout.0;
        let waited_for = self.journal.underway.iter().any(|underway| !underway.given_up(timeout, now));
        let idle = gate.is_none() && plan.moves.is_empty() && !stays.iter().any(Stays::passes) && !waited_for;
        self.quiet_since = idle.then(|| self.quiet_since.unwrap_or(now));
        self.ended_some |= !outcomes.is_empty();
        let quiet = self.quiet_since.is_some_and(|since| now.saturating_duration_since(since) >= QUIET);
        let over = idle && (plan.held.is_empty() || quiet);
        let news = facts.failover().is_some_and(|failover| failover.moved_at.is_none() || self.ended_some);
        if over && news {
            self.ended_some = false;
        }
        over && news
    }
}

/// Since when the primary has held with nothing frozen, as far as the last leader knew.
fn calm_since(status: &DatabaseClusterStatus) -> Option<Timestamp> {
    let mut since = status.since?;
    for (type_, calm) in [("PrimaryKnown", "True"), ("Frozen", "False")] {
        if let Some(condition) = status.condition(type_) {
            if condition.status != calm {
                return None;
            }
            since = since.max(condition.last_transition_time.0);
        }
    }
    Some(since)
}

fn journal(status: &DatabaseClusterStatus, now: Instant) -> Journal {
    let underway = |moving: &MovingStatus| Underway {
        way: moving.action.parse(),
        workload: workload_key(&moving.workload),
        pod: moving.pod.rsplit('/').next().unwrap_or_default().to_owned(),
        uid: moving.uid.clone(),
        from: moving.from.clone(),
        from_tier: Tier::from_label(Some(&moving.from_tier)),
        started: moving.started_at.unwrap_or(Timestamp::UNIX_EPOCH),
        since: now,
        found: now,
        pods: moving.pods,
        trace: Trace {
            to: moving.to.clone(),
            after: moving.after.map(|created| Youngest { created, pods: moving.after_pods }),
            failed: moving.failed,
            earlier: moving.epoch.is_some_and(|epoch| epoch != status.epoch),
            unready: moving.unready,
            ..Trace::default()
        },
    };
    Journal {
        underway: status.moving.iter().map(underway).collect(),
        moved: status.failover().map_or(0, |failover| failover.moved),
        missed: status.missed.iter().map(missed).collect(),
        useless: status.useless.iter().map(|useless| (workload_key(&useless.workload), useless.moves)).collect(),
        ..Journal::default()
    }
}

fn missed(it: &MissedStatus) -> (WorkloadKey, Missed) {
    (workload_key(&it.workload), Missed { times: it.times, last: it.last })
}

fn workload_key(status: &WorkloadStatus) -> WorkloadKey {
    WorkloadKey {
        kind: status.kind.clone(),
        namespace: status.namespace.clone(),
        name: status.name.clone(),
        uid: status.uid.clone(),
    }
}

#[cfg(test)]
mod tests;
