//! What a namespace's quotas leave for replacements. A pod counts until it is gone, and its replacement from when it is created:
//! where no more is left than the old one holds, the API server refuses the new one, whose controller then tries ever more rarely.

use crate::core::{
    hash::HashMap,
    quota::{Quota, Scope},
    workload::{Pod, Resources, Snapshot},
};

/// The quotas of all namespaces, and what pods that are there in thought take of them.
#[derive(Debug, Default)]
pub(super) struct Quotas<'a> {
    by_namespace: HashMap<&'a str, Vec<Left<'a>>>,
}

#[derive(Debug)]
struct Left<'a> {
    quota: &'a Quota,
    /// By the quota's own names, in its units.
    taken: HashMap<&'a str, u64>,
}

impl<'a> Quotas<'a> {
    pub(super) fn of(snapshot: Snapshot<'a>) -> Self {
        let mut by_namespace: HashMap<&str, Vec<Left<'_>>> = HashMap::default();
        for quota in snapshot.quotas.values() {
            by_namespace.entry(&quota.namespace).or_default().push(Left { quota, taken: HashMap::default() });
        }
        for quotas in by_namespace.values_mut() {
            quotas.sort_by_key(|it| &it.quota.name);
        }
        Self { by_namespace }
    }

    /// Whether a namespace has any.
    pub(super) fn has(&self, namespace: &str) -> bool {
        self.by_namespace.contains_key(namespace)
    }

    /// Whether so many pods more like this one may be created.
    ///
    /// # Errors
    /// The quota that has too little left, and of what.
    pub(super) fn allow(&self, pod: &Pod, asks: &Resources, more: u32) -> Result<(), String> {
        let counting = self.by_namespace.get(&*pod.namespace).into_iter().flatten().filter(|it| counts(it.quota, pod));
        for Left { quota, taken } in counting.filter(|_| pod.is_replaced_before_it_is_gone()) {
            let lacks = |(name, left): &(&String, &u64)| {
                let wanted = used(name, asks, &pod.limits).saturating_mul(more.into());
                wanted > 0 && taken.get(name.as_str()).copied().unwrap_or(0).saturating_add(wanted) > **left
            };
            if let Some((resource, _)) = quota.left.iter().find(lacks) {
                return Err(format!("{} ({resource})", quota.name));
            }
        }
        Ok(())
    }

    pub(super) fn take(&mut self, pod: &Pod, asks: &Resources) {
        self.change(pod, asks, u64::saturating_add);
    }

    pub(super) fn take_back(&mut self, pod: &Pod, asks: &Resources) {
        self.change(pod, asks, u64::saturating_sub);
    }

    fn change(&mut self, pod: &Pod, asks: &Resources, change: impl Fn(u64, u64) -> u64) {
        if !pod.is_replaced_before_it_is_gone() {
            return;
        }
        let quotas = self.by_namespace.get_mut(&*pod.namespace).into_iter().flatten();
        for Left { quota, taken } in quotas.filter(|it| counts(it.quota, pod)) {
            for name in quota.left.keys() {
                let taken = taken.entry(name).or_default();
                *taken = change(*taken, used(name, asks, &pod.limits));
            }
        }
    }
}

/// Whether the quota counts a pod like this.
fn counts(quota: &Quota, pod: &Pod) -> bool {
    !quota.unused && quota.scopes.iter().all(|scope| in_scope(scope, pod))
}

fn in_scope(scope: &Scope, pod: &Pod) -> bool {
    match scope {
        Scope::BestEffort(wanted) => *wanted == (is_nothing(&pod.requests) && is_nothing(&pod.limits)),
        Scope::Ending(wanted) => !wanted,
        Scope::PriorityClass(expression) => expression.matches(pod.priority_class.as_deref()),
        Scope::Other => true,
    }
}

/// CPU and memory decide a pod's quality of service.
const fn is_nothing(resources: &Resources) -> bool {
    resources.cpu_m == 0 && resources.memory_bytes == 0
}

/// How much a pod counts for what a quota calls `name`, if it asks for this and has these limits
/// (k8s.io/kubernetes, pkg/quota/v1/evaluator/core/pods.go).
fn used(name: &str, asks: &Resources, limits: &Resources) -> u64 {
    if name == "pods" || name == "count/pods" {
        return 1;
    }
    match (name.strip_prefix("limits."), name.strip_prefix("requests.")) {
        (Some(resource), _) => amount(limits, resource),
        (_, resource) => amount(asks, resource.unwrap_or(name)),
    }
}

fn amount(of: &Resources, resource: &str) -> u64 {
    match resource {
        "cpu" => of.cpu_m,
        "memory" => of.memory_bytes,
        other => of.other.get(other).copied().unwrap_or(0),
    }
}
