//! What admission required under a key that no followed database has any more: `spec.nodeLabel` was changed, or the pod's namespace follows
//! another database. No node bears such a key for long, and the replacement isn't given it.

use std::{borrow::Cow, collections::BTreeSet};

use super::{is_empty, says};
use crate::core::{
    follow::{AffinityMode, FollowedDatabase},
    selector::NodeTerm,
    shared::Shared,
    workload::{Pod, RequiredFor},
};

/// Takes it out of the pod's rules.
///
/// The record on a pod tells for which databases something was required, but not under which key. What one of them requires now accounts
/// for it; else it is a rule of the same words under a key that none of them has. Where there are more of these than the record accounts
/// for, some are the pod's own, nobody can say which, and all stay: to end a pod whose replacement finds no node is worse.
pub(super) fn forget(terms: &mut Cow<'_, Option<Shared<Vec<NodeTerm>>>>, pod: &Pod, databases: &[FollowedDatabase]) {
    let Some(own) = pod.node_terms.as_ref().filter(|_| !pod.required_for.is_empty()) else { return };
    let former = [AffinityMode::Required, AffinityMode::AvoidFar].map(|mode| (mode, former(own, mode, pod, databases)));
    if former.iter().all(|(_, keys)| keys.is_empty()) {
        return;
    }
    let left = |term: &NodeTerm| {
        let mut term = term.clone();
        let gone = |key: &str, mode_says: bool, keys: &BTreeSet<&str>| mode_says && keys.contains(key);
        term.expressions.retain(|it| !former.iter().any(|(mode, keys)| gone(&it.key, says(it, *mode), keys)));
        term
    };
    let left: Vec<NodeTerm> = own.iter().map(left).collect();
    let emptied = |(before, after): (&NodeTerm, &NodeTerm)| !is_empty(before) && is_empty(after);
    *terms = match (own.iter().zip(&left).any(emptied), left.len()) {
        (false, _) => Cow::Owned(Some(left.into())),
        // The pod had no rules before it was injected.
        (true, 1) => Cow::Owned(None),
        // Admission puts a requirement into every term: somebody else has written since.
        (true, _) => return,
    };
}

/// The keys under which a mode was required, and that no followed database has.
fn former<'p>(own: &'p [NodeTerm], mode: AffinityMode, pod: &Pod, databases: &[FollowedDatabase]) -> BTreeSet<&'p str> {
    let requirements = || own.iter().flat_map(|term| &term.expressions).filter(|it| says(it, mode));
    let accounted = |record: &&RequiredFor| {
        let now = databases.iter().find(|database| *database.name == *record.database);
        now.is_some_and(|database| {
            let key = &*database.node_label;
            pod.node_selector.contains_key(key) || requirements().any(|it| it.key == *key)
        })
    };
    let records = pod.required_for.iter().filter(|record| record.mode == mode);
    let unaccounted = records.filter(|record| !accounted(record)).count();
    let ours = |key: &str| databases.iter().any(|database| *database.node_label == *key);
    let keys: BTreeSet<&str> = requirements().map(|it| &*it.key).filter(|key| !ours(key)).collect();
    if keys.len() <= unaccounted { keys } else { BTreeSet::new() }
}
