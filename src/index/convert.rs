//! Kubernetes' objects → lean facts. Nothing of the big objects outlives this file.

mod workloads;

use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1 as kube, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

pub(super) use self::workloads::{deployment, replica_set, stateful_set};
use super::quantity;
use crate::{
    api::{keys, read},
    core::{
        schedulers::Schedulers,
        selector::{Expression, NodeTerm, Operator, Selector},
        workload::{DisruptionBudget, Namespace, Node, Owner, Phase, Pod, PodTerm, Resources, Spread, Toleration},
    },
};

pub(super) fn namespace(meta: &ObjectMeta) -> Namespace {
    Namespace {
        name: meta.name.clone().unwrap_or_default(),
        opt_in: read::opt_in(meta).map(str::to_owned),
        wishes: read::annotations(meta).into(),
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

type Quantities = std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>;

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

/// The facts of a pod.
#[must_use]
pub fn pod(pod: kube::Pod, schedulers: &Schedulers) -> Pod {
    let meta = pod.metadata;
    let spec = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let ready = |condition: &kube::PodCondition| condition.type_ == "Ready" && condition.status == "True";
    let affinity = spec.affinity.clone().unwrap_or_default();
    let anti_affinity = affinity.pod_anti_affinity.unwrap_or_default();
    let pod_affinity = affinity.pod_affinity.unwrap_or_default();
    let scheduler = schedulers.ignoring(spec.scheduler_name.as_deref(), &read::annotations(&meta));
    let windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    let not_injected = scheduler
        .map(|name| format!("it is scheduled by {name}"))
        .or_else(|| windows.then(|| "it is a Windows pod".to_owned()));
    let node_affinity = affinity.node_affinity.unwrap_or_default();
    let pinned_by = spec.volumes.as_deref().unwrap_or_default().iter().find_map(pinned_by);
    let unforeseen = unforeseen(&spec);
    let not_to_evict = not_to_evict(meta.annotations.as_ref());
    let scratch = spec.volumes.as_deref().unwrap_or_default().iter().find_map(scratch);
    let restarted_for = meta.annotations.as_ref().and_then(|a| a.get(keys::RESTARTED_FOR).cloned());
    Pod {
        wishes: read::annotations(&meta).into(),
        mirror: meta.annotations.as_ref().is_some_and(|a| a.contains_key("kubernetes.io/config.mirror")),
        terminating: meta.deletion_timestamp.is_some(),
        created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        owner: controller(&meta),
        namespace: meta.namespace.unwrap_or_default(),
        name: meta.name.unwrap_or_default(),
        uid: meta.uid.unwrap_or_default(),
        labels: meta.labels.unwrap_or_default(),
        phase: match status.phase.as_deref() {
            Some("Succeeded" | "Failed") => Phase::Finished,
            Some("Running") => Phase::Running,
            _ => Phase::Pending,
        },
        ready: status.conditions.unwrap_or_default().iter().any(ready),
        requests: held_or_asked(&spec, status.container_statuses.as_deref()),
        host_ports: host_ports(&spec),
        priority: spec.priority.unwrap_or(0),
        node: spec.node_name,
        tolerations: spec.tolerations.unwrap_or_default().into_iter().filter_map(toleration).collect(),
        node_selector: spec.node_selector.unwrap_or_default(),
        node_terms: node_affinity
            .required_during_scheduling_ignored_during_execution
            .map(|required| required.node_selector_terms.into_iter().map(node_term).collect()),
        preferred_keys: node_affinity
            .preferred_during_scheduling_ignored_during_execution
            .unwrap_or_default()
            .into_iter()
            .flat_map(|term| term.preference.match_expressions.unwrap_or_default())
            .map(|expression| expression.key)
            .collect(),
        spread: spec
            .topology_spread_constraints
            .unwrap_or_default()
            .into_iter()
            .filter(|constraint| constraint.when_unsatisfiable == "DoNotSchedule")
            .map(|constraint| Spread {
                key: constraint.topology_key,
                max_skew: u64::try_from(constraint.max_skew).unwrap_or(1),
                selector: selector(constraint.label_selector),
                min_domains: constraint.min_domains.and_then(|least| usize::try_from(least).ok()).unwrap_or(1),
                every_node: constraint.node_affinity_policy.as_deref() == Some("Ignore"),
            })
            .collect(),
        anti_affinity: terms(anti_affinity.required_during_scheduling_ignored_during_execution),
        affinity: terms(pod_affinity.required_during_scheduling_ignored_during_execution),
        not_injected,
        restarted_for,
        pinned_by,
        not_to_evict,
        scratch,
        unforeseen,
    }
}

fn controller(meta: &ObjectMeta) -> Option<Owner> {
    let owners = meta.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| Owner {
        kind: owner.kind.clone(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    })
}

/// What the scheduler counts: the containers together or the largest init container, whichever is more, plus overhead
/// (KEP-753 sidecars count with the containers; KEP-2837 pod-level requests win).
fn requests(spec: &kube::PodSpec) -> Resources {
    let of = |container: &kube::Container| {
        let requirements = container.resources.as_ref();
        requirements.and_then(|r| r.requests.as_ref()).map(resources).unwrap_or_default()
    };
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&of(container));
    }
    let mut sidecars = Resources::default();
    let mut initial = Resources::default();
    for container in spec.init_containers.as_deref().unwrap_or_default() {
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&of(container));
            initial.raise_to(&sidecars);
        } else {
            let mut then = sidecars.clone();
            then.add(&of(container));
            initial.raise_to(&then);
        }
    }
    total.add(&sidecars);
    total.raise_to(&initial);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        let pod_level_values = resources(pod_level);
        if pod_level.contains_key("cpu") {
            total.cpu_m = pod_level_values.cpu_m;
        }
        if pod_level.contains_key("memory") {
            total.memory_bytes = pod_level_values.memory_bytes;
        }
        total.other.extend(pod_level_values.other);
    }
    if let Some(overhead) = &spec.overhead {
        total.add(&resources(overhead));
    }
    total
}

/// A pod that is being resized holds what it was given until that is done.
fn held_or_asked(spec: &kube::PodSpec, containers: Option<&[kube::ContainerStatus]>) -> Resources {
    let mut held = Resources::default();
    for given in containers.unwrap_or_default().iter().filter_map(|container| container.allocated_resources.as_ref()) {
        held.add(&resources(given));
    }
    held.raise_to(&requests(spec));
    held
}

fn host_ports(spec: &kube::PodSpec) -> Vec<i32> {
    let ports = |container: &kube::Container| container.ports.clone().unwrap_or_default();
    let sidecars = spec.init_containers.iter().flatten().filter(|it| it.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(ports)
        .filter_map(|port| port.host_port)
        .filter(|port| *port != 0)
        .collect()
}

/// `None` if its operator is one that isn't known here.
fn toleration(toleration: kube::Toleration) -> Option<Toleration> {
    let exists = match toleration.operator.as_deref() {
        None | Some("" | "Equal") => false,
        Some("Exists") => true,
        Some(_) => return None,
    };
    Some(Toleration {
        key: toleration.key.filter(|key| !key.is_empty()),
        exists,
        value: toleration.value.unwrap_or_default(),
        effect: toleration.effect.filter(|effect| !effect.is_empty()),
        limit_s: toleration.toleration_seconds,
    })
}

/// A volume that ties the pod to its node or may do so, in words. Claims may be zonal or local; following them to
/// their volumes is not worth being wrong. Inline CSI volumes are made anew wherever the pod goes, as the scheduler sees it, too.
fn pinned_by(volume: &kube::Volume) -> Option<String> {
    if let Some(claim) = &volume.persistent_volume_claim {
        return Some(format!("the volume claim {}", claim.claim_name));
    }
    if let Some(path) = &volume.host_path {
        return Some(format!("the host path {}", path.path));
    }
    let claimed = volume.ephemeral.is_some();
    let attached = volume.aws_elastic_block_store.is_some()
        || volume.azure_disk.is_some()
        || volume.cinder.is_some()
        || volume.fc.is_some()
        || volume.flex_volume.is_some()
        || volume.gce_persistent_disk.is_some()
        || volume.iscsi.is_some()
        || volume.photon_persistent_disk.is_some()
        || volume.portworx_volume.is_some()
        || volume.rbd.is_some()
        || volume.scale_io.is_some()
        || volume.storageos.is_some()
        || volume.vsphere_volume.is_some();
    (claimed || attached).then(|| format!("the volume {}", volume.name))
}

/// An emptyDir on disk, by name.
fn scratch(volume: &kube::Volume) -> Option<String> {
    let empty = volume.empty_dir.as_ref()?;
    (empty.medium.as_deref() != Some("Memory")).then(|| volume.name.clone())
}

/// What others write on pods so that nobody evicts them.
fn not_to_evict(annotations: Option<&std::collections::BTreeMap<String, String>>) -> Option<String> {
    const MARKS: [(&str, Option<&str>); 4] = [
        ("cluster-autoscaler.kubernetes.io/safe-to-evict", Some("false")),
        ("karpenter.sh/do-not-disrupt", Some("true")),
        ("karpenter.sh/do-not-evict", Some("true")),
        // Whatever its value is.
        ("descheduler.alpha.kubernetes.io/prefer-no-eviction", None),
    ];
    let annotations = annotations?;
    let marked = |(key, forbids): &(&str, Option<&str>)| {
        let value = annotations.get(*key).filter(|value| forbids.is_none_or(|forbids| *value == forbids))?;
        Some(format!("{key}: \"{value}\""))
    };
    MARKS.iter().find_map(marked)
}

/// What decides where a pod like this goes, and isn't evaluated by [`fit`](crate::core::movement::fit).
fn unforeseen(spec: &kube::PodSpec) -> Option<&'static str> {
    if spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        return Some("where devices are that its resourceClaims ask for");
    }
    None
}

fn node_term(term: kube::NodeSelectorTerm) -> NodeTerm {
    let expressions = |list: Option<Vec<kube::NodeSelectorRequirement>>| {
        list.unwrap_or_default().into_iter().map(|r| expression(r.key, &r.operator, r.values)).collect()
    };
    NodeTerm { expressions: expressions(term.match_expressions), fields: expressions(term.match_fields) }
}

/// An operator that we don't know becomes one that never matches: we then foresee no room, and move nothing.
fn expression(key: String, operator: &str, values: Option<Vec<String>>) -> Expression {
    match Operator::parse(operator) {
        Some(operator) => Expression { key, operator, values: values.unwrap_or_default() },
        None => Expression { key, operator: Operator::In, values: Vec::new() },
    }
}

/// An absent selector selects nothing, an empty one everything.
fn selector(selector: Option<LabelSelector>) -> Selector {
    let Some(selector) = selector else {
        return Selector { expressions: vec![expression(String::new(), "In", None)] };
    };
    let labels = selector.match_labels.unwrap_or_default().into_iter();
    let labels = labels.map(|(key, value)| expression(key, "In", Some(vec![value])));
    let expressions = selector.match_expressions.unwrap_or_default().into_iter();
    let expressions = expressions.map(|r| expression(r.key, &r.operator, r.values));
    Selector { expressions: labels.chain(expressions).collect() }
}

fn terms(terms: Option<Vec<kube::PodAffinityTerm>>) -> Vec<PodTerm> {
    let term = |term: kube::PodAffinityTerm| PodTerm {
        key: term.topology_key,
        selector: selector(term.label_selector),
        namespaces: term.namespaces.unwrap_or_default(),
        by_namespace_label: term.namespace_selector.is_some(),
    };
    terms.unwrap_or_default().into_iter().map(term).collect()
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

#[cfg(test)]
mod tests;
