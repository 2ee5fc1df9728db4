//! `spec.taint`: a taint on far nodes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::rule::rule;
pub use crate::core::distance::overwrite::TaintEffect;

/// A taint on far nodes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("self.effect != 'NoExecute' || self.evictWithoutBudgets", "spec.taint.effect: NoExecute deletes pods past their PodDisruptionBudgets: write effect: NoSchedule, and spec.movement moves pods within their budgets; if it is meant, write evictWithoutBudgets: true beside it"),
    rule("self.effect == 'NoExecute' || !self.evictWithoutBudgets", "spec.taint.evictWithoutBudgets: only effect: NoExecute evicts: leave it out")
]))]
pub struct TaintRule {
    /// `PreferNoSchedule` or `NoSchedule`. `NoExecute` only with `evictWithoutBudgets: true`.
    pub effect: TaintEffect,

    /// WARNING: with `effect: NoExecute` the API server deletes EVERY pod on a far node that doesn't tolerate the taint,
    /// pods of other teams and of DaemonSets too, and asks no PodDisruptionBudget. Far nodes are emptied one after the
    /// other, only while movement may run and after it has moved what budgets allow; until then they bear `NoSchedule`.
    /// Read docs/taints.md first.
    #[serde(default)]
    pub evict_without_budgets: bool,
}

impl TaintRule {
    /// What is meant. The schema refuses `NoExecute` without its word, and whoever gets it past the schema has not given it.
    #[must_use]
    pub const fn effect(self) -> TaintEffect {
        if self.evict_without_budgets { self.effect } else { self.effect.without_eviction() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_evicts_without_its_word() {
        let effect = |effect, evict_without_budgets| TaintRule { effect, evict_without_budgets }.effect();
        assert_eq!(effect(TaintEffect::NoExecute, false), TaintEffect::NoSchedule);
        assert_eq!(effect(TaintEffect::NoExecute, true), TaintEffect::NoExecute);
        assert_eq!(effect(TaintEffect::NoSchedule, true), TaintEffect::NoSchedule);
        assert_eq!(effect(TaintEffect::PreferNoSchedule, false), TaintEffect::PreferNoSchedule);
    }
}
