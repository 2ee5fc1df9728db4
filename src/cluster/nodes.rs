//! Labels and taints of nodes: one change, and the one writer of all databases. One write at a time goes to each node, and takes
//! along the labels that others want there: when a data centre is lost every database in it fails over at once, and their
//! writes to the same nodes would only hold each other up (the API server tries a write again that met another one, a few times).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams, ValidationDirective},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Semaphore, oneshot};

use super::{EffectError, bounded};
use crate::{
    api::keys,
    core::distance::{overwrite::NodeChange, tier::Tier},
};

/// Gives a node the labels of its tiers, by key: one for each database. Touches nothing else.
///
/// # Errors
/// No answer, or a refusal.
pub async fn label_node(
    client: &Client,
    node: &str,
    labels: impl Iterator<Item = (&str, Tier)>,
) -> Result<(), EffectError> {
    let labels: BTreeMap<&str, Option<&str>> = labels.map(|(key, tier)| (key, tier.label())).collect();
    patch_node(client, node, json!({ "metadata": { "labels": labels } })).await
}

/// Gives a node the taint of one database if far nodes are to be tainted, takes it off the others, and writes the label along.
/// `still_right` is asked between reading the node and writing it.
///
/// # Errors
/// No answer, or a refusal; also when the node's taints changed at the same moment (409): try again. Or it isn't right any more.
pub async fn taint_node(
    client: &Client,
    node: &str,
    key: &str,
    change: NodeChange,
    still_right: impl Fn() -> bool,
) -> Result<(), EffectError> {
    let NodeChange { tier, taint, retaint: _ } = change;
    let api: Api<Node> = Api::all(client.clone());
    let mut patch = json!({});
    // Of a node that was never measured we say nothing: neither a label nor that there is none.
    if let Some(label) = tier.label() {
        patch["metadata"]["labels"] = json!({ key: label });
    }
    // Taints are one list that several controllers write: replace it only as a whole and only as it was read.
    let current = bounded(api.get(node)).await?;
    let before = current.spec.and_then(|spec| spec.taints).unwrap_or_default();
    let mut after = before.clone();
    after.retain(|taint| !(taint.key == key && taint.value.as_deref() == Tier::Far.label()));
    if let (Some(effect), Tier::Far) = (taint, tier) {
        after.push(k8s_openapi::api::core::v1::Taint {
            key: key.to_owned(),
            value: Tier::Far.label().map(str::to_owned),
            effect: effect.as_str().to_owned(),
            time_added: None,
        });
    }
    if before != after {
        patch["metadata"]["resourceVersion"] = json!(current.metadata.resource_version);
        patch["spec"] = json!({ "taints": after });
    }
    if !still_right() {
        return Err(EffectError::Outdated);
    }
    patch_node(client, node, patch).await
}

async fn patch_node(client: &Client, node: &str, patch: serde_json::Value) -> Result<(), EffectError> {
    let api: Api<Node> = Api::all(client.clone());
    let params = PatchParams {
        field_manager: Some(keys::FIELD_MANAGER.into()),
        // Nothing here can be misspelt, and thousands of nodes may be written at once.
        field_validation: Some(ValidationDirective::Ignore),
        ..PatchParams::default()
    };
    // Of labels and taints it means what a merge patch (RFC 7386) does, and costs the API server a third less: that one is
    // applied to the node's JSON text.
    bounded(api.patch(node, &params, &Patch::Strategic(patch))).await.map(|_| ())
}

/// The label changes of one tick, in the order in which they are made: new closely nodes first, so that there is
/// somewhere to go before anything is told to leave.
#[must_use]
pub fn in_order(changes: BTreeMap<String, NodeChange>) -> [Vec<(String, NodeChange)>; 2] {
    let (closely, rest): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, change)| change.tier == Tier::Closely);
    [closely, rest]
}

/// Writes that are under way at the same time.
const CONCURRENT: usize = 16;

/// What came of a write. Several may have been waiting for the same one.
pub(crate) type Written = Result<(), Arc<EffectError>>;

/// Asked right before a write, which may have waited for its turn: whether what led to it still holds, leadership above all.
pub(crate) type StillRight = Arc<dyn Fn() -> bool + Send + Sync>;

/// Writes to nodes.
pub(crate) struct NodeWriter {
    client: Client,
    /// Of the nodes that somebody wants to write to, by name.
    turns: Mutex<HashMap<String, Arc<Turn>>>,
    permits: Semaphore,
}

/// One node's.
#[derive(Default)]
struct Turn {
    /// Held by whoever writes.
    busy: tokio::sync::Mutex<()>,
    /// Labels that wait for the next write, by key.
    waiting: Mutex<BTreeMap<String, Waiting>>,
}

struct Waiting {
    tier: Tier,
    still_right: StillRight,
    done: oneshot::Sender<Written>,
}

impl NodeWriter {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, turns: Mutex::default(), permits: Semaphore::new(CONCURRENT) }
    }

    /// Makes the change of one database, together with those of others that wait for the same node.
    ///
    /// # Errors
    /// Those of [`label_node`] and [`taint_node`]; or it isn't right any more.
    pub(crate) async fn write(&self, node: &str, key: &str, change: NodeChange, still_right: StillRight) -> Written {
        let turn = Arc::clone(self.turns.lock().entry(node.to_owned()).or_default());
        let written = if change.retaint {
            let _busy = turn.busy.lock().await;
            self.alone(node, key, change, still_right).await
        } else {
            self.together(&turn, node, key, change.tier, still_right).await
        };
        let mut turns = self.turns.lock();
        drop(turn);
        // Nobody else can get hold of it meanwhile.
        if turns.get(node).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(node);
        }
        written
    }

    /// Taints are read first, and written for one database at a time.
    async fn alone(&self, node: &str, key: &str, change: NodeChange, still_right: StillRight) -> Written {
        let _permit = self.permits.acquire().await;
        if !still_right() {
            return Err(Arc::new(EffectError::Outdated));
        }
        taint_node(&self.client, node, key, change, &*still_right).await.map_err(Arc::new)
    }

    async fn together(&self, turn: &Turn, node: &str, key: &str, tier: Tier, still_right: StillRight) -> Written {
        let (done, mut written) = oneshot::channel();
        turn.waiting.lock().insert(key.to_owned(), Waiting { tier, still_right, done });
        let _busy = tokio::select! {
            biased;
            Ok(written) = &mut written => return written,
            busy = turn.busy.lock() => busy,
        };
        if let Ok(written) = written.try_recv() {
            return written;
        }
        let _permit = self.permits.acquire().await;
        let mut batch = std::mem::take(&mut *turn.waiting.lock());
        // Whoever doesn't wait any more doesn't want it any more.
        batch.retain(|_, waiting| !waiting.done.is_closed());
        let (batch, outdated): (BTreeMap<_, _>, BTreeMap<_, _>) =
            batch.into_iter().partition(|(_, waiting)| (waiting.still_right)());
        for (_, waiting) in outdated {
            let _ = waiting.done.send(Err(Arc::new(EffectError::Outdated)));
        }
        if !batch.is_empty() {
            let labels = batch.iter().map(|(key, waiting)| (key.as_str(), waiting.tier));
            let outcome = label_node(&self.client, node, labels).await.map_err(Arc::new);
            for (_, waiting) in batch {
                let _ = waiting.done.send(outcome.clone());
            }
        }
        // Ours was among them.
        written.try_recv().unwrap_or_else(|_| Err(Arc::new(EffectError::Outdated)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

    use axum::{Json, Router, routing::get};
    use tokio::sync::Notify;

    use super::*;
    use crate::core::distance::overwrite::TaintEffect;

    /// An API server with one node that may take its time, and whether what led to writes is still right.
    #[derive(Default)]
    struct World {
        right: Arc<AtomicBool>,
        read: Notify,
        patched: AtomicUsize,
        patching: Notify,
        go_on: Notify,
    }

    impl World {
        fn new() -> Arc<Self> {
            let world = Self::default();
            world.right.store(true, SeqCst);
            Arc::new(world)
        }

        fn writer(self: &Arc<Self>) -> Arc<NodeWriter> {
            let node = || Json(json!({"metadata": {"name": "n1", "resourceVersion": "1"}}));
            let (reads, writes) = (Arc::clone(self), Arc::clone(self));
            let read = move || async move {
                reads.read.notify_one();
                reads.go_on.notified().await;
                node()
            };
            let write = move || async move {
                writes.patched.fetch_add(1, SeqCst);
                writes.patching.notify_one();
                writes.go_on.notified().await;
                node()
            };
            let router = Router::new().route("/api/v1/nodes/{name}", get(read).patch(write));
            Arc::new(NodeWriter::new(Client::new(router, "default")))
        }

        fn begin(self: &Arc<Self>, writer: &Arc<NodeWriter>, key: &'static str, change: NodeChange) -> Begun {
            let (writer, right) = (Arc::clone(writer), Arc::clone(&self.right));
            tokio::spawn(async move { writer.write("n1", key, change, Arc::new(move || right.load(SeqCst))).await })
        }

        fn change_of_primary(&self) {
            self.right.store(false, SeqCst);
            self.go_on.notify_one();
        }
    }

    type Begun = tokio::task::JoinHandle<Written>;

    fn outdated(written: &Written) -> bool {
        written.as_ref().is_err_and(|error| matches!(**error, EffectError::Outdated))
    }

    #[tokio::test]
    async fn a_taint_is_not_put_on_when_the_primary_changes_while_the_node_is_read() {
        let world = World::new();
        let evict = NodeChange { tier: Tier::Far, taint: Some(TaintEffect::NoExecute), retaint: true };
        let begun = world.begin(&world.writer(), "a", evict);
        world.read.notified().await;
        world.change_of_primary();
        assert!(outdated(&begun.await.unwrap()));
        assert_eq!(world.patched.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn a_label_is_not_written_when_the_primary_changes_while_it_waits_for_its_turn() {
        let world = World::new();
        let writer = world.writer();
        let label = NodeChange { tier: Tier::Far, taint: None, retaint: false };
        let first = world.begin(&writer, "a", label);
        world.patching.notified().await;
        let second = world.begin(&writer, "b", label);
        while writer.turns.lock().get("n1").is_none_or(|turn| turn.waiting.lock().is_empty()) {
            tokio::task::yield_now().await;
        }
        world.change_of_primary();
        assert!(first.await.unwrap().is_ok(), "it was on its way");
        assert!(outdated(&second.await.unwrap()));
        assert_eq!(world.patched.load(SeqCst), 1);
    }
}
