//! Owners that nobody watches: how many pods they want, and how a Rollout replaces them.

use k8s_openapi::{
    api::{
        apps::v1::{DeploymentStrategy, RollingUpdateDeployment},
        autoscaling::v1::Scale,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::core::DynamicObject;
use serde::Deserialize;

use super::workloads::rolling;
use crate::{
    api::{keys, read},
    core::{
        orders::Place,
        workload::{Owner, Strategy, Workload},
    },
};

/// What the `scale` subresource of a pod's owner says, unless it is of another object that bears the name by now.
#[must_use]
pub(in crate::index) fn scale(owner: &Owner, scale: Scale) -> Option<Workload> {
    let meta = scale.metadata;
    (meta.uid.as_ref() == Some(&owner.uid)).then(|| Workload {
        kind: owner.kind.clone(),
        namespace: meta.namespace.unwrap_or_default(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        // Absent, as of any number that is none.
        desired: scale.spec.and_then(|spec| u32::try_from(spec.replicas?).ok()).unwrap_or(0),
        scaled: true,
        ..Workload::default()
    })
}

/// The part of a Rollout (argoproj.io/v1alpha1) that is read.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rollout {
    spec: RolloutSpec,
    status: RolloutStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RolloutSpec {
    replicas: Option<u32>,
    paused: bool,
    restart_at: Option<jiff::Timestamp>,
    strategy: RolloutStrategy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RolloutStrategy {
    canary: Option<Canary>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Canary {
    max_surge: Option<IntOrString>,
    max_unavailable: Option<IntOrString>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RolloutStatus {
    /// The generation, as text.
    observed_generation: Option<String>,
    restarted_at: Option<jiff::Timestamp>,
}

/// What a Rollout says, unless it is another object that bears the name by now, or one that can't be read.
#[must_use]
pub(in crate::index) fn rollout(owner: &Owner, object: DynamicObject) -> Option<Workload> {
    let DynamicObject { metadata: meta, data, .. } = object;
    if meta.uid.as_ref() != Some(&owner.uid) {
        return None;
    }
    let Rollout { spec, status } = serde_json::from_value(data).ok()?;
    let desired = spec.replicas.unwrap_or(1);
    let observed = status.observed_generation.and_then(|text| text.parse::<i64>().ok());
    let mark = meta.annotations.as_ref().and_then(|annotations| annotations.get(keys::RESTARTED_FOR));
    Some(Workload {
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
        desired,
        paused: spec.paused,
        strategy: restarting(spec.strategy.canary, desired),
        rolling: observed < meta.generation || spec.restart_at.is_some() && spec.restart_at != status.restarted_at,
        restart_at: spec.restart_at,
        restarted_for: mark.cloned(),
        orders: read::orders(Place::Workload("Rollout"), &meta, None),
        namespace: meta.namespace.unwrap_or_default(),
        ..Workload::default()
    })
}

/// How a Rollout's controller restarts pods: it evicts as many at once as may be unavailable, and at least one. That it never makes new
/// ones first is what a StatefulSet does, too. With blueGreen none may be unavailable.
fn restarting(canary: Option<Canary>, desired: u32) -> Strategy {
    let unavailable = canary.map_or(0, |canary| {
        let rules = RollingUpdateDeployment { max_surge: canary.max_surge, max_unavailable: canary.max_unavailable };
        match rolling(DeploymentStrategy { rolling_update: Some(rules), ..DeploymentStrategy::default() }, desired) {
            Strategy::Rolling { unavailable, .. } => unavailable,
            _ => 0,
        }
    });
    Strategy::Ordered { unavailable: unavailable.max(1), partition: 0 }
}

#[cfg(test)]
mod tests;
