//! What would be decided now, by one look at the cluster: `explain` and `move` answer from it. Who is primary is what the status says;
//! all else is asked anew, by the same function as the controller asks.

use std::{sync::Arc, time::Duration};

use kube::Client;

use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus},
    core::{
        follow::Follow,
        moment::Moment,
        movement::{ledger::Others, workloads::workload_of},
        primary::{Primary, PrimaryState, PrimaryView},
        schedulers::Schedulers,
        workload::Pod,
    },
    evaluate::{Decided, Facts, Memory, evaluate},
    index::{Index, LookError, Tables},
    process,
};

/// The cluster at one moment.
#[derive(Debug)]
pub(super) struct Look {
    pub tables: Tables,
    pub own_namespace: String,
    pub now: Moment,
}

impl Look {
    /// # Errors
    /// Something can't be listed, such as for missing rights.
    pub(super) async fn at(client: &Client, schedulers: &Schedulers, own_namespace: &str) -> Result<Self, LookError> {
        let now = process::now();
        let tables = Index::look_once(client, schedulers, now).await?;
        Ok(Self { tables, own_namespace: own_namespace.to_owned(), now })
    }

    /// The pods of the workload with this UID, in the order of their names.
    pub(super) fn pods(&self, workload: &str) -> Vec<&Pod> {
        let snapshot = self.tables.snapshot();
        let of_it = |pod: &&Pod| workload_of(snapshot, pod).is_some_and(|key| key.uid == workload);
        let mut pods: Vec<&Pod> = snapshot.pods().filter(of_it).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        pods
    }

    /// The databases that these pods follow, in the order of their names.
    pub(super) fn followed(&self, pods: &[&Pod]) -> Vec<String> {
        let databases = pods.iter().filter_map(|pod| {
            let namespace = self.tables.namespaces.get(&pod.namespace)?;
            let lookup = |name: &str| self.tables.defaults(name);
            let says = namespace.wishes.says();
            Follow::resolve(namespace.opt_in.as_deref(), &says, &pod.wishes.says(), lookup).databases.ok()
        });
        let mut names: Vec<String> = databases.flatten().map(|followed| followed.name.to_string()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// As if somebody had just asked that this workload be moved now.
    pub(super) fn ask_for(&mut self, workload: &str) {
        if let Some(workload) = self.tables.all_workloads.get_mut(workload) {
            Arc::make_mut(workload).orders.get_or_insert_default().move_now = Some(self.now.wall);
        }
    }

    /// What would be decided of this database; `None` if there is no such one, or it can't be read.
    pub(super) fn decide(&self, database: &str) -> Option<Decided> {
        let object = self.tables.databases.get(database)?.object.as_ref().ok()?;
        Some(decide(object, &self.tables, &self.own_namespace, self.now))
    }
}

fn decide(object: &DatabaseCluster, tables: &Tables, own_namespace: &str, now: Moment) -> Decided {
    let status = object.status.clone().unwrap_or_default();
    let mut memory = Memory::restored(&status, now);
    if leader_has_settled(&status) {
        memory.note_settled();
    }
    let facts = Facts {
        object,
        tables,
        stale: None,
        own_namespace,
        view: &view(&status, now),
        members: &status.members,
        status: &status,
        others: &others(object, tables, now),
        confirm_every: Duration::ZERO,
    };
    let mut decided = evaluate(&facts, &mut memory, now);
    if let Some(frozen) = status.condition("Frozen").filter(|frozen| frozen.status == "True") {
        decided.freeze(&frozen.message);
    }
    decided
}

/// What the other databases have on the move, as they are written down. How many there may be together nobody knows but the controller.
fn others(object: &DatabaseCluster, tables: &Tables, now: Moment) -> Others {
    let others = tables.databases.values().filter_map(|database| database.object.as_ref().ok());
    let others = others.filter(|other| other.metadata.name != object.metadata.name);
    let underway = others.filter_map(|other| Some(Memory::restored(other.status.as_ref()?, now).journal.underway));
    Others { underway: underway.flatten().collect(), ..Others::default() }
}

/// What the last leader believed of the primary.
fn view(status: &DatabaseClusterStatus, now: Moment) -> PrimaryView {
    let last = status
        .primary
        .as_ref()
        .map(|name| Primary { name: name.clone(), timeline: status.timeline.unwrap_or_default() });
    let known = status.holds("PrimaryKnown");
    let split = status.holds("SplitBrain");
    let state = match &last {
        Some(primary) if known => PrimaryState::Known(primary.clone()),
        _ if split => PrimaryState::SplitBrain(Vec::new()),
        _ => PrimaryState::Unknown,
    };
    // For how long it has held stands in the status, and is counted from there.
    let since = known.then_some(now.instant);
    PrimaryView {
        state,
        last,
        epoch: status.epoch,
        frozen: Vec::new(),
        stale: Vec::new(),
        why: status.message.clone().unwrap_or_else(|| "no controller has looked yet".to_owned()),
        highest_timeline: status.highest_timeline,
        system_identifier: status.system_identifier.clone(),
        contested: Default::default(),
        dismissed: Default::default(),
        confirmed_at: since,
        known_since: since,
        calm_since: since,
    }
}

/// Whether the controller, by what it says of the movement, has found that the primary has held for long enough. Of gates that come before
/// that one, nothing follows.
fn leader_has_settled(status: &DatabaseClusterStatus) -> bool {
    status.condition("Moving").is_some_and(|moving| match &*moving.reason {
        "NodesInDoubt" | "Halted" | "OutsideWindow" | "DryRun" | "NamespaceHalted" | "Done" | "Held" => true,
        // What was begun for the last primary goes on while the present one settles.
        "Moving" => status.moving.is_empty() || status.moving.iter().any(|it| it.epoch == Some(status.epoch)),
        _ => false,
    })
}

#[cfg(test)]
mod tests;
