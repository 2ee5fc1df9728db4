//! A DatabaseCluster that is deleted: what it put onto nodes goes first, then the finalizer, and with it the object.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Shared;
use crate::{
    cluster::{EffectError, EventReason, Notice, database_reference, leftovers},
    core::label_key::LabelKey,
    index::Database,
};

/// Pause before what failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// So often the nodes are looked at again before that: a label may have been on its way.
const PASSES: usize = 5;
/// Nodes that one sentence names.
const MOST_TOLD: usize = 5;
/// The watch tells that an object is gone a moment after it is.
const LAG: Duration = Duration::from_secs(5);

/// The removals that are under way, by the UID of their database.
#[derive(Default)]
pub(super) struct Removals {
    underway: HashMap<String, Underway>,
}

struct Underway {
    stop: CancellationToken,
    task: JoinHandle<()>,
    began: Instant,
}

impl Removals {
    /// Whether `database` still needs a removal to be begun.
    pub(super) fn due(&mut self, database: &Database) -> bool {
        let Some(underway) = self.underway.get(&database.uid) else { return true };
        underway.task.is_finished() && underway.began.elapsed() > LAG
    }

    /// Begins to remove what `database` put onto nodes under `keys`, once `before` has ended.
    pub(super) fn begin(
        &mut self,
        shared: &Arc<Shared>,
        database: &Database,
        keys: BTreeSet<LabelKey>,
        before: Option<JoinHandle<()>>,
    ) {
        let stop = CancellationToken::new();
        let removal =
            Removal { shared: Arc::clone(shared), name: database.name.clone(), uid: database.uid.clone(), keys };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            stopped.run_until_cancelled(removal.run()).await;
        });
        self.underway.insert(database.uid.clone(), Underway { stop, task, began: Instant::now() });
    }

    /// Forgets databases that are not among `uids` any more. Their removals end by themselves.
    pub(super) fn retain(&mut self, uids: &BTreeSet<&str>) {
        self.underway.retain(|uid, _| uids.contains(uid.as_str()));
    }

    /// Ends what is under way, as a replica that doesn't lead must.
    pub(super) fn stop(&mut self) {
        for (_, underway) in self.underway.drain() {
            underway.stop.cancel();
        }
    }
}

/// Why labels and taints are still there.
#[derive(Debug, thiserror::Error)]
enum RemovalError {
    #[error(transparent)]
    Effect(#[from] EffectError),
    #[error(
        "somebody puts them back on {0}: stop what writes them there, or annotate the nodes switchover.dev/manage: \"false\""
    )]
    PutBack(String),
}

struct Removal {
    shared: Arc<Shared>,
    name: String,
    uid: String,
    keys: BTreeSet<LabelKey>,
}

impl Removal {
    /// Until it is done. Every step can be done twice, so that another leader may go on from anywhere.
    async fn run(self) {
        let keys = self.keys.iter().map(|key| &**key).collect::<Vec<_>>().join(", ");
        tracing::info!(database = self.name, labels = keys, "deleted: removing its labels and taints");
        let mut told = None;
        while self.wanted() {
            if self.shared.leadership.borrow().leads(Instant::now()) {
                match self.remove().await {
                    Ok(note) => {
                        tracing::info!(database = self.name, "{note}");
                        return self.notice(false, note);
                    }
                    Err(error) => {
                        let why = error.to_string();
                        if told.as_ref() != Some(&why) {
                            tracing::warn!(
                                database = self.name,
                                error = why,
                                "could not remove its labels; will try again"
                            );
                            self.notice(true, format!("can't remove its labels and taints from the nodes: {why}"));
                            told = Some(why);
                        }
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Whether the database still waits for it.
    fn wanted(&self) -> bool {
        let tables = self.shared.index.read();
        let database = tables.databases.get(&self.name).filter(|database| database.uid == self.uid);
        database.is_some_and(|database| database.deleted && database.finalizer)
    }

    /// Says what was done.
    async fn remove(&self) -> Result<String, RemovalError> {
        let client = &self.shared.client;
        let Cleared { stripped, left_alone } = clear(client, &self.keys).await?;
        leftovers::remove_finalizer(client, &self.name, &self.uid).await?;
        let mut note = format!("removed its labels and taints from {} nodes", stripped.len());
        if !left_alone.is_empty() {
            note += &format!("; {} are annotated switchover.dev/manage: \"false\" and left alone", left_alone.len());
        }
        Ok(note)
    }

    fn notice(&self, warning: bool, note: String) {
        let reason = if warning { EventReason::RemovalFailed } else { EventReason::Removed };
        let about = database_reference(&self.name, &self.uid);
        self.shared.notices.send(Notice { about, warning, reason, action: "Remove", note });
    }
}

/// Nodes that nothing is left on, and those that are none of ours.
#[derive(Debug, Default, PartialEq, Eq)]
struct Cleared {
    stripped: BTreeSet<String>,
    left_alone: BTreeSet<String>,
}

/// Takes the labels and taints of these keys off every node.
async fn clear(client: &Client, keys: &BTreeSet<LabelKey>) -> Result<Cleared, RemovalError> {
    let mut cleared = Cleared::default();
    for pass in 0.. {
        let found = leftovers::find(client, |key| keys.contains(key)).await?;
        let (alone, ours): (Vec<_>, Vec<_>) = found.into_iter().partition(|leftover| leftover.left_alone);
        cleared.left_alone.extend(alone.into_iter().map(|leftover| leftover.node));
        if ours.is_empty() {
            break;
        }
        if pass == PASSES {
            let nodes: Vec<_> = ours.into_iter().take(MOST_TOLD).map(|leftover| leftover.node).collect();
            return Err(RemovalError::PutBack(nodes.join(", ")));
        }
        cleared.stripped.extend(ours.iter().map(|leftover| leftover.node.clone()));
        leftovers::strip(client, ours).await?;
    }
    Ok(cleared)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use axum::{
        Json, Router,
        routing::{get, patch},
    };
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn whoever_puts_labels_back_is_named_and_not_raced() {
        // How often the label is removed before it stays away.
        for (times, expected) in [(1, Ok(1)), (PASSES, Ok(PASSES)), (usize::MAX, Err(PASSES))] {
            let removed = Arc::new(AtomicUsize::new(0));
            let (list, strip) = (Arc::clone(&removed), Arc::clone(&removed));
            let node = |labelled: bool| {
                let labels = if labelled { json!({"switchover": "far"}) } else { json!({}) };
                json!({"metadata": {"name": "n1", "labels": labels}})
            };
            let list = move || async move { Json(json!({"metadata": {}, "items": [node(list.load(SeqCst) < times)]})) };
            let strip = move || async move {
                strip.fetch_add(1, SeqCst);
                Json(node(false))
            };
            let router = Router::new().route("/api/v1/nodes", get(list)).route("/api/v1/nodes/{name}", patch(strip));
            let cleared = clear(&Client::new(router, "default"), &[LabelKey::read("switchover").unwrap()].into()).await;
            let removed = removed.load(SeqCst);
            match cleared {
                Ok(cleared) => {
                    assert_eq!(Ok(removed), expected);
                    assert_eq!(cleared.stripped, ["n1".to_owned()].into());
                }
                Err(error) => {
                    assert_eq!(Err(removed), expected);
                    assert!(error.to_string().starts_with("somebody puts them back on n1: "), "{error}");
                }
            }
        }
    }
}
