//! Kubernetes objects → the facts that decide.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, core::DynamicObject};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    core::{
        announcement::Heard,
        primary::operator::{ClusterStatus, MemberPod, Said, means_primary},
        words::is_obeyed,
    },
    discover::announced,
};

/// Patroni's own default.
const TTL: Duration = Duration::from_secs(30);
/// Longest name of a pod, in bytes.
const LONGEST_NAME: usize = 253;
/// Largest timeline that PostgreSQL can have.
const MAX_TIMELINE: u64 = u32::MAX as u64;

/// What CloudNativePG's `status.phase` says while it changes the primary because somebody wants it (`PhaseSwitchover`), and not because the
/// last one is lost.
const SWITCHOVER: &str = "Switchover in progress";
/// Whom CloudNativePG's announcements are by.
const CLOUD_NATIVE_PG: &str = "CloudNativePG";
/// Whom those are by that stand in Patroni's object.
const PATRONI: &str = "Patroni";

/// Patroni's label of the group.
const CITUS_GROUP: &str = "citus-group";

/// A pod that may run a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub pod: MemberPod,
    pub ip: Option<String>,
    /// Which of the databases it belongs to that Citus makes one of.
    pub citus_group: Option<String>,
}

/// An object that says who is primary.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Object {
    name: String,
    annotations: BTreeMap<String, String>,
    /// `spec.replica`.
    replica: Value,
    status: Value,
}

/// The leader lock as it stands in annotations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lease {
    pub holder: String,
    pub ttl: Duration,
    /// Only compared with what stood there before.
    pub renew_time: String,
}

/// A pod by its name.
pub(super) fn pod(pod: Pod, role_label: &str, role_value: Option<&str>) -> (String, Option<Seen>) {
    let name = pod.name_any();
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or_default();
    let role = pod.labels().get(role_label);
    let ready = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    let seen = Seen {
        pod: MemberPod {
            labelled: role.is_some_and(|role| role_value.map_or_else(|| means_primary(role), |value| role == value)),
            strange_role: role.filter(|role| role_value.is_none() && !is_role(role)).cloned(),
            ready: ready.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            phase_failed: matches!(phase, "Failed" | "Succeeded"),
            said: pod.annotations().get("status").and_then(|text| said(text)),
            name: name.clone(),
        },
        citus_group: pod.labels().get(CITUS_GROUP).cloned(),
        ip: status.and_then(|status| status.pod_ip.clone()).filter(|ip| !ip.is_empty()),
    };
    (name, Some(seen))
}

/// Whether a label of a member has a value that Patroni or an operator gives by itself.
fn is_role(word: &str) -> bool {
    means_primary(word) || matches!(word, "" | "replica" | "standby_leader" | "promoted" | "demoted" | "uninitialized")
}

/// Patroni's annotation `status`; `None` if it isn't its.
fn said(text: &str) -> Option<Said> {
    #[derive(Deserialize)]
    struct Raw {
        state: String,
        role: String,
        timeline: Option<u64>,
    }
    let raw: Raw = serde_json::from_str(text).ok()?;
    Some(Said { state: raw.state, role: raw.role, timeline: raw.timeline.filter(is_timeline) })
}

/// Whether it may be a pod's name, or anything that people may read.
fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && !text.contains(is_obeyed)
}

fn is_timeline(timeline: &u64) -> bool {
    (1..=MAX_TIMELINE).contains(timeline)
}

/// Any object by its name.
pub(super) fn object(object: DynamicObject) -> (String, Option<Object>) {
    let name = object.name_any();
    let replica = object.data.pointer("/spec/replica").cloned().unwrap_or_default();
    let status = object.data.get("status").cloned().unwrap_or_default();
    let annotations = object.metadata.annotations.unwrap_or_default();
    (name.clone(), Some(Object { name, annotations, replica, status }))
}

impl Object {
    /// What CloudNativePG's `Cluster` says. `spec.replica` either is switched on (`enabled`), or names the primary cluster of
    /// several (`primary`), of which this one is called by its own name or by `self`.
    pub(super) fn cluster_status(&self) -> ClusterStatus {
        let text =
            |key: &str| self.status.get(key).and_then(Value::as_str).filter(|name| is_name(name)).map(str::to_owned);
        let replica = |key: &str| self.replica.get(key).and_then(Value::as_str);
        ClusterStatus {
            current: text("currentPrimary"),
            target: text("targetPrimary"),
            timeline: self.status.get("timelineID").and_then(Value::as_u64).filter(is_timeline),
            system_identifier: text("systemID"),
            replica: match (self.replica.get("enabled").and_then(Value::as_bool), replica("primary")) {
                (Some(enabled), _) => enabled,
                (None, Some(primary)) => primary != replica("self").unwrap_or(&self.name),
                (None, None) => false,
            },
        }
    }

    /// The switchover that CloudNativePG has begun: from currentPrimary to targetPrimary, since targetPrimaryTimestamp.
    pub(super) fn switchover(&self) -> Heard {
        let text = |key: &str| self.status.get(key).and_then(Value::as_str);
        let ClusterStatus { current, target, .. } = self.cluster_status();
        if text("phase") != Some(SWITCHOVER) || target.is_none() || target == current {
            return Heard::None;
        }
        announced::heard(CLOUD_NATIVE_PG, text("targetPrimaryTimestamp"), current.as_deref(), target.as_deref())
    }

    /// The switchover that somebody scheduled, in the object that Patroni keeps it in (`SCOPE-failover`). One without a time is carried
    /// out at once.
    pub(super) fn scheduled(&self) -> Option<Heard> {
        let text = |key: &str| self.annotations.get(key).map(String::as_str).filter(|text| !text.is_empty());
        let at = text("scheduled_at")?;
        Some(announced::heard(PATRONI, Some(at), text("leader"), text("member")))
    }

    /// Patroni's leader lock, if somebody holds it.
    pub(super) fn lease(&self) -> Option<Lease> {
        let text = |key: &str| self.annotations.get(key).filter(|value| !value.is_empty());
        let ttl = text("ttl").and_then(|ttl| ttl.parse().ok()).map_or(TTL, Duration::from_secs);
        Some(Lease {
            holder: text("leader").filter(|name| is_name(name))?.clone(),
            ttl,
            renew_time: text("renewTime").cloned().unwrap_or_default(),
        })
    }

    /// `database_system_identifier`, once the database was set up.
    pub(super) fn system_identifier(&self) -> Option<String> {
        self.annotations.get("initialize").filter(|id| !id.is_empty()).cloned()
    }

    /// Whether Patroni is in maintenance mode.
    pub(super) fn pause(&self) -> bool {
        let config = self.annotations.get("config");
        let config: Option<Value> = config.and_then(|config| serde_json::from_str(config).ok());
        config.and_then(|config| config.get("pause").and_then(Value::as_bool)).unwrap_or(false)
    }
}

/// Since when the lock has stood as it stands, by this process's clock.
#[derive(Debug, Default)]
pub(super) struct Renewals {
    last: Option<(Lease, Instant)>,
}

impl Renewals {
    /// When `lease` was last seen to change.
    pub(super) fn of(&mut self, lease: &Lease, now: Instant) -> Instant {
        match &self.last {
            Some((last, at)) if last == lease => *at,
            _ => {
                self.last = Some((lease.clone(), now));
                now
            }
        }
    }
}
