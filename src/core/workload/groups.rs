//! The pods and workloads of one picture by what they have in common, kept current one by one, so that nobody has to look at all
//! of them for a few.

use std::sync::Arc;

use super::{Pod, Workload};
use crate::core::map::{Grouping, Groups, put, take};

/// Pods by where they are and whom they belong to.
#[derive(Debug, Clone, Default)]
pub struct PodGroups {
    pub by_namespace: Groups<Pod>,
    /// By the UID of the object that made them.
    pub by_owner: Groups<Pod>,
    /// By the name of the node that they take room on.
    pub by_node: Groups<Pod>,
}

impl Grouping<Pod> for PodGroups {
    fn replace(&mut self, before: Option<&Arc<Pod>>, now: Option<&Arc<Pod>>) {
        if let Some(before) = before {
            self.remove(before);
        }
        if let Some(now) = now {
            self.add(now);
        }
    }
}

impl PodGroups {
    fn add(&mut self, pod: &Arc<Pod>) {
        put(&mut self.by_namespace, &pod.namespace, pod);
        if let Some(owner) = &pod.owner {
            put(&mut self.by_owner, &owner.uid, pod);
        }
        if let Some(node) = pod.node.as_deref().filter(|_| pod.occupies()) {
            put(&mut self.by_node, node, pod);
        }
    }

    fn remove(&mut self, pod: &Arc<Pod>) {
        take(&mut self.by_namespace, &pod.namespace, pod);
        if let Some(owner) = &pod.owner {
            take(&mut self.by_owner, &owner.uid, pod);
        }
        if let Some(node) = pod.node.as_deref().filter(|_| pod.occupies()) {
            take(&mut self.by_node, node, pod);
        }
    }
}

/// What makes pods itself, ReplicaSets and StatefulSets mostly, by the UID of the workload that they are, or are part of.
#[derive(Debug, Clone, Default)]
pub struct SetGroups(pub Groups<Workload>);

impl Grouping<Workload> for SetGroups {
    fn replace(&mut self, before: Option<&Arc<Workload>>, now: Option<&Arc<Workload>>) {
        let set = |workload: &&Arc<Workload>| !workload.is_above_sets();
        if let Some(before) = before.filter(set) {
            take(&mut self.0, before.top(), before);
        }
        if let Some(now) = now.filter(set) {
            put(&mut self.0, now.top(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::core::testing::pod;

    /// Who is in which group.
    fn shown(groups: &PodGroups) -> BTreeMap<String, Vec<String>> {
        let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut show = |group: String, pods: &[Arc<Pod>]| {
            shown.entry(group).or_default().extend(pods.iter().map(|pod| pod.name.clone()));
        };
        groups.by_namespace.iter().for_each(|(it, pods)| show(format!("in {it}"), pods));
        groups.by_owner.iter().for_each(|(it, pods)| show(format!("of {it}"), pods));
        groups.by_node.iter().for_each(|(it, pods)| show(format!("on {it}"), pods));
        shown.values_mut().for_each(|pods| pods.sort());
        shown
    }

    fn any_pod() -> impl Strategy<Value = Pod> {
        let text = |options: &'static [&'static str]| prop::sample::select(options);
        (0..6u8, text(&["", "n1", "n2"]), text(&["", "ReplicaSet/a", "ReplicaSet/b"]), any::<bool>(), 0..900u64)
            .prop_map(|(number, node, owner, exclusive, cpu_m)| {
                let mut it = pod(&format!("p{number}")).asking_for_cpu(cpu_m);
                it.namespace = if exclusive { "bank" } else { "shop" }.into();
                it = if node.is_empty() { it } else { it.on(node) };
                it = if owner.is_empty() { it } else { it.owned_by(owner) };
                if exclusive { it.not_beside("host", "web") } else { it }
            })
    }

    proptest! {
        /// However pods came, changed and went, they are grouped as if they had been there from the beginning.
        #[test]
        fn groups_are_those_of_the_pods_that_there_are(steps in prop::collection::vec((any_pod(), any::<bool>()), 0..40)) {
            let (mut groups, mut there) = (PodGroups::default(), BTreeMap::<String, Arc<Pod>>::new());
            for (pod, stays) in steps {
                let pod = Arc::new(pod);
                let before = there.remove(&pod.uid);
                groups.replace(before.as_ref(), stays.then_some(&pod));
                if stays {
                    there.insert(pod.uid.clone(), pod);
                }
            }
            let mut anew = PodGroups::default();
            there.values().for_each(|pod| anew.replace(None, Some(pod)));
            prop_assert_eq!(shown(&groups), shown(&anew));
        }
    }
}
