//! Everything that a decision needs, at one moment: immutable, shared, replaced as a whole.

use std::{borrow::Borrow, collections::HashMap, hash::Hash, sync::Arc, time::Instant};

use super::WrittenPatches;
use crate::core::{
    affinity::{self, Database, Decision, Namespace, Pod, SkipReason, Verdict},
    follow::is_left_alone,
    schedulers::Schedulers,
};

/// What the webhook knows at one moment. Published by the webhook's cache; a request takes one and keeps it.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The namespaces that opted in, by name.
    pub namespaces: Arc<HashMap<Box<str>, Namespace>>,
    /// The databases, by name.
    pub databases: Arc<HashMap<Box<str>, Database>>,
    /// The namespace that switchover itself runs in.
    pub own_namespace: Arc<str>,
    /// Who places pods by their affinity.
    pub schedulers: Schedulers,
    /// Begins empty with each view. Written by requests.
    pub written: Arc<WrittenPatches>,
}

impl View {
    /// What to do with a pod that is being created in this namespace.
    #[must_use]
    pub fn decide(&self, namespace: &str, pod: &Pod<'_>, now: Instant) -> Decision {
        if is_left_alone(namespace, &self.own_namespace) {
            let verdict = Verdict::Skip(SkipReason::SystemNamespace);
            return Decision { verdict, warnings: Vec::new() };
        }
        affinity::decide(
            pod,
            get(&self.namespaces, namespace),
            |name| get(&self.databases, name),
            &self.schedulers,
            now,
        )
    }
}

fn get<'m, K: Borrow<str> + Eq + Hash, V>(map: &'m HashMap<K, V>, key: &str) -> Option<&'m V> {
    map.get(key)
}
