//! A taint that evicts: put onto one far node after the other, and taken off them when movement may not run.

use std::{collections::BTreeMap, sync::Arc};

use super::Task;
use crate::{
    cluster::{EffectError, NodeChange},
    controller::{labels::Refusal, movement, report},
    core::{
        distance::tier::Tier,
        movement::{
            journal::Journal,
            plan::Plan,
            taint::{self, Emptying, TaintEffect},
        },
        primary::PrimaryView,
    },
};

/// What becomes of the far nodes now; `None` for a database whose taint doesn't evict.
pub(super) fn decide(
    view: &movement::View<'_>,
    plan: &Plan,
    journal: &Journal,
    waiting: &BTreeMap<String, Refusal>,
) -> Option<Emptying> {
    view.object.spec.taint.filter(|rule| rule.effect() == TaintEffect::NoExecute)?;
    let refused = waiting.iter().map(|(node, refusal)| (node.clone(), refusal.why.clone())).collect();
    Some(taint::emptying(&taint::Input {
        snapshot: view.tables.snapshot(),
        tiers: view.tiers,
        key: &view.object.node_label(),
        rules: movement::rules(view.object),
        gate: view.gate,
        plan,
        journal,
        refused: &refused,
        now: view.wall,
        instant: view.now,
    }))
}

/// Far nodes bear the taint that only keeps pods away again. What else is to change on them changes along.
pub(super) fn withdraw(emptying: &Emptying, changes: &mut BTreeMap<String, NodeChange>) {
    for node in &emptying.bearing {
        changes.entry(node.clone()).or_insert_with(|| change(TaintEffect::NoSchedule)).retaint = true;
    }
}

const fn change(effect: TaintEffect) -> NodeChange {
    NodeChange { tier: Tier::Far, taint: Some(effect), retaint: true }
}

impl Task {
    /// Tells people once what such a taint does. Whether they were told, the status knows by its condition.
    pub(super) fn warn_of_eviction(&self, evicts: bool) {
        let told = self.status.conditions.iter().any(|condition| condition.type_ == report::EVICTS);
        if evicts && !told {
            tracing::warn!(database = self.name, "spec.taint.evictWithoutBudgets: far nodes will be emptied");
            let note = "spec.taint: NoExecute deletes every pod on far nodes that doesn't tolerate it, past its \
                        PodDisruptionBudget; to move pods within their budgets only, write effect: NoSchedule";
            self.notice(true, "EvictsWithoutBudgets", note.to_owned());
        }
    }

    /// Puts the taint that evicts onto a node, unless what led to that has changed.
    pub(super) async fn empty(&mut self, node: &str, key: &str, view: &PrimaryView) {
        // Asked right before the write: others' writes to the node may come first, and it is read.
        let still_right = Arc::new(self.still_right(view));
        match self.shared.nodes.write(node, key, change(TaintEffect::NoExecute), still_right).await {
            Ok(()) => {
                tracing::info!(database = self.name, node, taint = key, "emptying a far node: NoExecute");
                self.refused.end(node);
                let note = format!("{node}: its pods that don't tolerate {key}=far:NoExecute are deleted");
                self.notice(true, "EmptyingNode", note);
            }
            Err(error) if matches!(*error, EffectError::Outdated) => {
                tracing::info!(
                    database = self.name,
                    node,
                    "not emptied after all: leadership, primary or spec changed"
                );
            }
            Err(error) => {
                let refusal = Refusal::of(&error);
                let error = &*error as &dyn std::error::Error;
                tracing::warn!(database = self.name, node, error, "could not taint a far node; will try again");
                self.note_refusal(node, refusal);
            }
        }
    }
}
