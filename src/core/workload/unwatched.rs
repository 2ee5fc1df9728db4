//! Owners of pods that nobody watches: custom resources, and whatever else makes pods. Somebody has to ask for each of them.

use super::{Owner, Pod, Snapshot};

/// What the API versions of Argo Rollouts begin with.
const ROLLOUTS: &str = "argoproj.io/";

/// An owner to ask for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unwatched {
    /// By its `scale` subresource, which tells how many pods it wants.
    Scale { namespace: String, owner: Owner },
    /// A Rollout of Argo's: its ReplicaSets tell how many pods there are to be, and it how it replaces them.
    Rollout { namespace: String, owner: Owner },
}

impl Unwatched {
    #[must_use]
    pub const fn place(&self) -> (&String, &Owner) {
        match self {
            Self::Scale { namespace, owner } | Self::Rollout { namespace, owner } => (namespace, owner),
        }
    }
}

/// Whom to ask for what is to be known of a pod's workload, if no watch tells.
#[must_use]
pub fn unwatched(snapshot: Snapshot<'_>, pod: &Pod) -> Option<Unwatched> {
    let owner = pod.owner.as_deref().filter(|_| !pod.belongs_to_its_node())?;
    let namespace = || pod.namespace.clone();
    if owner.api.starts_with("apps/") {
        let above = snapshot.workloads.get(&owner.uid)?.owner.as_ref()?;
        let rollout = above.kind == "Rollout" && above.api.starts_with(ROLLOUTS);
        let asked = rollout && is_plain(above);
        return asked.then(|| Unwatched::Rollout { namespace: namespace(), owner: above.clone() });
    }
    // Pods of Jobs come to an end, and are left alone.
    let ends = owner.kind == "Job" || owner.kind == "CronJob";
    (!ends && is_plain(owner)).then(|| Unwatched::Scale { namespace: namespace(), owner: owner.clone() })
}

/// Whether its names are what Kubernetes lets names be. Whoever writes a pod writes its owner, and a path is made of that.
fn is_plain(owner: &Owner) -> bool {
    let plain = |text: &str, also: char| {
        text.chars().all(|it| it.is_ascii_alphanumeric() || it == '-' || it == '.' || it == also)
    };
    plain(&owner.api, '/') && plain(&owner.kind, '-') && plain(&owner.name, '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::{World, pod};

    #[test]
    fn owners_that_no_watch_tells_of_are_asked_for() {
        let owner = |api: &str, kind: &str| Owner {
            api: api.into(),
            kind: kind.into(),
            name: "web".into(),
            uid: format!("{kind}/web"),
        };
        let asked = |direct: Owner, above: Option<Owner>| {
            let mut mine = pod("web-1").on("b1");
            mine.owner = Some(direct.into());
            let world = World::with_nodes("b1=far").workload("ReplicaSet/web", 1).pod(mine);
            let world = world.changed("ReplicaSet/web", |set| set.owner = above);
            let asked = unwatched(world.snapshot(), &world.pods["uid-web-1"]);
            asked.map(|it| (matches!(it, Unwatched::Rollout { .. }), it.place().1.kind.clone()))
        };
        let set = || owner("apps/v1", "ReplicaSet");
        assert_eq!(asked(set(), None), None);
        assert_eq!(asked(set(), Some(owner("apps/v1", "Deployment"))), None);
        assert_eq!(asked(set(), Some(owner("example.com/v1", "Rollout"))), None, "its sets tell all that is needed");
        assert_eq!(asked(set(), Some(owner("argoproj.io/v1alpha1", "Rollout"))), Some((true, "Rollout".into())));
        assert_eq!(asked(owner("apps.kruise.io/v1alpha1", "CloneSet"), None), Some((false, "CloneSet".into())));
        assert_eq!(asked(owner("v1", "ReplicationController"), None), Some((false, "ReplicationController".into())));
        assert_eq!(asked(owner("batch/v1", "Job"), None), None);
        assert_eq!(asked(owner("apps/v1", "DaemonSet"), None), None);
        assert_eq!(asked(owner("v1", "Node"), None), None, "a static pod");
        let elsewhere = Owner { name: "../../other/fleets/x".into(), ..owner("example.com/v1", "Fleet") };
        assert_eq!(asked(elsewhere, None), None, "no name");
        assert_eq!(asked(owner("example.com/v1?watch=true", "Fleet"), None), None, "no version");
    }
}
