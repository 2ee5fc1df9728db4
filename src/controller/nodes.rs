//! Writes to nodes, of all databases. One at a time goes to each node, and takes along the labels that others want there: when a
//! data centre is lost every database in it fails over at once, and their writes to the same nodes would only hold each
//! other up (the API server tries a write again that met another one, a few times).

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use kube::Client;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::{
    core::tier::Tier,
    effect::{self, EffectError, NodeChange},
    lease::Leadership,
};

/// Writes that are under way at the same time.
const CONCURRENT: usize = 16;

/// What came of a write. Several may have been waiting for the same one.
pub(crate) type Written = Result<(), Arc<EffectError>>;

/// Writes to nodes while this replica leads.
pub(crate) struct NodeWriter {
    client: Client,
    leadership: watch::Receiver<Leadership>,
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
    done: oneshot::Sender<Written>,
}

impl NodeWriter {
    pub fn new(client: Client, leadership: watch::Receiver<Leadership>) -> Self {
        Self { client, leadership, turns: Mutex::default(), permits: Semaphore::new(CONCURRENT) }
    }

    /// Makes the change of one database, together with those of others that wait for the same node.
    ///
    /// # Errors
    /// Those of [`effect::label_node`] and [`effect::taint_node`]; or this replica doesn't lead any more.
    pub async fn write(&self, node: &str, key: &str, change: NodeChange) -> Written {
        let turn = Arc::clone(locked(&self.turns).entry(node.to_owned()).or_default());
        let written = if change.retaint {
            let _busy = turn.busy.lock().await;
            self.alone(node, key, change).await
        } else {
            self.together(&turn, node, key, change.tier).await
        };
        let mut turns = locked(&self.turns);
        drop(turn);
        // Nobody else can get hold of it meanwhile.
        if turns.get(node).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(node);
        }
        written
    }

    /// Taints are read first, and written for one database at a time.
    async fn alone(&self, node: &str, key: &str, change: NodeChange) -> Written {
        let _permit = self.permits.acquire().await;
        self.leads()?;
        effect::taint_node(&self.client, node, key, change).await.map_err(Arc::new)
    }

    async fn together(&self, turn: &Turn, node: &str, key: &str, tier: Tier) -> Written {
        let (done, mut written) = oneshot::channel();
        locked(&turn.waiting).insert(key.to_owned(), Waiting { tier, done });
        let _busy = tokio::select! {
            biased;
            Ok(written) = &mut written => return written,
            busy = turn.busy.lock() => busy,
        };
        if let Ok(written) = written.try_recv() {
            return written;
        }
        let _permit = self.permits.acquire().await;
        self.leads()?;
        let mut batch = std::mem::take(&mut *locked(&turn.waiting));
        // Whoever doesn't wait any more doesn't want it any more.
        batch.retain(|_, waiting| !waiting.done.is_closed());
        let labels = batch.iter().map(|(key, waiting)| (key.as_str(), waiting.tier));
        let outcome = effect::label_node(&self.client, node, labels).await.map_err(Arc::new);
        for (_, waiting) in batch {
            // Ours, too: nobody hears it.
            let _ = waiting.done.send(outcome.clone());
        }
        outcome
    }

    fn leads(&self) -> Written {
        let leads = self.leadership.borrow().leads(Instant::now());
        if leads { Ok(()) } else { Err(Arc::new(EffectError::NotLeading)) }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
