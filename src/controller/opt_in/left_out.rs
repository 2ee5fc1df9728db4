//! Namespaces that opted in and get nothing of it: all their pods are left alone, or pods of theirs are refused.

use std::collections::{BTreeMap, BTreeSet};

use super::Said;
use crate::{
    cluster::EventReason,
    core::{
        follow::{Annotations, Follow},
        workload::{Phase, Pod},
    },
    index::Tables,
};

/// What is told of each such namespace.
pub(super) fn left_out(tables: &Tables) -> BTreeMap<String, Vec<Said>> {
    let following = tables.namespaces.values().filter(|namespace| {
        let lookup = |name: &str| tables.defaults(name);
        let says = namespace.wishes.says();
        Follow::resolve(namespace.opt_in.as_deref(), &says, &Annotations::default(), lookup).databases.is_ok()
    });
    let following: BTreeSet<&str> = following.map(|namespace| namespace.name.as_str()).collect();
    let mut said = all_left_alone(tables, &following);
    for (namespace, refused) in refused(tables, &following) {
        said.entry(namespace).or_default().push(refused);
    }
    said
}

/// Those of whose pods none can be drawn, such as where a platform gives every pod another scheduler.
fn all_left_alone(tables: &Tables, following: &BTreeSet<&str>) -> BTreeMap<String, Vec<Said>> {
    // Of each namespace the first pod that is left alone, as long as no other one isn't.
    let mut namespaces: BTreeMap<&str, Option<&Pod>> = BTreeMap::new();
    let could_follow = |pod: &&Pod| {
        let of_a_node = pod.mirror || pod.owner.as_ref().is_some_and(|owner| owner.kind == "DaemonSet");
        !of_a_node && pod.phase != Phase::Finished && following.contains(pod.namespace.as_str())
    };
    for pod in tables.snapshot().pods().filter(could_follow) {
        let alone = pod.not_injected.is_some().then_some(pod);
        namespaces
            .entry(&pod.namespace)
            .and_modify(|first| {
                *first = first.zip(alone).map(|(first, pod)| if pod.name < first.name { pod } else { first });
            })
            .or_insert(alone);
    }
    let told = namespaces.into_iter().filter_map(|(namespace, first)| {
        let (pod, why) = first.and_then(|pod| Some((pod, pod.not_injected.as_ref()?)))?;
        let note = format!(
            "every pod of this namespace is left alone, such as {}: {why}. A scheduler that goes by node affinity is named in \
             --schedulers of the controller and the webhook",
            pod.name
        );
        let said = Said { reason: EventReason::PodsLeftAlone, about: why.clone(), note };
        Some((namespace.to_owned(), vec![said]))
    });
    told.collect()
}

/// Those in which a ReplicaSet can't create its pods, with what the API server says: a policy may refuse the affinity that
/// is injected. One of each namespace, because they have most often one cause.
fn refused(tables: &Tables, following: &BTreeSet<&str>) -> BTreeMap<String, Said> {
    let mut told: BTreeMap<String, Said> = BTreeMap::new();
    for set in tables.snapshot().workloads.values().filter(|set| following.contains(set.namespace.as_str())) {
        let Some(why) = &set.refused else { continue };
        let about = format!("{} {}", set.kind, set.name);
        if told.get(&set.namespace).is_some_and(|first| first.about <= about) {
            continue;
        }
        let note = format!(
            "{about} can't create its pods: {why} — if that is for the node affinity that switchover injects, let the policy \
             take it, or write switchover.dev/follow: none into the pod template"
        );
        told.insert(set.namespace.clone(), Said { reason: EventReason::PodsRefused, about, note });
    }
    told
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::testing::{World, pod};

    fn told(world: &World) -> Vec<String> {
        let mut tables = Tables::from(world);
        tables.follow("shop", "orders");
        let orders = serde_json::json!({
            "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "metadata": {"name": "orders"},
            "spec": {"discovery": {"patroni": {"urls": ["http://10.0.0.1:8008"]}}},
        });
        tables.put_database(&serde_json::from_value(orders).unwrap());
        left_out(&tables).into_values().flatten().map(|said| said.note).collect()
    }

    #[test]
    fn a_namespace_is_told_when_all_its_pods_are_left_alone_and_not_when_some_are() {
        let alone = |name: &str| Pod { not_injected: Some("it is scheduled by packer".into()), ..pod(name) };
        let world = World::with_nodes("a1=closely").pod(alone("web-2")).pod(alone("web-1"));
        let expected = "every pod of this namespace is left alone, such as web-1: it is scheduled by packer. A scheduler that \
                        goes by node affinity is named in --schedulers of the controller and the webhook";
        assert_eq!(told(&world), [expected]);
        assert_eq!(told(&world.pod(pod("web-3"))), Vec::<String>::new());
        assert_eq!(told(&World::with_nodes("a1=closely").pod(pod("web-1"))), Vec::<String>::new());
    }

    #[test]
    fn a_namespace_is_told_once_of_pods_that_are_refused() {
        let mut world = World::with_nodes("a1=closely").workload("ReplicaSet/web", 2).workload("ReplicaSet/api", 2);
        assert_eq!(told(&world), Vec::<String>::new());
        for set in world.workloads.values_mut() {
            Arc::make_mut(set).refused = Some("pods \"x\" is forbidden: no node affinity here".into());
        }
        let expected = "ReplicaSet api can't create its pods: pods \"x\" is forbidden: no node affinity here — if that is for \
                        the node affinity that switchover injects, let the policy take it, or write switchover.dev/follow: \
                        none into the pod template";
        assert_eq!(told(&world), [expected]);
    }
}
