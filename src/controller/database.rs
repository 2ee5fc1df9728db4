//! One database, for as long as this replica leads: every evaluation goes from what is known to what is done.

mod decision;
mod emptying;
mod gate;
mod history;
mod labelling;
mod tidy;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use self::labelling::{Labelling, Refusals};
use super::{Shared, labels, movement, report};
use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus, database_cluster::Discovery},
    cluster::{self, nodes::StillRight},
    core::{
        distance::{
            overwrite::{Overwrites, Overwritten},
            tier::TierMap,
        },
        movement::{
            held::Gate,
            journal::{Journal, Outcome},
            plan::Plan,
            restart::{self, MissedRestarts},
            taint::Emptying,
        },
        primary::PrimaryView,
    },
    credentials::{Access, Pace, Standing},
    discover::{self, DiscoveryState, Source, witness::WitnessAddress},
};

/// Pause between two evaluations while there is something to do, so that a burst of changes costs one. When there is
/// nothing a tick passes between them, whatever changes: there may be hundreds of databases, and pods come and go all the time.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// Runs until `stop`, or until nobody finds out any more who is primary.
pub(super) async fn run(shared: Arc<Shared>, name: String, object: DatabaseCluster, stop: CancellationToken) {
    let Some(source) = source(&name, &object, &shared) else { return };
    let Some(status) = last_status(&shared, &name, &object, &stop).await else { return };
    let discovery = discover::spawn(name.clone(), source, report::restored(&status), shared.discovery_metrics.clone());
    tracing::info!(database = name, primary = status.primary, epoch = status.epoch, "following a database");
    let mut changes = shared.index.changes();
    let mut news = discovery.state.clone();
    let mut task = Task::new(Arc::clone(&shared), name, status, discovery, stop.clone());
    while task.discovery.alive() && !stop.is_cancelled() {
        task.evaluate().await;
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(DEBOUNCE) => {}
        }
        tokio::select! {
            () = stop.cancelled() => break,
            _ = changes.changed(), if task.busy => {}
            _ = news.changed() => {}
            () = tokio::time::sleep(shared.tick.saturating_sub(DEBOUNCE)) => {}
        }
    }
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
) -> Option<DatabaseClusterStatus> {
    loop {
        match cluster::read_database(&shared.client, name).await {
            Ok(now) => return (now.metadata.uid == object.metadata.uid).then(|| now.status.unwrap_or_default()),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(database = name, error, "can't read its last status; will try again");
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(shared.tick)).await?;
    }
}

/// Whom the spec names to be asked; `None` where it names nobody, which the schema refuses.
fn source(name: &str, object: &DatabaseCluster, shared: &Shared) -> Option<Source> {
    let Discovery { patroni, operator, sql } = &object.spec.discovery;
    let keep = |sources| Access::keep(name, shared.client.clone(), sources, Pace::default());
    if let Some(patroni) = patroni {
        return Some(Source::Patroni(discover::PatroniConfig {
            urls: patroni.urls.clone(),
            timeout: patroni.timeout.0,
            interval: patroni.interval.0,
            access: keep(discover::patroni::sources(patroni, &shared.namespace)),
            witness: object.spec.witness.as_ref().map(|rules| WitnessAddress {
                url: rules.url.clone(),
                database: rules.database.clone().unwrap_or_else(|| name.to_owned()),
                access: keep(discover::witness::sources(rules, &shared.namespace)),
            }),
        }));
    }
    if let Some(operator) = operator {
        return Some(Source::Operator(operator.clone(), shared.client.clone()));
    }
    let spec = sql.clone()?;
    let access = keep(discover::sql::sources(&spec, &shared.namespace));
    Some(Source::Sql(discover::sql::SqlConfig { spec, access }))
}

struct Task {
    shared: Arc<Shared>,
    name: String,
    discovery: discover::Discovery,
    stop: CancellationToken,
    /// As it was last written; what the task itself must remember lives here too.
    status: DatabaseClusterStatus,
    written: Option<DatabaseClusterStatus>,
    tiers: TierMap,
    evaluated: Option<Instant>,
    /// The decision of a person that was last handed on or refused.
    heeded: Option<String>,
    /// When the finalizer was last asked for.
    tidied: Option<Instant>,
    /// When labels of earlier keys were last removed.
    dropped: Option<Instant>,
    /// Readings that are ignored from now on, to be told of.
    new_doubts: Vec<String>,
    /// Labels that were right.
    overwrites: Overwrites,
    /// What others did to them, to be told of.
    overwritten: Vec<Overwritten>,
    /// Nodes whose label could not be written, and why.
    refused: Refusals,
    /// The primary has changed and not every node has its new label yet.
    relabelling: bool,
    /// The primary has changed and not every node's new label was tried yet.
    at_once: bool,
    /// The last evaluation found labels to write or pods to move, or moves are under way.
    busy: bool,
    journal: Journal,
    backoffs: movement::Backoffs,
    missed: MissedRestarts,
    /// Since when there has been nothing to move.
    quiet_since: Option<Instant>,
    /// Moves have ended since the movement was last called over.
    ended_some: bool,
    /// For how long the primary had held already when this process began, as long as it has held since.
    credit: Option<Duration>,
    last_state: Option<(&'static str, String)>,
    /// How the credentials stood when people were last told.
    last_standing: Option<Standing>,
}

/// What one look at the tables led to.
struct Decided {
    labelling: Labelling,
    gate: Option<Gate>,
    outcomes: Vec<Outcome>,
    plan: Plan,
    /// Of far nodes, for a taint that evicts.
    emptying: Option<Emptying>,
    rtt_us: Option<u64>,
}

impl Task {
    fn new(
        shared: Arc<Shared>,
        name: String,
        status: DatabaseClusterStatus,
        discovery: discover::Discovery,
        stop: CancellationToken,
    ) -> Self {
        let held_since = report::calm_since(&status).map(|since| Timestamp::now().duration_since(since));
        let unlabelled = status.failovers.first().filter(|failover| failover.labelled_at.is_none());
        let (relabelling, at_once) = (unlabelled.is_some(), unlabelled.is_some_and(|failover| failover.from.is_some()));
        Self {
            journal: report::restored_journal(&status, Instant::now()),
            refused: Refusals::default(),
            relabelling,
            at_once,
            credit: held_since.and_then(|held| Duration::try_from(held).ok()),
            written: Some(status.clone()),
            tiers: TierMap::default(),
            evaluated: None,
            heeded: None,
            tidied: None,
            dropped: None,
            new_doubts: Vec::new(),
            overwrites: Overwrites::default(),
            overwritten: Vec::new(),
            busy: true,
            backoffs: movement::Backoffs::default(),
            missed: MissedRestarts::default(),
            quiet_since: None,
            ended_some: false,
            last_state: None,
            last_standing: None,
            shared,
            name,
            discovery,
            stop,
            status,
        }
    }

    /// One evaluation: decide on one picture, then act.
    async fn evaluate(&mut self) {
        let (now, wall) = (Instant::now(), Timestamp::now());
        let found: DiscoveryState = self.discovery.state.borrow().clone();
        // Until every member was asked once, what is believed is only what was restored.
        if !found.looked {
            return;
        }
        self.note_primary(&found, wall);
        self.tell_standing(found.credentials.as_ref());
        let Some((object, decided)) = self.decide(&found, now, wall) else { return };
        self.tell_doubts();
        self.tell_overwritten(&object.node_label());
        self.warn_of_eviction(decided.emptying.is_some());
        let settled = self.heed_decision(&object, &found, wall);

        if found.view.known().is_some() && self.leads() {
            self.answer_for(&object, now).await;
        }
        let changes = &decided.labelling.changes;
        if !changes.is_empty() && self.leads() {
            self.label(&object.node_label(), changes.clone(), &found.view).await;
        }
        if decided.labelling.right && changes.is_empty() && self.leads() {
            self.drop_old_labels(&object.node_label(), now).await;
        }
        movement::tell_outcomes(&self.shared, &self.name, &decided.outcomes, wall);
        self.note_progress(&decided, now, wall);

        for move_ in &decided.plan.moves {
            self.journal.underway.push(movement::entry(move_, wall, now));
        }
        self.busy = !decided.labelling.changes.is_empty() || !self.journal.underway.is_empty() || self.at_once;
        let gate = decided.gate.as_ref();
        let facts = report::Facts {
            object: &object,
            view: &found.view,
            credentials: found.credentials.as_ref(),
            witness: found.witness.as_ref().filter(|_| object.spec.witness.is_some()),
            tiers: &self.tiers,
            plan: &decided.plan,
            journal: &self.journal,
            gate,
            refusing: found.view.known().map(|_| decided.labelling.refusing()),
            emptying: decided.emptying.as_ref(),
        };
        report::update(&mut self.status, &facts, wall);
        self.shared.metrics.observe(&self.name, &self.tiers, &decided.plan, self.journal.underway.len(), gate);
        // Before a pod is touched the status must say so: whoever leads next goes on from there.
        let known = self.write_status().await;
        if let (true, Some(text)) = (known, settled) {
            self.remove_decision(&text).await;
        }
        if !known {
            let planned: Vec<&str> = decided.plan.moves.iter().map(|move_| move_.uid.as_str()).collect();
            self.journal.underway.retain(|underway| !planned.contains(&underway.uid.as_str()));
            return;
        }
        self.carry_out(decided.plan, &found.view).await;
        if let Some(node) = decided.emptying.and_then(|emptying| emptying.next) {
            self.empty(&node, &object.node_label(), &found.view).await;
        }
    }

    fn leads(&self) -> bool {
        !self.stop.is_cancelled() && self.shared.leadership.borrow().leads(Instant::now())
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
            let wanted = shared.index.read().databases.get(&name).is_some_and(|database| {
                !database.deleted && database.object.as_ref().is_ok_and(|object| !object.spec.paused)
            });
            wanted
                && !stop.is_cancelled()
                && shared.leadership.borrow().leads(Instant::now())
                && shared.index.stale().is_none()
                && discover::movement_allowed(&state, epoch)
        }
    }

    async fn carry_out(&mut self, plan: Plan, view: &PrimaryView) {
        let still_right = self.still_right(view);
        let series = restart::series(&self.name, view.epoch);
        let (journal, backoffs) = (&mut self.journal, &mut self.backoffs);
        movement::carry_out(&self.shared, &self.name, plan.moves, journal, backoffs, &series, still_right).await;
    }

    /// Everything that is decided, from one consistent picture.
    fn decide(
        &mut self,
        found: &DiscoveryState,
        now: Instant,
        wall: Timestamp,
    ) -> Option<(Arc<DatabaseCluster>, Decided)> {
        let shared = Arc::clone(&self.shared);
        let tables = shared.index.picture();
        let database = tables.databases.get(&self.name).filter(|database| !database.deleted)?;
        let object = Arc::clone(database.object.as_ref().ok()?);
        let primary_host = found.view.known().and(self.status.primary_host.as_deref());
        // An evaluation is also a confirmation, so that a burst of pod events must not count as several.
        let due = self.evaluated.is_none_or(|at| now.duration_since(at) >= self.shared.tick);
        if due || self.at_once {
            let tiers = labels::evaluate(&tables, &object, primary_host, &self.tiers, self.at_once, now);
            self.new_doubts = labels::new_doubts(&self.tiers, &tiers, &self.status);
            self.tiers = tiers;
            self.evaluated = Some(now);
        }
        let waiting = self.refused.current(now);
        let mut labelling = Labelling::default();
        if found.view.known().is_some() {
            labelling = self.look_at_labels(&tables, &object, &waiting, now);
        }
        let gate = self.gate(&object, &found.view, &labelling, now, wall);
        let series = restart::series(&self.name, found.view.epoch);
        let view = movement::View {
            object: &object,
            tables: &tables,
            tiers: &self.tiers,
            gate: gate.as_ref(),
            restart_series: &series,
            now,
            wall,
        };
        let followed = movement::followed(&view);
        let others = movement::other_tiers(&tables, &followed);
        let followers = movement::followers(&followed, &others);
        let rtt_us = movement::median_rtt_us(&followers, &self.tiers);
        let (outcomes, plan) =
            movement::next_wave(&view, &followers, &mut self.journal, &mut self.backoffs, &mut self.missed);
        drop(followers);
        let emptying = emptying::decide(&view, &plan, &self.journal, &waiting);
        if let Some(emptying) = emptying.as_ref().filter(|emptying| emptying.withdraw) {
            emptying::withdraw(emptying, &mut labelling.changes);
            labelling.changes.retain(|node, _| !waiting.contains_key(node));
        }
        Some((object, Decided { labelling, gate, outcomes, plan, emptying, rtt_us }))
    }

    /// Writes the status if it has changed; true if it stands as it should.
    async fn write_status(&mut self) -> bool {
        if self.written.as_ref() == Some(&self.status) {
            return true;
        }
        if !self.leads() {
            return false;
        }
        match cluster::write_status(&self.shared.client, &self.name, &self.status).await {
            Ok(()) => {
                self.written = Some(self.status.clone());
                self.shared.metrics.status_written(&self.name, true);
                true
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(database = self.name, error, "could not write the status; will try again");
                self.shared.metrics.status_written(&self.name, false);
                false
            }
        }
    }
}
