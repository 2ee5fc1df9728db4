//! Why something is not moved. One enum, one wording: events, metrics, status, `plan` and logs all show these.

mod said;

use std::{fmt, time::Duration};

use jiff::Timestamp;
use strum::{IntoStaticStr, VariantNames};

pub use self::said::{Paused, Scope, Would};
use super::{settle::Growth, ways::UnknownWay};

/// Why nothing at all is moved for a database.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
pub enum Gate {
    /// `spec.paused`.
    Paused,
    /// Somebody's annotation, with who and why: for everything, for the database, or for some pods only.
    #[strum(serialize = "PausedByAnnotation")]
    PausedBy(Box<Paused>),
    /// `spec.movement.mode: Off`.
    Off,
    /// The primary is not confirmed; the sentence says what is believed.
    PrimaryNotConfirmed(String),
    /// Two primaries.
    SplitBrain(String),
    /// The database itself says that now is not the time.
    Frozen(String),
    /// The new primary has not held for long enough; how long that is may have grown.
    Settling { until: Timestamp, grown: Option<Growth> },
    /// These nodes may have lost their power with the former primary, and Kubernetes may not know it yet: until then at the latest.
    NodesInDoubt { nodes: String, until: Timestamp },
    /// Not every node has its label yet: there may be nowhere to go, or replacements may be drawn to where it isn't near. Those
    /// among them whose label is refused are named with the reason.
    LabelsPending { nodes: usize, refused: Option<String> },
    /// The picture of the cluster may be old.
    Stale(&'static str),
    /// Too few nodes have a fresh reading.
    TooFewReadings,
    /// So many replacements failed that something else is wrong.
    Halted { failed: usize },
    /// None of `spec.movement.windows` is open.
    OutsideWindow { opens: Option<Timestamp> },
    /// `spec.movement.mode: DryRun`: everything is decided, and nothing is done.
    DryRun(Would),
}

impl Gate {
    /// Every [`Gate::name`].
    pub const NAMES: &'static [&'static str] = Self::VARIANTS;

    /// In one CamelCase word, for metrics and conditions.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => f.write_str("movement is paused by spec.paused"),
            Self::PausedBy(paused) => paused.fmt(f),
            Self::Off => f.write_str("spec.movement.mode is Off: nodes are labelled, and nothing is moved"),
            Self::PrimaryNotConfirmed(why) | Self::SplitBrain(why) | Self::Frozen(why) => f.write_str(why),
            Self::Settling { until, grown: None } => {
                write!(f, "the primary must hold until {until:.0} (spec.movement.settle)")
            }
            Self::Settling { until, grown: Some(grown) } => {
                write!(f, "the primary must hold until {until:.0}: {grown} (spec.movement.settleWindow, settleMax)")
            }
            Self::NodesInDoubt { nodes, until } => write!(
                f,
                "the former primary's host is silent, and so are nodes that may have gone with it, whose pods would still count as \
                 serving: until Kubernetes knows, or {until:.0}: {nodes}"
            ),
            Self::LabelsPending { nodes, refused } => {
                match nodes {
                    0 => f.write_str("not every node has a tier yet")?,
                    1 => f.write_str("one node doesn't have its new label yet")?,
                    _ => write!(f, "{nodes} nodes don't have their new label yet")?,
                }
                let Some(refused) = refused else { return Ok(()) };
                write!(f, "; the API server refuses it to nodes that look nearer than they are: {refused}")
            }
            Self::Stale(what) => write!(f, "the picture of {what} may be old: its watch doesn't work at the moment"),
            Self::TooFewReadings => f.write_str(
                "fewer than half of the labelled nodes have a fresh reading (where no agent runs any more, take the label off)",
            ),
            Self::Halted { failed } => {
                write!(f, "halted: {} in time (spec.movement.replacementTimeout)", not_ready(*failed))
            }
            Self::OutsideWindow { opens: Some(opens) } => {
                write!(f, "no window is open until {opens:.0} (spec.movement.windows)")
            }
            Self::OutsideWindow { opens: None } => f.write_str("no window is open (spec.movement.windows)"),
            Self::DryRun(would) => write!(f, "{would}, but spec.movement.mode is DryRun"),
        }
    }
}

/// Why one pod is not moved (yet).
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
pub enum HeldReason {
    #[strum(transparent)]
    Gate(Gate),
    /// `switchover.dev/move: never`, or the database's default.
    Never,
    /// Nothing would replace it.
    BarePod,
    Job,
    /// Admission leaves it alone, so nothing would draw a replacement nearer.
    NotInjected(String),
    /// A volume ties it to its node, or may do so.
    #[strum(serialize = "PinnedByVolume")]
    Pinned(String),
    /// It isn't serving: moving it would prove nothing.
    NotReady,
    /// Owned by a kind whose number of replicas we don't know.
    UnknownWorkload(String),
    /// `restart` of something that can't be restarted, or not without an outage.
    CannotRestart(String),
    /// Nobody else would serve while it is moved; the sentence says why it can't be restarted either.
    SingleReplica(String),
    /// Its StatefulSet has a newer template, and leaves it to people to end its pods.
    NotRolledOut,
    Rollout,
    #[strum(serialize = "WorkloadNotWhole")]
    NotWhole {
        serving: u32,
        desired: u32,
    },
    /// Another pod of the workload is on the move.
    OneAtATime,
    /// So many pods of the workload are on the move, which is as many as there may be.
    PerWorkload {
        limit: u32,
    },
    /// A newer version moves its workload, by a way that this one doesn't know.
    UnknownWay {
        way: UnknownWay,
        pod: String,
    },
    /// Everything that may be on the move already is; more may be when replacements have shown that it works (`growing`).
    Concurrency {
        limit: u32,
        growing: bool,
    },
    /// So many replacements failed in its namespace that something is wrong there.
    NamespaceHalted {
        failed: usize,
    },
    #[strum(serialize = "NoDisruptionBudget")]
    NoBudget(String),
    /// Its disruption budget allows no further eviction while pods are on the move that it covers, or as long as its status lags behind
    /// them.
    #[strum(serialize = "DisruptionBudgetSpent")]
    BudgetSpent(String),
    #[strum(serialize = "SeveralDisruptionBudgets")]
    SeveralBudgets(String),
    NoRoom(String),
    /// A quota of its namespace has nothing left for a replacement while the pod itself still counts.
    #[strum(serialize = "QuotaExhausted")]
    Quota(String),
    #[strum(serialize = "UselessMoves")]
    Useless {
        moves: u32,
    },
    /// Its workload was restarted for this primary before, so many times.
    #[strum(serialize = "RestartedBefore")]
    Restarted {
        times: u32,
    },
    /// Its node has no fresh reading: how far it is from this primary nobody knows.
    #[strum(serialize = "NodeNotMeasured")]
    NotMeasured,
    /// Its node's tier changed by readings alone, and may change back.
    TierSettling(Duration),
    /// The API server refused the move a moment ago.
    Backoff(String),
    /// Admission missed the workload's last replacement, so that nothing drew it nearer.
    AdmissionMissed,
    /// It missed so many of them, and none is known that it has not missed since.
    NeverInjected {
        times: u32,
    },
    /// Its workload was moved again and again: something else moves it back.
    MovedBack {
        moves: u32,
    },
    /// Its node isn't Ready: it may be gone with it, and Kubernetes replaces it.
    NodeNotReady,
    /// Somebody wrote on it that nobody may evict it.
    DoNotEvict(String),
    /// It has data in an emptyDir that nobody else has.
    LocalData(String),
    /// Somebody wrote something under our domain that nobody understands: what was meant may be that it stays.
    Misread(String),
    /// As many moves of its namespace are under way as there may be.
    PerNamespace {
        limit: u32,
    },
    /// As many moves began within a minute as may.
    PerMinute {
        limit: u32,
    },
    /// Its namespace is being deleted, and takes no new pods.
    NamespaceTerminating,
}

impl HeldReason {
    /// Every [`HeldReason::name`].
    pub fn names() -> impl Iterator<Item = &'static str> {
        let own = Self::VARIANTS.iter().filter(|name| **name != "Gate");
        Gate::NAMES.iter().chain(own).copied()
    }

    /// In one CamelCase word, for metrics and status.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether it passes by itself as the movement goes on: the pod is waiting for its turn rather than left behind.
    #[must_use]
    pub const fn waits(&self) -> bool {
        matches!(
            self,
            // A pause has no end that is known, or a late one.
            Self::Gate(gate) if !matches!(gate, Gate::PausedBy(_))
        ) || matches!(
            self,
            Self::PerNamespace { .. }
                | Self::PerMinute { .. }
                | Self::NotReady
                | Self::Rollout
                | Self::NotWhole { .. }
                | Self::OneAtATime
                | Self::PerWorkload { .. }
                | Self::NamespaceHalted { .. }
                | Self::BudgetSpent(_)
                | Self::UnknownWay { .. }
                | Self::Concurrency { .. }
                | Self::Backoff(_)
                | Self::AdmissionMissed
                | Self::NodeNotReady
                | Self::TierSettling(_)
        )
    }

    /// Whether what it waits for may never come: a rollout can be paused or hang, and a replica fail for ever.
    #[must_use]
    pub const fn may_last(&self) -> bool {
        matches!(self, Self::NotReady | Self::Rollout | Self::NotWhole { .. } | Self::NamespaceHalted { .. })
    }
}

impl fmt::Display for HeldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gate(gate) => gate.fmt(f),
            Self::Never => f.write_str("switchover.dev/move is never for this pod"),
            Self::BarePod => f.write_str("it has no controller, so nothing would replace it"),
            Self::Job => f.write_str("it belongs to a Job, whose work would be lost"),
            Self::NotInjected(why) => write!(f, "{why}, so nothing would draw its replacement nearer"),
            Self::Pinned(volume) => write!(f, "{volume} may tie it to its node"),
            Self::NotReady => f.write_str(
                "it is not Ready where it is, and may still be starting: it is moved when that has lasted for \
                 spec.movement.replacementTimeout",
            ),
            Self::UnknownWorkload(kind) => write!(f, "the number of replicas of a {kind} is not known"),
            Self::CannotRestart(why) => write!(f, "{why}: write switchover.dev/move: evict"),
            Self::SingleReplica(why) => write!(
                f,
                "it is the only replica of its workload, and {why}: to allow the outage, annotate pod or namespace with \
                 switchover.dev/move: evict"
            ),
            Self::NotRolledOut => f.write_str(
                "its replacement would be of a newer template, and updateStrategy OnDelete leaves that to people",
            ),
            Self::Rollout => f.write_str("its workload is being rolled out"),
            Self::NotWhole { serving, desired } => {
                write!(f, "only {serving} of {desired} replicas of its workload are Ready")
            }
            Self::OneAtATime => f.write_str("another pod of its workload is on the move"),
            Self::UnknownWay { way, pod } => write!(
                f,
                "a newer version of switchover began to move its workload by a way that this one doesn't know ({way}): it \
                 is left alone until the pod {pod} has gone and the workload is whole"
            ),
            Self::PerWorkload { limit } => {
                write!(f, "{limit} pods of its workload are on the move already (spec.movement.perWorkload)")
            }
            Self::Concurrency { growing: true, .. } => f.write_str(
                "as many pods are on the move as may be for now, all databases together: more follow as replacements find their places",
            ),
            Self::Concurrency { limit: 1, .. } => {
                f.write_str("another pod is on the move already (spec.movement.maxConcurrent)")
            }
            Self::Concurrency { limit, .. } => {
                write!(f, "{limit} pods are on the move already (spec.movement.maxConcurrent)")
            }
            Self::NamespaceHalted { failed } => write!(
                f,
                "halted in this namespace: {} in time (spec.movement.replacementTimeout)",
                not_ready(*failed)
            ),
            Self::NoBudget(budget) => write!(f, "the disruption budget {budget} allows no eviction now"),
            Self::BudgetSpent(budget) => write!(
                f,
                "the disruption budget {budget} allows no further eviction while pods are on the move that it covers, and until its \
                 status counts them again"
            ),
            Self::SeveralBudgets(budgets) => {
                write!(f, "more than one disruption budget covers it ({budgets}), so Kubernetes refuses to evict it")
            }
            Self::NoRoom(summary) => write!(f, "no closely node takes it: {summary}"),
            Self::Quota(quota) => write!(
                f,
                "the ResourceQuota {quota} leaves no room for its replacement while the pod itself still counts: leave room for one \
                 more pod"
            ),
            Self::Useless { moves } => {
                write!(f, "its workload was moved {} without reaching a better tier", often(*moves))
            }
            Self::Restarted { times } => write!(
                f,
                "its workload was restarted {} for this primary, which brought it no nearer: see whether the webhook is \
                 up, and restart it yourself",
                often(*times)
            ),
            Self::NotMeasured => f.write_str("its node has no fresh reading, so nobody knows how far it is"),
            Self::TierSettling(settle) => {
                write!(f, "the tier of its node must hold for {} s (spec.movement.settle)", settle.as_secs())
            }
            Self::Backoff(why) => write!(f, "the API server refused the move: {why}"),
            Self::AdmissionMissed => f.write_str(
                "its workload's last replacement was created without affinity, so nothing drew it nearer: is the webhook \
                 up? It is tried again after a while",
            ),
            Self::NeverInjected { times } => write!(
                f,
                "its workload's replacements were created without affinity {}, and no pod has been injected since: see that the \
                 webhook is up and the API server calls it, and restart the workload yourself",
                often(*times)
            ),
            Self::MovedBack { moves } => write!(
                f,
                "its workload was moved {} for this primary, and something moves it back (a descheduler, an autoscaler?): it is moved \
                 ever more rarely",
                often(*moves)
            ),
            Self::NodeNotReady => f.write_str("its node is not Ready: Kubernetes replaces it if that lasts"),
            Self::DoNotEvict(mark) => write!(
                f,
                "it is annotated {mark}: to move it all the same, annotate the pod with switchover.dev/move"
            ),
            Self::LocalData(volume) => write!(
                f,
                "its emptyDir {volume} may hold data that nobody else has: to move it all the same, annotate the pod with \
                 switchover.dev/move"
            ),
            Self::Misread(sentence) => f.write_str(sentence),
            Self::PerNamespace { limit } => {
                write!(f, "moves under way in its namespace: {limit}, as many as may be (spec.movement.perNamespace)")
            }
            Self::PerMinute { limit } => {
                write!(f, "moves that began within a minute: {limit}, as many as may (spec.movement.perMinute)")
            }
            Self::NamespaceTerminating => {
                f.write_str("its namespace is being deleted, and takes no pod that would replace it")
            }
        }
    }
}

fn not_ready(replacements: usize) -> String {
    match replacements {
        1 => "a replacement did not become Ready".to_owned(),
        _ => format!("{replacements} replacements did not become Ready"),
    }
}

fn often(times: u32) -> String {
    if times == 1 { "once".to_owned() } else { format!("{times} times") }
}

#[cfg(test)]
mod tests;
