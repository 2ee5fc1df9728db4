//! What decisions are made from, as a file: the cluster's objects at one moment, pared down to what is read of them. No Secret is
//! among them, and of containers neither environment nor commands.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{
        Container, ContainerStatus, Namespace as KubeNamespace, Node as KubeNode, NodeStatus, Pod as KubePod, PodSpec,
        PodStatus, PodTemplateSpec, ResourceQuota, Volume,
    },
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, ResourceExt,
    core::{DynamicObject, ObjectMeta, PartialObjectMeta},
    discovery::ApiResource,
    runtime::watcher::Event,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Latency, LookError, Tables, convert::MARKS, images, seen::reckoned};
use crate::{
    api::{DatabaseCluster, NodeLatency, keys},
    cluster::list,
    core::{images::Images, moment::Moment, schedulers::Schedulers},
};

/// What stands in the file so that nothing else is taken for one.
const KIND: &str = "SwitchoverSnapshot";
/// The form of the file.
const VERSION: u32 = 1;

/// The objects of a cluster at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSnapshot {
    kind: String,
    version: u32,
    /// By the clock of the machine that took it.
    pub taken_at: Timestamp,
    databases: Vec<DynamicObject>,
    latencies: Vec<NodeLatency>,
    nodes: Vec<KubeNode>,
    namespaces: Vec<PartialObjectMeta<KubeNamespace>>,
    pods: Vec<KubePod>,
    replica_sets: Vec<ReplicaSet>,
    stateful_sets: Vec<StatefulSet>,
    deployments: Vec<Deployment>,
    budgets: Vec<PodDisruptionBudget>,
    quotas: Vec<ResourceQuota>,
}

/// Why a file is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("it is no snapshot: write one by switchover snapshot -o FILE")]
    Json(#[source] serde_json::Error),
    #[error("it is a {0}, and no {KIND}: write one by switchover snapshot -o FILE")]
    Kind(String),
    #[error("another version of switchover wrote it (form {0}, here it is {VERSION}): read it by that one")]
    Version(u32),
}

impl ClusterSnapshot {
    /// As the API server has them now, from one list of each kind, whose objects are pared as they come.
    ///
    /// # Errors
    /// A list failed, such as for missing rights.
    pub async fn take(client: &Client, taken_at: Timestamp) -> Result<Self, LookError> {
        let all = || client.clone();
        let resource = ApiResource::erase::<DatabaseCluster>(&());
        let (databases, latencies, nodes, namespaces, pods, replica_sets, stateful_sets, deployments, budgets, quotas) =
            tokio::try_join!(
                listed("DatabaseCluster", Api::<DynamicObject>::all_with(all(), &resource), |it| pare(
                    &mut it.metadata
                )),
                listed("NodeLatency", Api::<NodeLatency>::all(all()), |it| pare(&mut it.metadata)),
                listed("Node", Api::<KubeNode>::all(all()), pare_node),
                listed("Namespace", Api::<PartialObjectMeta<KubeNamespace>>::all(all()), |it| pare(&mut it.metadata)),
                listed("Pod", Api::<KubePod>::all(all()), pare_pod),
                listed("ReplicaSet", Api::<ReplicaSet>::all(all()), |it| {
                    pare(&mut it.metadata);
                    it.spec.iter_mut().flat_map(|spec| &mut spec.template).for_each(pare_template);
                }),
                listed("StatefulSet", Api::<StatefulSet>::all(all()), |it| {
                    pare(&mut it.metadata);
                    if let Some(spec) = &mut it.spec {
                        pare_template(&mut spec.template);
                        spec.volume_claim_templates = None;
                    }
                }),
                listed("Deployment", Api::<Deployment>::all(all()), |it| {
                    pare(&mut it.metadata);
                    it.spec.iter_mut().for_each(|spec| pare_template(&mut spec.template));
                }),
                listed("PodDisruptionBudget", Api::<PodDisruptionBudget>::all(all()), |it| pare(&mut it.metadata)),
                listed("ResourceQuota", Api::<ResourceQuota>::all(all()), |it| pare(&mut it.metadata)),
            )?;
        let kind = KIND.to_owned();
        Ok(Self {
            kind,
            version: VERSION,
            taken_at,
            databases,
            latencies,
            nodes,
            namespaces,
            pods,
            replica_sets,
            stateful_sets,
            deployments,
            budgets,
            quotas,
        })
    }

    /// Reads what was written.
    ///
    /// # Errors
    /// It is something else, or of another version.
    pub fn read(bytes: &[u8]) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            kind: String,
            #[serde(default)]
            version: u32,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(SnapshotError::Json)?;
        if head.kind != KIND {
            return Err(SnapshotError::Kind(head.kind));
        }
        if head.version != VERSION {
            return Err(SnapshotError::Version(head.version));
        }
        serde_json::from_slice(bytes).map_err(SnapshotError::Json)
    }

    /// What a look at the cluster would have found. `now` is when it was taken, by both clocks.
    #[must_use]
    pub fn tables(self, schedulers: &Schedulers, now: Moment) -> Tables {
        let mut tables = Tables::default();
        for it in self.databases {
            tables.see_database(Event::Apply(it));
        }
        for it in self.latencies {
            let received = reckoned(it.spec.heartbeat, now.wall, now.instant);
            tables.put_latency(&it.name_any(), Latency { spec: it.spec, received });
        }
        let mut images = Images::default();
        self.nodes.iter().for_each(|it| images::of_node(&mut images, it));
        self.pods.iter().for_each(|it| images::of_pod(&mut images, it));
        tables.images = Arc::new(images);
        for it in self.nodes {
            tables.see_node(Event::Apply(it));
        }
        for it in self.namespaces {
            tables.see_namespace(Event::Apply(it));
        }
        for it in self.pods {
            tables.see_pod(Event::Apply(it), schedulers);
        }
        for it in self.replica_sets {
            tables.see_replica_set(Event::Apply(it));
        }
        for it in self.stateful_sets {
            tables.see_stateful_set(Event::Apply(it));
        }
        for it in self.deployments {
            tables.see_deployment(Event::Apply(it));
        }
        for it in self.budgets {
            tables.see_budget(Event::Apply(it));
        }
        for it in self.quotas {
            tables.see_quota(Event::Apply(it));
        }
        tables
    }
}

async fn listed<K>(kind: &'static str, api: Api<K>, pare: impl Fn(&mut K)) -> Result<Vec<K>, LookError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut all = Vec::new();
    let listed = list(&api, |mut object: K| {
        pare(&mut object);
        all.push(object);
    });
    listed.await.map_err(|source| LookError { kind, source })?;
    Ok(all)
}

/// Nobody's annotations but ours and those that decide something.
fn pare(meta: &mut ObjectMeta) {
    meta.managed_fields = None;
    meta.self_link = None;
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|key, _| is_read(key));
    }
}

fn is_read(key: &str) -> bool {
    key.starts_with(keys::DOMAIN) || key == "kubernetes.io/config.mirror" || MARKS.iter().any(|(mark, _)| *mark == key)
}

fn pare_node(node: &mut KubeNode) {
    pare(&mut node.metadata);
    if let Some(status) = node.status.take() {
        let NodeStatus { allocatable, conditions, images, .. } = status;
        node.status = Some(NodeStatus { allocatable, conditions, images, ..NodeStatus::default() });
    }
}

fn pare_pod(pod: &mut KubePod) {
    pare(&mut pod.metadata);
    if let Some(spec) = &mut pod.spec {
        pare_spec(spec);
    }
    if let Some(status) = pod.status.take() {
        let PodStatus { phase, conditions, nominated_node_name, container_statuses, init_container_statuses, .. } =
            status;
        let statuses = |all: Option<Vec<ContainerStatus>>| all.map(|all| all.into_iter().map(pared_status).collect());
        pod.status = Some(PodStatus {
            phase,
            conditions,
            nominated_node_name,
            container_statuses: statuses(container_statuses),
            init_container_statuses: statuses(init_container_statuses),
            ..PodStatus::default()
        });
    }
}

fn pared_status(status: ContainerStatus) -> ContainerStatus {
    let ContainerStatus { name, restart_count, allocated_resources, resources, ready, .. } = status;
    ContainerStatus { name, restart_count, allocated_resources, resources, ready, ..ContainerStatus::default() }
}

fn pare_template(template: &mut PodTemplateSpec) {
    if let Some(meta) = &mut template.metadata {
        pare(meta);
    }
    if let Some(spec) = &mut template.spec {
        pare_spec(spec);
    }
}

fn pare_spec(spec: &mut PodSpec) {
    let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
    for container in containers {
        let Container { name, image, resources, ports, restart_policy, .. } = std::mem::take(container);
        *container = Container { name, image, resources, ports, restart_policy, ..Container::default() };
    }
    spec.ephemeral_containers = None;
    spec.image_pull_secrets = None;
    spec.host_aliases = None;
    for volume in spec.volumes.iter_mut().flatten() {
        // What ties a pod to its node stays; what is in the others is nobody's business.
        let kept =
            Volume { config_map: None, secret: None, projected: None, csi: None, downward_api: None, ..volume.clone() };
        *volume = kept;
    }
}

/// How many objects of each kind there are.
impl ClusterSnapshot {
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        BTreeMap::from([
            ("databases", self.databases.len()),
            ("nodes", self.nodes.len()),
            ("pods", self.pods.len()),
            ("workloads", self.deployments.len() + self.stateful_sets.len() + self.replica_sets.len()),
        ])
    }
}

#[cfg(test)]
mod tests;
