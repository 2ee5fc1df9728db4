//! A dry run: what would be moved is told and counted, and stays.

use crate::core::movement::{
    held::{Gate, HeldReason, Would},
    plan::{Held, Plan},
};

/// Turns every move of the plan into a pod that stays. Returns what would have been done.
pub(super) fn withhold(plan: &mut Plan) -> Would {
    let moves = std::mem::take(&mut plan.moves);
    let would = Would::Begin { moves: moves.len() };
    // Nothing is on the move, so that nobody waits for that.
    for held in &mut plan.held {
        let waits = matches!(
            held.reason,
            HeldReason::OneAtATime
                | HeldReason::PerWorkload { .. }
                | HeldReason::BudgetSpent(_)
                | HeldReason::Concurrency { .. }
                | HeldReason::PerNamespace { .. }
                | HeldReason::PerMinute { .. }
        );
        if waits {
            held.reason = HeldReason::Gate(Gate::DryRun(Would::Wait));
        }
    }
    plan.held.extend(moves.into_iter().map(|move_| {
        let would = Would::Move { to: move_.to.clone(), way: move_.way };
        Held::of(move_, HeldReason::Gate(Gate::DryRun(would)))
    }));
    plan.held.sort_by(|a, b| (&a.namespace, &a.pod).cmp(&(&b.namespace, &b.pod)));
    would
}

#[cfg(test)]
mod tests;
