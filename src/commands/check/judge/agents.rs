//! Whether every node is measured, and how.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::{ResourceExt, core::PartialObjectMeta};

use crate::{
    api::{NodeLatency, Span, node_latency::Method},
    commands::check::{
        facts::Facts,
        found::{Found, Mark},
    },
};

/// A reading is written every so often, whatever it says; without a database that says otherwise, an older one doesn't count.
const STALE_AFTER_S: i64 = 180;
/// Clocks differ by less.
const AHEAD_S: i64 = 10;

/// How old a reading may be for every database, in seconds.
fn stale_after_s(facts: &Facts) -> i64 {
    let databases = facts.databases.iter().flatten();
    let spans = databases.filter_map(|it| it.data.pointer("/spec/tiers/staleAfter")?.as_str()?.parse::<Span>().ok());
    spans.filter_map(|span| i64::try_from(span.0.as_secs()).ok()).min().unwrap_or(STALE_AFTER_S)
}

/// Whether the DaemonSet means this node, by the labels that its manifest goes by.
fn takes_an_agent(node: &PartialObjectMeta<Node>) -> bool {
    let is = |key: &str, value: &str| node.labels().get(key).is_some_and(|it| it == value);
    node.labels().get("kubernetes.io/os").is_none_or(|os| os == "linux")
        && !is("type", "virtual-kubelet")
        && !is("liqo.io/type", "virtual-node")
        && !is("eks.amazonaws.com/compute-type", "fargate")
}

fn is_fresh(latency: &NodeLatency, facts: &Facts) -> bool {
    age_s(latency.spec.heartbeat, facts.server_now()) <= stale_after_s(facts)
}

/// How old something is, in whole seconds.
fn age_s(since: Timestamp, now: Timestamp) -> i64 {
    now.duration_since(since).max(SignedDuration::ZERO).as_secs()
}

/// Whether an agent writes, wherever it runs.
pub(super) fn any_fresh(facts: &Facts) -> bool {
    facts.latencies.iter().flatten().any(|latency| is_fresh(latency, facts))
}

pub(in crate::commands::check) fn readings(facts: &Facts) -> Found {
    let (nodes, latencies) = match (&facts.nodes, &facts.latencies) {
        (Ok(nodes), Ok(latencies)) => (nodes, latencies),
        (Err(unseen), _) | (_, Err(unseen)) => return Found::unclear(unseen),
    };
    let of: BTreeMap<String, &NodeLatency> = latencies.iter().map(|it| (it.name_any(), it)).collect();
    let nodes: Vec<String> = nodes.iter().filter(|node| takes_an_agent(node)).map(ResourceExt::name_any).collect();
    let none: Vec<&String> = nodes.iter().filter(|name| !of.contains_key(*name)).collect();
    let old = nodes.iter().filter_map(|name| Some((name, of.get(name)?)));
    let old: Vec<String> = old
        .filter(|(_, latency)| !is_fresh(latency, facts))
        .map(|(name, latency)| format!("{name} ({} s old)", age_s(latency.spec.heartbeat, facts.server_now())))
        .collect();
    let all = nodes.len();
    let mut found = Found::right(format!("{all} nodes"));
    found.tell_of(Mark::Wrong, &none, |names| format!("{} of {all} nodes were never measured: {names}", none.len()));
    found.tell_of(Mark::Wrong, &old, |names| format!("the readings of {} of {all} nodes are old: {names}", old.len()));
    found
}

pub(in crate::commands::check) fn clocks(facts: &Facts) -> Found {
    let latencies = match &facts.latencies {
        Ok(latencies) => latencies,
        Err(unseen) => return Found::unclear(unseen),
    };
    let now: Timestamp = facts.server_now();
    let ahead: Vec<String> = latencies
        .iter()
        .map(|it| (it.name_any(), it.spec.heartbeat.duration_since(now).as_secs()))
        .filter(|(_, ahead_s)| *ahead_s > AHEAD_S)
        .map(|(name, ahead_s)| format!("{name} ({ahead_s} s ahead)"))
        .collect();
    let mut found = Found::default();
    found.tell_of(Mark::Warning, &ahead, |names| format!("readings are of the future: {names}"));
    found
}

pub(in crate::commands::check) fn echoes(facts: &Facts) -> Found {
    let (latencies, databases) = match (&facts.latencies, &facts.databases) {
        (Ok(latencies), Ok(databases)) => (latencies, databases),
        (Err(unseen), _) | (_, Err(unseen)) => return Found::unclear(unseen),
    };
    let members = databases.iter().filter_map(|it| it.data.pointer("/status/members")?.as_array().cloned()).flatten();
    let hosts: BTreeSet<String> = members.filter_map(|it| it["host"].as_str().map(str::to_owned)).collect();
    if hosts.is_empty() {
        return Found::skipped("no member of a database is known yet");
    }
    let fresh: Vec<&NodeLatency> = latencies.iter().filter(|it| is_fresh(it, facts)).collect();
    if fresh.is_empty() {
        return Found::skipped("there are no fresh readings");
    }
    let mut found = Found::right(format!("{} hosts", hosts.len()));
    for host in &hosts {
        let readings: Vec<_> =
            fresh.iter().flat_map(|it| &it.spec.readings).filter(|reading| reading.host == *host).collect();
        let answered = readings.iter().filter(|reading| reading.rtt_us.is_some()).count();
        let by_tcp = readings.iter().filter(|reading| reading.method == Method::Tcp).count();
        if readings.is_empty() {
            found.tell(Mark::Warning, format!("no node measures {host}"));
        } else if answered == 0 {
            found.tell(Mark::Wrong, format!("no node reaches {host}"));
        } else if by_tcp > 0 {
            let all = readings.len();
            found.tell(Mark::Warning, format!("{host} answers no echoes: {by_tcp} of {all} nodes measure it by TCP"));
        }
    }
    found
}
