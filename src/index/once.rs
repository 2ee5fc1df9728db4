//! The picture without a watch: for tools that ask once.

use std::{fmt::Debug, hash::Hash, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{Namespace as KubeNamespace, Node as KubeNode, Pod as KubePod, ResourceQuota},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, ResourceExt,
    core::{DynamicObject, PartialObjectMeta},
    discovery::ApiResource,
    runtime::watcher::Event,
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;

use super::{
    Asking, Index, Latency, Tables, convert, database, images,
    seen::{keyed_by_name, keyed_by_uid, namespace, reckoned},
};
use crate::{
    api::{DatabaseCluster, NodeLatency},
    cluster::{EffectError, list, watch::Table},
    core::{images::Images, map::Grouping, moment::Moment, schedulers::Schedulers},
};

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
#[error("can't list the {kind}s")]
pub struct LookError {
    pub kind: &'static str,
    pub source: EffectError,
}

impl Index {
    /// The tables as the API server has them now, from one list of each kind. What the watches would fill them with, and
    /// nothing keeps them current. Readings are as old as their heartbeats say at `now`, which is when this begins.
    ///
    /// # Errors
    /// A list failed, such as for missing rights.
    pub async fn look_once(client: &Client, schedulers: &Schedulers, now: Moment) -> Result<Tables, LookError> {
        let all = || client.clone();
        let resource = ApiResource::erase::<DatabaseCluster>(&());
        let received = |object: NodeLatency| {
            let received = reckoned(object.spec.heartbeat, now.wall, now.instant);
            (object.name_any(), Some(Latency { spec: object.spec, received }))
        };
        let images = Mutex::new(Images::default());
        let node = |object: KubeNode| {
            images::of_node(&mut images.lock(), &object);
            convert::node(object)
        };
        let pod = |object: KubePod| {
            images::of_pod(&mut images.lock(), &object);
            convert::pod(object, schedulers)
        };
        let (databases, latencies, nodes, namespaces, pods, replica_sets, stateful_sets, deployments, budgets, quotas) =
            tokio::try_join!(
                table("DatabaseCluster", Api::<DynamicObject>::all_with(all(), &resource), database),
                table("NodeLatency", Api::all(all()), received),
                table("Node", Api::<KubeNode>::all(all()), keyed_by_name(node)),
                table("Namespace", Api::<PartialObjectMeta<KubeNamespace>>::all(all()), namespace),
                table("Pod", Api::<KubePod>::all(all()), keyed_by_uid(pod)),
                table("ReplicaSet", Api::<ReplicaSet>::all(all()), keyed_by_uid(convert::replica_set)),
                table("StatefulSet", Api::<StatefulSet>::all(all()), keyed_by_uid(convert::stateful_set)),
                table("Deployment", Api::<Deployment>::all(all()), keyed_by_uid(convert::deployment)),
                table("PodDisruptionBudget", Api::<PodDisruptionBudget>::all(all()), keyed_by_uid(convert::budget)),
                table("ResourceQuota", Api::<ResourceQuota>::all(all()), keyed_by_uid(convert::quota)),
            )?;
        let workloads = [replica_sets, stateful_sets, deployments, Table::default()];
        let mut tables =
            Tables { nodes, pods, workloads, budgets, namespaces, quotas, latencies, databases, ..Tables::default() };
        tables.images = Arc::new(images.into_inner());
        tables.gather_workloads();
        Asking::new(client).look_once(&mut tables).await;
        Ok(tables)
    }
}

/// The table of one kind, from a list.
async fn table<K, Key, Value, Groups>(
    kind: &'static str,
    api: Api<K>,
    convert: impl Fn(K) -> (Key, Option<Value>),
) -> Result<Table<Key, Value, Groups>, LookError>
where
    K: Clone + DeserializeOwned + Debug,
    Key: Eq + Hash + Clone,
    Value: PartialEq,
    Groups: Grouping<Value>,
{
    let mut table = Table::default();
    table.apply(Event::Init, &convert);
    let listed = list(&api, |object| {
        table.apply(Event::InitApply(object), &convert);
    });
    listed.await.map_err(|source| LookError { kind, source })?;
    table.apply(Event::InitDone, &convert);
    Ok(table)
}

#[cfg(test)]
mod tests;
