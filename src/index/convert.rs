//! Kubernetes' objects → lean facts. Nothing of the big objects outlives this file.

mod owners;
mod pod;
mod requests;
mod workloads;

use k8s_openapi::{
    api::{core::v1 as kube, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
    },
};

pub(super) use self::owners::{rollout, scale};
pub(super) use self::pod::MARKS;
pub use self::pod::pod;
pub(super) use self::workloads::replica_set;
pub use self::workloads::{deployment, stateful_set};
use super::quantity;
use crate::{
    api::{keys, read},
    core::{
        orders::Place,
        quota::{Quota, Scope},
        selector::{Expression, Operator, Selector},
        workload::{DisruptionBudget, Namespace, Node, Owner, Resources},
    },
};

/// The facts of a namespace.
#[must_use]
pub(super) fn namespace(meta: &ObjectMeta) -> Namespace {
    Namespace {
        name: meta.name.clone().unwrap_or_default(),
        opt_in: read::opt_in(meta).map(str::to_owned),
        wishes: read::annotations(meta).into(),
        labels: meta.labels.clone().unwrap_or_default(),
        orders: read::orders(Place::Namespace, meta, None),
        terminating: meta.deletion_timestamp.is_some(),
    }
}

/// The facts of a node.
#[must_use]
pub fn node(node: kube::Node) -> Node {
    let ready = read::node_ready(&node);
    let spec = node.spec.unwrap_or_default();
    let status = node.status.unwrap_or_default();
    let allocatable = status.allocatable.unwrap_or_default();
    let annotations = node.metadata.annotations.unwrap_or_default();
    Node {
        name: node.metadata.name.unwrap_or_default(),
        uid: node.metadata.uid.unwrap_or_default(),
        labels: node.metadata.labels.unwrap_or_default(),
        managed: annotations.get(keys::MANAGE).is_none_or(|value| value != "false"),
        ready,
        unschedulable: spec.unschedulable.unwrap_or(false),
        taints: read::taints(spec.taints.unwrap_or_default()).collect(),
        pods: allocatable.get("pods").and_then(quantity::units).unwrap_or(0),
        allocatable: resources(&allocatable),
    }
}

type Quantities = std::collections::BTreeMap<String, Quantity>;

fn resources(list: &Quantities) -> Resources {
    let mut resources = Resources::default();
    for (name, amount) in list {
        match name.as_str() {
            "cpu" => resources.cpu_m = quantity::milli(amount).unwrap_or(0),
            "memory" => resources.memory_bytes = quantity::units(amount).unwrap_or(0),
            "pods" => {}
            other => {
                resources.other.insert(other.to_owned(), quantity::units(amount).unwrap_or(0));
            }
        }
    }
    resources
}

fn controller(meta: &ObjectMeta) -> Option<Owner> {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| Owner {
        api: owner.api_version.clone(),
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    })
}

/// An operator that we don't know becomes one that never matches: we then foresee no room, and move nothing.
fn expression(key: String, operator: &str, values: Option<Vec<String>>) -> Expression {
    match Operator::parse(operator) {
        Some(operator) => Expression { key, operator, values: values.unwrap_or_default() },
        None => Expression { key, operator: Operator::In, values: Vec::new() },
    }
}

/// As Kubernetes means it: an absent selector selects nothing, an empty one everything.
pub fn selector(selector: Option<LabelSelector>) -> Selector {
    let Some(selector) = selector else {
        return Selector { expressions: vec![expression(String::new(), "In", None)] };
    };
    let labels = selector.match_labels.unwrap_or_default().into_iter();
    let labels = labels.map(|(key, value)| expression(key, "In", Some(vec![value])));
    let expressions = selector.match_expressions.unwrap_or_default().into_iter();
    let expressions = expressions.map(|r| expression(r.key, &r.operator, r.values));
    Selector { expressions: labels.chain(expressions).collect() }
}

pub(super) fn budget(budget: PodDisruptionBudget) -> DisruptionBudget {
    let spec = budget.spec.unwrap_or_default();
    let status = budget.status.unwrap_or_default();
    // A status about an older spec says nothing; until it is renewed, nothing is allowed.
    let observed = status.observed_generation >= budget.metadata.generation;
    let count = |number: i32| u32::try_from(number).unwrap_or(0);
    DisruptionBudget {
        namespace: budget.metadata.namespace.unwrap_or_default(),
        name: budget.metadata.name.unwrap_or_default(),
        selector: selector(spec.selector),
        allowed: if observed { count(status.disruptions_allowed) } else { 0 },
        healthy: if observed { count(status.current_healthy) } else { 0 },
        desired_healthy: count(status.desired_healthy),
        lets_unready_go: spec.unhealthy_pod_eviction_policy.as_deref() == Some("AlwaysAllow"),
        disrupted: status.disrupted_pods.unwrap_or_default().into_keys().collect(),
        version: budget.metadata.resource_version.unwrap_or_default(),
    }
}

pub(super) fn quota(quota: kube::ResourceQuota) -> Quota {
    let (spec, status) = (quota.spec.unwrap_or_default(), quota.status.unwrap_or_default());
    let (hard, used) = (status.hard.unwrap_or_default(), status.used.unwrap_or_default());
    let by_name = spec.scopes.into_iter().flatten().map(|name| scope(&name, "Exists", None));
    let selected = spec.scope_selector.and_then(|selector| selector.match_expressions).into_iter().flatten();
    let selected = selected.map(|it| scope(&it.scope_name, &it.operator, it.values));
    let of_used = |name: &String| used.get(name).and_then(|amount| counted(name, amount)).unwrap_or(0);
    let left =
        |(name, hard): (&String, &Quantity)| Some((name.clone(), counted(name, hard)?.saturating_sub(of_used(name))));
    Quota {
        scopes: by_name.chain(selected).collect(),
        left: hard.iter().filter_map(left).collect(),
        unused: hard.keys().all(|name| of_used(name) == 0),
        namespace: quota.metadata.namespace.unwrap_or_default(),
        name: quota.metadata.name.unwrap_or_default(),
    }
}

/// An amount of what a quota calls `name`: CPUs in thousandths.
fn counted(name: &str, amount: &Quantity) -> Option<u64> {
    let cpus = ["requests.", "limits."].iter().find_map(|of| name.strip_prefix(of)).unwrap_or(name) == "cpu";
    if cpus { quantity::milli(amount) } else { quantity::units(amount) }
}

fn scope(name: &str, operator: &str, values: Option<Vec<String>>) -> Scope {
    match name {
        "BestEffort" => Scope::BestEffort(true),
        "NotBestEffort" => Scope::BestEffort(false),
        "Terminating" => Scope::Ending(true),
        "NotTerminating" => Scope::Ending(false),
        "PriorityClass" => Scope::PriorityClass(expression(String::new(), operator, values)),
        _ => Scope::Other,
    }
}

#[cfg(test)]
mod tests;
