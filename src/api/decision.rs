//! A person's decision on who is primary, on its way to the controller: the annotation `switchover.dev/decision`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What `switchover resume DATABASE --primary MEMBER` writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The member that is to be believed.
    pub member: String,
    /// Who says so.
    pub by: String,
    /// When, by their clock.
    pub at: Timestamp,
    /// `status.epoch` that they saw: the decision is about this one and no other.
    pub epoch: u64,
}
