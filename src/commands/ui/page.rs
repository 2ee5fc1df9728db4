//! What the page shows of the cluster: bounded however large that is, because what is drawn of thousands of nodes is reckoned here.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    heat::{self, Heat},
    places::{Places, Zone},
    watched::Unseen,
};
use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus, database_cluster::ReadinessStatus},
    commands::{
        history::worth::{FailoverReport, RECKONED},
        lines::workload_path,
        progress::Progress,
    },
    core::{distance::tier::Tier, label_key::LabelKey, workload::Phase},
    index::{Database, Tables},
};

/// Databases that are listed by name.
const MOST_DATABASES: usize = 300;
/// Moves that are listed by pod.
const MOST_MOVING: usize = 100;

/// Everything that the page shows at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    /// Kinds that can't be read: what is shown of them is old or missing.
    pub unseen: Vec<Unseen>,
    /// That nobody keeps the status current, if so.
    pub warning: Option<String>,
    pub databases: Vec<Summary>,
    pub databases_total: usize,
    /// The one that is looked at.
    pub database: Option<Detail>,
    /// How the history's worth is reckoned.
    pub reckoned: &'static str,
}

/// One database in the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub name: String,
    pub primary: Option<String>,
    pub moving: usize,
    pub held: u32,
}

/// One database.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    pub name: String,
    /// Why the object can't be read, if so. Then there is nothing else.
    pub error: Option<String>,
    pub primary: Option<String>,
    pub timeline: Option<u64>,
    pub since: Option<Timestamp>,
    pub message: Option<String>,
    pub paused: bool,
    pub deleted: bool,
    pub members: Vec<Member>,
    pub conditions: Vec<Stands>,
    /// What would happen if each member became the primary.
    pub readiness: Vec<ReadinessStatus>,
    pub zones: Vec<Zone>,
    pub zones_total: usize,
    pub heat: Heat,
    pub pods: PodCounts,
    pub progress: Progress,
    pub progress_sentence: String,
    pub percent: Option<u32>,
    pub moving: Vec<Moving>,
    pub moving_total: usize,
    pub held: Vec<Stays>,
    pub held_total: u32,
    pub failovers: Vec<Change>,
}

/// One member of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Member {
    pub name: String,
    pub host: String,
    /// That of the node that is nearest to it.
    pub zone: Option<String>,
    pub primary: bool,
    /// It was the primary before this one.
    pub former: bool,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stands {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub since: Timestamp,
}

/// Followers by the tier of their node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodCounts {
    pub closely: u32,
    pub intermediate: u32,
    pub far: u32,
    pub unknown: u32,
    /// Without a node.
    pub waiting: u32,
}

/// One pod on the move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Moving {
    pub uid: String,
    pub pod: String,
    pub workload: String,
    pub from: String,
    pub from_zone: Option<String>,
    pub to: String,
    pub to_zone: Option<String>,
    pub action: String,
    pub started_at: Option<Timestamp>,
    pub failed: bool,
}

/// Pods of one workload that stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stays {
    pub workload: String,
    pub pods: u32,
    pub reason: String,
    pub message: String,
    pub passes: bool,
}

/// One change of primary, with what its movement was worth.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    #[serde(flatten)]
    pub report: FailoverReport,
    pub saved_pod_seconds: Option<u64>,
}

/// The page about this database, or the first one if it isn't there.
pub(super) fn page(
    tables: &Tables,
    unseen: Vec<Unseen>,
    warning: Option<String>,
    selected: Option<&str>,
    now: Timestamp,
) -> Page {
    let mut names: Vec<&Database> = tables.databases.values().collect();
    names.sort_by(|a, b| a.name.cmp(&b.name));
    let chosen = selected.and_then(|name| names.iter().find(|it| it.name == name)).or_else(|| names.first());
    let database = chosen.map(|database| detail(database, tables, now));
    Page {
        unseen,
        warning,
        databases_total: names.len(),
        databases: names.iter().take(MOST_DATABASES).map(|database| summary(database)).collect(),
        database,
        reckoned: RECKONED,
    }
}

fn summary(database: &Database) -> Summary {
    let status = database.object.as_ref().ok().and_then(|object| object.status.as_ref());
    Summary {
        name: database.name.clone(),
        primary: status.and_then(|status| status.primary.clone()),
        moving: status.map_or(0, |status| status.moving.len()),
        held: status.map_or(0, |status| status.held_total),
    }
}

fn detail(database: &Database, tables: &Tables, now: Timestamp) -> Detail {
    let (status, node_label, paused, error) = match &database.object {
        Ok(object) => {
            let object: &DatabaseCluster = object;
            (object.status.clone().unwrap_or_default(), object.node_label(), object.spec.paused, None)
        }
        Err(error) => (DatabaseClusterStatus::default(), LabelKey::nobodys(), false, Some(error.clone())),
    };
    let pods = pods_by_node(tables, &database.name);
    let places = Places::of(tables, &status.members, &node_label, &pods.by_node);
    let progress = Progress::of(&status, now);
    let former = status.failover().and_then(|row| row.from.clone());
    let zone_of = |node: &str| places.zone_of(node).map(str::to_owned);
    let members = status.members.iter().enumerate().map(|(at, member)| Member {
        name: member.name.clone(),
        host: member.host.clone(),
        zone: places.nearest_zone(at).map(str::to_owned),
        primary: status.primary.as_ref() == Some(&member.name),
        former: former.as_ref() == Some(&member.name),
    });
    let conditions = status.conditions.iter().map(|condition| Stands {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since: condition.last_transition_time.0,
    });
    let moving = status.moving.iter().take(MOST_MOVING).map(|moving| Moving {
        uid: moving.uid.clone(),
        pod: moving.pod.clone(),
        workload: format!("{}/{}", moving.workload.kind.to_lowercase(), moving.workload.name),
        from_zone: zone_of(&moving.from),
        from: moving.from.clone(),
        to_zone: zone_of(&moving.to),
        to: moving.to.clone(),
        action: moving.action.clone(),
        started_at: moving.started_at,
        failed: moving.failed,
    });
    let held = status.held_workloads.iter().map(|held| Stays {
        workload: workload_path(&held.namespace, &held.kind, &held.name),
        pods: held.pods,
        reason: held.reason.clone(),
        message: held.message.clone(),
        passes: held.passes,
    });
    let (zones, zones_total) = places.zones();
    Detail {
        name: database.name.clone(),
        error,
        primary: status.primary.clone(),
        timeline: status.timeline,
        since: status.since,
        message: status.message.clone(),
        paused,
        deleted: database.deleted,
        members: members.collect(),
        conditions: conditions.collect(),
        readiness: status.readiness.clone(),
        zones,
        zones_total,
        heat: heat::heat(&places),
        pods: pods.counts(&places),
        percent: progress.percent(),
        progress_sentence: progress.sentence(),
        progress,
        moving: moving.collect(),
        moving_total: status.moving.len(),
        held: held.collect(),
        held_total: status.held_workloads_total,
        failovers: changes(&status, now),
    }
}

/// What time alone changes of them is told each half minute.
fn changes(status: &DatabaseClusterStatus, now: Timestamp) -> Vec<Change> {
    let coarse = Timestamp::from_second(now.as_second() - now.as_second().rem_euclid(30)).unwrap_or(now);
    let change = |report: FailoverReport| Change {
        saved_pod_seconds: report.worth.map(|worth| worth.saved_pod_seconds()),
        report,
    };
    FailoverReport::all(status, coarse).into_iter().map(change).collect()
}

/// The followers of one database.
pub(super) struct Pods {
    pub by_node: HashMap<String, u32>,
    waiting: u32,
}

impl Pods {
    fn counts(&self, places: &Places<'_>) -> PodCounts {
        let mut counts = PodCounts { waiting: self.waiting, ..PodCounts::default() };
        let tiers: BTreeMap<&str, _> = places.nodes.iter().map(|node| (node.name, node.tier)).collect();
        for (node, pods) in &self.by_node {
            let count = match tiers.get(node.as_str()) {
                Some(Tier::Closely) => &mut counts.closely,
                Some(Tier::Intermediate) => &mut counts.intermediate,
                Some(Tier::Far) => &mut counts.far,
                Some(Tier::Unknown) | None => &mut counts.unknown,
            };
            *count += pods;
        }
        counts
    }
}

/// How many followers run where.
pub(super) fn pods_by_node(tables: &Tables, database: &str) -> Pods {
    let mut pods = Pods { by_node: HashMap::new(), waiting: 0 };
    for following in tables.followers(database).iter().filter(|it| it.pod.phase != Phase::Finished) {
        match &following.pod.node {
            Some(node) => match pods.by_node.get_mut(node) {
                Some(count) => *count += 1,
                None => drop(pods.by_node.insert(node.clone(), 1)),
            },
            None => pods.waiting += 1,
        }
    }
    pods
}

#[cfg(test)]
mod tests;
