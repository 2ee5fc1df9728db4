//! What is known of a cluster and of the installation in it, as it was gathered; judged in `judge/`, by nobody else.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        admissionregistration::v1::{
            MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
        },
        apps::v1::{DaemonSet, Deployment},
        core::v1::{Namespace, Node},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::core::{DynamicObject, PartialObjectMeta};

use serde_json::Value;

use super::shipped::Right;
use crate::{
    api::NodeLatency,
    certificates::served::Chain,
    commands::report::ControllerReport,
    core::{weakness::Budget, workload::Workload},
};

/// What was looked for, or why that isn't known.
pub(super) type Seen<T> = Result<T, Unseen>;

/// Why something isn't known: a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unseen(pub String);

/// Everything that is judged.
#[derive(Debug)]
pub(super) struct Facts {
    /// Where switchover is, or shall be.
    pub namespace: String,
    /// When all this was so, by this machine's clock.
    pub now: Timestamp,
    pub server: Server,
    /// What the API server serves: `policy/v1 poddisruptionbudgets`.
    pub served: Seen<BTreeSet<String>>,
    pub nodes: Seen<Vec<PartialObjectMeta<Node>>>,
    pub namespaces: Seen<Vec<PartialObjectMeta<Namespace>>>,
    pub definitions: Seen<Vec<CustomResourceDefinition>>,
    /// Those that bear our label, of whatever name.
    pub configurations: Seen<Vec<MutatingWebhookConfiguration>>,
    pub policies: Seen<Vec<ValidatingAdmissionPolicy>>,
    pub bindings: Seen<Vec<ValidatingAdmissionPolicyBinding>>,
    /// What injects beside the webhook, or in its place.
    pub injecting: Seen<Injecting>,
    pub accounts: Accounts,
    /// Of the installing person before, of the roles' accounts after the installation.
    pub rights: Vec<Asked>,
    pub workloads: Seen<Workloads>,
    pub lease: Seen<ControllerReport>,
    pub certificates: Vec<Shown>,
    pub tried: Vec<Tried>,
    /// The workloads of the namespaces that follow.
    pub followers: Seen<Vec<Follower>>,
    pub latencies: Seen<Vec<NodeLatency>>,
    pub databases: Seen<Vec<DynamicObject>>,
    pub reached: Vec<Reached>,
}

/// The API server.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Server {
    pub version: String,
    pub minor: Option<u32>,
    /// By how much its clock is ahead of this machine's, in seconds; nothing if it doesn't say what time it is.
    pub ahead_s: Option<i64>,
}

/// The names of the roles' service accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accounts {
    pub controller: String,
    pub webhook: String,
    pub agent: String,
}

impl Default for Accounts {
    fn default() -> Self {
        let of = |role: &str| format!("switchover-{role}");
        Self { controller: of("controller"), webhook: of("webhook"), agent: of("agent") }
    }
}

impl Accounts {
    /// Of each role, in one order.
    pub(super) fn each(&self) -> [(&'static str, &str); 3] {
        [("controller", &self.controller), ("webhook", &self.webhook), ("agent", &self.agent)]
    }
}

/// What an account may do.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Of whom: a role, or nobody for whoever asks.
    pub role: Option<&'static str>,
    pub right: Right,
    pub allowed: Seen<bool>,
}

/// What runs in the namespace, and why what doesn't.
#[derive(Debug, Default)]
pub(super) struct Workloads {
    pub deployments: Vec<Deployment>,
    pub sets: Vec<DaemonSet>,
    /// What the API server said of pods that it refused, each with the name of its owner.
    pub refusals: Vec<(String, String)>,
}

/// What a replica of the webhook serves.
#[derive(Debug)]
pub(super) struct Shown {
    /// `pod switchover-webhook-x`, for people.
    pub by: String,
    pub chain: Seen<Chain>,
}

/// MutatingAdmissionPolicies that bear our label, and their bindings; none where the API server doesn't know the kinds.
#[derive(Debug, Clone, Default)]
pub(super) struct Injecting {
    pub policies: Vec<DynamicObject>,
    pub bindings: Vec<DynamicObject>,
}

/// What came of a pod that was created for show in a namespace that follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tried {
    pub namespace: String,
    pub came: Came,
}

/// How it came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Came {
    /// With these keys of nodes' labels in its affinity, whether it was injected, and for this scheduler.
    Back { injected: bool, keys: BTreeSet<String>, scheduler: String },
    /// Not at all, though the same pod that follows nobody does: what is said.
    RefusedWithAffinity(String),
    /// Nobody may create one, or the API server gave no answer.
    Unknown(String),
}

/// A Deployment or StatefulSet whose pods follow, and what stands for its moves without an outage.
#[derive(Debug, Clone, Default)]
pub(super) struct Follower {
    pub workload: Workload,
    pub min_ready_s: u32,
    /// The `spec` of its pod template.
    pub pod: Value,
    /// The disruption budgets that cover it.
    pub budgets: Vec<Budget>,
}

/// Whether a member can be reached from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    pub database: String,
    pub member: String,
    pub address: String,
    pub reached: Result<(), String>,
}

impl Facts {
    /// What time it is by the API server's clock.
    pub(super) fn server_now(&self) -> Timestamp {
        let ahead = jiff::SignedDuration::from_secs(self.server.ahead_s.unwrap_or_default());
        self.now.checked_add(ahead).unwrap_or(self.now)
    }
}
