//! What was decided is done: nodes are labelled and tainted, pods are moved. Right before each effect it is asked once more
//! whether what led to it still holds.

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::Task;
use crate::{
    api::DatabaseCluster,
    cluster::EventReason,
    cluster::{EffectError, nodes::StillRight},
    controller::{Shared, labels},
    core::{
        distance::overwrite::{NodeChange, TaintEffect},
        movement::{
            control::still_allowed,
            ledger::Others,
            plan::{Move, still_safe},
            restart,
        },
        primary::PrimaryView,
    },
    discover,
    evaluate::{Decided, Refusal, stopped},
    process,
};

/// Whether this replica leads for certain, and the database is still to be followed.
pub(super) fn leads(shared: &Shared, stop: &CancellationToken) -> bool {
    !stop.is_cancelled() && shared.leadership.borrow().leads(Instant::now())
}

impl Task {
    pub(super) fn leads(&self) -> bool {
        leads(&self.shared, &self.stop)
    }

    /// Asked right before a node is labelled: whether this replica leads and the primary is believed to be what it was.
    fn still_believed(&self, view: &PrimaryView) -> StillRight {
        let (shared, stop, state) = (Arc::clone(&self.shared), self.stop.clone(), self.discovery.state.clone());
        let (epoch, known) = (view.epoch, view.known().is_some());
        Arc::new(move || {
            let found = state.borrow();
            !stop.is_cancelled()
                && shared.leadership.borrow().leads(Instant::now())
                && (found.view.epoch, found.view.known().is_some()) == (epoch, known)
        })
    }

    /// Asked right before each effect that ends a pod: whether what `view` led to still holds.
    fn still_right(&self, view: &PrimaryView) -> impl Fn() -> bool + use<> {
        let (shared, stop, state) = (Arc::clone(&self.shared), self.stop.clone(), self.discovery.state.clone());
        let (name, epoch) = (self.name.clone(), view.epoch);
        move || {
            let tables = shared.index.read();
            let wanted = tables.databases.get(&name).is_some_and(|database| {
                let free = |object: &DatabaseCluster| {
                    let stopped = stopped(object, &tables, &shared.namespace, Timestamp::now());
                    stopped.is_none() && object.spec.movement.mode.moves()
                };
                !database.deleted && database.object.as_ref().is_ok_and(|object| free(object))
            });
            drop(tables);
            wanted
                && !stop.is_cancelled()
                && shared.leadership.borrow().leads(Instant::now())
                && shared.index.stale().is_none()
                && discover::movement_allowed(&state, epoch)
        }
    }

    /// Writes the labels and taints that are not as they should be, and removes those of earlier keys once all are. `now` is when
    /// that was decided.
    pub(super) async fn label(
        &mut self,
        object: &DatabaseCluster,
        decided: &Decided,
        view: &PrimaryView,
        now: Instant,
    ) {
        let key = object.node_label();
        let changes = &decided.labelling.changes;
        if view.known().is_some() && self.leads() {
            self.answer_for(object, now).await;
        }
        if !changes.is_empty() && self.leads() {
            let still_believed = self.still_believed(view);
            let primary = view.last.as_ref().map(|primary| &*primary.name);
            let because = labels::Because { tiers: &self.memory.tiers, primary };
            let still_right = Arc::clone(&still_believed);
            let ends = labels::apply(&self.shared, &self.name, &key, changes.clone(), &because, still_right).await;
            for (node, refusal) in ends {
                self.memory.note_written(&node, refusal, Instant::now());
            }
            if still_believed() && view.known().is_some() {
                self.memory.note_all_tried();
            }
        }
        if decided.labelling.right && changes.is_empty() && self.leads() {
            self.drop_old_labels(&key, now).await;
        }
    }

    /// Begins to move the pods that were planned.
    pub(super) fn carry_out(
        &mut self,
        moves: Vec<Move>,
        view: &PrimaryView,
        others: Others,
        per_workload: Option<u32>,
    ) {
        if moves.is_empty() {
            return;
        }
        let (index, still_right) = (self.shared.index.clone(), self.still_right(view));
        let began = self.memory.journal.underway.clone();
        let still_right = move |move_: &Move| {
            if !still_right() {
                return Err("leadership, primary or spec changed meanwhile".to_owned());
            }
            let tables = index.read();
            let snapshot = tables.snapshot();
            still_safe(snapshot, move_, began.iter().chain(&others.underway), per_workload)?;
            let Some(pod) = snapshot.pods.get(&move_.uid) else { return Ok(()) };
            still_allowed(snapshot, &move_.workload, pod, process::now()).map_err(|reason| reason.to_string())
        };
        self.hands.begin(moves, &restart::series(&self.name, view.epoch), still_right);
    }

    /// Puts the taint that evicts onto a node, unless what led to that has changed.
    pub(super) async fn empty(&mut self, node: &str, key: &str, view: &PrimaryView) {
        // Asked right before the write: others' writes to the node may come first, and it is read.
        let still_right = Arc::new(self.still_right(view));
        let change = NodeChange::taint_far(TaintEffect::NoExecute);
        match self.shared.nodes.write(node, key, change, still_right).await {
            Ok(()) => {
                tracing::info!(database = self.name, node, taint = key, "emptying a far node: NoExecute");
                self.memory.note_written(node, None, Instant::now());
                let note = format!("{node}: its pods that don't tolerate {key}=far:NoExecute are deleted");
                self.notice(true, EventReason::EmptyingNode, note);
            }
            Err(error) if matches!(*error, EffectError::Outdated) => {
                tracing::info!(
                    database = self.name,
                    node,
                    "not emptied after all: leadership, primary or spec changed"
                );
            }
            Err(error) => {
                let refusal = Refusal::from(&*error);
                let error = &*error as &dyn std::error::Error;
                tracing::warn!(database = self.name, node, error, "could not taint a far node; will try again");
                self.memory.note_written(node, Some(refusal), Instant::now());
            }
        }
    }
}
