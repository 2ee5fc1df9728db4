//! A taint that evicts: which far node is emptied next, and what is taken off them when movement may not run.

use std::{collections::BTreeMap, sync::Arc};

use super::{Facts, Memory, Refusal, movement};
use crate::{
    api::DatabaseCluster,
    core::{
        distance::overwrite::{NodeChange, TaintEffect},
        moment::Moment,
        movement::{
            held::Gate,
            plan::Plan,
            taint::{self, Emptying},
        },
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
    let others = facts.tables.databases.values().filter(|other| other.name != facts.database());
    let others = others.filter_map(|other| other.object.as_ref().ok());
    let evicts = |other: &&Arc<DatabaseCluster>| {
        other.spec.taint.as_ref().is_some_and(|rule| rule.effect() == TaintEffect::NoExecute)
    };
    let other_keys: Vec<String> = others.filter(evicts).map(|other| other.node_label().to_string()).collect();
    let refused = refused.iter().map(|(node, refusal)| (node.clone(), refusal.why.clone())).collect();
    Some(taint::emptying(&taint::Input {
        snapshot: facts.tables.snapshot(),
        tiers: &memory.tiers,
        key: &facts.object.node_label(),
        rules: movement::rules(facts.object),
        gate,
        plan,
        journal: &memory.journal,
        others: facts.others,
        other_keys: &other_keys,
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
