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

mod emptying;
mod gate;
mod labels;
mod memory;
mod movement;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use self::{
    labels::{Labelling, Refusal},
    memory::Memory,
};
use crate::{
    api::{
        DatabaseCluster, DatabaseClusterStatus,
        database_cluster::{FailoverStatus, MemberStatus},
    },
    core::{
        distance::overwrite::Overwritten,
        moment::Moment,
        movement::{
            breaker::Breaker,
            held::Gate,
            journal::{Outcome, Settled},
            ledger::Others,
            plan::Plan,
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
    /// Of far nodes, for a taint that evicts.
    pub emptying: Option<Emptying>,
    /// The followers' median round-trip time to the primary, in microseconds.
    pub rtt_us: Option<u64>,
    /// For the first time since the primary changed every node that takes a label has the right one.
    pub labelled: bool,
    /// The movement is over: nothing is left to do, and that is news.
    pub over: bool,
}

/// Evaluates one database once. `memory` is what the last evaluation left, and what was then done.
#[must_use]
pub fn evaluate(facts: &Facts<'_>, memory: &mut Memory, now: Moment) -> Decided {
    memory.follow(facts.view, facts.members);
    let doubts = labels::measure(facts, memory, now.instant);
    let refused = memory.refused.current(now.instant);
    let (mut labelling, overwritten) = match facts.view.known() {
        Some(_) => labels::compare(facts, memory, &refused, now.instant),
        None => Default::default(),
    };
    let series = restart::series(facts.database(), facts.view.epoch);
    let followed = movement::followed(facts);
    let others = movement::other_tiers(facts.tables, &followed);
    let followers = movement::followers(&followed, &others);
    let rtt_us = movement::median_rtt_us(&followers, &memory.tiers);
    let Settled { outcomes, evidence } = movement::end_moves(facts, &followers, &series, memory, now);
    let breaker = movement::breaker(facts, &followers, memory, now);
    let gate = gate::gate(facts, memory, &labelling, &breaker, now);
    let plan = movement::next_moves(facts, &followers, &series, (gate.as_ref(), &breaker), evidence, memory, now);
    let emptying = emptying::emptying(facts, gate.as_ref(), &plan, memory, &refused, now);
    if let Some(emptying) = emptying.as_ref().filter(|emptying| emptying.withdraw) {
        emptying::withdraw(emptying, &mut labelling.changes);
        labelling.changes.retain(|node, _| !refused.contains_key(node));
    }
    let labelled = !memory.relabelling && facts.failover().is_some_and(|failover| failover.labelled_at.is_none());
    let over = memory.is_over(facts, gate.as_ref(), &plan, &outcomes, now.instant);
    memory.journal.underway.extend(plan.moves.iter().map(|move_| movement::entry(facts, move_, now)));
    Decided {
        doubts,
        overwritten,
        labelling,
        gate,
        breaker,
        outcomes,
        evidence,
        plan,
        emptying,
        rtt_us,
        labelled,
        over,
    }
}
