//! Lean facts of namespaces, nodes, pods, workloads and disruption budgets: what the decisions need and nothing else.

mod groups;
mod snapshot;
mod unwatched;
mod zone;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    distance::tier::Tier,
    follow::{AffinityMode, Annotations},
    orders::Orders,
    selector::{Labels, NodeTerm, Selector},
    shared::Shared,
    taints::Tolerated,
};

pub use self::{
    groups::{Occupants, PodGroups, SetGroups},
    snapshot::Snapshot,
    unwatched::{Unwatched, unwatched},
};
pub use super::{
    placement::{HostPort, Leaning, PodTerm, PreferredNodes, Protocol, Spread},
    taints::Taint,
};

/// Amounts of what pods ask for and nodes offer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Resources {
    pub cpu_m: u64,
    pub memory_bytes: u64,
    /// Extended resources and ephemeral storage, by name.
    pub other: BTreeMap<String, u64>,
}

impl Resources {
    pub fn add(&mut self, more: &Self) {
        self.cpu_m = self.cpu_m.saturating_add(more.cpu_m);
        self.memory_bytes = self.memory_bytes.saturating_add(more.memory_bytes);
        for (name, amount) in &more.other {
            let sum = self.other.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// Gives back what was added.
    pub fn take(&mut self, less: &Self) {
        self.cpu_m = self.cpu_m.saturating_sub(less.cpu_m);
        self.memory_bytes = self.memory_bytes.saturating_sub(less.memory_bytes);
        for (name, amount) in &less.other {
            self.other.entry(name.clone()).and_modify(|sum| *sum = sum.saturating_sub(*amount));
        }
    }

    /// Of one resource, by Kubernetes' name.
    #[must_use]
    pub fn amount(&self, name: &str) -> u64 {
        match name {
            "cpu" => self.cpu_m,
            "memory" => self.memory_bytes,
            other => self.other.get(other).copied().unwrap_or(0),
        }
    }

    /// All of which there is something, by Kubernetes' names.
    pub fn amounts(&self) -> impl Iterator<Item = (String, u64)> {
        let basic = [("cpu", self.cpu_m), ("memory", self.memory_bytes)];
        let other = self.other.iter().map(|(name, amount)| (&**name, *amount));
        let all = basic.into_iter().chain(other).filter(|(_, amount)| *amount > 0);
        all.map(|(name, amount)| (name.to_owned(), amount))
    }

    /// The larger of both, resource by resource.
    pub fn raise_to(&mut self, other: &Self) {
        self.cpu_m = self.cpu_m.max(other.cpu_m);
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        for (name, amount) in &other.other {
            let most = self.other.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }
}

/// A toleration of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Toleration {
    /// `None` with [`Toleration::exists`] tolerates every key.
    pub key: Option<String>,
    /// The operator is Exists, not Equal.
    pub exists: bool,
    pub value: String,
    /// `None` tolerates every effect.
    pub effect: Option<String>,
    /// `tolerationSeconds`: NoExecute is borne for this long only.
    pub limit_s: Option<i64>,
}

impl Toleration {
    #[must_use]
    pub fn tolerated(&self) -> Tolerated<'_> {
        let Self { key, exists, value, effect, .. } = self;
        Tolerated { key: key.as_deref(), exists: *exists, value, effect: effect.as_deref() }
    }
}

/// A node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    pub uid: String,
    pub labels: Labels,
    /// False when the annotation `switchover.dev/manage: "false"` keeps us off.
    pub managed: bool,
    pub ready: bool,
    /// Cordoned.
    pub unschedulable: bool,
    pub taints: Vec<Taint>,
    pub allocatable: Resources,
    /// How many pods the node takes.
    pub pods: u64,
}

impl Node {
    /// What its label of this key says.
    #[must_use]
    pub fn labelled(&self, key: &str) -> Tier {
        Tier::from_label(self.labels.get(key).map(String::as_str))
    }

    /// A label of this key says something that is no tier: somebody else uses the key here.
    #[must_use]
    pub fn labelled_by_others(&self, key: &str) -> bool {
        self.labels.contains_key(key) && self.labelled(key) == Tier::Unknown
    }

    /// Whether pods can be scheduled here at all.
    #[must_use]
    pub const fn has_room_in_principle(&self) -> bool {
        self.ready && !self.unschedulable
    }
}

/// Where a pod is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Pending,
    Running,
    /// Succeeded or Failed.
    Finished,
}

/// The controller that owns an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// Group and version of its kind: `apps/v1`.
    pub api: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

/// What switchover's annotations say, as text. Of a pod, or of a namespace as its pods' defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Wishes {
    pub follow: Option<String>,
    pub affinity: Option<String>,
    pub weight: Option<String>,
    pub movement: Option<String>,
}

impl Wishes {
    /// In the form that [`Follow::resolve`](super::follow::Follow::resolve) reads.
    #[must_use]
    pub fn says(&self) -> Annotations<'_> {
        Annotations {
            follow: self.follow.as_deref(),
            affinity: self.affinity.as_deref(),
            weight: self.weight.as_deref(),
            move_: self.movement.as_deref(),
        }
    }
}

impl From<Annotations<'_>> for Wishes {
    fn from(said: Annotations<'_>) -> Self {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Self {
            follow: own(said.follow),
            affinity: own(said.affinity),
            weight: own(said.weight),
            movement: own(said.move_),
        }
    }
}

/// A pod. What thousands have alike, because it comes from their template, is kept once ([`Shared`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub labels: Shared<Labels>,
    pub wishes: Shared<Wishes>,
    pub node: Option<String>,
    pub phase: Phase,
    pub ready: bool,
    pub terminating: bool,
    pub created: Timestamp,
    pub owner: Option<Shared<Owner>>,
    pub mirror: bool,
    /// `spec.priority`: the scheduler takes those that have more first, and drives out those that have less.
    pub priority: i32,
    /// `spec.priorityClassName`.
    pub priority_class: Option<String>,
    /// What it holds of its node: what it asks for, or what it was given while that is being changed.
    pub requests: Shared<Resources>,
    /// What it may use at most.
    pub limits: Shared<Resources>,
    pub host_ports: Shared<Vec<HostPort>>,
    pub tolerations: Shared<Vec<Toleration>>,
    pub node_selector: Shared<Labels>,
    /// Required node affinity: terms are ORed. `None`: no rule.
    pub node_terms: Option<Shared<Vec<NodeTerm>>>,
    /// Keys of the node labels that its preferred node affinity names.
    pub preferred_keys: Shared<Vec<String>>,
    /// Its preferred node affinity.
    pub preferred_nodes: Shared<Vec<PreferredNodes>>,
    pub spread: Shared<Vec<Spread>>,
    pub anti_affinity: Shared<Vec<PodTerm>>,
    pub affinity: Shared<Vec<PodTerm>>,
    /// Its preferred affinity and anti-affinity to other pods.
    pub leanings: Shared<Vec<Leaning>>,
    /// Why admission leaves the pod alone, if it does: another scheduler, or Windows. Then nothing says where a
    /// replacement would go.
    pub not_injected: Option<String>,
    /// Its annotation, from the template that it was made of, that says for which epoch its workload was restarted.
    pub restarted_for: Option<String>,
    /// `status.nominatedNodeName`: the scheduler makes room for it there.
    pub nominated: Option<String>,
    /// The scheduler has found no node for it.
    pub unschedulable: bool,
    /// Nobody schedules it before its `schedulingGates` are taken away.
    pub gated: bool,
    /// Admission has injected something into it.
    pub injected: bool,
    /// What it then required of the pod's node.
    pub required_for: Shared<Vec<RequiredFor>>,
    /// A volume that ties the pod to its node or may do so: a claim or a host path, named for people.
    pub pinned_by: Option<String>,
    /// An annotation of somebody else's by which nobody is to evict it, as it is written: `KEY: VALUE`.
    pub not_to_evict: Option<String>,
    /// An emptyDir on the node's disk: what is in it ends with the pod.
    pub scratch: Option<String>,
    /// What decides where its replacement goes, and isn't evaluated here.
    pub unforeseen: Option<&'static str>,
    /// So many seconds after it had a node it was Ready, if it has been Ready since: so long its replacement takes, too.
    pub ready_after_s: Option<u32>,
    /// What people ask of it besides its wishes. Of most pods nothing.
    pub orders: Option<Box<Orders>>,
}

/// A hard mode that admission's record on a pod tells of: some requirement of the pod is that mode's, under the key that the database had
/// by then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequiredFor {
    pub database: String,
    pub mode: AffinityMode,
}

impl Pod {
    /// Is there for its node and goes with it: mirrors of static pods, pods of a DaemonSet.
    #[must_use]
    pub fn belongs_to_its_node(&self) -> bool {
        self.mirror || self.owner.as_ref().is_some_and(|owner| owner.kind == "DaemonSet" || owner.kind == "Node")
    }

    /// Whether a NoExecute taint on its node ends it, at once or in a while. As the taint eviction controller reckons:
    /// one toleration with a limit is enough.
    #[must_use]
    pub fn is_ended_by(&self, taint: &Taint) -> bool {
        let mut tolerating =
            self.tolerations.iter().filter(|toleration| toleration.tolerated().tolerates(taint)).peekable();
        tolerating.peek().is_none() || tolerating.any(|toleration| toleration.limit_s.is_some())
    }

    /// Waits for the scheduler.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.node.is_none() && self.phase == Phase::Pending && !self.terminating && !self.gated
    }

    /// Its controller makes a replacement before it has gone. (A StatefulSet waits, because both have the same name.)
    #[must_use]
    pub fn is_replaced_before_it_is_gone(&self) -> bool {
        self.owner.as_ref().is_none_or(|owner| owner.kind != "StatefulSet")
    }

    /// Takes room on its node.
    #[must_use]
    pub fn occupies(&self) -> bool {
        self.node.is_some() && self.phase != Phase::Finished
    }

    /// Says that it serves: Running, Ready, not on its way out. Its node may be dead ([`Snapshot::serves`]).
    #[must_use]
    pub const fn serves(&self) -> bool {
        matches!(self.phase, Phase::Running) && self.ready && !self.terminating
    }

    /// Its node affinity says something about this node label.
    #[must_use]
    pub fn is_drawn_by(&self, node_label: &str) -> bool {
        let required = self.node_terms.iter().flat_map(|terms| terms.iter()).flat_map(|term| &term.expressions);
        required.map(|expression| &expression.key).chain(self.preferred_keys.iter()).any(|key| key == node_label)
    }

    /// `namespace/name`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// How a workload's own controller replaces its pods when its template changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// A Deployment's: meanwhile it has so many pods more than it wants, and so many of them may be away.
    Rolling { surge: u32, unavailable: u32 },
    /// A Deployment's: every pod ends before the first new one starts.
    Recreate,
    /// A StatefulSet's: so many pods at a time end and start anew, but for the first ones (`partition`).
    Ordered { unavailable: u32, partition: u32 },
    /// A StatefulSet's: whoever ends a pod makes it new.
    OnDelete,
    /// Nobody replaces them, or nobody here knows how.
    #[default]
    None,
}

/// A ReplicaSet, StatefulSet or Deployment, or another owner of pods that was asked for its scale.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workload {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// For a ReplicaSet: its Deployment.
    pub owner: Option<Owner>,
    /// `spec.replicas`.
    pub desired: u32,
    /// What the API server says to the pods that a ReplicaSet would create: of its condition `ReplicaFailure`.
    pub refused: Option<String>,
    /// The pod template's annotation that says for which epoch it was restarted.
    pub restarted_for: Option<String>,
    /// What a pod of its template asks for, which one that was resized in place may not.
    pub requests: Resources,
    /// What its template says that decides where its pods go, that pods don't show any more, and that isn't evaluated here.
    pub unforeseen: Option<&'static str>,
    pub strategy: Strategy,
    /// Of a Deployment: `spec.paused`.
    pub paused: bool,
    /// Its controller hasn't looked at its newest spec yet, or, of a StatefulSet, hasn't replaced every pod yet that it replaces.
    pub rolling: bool,
    /// Where pods count only when they have been Ready for a while (`minReadySeconds`): how many of its pods have, as its controller
    /// counts.
    pub available: Option<u32>,
    /// Of a StatefulSet: the revision of its template, which its pods bear as their label `controller-revision-hash`.
    pub revision: Option<String>,
    /// What people ask of all its pods, by its own annotations.
    pub orders: Option<Box<Orders>>,
    /// Nothing is known of it but how many pods it wants, and that is asked now and then.
    pub scaled: bool,
    /// Of a Rollout: pods that were created before this are evicted and made anew (`spec.restartAt`).
    pub restart_at: Option<Timestamp>,
}

impl Workload {
    /// It makes ReplicaSets, and these make pods.
    #[must_use]
    pub fn is_above_sets(&self) -> bool {
        !self.scaled && matches!(&*self.kind, "Deployment" | "Rollout")
    }

    /// Whether a restart of it has come to the pod: its template's mark is handed on to pods, and a Rollout's new pods are younger.
    #[must_use]
    pub fn has_restarted(&self, pod: &Pod) -> bool {
        match self.restart_at {
            Some(at) => pod.created >= at,
            None => pod.restarted_for == self.restarted_for,
        }
    }

    /// The UID of what a set belongs to. A ReplicaSet is its Deployment's, or another owner's, because there may be several; each
    /// StatefulSet is a workload of its own, whoever made it.
    #[must_use]
    pub fn top(&self) -> &str {
        let owner = self.owner.as_ref().filter(|_| self.kind == "ReplicaSet");
        owner.map_or(&self.uid, |owner| &owner.uid)
    }
}

/// A PodDisruptionBudget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DisruptionBudget {
    pub namespace: String,
    pub name: String,
    pub selector: Selector,
    /// `status.disruptionsAllowed`.
    pub allowed: u32,
    /// `status.currentHealthy`, and `status.desiredHealthy`.
    pub healthy: u32,
    pub desired_healthy: u32,
    /// `spec.unhealthyPodEvictionPolicy: AlwaysAllow`: pods that aren't Ready may be evicted whatever it allows.
    pub lets_unready_go: bool,
    /// Names of pods whose eviction was granted and is counted in `allowed`, while the pods themselves may not show it yet
    /// (`status.disruptedPods`).
    pub disrupted: BTreeSet<String>,
    /// `metadata.resourceVersion`: another one with each change, and nothing else.
    pub version: String,
}

impl DisruptionBudget {
    /// Whether a pod that isn't Ready may be evicted without anything being taken of it (KEP-3017).
    #[must_use]
    pub const fn ignores_unready(&self) -> bool {
        self.lets_unready_go || (self.healthy >= self.desired_healthy && self.desired_healthy > 0)
    }
}

/// A namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    pub name: String,
    /// Value of the label `switchover.dev/follow`: it opts in. (What its annotation of that name says is among its wishes.)
    pub opt_in: Option<String>,
    /// Its annotations: defaults for its pods.
    pub wishes: Wishes,
    pub labels: Labels,
    /// What people ask of all its pods besides that.
    pub orders: Option<Box<Orders>>,
    pub terminating: bool,
}
