//! What a database answers for: that its labels go with it, and with their key.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kube::Client;

use super::Task;
use crate::{
    api::{DatabaseCluster, keys},
    cluster::{EffectError, leftovers},
    core::label_key::LabelKey,
};

/// Pause between two tries to set the finalizer, or to remove labels of an earlier key.
const TIDY_PAUSE: Duration = Duration::from_secs(5);
/// Keys of labels that status remembers.
const MOST_NODE_LABELS: usize = 32;

impl Task {
    /// Before nodes are labelled: sees to it that the labels will be removed again. If that can't be had (such as under
    /// rights of an earlier version), nodes are labelled nevertheless: right labels matter more.
    pub(super) async fn answer_for(&mut self, object: &DatabaseCluster, now: Instant) {
        let key = object.node_label();
        if !self.status.node_labels.iter().any(|known| **known == *key) {
            // More would not be taken; whoever renames that often has `switchover uninstall` for the rest.
            let surplus = (self.status.node_labels.len() + 1).saturating_sub(MOST_NODE_LABELS);
            self.status.node_labels.drain(..surplus);
            self.status.node_labels.push(key.to_string());
            self.write_status().await;
        }
        let answered = object.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == keys::FINALIZER);
        if answered || self.finalizer_tried.is_some_and(|at| now.duration_since(at) < TIDY_PAUSE) {
            return;
        }
        self.finalizer_tried = Some(now);
        let uid = object.metadata.uid.as_deref().unwrap_or_default();
        if let Err(error) = leftovers::add_finalizer(&self.shared.client, &self.name, uid).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(database = self.name, error, "could not set the finalizer: its labels would outlive it");
        }
    }

    /// Removes labels and taints of keys that were used before, once the ones of the key now are right.
    pub(super) async fn drop_old_labels(&mut self, key: &str, now: Instant) {
        let earlier = self.status.node_labels.iter().filter(|old| *old != key);
        let old: BTreeSet<LabelKey> = earlier.filter_map(|old| LabelKey::read(old).ok()).collect();
        if old.is_empty() || self.dropped.is_some_and(|at| now.duration_since(at) < TIDY_PAUSE) {
            return;
        }
        self.dropped = Some(now);
        let theirs: BTreeSet<LabelKey> = {
            let tables = self.shared.index.read();
            let others = tables.databases.values().filter(|other| other.name != self.name);
            others.filter_map(|other| Some(other.object.as_ref().ok()?.node_label())).collect()
        };
        let ours = &old - &theirs;
        match drop_labels(&self.shared.client, &ours).await {
            Ok(nodes) => {
                let labels = old.iter().map(|key| &**key).collect::<Vec<_>>().join(", ");
                tracing::info!(database = self.name, labels, nodes, "removed the labels of an earlier spec.nodeLabel");
                self.status.node_labels.retain(|kept| kept == key);
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(database = self.name, error, "could not remove the labels of an earlier spec.nodeLabel");
            }
        }
    }
}

/// Removes labels and taints of these keys; says from how many nodes.
async fn drop_labels(client: &Client, keys: &BTreeSet<LabelKey>) -> Result<usize, EffectError> {
    let found = leftovers::find(client, |key| keys.contains(key)).await?;
    let nodes = found.len();
    leftovers::strip(client, found).await?;
    Ok(nodes)
}
