//! Nodes, readings, workloads and pods, which are only objects.

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{Namespace, Node, Pod, ServiceAccount},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams},
};
use lab::scripted::host;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use switchover::api::{NodeLatency, keys};

/// Requests of the bench itself that are under way at the same time.
const CONCURRENT: usize = 48;
/// Pods of a ReplicaSet.
const REPLICAS: usize = 100;
/// ReplicaSets of a namespace.
const WORKLOADS: usize = 10;

/// How much of everything there is.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// Also what every name begins with.
    pub name: &'static str,
    pub nodes: usize,
    pub pods: usize,
    /// Names of the databases.
    pub databases: Vec<String>,
    /// Every pod is in the data centre of the primaries.
    pub near: bool,
}

async fn create<K>(api: Api<K>, count: usize, object: impl Fn(usize) -> Value) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let (api, object) = (&api, &object);
    let one = |number: usize| async move {
        let object: K = serde_json::from_value(object(number))?;
        api.create(&PostParams::default(), &object).await?;
        Ok::<(), anyhow::Error>(())
    };
    stream::iter(0..count).map(one).buffer_unordered(CONCURRENT).try_collect::<()>().await
}

impl Fleet {
    /// Makes all of it.
    pub(crate) async fn create(&self, client: &Client) -> Result<()> {
        let all = || client.clone();
        create(Api::<Node>::all(all()), self.nodes, |it| self.node(it)).await?;
        create(Api::<NodeLatency>::all(all()), self.nodes, |it| self.latency(it)).await?;
        let workloads = self.pods.div_ceil(REPLICAS);
        let namespaces = workloads.div_ceil(WORKLOADS);
        create(Api::<Namespace>::all(all()), namespaces, |it| self.namespace(it)).await?;
        // Admission wants it for every pod, and the controller that makes it is gone.
        for number in 0..namespaces {
            let accounts = Api::<ServiceAccount>::namespaced(all(), &self.namespace_name(number));
            create(accounts, 1, |_| json!({"metadata": {"name": "default"}})).await?;
        }
        let one = |number: usize| async move {
            let sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &self.namespace_of(number));
            let set: ReplicaSet = serde_json::from_value(self.replica_set(number))?;
            let uid = sets.create(&PostParams::default(), &set).await?.metadata.uid.unwrap_or_default();
            self.create_pods(client, number, &uid).await
        };
        stream::iter(0..workloads).map(one).buffer_unordered(CONCURRENT).try_collect::<()>().await
    }

    async fn create_pods(&self, client: &Client, workload: usize, owner: &str) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &self.namespace_of(workload));
        for number in workload * REPLICAS..self.pods.min((workload + 1) * REPLICAS) {
            let pod: Pod = serde_json::from_value(self.pod(number, owner))?;
            pods.create(&PostParams::default(), &pod).await?;
            // What a kubelet would say.
            let ready = json!({"status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": Timestamp::now()}],
            }});
            let name = self.pod_name(number);
            pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(ready)).await?;
        }
        Ok(())
    }

    /// Writes to a pod, as somebody who watches it might.
    pub(crate) async fn change(&self, client: &Client, number: usize, round: usize) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(client.clone(), &self.namespace_of(number / REPLICAS));
        let patch = json!({"metadata": {"labels": {"round": round.to_string()}}});
        pods.patch(&self.pod_name(number), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    fn namespace_of(&self, workload: usize) -> String {
        self.namespace_name(workload / WORKLOADS)
    }

    fn namespace_name(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    fn pod_name(&self, number: usize) -> String {
        format!("app-{}-7d4b9c6f5d-{number:05}", number / REPLICAS)
    }

    fn node_name(&self, number: usize) -> String {
        format!("{}-{number}", self.name)
    }

    fn node(&self, number: usize) -> Value {
        let mut labels = json!({
            "kubernetes.io/hostname": self.node_name(number), "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": format!("dc{}", number % 3 + 1),
        });
        // Hundreds of databases were there before.
        for database in self.databases.iter().filter(|_| self.near) {
            labels[keys::default_node_label(database)] = ["closely", "intermediate", "far"][number % 3].into();
        }
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": self.node_name(number), "labels": labels},
            "status": {
                "allocatable": {"cpu": "16", "memory": "64Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        })
    }

    fn latency(&self, number: usize) -> Value {
        let us = |member: usize| {
            let far = (number % 3 + 1).abs_diff(member);
            [300, 8_000, 20_000][far] + number % 7 * 30
        };
        // Of two members each: there is room for 512 readings.
        let of = |database: &String| {
            let readings =
                |it: usize| json!({"host": host(database, &format!("pg{it}")), "rttUs": us(it), "samples": 10});
            [1, 2].map(readings)
        };
        let readings: Vec<Value> = self.databases.iter().flat_map(of).collect();
        json!({
            "apiVersion": "switchover.dev/v1alpha1", "kind": "NodeLatency",
            "metadata": {"name": self.node_name(number)},
            "spec": {"heartbeat": Timestamp::now(), "memberCount": readings.len(), "readings": readings},
        })
    }

    fn namespace(&self, number: usize) -> Value {
        let follow = &self.databases[number % self.databases.len()];
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": self.namespace_name(number), "labels": {"switchover.dev/follow": follow}},
        })
    }

    fn replica_set(&self, number: usize) -> Value {
        let labels = json!({"app": format!("app-{number}")});
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {"name": format!("app-{number}-7d4b9c6f5d")},
            "spec": {
                "replicas": REPLICAS, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}},
            },
        })
    }

    fn pod(&self, number: usize, owner: &str) -> Value {
        let workload = number / REPLICAS;
        let database = &self.databases[workload / WORKLOADS % self.databases.len()];
        let node = if self.near { number % (self.nodes / 3) * 3 } else { number % self.nodes };
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": self.pod_name(number),
                "labels": {
                    "app": format!("app-{workload}"), "app.kubernetes.io/part-of": "shop", "pod-template-hash": "7d4b9c6f5d",
                },
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("app-{workload}-7d4b9c6f5d"),
                    "uid": owner, "controller": true,
                }],
            },
            "spec": {
                "nodeName": self.node_name(node),
                "containers": [{
                    "name": "app", "image": "registry.example/app:1",
                    "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}},
                }],
                "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                    "weight": 100,
                    "preference": {"matchExpressions": [
                        {"key": keys::default_node_label(database), "operator": "In", "values": ["closely"]},
                    ]},
                }]}},
            },
        })
    }
}
