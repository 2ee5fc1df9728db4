//! The pods and workloads of one picture by what they have in common, kept current one by one, so that nobody has to look at all
//! of them for a few.

use std::sync::Arc;

use super::{Pod, PodTerm, Resources, Workload};
use crate::core::map::{Grouping, Groups, Map, put, take};

/// Pods by where they are and whom they belong to.
#[derive(Debug, Clone, Default)]
pub struct PodGroups {
    pub by_namespace: Groups<Pod>,
    /// By the UID of the object that made them.
    pub by_owner: Groups<Pod>,
    /// By the name of the node that they take room on.
    pub by_node: Map<String, Arc<Occupants>>,
    /// Those that wait for the scheduler, by whose they are ([`Pod::whose`]).
    pub waiting: Groups<Pod>,
    /// Those that take room and refuse others of their own namespace alone, by it.
    pub refusing_at_home: Groups<Pod>,
    /// Those that take room and refuse others of other namespaces, too, by their own.
    pub refusing_anywhere: Groups<Pod>,
    /// Those that take room and draw others to them or away from them: those of their own namespace alone, by it.
    pub drawing_at_home: Groups<Pod>,
    /// Those of other namespaces, too, by their own.
    pub drawing_anywhere: Groups<Pod>,
}

/// Those that take room on one node.
#[derive(Debug, Clone, Default)]
pub struct Occupants {
    pub pods: Vec<Arc<Pod>>,
    /// What they hold together.
    pub requests: Resources,
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
        if pod.waits() {
            put(&mut self.waiting, pod.whose(), pod);
        }
        let Some(node) = pod.node.as_deref().filter(|_| pod.occupies()) else { return };
        match self.by_node.get_mut(node) {
            Some(occupants) => Arc::make_mut(occupants).add(pod),
            None => {
                let mut occupants = Occupants::default();
                occupants.add(pod);
                self.by_node.insert(node.to_owned(), Arc::new(occupants));
            }
        }
        if let Some(refusing) = self.refusing(pod) {
            put(refusing, &pod.namespace, pod);
        }
        if let Some(drawing) = self.drawing(pod) {
            put(drawing, &pod.namespace, pod);
        }
    }

    fn remove(&mut self, pod: &Arc<Pod>) {
        take(&mut self.by_namespace, &pod.namespace, pod);
        if let Some(owner) = &pod.owner {
            take(&mut self.by_owner, &owner.uid, pod);
        }
        if pod.waits() {
            take(&mut self.waiting, pod.whose(), pod);
        }
        let Some(node) = pod.node.as_deref().filter(|_| pod.occupies()) else { return };
        if let Some(occupants) = self.by_node.get_mut(node) {
            let occupants = Arc::make_mut(occupants);
            occupants.remove(pod);
            if occupants.pods.is_empty() {
                self.by_node.remove(node);
            }
        }
        if let Some(refusing) = self.refusing(pod) {
            take(refusing, &pod.namespace, pod);
        }
        if let Some(drawing) = self.drawing(pod) {
            take(drawing, &pod.namespace, pod);
        }
    }

    fn drawing(&mut self, pod: &Pod) -> Option<&mut Groups<Pod>> {
        if !pod.draws() {
            return None;
        }
        Some(if pod.draws_at_home() { &mut self.drawing_at_home } else { &mut self.drawing_anywhere })
    }

    fn refusing(&mut self, pod: &Pod) -> Option<&mut Groups<Pod>> {
        if !pod.refuses() {
            return None;
        }
        Some(if pod.refuses_at_home() { &mut self.refusing_at_home } else { &mut self.refusing_anywhere })
    }
}

impl Occupants {
    fn add(&mut self, pod: &Arc<Pod>) {
        self.requests.add(&pod.requests);
        self.pods.push(Arc::clone(pod));
    }

    fn remove(&mut self, pod: &Arc<Pod>) {
        if let Some(at) = self.pods.iter().position(|it| Arc::ptr_eq(it, pod)) {
            self.pods.swap_remove(at);
            // Sums that were too large for a number can't be taken back.
            self.requests = Resources::default();
            self.pods.iter().for_each(|it| self.requests.add(&it.requests));
        }
    }
}

/// What it is grouped by.
impl Pod {
    /// The UID of whoever owns it, or its own: those of one owner are alike.
    #[must_use]
    pub fn whose(&self) -> &str {
        self.owner.as_ref().map_or(&self.uid, |owner| &owner.uid)
    }

    /// Whether its rules refuse other pods by required anti-affinity.
    #[must_use]
    pub fn refuses(&self) -> bool {
        !self.anti_affinity.is_empty()
    }

    /// Whether these rules look at its own namespace alone.
    #[must_use]
    pub fn refuses_at_home(&self) -> bool {
        self.anti_affinity.iter().all(PodTerm::stays_at_home)
    }

    /// Whether its rules draw other pods to it, or away from it, in the scheduler's scores. (Required affinity draws those that it selects,
    /// too.)
    #[must_use]
    pub fn draws(&self) -> bool {
        !(self.leanings.is_empty() && self.affinity.is_empty())
    }

    /// Whether these rules look at its own namespace alone.
    #[must_use]
    pub fn draws_at_home(&self) -> bool {
        let terms = self.leanings.iter().map(|leaning| &leaning.term).chain(self.affinity.iter());
        terms.into_iter().all(PodTerm::stays_at_home)
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
        groups.waiting.iter().for_each(|(it, pods)| show(format!("waiting of {it}"), pods));
        groups.drawing_at_home.iter().for_each(|(it, pods)| show(format!("drawing in {it}"), pods));
        groups.drawing_anywhere.iter().for_each(|(it, pods)| show(format!("drawing beyond {it}"), pods));
        groups.refusing_at_home.iter().for_each(|(it, pods)| show(format!("refusing in {it}"), pods));
        groups.refusing_anywhere.iter().for_each(|(it, pods)| show(format!("refusing beyond {it}"), pods));
        groups.by_node.iter().for_each(|(it, there)| {
            show(format!("on {it}, with {:?} of it", there.requests), &there.pods);
        });
        shown.values_mut().for_each(|pods| pods.sort());
        shown
    }

    fn any_pod() -> impl Strategy<Value = Pod> {
        let text = |options: &'static [&'static str]| prop::sample::select(options);
        let cpu_m = prop_oneof![9 => 0..900u64, 1 => Just(u64::MAX - 100)];
        (0..6u8, text(&["", "n1", "n2"]), text(&["", "ReplicaSet/a", "ReplicaSet/b"]), 0..3u8, cpu_m, 0..5u8).prop_map(
            |(number, node, owner, exclusive, cpu_m, other)| {
                let mut it = pod(&format!("p{number}")).asking_for_cpu(cpu_m);
                it.namespace = if exclusive > 0 { "bank" } else { "shop" }.into();
                it = if node.is_empty() { it } else { it.on(node) };
                it = if owner.is_empty() { it } else { it.owned_by(owner) };
                it = if exclusive > 0 { it.not_beside("host", "web") } else { it };
                for term in it.anti_affinity.iter_mut().filter(|_| exclusive > 1) {
                    term.namespaces = vec!["shop".into()];
                }
                match other {
                    0 => it.pending(1),
                    3 => it.leaning(-10, "host", "web"),
                    4 if exclusive > 0 => it.beside("host", "app", "web"),
                    1 => {
                        it.requests.other.insert("example.com/gpu".into(), u64::from(number));
                        it
                    }
                    2 => it.terminating(),
                    _ => it,
                }
            },
        )
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
