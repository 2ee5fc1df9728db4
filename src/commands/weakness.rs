//! What a workload isn't ready for: being moved, drained or rolled out without an outage.
//!
//! Found in its pod template and in what Kubernetes knows of it, before anything happens. Pure: `explain` tells it of one workload, and
//! whoever looks at many asks the same function.

use std::fmt;

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::Value;
use strum::IntoStaticStr;

use crate::core::workload::Strategy;

/// Kinds whose pods serve nobody, or go with their nodes: nothing of this is about them.
const OTHER_KINDS: [&str; 5] = ["CronJob", "DaemonSet", "Job", "Node", "Pod"];

/// A workload, as far as it matters here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serving<'a> {
    pub kind: &'a str,
    /// `spec.replicas`; `None` where nobody knows.
    pub replicas: Option<u32>,
    pub strategy: Strategy,
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
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
pub enum Weakness {
    NoReadinessProbe,
    NoPreStop,
    /// `surges`: its own rolling update makes the new pod before it ends the old one.
    OneReplica {
        surges: bool,
    },
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
    }
    let surges = matches!(of.strategy, Strategy::Rolling { surge: 1.., unavailable: 0 });
    found.extend((of.replicas == Some(1)).then_some(Weakness::OneReplica { surges }));
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

/// Whether a container, or an init container that goes on running beside them, says this.
fn has(pod: &Value, path: &[&str]) -> bool {
    let all = |key: &str| pod[key].as_array().into_iter().flatten();
    let sidecars = all("initContainers").filter(|container| container["restartPolicy"] == "Always");
    let says = |container: &Value| !path.iter().fold(container, |at, key| &at[*key]).is_null();
    all("containers").chain(sidecars).any(says)
}

impl Weakness {
    /// In one CamelCase word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
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
        let mut told = serializer.serialize_struct("Weakness", 3)?;
        told.serialize_field("reason", self.name())?;
        told.serialize_field("message", &self.to_string())?;
        told.serialize_field("advice", &self.advice())?;
        told.end()
    }
}

#[cfg(test)]
mod tests;
