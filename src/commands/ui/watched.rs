//! What the page is made from: five kinds of objects, kept current by watches with the rights of whoever looks.
//!
//! Each kind stands for itself: whoever may not read pods still sees primaries, tiers and the history, and is told what is missing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use tokio::{sync::watch as channel, task::JoinSet};

use super::super::{report::ControllerReport, status::look_at_controller};
use crate::{
    cluster::watch::Health,
    core::schedulers::Schedulers,
    index::{Index, Tables},
};

/// The Lease is read this often.
const LEASE: Duration = Duration::from_secs(5);

/// A kind that can't be read now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unseen {
    pub kind: &'static str,
    pub why: String,
    pub since: Timestamp,
    /// Never read yet: there is no older picture either.
    pub never: bool,
}

/// What the watches tell, and what else the page knows.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    index: Index,
    /// Since when each kind can't be read.
    failing: Arc<Mutex<BTreeMap<&'static str, Timestamp>>>,
    controller: Arc<RwLock<Option<ControllerReport>>>,
}

impl Watched {
    /// Starts the watches as tasks of `tasks`; none of them ever ends by itself.
    pub(super) fn spawn(client: &Client, schedulers: Schedulers, namespace: String, tasks: &mut JoinSet<()>) -> Self {
        let index = Index::spawn_to_show(client, schedulers, tasks);
        let watched = Self { index, failing: Arc::default(), controller: Arc::default() };
        tasks.spawn(watched.clone().follow_controller(client.clone(), namespace));
        watched
    }

    async fn follow_controller(self, client: Client, namespace: String) {
        loop {
            let report = look_at_controller(&client, &namespace, || {}).await;
            *self.controller.write() = report;
            tokio::time::sleep(LEASE).await;
        }
    }

    /// The tables as they are now, for as long as anybody needs them.
    pub(super) fn picture(&self) -> Tables {
        self.index.picture()
    }

    /// Tells that something has changed.
    pub(super) fn changes(&self) -> channel::Receiver<u64> {
        self.index.changes()
    }

    /// That no controller keeps it current, if that can be found out.
    pub(super) fn warning(&self) -> Option<String> {
        self.controller.read().as_ref().and_then(ControllerReport::warning)
    }

    /// The kinds that can't be read at present.
    pub(super) fn unseen(&self, now: Timestamp) -> Vec<Unseen> {
        let mut failing = self.failing.lock();
        let unseen = |health: &Health| {
            if health.current() {
                failing.remove(health.kind);
                return None;
            }
            let since = *failing.entry(health.kind).or_insert(now);
            let why = health.failure().unwrap_or_else(|| "it is being read".to_owned());
            Some(Unseen { kind: health.kind, why, since, never: !health.synced() })
        };
        self.index.health().iter().filter_map(unseen).collect()
    }
}
