//! What admission injects into one pod, or why nothing.
//!
//! Webhook, controller and the command line ask the same function, so that they can't disagree. docs/affinity.md tells
//! people the same.

pub mod patch;
pub mod pod;
pub mod rules;

use std::{fmt, sync::Arc, time::Instant};

use serde::Serialize;
use strum::{IntoStaticStr, VariantNames};

pub use self::{patch::Operation, pod::Pod, rules::Node};
use self::{
    patch::{Expression, additions, preferences, record},
    pod::Spec,
};
use crate::core::{
    distance::tier::Tier,
    follow::{AffinityMode, Annotations, DatabaseDefaults, Follow, FollowedDatabase, Mistake, NotFollowing},
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
                "another scheduler places the pod: write the pod annotation switchover.dev/follow to opt it in"
            }
            Self::NotFollowing(reason) => return reason.fmt(f),
            Self::AlreadyInjected => "the affinity was injected before",
            Self::AlreadyRight => "the pod's own affinity says the same already",
            Self::NoSpec => "the pod has no spec",
        })
    }
}

/// Why a hard mode became `preferred` for one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Softened {
    PrimaryUnknown,
    SplitBrain,
    Frozen,
    Stale,
    /// No node that could take a pod is near enough.
    NoNode,
    /// There are such nodes, but none that the pod's own rules (or another database that it follows) leave.
    NoNodeForPod,
}

/// Something to tell the pod's creator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    Mistake(Mistake),
    Softened { database: Arc<str>, asked: AffinityMode, why: Softened },
}

impl Warning {
    /// One word, for a metric's label.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Mistake(_) => "mistake",
            Self::Softened { why, .. } => match why {
                Softened::PrimaryUnknown => "primary_unknown",
                Softened::SplitBrain => "split_brain",
                Softened::Frozen => "frozen",
                Softened::Stale => "stale",
                Softened::NoNode => "no_node",
                Softened::NoNodeForPod => "no_node_for_pod",
            },
        }
    }
}

impl fmt::Display for Warning {
    /// One sentence of at most 120 characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (database, asked, why) = match self {
            Self::Mistake(mistake) => return mistake.fmt(f),
            Self::Softened { database, asked, why } => (database, asked, why),
        };
        let nodes = if *asked == AffinityMode::Required { "closely node" } else { "node but far ones" };
        let (shown, more) = database.char_indices().nth(24).map_or((&**database, ""), |(at, _)| (&database[..at], "…"));
        write!(f, "database {shown}{more}: {} became preferred: ", asked.as_str())?;
        match why {
            Softened::PrimaryUnknown => f.write_str("its primary is unknown"),
            Softened::SplitBrain => f.write_str("it has more than one primary"),
            Softened::Frozen => f.write_str("its primary is not certain now"),
            Softened::Stale => f.write_str("what is known of it is too old"),
            Softened::NoNode => write!(f, "no {nodes} is usable"),
            Softened::NoNodeForPod => write!(f, "the pod's rules leave no {nodes}"),
        }
    }
}

/// What to do with a pod that is being created. `namespace` is `None` when its namespace did not opt in.
#[must_use]
pub fn decide<'v>(
    pod: &Pod<'_>,
    namespace: Option<&Namespace>,
    database: impl Fn(&str) -> Option<&'v Database>,
    now: Instant,
) -> Decision {
    let skip = |reason, warnings| Decision { verdict: Verdict::Skip(reason), warnings };
    let Some(spec) = &pod.spec else { return skip(SkipReason::NoSpec, Vec::new()) };
    let Some(namespace) = namespace else {
        return skip(SkipReason::NotFollowing(NotFollowing::NotOptedIn), Vec::new());
    };
    if let Some(reason) = never_follows(pod, spec) {
        return skip(reason, Vec::new());
    }

    let lookup = |name: &str| database(name).map(|database| &database.defaults);
    let follow = Follow::resolve(namespace.label.as_deref(), &namespace.says(), &pod.says(), lookup);
    let mut warnings: Vec<Warning> = follow.mistakes.into_iter().map(Warning::Mistake).collect();
    let databases = match follow.databases {
        Ok(databases) => databases,
        Err(reason) => return skip(SkipReason::NotFollowing(reason), warnings),
    };

    let mut wishes = Wishes::default();
    for followed in &databases {
        // `resolve` has just found it by the same lookup.
        let Some(known) = database(&followed.name) else { continue };
        warnings.extend(wishes.add(spec, followed, known, now));
    }
    let mut operations = additions(spec, &wishes.required, wishes.preferred);
    if operations.is_empty() {
        let injected = pod.annotations().is_some_and(|annotations| annotations.injected.is_some());
        let reason = if injected { SkipReason::AlreadyInjected } else { SkipReason::AlreadyRight };
        return skip(reason, warnings);
    }
    let summary = serde_json::to_string(&wishes.records).unwrap_or_default();
    operations.push(record(pod.metadata.as_ref(), summary.clone()));
    Decision { verdict: Verdict::Inject(Injection { operations, summary }), warnings }
}

/// Pods that are bound to a node, or that nobody could bring nearer.
fn never_follows(pod: &Pod<'_>, spec: &Spec<'_>) -> Option<SkipReason> {
    let set = |text: &Option<pod::Text<'_>>| text.as_ref().is_some_and(|text| !text.is_empty());
    if pod.owners().iter().any(|owner| &*owner.kind == "DaemonSet") {
        Some(SkipReason::DaemonSet)
    } else if pod.annotations().is_some_and(|annotations| annotations.mirror.is_some()) {
        Some(SkipReason::Mirror)
    } else if set(&spec.node_name) {
        Some(SkipReason::NodeNameSet)
    } else if spec.os.as_ref().is_some_and(|os| &*os.name == "windows") {
        Some(SkipReason::Windows)
    } else if spec.scheduler_name.as_ref().is_some_and(|name| !name.is_empty() && &**name != "default-scheduler")
        && pod.says().follow.is_none()
    {
        // A scheduler that ignores node affinity would place the pod where the kubelet then refuses it.
        Some(SkipReason::OtherScheduler)
    } else {
        None
    }
}

/// What the databases that a pod follows ask of its node, together.
#[derive(Default)]
struct Wishes<'f> {
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

impl<'f> Wishes<'f> {
    fn add(
        &mut self,
        spec: &Spec<'_>,
        followed: &'f FollowedDatabase,
        known: &Database,
        now: Instant,
    ) -> Option<Warning> {
        // Two databases can't share a node label; if two do, the controller refuses one, and the first counts here.
        if self.node_labels.contains(&&*followed.node_label) {
            return None;
        }
        self.node_labels.push(&followed.node_label);

        let asked = followed.mode;
        let softened = self.harden(spec, followed, known, now).err();
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
    fn harden(
        &mut self,
        spec: &Spec<'_>,
        followed: &FollowedDatabase,
        known: &Database,
        now: Instant,
    ) -> Result<(), Softened> {
        let requirement = match followed.mode {
            AffinityMode::Preferred => return Ok(()),
            // Labels of far nodes outlast their primary, and keeping away from them leaves the rest: no need to ask
            // whether the primary is known.
            AffinityMode::AvoidFar => Expression::not_far(&followed.node_label),
            AffinityMode::Required => {
                match known.primary {
                    PrimaryBelief::Known => {}
                    PrimaryBelief::Unknown => return Err(Softened::PrimaryUnknown),
                    PrimaryBelief::Split => return Err(Softened::SplitBrain),
                    PrimaryBelief::Frozen => return Err(Softened::Frozen),
                }
                if known.fresh_until <= now {
                    return Err(Softened::Stale);
                }
                Expression::closely(&followed.node_label)
            }
        };
        let mut left = known.nodes.left_by(followed.mode).peekable();
        if left.peek().is_none() {
            return Err(Softened::NoNode);
        }
        let free = self.required.is_empty() && !rules::are_there(spec);
        if free || left.any(|node| self.required.iter().all(|own| own.admits(node)) && rules::allow(spec, node)) {
            self.required.push(requirement);
            Ok(())
        } else {
            Err(Softened::NoNodeForPod)
        }
    }
}

#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub mod laws;
