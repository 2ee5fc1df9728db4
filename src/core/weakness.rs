//! What a workload isn't ready for: being moved, drained or rolled out without an outage.
//!
//! Found in its pod template and in what Kubernetes knows of it, before anything happens. `explain` tells it of one workload, `check` of
//! all that follow. docs/zero-downtime.md says why each matters.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::Value;
use strum::{IntoStaticStr, VariantNames};

use super::workload::Strategy;

/// Kinds whose pods serve nobody, or go with their nodes: nothing of this is about them.
const OTHER_KINDS: [&str; 5] = ["CronJob", "DaemonSet", "Job", "Node", "Pod"];
/// `terminationGracePeriodSeconds` of a pod that doesn't say.
const GRACE_S: u64 = 30;

/// A workload, as far as it matters here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serving<'a> {
    pub kind: &'a str,
    /// `spec.replicas`; `None` where nobody knows.
    pub replicas: Option<u32>,
    pub strategy: Strategy,
    /// `spec.minReadySeconds`; `None` where nobody knows.
    pub min_ready_s: Option<u32>,
    /// The `spec` of its pod template; `None` if it can't be read.
    pub pod: Option<&'a Value>,
    /// The disruption budgets that cover its pods.
    pub budgets: &'a [Budget],
}

/// A disruption budget that covers its pods.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    pub name: String,
    /// How many pods it covers, of whatever workload, when all are there.
    pub covers: u32,
    /// How many of them it wants healthy (`status.desiredHealthy`).
    pub wants: u32,
}

/// One thing that it lacks.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
pub enum Weakness {
    NoReadinessProbe,
    NoPreStop,
    /// Its preStop hook takes as long as the pod has in all.
    GraceTooShort {
        pre_stop_s: u64,
        grace_s: u64,
    },
    /// `surges`: its own rolling update makes the new pod before it ends the old one.
    OneReplica {
        surges: bool,
    },
    /// Of one replica that surges: the old pod goes the moment the new one is Ready.
    NoMinReadySeconds,
    Recreate,
    NoBudget,
    BudgetNeverAllows(Budget),
    SeveralBudgets(Vec<String>),
}

/// Everything that it lacks, in the order in which it is best mended.
#[must_use]
pub fn weaknesses(of: &Serving<'_>) -> Vec<Weakness> {
    if OTHER_KINDS.contains(&of.kind) || of.replicas == Some(0) {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Some(pod) = of.pod {
        found.extend((!has(pod, &["readinessProbe"])).then_some(Weakness::NoReadinessProbe));
        found.extend((!has(pod, &["lifecycle", "preStop"])).then_some(Weakness::NoPreStop));
        let grace_s = pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(GRACE_S);
        let longest = serving(pod).filter_map(pre_stop_s).max().filter(|pre_stop_s| *pre_stop_s >= grace_s);
        found.extend(longest.map(|pre_stop_s| Weakness::GraceTooShort { pre_stop_s, grace_s }));
    }
    let surges = matches!(of.strategy, Strategy::Rolling { surge: 1.., unavailable: 0 });
    found.extend((of.replicas == Some(1)).then_some(Weakness::OneReplica { surges }));
    found
        .extend((surges && of.replicas == Some(1) && of.min_ready_s == Some(0)).then_some(Weakness::NoMinReadySeconds));
    found.extend((of.strategy == Strategy::Recreate).then_some(Weakness::Recreate));
    match of.budgets {
        [] => found.push(Weakness::NoBudget),
        [only] => {
            let covers = only.covers.max(of.replicas.unwrap_or(0));
            let never = only.wants > 0 && covers <= only.wants;
            found.extend(never.then(|| Weakness::BudgetNeverAllows(Budget { covers, ..only.clone() })));
        }
        several => {
            let mut names: Vec<String> = several.iter().map(|budget| budget.name.clone()).collect();
            names.sort();
            found.push(Weakness::SeveralBudgets(names));
        }
    }
    found
}

/// Its containers, and the init containers that go on running beside them.
fn serving(pod: &Value) -> impl Iterator<Item = &Value> {
    let all = |key: &str| pod[key].as_array().into_iter().flatten();
    let sidecars = all("initContainers").filter(|container| container["restartPolicy"] == "Always");
    all("containers").chain(sidecars)
}

/// Whether one of them says this.
fn has(pod: &Value, path: &[&str]) -> bool {
    serving(pod).any(|container| !path.iter().fold(container, |at, key| &at[*key]).is_null())
}

/// For how many seconds its preStop hook sleeps, as far as that can be read: `sleep`, or a command that calls `sleep`.
fn pre_stop_s(container: &Value) -> Option<u64> {
    let hook = &container["lifecycle"]["preStop"];
    let says = hook["sleep"]["seconds"].as_u64();
    says.or_else(|| slept_s(hook["exec"]["command"].as_array()?))
}

/// `["sh", "-c", "sleep 10; nginx -s quit"]`: 10.
fn slept_s(command: &[Value]) -> Option<u64> {
    let words = command.iter().filter_map(Value::as_str).flat_map(|part| part.split([' ', ';', '&', '\n']));
    let mut words =
        words.filter(|word| !word.is_empty()).skip_while(|word| *word != "sleep" && !word.ends_with("/sleep"));
    words.nth(1)?.trim_end_matches('s').parse().ok()
}

impl Weakness {
    /// In one CamelCase word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// The page that says why it matters, from the root of the repository.
    #[must_use]
    pub const fn doc(&self) -> &'static str {
        match self {
            Self::NoReadinessProbe => "docs/zero-downtime.md#readiness",
            Self::NoPreStop => "docs/zero-downtime.md#prestop",
            Self::GraceTooShort { .. } => "docs/zero-downtime.md#grace",
            Self::OneReplica { .. } => "docs/zero-downtime.md#replicas",
            Self::NoMinReadySeconds => "docs/zero-downtime.md#minreadyseconds",
            Self::Recreate => "docs/zero-downtime.md#strategy",
            Self::NoBudget | Self::BudgetNeverAllows(_) | Self::SeveralBudgets(_) => "docs/zero-downtime.md#budgets",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::NoReadinessProbe => {
                "write a readinessProbe that holds when the pod answers requests, its database included".to_owned()
            }
            Self::NoPreStop => "write lifecycle.preStop.sleep of a few seconds (Kubernetes 1.30), shorter than \
                                terminationGracePeriodSeconds, unless the program itself goes on serving for a while after SIGTERM"
                .to_owned(),
            Self::GraceTooShort { pre_stop_s, .. } => format!(
                "write terminationGracePeriodSeconds: {pre_stop_s} and as many more as the program takes to finish its requests"
            ),
            Self::NoMinReadySeconds => "write minReadySeconds: 10, or as long as a program takes that fails at once".to_owned(),
            Self::OneReplica { surges: true } => {
                "write replicas: 2 or more to be safe from the loss of a node, too".to_owned()
            }
            Self::OneReplica { surges: false } => {
                "write replicas: 2 or more; of a Deployment that can't have them, strategy.rollingUpdate with maxSurge: 1 and \
                 maxUnavailable: 0"
                    .to_owned()
            }
            Self::Recreate => "write strategy.type: RollingUpdate, unless two versions may never run together".to_owned(),
            Self::NoBudget => "write a PodDisruptionBudget with maxUnavailable: 1 for its pods".to_owned(),
            Self::BudgetNeverAllows(budget) => {
                format!("write maxUnavailable: 1 in {}, or more replicas than it wants healthy", budget.name)
            }
            Self::SeveralBudgets(_) => "leave one of them that covers its pods".to_owned(),
        }
    }
}

/// What is the case, in one sentence.
impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoReadinessProbe => f.write_str(
                "no container has a readiness probe: a new pod counts, and gets requests, as soon as its processes have started",
            ),
            Self::NoPreStop => f.write_str(
                "no container has a preStop hook: a pod that is ended still gets requests for a moment, from whoever hasn't heard of it",
            ),
            Self::GraceTooShort { pre_stop_s, grace_s } => write!(
                f,
                "its preStop hook takes {pre_stop_s} s of the {grace_s} s in all that the pod has to end: the program is killed in the \
                 middle of its requests, before it is asked to end"
            ),
            Self::NoMinReadySeconds => f.write_str(
                "it has no minReadySeconds: its only pod is ended the moment the new one is Ready, which may fail a second later",
            ),
            Self::OneReplica { surges: true } => f.write_str(
                "it has one replica: a rolling update brings the new pod first, but nothing serves while its node is drained or lost",
            ),
            Self::OneReplica { surges: false } => {
                f.write_str("it has one replica: nothing serves while that is moved, drained or lost")
            }
            Self::Recreate => {
                f.write_str("its strategy is Recreate: each rollout ends every pod before the first new one starts")
            }
            Self::NoBudget => f.write_str(
                "no disruption budget covers its pods: switchover moves one at a time, but drains of nodes may end all of them at once",
            ),
            Self::BudgetNeverAllows(Budget { name, covers, wants }) => write!(
                f,
                "its disruption budget {name} wants {wants} of {covers} pods healthy, and never allows an eviction: nothing moves \
                 them, and no drain ends"
            ),
            Self::SeveralBudgets(names) => write!(
                f,
                "more than one disruption budget covers its pods ({}), so Kubernetes refuses every eviction",
                names.join(", ")
            ),
        }
    }
}

impl Serialize for Weakness {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut told = serializer.serialize_struct("Weakness", 4)?;
        told.serialize_field("reason", self.name())?;
        told.serialize_field("message", &self.to_string())?;
        told.serialize_field("advice", &self.advice())?;
        told.serialize_field("doc", self.doc())?;
        told.end()
    }
}

#[cfg(test)]
mod tests;
