//! One evaluation of one database: everything that is decided, from one picture of the cluster.
//!
//! Pure over [`index`](crate::index) and [`api`](crate::api): it knows no client, no metrics, no clock and no log. What is to be
//! done and what is to be told are values. The controller calls it, writes the status, acts and tells; whoever wants to know what
//! would happen calls it, too, and does none of that.
//!
//! ```text
//! Facts ─┬→ labels   readings → tiers → what is to be written to nodes
//! Memory ┤→ movement moves that are over
//!        ├→ gate     whether anything may be moved
//!        ├→ movement the next moves, and why the other pods stay
//!        └→ emptying far nodes whose taint evicts
//! ```

mod course;
mod dry_run;
mod emptying;
mod former;
mod gate;
mod labels;
mod memory;
mod movement;
mod stays;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod thought;
mod waiting;

use std::{sync::Arc, time::Duration};

pub use self::{
    gate::stopped,
    labels::{Labelling, Refusal},
    memory::Memory,
    stays::Stays,
};
use crate::{
    api::{
        DatabaseCluster, DatabaseClusterStatus,
        database_cluster::{FailoverStatus, MemberStatus, MovementMode},
    },
    core::{
        distance::overwrite::Overwritten,
        moment::Moment,
        movement::{
            breaker::Breaker,
            held::{Gate, HeldReason},
            journal::{Outcome, Settled},
            ledger::Others,
            plan::{Held, Plan},
            restart,
            taint::Emptying,
            window::Evidence,
        },
        primary::PrimaryView,
    },
    index::Tables,
};

/// What an evaluation looks at. Nothing of it changes meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub object: &'a DatabaseCluster,
    pub tables: &'a Tables,
    /// The first kind whose watch doesn't work at the moment ([`Index::stale`](crate::index::Index::stale)).
    pub stale: Option<&'static str>,
    /// The namespace that switchover itself runs in.
    pub own_namespace: &'a str,
    /// What is believed of the primary.
    pub view: &'a PrimaryView,
    /// Whom the source lists.
    pub members: &'a [MemberStatus],
    /// Of the database, with `view` written down: its history, and what people were told.
    pub status: &'a DatabaseClusterStatus,
    /// What the other databases have on the move.
    pub others: &'a Others,
    /// An evaluation is a confirmation of tiers, but no more than one in this time: a burst of events is no proof.
    pub confirm_every: Duration,
}

impl Facts<'_> {
    /// Name of the database.
    fn database(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// The present primary's entry of the history.
    fn failover(&self) -> Option<&FailoverStatus> {
        self.status.failovers.first().filter(|failover| failover.epoch == self.view.epoch)
    }
}

/// What an evaluation came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decided {
    /// Readings that are ignored from now on, to be told: `NODE: WHY`.
    pub doubts: Vec<String>,
    /// What somebody else did to labels and taints that were right, to be told.
    pub overwritten: Vec<Overwritten>,
    pub labelling: Labelling,
    /// Why nothing at all is moved, if so.
    pub gate: Option<Gate>,
    /// Where nothing is moved because replacements failed there.
    pub breaker: Breaker,
    /// Moves that are over.
    pub outcomes: Vec<Outcome>,
    /// What moves under way, and those that are over, say of how many there may be.
    pub evidence: Evidence,
    /// Its moves are noted in the [`Memory`] as under way.
    pub plan: Plan,
    /// Why pods stay, by workload, what doesn't pass by itself first.
    pub stays: Vec<Stays>,
    /// Nothing is under way, but something was a moment ago, and others wait for their turn.
    pub between_moves: bool,
    /// Of far nodes, for a taint that evicts.
    pub emptying: Option<Emptying>,
    /// The followers' median round-trip time to the primary, in microseconds.
    pub rtt_us: Option<u64>,
    /// For the first time since the primary changed every node that takes a label has the right one.
    pub labelled: bool,
    /// The movement is over: nothing is left to do, and that is news.
    pub over: bool,
}

impl Decided {
    /// The database says that now is not the time, which whoever knows it from the status alone finds out last. What comes before that in
    /// the list of gates goes on being told.
    pub fn freeze(&mut self, why: &str) {
        let frozen = || HeldReason::Gate(Gate::Frozen(why.to_owned()));
        let before = |gate: &Gate| {
            let stopped = matches!(gate, Gate::Paused | Gate::PausedBy(_) | Gate::Off);
            stopped || matches!(gate, Gate::PrimaryNotConfirmed(_) | Gate::SplitBrain(_))
        };
        for held in &mut self.plan.held {
            if matches!(&held.reason, HeldReason::Gate(gate) if !before(gate)) {
                held.reason = frozen();
            }
        }
        let moves = std::mem::take(&mut self.plan.moves);
        self.plan.held.extend(moves.into_iter().map(|move_| Held::of(move_, frozen())));
        if self.gate.as_ref().is_none_or(|gate| !before(gate)) {
            self.gate = Some(Gate::Frozen(why.to_owned()));
        }
    }
}

/// Evaluates one database once. `memory` is what the last evaluation left, and what was then done.
#[must_use]
pub fn evaluate(facts: &Facts<'_>, memory: &mut Memory, now: Moment) -> Decided {
    memory.follow(facts.view, facts.members, now.instant);
    let doubts = labels::measure(facts, memory, now.instant);
    let refused = memory.refused.current(now.instant);
    let (mut labelling, overwritten) = match facts.view.known() {
        Some(_) => labels::compare(facts, memory, &refused, now.instant),
        None => Default::default(),
    };
    let series = restart::series(facts.database(), facts.view.epoch);
    let followed = facts.tables.followers(facts.database());
    let others = movement::other_tiers(facts.tables, &followed);
    let tiers = Arc::clone(&memory.tiers);
    let followers = movement::followers(followed.iter(), facts.own_namespace, &tiers, &others);
    let rtt_us = movement::median_rtt_us(&followers);
    let Settled { outcomes, evidence } = movement::end_moves(facts, &followers, &series, memory, now);
    let breaker = movement::breaker(facts, &followers, memory, now);
    let gates = gate::gates(facts, memory, &labelling, &breaker, now);
    let mut plan = movement::next_moves(facts, &followers, &series, (&gates, &breaker), evidence, memory, now);
    stays::steady(&mut plan, memory, facts.tables.snapshot(), now.instant);
    let holds_emptying = gate::of_emptying(&gates).cloned();
    let mut gate = gates.into_iter().next();
    if facts.object.spec.movement.mode == MovementMode::DryRun {
        let would = dry_run::withhold(&mut plan);
        gate = gate.or(Some(Gate::DryRun(would)));
    }
    let emptying = emptying::emptying(facts, holds_emptying.as_ref().or(gate.as_ref()), &plan, memory, &refused, now);
    if let Some(emptying) = emptying.as_ref().filter(|emptying| emptying.withdraw) {
        emptying::withdraw(emptying, &mut labelling.changes);
        labelling.changes.retain(|node, _| !refused.contains_key(node));
    }
    let labelled = !memory.relabelling && facts.failover().is_some_and(|failover| failover.labelled_at.is_none());
    let snapshot = facts.tables.snapshot();
    let mut stays = stays::by_workload(&plan, snapshot);
    memory.note_waiting(facts, &mut stays, now.instant);
    let over = memory.is_over(facts, gate.as_ref(), (&plan, &stays), &outcomes, now.instant);
    memory.journal.underway.extend(plan.moves.iter().map(|move_| move_.begun(snapshot, now)));
    memory.note_begun(&plan.moves, now.instant);
    let between_moves = gate.is_none() && stays::between_moves(&plan, memory);
    stays::note_lately(memory, &outcomes, now.instant);
    memory.course.note(&plan, &stays, &outcomes, &memory.tiers, now);
    Decided {
        doubts,
        overwritten,
        labelling,
        gate,
        breaker,
        outcomes,
        evidence,
        plan,
        stays,
        between_moves,
        emptying,
        rtt_us,
        labelled,
        over,
    }
}
