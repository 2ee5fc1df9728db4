//! Whether what is injected draws a pod: by who places it. Admission and the movement both ask here.

use std::sync::Arc;

use super::follow::Annotations;

/// The schedulers that go by node affinity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedulers(Arc<[Box<str>]>);

impl Default for Schedulers {
    /// Kubernetes' own.
    fn default() -> Self {
        Self::new(["default-scheduler"])
    }
}

impl Schedulers {
    pub fn new<N: Into<Box<str>>>(names: impl IntoIterator<Item = N>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// The pod's scheduler, unless affinity draws the pod: because the scheduler goes by it, or because the pod says so by
    /// following by its own word. One that ignores node affinity could place the pod where the kubelet then refuses it.
    #[must_use]
    pub fn ignoring<'s>(&self, scheduler: Option<&'s str>, pod: &Annotations<'_>) -> Option<&'s str> {
        let scheduler = scheduler.filter(|name| !name.is_empty() && pod.follow.is_none())?;
        (!self.0.iter().any(|known| **known == *scheduler)).then_some(scheduler)
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    #[test]
    fn a_pod_is_drawn_by_a_scheduler_that_goes_by_affinity_or_by_its_own_word() {
        let (own, more) = (Schedulers::default(), Schedulers::new(["default-scheduler", "packer"]));
        let rows = [
            (&own, None, None, None),
            (&own, Some(""), None, None),
            (&own, Some("default-scheduler"), None, None),
            (&own, Some("packer"), None, Some("packer")),
            (&own, Some("packer"), Some("default"), None),
            (&more, Some("packer"), None, None),
            (&more, Some("volcano"), None, Some("volcano")),
            (&Schedulers::new(["packer"]), Some("default-scheduler"), None, Some("default-scheduler")),
        ];
        check_rows(rows, |(schedulers, name, follow, expected)| {
            let says = Annotations { follow, ..Annotations::default() };
            assert_eq!(schedulers.ignoring(name, &says), expected, "{name:?} {follow:?}");
        });
    }
}
