//! What a pod asks for, as the scheduler counts it (k8s.io/component-helpers, resource/helpers.go).

use k8s_openapi::api::core::v1 as kube;

use super::{Quantities, resources};
use crate::core::workload::Resources;

/// What a pod of this spec asks for before it has a node.
pub(super) fn asked(spec: &kube::PodSpec) -> Resources {
    let of_pod = spec.resources.as_ref().and_then(|it| it.requests.as_ref());
    let mut total = together(spec, of_pod, requested);
    if let Some(overhead) = &spec.overhead {
        total.add(&resources(overhead));
    }
    total
}

/// What it holds of its node: while it is resized, whatever is more of what it asks for, what it was given and what it has. A size
/// that its node can't give doesn't count.
pub(super) fn held(spec: &kube::PodSpec, status: &kube::PodStatus) -> Resources {
    let statuses = || status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let pending = status.conditions.iter().flatten().find(|it| it.type_ == "PodResizePending");
    let infeasible = pending.is_some_and(|it| it.reason.as_deref() == Some("Infeasible"));
    let of_container = |container: &kube::Container| {
        let asks = requested(container);
        let stays = is_sidecar(container) || spec.containers.iter().any(|other| other.name == container.name);
        let Some(status) = statuses().find(|it| it.name == container.name).filter(|_| stays) else { return asks };
        let mut holds = status.allocated_resources.as_ref().map(resources).unwrap_or_default();
        let has = status.resources.as_ref();
        holds.raise_to(&has.and_then(|it| it.requests.as_ref()).map(resources).unwrap_or_default());
        if !(infeasible && has.is_some()) {
            holds.raise_to(&asks);
        }
        holds
    };
    let of_pod = spec.resources.as_ref().and_then(|it| it.requests.as_ref());
    let mut total = together(spec, of_pod, of_container);
    if let Some(overhead) = &spec.overhead {
        total.add(&resources(overhead));
    }
    total
}

/// What it may use at most, where it says so.
pub(super) fn limits(spec: &kube::PodSpec) -> Resources {
    let of_container = |container: &kube::Container| {
        let limits = container.resources.as_ref().and_then(|it| it.limits.as_ref());
        limits.map(resources).unwrap_or_default()
    };
    let mut total = together(spec, spec.resources.as_ref().and_then(|it| it.limits.as_ref()), of_container);
    let overhead = spec.overhead.as_ref().map(resources).unwrap_or_default();
    // What isn't limited isn't with overhead either.
    if total.cpu_m > 0 {
        total.cpu_m += overhead.cpu_m;
    }
    if total.memory_bytes > 0 {
        total.memory_bytes += overhead.memory_bytes;
    }
    total
}

/// An init container that goes on running beside the others (KEP-753).
pub(super) fn is_sidecar(container: &kube::Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn requested(container: &kube::Container) -> Resources {
    let requests = container.resources.as_ref().and_then(|it| it.requests.as_ref());
    requests.map(resources).unwrap_or_default()
}

/// The containers together or the largest init container, whichever is more. Sidecars count with the containers, and with the init
/// containers that start after them; what the pod says as a whole counts in place of that (KEP-2837).
fn together(
    spec: &kube::PodSpec,
    of_pod: Option<&Quantities>,
    of_container: impl Fn(&kube::Container) -> Resources,
) -> Resources {
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&of_container(container));
    }
    let mut sidecars = Resources::default();
    let mut initial = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        if is_sidecar(container) {
            sidecars.add(&of_container(container));
            initial.raise_to(&sidecars);
        } else {
            let mut then = sidecars.clone();
            then.add(&of_container(container));
            initial.raise_to(&then);
        }
    }
    total.add(&sidecars);
    total.raise_to(&initial);
    if let Some(of_pod) = of_pod {
        let amounts = resources(of_pod);
        if of_pod.contains_key("cpu") {
            total.cpu_m = amounts.cpu_m;
        }
        if of_pod.contains_key("memory") {
            total.memory_bytes = amounts.memory_bytes;
        }
        total.other.extend(amounts.other);
    }
    total
}
