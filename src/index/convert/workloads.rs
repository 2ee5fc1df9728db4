//! Deployments, ReplicaSets and StatefulSets: how many pods they want, and how they replace them.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentStrategy, ReplicaSet, StatefulSet, StatefulSetSpec, StatefulSetStatus},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{controller, pod::unforeseen_of_template, requests};
use crate::{
    api::{keys, read},
    core::{
        orders::Place,
        words::plain,
        workload::{Strategy, Workload},
    },
};

fn workload(kind: &str, meta: ObjectMeta, desired: Option<i32>, template: Option<&PodTemplateSpec>) -> Workload {
    let template_meta = template.and_then(|it| it.metadata.as_ref());
    let annotations = template_meta.and_then(|it| it.annotations.as_ref());
    let owner = controller(&meta);
    // A Deployment's annotations are copied to its ReplicaSets, and may stay there longer.
    let copies = kind == "ReplicaSet" && owner.is_some();
    let orders = if copies { None } else { read::orders(Place::Workload(kind), &meta, template_meta) };
    Workload {
        kind: kind.into(),
        owner,
        orders,
        namespace: meta.namespace.unwrap_or_default(),
        name: meta.name.unwrap_or_default(),
        uid: meta.uid.unwrap_or_default(),
        desired: desired.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or(1),
        restarted_for: annotations.and_then(|annotations| annotations.get(keys::RESTARTED_FOR).cloned()),
        requests: template.and_then(|it| it.spec.as_ref()).map(requests::asked).unwrap_or_default(),
        unforeseen: template.and_then(|it| it.spec.as_ref()).and_then(unforeseen_of_template),
        ..Workload::default()
    }
}

pub(in crate::index) fn replica_set(set: ReplicaSet) -> Workload {
    let (spec, status) = (set.spec.unwrap_or_default(), set.status.unwrap_or_default());
    let refused =
        status.conditions.into_iter().flatten().find(|it| {
            it.type_ == "ReplicaFailure" && it.status == "True" && it.reason.as_deref() == Some("FailedCreate")
        });
    Workload {
        available: available(spec.min_ready_seconds, status.available_replicas),
        refused: refused.map(|it| it.message.unwrap_or_default().chars().take(400).map(plain).collect()),
        ..workload("ReplicaSet", set.metadata, spec.replicas, spec.template.as_ref())
    }
}

/// A StatefulSet, as what the decisions need of it.
#[must_use]
pub fn stateful_set(set: StatefulSet) -> Workload {
    let (spec, status) = (set.spec.unwrap_or_default(), set.status.unwrap_or_default());
    let desired = count(spec.replicas).unwrap_or(1);
    let strategy = ordered(&spec, desired);
    Workload {
        rolling: status.observed_generation < set.metadata.generation || replaces(strategy, desired, &status),
        available: available(spec.min_ready_seconds, status.available_replicas),
        strategy,
        revision: status.update_revision,
        ..workload("StatefulSet", set.metadata, spec.replicas, Some(&spec.template))
    }
}

/// A Deployment, as what the decisions need of it.
#[must_use]
pub fn deployment(deployment: Deployment) -> Workload {
    let (spec, status) = (deployment.spec.unwrap_or_default(), deployment.status.unwrap_or_default());
    Workload {
        strategy: rolling(spec.strategy.unwrap_or_default(), count(spec.replicas).unwrap_or(1)),
        paused: spec.paused.unwrap_or(false),
        rolling: status.observed_generation < deployment.metadata.generation,
        ..workload("Deployment", deployment.metadata, spec.replicas, Some(&spec.template))
    }
}

fn count(number: Option<i32>) -> Option<u32> {
    u32::try_from(number?).ok()
}

/// Absent, the number of available pods is none.
fn available(min_ready_s: Option<i32>, available: Option<i32>) -> Option<u32> {
    min_ready_s.filter(|seconds| *seconds > 0).map(|_| count(available).unwrap_or(0))
}

/// As the Deployment's controller reckons (`ResolveFenceposts`): a share of the replicas becomes more pods than it says where pods are
/// added, and fewer where they go; one of both is more than none.
pub(super) fn rolling(strategy: DeploymentStrategy, desired: u32) -> Strategy {
    if strategy.type_.as_deref() == Some("Recreate") {
        return Strategy::Recreate;
    }
    let rules = strategy.rolling_update.unwrap_or_default();
    let quarter = || IntOrString::String("25%".to_owned());
    let surge = resolved(&rules.max_surge.unwrap_or_else(quarter), desired, u64::div_ceil);
    let unavailable = resolved(&rules.max_unavailable.unwrap_or_else(quarter), desired, |all, parts| all / parts);
    let unavailable = if surge == 0 { unavailable.max(1) } else { unavailable };
    Strategy::Rolling { surge, unavailable }
}

fn ordered(spec: &StatefulSetSpec, desired: u32) -> Strategy {
    let strategy = spec.update_strategy.clone().unwrap_or_default();
    if strategy.type_.as_deref() == Some("OnDelete") {
        return Strategy::OnDelete;
    }
    let rules = strategy.rolling_update.unwrap_or_default();
    let unavailable = rules.max_unavailable.map_or(1, |most| resolved(&most, desired, u64::div_ceil).max(1));
    Strategy::Ordered { unavailable, partition: count(rules.partition).unwrap_or(0) }
}

/// Whether a StatefulSet's controller has pods left to replace: `currentRevision` becomes `updateRevision` when all are new, and pods
/// before the partition never are.
fn replaces(strategy: Strategy, desired: u32, status: &StatefulSetStatus) -> bool {
    let Strategy::Ordered { partition, .. } = strategy else { return false };
    let updated = count(status.updated_replicas).unwrap_or(0);
    status.current_revision != status.update_revision && updated < desired.saturating_sub(partition)
}

/// A number as it is, or a share of all.
fn resolved(number: &IntOrString, all: u32, rounded: impl Fn(u64, u64) -> u64) -> u32 {
    match number {
        IntOrString::Int(number) => u32::try_from(*number).unwrap_or(0),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|percent| percent.parse::<u32>().ok()).unwrap_or(0);
            u32::try_from(rounded(u64::from(all) * u64::from(percent), 100)).unwrap_or(u32::MAX)
        }
    }
}

#[cfg(test)]
mod tests;
