//! The workloads of the namespaces that follow, and the disruption budgets there.

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::PodTemplateSpec,
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{listed, tried::following};
use crate::{
    api::keys,
    commands::check::facts::{Facts, Follower, Seen},
    core::{selector::Labels, weakness::Budget, workload::Workload},
    index,
};

/// Namespaces that are looked into at the same time.
const AT_ONCE: usize = 4;

pub(super) async fn look(client: &Client, facts: &Facts) -> Seen<Vec<Follower>> {
    let one = |namespace: String| async move { of_namespace(client, &namespace).await };
    let all: Vec<Seen<Vec<Follower>>> = stream::iter(following(facts)).map(one).buffered(AT_ONCE).collect().await;
    Ok(all.into_iter().collect::<Seen<Vec<_>>>()?.into_iter().flatten().collect())
}

async fn of_namespace(client: &Client, namespace: &str) -> Seen<Vec<Follower>> {
    let all = ListParams::default;
    let (deployments, sets, budgets) = tokio::join!(
        listed("Deployments", Api::<Deployment>::namespaced(client.clone(), namespace), all()),
        listed("StatefulSets", Api::<StatefulSet>::namespaced(client.clone(), namespace), all()),
        listed("PodDisruptionBudgets", Api::<PodDisruptionBudget>::namespaced(client.clone(), namespace), all()),
    );
    let budgets = budgets?;
    let deployments = deployments?.into_iter().map(|it| {
        let spec = it.spec.clone().unwrap_or_default();
        (index::deployment(it), spec.min_ready_seconds, spec.template)
    });
    let sets = sets?.into_iter().map(|it| {
        let spec = it.spec.clone().unwrap_or_default();
        (index::stateful_set(it), spec.min_ready_seconds, spec.template)
    });
    let all = deployments.chain(sets).filter(|(_, _, template)| !stays_out(template));
    Ok(all.map(|(workload, min_ready_s, template)| follower(workload, min_ready_s, template, &budgets)).collect())
}

/// Whether its pods say themselves that they follow nobody, or are never moved.
fn stays_out(template: &PodTemplateSpec) -> bool {
    let annotations = template.metadata.as_ref().and_then(|it| it.annotations.as_ref());
    let says = |key: &str, value: &str| annotations.and_then(|it| it.get(key)).is_some_and(|it| it == value);
    says(keys::FOLLOW, keys::FOLLOW_NONE) || says(keys::MOVE, "never")
}

fn follower(
    workload: Workload,
    min_ready_s: Option<i32>,
    template: PodTemplateSpec,
    budgets: &[PodDisruptionBudget],
) -> Follower {
    let labels: Labels = template.metadata.and_then(|it| it.labels).unwrap_or_default().into_iter().collect();
    let covering = budgets.iter().filter(|budget| {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone());
        index::selector(selector).matches(&labels)
    });
    let count = |number: i32| u32::try_from(number).unwrap_or(0);
    let budget = |budget: &PodDisruptionBudget| {
        let status = budget.status.clone().unwrap_or_default();
        Budget { name: budget.name_any(), covers: count(status.expected_pods), wants: count(status.desired_healthy) }
    };
    Follower {
        workload,
        min_ready_s: count(min_ready_s.unwrap_or(0)),
        pod: serde_json::to_value(template.spec).unwrap_or_default(),
        budgets: covering.map(budget).collect(),
    }
}
