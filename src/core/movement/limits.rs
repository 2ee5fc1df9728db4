//! How many moves there may be of one namespace at the same time, and how many a minute.

use std::{collections::HashMap, time::Duration};

use super::{held::HeldReason, journal::Underway};

/// What people allow beside `maxConcurrent`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub per_namespace: Option<u32>,
    pub per_minute: Option<u32>,
    /// How many moves began within the last [`MINUTE`].
    pub begun: u32,
}

/// The time in which `perMinute` counts.
pub const MINUTE: Duration = Duration::from_secs(60);

/// What of them is taken, while a plan is made.
#[derive(Debug)]
pub struct Taken {
    limits: Limits,
    of_namespaces: HashMap<String, u32>,
    this_minute: u32,
}

impl Taken {
    /// By what is on the move already, of other databases, too: a namespace loses its pods to all of them.
    #[must_use]
    pub fn by<'u>(underway: impl IntoIterator<Item = &'u Underway>, limits: Limits) -> Self {
        let mut of_namespaces = HashMap::new();
        // Without a limit nobody asks.
        for move_ in underway.into_iter().filter(|_| limits.per_namespace.is_some()) {
            *of_namespaces.entry(move_.workload.namespace.clone()).or_default() += 1;
        }
        Self { limits, of_namespaces, this_minute: limits.begun }
    }

    /// # Errors
    /// No further move of this namespace may begin now.
    pub fn allow(&self, namespace: &str) -> Result<(), HeldReason> {
        let taken = self.of_namespaces.get(namespace).copied().unwrap_or(0);
        if let Some(limit) = self.limits.per_namespace.filter(|limit| taken >= *limit) {
            return Err(HeldReason::PerNamespace { limit });
        }
        match self.limits.per_minute.filter(|limit| self.this_minute >= *limit) {
            Some(limit) => Err(HeldReason::PerMinute { limit }),
            None => Ok(()),
        }
    }

    /// One more move begins.
    pub fn take(&mut self, namespace: &str) {
        self.this_minute = self.this_minute.saturating_add(1);
        if self.limits.per_namespace.is_some() {
            *self.of_namespaces.entry(namespace.to_owned()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests;
