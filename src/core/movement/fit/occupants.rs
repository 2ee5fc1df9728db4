//! Who is on which node: as in the picture, but for those who were put elsewhere in thought.

use std::sync::Arc;

use super::Room;
use crate::core::workload::{ANYWHERE, Occupancy, Pod, PodTerm, Resources};

/// The pods of one node, and what they hold together.
#[derive(Debug, Clone, Default)]
pub(super) struct Occupants<'a> {
    pub pods: Vec<&'a Pod>,
    pub used: Resources,
}

impl<'a> From<&'a Occupancy> for Occupants<'a> {
    fn from(there: &'a Occupancy) -> Self {
        Self { pods: there.pods.iter().map(AsRef::as_ref).collect(), used: there.used.clone() }
    }
}

/// What is on a node, wherever that is written down.
pub(super) enum There<'r, 'a> {
    Nobody,
    AsInThePicture(&'a Occupancy),
    Changed(&'r Occupants<'a>),
}

impl<'r, 'a> There<'r, 'a> {
    pub(super) fn used(&self) -> Option<&'r Resources>
    where
        'a: 'r,
    {
        match self {
            Self::Nobody => None,
            Self::AsInThePicture(there) => Some(&there.used),
            Self::Changed(there) => Some(&there.used),
        }
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::AsInThePicture(there) => there.pods.len(),
            Self::Changed(there) => there.pods.len(),
        }
    }

    pub(super) fn pods(self) -> impl Iterator<Item = &'a Pod> + use<'r, 'a>
    where
        'a: 'r,
    {
        let (picture, changed) = match self {
            Self::Nobody => (None, None),
            Self::AsInThePicture(there) => (Some(there.pods.iter().map(AsRef::as_ref)), None),
            Self::Changed(there) => (None, Some(there.pods.iter().copied())),
        };
        picture.into_iter().flatten().chain(changed.into_iter().flatten())
    }
}

impl<'a> Room<'a> {
    pub(super) fn there(&self, node: &str) -> There<'_, 'a> {
        if let Some(there) = self.changed.get(node) {
            return There::Changed(there);
        }
        self.snapshot.groups.by_node.get(node).map_or(There::Nobody, |there| There::AsInThePicture(there))
    }

    pub(super) fn there_mut(&mut self, node: &'a str) -> &mut Occupants<'a> {
        let picture = self.snapshot.groups;
        let as_it_was = || picture.by_node.get(node).map(|there| Occupants::from(&**there)).unwrap_or_default();
        self.changed.entry(node).or_insert_with(as_it_was)
    }

    /// Every node with its pods.
    pub(super) fn occupied(&self) -> impl Iterator<Item = (&'a str, There<'_, 'a>)> {
        let as_in_the_picture =
            self.snapshot.groups.by_node.iter().filter(|(node, _)| !self.changed.contains_key(&***node));
        let as_in_the_picture = as_in_the_picture.map(|(node, there)| (&**node, There::AsInThePicture(there)));
        as_in_the_picture.chain(self.changed.iter().map(|(node, there)| (*node, There::Changed(there))))
    }

    /// The pods of a namespace that are somewhere, and the nodes that they are on.
    pub(super) fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = (&'a str, &'a Pod)> {
        let as_in_the_picture = self.as_in_the_picture(self.snapshot.groups.by_namespace.get(namespace));
        as_in_the_picture.chain(self.placed.iter().copied().filter(move |(_, pod)| pod.namespace == namespace))
    }

    /// The pods that are somewhere, refuse others (required anti-affinity) and may mean pods of this namespace.
    pub(super) fn refusing(&self, namespace: &str) -> impl Iterator<Item = (&'a str, &'a Pod)> {
        let groups = [namespace, ANYWHERE].into_iter().map(|within| self.snapshot.groups.refusing.get(within));
        let placed = self.placed.iter().copied().filter(|(_, pod)| !pod.anti_affinity.is_empty());
        groups.flat_map(|group| self.as_in_the_picture(group)).chain(placed)
    }

    /// Those of a group that are still where they are in the picture.
    pub(super) fn as_in_the_picture(
        &self,
        group: Option<&'a Arc<Vec<Arc<Pod>>>>,
    ) -> impl Iterator<Item = (&'a str, &'a Pod)> {
        let still = |pod: &&Arc<Pod>| pod.occupies() && !self.gone.contains(&*pod.uid);
        group
            .into_iter()
            .flat_map(|pods| pods.iter())
            .filter(still)
            .filter_map(|pod| Some((pod.node.as_deref()?, &**pod)))
    }

    /// How often it was added to, and taken back from.
    pub(super) const fn changes(&self) -> (usize, usize) {
        self.changes
    }

    /// Whether the rules of any pod that is somewhere could be about this one.
    pub(super) fn may_be_refused(&self, pod: &Pod) -> bool {
        let looks = |term: &PodTerm, of: &Pod| {
            let own = term.namespaces.is_empty() && of.namespace == pod.namespace;
            own || term.by_namespace_label || term.namespaces.contains(&pod.namespace)
        };
        self.refusing(&pod.namespace).any(|(_, other)| other.anti_affinity.iter().any(|term| looks(term, other)))
    }
}
