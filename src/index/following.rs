//! Who follows which database: found out once for each state of the tables, and shared by all databases' evaluations.
//!
//! It depends on pods, namespaces and what the databases' objects say. Namespaces of which nothing has changed are not looked at
//! again.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::Arc,
};

use parking_lot::Mutex;

use super::Tables;
use crate::core::{
    follow::{DatabaseDefaults, Follow, FollowedDatabase, MoveMode},
    hash::HashMap,
    map::{Groups, Map},
    movement::replacement::replacement,
    workload::{Namespace, Pod, Wishes},
};

/// A pod that follows a database.
#[derive(Debug, Clone)]
pub struct Following {
    pub pod: Arc<Pod>,
    /// What would replace it: itself, if that would be as it is.
    pub replacement: Arc<Pod>,
    pub how: Arc<How>,
}

/// How pods follow one database, which most of a namespace do alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct How {
    /// How they may be moved. Not at all where their namespace is going away: following it is nothing to move for.
    pub mode: MoveMode,
    /// The other databases that they follow.
    pub others: Vec<Arc<str>>,
}

/// The pods that follow one database.
#[derive(Debug, Default)]
pub struct Followers(Vec<Arc<Vec<Following>>>);

impl Followers {
    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Following> {
        self.0.iter().flat_map(|of_namespace| of_namespace.iter())
    }
}

/// What was found out last. Clones of the tables share it, and whoever asks about other tables than the last one makes it anew for
/// those.
#[derive(Debug, Clone, Default)]
pub(super) struct Memo(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// The tables that it is about.
    pods: Groups<Pod>,
    namespaces: Map<String, Arc<Namespace>>,
    databases: Map<String, Arc<super::Database>>,
    /// What the databases say, as far as it matters here.
    defaults: BTreeMap<String, DatabaseDefaults>,
    by_namespace: HashMap<String, OfNamespace>,
    by_database: HashMap<Arc<str>, Arc<Followers>>,
}

/// Of a namespace that opts in.
#[derive(Debug)]
struct OfNamespace {
    namespace: Arc<Namespace>,
    pods: Arc<Vec<Arc<Pod>>>,
    by_database: BTreeMap<Arc<str>, Arc<Vec<Following>>>,
}

impl Memo {
    pub(super) fn of(&self, tables: &Tables, database: &str) -> Arc<Followers> {
        let mut known = self.0.lock();
        if !known.is_of(tables) {
            known.go_along(tables);
        }
        known.by_database.get(database).cloned().unwrap_or_default()
    }
}

impl Known {
    fn is_of(&self, tables: &Tables) -> bool {
        self.pods.is_same(&tables.pods.groups().by_namespace)
            && self.namespaces.is_same(tables.namespaces.live())
            && self.databases.is_same(tables.databases.live())
    }

    fn go_along(&mut self, tables: &Tables) {
        self.pods.clone_from(&tables.pods.groups().by_namespace);
        self.namespaces.clone_from(tables.namespaces.live());
        if !self.databases.is_same(tables.databases.live()) {
            self.databases.clone_from(tables.databases.live());
            let says = |(name, database): (&String, &super::Database)| Some((name.clone(), database.defaults.clone()?));
            let defaults = tables.databases.iter().filter_map(says).collect();
            // Their status changes all the time, and says nothing of this.
            if self.defaults != defaults {
                self.defaults = defaults;
                self.by_namespace.clear();
            }
        }
        let nobody = Arc::default();
        let mut before = std::mem::take(&mut self.by_namespace);
        for namespace in self.namespaces.values().filter(|namespace| namespace.opt_in.is_some()) {
            let pods = self.pods.get(&namespace.name).unwrap_or(&nobody);
            let of = before
                .remove(&namespace.name)
                .filter(|of| Arc::ptr_eq(&of.namespace, namespace) && Arc::ptr_eq(&of.pods, pods))
                .unwrap_or_else(|| OfNamespace::of(namespace, pods, &self.defaults));
            self.by_namespace.insert(namespace.name.clone(), of);
        }
        let mut by_database: HashMap<Arc<str>, Followers> = HashMap::default();
        for (database, following) in self.by_namespace.values().flat_map(|of| &of.by_database) {
            by_database.entry(Arc::clone(database)).or_default().0.push(Arc::clone(following));
        }
        self.by_database = by_database.into_iter().map(|(database, all)| (database, Arc::new(all))).collect();
    }
}

impl OfNamespace {
    fn of(
        namespace: &Arc<Namespace>,
        pods: &Arc<Vec<Arc<Pod>>>,
        defaults: &BTreeMap<String, DatabaseDefaults>,
    ) -> Self {
        let mut by_database: BTreeMap<Arc<str>, Vec<Following>> = BTreeMap::new();
        // Most pods say nothing themselves.
        let mut known: HashMap<&Wishes, Resolved> = HashMap::default();
        for pod in pods.iter() {
            let resolved = known.entry(&pod.wishes).or_insert_with(|| resolve(namespace, &pod.wishes, defaults));
            let replacement = match replacement(pod, &resolved.databases) {
                Cow::Borrowed(_) => Arc::clone(pod),
                Cow::Owned(other) => Arc::new(other),
            };
            for (database, how) in &resolved.how {
                let following =
                    Following { pod: Arc::clone(pod), replacement: Arc::clone(&replacement), how: Arc::clone(how) };
                by_database.entry(Arc::clone(database)).or_default().push(following);
            }
        }
        let by_database = by_database.into_iter().map(|(database, all)| (database, Arc::new(all))).collect();
        Self { namespace: Arc::clone(namespace), pods: Arc::clone(pods), by_database }
    }
}

/// Which databases a pod follows, and how.
struct Resolved {
    databases: Vec<FollowedDatabase>,
    /// Of each.
    how: Vec<(Arc<str>, Arc<How>)>,
}

/// Of a pod with these wishes.
fn resolve(namespace: &Namespace, wishes: &Wishes, defaults: &BTreeMap<String, DatabaseDefaults>) -> Resolved {
    let lookup = |name: &str| defaults.get(name);
    let follow = Follow::resolve(namespace.opt_in.as_deref(), &namespace.wishes.says(), &wishes.says(), lookup);
    let databases = follow.databases.unwrap_or_default();
    let how = |one: &FollowedDatabase| {
        let others = databases.iter().filter(|other| other.name != one.name);
        let mode = if namespace.terminating { MoveMode::Never } else { one.move_mode };
        Arc::new(How { mode, others: others.map(|other| Arc::clone(&other.name)).collect() })
    };
    let how = databases.iter().map(|one| (Arc::clone(&one.name), how(one))).collect();
    Resolved { databases, how }
}

#[cfg(test)]
mod tests;
