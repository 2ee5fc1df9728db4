//! A node: its labels and taints, how far it is from each member and since when that is known, its tier and why, whom it hosts, and what
//! it would be if another member were the primary.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use jiff::SignedDuration;
use serde::Serialize;

use super::{
    super::{
        lines::{age, milliseconds, table},
        look::Look,
    },
    ExplainError,
};
use crate::{
    api::{DatabaseCluster, DatabaseClusterStatus, database_cluster::MemberStatus},
    core::{
        distance::{
            doubt::Doubt,
            tier::{Tier, TierMap},
        },
        movement::workloads::{WorkloadKey, workload_of},
        words::{Milliseconds, listed},
        workload::Node,
    },
    evaluate::thought::tiers_towards,
};

/// Everything that is said of a node.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeExplanation {
    pub node: String,
    pub zone: Option<String>,
    pub ready: bool,
    pub cordoned: bool,
    /// The annotation `switchover.dev/manage` doesn't keep us off.
    pub managed: bool,
    /// How long ago its agent wrote; `None`: never.
    pub agent_silent_s: Option<u64>,
    pub databases: Vec<OfDatabase>,
}

/// The same for one database.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfDatabase {
    pub database: String,
    /// As it stands on the node: `switchover=closely`.
    pub label: Option<String>,
    /// `switchover=far:NoSchedule`
    pub taint: Option<String>,
    pub tier: Tier,
    pub why: String,
    pub members: Vec<OfMember>,
    /// The pods here that follow, by workload: `deployment orders/web`.
    pub followers: BTreeMap<String, u32>,
}

/// How far one member is.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OfMember {
    pub member: String,
    pub primary: bool,
    /// The last median.
    pub rtt_us: Option<u64>,
    /// It is too old to count.
    pub stale: bool,
    /// What the node would be if this member were the primary; `None` if nobody can tell.
    pub tier: Option<Tier>,
}

/// Everything that is said of it.
///
/// # Errors
/// There is no such node; which there are.
pub(super) fn explain(look: &Look, name: &str) -> Result<NodeExplanation, ExplainError> {
    let Some(node) = look.tables.nodes.get(name) else {
        let mut existing: Vec<&str> = look.tables.nodes.values().map(|node| &*node.name).collect();
        existing.sort_unstable();
        return Err(ExplainError::Missing { what: format!("node {name}"), existing: listed(&existing) });
    };
    let mut objects: Vec<&DatabaseCluster> =
        look.tables.databases.values().filter_map(|database| database.object.as_deref().ok()).collect();
    objects.sort_by_key(|object| &object.metadata.name);
    let latency = look.tables.latencies.get(name);
    let silent = latency.map(|latency| look.now.instant.saturating_duration_since(latency.received));
    Ok(NodeExplanation {
        node: name.to_owned(),
        zone: node.zone().map(str::to_owned),
        ready: node.ready,
        cordoned: node.unschedulable,
        managed: node.managed,
        agent_silent_s: silent.map(|silent| silent.as_secs()),
        databases: objects.into_iter().map(|object| of_database(look, node, object)).collect(),
    })
}

fn of_database(look: &Look, node: &Node, object: &DatabaseCluster) -> OfDatabase {
    let (database, key) = (object.metadata.name.clone().unwrap_or_default(), object.node_label());
    let status = object.status.clone().unwrap_or_default();
    let members: Vec<(&MemberStatus, TierMap)> = status
        .members
        .iter()
        .map(|member| (member, tiers_towards(object, &look.tables, &member.host, look.now)))
        .collect();
    let is_ours =
        |taint: &&crate::core::workload::Taint| *taint.key == *key && Some(&*taint.value) == Tier::Far.label();
    OfDatabase {
        label: node.labels.get(&*key).map(|value| format!("{key}={value}")),
        taint: node.taints.iter().find(is_ours).map(|taint| format!("{key}={}:{}", taint.value, taint.effect)),
        tier: node.labelled(&key),
        why: why(node, &key, primary(&status, &members)),
        followers: followers(look, &database, &node.name),
        members: members.iter().map(|(member, tiers)| of_member(look, node, object, &status, member, tiers)).collect(),
        database,
    }
}

/// The primary, if it is known, and the tiers towards it.
fn primary<'m>(
    status: &DatabaseClusterStatus,
    members: &'m [(&MemberStatus, TierMap)],
) -> Option<(&'m str, &'m TierMap)> {
    let of_it = members.iter().find(|(member, _)| Some(&member.name) == status.primary.as_ref());
    of_it.filter(|_| status.holds("PrimaryKnown")).map(|(member, tiers)| (&*member.name, tiers))
}

fn of_member(
    look: &Look,
    node: &Node,
    object: &DatabaseCluster,
    status: &DatabaseClusterStatus,
    member: &MemberStatus,
    tiers: &TierMap,
) -> OfMember {
    let latency = look.tables.latencies.get(&node.name);
    let reading = latency.and_then(|latency| latency.spec.of(&member.host));
    let silent = latency.map(|latency| look.now.instant.saturating_duration_since(latency.received));
    OfMember {
        member: member.name.clone(),
        primary: status.primary.as_ref() == Some(&member.name),
        rtt_us: reading.and_then(|reading| reading.rtt_us).map(u64::from),
        stale: silent.is_some_and(|silent| silent > object.spec.tiers.stale_after.0),
        tier: tiers.bounds.map(|_| tiers.tier(&node.name)),
    }
}

fn followers(look: &Look, database: &str, node: &str) -> BTreeMap<String, u32> {
    let snapshot = look.tables.snapshot();
    let mut followers = BTreeMap::new();
    for following in look.tables.followers(database).iter().filter(|it| it.pod.node.as_deref() == Some(node)) {
        let pod = &following.pod;
        let key =
            workload_of(snapshot, pod).unwrap_or_else(|| WorkloadKey::of_pod(&pod.namespace, &pod.name, &pod.uid));
        let workload = format!("{} {}/{}", key.kind.to_lowercase(), key.namespace, key.name);
        *followers.entry(workload).or_default() += 1;
    }
    followers
}

/// Why the node has the label that it has.
fn why(node: &Node, key: &str, primary: Option<(&str, &TierMap)>) -> String {
    let label = node.labelled(key);
    if !node.managed {
        return "the annotation switchover.dev/manage: \"false\" keeps switchover off this node".to_owned();
    }
    if node.labelled_by_others(key) {
        return format!("somebody else uses the label {key} here, and it is left alone");
    }
    let Some((primary, tiers)) = primary else {
        return "the primary isn't known: the label stays as it is".to_owned();
    };
    let Some(bounds) = tiers.bounds else {
        return format!("fewer than half of the nodes have a fresh reading of {primary}: labels stay as they are");
    };
    let Some(rtt_us) = tiers.rtt_us(&node.name) else {
        return match (tiers.doubts.get(&node.name), label) {
            (Some(doubt), _) => format!("its reading is ignored: {doubt}"),
            (None, Tier::Unknown) => {
                format!("it has no fresh reading of {primary} and never had one: nobody knows how far it is")
            }
            (None, _) => format!("it has no fresh reading of {primary}: it keeps its label"),
        };
    };
    let measured = bounds.tier(rtt_us);
    let ms = |us: u64| Milliseconds { us };
    let (closely, far) = (ms(bounds.closely_below_us), ms(bounds.far_from_us));
    let where_ = match measured {
        Tier::Closely => format!("less than {closely}"),
        Tier::Far => format!("{far} or more"),
        Tier::Intermediate | Tier::Unknown => format!("from {closely} up to {far}"),
    };
    let mut why = format!("{} to {primary}: {where_} is {}", ms(rtt_us), measured.label().unwrap_or("unknown"));
    if let Some(doubt @ Doubt::LoneFarthest { .. }) = tiers.doubts.get(&node.name) {
        why.push_str(&format!("; {doubt}"));
    }
    if measured != label {
        let margin = "by spec.tiers.margin, spec.tiers.confirmations times in a row; at once when the primary changes";
        why.push_str(&format!("; the label follows when the readings are beyond the boundary {margin}"));
    }
    why
}

/// An explanation as people read it.
pub(super) fn text(explanation: &NodeExplanation) -> String {
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = write_text(&mut out, explanation);
    out
}

fn write_text(out: &mut String, explanation: &NodeExplanation) -> fmt::Result {
    let NodeExplanation { node, zone, ready, cordoned, managed: _, agent_silent_s, databases } = explanation;
    write!(out, "node {node} in {}", zone.as_deref().unwrap_or("no zone"))?;
    writeln!(out, "{}{}", if *ready { "" } else { ", not Ready" }, if *cordoned { ", cordoned" } else { "" })?;
    let ago = |s: &u64| age(SignedDuration::from_secs(i64::try_from(*s).unwrap_or(i64::MAX)));
    match agent_silent_s {
        Some(silent) => writeln!(out, "  its agent wrote {} ago", ago(silent))?,
        None => writeln!(out, "  its agent has never written: is there one?")?,
    }
    if databases.is_empty() {
        writeln!(out, "  there is no DatabaseCluster")?;
    }
    databases.iter().try_for_each(|of| write_database(out, of))
}

fn write_database(out: &mut String, of: &OfDatabase) -> fmt::Result {
    let label = of.label.as_deref().unwrap_or("no label");
    let taint = of.taint.as_ref().map(|taint| format!(", taint {taint}")).unwrap_or_default();
    writeln!(out, "\n{}: {label}{taint}", of.database)?;
    writeln!(out, "  {}", of.why)?;
    let row = |it: &OfMember| {
        let now = if it.primary { " (now)" } else { "" };
        let stale = if it.stale && it.rtt_us.is_some() { " (too old)" } else { "" };
        let tier = it.tier.map_or("nobody can tell", |tier| tier.label().unwrap_or("unknown"));
        vec![format!("{}{now}", it.member), format!("{}{stale}", milliseconds(it.rtt_us)), tier.to_owned()]
    };
    if !of.members.is_empty() {
        table(out, &["MEMBER", "RTT", "IF IT IS THE PRIMARY"], of.members.iter().map(row))?;
    }
    let hosts: Vec<String> = of.followers.iter().map(|(workload, pods)| format!("{pods} of {workload}")).collect();
    match hosts.len() {
        0 => writeln!(out, "  hosts no follower"),
        _ => writeln!(out, "  hosts followers: {}", listed(&hosts)),
    }
}

#[cfg(test)]
mod tests;
