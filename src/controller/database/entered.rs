//! One database's moves in the ledger of all databases, for as long as it is followed from here.

use std::{sync::Arc, time::Instant};

use super::Task;
use crate::{
    api::DatabaseClusterStatus,
    controller::Shared,
    core::movement::{journal::Underway, ledger::Others, window::Evidence},
    evaluate::{Decided, Memory},
    process,
};

/// What a database has in the ledger. It goes when this does, however the database's task ends.
pub(super) struct Entered {
    shared: Arc<Shared>,
    database: String,
}

impl Entered {
    /// With what another process had on the move, by the last that was heard of its status.
    pub(super) fn new(shared: Arc<Shared>, database: String, status: Option<&DatabaseClusterStatus>) -> Self {
        let entered = Self { shared, database };
        if let Some(status) = status {
            entered.take_over(&Memory::restored(status, process::now()).journal.underway);
        }
        entered
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The same, by its status as it stands.
    pub(super) fn take_over(&self, underway: &[Underway]) {
        self.shared.ledger.lock().take_over(&self.database, underway);
    }

    /// What the other databases have on the move.
    pub(super) fn look(&self, now: Instant) -> Others {
        self.shared.ledger.lock().look(&self.database, now)
    }

    /// What it has on the move, after some moves were not carried out.
    pub(super) fn correct(&self, underway: &[Underway]) {
        self.shared.ledger.lock().correct(&self.database, underway);
    }

    /// The node that it is about to empty, if any; false if another database is about to empty one.
    pub(super) fn empties(&self, node: Option<&str>) -> bool {
        self.shared.ledger.lock().empties(&self.database, node)
    }

    fn enter(&self, saw: &Others, underway: &[Underway], evidence: Evidence, most: u32) -> Vec<String> {
        self.shared.ledger.lock().enter(&self.database, saw, underway, evidence, most)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.shared.ledger.lock().forget(&self.database);
    }
}

impl Task {
    /// Enters what was decided. What clashes with moves that another database began meanwhile is left out, and planned anew by the next
    /// picture.
    pub(super) fn enter(&mut self, decided: &mut Decided, saw: &Others, most: u32) {
        let refused = self.entered.enter(saw, &self.memory.journal.underway, decided.evidence, most);
        for uid in &refused {
            self.memory.forget_move(uid);
        }
        decided.plan.moves.retain(|move_| !refused.contains(&move_.uid));
    }
}
