//! What is foreseen, in a form that is shown and written down.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    api::database_cluster::TierCounts,
    core::movement::held::{Gate, HeldReason},
    evaluate::Stays,
};

/// What would come of a change of primary to one member.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    pub database: String,
    /// Who is the primary now.
    pub primary: Option<String>,
    pub to: String,
    /// Number of nodes in each tier.
    pub nodes: TierCounts,
    /// Number of pods that follow the database.
    pub followers: u32,
    /// Number of those that are near that member now.
    pub near: u32,
    /// Number of pods that would be moved.
    pub moves: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    pub workloads: Vec<WorkloadForecast>,
    pub waves: Vec<WaveForecast>,
    /// Each move, in the order in which they begin.
    pub steps: Vec<Step>,
    /// Who stays, and why.
    pub held: Vec<HeldForecast>,
    pub missing: Vec<Missing>,
    /// What people wrote that stands against it, in sentences.
    pub obstacles: Vec<String>,
    /// What else people should know, in sentences: images that have to be fetched first, and whom the scheduler could drive out.
    pub notes: Vec<String>,
    pub seconds: Seconds,
}

impl Forecast {
    /// How many pods stay that stand so.
    #[must_use]
    pub fn staying(&self, standing: Standing) -> u32 {
        self.held.iter().filter(|held| held.standing == standing).map(|held| held.pods).sum()
    }

    /// Every follower is near in the end, but for those that people want to stay and those that only wait.
    #[must_use]
    pub fn fits(&self) -> bool {
        let stranded = self.loss.as_ref().map_or(0, |loss| loss.pending + loss.tied);
        self.staying(Standing::NoPlace) == 0 && self.staying(Standing::Blocked) == 0 && stranded == 0
    }
}

/// What is lost, and what becomes of its pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Loss {
    pub nodes: u32,
    /// Pods that were there and that their controllers make anew, whomever they follow.
    pub pods: u32,
    /// Of these, those that find no place.
    pub pending: u32,
    /// Of these, those whose volume may be lost with their node: nobody can say whether they come up elsewhere.
    pub tied: u32,
}

/// The pods of one workload that would be moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadForecast {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub pods: u32,
    /// `evict` or `restart`.
    pub way: &'static str,
    /// Number of pods by zone, or by node where nodes have no zone.
    pub from: BTreeMap<String, u32>,
    pub to: BTreeMap<String, u32>,
    /// How many of them go at once.
    pub at_once: u32,
    /// How long one replacement takes, in seconds.
    pub ready_s: u32,
    /// Its pods say so; else it is assumed.
    pub ready_known: bool,
    /// The first and the last wave that it is part of.
    pub waves: (u32, u32),
    /// When its last replacement is Ready, in seconds from when the movement begins.
    pub seconds: f64,
}

/// Moves that begin together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveForecast {
    pub wave: u32,
    /// In seconds from when the movement begins.
    pub begins_s: f64,
    pub pods: u32,
}

/// One move.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    pub wave: u32,
    pub begins_s: f64,
    pub ends_s: f64,
    /// `namespace/name`
    pub pod: String,
    pub from: String,
    pub to: String,
    pub way: &'static str,
}

/// How it is that pods stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Nothing near the member takes them.
    NoPlace,
    /// They can't be moved as they are.
    Blocked,
    /// People want it so.
    Meant,
    /// It passes by itself.
    Passes,
}

impl Standing {
    pub(super) const fn of(reason: &HeldReason) -> Self {
        match reason {
            HeldReason::NoRoom(_) | HeldReason::Quota(_) => Self::NoPlace,
            HeldReason::Never | HeldReason::NamespaceTerminating => Self::Meant,
            HeldReason::Job | HeldReason::NotInjected(_) => Self::Meant,
            HeldReason::Gate(Gate::PausedBy(_)) => Self::Meant,
            reason if reason.waits() => Self::Passes,
            _ => Self::Blocked,
        }
    }

    /// In a few words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoPlace => "no place",
            Self::Blocked => "blocked",
            Self::Meant => "meant to stay",
            Self::Passes => "passes by itself",
        }
    }
}

/// Pods of one workload that stay for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldForecast {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub pods: u32,
    pub standing: Standing,
    /// In one CamelCase word.
    pub reason: String,
    /// In one sentence.
    pub message: String,
}

impl HeldForecast {
    pub(super) fn of(stays: &Stays) -> Self {
        let Stays { workload, reason, pods, .. } = stays;
        Self {
            kind: workload.kind.clone(),
            namespace: workload.namespace.clone(),
            name: workload.name.clone(),
            pods: *pods,
            standing: Standing::of(reason),
            reason: reason.name().to_owned(),
            message: reason.to_string(),
        }
    }
}

/// What hardware would have to be added, for whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Missing {
    /// The zones of the nodes that are near the member.
    pub place: String,
    /// By Kubernetes' names: CPUs in thousandths, everything else in whole units.
    pub resources: BTreeMap<String, u64>,
    /// `namespace/name`, and how many of its pods.
    pub workloads: Vec<(String, u32)>,
    /// "dc2 lacks 3.5 cpu and 6 GiB for 4 pods of orders/api and 2 of orders/worker"
    pub sentence: String,
}

/// How long it would take, from when the movement begins, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seconds {
    /// How long the new primary has to hold before anything moves (`spec.movement.settle`). Not part of the total.
    pub settle: f64,
    /// Until the last replacement is Ready.
    pub total: f64,
    /// Of that: what the slowest replacement takes, if all went at once.
    pub readiness: f64,
    /// What is added because only so many of a workload may be away at once.
    pub budget: f64,
    /// What is added because only so many of all may be on the move.
    pub limits: f64,
}
