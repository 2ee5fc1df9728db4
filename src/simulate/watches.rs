//! What the controller knows of the cluster: watches bring it there a little later, or hang.

use std::collections::{BTreeMap, VecDeque};

use super::{
    chance::Chance,
    cluster::{Change, NAMESPACE},
    databases::Database,
    script::{KINDS, Ms},
};
use crate::{core::workload::Namespace, index::Tables};

/// A watch that hangs is noticed after this (`cluster::watch::UNNOTICED`); one that fails shows at once.
const UNNOTICED: Ms = 20_000;

/// The tables, and what is on its way to them.
#[derive(Debug)]
pub(super) struct Watches {
    pub tables: Tables,
    coming: BTreeMap<&'static str, VecDeque<(Ms, Change)>>,
    hung: BTreeMap<&'static str, Ms>,
    /// Since when nothing is answered at all.
    pub cut_off: Option<Ms>,
}

impl Watches {
    /// The namespace of everybody follows the first database.
    pub(super) fn new(database: &str) -> Self {
        let mut tables = Tables::default();
        tables.put_namespace(Namespace {
            name: NAMESPACE.to_owned(),
            opt_in: Some(database.to_owned()),
            ..Namespace::default()
        });
        Self { tables, coming: BTreeMap::new(), hung: BTreeMap::new(), cut_off: None }
    }

    /// Something has changed; it is told at the returned time, unless its watch hangs then.
    pub(super) fn send(&mut self, change: Change, now: Ms, chance: &mut Chance) -> Ms {
        let queue = self.coming.entry(change.kind()).or_default();
        let after = queue.back().map_or(now, |(at, _)| (*at).max(now));
        let at = after.max(now + chance.between(5, 60));
        queue.push_back((at, change));
        at
    }

    /// A watch hangs, or goes on.
    pub(super) fn hang(&mut self, kind: &str, works: bool, now: Ms) {
        let Some(kind) = KINDS.into_iter().find(|it| *it == kind) else { return };
        if works {
            self.hung.remove(kind);
        } else {
            self.hung.entry(kind).or_insert(now);
        }
    }

    /// Brings what is due; true if there was something.
    pub(super) fn deliver(&mut self, databases: &[Database], now: Ms) -> bool {
        if self.cut_off.is_some() {
            return false;
        }
        let mut some = false;
        for (kind, queue) in &mut self.coming {
            while !self.hung.contains_key(kind) && queue.front().is_some_and(|(at, _)| *at <= now) {
                let Some((_, change)) = queue.pop_front() else { break };
                apply(&mut self.tables, change, databases);
                some = true;
            }
        }
        some
    }

    /// The first kind that is known not to work.
    pub(super) fn stale(&self, now: Ms) -> Option<&'static str> {
        if self.cut_off.is_some_and(|since| now >= since + 1_000) {
            return Some("Pod");
        }
        self.hung.iter().find(|(_, since)| now >= **since + UNNOTICED).map(|(kind, _)| *kind)
    }

    /// Whether all is as it should be.
    pub(super) fn all_well(&self) -> bool {
        self.hung.is_empty() && self.cut_off.is_none()
    }

    /// Whether readings come in.
    pub(super) fn hears_agents(&self) -> bool {
        self.cut_off.is_none() && !self.hung.contains_key("NodeLatency")
    }
}

fn apply(tables: &mut Tables, change: Change, databases: &[Database]) {
    match change {
        Change::Node(name, node) => tables.put_node(&name, Some(*node)),
        Change::Pod(uid, pod) => tables.put_pod(&uid, pod.map(|pod| *pod)),
        Change::Workload(uid, kind, workload) => tables.put_workload(&uid, kind, workload.map(|it| *it)),
        Change::Budget(uid, budget) => tables.put_budget(&uid, budget),
        Change::Database(at) => tables.put_database(&databases[at].object),
    }
}
