//! What the pods of a namespace may use together (ResourceQuota).

use std::collections::BTreeMap;

use super::selector::Expression;

/// Which pods a quota counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Those that ask for neither CPU nor memory and have no limit of them, or all others.
    BestEffort(bool),
    /// Those that end after a while, or all others. No workload that is moved has such pods.
    Ending(bool),
    /// By the name of their priority class.
    PriorityClass(Expression),
    /// By something that isn't read here.
    Other,
}

/// A ResourceQuota.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    pub namespace: String,
    pub name: String,
    /// All of them must hold.
    pub scopes: Vec<Scope>,
    /// What is left, by the quota's own names: CPUs in thousandths, everything else in whole units.
    pub left: BTreeMap<String, u64>,
    /// Nothing of it is used: it counts none of the namespace's pods.
    pub unused: bool,
}
