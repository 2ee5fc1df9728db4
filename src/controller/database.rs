//! One database, for as long as this replica leads: every evaluation goes from what is known to what is done.

mod act;
mod announced;
mod decision;
mod entered;
mod hosts;
mod ownership;
mod readiness;
mod remember;
mod tell;
mod tell_halted;
mod tell_stays;
mod write;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use self::{entered::Entered, write::Written};
use super::{Shared, metrics::Shown, movement::Hands, status_update};
use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus},
    cluster,
    core::{affinity::hard, announcement::Announcements, label_key::LabelKey, map::Map, workload::Node},
    credentials::SecretState,
    discover::{self, DiscoveryState, Source},
    evaluate::{Facts, Memory, evaluate},
    index::Tables,
    process,
};

/// Pause between two evaluations while there is something to do, so that a burst of changes costs one. When there is
/// nothing a tick passes between them, whatever changes: there may be hundreds of databases, and pods come and go all the time.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// The same while moves are under way. Each step writes all of them to the status, and whoever of a workload is moved in one step costs
/// its controllers less than one after the other would: where a control plane is busy, looking more often is slower.
const PACE: Duration = Duration::from_millis(400);

/// Runs until `stop`, or until nobody finds out any more who is primary.
pub(super) async fn run(shared: Arc<Shared>, name: String, object: DatabaseCluster, stop: CancellationToken) {
    // Before anybody else plans: other databases begin at the same moment, and know nothing of its moves.
    let entered = Entered::new(Arc::clone(&shared), name.clone(), object.status.as_ref());
    let Some(source) = Source::of(&name, &object.spec, &shared.client, &shared.namespace) else { return };
    let Some(written) = last_status(&shared, &name, &object, &stop).await else { return };
    let status = written.status().clone();
    let discovery =
        discover::spawn(name.clone(), source, status_update::restored(&status), shared.discovery_metrics.clone());
    let (moving, moved) = (status.moving.len(), status.failover().map(|failover| failover.moved));
    tracing::info!(
        database = name,
        primary = status.primary,
        epoch = status.epoch,
        moving,
        moved,
        "following a database"
    );
    let mut changes = shared.index.changes();
    let mut news = discovery.state.clone();
    let mut task = Task::new(entered, name, written, discovery, stop.clone());
    while task.discovery.alive() && !stop.is_cancelled() {
        task.step().await;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(DEBOUNCE) => {}
        }
        if !task.memory.journal.underway.is_empty() {
            tokio::select! {
                () = stop.cancelled() => break,
                // Another primary waits for nobody.
                _ = news.changed() => continue,
                () = tokio::time::sleep(PACE.saturating_sub(DEBOUNCE)) => {}
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            _ = changes.changed(), if task.busy => {}
            _ = news.changed() => {}
            () = tokio::time::sleep(shared.tick.saturating_sub(DEBOUNCE)) => {}
        }
    }
    task.hands.finish(&task.name, &mut task.memory).await;
    shared.metrics.forget(&task.name);
    if !stop.is_cancelled() {
        task.tell_of_death();
    }
    tracing::info!(database = task.name, "not following this database from here any more");
}

/// The status as it was last written, by this process or another one: a watch may lag behind, and moves that are under way must
/// be known of. `None` if it isn't this object's any more, or at the end.
async fn last_status(
    shared: &Shared,
    name: &str,
    object: &DatabaseCluster,
    stop: &CancellationToken,
) -> Option<Written> {
    loop {
        match cluster::read_database(&shared.client, name).await {
            Ok(now) => return (now.metadata.uid == object.metadata.uid).then(|| Written::read(now)),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(database = name, error, "can't read its last status; will try again");
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(shared.tick)).await?;
    }
}

struct Task {
    shared: Arc<Shared>,
    name: String,
    discovery: discover::Discovery,
    stop: CancellationToken,
    /// As it should be written.
    status: DatabaseClusterStatus,
    /// As it was last written.
    written: Written,
    /// What evaluations remember.
    memory: Memory,
    /// Its moves in the ledger of all databases.
    entered: Entered,
    /// Its moves that are being carried out.
    hands: Hands,
    /// The decision of a person that was last handed on or refused.
    heeded: Option<String>,
    /// When the finalizer was last asked for.
    finalizer_tried: Option<Instant>,
    /// When labels of earlier keys were last removed.
    dropped: Option<Instant>,
    /// The last evaluation found labels to write or pods to move, or moves are under way.
    busy: bool,
    last_state: Option<(&'static str, String)>,
    /// What people were told of replacements that failed, if anything.
    told_halted: tell_halted::ToldHalted,
    /// What the owners of workloads were told of pods that stay.
    told_stays: tell_stays::ToldStays,
    /// What would come of another primary.
    readiness: readiness::Watch,
    /// The members that no node reaches.
    unreached: hosts::Watch,
    /// What the metrics say.
    shown: Shown,
    /// What the hard modes in the status were found from: nodes, the key of their labels, and whether the primary was known and nothing frozen.
    modes_of: Option<(Map<String, Arc<Node>>, LabelKey, bool)>,
    /// What is known of switchovers to come. The one that is announced stands in the status.
    announcements: Announcements,
    /// What people were told of who would find a place then.
    told_announced: Option<announced::Told>,
    /// How the credentials stood when people were last told.
    last_secret_state: Option<SecretState>,
}

impl Task {
    fn new(
        entered: Entered,
        name: String,
        written: Written,
        discovery: discover::Discovery,
        stop: CancellationToken,
    ) -> Self {
        let (shared, status) = (Arc::clone(entered.shared()), written.status().clone());
        let memory = Memory::restored(&status, process::now());
        entered.take_over(&memory.journal.underway);
        Self {
            memory,
            entered,
            written,
            heeded: None,
            finalizer_tried: None,
            dropped: None,
            busy: true,
            last_state: None,
            told_halted: tell_halted::ToldHalted::default(),
            told_stays: tell_stays::ToldStays::default(),
            hands: Hands::new(Arc::clone(&shared)),
            last_secret_state: None,
            announcements: Announcements::restored(status.announced.as_ref().map(status_update::announced::read)),
            told_announced: None,
            readiness: readiness::Watch::default(),
            unreached: hosts::Watch::default(),
            shown: Shown::default(),
            modes_of: None,
            shared,
            name,
            discovery,
            stop,
            status,
        }
    }

    /// Takes note of what became of moves since the last step.
    fn note_answers(&mut self, now: Instant) {
        if self.hands.note(&self.name, &mut self.memory, now) {
            self.entered.correct(&self.memory.journal.underway);
        }
    }

    /// Takes note of the hard modes that are possible. Of the same nodes come the same.
    fn note_modes(&mut self, tables: &Tables, key: LabelKey, sure: bool) {
        let nodes = tables.nodes.live();
        let found = self.modes_of.as_ref();
        if found.is_some_and(|(of, by, known)| of.is_same(nodes) && (by, known) == (&key, &sure)) {
            return;
        }
        self.status.hard_modes = hard::possible(tables.nodes.values(), &key, sure);
        self.modes_of = Some((nodes.clone(), key, sure));
    }

    /// One step: remember what is believed, evaluate one picture, tell, write, act.
    async fn step(&mut self) {
        let now = process::now();
        let found: DiscoveryState = self.discovery.state.borrow().clone();
        // Until every member was asked once, what is believed is only what was restored.
        if !found.looked {
            return;
        }
        let tables = self.shared.index.picture();
        let Some(object) = followed(&tables, &self.name) else { return };
        self.note_answers(now.instant);
        self.remember_primary(&object, &found, now.wall);
        self.remember_announced(&object, &found, now.wall);
        self.tell_secret_state(found.credentials.as_ref());
        let others = self.entered.look(now.instant);
        let mut decided = evaluate(
            &Facts {
                object: &object,
                tables: &tables,
                stale: self.shared.index.stale(),
                own_namespace: &self.shared.namespace,
                view: &found.view,
                members: &self.status.members,
                status: &self.status,
                others: &others,
                confirm_every: self.shared.tick,
            },
            &mut self.memory,
            now,
        );
        self.enter(&mut decided, &others, object.spec.movement.max_concurrent);
        self.foresee(&object, &tables, &found.view, now).await;
        let stale_after = object.spec.tiers.stale_after.0;
        let unreached = self.unreached.look(&tables, &found, stale_after, now.instant, self.shared.tick);
        let hosts: Vec<String> = found.refused.iter().chain(unreached).cloned().collect();
        let sure = found.view.movement_allowed();
        // What an old picture shows of nodes is no news.
        if self.shared.index.stale().is_none() {
            self.note_modes(&tables, object.node_label(), sure);
        }
        // Labels may take a while; watches write meanwhile, which costs less when nobody holds the tables as they were.
        drop(tables);
        self.status.primary_host.clone_from(&self.memory.primary_host);
        self.tell(&object.node_label(), &decided);
        self.tell_halted(&decided);
        self.tell_stays(&decided.stays, now.instant);
        let heeded = self.heed_decision(&object, &found, now.wall);

        self.label(&object, &decided, &found.view, now.instant).await;
        self.tell_outcomes(&decided.outcomes, now.wall);
        self.remember_progress(&decided, now.wall);
        self.busy = !decided.labelling.changes.is_empty() || self.memory.busy();
        // Before a pod is touched the status must say so: whoever leads next goes on from there.
        let written = self.update_status(&object, &found, &decided, &hosts, now.wall).await;
        if let (true, Some(text)) = (written, heeded) {
            self.remove_decision(&text).await;
        }
        let next = decided.emptying.as_mut().and_then(|emptying| emptying.next.take()).filter(|_| written);
        let empties = self.entered.empties(next.as_deref());
        if !written {
            decided.plan.moves.iter().for_each(|move_| self.memory.forget_move(&move_.uid));
            self.entered.correct(&self.memory.journal.underway);
            return;
        }
        self.carry_out(decided.plan.moves, &found.view, others, object.spec.movement.per_workload);
        if let Some(node) = next.filter(|_| empties) {
            self.empty(&node, &object.node_label(), &found.view).await;
        }
    }
}

/// The database, if it can be read and is to stay.
fn followed(tables: &Tables, name: &str) -> Option<Arc<DatabaseCluster>> {
    let database = tables.databases.get(name).filter(|database| !database.deleted)?;
    database.object.as_ref().ok().cloned()
}
