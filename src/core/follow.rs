//! What one pod asks for: whom it follows, how hard, and how it may be moved.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How admission expresses the wish to be near the primary.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AffinityMode {
    /// Two weighted terms: closely above intermediate.
    #[default]
    Preferred,
    /// Far nodes are excluded, closely ones preferred.
    AvoidFar,
    /// Closely nodes only.
    Required,
}

/// How a pod on a far node is brought nearer.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MoveMode {
    /// By the Eviction API: disruption budgets are respected.
    #[default]
    Evict,
    /// By a rolling restart of the workload: new pods before old ones go.
    Restart,
    /// Not at all.
    Never,
}
