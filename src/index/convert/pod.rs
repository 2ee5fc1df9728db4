//! A pod → its lean facts.

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as kube;
use serde::Deserialize;

use super::{controller, expression, requests, selector};
use crate::{
    api::{keys, read},
    core::{
        follow::AffinityMode,
        orders::Place,
        schedulers::Schedulers,
        selector::{Labels, NodeTerm},
        shared::Shared,
        workload::{
            HostPort, Leaning, Phase, Pod, PodTerm, PreferredNodes, Protocol, RequiredFor, Spread, Toleration, Wishes,
        },
    },
};

/// The facts of a pod.
#[must_use]
pub fn pod(pod: kube::Pod, schedulers: &Schedulers) -> Pod {
    let mut meta = pod.metadata;
    let spec = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let ready = |condition: &kube::PodCondition| condition.type_ == "Ready" && condition.status == "True";
    let unschedulable = |condition: &kube::PodCondition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
    };
    let conditions = status.conditions.as_deref().unwrap_or_default();
    let (ready, unschedulable) = (conditions.iter().any(ready), conditions.iter().any(unschedulable));
    let ready_after_s = ready_after_s(&status);
    let affinity = spec.affinity.clone().unwrap_or_default();
    let anti_affinity = affinity.pod_anti_affinity.unwrap_or_default();
    let pod_affinity = affinity.pod_affinity.unwrap_or_default();
    let scheduler = schedulers.ignoring(spec.scheduler_name.as_deref(), &read::annotations(&meta));
    let windows = spec.os.as_ref().is_some_and(|os| os.name == "windows");
    let not_injected = scheduler
        .map(|name| format!("it is scheduled by {name}"))
        .or_else(|| windows.then(|| "it is a Windows pod".to_owned()));
    let node_affinity = affinity.node_affinity.unwrap_or_default();
    let preferred = node_affinity.preferred_during_scheduling_ignored_during_execution.unwrap_or_default();
    let preferred_nodes: Shared<Vec<PreferredNodes>> = preferred.into_iter().map(preferred_nodes).collect();
    let pinned_by = spec.volumes.as_deref().unwrap_or_default().iter().find_map(pinned_by);
    let unforeseen = unforeseen(&spec);
    let not_to_evict = not_to_evict(meta.annotations.as_ref());
    let scratch = spec.volumes.as_deref().unwrap_or_default().iter().find_map(scratch);
    let restarted_for = meta.annotations.as_ref().and_then(|a| a.get(keys::RESTARTED_FOR).cloned());
    let record = meta.annotations.as_ref().and_then(|a| a.get(keys::INJECTED));
    let (injected, required_for) = (record.is_some(), required_for(record.map_or("", |record| record)).into());
    let held = requests::held(&spec, &status);
    let limits = requests::limits(&spec);
    let labels = meta.labels.take().unwrap_or_default();
    Pod {
        wishes: Wishes::from(read::annotations(&meta)).into(),
        orders: read::orders(Place::Pod, &meta, None),
        mirror: meta.annotations.as_ref().is_some_and(|a| a.contains_key("kubernetes.io/config.mirror")),
        terminating: meta.deletion_timestamp.is_some(),
        created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        owner: controller(&meta).map(Shared::from),
        namespace: meta.namespace.unwrap_or_default(),
        name: meta.name.unwrap_or_default(),
        uid: meta.uid.unwrap_or_default(),
        phase: match status.phase.as_deref() {
            Some("Succeeded" | "Failed") => Phase::Finished,
            Some("Running") => Phase::Running,
            _ => Phase::Pending,
        },
        ready,
        requests: held.into(),
        limits: limits.into(),
        host_ports: host_ports(&spec).into(),
        priority: spec.priority.unwrap_or(0),
        priority_class: spec.priority_class_name,
        nominated: status.nominated_node_name.filter(|node| !node.is_empty()),
        unschedulable,
        gated: spec.scheduling_gates.is_some_and(|gates| !gates.is_empty()),
        injected,
        required_for,
        node: spec.node_name,
        tolerations: spec.tolerations.unwrap_or_default().into_iter().filter_map(toleration).collect(),
        node_selector: spec.node_selector.unwrap_or_default().into(),
        node_terms: node_affinity
            .required_during_scheduling_ignored_during_execution
            .map(|required| required.node_selector_terms.into_iter().map(node_term).collect()),
        preferred_keys: preferred_nodes
            .iter()
            .flat_map(|preferred| &preferred.term.expressions)
            .map(|expression| expression.key.clone())
            .collect(),
        preferred_nodes,
        leanings: leanings(
            pod_affinity.preferred_during_scheduling_ignored_during_execution,
            anti_affinity.preferred_during_scheduling_ignored_during_execution,
        )
        .into(),
        spread: spec
            .topology_spread_constraints
            .unwrap_or_default()
            .into_iter()
            .filter(|constraint| constraint.when_unsatisfiable == "DoNotSchedule")
            .map(|constraint| spread(constraint, &labels))
            .collect(),
        anti_affinity: terms(anti_affinity.required_during_scheduling_ignored_during_execution).into(),
        affinity: terms(pod_affinity.required_during_scheduling_ignored_during_execution).into(),
        labels: labels.into(),
        not_injected,
        restarted_for,
        pinned_by,
        not_to_evict,
        scratch,
        unforeseen,
        ready_after_s,
    }
}

/// The hard modes that admission's record tells of. One that can't be read, or is a newer version's, tells of none.
fn required_for(record: &str) -> Vec<RequiredFor> {
    #[derive(Deserialize)]
    struct Record {
        database: String,
        mode: AffinityMode,
    }
    // Most say `preferred`, and there are tens of thousands.
    if ![AffinityMode::Required, AffinityMode::AvoidFar].iter().any(|mode| record.contains(mode.as_str())) {
        return Vec::new();
    }
    let records: Vec<Record> = serde_json::from_str(record).unwrap_or_default();
    let hard = records.into_iter().filter(|record| record.mode != AffinityMode::Preferred);
    hard.map(|Record { database, mode }| RequiredFor { database, mode }).collect()
}

/// How long it took from when it had a node until it was Ready. One whose containers started again was Ready more than once, and its
/// status tells of the last time.
fn ready_after_s(status: &kube::PodStatus) -> Option<u32> {
    let began = |type_: &str| {
        let mut conditions = status.conditions.iter().flatten();
        let holds = conditions.find(|condition| condition.type_ == type_ && condition.status == "True")?;
        Some(holds.last_transition_time.as_ref()?.0)
    };
    let again = |container: &kube::ContainerStatus| container.restart_count > 0;
    if status.container_statuses.iter().flatten().any(again) {
        return None;
    }
    u32::try_from(began("Ready")?.duration_since(began("PodScheduled")?).as_secs()).ok()
}

fn host_ports(spec: &kube::PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| requests::is_sidecar(container));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports.filter_map(host_port).collect()
}

fn host_port(port: &kube::ContainerPort) -> Option<HostPort> {
    Some(HostPort {
        port: port.host_port.filter(|port| *port > 0)?,
        protocol: match port.protocol.as_deref() {
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            _ => Protocol::Tcp,
        },
        ip: port.host_ip.clone().filter(|ip| !ip.is_empty() && ip != "0.0.0.0"),
    })
}

/// Its `matchLabelKeys` ask for the values that the pod itself has. (From Kubernetes 1.34 on its selector says so already.)
fn spread(constraint: kube::TopologySpreadConstraint, labels: &Labels) -> Spread {
    let mut selector = selector(constraint.label_selector);
    let keys = constraint.match_label_keys.unwrap_or_default().into_iter();
    let own = keys.filter_map(|key| labels.get(&key).cloned().map(|value| (key, value)));
    selector.expressions.extend(own.map(|(key, value)| expression(key, "In", Some(vec![value]))));
    Spread {
        key: constraint.topology_key,
        max_skew: u64::try_from(constraint.max_skew).unwrap_or(1),
        selector,
        min_domains: constraint.min_domains.and_then(|least| usize::try_from(least).ok()).unwrap_or(1),
        every_node: constraint.node_affinity_policy.as_deref() == Some("Ignore"),
        heeds_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
    }
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

/// What others write on pods so that nobody evicts them: the annotation, and the value that forbids it.
pub(in crate::index) const MARKS: [(&str, Option<&str>); 4] = [
    ("cluster-autoscaler.kubernetes.io/safe-to-evict", Some("false")),
    ("karpenter.sh/do-not-disrupt", Some("true")),
    ("karpenter.sh/do-not-evict", Some("true")),
    // Whatever its value is.
    ("descheduler.alpha.kubernetes.io/prefer-no-eviction", None),
];

fn not_to_evict(annotations: Option<&std::collections::BTreeMap<String, String>>) -> Option<String> {
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
    if spec.host_network == Some(true) && spec.host_users == Some(false) {
        return Some("which nodes have user namespaces for pods in the host's network");
    }
    None
}

/// What a template says that decides where its pods go, and that they don't show any more once they run.
pub(super) fn unforeseen_of_template(spec: &kube::PodSpec) -> Option<&'static str> {
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    gated.then_some("when somebody takes the schedulingGates of its template away").or_else(|| unforeseen(spec))
}

fn node_term(term: kube::NodeSelectorTerm) -> NodeTerm {
    let expressions = |list: Option<Vec<kube::NodeSelectorRequirement>>| {
        list.unwrap_or_default().into_iter().map(|r| expression(r.key, &r.operator, r.values)).collect()
    };
    NodeTerm { expressions: expressions(term.match_expressions), fields: expressions(term.match_fields) }
}

fn preferred_nodes(preferred: kube::PreferredSchedulingTerm) -> PreferredNodes {
    PreferredNodes { weight: preferred.weight.into(), term: node_term(preferred.preference) }
}

fn terms(terms: Option<Vec<kube::PodAffinityTerm>>) -> Vec<PodTerm> {
    terms.unwrap_or_default().into_iter().map(pod_term).collect()
}

fn leanings(
    beside: Option<Vec<kube::WeightedPodAffinityTerm>>,
    apart: Option<Vec<kube::WeightedPodAffinityTerm>>,
) -> Vec<Leaning> {
    let leaning = |it: kube::WeightedPodAffinityTerm, sign: i64| Leaning {
        weight: sign * i64::from(it.weight),
        term: pod_term(it.pod_affinity_term),
    };
    let beside = beside.unwrap_or_default().into_iter().map(|it| leaning(it, 1));
    beside.chain(apart.unwrap_or_default().into_iter().map(|it| leaning(it, -1))).collect()
}

fn pod_term(term: kube::PodAffinityTerm) -> PodTerm {
    PodTerm {
        key: term.topology_key,
        selector: selector(term.label_selector),
        namespaces: term.namespaces.unwrap_or_default(),
        namespace_selector: term.namespace_selector.map(|labels| selector(Some(labels))),
    }
}
