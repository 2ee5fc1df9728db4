//! Names from the cluster, in bounded time: whoever presses TAB waits for no cluster that is away.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc,
    thread,
    time::Duration,
};

use kube::{
    Api, Client, ResourceExt,
    api::ListParams,
    config::Kubeconfig,
    core::{DynamicObject, GroupVersionKind, PartialObjectMeta},
    discovery::ApiResource,
};

use super::Offer;
use crate::{
    api::{DatabaseCluster, keys},
    cluster::{self, EffectError},
    commands::kinds::{in_full, is_called},
    core::workload::Node,
    tls,
};

/// Time for everything, a plugin for credentials among it.
const PATIENCE: Duration = Duration::from_secs(2);
/// More names help nobody.
const MOST: u32 = 1000;

/// What makes pods, as `explain` takes it: group, version, kind.
const OWNERS: [(&str, &str, &str); 6] = [
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("apps", "v1", "DaemonSet"),
    ("apps", "v1", "ReplicaSet"),
    ("batch", "v1", "Job"),
    ("argoproj.io", "v1alpha1", "Rollout"),
];
/// Those that `move` and `pause` take.
const MOVED: [&str; 3] = ["deployment", "statefulset", "replicaset"];

/// What can be named, in the cluster and the namespace that the words say.
pub(super) struct Names {
    words: Vec<String>,
}

impl Names {
    pub(super) fn of(words: Vec<String>) -> Self {
        Self { words }
    }

    /// Names of this kind; those alone that begin with what is typed are wanted. None without a cluster, without rights, and
    /// when it takes too long.
    pub(super) fn of_kind(&self, offer: Offer, current: &str) -> Vec<String> {
        if offer == Offer::Context {
            return contexts().unwrap_or_default();
        }
        let context = self.typed("--context", None);
        let namespace = self.typed("--namespace", Some("-n")).unwrap_or_else(|| "default".to_owned());
        let (words, current) = (self.words.clone(), current.to_owned());
        in_time(context, async move |client| found(&client, offer, &namespace, &words, &current).await)
    }

    /// What was typed after a flag: `--flag VALUE`, `--flag=VALUE`, `-f VALUE`, `-fVALUE`.
    pub(super) fn typed(&self, long: &str, short: Option<&str>) -> Option<String> {
        let mut words = self.words.iter();
        while let Some(word) = words.next() {
            if word == long || short.is_some_and(|short| word == short) {
                return words.next().filter(|value| !value.is_empty()).cloned();
            }
            let joined = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('='));
            let close = || short.and_then(|short| word.strip_prefix(short)).filter(|_| !word.starts_with("--"));
            if let Some(value) = joined.or_else(close).filter(|value| !value.is_empty()) {
                return Some(value.to_owned());
            }
        }
        None
    }
}

async fn found(
    client: &Client,
    offer: Offer,
    namespace: &str,
    words: &[String],
    current: &str,
) -> Result<Vec<String>, EffectError> {
    match offer {
        Offer::Context => Ok(Vec::new()),
        Offer::Database => names(Api::all_with(client.clone(), &ApiResource::erase::<DatabaseCluster>(&()))).await,
        Offer::Namespace => names(Api::all_with(client.clone(), &core("Namespace"))).await,
        Offer::Subject => subjects(client, namespace, current).await,
        Offer::Workload => workloads(client, current).await,
        Offer::Member => members(client, words).await,
        Offer::Place => places(client).await,
    }
}

/// Pods, and what can stand before a slash; after it, objects of that kind.
async fn subjects(client: &Client, namespace: &str, current: &str) -> Result<Vec<String>, EffectError> {
    let pods = core("Pod");
    let Some((typed, _)) = current.split_once('/') else {
        let kinds = OWNERS.iter().map(|(.., kind)| *kind).chain(["Node"]).map(|kind| kind.to_lowercase() + "/");
        // Kinds are known also where pods may not be listed.
        let pods = names(Api::namespaced_with(client.clone(), namespace, &pods)).await.unwrap_or_default();
        return Ok(kinds.chain(pods).collect());
    };
    let kind = in_full(typed);
    let api = match kind.as_str() {
        "node" | "nodes" => Api::all_with(client.clone(), &core("Node")),
        "pod" | "pods" => Api::namespaced_with(client.clone(), namespace, &pods),
        kind => match owner(kind) {
            Some(resource) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => return Ok(Vec::new()),
        },
    };
    Ok(names(api).await?.into_iter().map(|name| format!("{typed}/{name}")).collect())
}

/// Namespaces that follow a database, then the workloads of one.
async fn workloads(client: &Client, current: &str) -> Result<Vec<String>, EffectError> {
    let Some((namespace, _)) = current.split_once('/') else {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &core("Namespace"));
        let following = list(&api, ListParams::default().labels(keys::FOLLOW)).await?;
        return Ok(following.iter().map(|namespace| format!("{}/", namespace.name_any())).collect());
    };
    let mut found = Vec::new();
    for kind in MOVED {
        let Some(resource) = owner(kind) else { continue };
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        // Those that something else made are moved with it.
        let alone = list(&api, ListParams::default()).await?.into_iter().filter(|it| it.owner_references().is_empty());
        found.extend(alone.map(|workload| format!("{namespace}/{kind}/{}", workload.name_any())));
    }
    Ok(found)
}

/// Of the databases that were typed, or of all.
async fn members(client: &Client, words: &[String]) -> Result<Vec<String>, EffectError> {
    let api: Api<DatabaseCluster> = Api::all(client.clone());
    let databases = cluster::bounded(api.list(&ListParams::default().limit(MOST))).await?.items;
    let typed = |database: &DatabaseCluster| words.contains(&database.name_any());
    let any = databases.iter().any(typed);
    let meant = databases.iter().filter(|database| !any || typed(database));
    Ok(meant.flat_map(|it| it.status.iter().flat_map(|status| &status.members)).map(|it| it.name.clone()).collect())
}

/// Nodes and zones.
async fn places(client: &Client) -> Result<Vec<String>, EffectError> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &core("Node"));
    let nodes = list(&api, ListParams::default()).await?;
    let zone = |labels: &BTreeMap<String, String>| {
        let node = Node { labels: labels.clone(), ..Node::default() };
        node.zone().map(str::to_owned)
    };
    let zones: BTreeSet<String> = nodes.iter().filter_map(|node| zone(node.labels())).collect();
    Ok(nodes.iter().map(ResourceExt::name_any).chain(zones).collect())
}

fn core(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", kind))
}

/// The kind of workload that a word means: its name or its plural.
fn owner(typed: &str) -> Option<ApiResource> {
    let (group, version, kind) = OWNERS.iter().find(|(.., kind)| is_called(kind, typed))?;
    Some(ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)))
}

async fn names(api: Api<DynamicObject>) -> Result<Vec<String>, EffectError> {
    Ok(list(&api, ListParams::default()).await?.iter().map(ResourceExt::name_any).collect())
}

async fn list(
    api: &Api<DynamicObject>,
    which: ListParams,
) -> Result<Vec<PartialObjectMeta<DynamicObject>>, EffectError> {
    Ok(cluster::bounded(api.list_metadata(&which.limit(MOST))).await?.items)
}

fn contexts() -> Option<Vec<String>> {
    Some(Kubeconfig::read().ok()?.contexts.into_iter().map(|context| context.name).collect())
}

/// The answer, or nothing: on a thread that nobody waits for when it hangs, such as in a plugin that asks for a password.
fn in_time<F>(context: Option<String>, question: F) -> Vec<String>
where
    F: AsyncFnOnce(Client) -> Result<Vec<String>, EffectError> + Send + 'static,
{
    let (answer, answered) = mpsc::channel();
    let ask = move || {
        tls::install_provider();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let found = runtime.block_on(async {
            let client = cluster::client(context.as_deref()).await.ok()?;
            question(client).await.ok()
        })?;
        answer.send(found).ok()
    };
    let Ok(_) = thread::Builder::new().name("names".into()).spawn(ask) else { return Vec::new() };
    answered.recv_timeout(PATIENCE).unwrap_or_default()
}
