//! Those that are somewhere in thought, by what is asked of them.

use super::Resident;
use crate::core::{hash::HashMap, workload::Pod};

/// Everybody who is somewhere in thought.
#[derive(Debug, Default)]
pub(super) struct Added<'a> {
    by_namespace: HashMap<&'a str, Vec<Resident<'a>>>,
    /// In how many places each pod is, by UID.
    places: HashMap<&'a str, usize>,
    /// Those that refuse others by required anti-affinity.
    pub refusing: Ruling<'a>,
    /// Those that draw others to them, or away from them.
    pub drawing: Ruling<'a>,
}

/// Those that have rules of one sort about others, and where they are.
#[derive(Debug, Default)]
pub(super) struct Ruling<'a> {
    /// Their rules look at their own namespace alone, by it.
    at_home: HashMap<&'a str, Vec<(&'a str, &'a Pod)>>,
    anywhere: Vec<(&'a str, &'a Pod)>,
}

impl<'a> Ruling<'a> {
    /// Those of this namespace whose rules look at it alone.
    pub(super) fn at_home<'r>(&'r self, namespace: &str) -> impl Iterator<Item = (&'a str, &'a Pod)> + use<'r, 'a> {
        self.at_home.get(namespace).into_iter().flatten().copied()
    }

    /// Those whose rules look at other namespaces, too.
    pub(super) fn anywhere<'r>(&'r self) -> impl Iterator<Item = (&'a str, &'a Pod)> + use<'r, 'a> {
        self.anywhere.iter().copied()
    }

    fn of(&mut self, pod: &'a Pod, at_home: bool) -> &mut Vec<(&'a str, &'a Pod)> {
        if at_home { self.at_home.entry(&pod.namespace).or_default() } else { &mut self.anywhere }
    }
}

/// Takes the last of these away that is the pod on this node.
fn take(from: &mut Vec<(&str, &Pod)>, node: &str, uid: &str) {
    if let Some(last) = from.iter().rposition(|(at, pod)| *at == node && pod.uid == uid) {
        from.remove(last);
    }
}

impl<'a> Added<'a> {
    pub(super) fn add(&mut self, resident: Resident<'a>) {
        let Resident { node, pod, .. } = resident;
        self.by_namespace.entry(&pod.namespace).or_default().push(resident);
        *self.places.entry(&pod.uid).or_default() += 1;
        if pod.refuses() {
            self.refusing.of(pod, pod.refuses_at_home()).push((node, pod));
        }
        if pod.draws() {
            self.drawing.of(pod, pod.draws_at_home()).push((node, pod));
        }
    }

    /// Takes the last one away that is the pod on this node, and isn't leaving it.
    pub(super) fn take(&mut self, pod: &'a Pod, node: &str) -> Option<Resident<'a>> {
        let residents = self.by_namespace.get_mut(&*pod.namespace)?;
        let last = residents.iter().rposition(|it| it.node == node && it.pod.uid == pod.uid && !it.leaving)?;
        let resident = residents.remove(last);
        self.places.entry(&resident.pod.uid).and_modify(|places| *places -= 1);
        if resident.pod.refuses() {
            take(self.refusing.of(resident.pod, resident.pod.refuses_at_home()), node, &pod.uid);
        }
        if resident.pod.draws() {
            take(self.drawing.of(resident.pod, resident.pod.draws_at_home()), node, &pod.uid);
        }
        Some(resident)
    }

    /// Wherever a pod is.
    pub(super) fn places_of(&mut self, pod: &Pod) -> impl Iterator<Item = &mut Resident<'a>> {
        let there = self.is_there(pod);
        let residents = self.by_namespace.get_mut(&*pod.namespace).into_iter().flatten();
        residents.filter(move |it| there && it.pod.uid == pod.uid)
    }

    /// Whether a pod is anywhere.
    pub(super) fn is_there(&self, pod: &Pod) -> bool {
        self.places.get(&*pod.uid).is_some_and(|places| *places > 0)
    }

    /// Those of one namespace.
    pub(super) fn of_namespace<'r>(&'r self, namespace: &str) -> impl Iterator<Item = Resident<'a>> + use<'r, 'a> {
        self.by_namespace.get(namespace).into_iter().flatten().copied()
    }

    pub(super) fn all<'r>(&'r self) -> impl Iterator<Item = Resident<'a>> + use<'r, 'a> {
        self.by_namespace.values().flatten().copied()
    }
}
