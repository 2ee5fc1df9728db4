//! A cluster in memory, as watches would tell of it: objects as the API server writes them, one event each.
//!
//! Three data centres have a third of the nodes each; those of the first one are near pg1. Workloads are Deployments; every
//! fifth one's pods are never two on one node, every seventh one's are spread over zones.

use std::time::Instant;

use jiff::Timestamp;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use switchover::{
    core::{moment::Moment, schedulers::Schedulers},
    index::Tables,
};

/// How many of what there are, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub nodes: usize,
    pub pods: usize,
    pub databases: usize,
    /// Of the pods, in the farthest data centre; the others are in the nearest one.
    pub far: usize,
    /// Those that are far follow nobody.
    pub far_are_others: bool,
    /// The nodes that aren't far have room for nobody else.
    pub full: bool,
    /// The second data centre has room for about half of the pods.
    pub scarce: bool,
}

/// Replicas of a workload.
pub(crate) const REPLICAS: usize = 100;
/// Workloads of a namespace.
const WORKLOADS: usize = 10;
const CPU_M: usize = 500;

pub(crate) fn name_of(database: usize) -> String {
    format!("db-{database}")
}

/// Member `pgN` of a database, and its host.
pub(crate) fn host(database: usize, member: usize) -> String {
    format!("10.{}.{}.{member}", database / 256, database % 256)
}

fn read<K: DeserializeOwned>(object: Value) -> Event<K> {
    Event::Apply(serde_json::from_value(object).expect("an object"))
}

impl Plan {
    /// The number of the node that a pod is on. Pods of data centre 1 are on nodes 0, 3, 6 and so on.
    fn node_of(&self, pod: usize) -> usize {
        let there = self.nodes / 3;
        if pod < self.far { pod % there * 3 + 2 } else { (pod - self.far) % there * 3 }
    }

    pub(crate) fn tables(&self, now: Moment) -> Tables {
        let mut tables = Tables::default();
        for it in 0..self.databases {
            tables.see_database(read(self.database(it)));
        }
        for it in 0..self.nodes {
            tables.see_node(read(self.node(it)));
            tables.see_latency(read(self.latency(it, now.wall)), now);
        }
        let workloads = self.pods.div_ceil(REPLICAS);
        for it in 0..workloads.div_ceil(WORKLOADS) {
            tables.see_namespace(read(self.namespace(it)));
        }
        for it in 0..workloads {
            tables.see_deployment(read(workload(it, "Deployment")));
            tables.see_replica_set(read(workload(it, "ReplicaSet")));
            tables.see_budget(read(budget(it)));
        }
        let schedulers = Schedulers::default();
        for it in 0..self.pods {
            tables.see_pod(read(self.pod(it)), &schedulers);
        }
        tables
    }

    pub(crate) fn database(&self, number: usize) -> Value {
        let mut object = json!({
            "apiVersion": "switchover.dev/v1alpha1",
            "kind": "DatabaseCluster",
            "metadata": {"name": name_of(number), "uid": format!("uid-{number}"), "resourceVersion": "1"},
            "spec": {"discovery": {"patroni": {"urls": [format!("http://{}:8008", host(number, 1))]}}},
        });
        if self.far_are_others {
            object["spec"]["taint"] = json!({"effect": "NoExecute", "evictWithoutBudgets": true});
        }
        object
    }

    fn node(&self, number: usize) -> Value {
        let center = number % 3 + 1;
        let name = format!("node-{number}");
        let tier = ["closely", "intermediate", "far"][number % 3];
        let mut labels = json!({
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
            "node.kubernetes.io/instance-type": "m5.4xlarge", "topology.kubernetes.io/region": "eu-1",
            "topology.kubernetes.io/zone": format!("dc{center}"),
        });
        for database in 0..self.databases {
            labels[format!("switchover.dev/{}", name_of(database))] = tier.into();
        }
        // As many as are there fill it.
        let near = (self.pods - self.far) / (self.nodes / 3) * CPU_M;
        // Where their number can't be divided by three, the last ones have no pods.
        let cpu_m = match (self.full, center) {
            (_, 2) if self.scarce => self.pods / 2 / (self.nodes / 3) * CPU_M,
            (true, 1) if number < self.nodes / 3 * 3 => near,
            (true, 1 | 2) => 0,
            _ => 64_000,
        };
        let taint = json!({"key": format!("switchover.dev/{}", name_of(0)), "value": "far", "effect": "NoSchedule"});
        let taints = if self.far_are_others && center == 3 { vec![taint] } else { Vec::new() };
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "uid": format!("3c5f1f6e-0000-4000-8000-{number:012}"), "labels": labels},
            "spec": {"taints": taints},
            "status": {
                "allocatable": {"cpu": format!("{cpu_m}m"), "memory": "256Gi", "pods": "110", "ephemeral-storage": "95551679124"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        })
    }

    pub(crate) fn latency(&self, number: usize, heartbeat: Timestamp) -> Value {
        let us = |member: usize| {
            let (node, member) = (number % 3 + 1, member);
            let base = if node == member {
                300
            } else if node.abs_diff(member) == 1 {
                8_000
            } else {
                20_000
            };
            base + number % 7 * 30
        };
        let of = |database: usize| {
            (1..=3).map(move |it| json!({"host": host(database, it), "rttUs": us(it), "samples": 10}))
        };
        let readings: Vec<Value> = (0..self.databases).flat_map(of).collect();
        json!({
            "apiVersion": "switchover.dev/v1alpha1", "kind": "NodeLatency",
            "metadata": {"name": format!("node-{number}")},
            "spec": {"heartbeat": heartbeat, "memberCount": readings.len(), "readings": readings},
        })
    }

    fn namespace(&self, number: usize) -> Value {
        let mut object = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": format!("team-{number}")},
        });
        let others = self.far_are_others && number * WORKLOADS * REPLICAS < self.far;
        if !others {
            object["metadata"]["labels"] = json!({"switchover.dev/follow": name_of(number % self.databases)});
        }
        object
    }

    pub(crate) fn pod(&self, number: usize) -> Value {
        let workload = number / REPLICAS;
        let app = format!("service-{workload}");
        let tolerations = ["not-ready", "unreachable"].map(|it| {
            json!({
                "key": format!("node.kubernetes.io/{it}"), "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300,
            })
        });
        let mut spec = json!({
            "nodeName": format!("node-{}", self.node_of(number)),
            "containers": [{
                "name": "app", "image": "registry.example/app:1.2.3",
                "resources": {"requests": {"cpu": format!("{CPU_M}m"), "memory": "512Mi"}},
            }],
            "tolerations": tolerations,
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
                "weight": 100,
                "preference": {"matchExpressions": [{
                    "key": format!("switchover.dev/{}", name_of(workload / WORKLOADS % self.databases)),
                    "operator": "In", "values": ["closely"],
                }]},
            }]}},
        });
        let alike = json!({"matchLabels": {"app.kubernetes.io/name": app}});
        if workload % 5 == 1 {
            spec["affinity"]["podAntiAffinity"] = json!({"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": alike},
            ]});
        }
        if workload % 7 == 1 {
            spec["topologySpreadConstraints"] = json!([{
                "topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1_000, "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": alike,
            }]);
        }
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": format!("{app}-7d4b9c6f5d-{number:05}"), "namespace": namespace_of(workload),
                "uid": format!("5a1d5b0e-0000-4000-8000-{number:012}"),
                "creationTimestamp": "2026-11-01T00:00:00Z",
                "labels": {
                    "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop", "app.kubernetes.io/version": "1.2.3",
                    "team": namespace_of(workload), "pod-template-hash": "7d4b9c6f5d",
                },
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-7d4b9c6f5d"), "controller": true,
                    "uid": uid(workload, "ReplicaSet"),
                }],
            },
            "spec": spec,
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        })
    }
}

fn namespace_of(workload: usize) -> String {
    format!("team-{}", workload / WORKLOADS)
}

fn uid(workload: usize, kind: &str) -> String {
    format!("9b2e7c1a-{:04}-4000-8000-{workload:012}", kind.len())
}

fn workload(number: usize, kind: &str) -> Value {
    let app = format!("service-{number}");
    let name = if kind == "Deployment" { app.clone() } else { format!("{app}-7d4b9c6f5d") };
    let mut metadata = json!({
        "name": name, "namespace": namespace_of(number), "uid": uid(number, kind), "generation": 1,
    });
    if kind == "ReplicaSet" {
        metadata["ownerReferences"] = json!([{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": app, "uid": uid(number, "Deployment"), "controller": true,
        }]);
    }
    let labels = json!({"app.kubernetes.io/name": app});
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": metadata,
        "spec": {
            "replicas": REPLICAS, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{
                "name": "app", "image": "registry.example/app:1.2.3",
                "resources": {"requests": {"cpu": format!("{CPU_M}m"), "memory": "512Mi"}},
            }]}},
        },
        "status": {"observedGeneration": 1, "replicas": REPLICAS},
    })
}

fn budget(number: usize) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "budget", "namespace": namespace_of(number), "uid": uid(number, "Budget"), "generation": 1},
        "spec": {"maxUnavailable": "25%", "selector": {"matchLabels": {"app.kubernetes.io/name": format!("service-{number}")}}},
        "status": {
            "observedGeneration": 1, "disruptionsAllowed": 25, "currentHealthy": REPLICAS, "desiredHealthy": 75,
            "expectedPods": REPLICAS,
        },
    })
}

/// Now, by both clocks.
pub(crate) fn now() -> Moment {
    Moment { instant: Instant::now(), wall: Timestamp::now() }
}
