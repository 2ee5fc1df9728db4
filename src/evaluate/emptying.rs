//! A taint that evicts: which far node is emptied next, and what is taken off them when movement may not run.

use std::collections::BTreeMap;

use super::{Facts, Memory, Refusal, movement};
use crate::core::{
    distance::overwrite::{NodeChange, TaintEffect},
    moment::Moment,
    movement::{
        held::Gate,
        plan::Plan,
        taint::{self, Emptying},
    },
};

/// What becomes of the far nodes now; `None` for a database whose taint doesn't evict.
pub(super) fn emptying(
    facts: &Facts<'_>,
    gate: Option<&Gate>,
    plan: &Plan,
    memory: &Memory,
    refused: &BTreeMap<String, Refusal>,
    now: Moment,
) -> Option<Emptying> {
    facts.object.spec.taint.filter(|rule| rule.effect() == TaintEffect::NoExecute)?;
    let refused = refused.iter().map(|(node, refusal)| (node.clone(), refusal.why.clone())).collect();
    Some(taint::emptying(&taint::Input {
        snapshot: facts.tables.snapshot(),
        tiers: &memory.tiers,
        key: &facts.object.node_label(),
        rules: movement::rules(facts.object),
        gate,
        plan,
        journal: &memory.journal,
        refused: &refused,
        now,
    }))
}

/// Far nodes bear the taint that only keeps pods away again. What else is to change on them changes along.
pub(super) fn withdraw(emptying: &Emptying, changes: &mut BTreeMap<String, NodeChange>) {
    for node in &emptying.bearing {
        changes.entry(node.clone()).or_insert_with(|| NodeChange::taint_far(TaintEffect::NoSchedule)).retaint = true;
    }
}

#[cfg(test)]
mod tests;
