//! What an onlooker sees of the cluster while the story goes on: pods, nodes' labels, ready endpoints, and what
//! switchover says. Kept current by watches; independent of switchover's own word wherever that is what is shown.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use futures::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Node, Pod, PodCondition},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, ResourceExt,
    core::{ApiResource, DynamicObject, GroupVersionKind},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    Lab,
    site::{self, Site},
    wan::Shape,
};

/// The tiers that the lab's manifests ask for: within 5 ms of the nearest is closely, of the farthest far.
const WINDOW_MS: f64 = 5.0;

/// Between a watch that broke and the next.
const WATCHED_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// One pod of the demo service.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenPod {
    pub node: String,
    pub ready: bool,
    pub terminating: bool,
    /// By the eviction API; not by a taint.
    pub evicted: bool,
}

/// A label that was seen to change.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelChange {
    pub at: Instant,
    pub node: String,
    pub label: String,
}

/// A pod that was seen to be evicted.
#[derive(Debug, Clone, PartialEq)]
pub struct Eviction {
    pub at: Instant,
    pub pod: String,
    pub node: String,
}

/// Everything that was seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    pub pods: BTreeMap<String, SeenPod>,
    /// Value of the label `switchover` by node.
    pub labels: BTreeMap<String, String>,
    /// When the last label changed.
    pub labels_changed: Option<Timestamp>,
    /// Every change of a label, and every eviction, in order.
    pub label_changes: Vec<LabelChange>,
    pub evictions: Vec<Eviction>,
    /// Nodes that are Ready, as Kubernetes says.
    pub nodes_ready: BTreeSet<String>,
    /// When a pod last changed.
    pub pods_changed: Option<Timestamp>,
    /// Fewest ready pods since it was reset.
    pub min_ready: usize,
    /// Status of the DatabaseCluster.
    pub database: Value,
}

impl Seen {
    /// Pods that serve.
    pub fn ready(&self) -> usize {
        self.pods.values().filter(|pod| pod.ready && !pod.terminating).count()
    }

    /// From now on [`Seen::min_ready`] counts.
    pub fn begin_counting(&mut self) {
        self.min_ready = self.ready();
    }

    /// Whether every node's label is what its distance to `primary` asks for.
    pub fn labels_right(&self, primary: &str) -> bool {
        !self.labels.is_empty() && self.wrong_labels(primary, |_| true) == 0
    }

    /// How many of these nodes have another label than their distance to `primary` asks for.
    pub fn wrong_labels(&self, primary: &str, counts: impl Fn(&str) -> bool) -> usize {
        let nodes = self.labels.iter().filter(|(node, _)| counts(node));
        nodes.filter(|(node, label)| Some(label.as_str()) != self.expected(node, primary)).count()
    }

    /// The label that a node should have while `primary` is the primary.
    pub fn expected(&self, node: &str, primary: &str) -> Option<&'static str> {
        let sites: BTreeSet<Site> = self.labels.keys().filter_map(|node| site::of_node(node)).collect();
        expected(site::of_node(node)?, primary, &sites)
    }

    /// Whether all replicas serve, and from nodes beside `primary`.
    pub fn settled_at(&self, primary: &str, replicas: usize) -> bool {
        let near = |pod: &&SeenPod| self.expected(&pod.node, primary) == Some("closely");
        let serving: Vec<_> = self.pods.values().filter(|pod| !pod.terminating).collect();
        serving.len() == replicas
            && serving.iter().all(|pod| pod.ready)
            && serving.iter().filter(|p| near(p)).count() == replicas
    }

    /// The newest change of primary that switchover reports, if it is later than `epoch`.
    pub fn failover(&self, after_epoch: u64) -> Option<&Value> {
        self.database["failovers"].get(0).filter(|failover| failover["epoch"].as_u64() > Some(after_epoch))
    }

    pub fn epoch(&self) -> u64 {
        self.database["epoch"].as_u64().unwrap_or(0)
    }
}

/// The label of nodes of the site `node`, where there are nodes at `sites`.
fn expected(node: Site, primary: &str, sites: &BTreeSet<Site>) -> Option<&'static str> {
    let primary = Site::DATA_CENTRES.into_iter().find(|dc| primary == format!("pg{}", dc.index()))?;
    let distance = |dc: Site| Shape::default_between(dc, primary).rtt.as_secs_f64() * 1000.0;
    let distances = sites.iter().copied().map(distance);
    let (min, max) = distances.fold((f64::MAX, 0.0_f64), |(min, max), d| (min.min(d), max.max(d)));
    Some(match distance(node) {
        d if d < min + WINDOW_MS => "closely",
        d if d >= max - WINDOW_MS => "far",
        _ => "intermediate",
    })
}

/// The watches and what they saw.
#[derive(Debug)]
pub struct Scene {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Receiver<u64>,
    endpoints: watch::Receiver<Vec<SocketAddr>>,
}

impl Scene {
    /// Starts watching. Needs the runtime that it is called on to go on running.
    pub async fn watch(lab: &Lab) -> Result<Scene> {
        let client = lab.client().await?;
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (sender, changed) = watch::channel(0);
        let (endpoint_sender, endpoints) = watch::channel(Vec::new());

        let pods = Api::<Pod>::namespaced(client.clone(), "orders");
        keep(
            pods,
            watcher::Config::default().labels("app=shop"),
            &seen,
            &sender,
            |seen, pods: &BTreeMap<String, Pod>| {
                let now: BTreeMap<_, _> = pods.iter().map(|(name, pod)| (name.clone(), seen_pod(pod))).collect();
                for (name, pod) in now.iter().filter(|(_, pod)| pod.evicted) {
                    if !seen.pods.get(name).is_some_and(|before| before.evicted) {
                        let eviction = Eviction { at: Instant::now(), pod: name.clone(), node: pod.node.clone() };
                        seen.evictions.push(eviction);
                    }
                }
                seen.pods = now;
                seen.pods_changed = Some(Timestamp::now());
                seen.min_ready = seen.min_ready.min(seen.ready());
            },
        );
        keep(
            Api::<Node>::all(client.clone()),
            watcher::Config::default(),
            &seen,
            &sender,
            |seen, nodes: &BTreeMap<String, Node>| {
                let label = |node: &Node| node.labels().get("switchover").cloned().unwrap_or_default();
                let labels: BTreeMap<_, _> = nodes.iter().map(|(name, node)| (name.clone(), label(node))).collect();
                seen.nodes_ready = nodes.iter().filter(|(_, node)| is_ready(node)).map(|it| it.0.clone()).collect();
                let changed = labels.iter().filter(|(node, label)| seen.labels.get(*node) != Some(*label));
                let changes = changed.map(|(node, label)| LabelChange {
                    at: Instant::now(),
                    node: node.clone(),
                    label: label.clone(),
                });
                let changes: Vec<_> = changes.collect();
                seen.label_changes.extend(changes);
                if seen.labels != labels {
                    seen.labels = labels;
                    seen.labels_changed = Some(Timestamp::now());
                }
            },
        );
        let kind = ApiResource::from_gvk_with_plural(
            &GroupVersionKind::gvk("switchover.dev", "v1alpha1", "DatabaseCluster"),
            "databaseclusters",
        );
        let databases = Api::<DynamicObject>::all_with(client.clone(), &kind);
        keep(
            databases,
            watcher::Config::default(),
            &seen,
            &sender,
            |seen, databases: &BTreeMap<String, DynamicObject>| {
                seen.database =
                    databases.get("default").map(|database| database.data["status"].clone()).unwrap_or_default();
            },
        );
        keep_endpoints(&client, endpoint_sender);
        Ok(Scene { seen, changed, endpoints })
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no holder panics")
    }

    /// The addresses of the ready endpoints, for the load.
    pub fn endpoints(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.endpoints.clone()
    }

    /// Waits until `holds`, looking again at every change.
    pub fn wait(&self, patience: Duration, what: &str, holds: impl Fn(&Seen) -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut changed = self.changed.clone();
        loop {
            changed.borrow_and_update();
            if holds(&self.seen()) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let seen = self.seen();
                bail!(
                    "not within {} s: {what}; labels {:?}, pods {:?}, switchover says {}",
                    patience.as_secs(),
                    seen.labels,
                    seen.pods,
                    seen.database
                );
            }
            while !changed.has_changed().unwrap_or(false) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Keeps the objects of one kind and tells `update` whenever they change.
fn keep<K>(
    api: Api<K>,
    config: watcher::Config,
    seen: &Arc<Mutex<Seen>>,
    changed: &watch::Sender<u64>,
    update: impl Fn(&mut Seen, &BTreeMap<String, K>) + Send + 'static,
) where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let (seen, changed) = (Arc::clone(seen), changed.clone());
    tokio::spawn(async move {
        let mut objects = BTreeMap::new();
        let mut listing = BTreeMap::new();
        let mut events = Box::pin(watcher(api.clone(), config.clone()));
        loop {
            match events.try_next().await {
                Ok(Some(Event::Init)) => listing = BTreeMap::new(),
                Ok(Some(Event::InitApply(object))) => drop(listing.insert(object.name_any(), object)),
                Ok(Some(Event::InitDone)) => objects = std::mem::take(&mut listing),
                Ok(Some(Event::Apply(object))) => drop(objects.insert(object.name_any(), object)),
                Ok(Some(Event::Delete(object))) => drop(objects.remove(&object.name_any())),
                Ok(None) => return,
                // Until there is a new list the last picture stays. A watch that healed by itself would not tell what a store has lost. An
                // onlooker is back soon, however long it was away.
                Err(_) => {
                    tokio::time::sleep(WATCHED_AGAIN_AFTER).await;
                    events = Box::pin(watcher(api.clone(), config.clone()));
                    continue;
                }
            }
            update(&mut seen.lock().expect("no holder panics"), &objects);
            changed.send_modify(|version| *version += 1);
        }
    });
}

fn keep_endpoints(client: &Client, sender: watch::Sender<Vec<SocketAddr>>) {
    let api = Api::<EndpointSlice>::namespaced(client.clone(), "orders");
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let config = watcher::Config::default().labels("kubernetes.io/service-name=shop");
    keep(api, config, &seen, &watch::Sender::new(0), move |_, slices: &BTreeMap<String, EndpointSlice>| {
        let ready = slices.values().flat_map(|slice| {
            let port =
                slice.ports.iter().flatten().find_map(|port| port.port).and_then(|port| u16::try_from(port).ok());
            let endpoints = slice.endpoints.iter().filter(|endpoint| {
                endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false))
            });
            let addresses = endpoints.flat_map(|endpoint| &endpoint.addresses).filter_map(|a| a.parse::<IpAddr>().ok());
            addresses.filter_map(move |address| Some(SocketAddr::new(address, port?))).collect::<Vec<_>>()
        });
        sender.send_replace(ready.collect());
    });
}

fn is_ready(node: &Node) -> bool {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn seen_pod(pod: &Pod) -> SeenPod {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let evicted = |c: &PodCondition| {
        c.type_ == "DisruptionTarget" && c.status == "True" && c.reason.as_deref() == Some("EvictionByEvictionAPI")
    };
    SeenPod {
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        ready: conditions.is_some_and(|c| c.iter().any(|c| c.type_ == "Ready" && c.status == "True")),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        evicted: conditions.is_some_and(|all| all.iter().any(evicted)),
    }
}
