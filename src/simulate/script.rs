//! What happens in a simulation, as people write it: a cluster, events at times, and what must come of them.
//!
//! A script is text, and every script can be written as text again ([`Display`](std::fmt::Display)): one that was invented at random and
//! then shrunk is printed, put into a file, and played like any other.

mod read;
mod settings;
#[cfg(test)]
mod tests;
mod write;

use std::time::Duration;

use crate::core::{follow::MoveMode, workload::Strategy};

pub(super) use self::write::time;
pub use self::{read::ScriptError, settings::SettingError};

/// Kinds that are watched.
pub(super) const KINDS: [&str; 8] =
    ["DatabaseCluster", "NodeLatency", "Node", "Pod", "ReplicaSet", "StatefulSet", "Deployment", "PodDisruptionBudget"];

/// Milliseconds since the simulation began.
pub(super) type Ms = u64;

/// A cluster and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Of the little differences that nobody writes: how long a watch takes, how far apart two nodes are.
    pub seed: u64,
    pub zones: Vec<Zone>,
    /// Between two zones; those that nobody names are 20 ms apart.
    pub distances: Vec<(String, String, Duration)>,
    pub databases: Vec<Database>,
    pub workloads: Vec<Workload>,
    /// In the order of their times.
    pub events: Vec<Event>,
    pub expectations: Vec<Expectation>,
    pub until: Ms,
}

/// A data centre, whose nodes are named after it: `a1`, `a2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    pub name: String,
    pub nodes: u32,
    pub cpu_m: u64,
    pub pods: u64,
}

/// A database: the first of its members is the primary when the simulation begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    pub name: String,
    /// Each with its zone.
    pub members: Vec<(String, String)>,
    /// Fields of `spec.movement`, as they are written there.
    pub settings: Vec<(String, String)>,
}

/// Which kind a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Deployment,
    StatefulSet,
    ReplicaSet,
}

/// A workload. Its pods begin near the primary of the first database that they follow, where there is room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    pub kind: Kind,
    pub name: String,
    pub replicas: u32,
    pub strategy: Strategy,
    pub budget: Option<Budget>,
    /// A pod is Ready so long after it was bound to a node. `None`: never.
    pub ready: Option<Ms>,
    /// How long a pod takes to end.
    pub ends: Ms,
    /// `minReadySeconds`, in milliseconds.
    pub available_after: Ms,
    pub cpu_m: u64,
    /// Databases; none: the first one.
    pub follow: Vec<String>,
    /// The annotation `switchover.dev/move`.
    pub moved_by: Option<MoveMode>,
}

/// What a PodDisruptionBudget asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// `maxUnavailable`
    Unavailable(Share),
    /// `minAvailable`
    Available(Share),
}

/// A number of pods, or a share of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    Pods(u32),
    Percent(u32),
}

impl Share {
    /// Of so many, rounded up, as the disruption controller does.
    #[must_use]
    pub const fn of(self, all: u32) -> u32 {
        match self {
            Self::Pods(pods) => pods,
            Self::Percent(percent) => (all * percent).div_ceil(100),
        }
    }
}

impl Budget {
    /// How many of so many must be healthy.
    #[must_use]
    pub const fn healthy(self, expected: u32) -> u32 {
        match self {
            Self::Available(share) => share.of(expected),
            Self::Unavailable(share) => expected.saturating_sub(share.of(expected)),
        }
    }
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub at: Ms,
    pub what: What,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// This member becomes the primary of its database.
    Primary {
        member: String,
    },
    Database {
        name: String,
        deed: DatabaseDeed,
    },
    Node {
        name: String,
        deed: NodeDeed,
    },
    Zone {
        name: String,
        deed: NodeDeed,
    },
    Workload {
        name: String,
        deed: WorkloadDeed,
    },
    /// Part of the cluster stops working, or works again.
    Part {
        part: Part,
        works: bool,
    },
    /// The scheduler goes by the nodes' labels, or by anything but them.
    Scheduler {
        heeds: bool,
    },
    /// The watch of a kind hangs, silently, or goes on.
    Watch {
        kind: String,
        works: bool,
    },
    /// The disruption controller needs so long to look.
    Budgets {
        lag: Ms,
    },
    /// The leader is gone; the next one leads when the Lease has expired.
    LeaderDies,
}

/// What happens to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatabaseDeed {
    /// Nobody is primary.
    Lost,
    /// Two say that they are.
    Split,
    /// Maintenance mode.
    Frozen,
    Thawed,
    /// `spec.paused`
    Paused,
    Resumed,
}

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeDeed {
    Dies,
    Returns,
    Cordoned,
    Uncordoned,
    /// By hand: cordoned, and its pods evicted within their budgets.
    Drained,
    /// Its agent is silent.
    Unmeasured,
    Measured,
}

/// What happens to a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkloadDeed {
    /// A new template.
    Deployed,
    Scaled(u32),
    Budget(Option<Budget>),
    /// So long after a new pod is bound it is Ready; or never.
    Ready(Option<Ms>),
    /// A descheduler moves a pod of it that is near to where it isn't, again and again after this time; or no more.
    MovedBack(Option<Ms>),
    Deleted,
}

/// What may stop working.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Webhook,
    Scheduler,
    /// kube-controller-manager.
    Controllers,
    Api,
    /// Writes of our status fail.
    Status,
}

/// What must come of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// At this time every pod of a workload, or of all that follow, is near its primary and serves.
    Near { by: Ms, workload: Option<String> },
    /// At this time so many pods at least are far.
    Far { at: Ms, workload: String, least: u32 },
    /// A workload never has fewer that serve.
    NeverBelow { workload: String, least: u32 },
    /// Nobody is evicted, or restarted, before this time.
    NoneBefore { at: Ms },
    /// So many evictions at least and at most, by us; of a workload or of all.
    Evictions { workload: Option<String>, least: u32, most: u32 },
    /// At this time every far pod of a workload is held for this reason.
    Held { at: Ms, workload: String, reason: String },
    /// At this time nothing at all is moved for this reason.
    Gate { at: Ms, gate: String },
}

impl Script {
    /// The workload of this name.
    #[must_use]
    pub fn workload(&self, name: &str) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.name == name)
    }

    /// The database that this is a member of.
    #[must_use]
    pub fn database_of(&self, member: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.members.iter().any(|(name, _)| name == member))
    }

    /// The databases that a workload follows.
    #[must_use]
    pub fn followed(&self, workload: &Workload) -> Vec<String> {
        if workload.follow.is_empty() {
            return self.databases.first().map(|database| database.name.clone()).into_iter().collect();
        }
        workload.follow.clone()
    }
}

impl Workload {
    /// One that nobody said more of.
    #[must_use]
    pub fn new(kind: Kind, name: &str, replicas: u32) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            replicas,
            strategy: match kind {
                Kind::Deployment => Strategy::Rolling { surge: 1, unavailable: 0 },
                Kind::StatefulSet => Strategy::Ordered { unavailable: 1, partition: 0 },
                Kind::ReplicaSet => Strategy::None,
            },
            budget: None,
            ready: Some(8_000),
            ends: 2_000,
            available_after: 0,
            cpu_m: 100,
            follow: Vec::new(),
            moved_by: None,
        }
    }
}
