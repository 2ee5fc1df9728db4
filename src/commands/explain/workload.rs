//! A workload: what admission does for its pods, where they are, what moves or holds them now, what would if another member were the
//! primary, and what it isn't ready for.

pub(super) mod jobs;
pub(super) mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use kube::Client;
use serde::Serialize;
use serde_json::Value;

use super::{
    super::{kinds::is_called, look::Look},
    ExplainError, Explanation, Template, manifest, pods, words as pod_words,
};
use crate::{
    admission::View,
    api::{DatabaseClusterStatus, database_cluster::MemberStatus},
    cluster::owners,
    core::{
        distance::tier::{Tier, TierMap},
        movement::workloads::{WorkloadKey, Workloads, workload_of},
        selector::Labels,
        weakness::{Budget, Serving, Weakness, weaknesses},
        words::listed,
        workload::{Phase, Pod, Workload},
    },
    evaluate::thought::tiers_towards,
    foresight::{Forecast, HeldForecast, Lost, Question, foresee},
};

/// A workload that is there.
#[derive(Debug)]
pub(super) struct Found {
    pub key: WorkloadKey,
    /// Group and version of its kind.
    api: String,
    itself: Option<Arc<Workload>>,
    /// What was asked for, where that belongs to the workload.
    through: Option<String>,
    /// Of a CronJob: its Jobs, whose its pods are.
    parts: Vec<WorkloadKey>,
}

impl Found {
    /// Whose its pods are.
    fn owners(&self) -> &[WorkloadKey] {
        if self.key.kind == "CronJob" { &self.parts } else { std::slice::from_ref(&self.key) }
    }
}

/// Everything that is said of a workload.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadExplanation {
    /// `deployment orders/web`
    pub workload: String,
    /// What was asked for, where that belongs to the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// `None` where nobody knows.
    pub replicas: Option<u32>,
    /// What is said of all of its kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
    /// `None` if neither its template nor a pod of it can be read.
    pub admission: Option<Explanation>,
    pub pods: Vec<Placed>,
    pub databases: Vec<OfDatabase>,
    /// What it isn't ready for in terms of zero downtime.
    pub weaknesses: Vec<Weakness>,
}

/// Where one pod is.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Placed {
    pub pod: String,
    pub node: Option<String>,
    pub zone: Option<String>,
    pub ready: bool,
    /// By database.
    pub distances: BTreeMap<String, Distance>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Distance {
    /// By its node's label.
    pub tier: Tier,
    /// Fresh median to the primary.
    pub rtt_us: Option<u64>,
}

/// What one database that its pods follow does to them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfDatabase {
    pub database: String,
    pub primary: Option<String>,
    /// What moves or holds its pods at present.
    pub now: Vec<Alike>,
    pub if_primary: Vec<IfPrimary>,
}

/// Pods of which the same is said.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Alike {
    pub message: String,
    pub pods: Vec<String>,
}

/// What would become of its pods if this member were the primary.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IfPrimary {
    pub member: String,
    /// Why nobody can tell; then there is nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unclear: Option<String>,
    /// How many of its pods are near the member now.
    pub near: u32,
    pub moves: u32,
    /// `evict` or `restart`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub way: Option<&'static str>,
    /// How many of them go at once.
    pub at_once: u32,
    /// Until its last replacement is Ready, from when the movement begins.
    pub seconds: f64,
    pub stays: Vec<HeldForecast>,
    /// What would have to be there, for it and for others.
    pub missing: Vec<String>,
    /// What people wrote that stands against it.
    pub obstacles: Vec<String>,
}

/// Looks for a workload by what owns pods.
///
/// # Errors
/// There is none; who there is.
pub(super) fn find(look: &Look, namespace: &str, kind: &str, name: &str) -> Result<Found, ExplainError> {
    let snapshot = look.tables.snapshot();
    let is_meant = |its_kind: &str, its_name: &str| its_name == name && is_called(its_kind, kind);
    let in_namespace = snapshot.groups.by_namespace.get(namespace);
    let mut existing = BTreeSet::new();
    for pod in in_namespace.iter().flat_map(|pods| pods.iter()) {
        let (Some(owner), Some(key)) = (&pod.owner, workload_of(snapshot, pod)) else { continue };
        let is_owner = is_meant(&owner.kind, &owner.name);
        if is_owner || is_meant(&key.kind, &key.name) {
            let above = snapshot.workloads.get(&owner.uid).and_then(|set| set.owner.as_ref());
            let api = above.filter(|above| above.uid == key.uid).map_or(&owner.api, |above| &above.api).clone();
            let through = (key.uid != owner.uid && is_owner).then(|| called(&owner.kind, &owner.name));
            let itself = snapshot.workloads.get(&key.uid).cloned();
            return Ok(Found { key, api, itself, through, parts: Vec::new() });
        }
        existing.insert(called(&key.kind, &key.name));
    }
    for workload in snapshot.workloads.values().filter(|it| it.namespace == namespace) {
        if is_meant(&workload.kind, &workload.name) {
            return Ok(without_pods(look, workload));
        }
        if workload.owner.is_none() {
            existing.insert(called(&workload.kind, &workload.name));
        }
    }
    let existing: Vec<String> = existing.into_iter().collect();
    let existing = if existing.is_empty() { "none".to_owned() } else { listed(&existing) };
    Err(ExplainError::Missing { what: format!("{kind}/{name} in {namespace} that makes pods"), existing })
}

fn without_pods(look: &Look, workload: &Arc<Workload>) -> Found {
    let key = |it: &Workload| WorkloadKey {
        namespace: it.namespace.clone(),
        kind: it.kind.clone(),
        name: it.name.clone(),
        uid: it.uid.clone(),
    };
    let above = look.tables.all_workloads.get(workload.top());
    let top = above.unwrap_or(workload);
    let through = (top.uid != workload.uid).then(|| called(&workload.kind, &workload.name));
    Found { key: key(top), api: "apps/v1".to_owned(), itself: Some(Arc::clone(top)), through, parts: Vec::new() }
}

/// `deployment/web`
fn called(kind: &str, name: &str) -> String {
    format!("{}/{name}", kind.to_lowercase())
}

/// Its pod template; or one of its pods, where whoever asks may not read it.
pub(super) async fn template(client: &Client, look: &Look, found: &Found) -> Option<Template> {
    let WorkloadKey { namespace, kind, name, uid } = &found.key;
    if let Ok(Some(resource)) = owners::resource(client, &found.api, kind).await
        && let Ok(Some(object)) = owners::object(client, &resource, namespace, name).await
    {
        let mut object = serde_json::to_value(object).unwrap_or_default();
        object["kind"] = kind.as_str().into();
        if let Some(template) = manifest::template(&object, namespace) {
            return Some(template);
        }
    }
    let newest = look.pods(uid).into_iter().max_by_key(|pod| pod.created)?.name.clone();
    let pod = pods::pod(client, namespace, &newest).await.ok()?;
    let mut pod = serde_json::to_value(pod).unwrap_or_default();
    // As it would be if it were created anew: not placed yet.
    if let Some(spec) = pod["spec"].as_object_mut() {
        spec.remove("nodeName");
    }
    Some(Template {
        subject: format!("pod {namespace}/{newest}"),
        namespace: namespace.clone(),
        min_ready_s: None,
        pod,
    })
}

/// Everything that is said of it.
///
/// # Errors
/// Its template can't be read as a pod.
pub(super) fn explain(
    look: &Look,
    view: &View,
    found: &Found,
    template: Option<Template>,
    now: Timestamp,
) -> Result<WorkloadExplanation, ExplainError> {
    let mut all: Vec<&Pod> = found.owners().iter().flat_map(|owner| look.pods(&owner.uid)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    let admission = match &template {
        Some(template) => Some(pods::explain(template, view)?),
        None => None,
    };
    let mut databases: BTreeSet<String> = look.followed(&all).into_iter().collect();
    databases.extend(admission.iter().flat_map(|it| &it.follows).map(|followed| followed.database.clone()));
    let counted = Workloads::named(look.tables.snapshot(), [found.key.uid.as_str()]);
    let desired = counted.get(&found.key).and_then(|pods| pods.desired);
    let replicas = desired.or_else(|| found.itself.as_ref().map(|it| it.desired));
    let spec = template.as_ref().map(|template| &template.pod["spec"]);
    let serving = Serving {
        kind: &found.key.kind,
        replicas,
        strategy: found.itself.as_ref().map(|it| it.strategy).unwrap_or_default(),
        min_ready_s: template.as_ref().and_then(|template| template.min_ready_s),
        pod: spec,
        budgets: &budgets(look, &found.key.namespace, &all, template.as_ref()),
    };
    Ok(WorkloadExplanation {
        workload: format!("{} {}/{}", found.key.kind.to_lowercase(), found.key.namespace, found.key.name),
        through: found.through.clone(),
        replicas,
        note: jobs::is_one(&found.key.kind).then_some(jobs::NOTE),
        pods: placed(look, &all, &databases),
        databases: databases.iter().filter_map(|name| of_database(look, name, found.owners(), &all, now)).collect(),
        weaknesses: weaknesses(&serving),
        admission,
    })
}

/// The disruption budgets that cover its pods, or would.
fn budgets(look: &Look, namespace: &str, pods: &[&Pod], template: Option<&Template>) -> Vec<Budget> {
    let written = template.and_then(|template| template.pod["metadata"]["labels"].as_object());
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    let written: Labels = written.into_iter().flatten().filter_map(text).collect();
    let labels: Vec<&Labels> =
        if pods.is_empty() { vec![&written] } else { pods.iter().map(|pod| &*pod.labels).collect() };
    let of_namespace = look.tables.budgets.values().filter(|budget| budget.namespace == namespace);
    let covering = of_namespace.filter(|budget| labels.iter().any(|labels| budget.selector.matches(labels)));
    let in_namespace = look.tables.pods.groups().by_namespace.get(namespace);
    let budget = covering.map(|budget| {
        let stays = |pod: &&Arc<Pod>| !pod.terminating && pod.phase != Phase::Finished;
        let covered = in_namespace.iter().flat_map(|pods| pods.iter()).filter(stays);
        let covers = covered.filter(|pod| budget.selector.matches(&pod.labels)).count();
        let covers = u32::try_from(covers).unwrap_or(u32::MAX);
        Budget { name: budget.name.clone(), covers, wants: budget.desired_healthy }
    });
    budget.collect()
}

fn placed(look: &Look, pods: &[&Pod], databases: &BTreeSet<String>) -> Vec<Placed> {
    let towards: Vec<_> = databases
        .iter()
        .filter_map(|name| Some((name, look.tables.databases.get(name)?.object.as_ref().ok()?)))
        .map(|(name, object)| {
            let host = object.status.as_ref().and_then(|status| status.primary_host.as_deref());
            let tiers = host.map(|host| tiers_towards(object, &look.tables, host, look.now));
            (name, object.node_label(), tiers.unwrap_or_default())
        })
        .collect();
    let place = |pod: &&Pod| {
        let node = pod.node.as_ref().and_then(|node| look.tables.nodes.get(node));
        let distances = node.into_iter().flat_map(|node| {
            towards.iter().map(|(name, key, tiers)| {
                ((*name).clone(), Distance { tier: node.labelled(key), rtt_us: tiers.rtt_us(&node.name) })
            })
        });
        Placed {
            pod: pod.name.clone(),
            node: pod.node.clone(),
            zone: node.and_then(|node| node.zone()).map(str::to_owned),
            ready: pod.ready,
            distances: distances.collect(),
        }
    };
    pods.iter().map(place).collect()
}

fn of_database(look: &Look, name: &str, owners: &[WorkloadKey], pods: &[&Pod], now: Timestamp) -> Option<OfDatabase> {
    let object = look.tables.databases.get(name)?.object.as_ref().ok()?;
    let status = object.status.clone().unwrap_or_default();
    let question = Question {
        object,
        tables: &look.tables,
        followers: &look.tables.followers(name),
        own_namespace: &look.own_namespace,
        status: &status,
        lost: &Lost::default(),
        now: look.now,
    };
    let follows = |pod: &&&Pod| look.followed(&[pod]).iter().any(|followed| followed == name);
    let followers: Vec<&Pod> = pods.iter().filter(follows).copied().collect();
    let if_primary = question.others().into_iter().map(|member| if_primary(&question, member, owners, &followers));
    let if_primary = if_primary.collect();
    let now = at_present(look, name, &status, &followers, now);
    Some(OfDatabase { database: name.to_owned(), primary: status.primary.clone(), now, if_primary })
}

/// What is said of each, those alike together.
fn at_present(look: &Look, name: &str, status: &DatabaseClusterStatus, pods: &[&Pod], now: Timestamp) -> Vec<Alike> {
    let Some(object) = look.tables.databases.get(name).and_then(|database| database.object.as_ref().ok()) else {
        return Vec::new();
    };
    let (key, decided) = (object.node_label(), look.decide(name));
    let mut alike: Vec<Alike> = Vec::new();
    for pod in pods {
        let labelled = |node: &String| look.tables.nodes.get(node).map_or(Tier::Unknown, |node| node.labelled(&key));
        let tier = pod.node.as_ref().map(labelled);
        let anew = decided.as_ref().and_then(|decided| pod_words::decided(decided, &pod.uid));
        let message = pod_words::movement(status, &pod.full_name(), tier, anew.as_deref(), now);
        match alike.iter_mut().find(|it| it.message == message) {
            Some(it) => it.pods.push(pod.name.clone()),
            None => alike.push(Alike { message, pods: vec![pod.name.clone()] }),
        }
    }
    alike
}

fn if_primary(question: &Question<'_>, member: &MemberStatus, owners: &[WorkloadKey], pods: &[&Pod]) -> IfPrimary {
    let forecast = match foresee(question, member) {
        Ok(forecast) => forecast,
        Err(why) => {
            return IfPrimary { member: member.name.clone(), unclear: Some(why.to_string()), ..IfPrimary::default() };
        }
    };
    let tiers: TierMap = tiers_towards(question.object, question.tables, &member.host, question.now);
    let is_near = |pod: &&&Pod| pod.node.as_deref().is_some_and(|node| tiers.tier(node) == Tier::Closely);
    let near = u32::try_from(pods.iter().filter(is_near).count()).unwrap_or(u32::MAX);
    IfPrimary { near, ..of_forecast(&forecast, owners) }
}

/// What of a forecast is about this workload.
fn of_forecast(forecast: &Forecast, owners: &[WorkloadKey]) -> IfPrimary {
    let is_it = |kind: &str, namespace: &str, name: &str| {
        owners.iter().any(|key| (kind, namespace, name) == (&*key.kind, &*key.namespace, &*key.name))
    };
    let row = forecast.workloads.iter().find(|row| is_it(&row.kind, &row.namespace, &row.name));
    let stays = forecast.held.iter().filter(|held| is_it(&held.kind, &held.namespace, &held.name));
    let stays: Vec<HeldForecast> = stays.cloned().collect();
    let full_names: Vec<String> = owners.iter().map(|key| format!("{}/{}", key.namespace, key.name)).collect();
    let missing = forecast.missing.iter().filter(|it| it.workloads.iter().any(|(name, _)| full_names.contains(name)));
    let of_it = |obstacle: &&String| full_names.iter().any(|name| obstacle.starts_with(&format!("{name}: ")));
    let obstacles = forecast.obstacles.iter().filter(|it| !stays.is_empty() && of_it(it));
    IfPrimary {
        member: forecast.to.clone(),
        unclear: None,
        near: 0,
        moves: row.map_or(0, |row| row.pods),
        way: row.map(|row| row.way),
        at_once: row.map_or(0, |row| row.at_once),
        seconds: row.map_or(0.0, |row| row.seconds),
        missing: missing.map(|it| it.sentence.clone()).collect(),
        obstacles: obstacles.cloned().collect(),
        stays,
    }
}

#[cfg(test)]
mod tests;
