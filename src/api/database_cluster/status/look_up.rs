//! What a status says of one thing.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{DatabaseClusterStatus, FailoverStatus};

impl DatabaseClusterStatus {
    /// The condition of this type, if it was ever written.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// Whether there is a condition of this type that is true.
    #[must_use]
    pub fn holds(&self, type_: &str) -> bool {
        self.condition(type_).is_some_and(|condition| condition.status == "True")
    }

    /// The present primary's entry of the history.
    #[must_use]
    pub fn failover(&self) -> Option<&FailoverStatus> {
        self.failovers.first().filter(|failover| failover.epoch == self.epoch)
    }
}

impl FailoverStatus {
    /// When something happened, in seconds after the primary was confirmed.
    #[must_use]
    pub fn after_s(&self, at: Option<Timestamp>) -> Option<f64> {
        Some(at?.duration_since(self.confirmed_at?).as_secs_f64())
    }
}
