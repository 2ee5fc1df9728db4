//! Whom a term of a rule about other pods selects.

use crate::core::workload::{Pod, PodTerm, Snapshot};

/// Whether a term of a pod of this namespace selects `other`; `None` where that depends on labels that nobody knows.
pub(super) fn selects(snapshot: Snapshot<'_>, term: &PodTerm, namespace: &str, other: &Pod) -> Option<bool> {
    if !term.selector.matches(&other.labels) {
        return Some(false);
    }
    let labels = snapshot.namespaces.get(&other.namespace).map(|namespace| &namespace.labels);
    term.looks_at(namespace, &other.namespace, labels)
}

/// Whether a term of a pod of this namespace selects `other`, as far as anybody knows.
pub(super) fn may_select(snapshot: Snapshot<'_>, term: &PodTerm, namespace: &str, other: &Pod) -> bool {
    selects(snapshot, term, namespace, other) != Some(false)
}
