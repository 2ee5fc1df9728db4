//! `spec.tiers`: when a node counts as closely, intermediate or far.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{Span, rule::rule};

/// When a node counts as closely, intermediate or far, from its median round-trip time to the primary.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.closelyBelow) || !has(self.farAbove) || duration(self.closelyBelow) <= duration(self.farAbove)", "spec.tiers: closelyBelow must not be greater than farAbove: write for example closelyBelow: 2ms, farAbove: 10ms"),
    rule("duration(self.margin) < duration(self.window)", "spec.tiers: margin must be smaller than window: write for example window: 2ms, margin: 200us")
]))]
pub struct TierRules {
    /// Nodes within this much of the nearest node are closely; nodes within this much of the farthest are far.
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) > duration('0s') && duration(self) <= duration('10s')", "spec.tiers.window: write a time above 0s and up to 10s, such as 2ms")
    ]))]
    pub window: Span,

    /// Absolute bound that overrides the window: nodes below it are closely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closely_below: Option<Span>,

    /// Absolute bound that overrides the window: nodes at or above it are far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub far_above: Option<Span>,

    /// A node changes its tier only when its reading lies this far beyond the boundary, unless the primary changed.
    pub margin: Span,

    /// Number of evaluations in a row that must agree before a node changes its tier, unless the primary changed.
    #[schemars(range(min = 1, max = 100))]
    pub confirmations: u32,

    /// A reading older than this no longer counts; the node then keeps its label.
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('10s') && duration(self) <= duration('24h')", "spec.tiers.staleAfter: write a time between 10s and 24h")
    ]))]
    pub stale_after: Span,
}

impl Default for TierRules {
    fn default() -> Self {
        Self {
            window: Span::from_millis(2),
            closely_below: None,
            far_above: None,
            margin: Span(std::time::Duration::from_micros(200)),
            confirmations: 3,
            stale_after: Span::from_secs(180),
        }
    }
}
