//! What the objects of an operator show of each member: pods with their labels, and the object in which the operator,
//! or Patroni, names the primary.
//!
//! ```text
//! named, and its pod is labelled, Ready and in order   primary
//! named, and not labelled or not promoted yet          promoting
//! named, and its pod is dead or the lock ran out       troubled: keep the last primary
//! labelled, and another pod is named                   stale if it is alive, silent if it is not
//! labelled, and nobody is named                        troubled: a label alone is never believed
//! ```
//!
//! While a label moves, two pods may bear it for a moment, or none: the named one is the primary from the moment at
//! which it bears the label.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Answer, Claim, Claimed};

/// One pod that runs a member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberPod {
    /// Also the member's name.
    pub name: String,
    /// It bears the label by which connections find the primary.
    pub labelled: bool,
    /// What its role label is, if that is no role of Patroni's own.
    pub strange_role: Option<String>,
    /// Kubernetes takes Ready away from every pod of a node that it has lost.
    pub ready: bool,
    pub terminating: bool,
    /// Neither `Failed` nor `Succeeded`.
    pub phase_failed: bool,
    /// What its Patroni says, if there is one.
    pub said: Option<Said>,
}

/// What a member's Patroni writes into its pod's annotation `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// State of PostgreSQL.
    pub state: String,
    /// `primary` (`master` before Patroni 4), `replica`, `standby_leader`, …
    pub role: String,
    pub timeline: Option<u64>,
}

/// Whom the object names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// CloudNativePG's `Cluster`, or `None` if there is none.
    CloudNativePg(Option<ClusterStatus>),
    /// Patroni's objects.
    Patroni(PatroniObjects),
}

/// What CloudNativePG's `Cluster` says, mostly in its `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterStatus {
    /// `currentPrimary`, which the member itself writes once it is promoted.
    pub current: Option<String>,
    /// `targetPrimary`: `pending` while the operator looks for one.
    pub target: Option<String>,
    /// `timelineID`.
    pub timeline: Option<u64>,
    /// `systemID`.
    pub system_identifier: Option<String>,
    /// The cluster follows another one (`spec.replica`): its currentPrimary is none.
    pub replica: bool,
}

/// Annotations of the objects in which Patroni keeps its state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PatroniObjects {
    /// `None` while nobody holds the lock, or there is no such object.
    pub lock: Option<Lock>,
    /// Maintenance mode.
    pub pause: bool,
    /// `initialize`, which is the `database_system_identifier`.
    pub system_identifier: Option<String>,
}

/// Patroni's leader lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// `leader`: a pod.
    pub holder: String,
    /// `ttl`.
    pub ttl: Duration,
    /// When this process saw `renewTime` change. The holder's clock is not compared with ours.
    pub renewed: Instant,
}

/// Whether a word of Patroni's, in a label or an annotation, means the primary, in any version.
#[must_use]
pub fn means_primary(word: &str) -> bool {
    matches!(word, "primary" | "master")
}

/// What the objects show of each member.
#[must_use]
pub fn read(pods: &[MemberPod], named: &Named, now: Instant) -> BTreeMap<String, Answer> {
    let mut answers: BTreeMap<String, Answer> = pods
        .iter()
        .map(|pod| {
            let answer = match named {
                Named::CloudNativePg(status) => cloud_native_pg(pod, pods, status.as_ref()),
                Named::Patroni(objects) => patroni(pod, objects, now),
            };
            (pod.name.clone(), answer)
        })
        .collect();
    let primary = match named {
        Named::CloudNativePg(status) => status.as_ref().and_then(|status| status.current.as_ref()),
        Named::Patroni(objects) => objects.lock.as_ref().map(|lock| &lock.holder),
    };
    if let Some(name) = primary {
        let gone = || Answer::Unreachable { error: "it is named as the primary, but there is no such pod".to_owned() };
        answers.entry(name.clone()).or_insert_with(gone);
    }
    answers
}

impl MemberPod {
    /// Why nothing can be expected of it, as it follows "its pod".
    fn trouble(&self) -> Option<&'static str> {
        if self.phase_failed {
            Some("has ended")
        } else if self.terminating {
            Some("is being deleted")
        } else if self.ready {
            None
        } else {
            Some("is not Ready")
        }
    }

    /// What is to be made of a pod that is not named: another one is, so that this one is stale (with this sentence) if
    /// it acts as primary; or nobody is, for this reason.
    fn unnamed(&self, named: Result<String, &str>) -> Answer {
        let label = "still bears the primary's label";
        match (self.trouble(), self.labelled, named) {
            (Some(trouble), true, Ok(_)) => Answer::Unreachable { error: format!("its pod {trouble}, and {label}") },
            (Some(trouble), true, Err(nobody)) => troubled(format!("{label}, but its pod {trouble}, and {nobody}")),
            (Some(trouble), false, _) => Answer::Unreachable { error: format!("its pod {trouble}") },
            (None, true, Err(nobody)) => troubled(format!("{label}, but {nobody}")),
            (None, true, Ok(stale)) => {
                let timeline = self.said.as_ref().and_then(|said| said.timeline);
                seen(Claim::Stale { timeline }, stale)
            }
            (None, false, _) => seen(Claim::Follower, String::new()),
        }
    }
}

fn seen(claim: Claim, because: String) -> Answer {
    Answer::Seen(Claimed { claim, because, system_identifier: None, pause: false })
}

fn troubled(because: String) -> Answer {
    seen(Claim::Troubled, because)
}

fn cloud_native_pg(pod: &MemberPod, pods: &[MemberPod], status: Option<&ClusterStatus>) -> Answer {
    let Some(status) = status else { return pod.unnamed(Err("there is no such Cluster to name the primary")) };
    let (current, target) = (status.current.as_deref(), status.target.as_deref());
    let name = Some(pod.name.as_str());
    let answer = if status.replica && pod.trouble().is_none() {
        seen(Claim::Follower, String::new())
    } else if name == current && target.is_some() && target != current {
        let target = target.unwrap_or_default();
        troubled(format!("is CloudNativePG's currentPrimary, but targetPrimary is {target}: it is being replaced"))
    } else if name == current {
        named_by_cloud_native_pg(pod, pods, status.timeline)
    } else if name == target && pod.trouble().is_none() {
        seen(
            Claim::Promoting { timeline: None },
            format!(
                "is CloudNativePG's targetPrimary and is being promoted; currentPrimary is {}",
                current.unwrap_or("nobody")
            ),
        )
    } else {
        let stale =
            |current| format!("still bears the primary's label, but CloudNativePG's currentPrimary is {current}");
        pod.unnamed(current.map(stale).ok_or("CloudNativePG names nobody as currentPrimary"))
    };
    identified(answer, status.system_identifier.as_deref(), false)
}

fn named_by_cloud_native_pg(pod: &MemberPod, pods: &[MemberPod], timeline: Option<u64>) -> Answer {
    if let Some(trouble) = pod.trouble() {
        return troubled(format!("is CloudNativePG's currentPrimary, but its pod {trouble}"));
    }
    let other = pods.iter().find(|other| other.labelled && other.name != pod.name && other.trouble().is_none());
    let promoting = |because| seen(Claim::Promoting { timeline: None }, because);
    match (timeline, other) {
        _ if !pod.labelled => promoting(
            "is CloudNativePG's currentPrimary, but doesn't bear the label yet by which connections find it".into(),
        ),
        (_, Some(other)) => promoting(format!(
            "is CloudNativePG's currentPrimary, but {} still bears the label by which connections find it, too",
            other.name
        )),
        (None, None) => troubled("is CloudNativePG's currentPrimary, but the Cluster has no timelineID".into()),
        (Some(timeline), None) => {
            seen(Claim::Primary { timeline }, "CloudNativePG names it, and its pod is labelled and Ready".into())
        }
    }
}

fn patroni(pod: &MemberPod, objects: &PatroniObjects, now: Instant) -> Answer {
    let answer = match &objects.lock {
        Some(lock) if lock.holder == pod.name => holder(pod, lock, now),
        lock => {
            let holder = lock.as_ref().map(|lock| &lock.holder);
            let stale = |holder| format!("still bears the primary's label, but the leader lock is held by {holder}");
            pod.unnamed(holder.map(stale).ok_or("no Endpoints or ConfigMap of Patroni's names a leader"))
        }
    };
    identified(answer, objects.system_identifier.as_deref(), objects.pause)
}

/// A pod that holds the leader lock.
fn holder(pod: &MemberPod, lock: &Lock, now: Instant) -> Answer {
    if let Some(trouble) = pod.trouble() {
        return troubled(format!("holds the leader lock, but its pod {trouble}"));
    }
    let age = now.saturating_duration_since(lock.renewed);
    if age > lock.ttl {
        return troubled(format!(
            "holds the leader lock, but hasn't renewed it for {} s (ttl {} s)",
            age.as_secs(),
            lock.ttl.as_secs()
        ));
    }
    let Some(said) = &pod.said else {
        return troubled("holds the leader lock, but its pod has no annotation `status` of Patroni's".to_owned());
    };
    let promoting = |because: &str| seen(Claim::Promoting { timeline: said.timeline }, because.to_owned());
    match said.timeline {
        _ if said.role == "standby_leader" => seen(Claim::Follower, String::new()),
        _ if said.state != "running" => {
            troubled(format!("holds the leader lock, but its PostgreSQL is not running (state {})", said.state))
        }
        _ if !means_primary(&said.role) => {
            promoting("holds the leader lock and is being promoted; it isn't writable yet")
        }
        _ if pod.strange_role.is_some() => troubled(format!(
            "holds the leader lock, but its role label is {}, which means nothing known: if it is Patroni's \
             kubernetes.leader_label_value, write it as spec.discovery.operator.roleValue",
            pod.strange_role.as_deref().unwrap_or_default()
        )),
        _ if !pod.labelled => {
            promoting("holds the leader lock, but doesn't bear the label yet by which connections find it")
        }
        None => troubled("holds the leader lock, but doesn't say which timeline it writes".to_owned()),
        Some(timeline) => seen(
            Claim::Primary { timeline },
            "it holds the leader lock, its PostgreSQL is running, and its pod is labelled and Ready".to_owned(),
        ),
    }
}

fn identified(mut answer: Answer, system_identifier: Option<&str>, pause: bool) -> Answer {
    if let Answer::Seen(sight) = &mut answer {
        sight.system_identifier = system_identifier.map(str::to_owned);
        sight.pause = pause;
    }
    answer
}
