//! What admission injects into one pod, or why nothing.
//!
//! Webhook, controller and the command line ask the same function, so that they can't disagree. docs/affinity.md tells
//! people the same.

mod annotations;
pub mod hard;
pub mod looks;
pub mod patch;
pub mod pod;
pub mod rules;
mod text;
mod unread;
mod warning;

use std::{fmt, sync::Arc, time::Instant};

use serde::Serialize;
use strum::{IntoStaticStr, VariantNames};

use self::{
    looks::{Looks, Spent},
    patch::{Expression, additions, preferences, record},
    pod::Spec,
};
pub use self::{
    patch::Operation,
    pod::Pod,
    rules::Node,
    unread::UNREAD,
    warning::{Softened, Warning},
};
use crate::core::{
    distance::tier::Tier,
    follow::{AffinityMode, Annotations, DatabaseDefaults, Follow, FollowedDatabase, NotFollowing},
    schedulers::Schedulers,
};

/// What a namespace says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Value of the label that opts it in.
    pub label: Option<Box<str>>,
    pub follow: Option<Box<str>>,
    pub affinity: Option<Box<str>>,
    pub weight: Option<Box<str>>,
    pub move_: Option<Box<str>>,
}

impl Namespace {
    /// One that opts in by this label.
    #[must_use]
    pub fn new(label: &str, says: Annotations<'_>) -> Self {
        let own = |text: Option<&str>| text.map(Into::into);
        Self {
            label: Some(label.into()),
            follow: own(says.follow),
            affinity: own(says.affinity),
            weight: own(says.weight),
            move_: own(says.move_),
        }
    }

    #[must_use]
    pub fn says(&self) -> Annotations<'_> {
        Annotations {
            follow: self.follow.as_deref(),
            affinity: self.affinity.as_deref(),
            weight: self.weight.as_deref(),
            move_: self.move_.as_deref(),
        }
    }
}

/// Whether it is known who is primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PrimaryBelief {
    /// The controller refuses the database, such as for a node label that belongs to another: nobody follows it.
    Refused,
    Known,
    #[default]
    Unknown,
    Split,
    Frozen,
}

/// One database, as admission sees it.
#[derive(Clone, Debug)]
pub struct Database {
    pub defaults: DatabaseDefaults,
    pub primary: PrimaryBelief,
    /// Counts the confirmed changes of primary.
    pub epoch: u64,
    /// From then on nothing may be *required* on the strength of these facts.
    pub fresh_until: Instant,
    pub nodes: Arc<TierSummary>,
}

/// The nodes that could take a pod now, by what a database's node label says of them.
#[derive(Clone, Debug, Default)]
pub struct TierSummary {
    pub closely: Vec<Arc<Node>>,
    /// Intermediate ones, and those that were never measured.
    pub between: Vec<Arc<Node>>,
    /// Number of far ones.
    pub far: usize,
}

impl TierSummary {
    pub fn new<'a>(nodes: impl IntoIterator<Item = &'a Arc<Node>>, node_label: &str) -> Self {
        let mut summary = Self::default();
        for node in nodes.into_iter().filter(|node| node.usable) {
            match node.tier(node_label) {
                Tier::Closely => summary.closely.push(Arc::clone(node)),
                Tier::Intermediate | Tier::Unknown => summary.between.push(Arc::clone(node)),
                Tier::Far => summary.far += 1,
            }
        }
        summary
    }

    /// The nodes that a mode leaves.
    fn left_by(&self, mode: AffinityMode) -> impl Iterator<Item = &Node> {
        let between = if mode == AffinityMode::Required { &[] } else { self.between.as_slice() };
        self.closely.iter().chain(between).map(AsRef::as_ref)
    }
}

/// What to do with one pod, and what to tell its creator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    pub warnings: Vec<Warning>,
}

/// What the decision on a pod came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Inject(Injection),
    Skip(SkipReason),
}

/// What is injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    pub operations: Vec<Operation>,
    /// The value of the annotation `switchover.dev/injected`: a JSON list, one entry per database.
    pub summary: String,
}

/// Why a pod is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum SkipReason {
    /// Not the creation of a pod.
    NotPodCreation,
    SystemNamespace,
    DaemonSet,
    Mirror,
    NodeNameSet,
    Windows,
    OtherScheduler,
    #[strum(transparent)]
    NotFollowing(NotFollowing),
    AlreadyInjected,
    AlreadyRight,
    NoSpec,
    /// What would be added could make it larger than Kubernetes keeps.
    TooLarge,
}

impl SkipReason {
    /// Every [`SkipReason::as_str`].
    pub fn names() -> impl Iterator<Item = &'static str> {
        let own = Self::VARIANTS.iter().filter(|name| **name != "not_following");
        NotFollowing::VARIANTS.iter().chain(own).copied()
    }

    /// One word, for a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPodCreation => "the request does not create a pod",
            Self::SystemNamespace => "pods of kube-system and of switchover's own namespace are left alone",
            Self::DaemonSet => "a DaemonSet's pod belongs to its node",
            Self::Mirror => "a mirror pod belongs to its node",
            Self::NodeNameSet => "spec.nodeName is set, so nothing is left to schedule",
            Self::Windows => "the distance of Windows nodes is not measured",
            Self::OtherScheduler => {
                "another scheduler places the pod: if it goes by node affinity, name it in --schedulers, or opt the pod in itself"
            }
            Self::NotFollowing(reason) => return reason.fmt(f),
            Self::AlreadyInjected => "the affinity was injected before",
            Self::AlreadyRight => "the pod's own affinity says the same already",
            Self::NoSpec => "the pod has no spec",
            Self::TooLarge => "the pod is so large that with more in it Kubernetes might not keep it",
        })
    }
}

/// What to do with a pod that is being created. `namespace` is `None` when its namespace did not opt in.
#[must_use]
pub fn decide<'v>(
    pod: &Pod<'_>,
    namespace: Option<&Namespace>,
    database: impl Fn(&str) -> Option<&'v Database>,
    schedulers: &Schedulers,
    now: Instant,
) -> Decision {
    let skip = |reason, warnings| Decision { verdict: Verdict::Skip(reason), warnings };
    let Some(spec) = &pod.spec else { return skip(SkipReason::NoSpec, Vec::new()) };
    let Some(namespace) = namespace else {
        return skip(SkipReason::NotFollowing(NotFollowing::NotOptedIn), Vec::new());
    };
    if let Some(reason) = never_follows(pod, spec, schedulers) {
        return skip(reason, Vec::new());
    }

    let lookup = |name: &str| database(name).map(|database| &database.defaults);
    let follow = Follow::resolve(namespace.label.as_deref(), &namespace.says(), &pod.says(), lookup);
    let mut warnings: Vec<Warning> = follow.mistakes.into_iter().map(Warning::Mistake).collect();
    let databases = match follow.databases {
        Ok(databases) => databases,
        Err(reason) => return skip(SkipReason::NotFollowing(reason), warnings),
    };

    let mut wishes = Wishes::of(spec);
    for followed in &databases {
        // `resolve` has just found it by the same lookup.
        let Some(known) = database(&followed.name) else { continue };
        if known.primary == PrimaryBelief::Refused {
            warnings.push(Warning::Refused { database: Arc::clone(&followed.name) });
            continue;
        }
        warnings.extend(wishes.add(followed, known, now));
    }
    if wishes.records.is_empty() {
        return skip(SkipReason::NotFollowing(NotFollowing::Refused), warnings);
    }
    let mut operations = additions(spec, &wishes.required, wishes.preferred);
    if operations.is_empty() {
        let injected = pod.annotations().is_some_and(|annotations| annotations.injected.is_some());
        let reason = if injected { SkipReason::AlreadyInjected } else { SkipReason::AlreadyRight };
        return skip(reason, warnings);
    }
    let summary = serde_json::to_string(&wishes.records).unwrap_or_default();
    operations.extend(record(pod.metadata.as_ref(), summary.clone()));
    Decision { verdict: Verdict::Inject(Injection { operations, summary }), warnings }
}

/// What a hard mode requires of a node, where nothing speaks against it.
#[must_use]
pub fn requirement(followed: &FollowedDatabase) -> Option<Expression> {
    match followed.mode {
        AffinityMode::Preferred => None,
        AffinityMode::AvoidFar => Some(Expression::not_far(&followed.node_label)),
        AffinityMode::Required => Some(Expression::closely(&followed.node_label)),
    }
}

/// Pods that are bound to a node, or that nobody could bring nearer.
fn never_follows(pod: &Pod<'_>, spec: &Spec<'_>, schedulers: &Schedulers) -> Option<SkipReason> {
    let set = |text: &Option<pod::Text<'_>>| text.as_ref().is_some_and(|text| !text.is_empty());
    if pod.owners().iter().any(|owner| &*owner.kind == "DaemonSet") {
        Some(SkipReason::DaemonSet)
    } else if pod.annotations().is_some_and(|annotations| annotations.mirror.is_some()) {
        Some(SkipReason::Mirror)
    } else if set(&spec.node_name) {
        Some(SkipReason::NodeNameSet)
    } else if spec.os.as_ref().is_some_and(|os| &*os.name == "windows") {
        Some(SkipReason::Windows)
    } else if schedulers.ignoring(spec.scheduler_name.as_deref(), &pod.says()).is_some() {
        Some(SkipReason::OtherScheduler)
    } else {
        None
    }
}

/// What the databases that a pod follows ask of its node, together.
struct Wishes<'f, 's, 'p> {
    spec: &'s Spec<'p>,
    looks: Looks<'s, 'p>,
    /// Bytes of a patch that the requirements take at most.
    bytes: usize,
    required: Vec<Expression>,
    preferred: Vec<patch::Preference>,
    records: Vec<Record<'f>>,
    node_labels: Vec<&'f str>,
}

/// One entry of the annotation `switchover.dev/injected`.
#[derive(Serialize)]
struct Record<'f> {
    database: &'f str,
    /// What was injected.
    mode: &'static str,
    /// What was asked for, where that was something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<&'static str>,
    epoch: u64,
}

impl<'f, 's, 'p> Wishes<'f, 's, 'p> {
    const fn of(spec: &'s Spec<'p>) -> Self {
        Self {
            spec,
            looks: Looks::new(spec, Looks::MOST),
            bytes: 0,
            required: Vec::new(),
            preferred: Vec::new(),
            records: Vec::new(),
            node_labels: Vec::new(),
        }
    }

    fn add(&mut self, followed: &'f FollowedDatabase, known: &Database, now: Instant) -> Option<Warning> {
        // Two databases can't share a node label; if two do, the controller refuses one, and the first counts here.
        if self.node_labels.contains(&&*followed.node_label) {
            return None;
        }
        self.node_labels.push(&followed.node_label);

        let asked = followed.mode;
        let softened = self.harden(followed, known, now).err();
        let mode = if softened.is_some() { AffinityMode::Preferred } else { asked };
        if mode != AffinityMode::Required {
            self.preferred.extend(preferences(followed));
        }
        self.records.push(Record {
            database: &followed.name,
            mode: mode.as_str(),
            asked: (mode != asked).then_some(asked.as_str()),
            epoch: known.epoch,
        });
        softened.map(|why| Warning::Softened { database: Arc::clone(&followed.name), asked, why })
    }

    /// Adds the requirement of a hard mode, unless it could leave the pod without a node.
    fn harden(&mut self, followed: &FollowedDatabase, known: &Database, now: Instant) -> Result<(), Softened> {
        let Some(requirement) = requirement(followed) else { return Ok(()) };
        // Labels of far nodes outlast their primary, and keeping away from them leaves the rest: no need to ask whether the
        // primary is known.
        if followed.mode == AffinityMode::Required {
            match known.primary {
                PrimaryBelief::Known => {}
                PrimaryBelief::Unknown | PrimaryBelief::Refused => return Err(Softened::PrimaryUnknown),
                PrimaryBelief::Split => return Err(Softened::SplitBrain),
                PrimaryBelief::Frozen => return Err(Softened::Frozen),
            }
            if known.fresh_until <= now {
                return Err(Softened::Stale);
            }
        }
        let bytes = self.bytes + requirement.bytes_in(self.spec);
        if bytes > patch::MOST_REQUIRED {
            return Err(Softened::TooManyRules);
        }
        if !self.leaves_a_node(known.nodes.left_by(followed.mode))? {
            return Err(Softened::NoNodeForPod);
        }
        self.bytes = bytes;
        self.required.push(requirement);
        Ok(())
    }

    /// Whether one of the nodes could take the pod with what is required until now.
    fn leaves_a_node<'n>(&mut self, nodes: impl Iterator<Item = &'n Node>) -> Result<bool, Softened> {
        let mut any = false;
        for node in nodes {
            any = true;
            let admitted = self.required.iter().all(|own| own.admits(node));
            let allowed = self.looks.charge(1 + self.required.len()).and_then(|()| self.looks.allow(node));
            match allowed {
                Ok(allowed) if admitted && allowed => return Ok(true),
                Ok(_) => {}
                Err(Spent) => return Err(Softened::TooManyRules),
            }
        }
        if any { Ok(false) } else { Err(Softened::NoNode) }
    }
}

#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub mod laws;
