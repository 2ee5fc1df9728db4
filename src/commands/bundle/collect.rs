//! Gathers the parts, each bounded in time and size, all of them whether others come or not.

use std::{fmt::Debug, time::Duration};

use axum::http::Request;
use futures::{StreamExt, future::LocalBoxFuture, stream};
use jiff::Timestamp;
use k8s_openapi::api::{
    admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    },
    apps::v1::{DaemonSet, Deployment, ReplicaSet},
    coordination::v1::Lease,
    core::v1::{Event, Pod, Service},
    discovery::v1::EndpointSlice,
    flowcontrol::v1::FlowSchema,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, LogParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    archive::{RECORDINGS, SNAPSHOT},
    clean,
};
use crate::{
    api::{NodeLatency, Span, keys},
    cli::ReportArgs,
    cluster::{self, EffectError},
    commands::{check, record, status},
    index::snapshot::ClusterSnapshot,
};

/// Time for one part.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a part; of a log the last ones are kept.
const MOST: usize = 64 << 20;
/// And of the snapshot, which has every pod of the cluster.
const MOST_OF_SNAPSHOT: usize = 512 << 20;
const MOST_OF_LOG: i64 = 4 << 20;
/// Pods whose logs and metrics are taken: of a large cluster not every agent's.
const MOST_PODS: usize = 100;
const AT_ONCE: usize = 8;
const OUR_PODS: &str = "app.kubernetes.io/name=switchover";

/// One file of the bundle, or why there is none.
#[derive(Debug)]
pub(super) struct Part {
    pub path: String,
    pub what: String,
    pub content: Result<Vec<u8>, String>,
}

/// How one is come by.
struct Wanted<'a> {
    path: String,
    what: String,
    content: LocalBoxFuture<'a, Result<Vec<u8>, String>>,
    patience: Duration,
}

pub(super) async fn all(client: &Client, args: &ReportArgs) -> Vec<Part> {
    let pods = pods(client, &args.namespace).await;
    let databases = recorded(client).await;
    let mut wanted = objects(client, &args.namespace);
    wanted.extend(told(client, args));
    match &pods {
        Ok(pods) => pods.iter().take(MOST_PODS).for_each(|pod| wanted.extend(of_pod(client, &args.namespace, pod))),
        Err(why) => wanted.push(lacking("logs", "logs and metrics of the roles' pods", why)),
    }
    match &databases {
        Ok(names) if args.record.0 > Duration::ZERO => {
            wanted.extend(names.iter().map(|name| recording(args, name.clone())));
        }
        Ok(_) => {}
        Err(why) => wanted.push(lacking(RECORDINGS, "recordings of the members", why)),
    }
    let mut parts: Vec<Part> = stream::iter(wanted).map(come_by).buffered(AT_ONCE).collect().await;
    if let Some(left) = pods.ok().map(|pods| pods.len().saturating_sub(MOST_PODS)).filter(|left| *left > 0) {
        let what = format!("logs and metrics of {left} more pods");
        parts.push(Part { path: "logs".into(), what, content: Err(format!("those of {MOST_PODS} pods are enough")) });
    }
    parts
}

async fn come_by(wanted: Wanted<'_>) -> Part {
    let Wanted { path, what, content, patience } = wanted;
    let content = match tokio::time::timeout(patience, content).await {
        Ok(content) => content,
        Err(_) => Err(format!("it didn't come within {} s", patience.as_secs())),
    };
    let most = if path == SNAPSHOT { MOST_OF_SNAPSHOT } else { MOST };
    let content = content.and_then(|content| {
        if content.len() > most {
            Err(format!("it is too large: {} bytes", content.len()))
        } else {
            Ok(clean::bytes(&content))
        }
    });
    Part { path, what, content }
}

fn wanted<'a>(
    path: impl Into<String>,
    what: impl Into<String>,
    content: impl Future<Output = Result<Vec<u8>, String>> + 'a,
) -> Wanted<'a> {
    Wanted { path: path.into(), what: what.into(), content: Box::pin(content), patience: PATIENCE }
}

fn lacking<'a>(path: &str, what: &str, why: &str) -> Wanted<'a> {
    let why = why.to_owned();
    wanted(path, what, async move { Err(why) })
}

fn plain(error: EffectError) -> String {
    error.to_string()
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec_pretty(value).map_err(|error| error.to_string())
}

/// Our objects, pared of what may be secret.
fn objects<'a>(client: &Client, namespace: &str) -> Vec<Wanted<'a>> {
    let client = || client.clone();
    let (ours, pods) = (|| ListParams::default().labels(keys::PART_OF_US), || ListParams::default().labels(OUR_PODS));
    let any = ListParams::default;
    let events = any().fields("reportingComponent=switchover");
    vec![
        databases(client()),
        listed::<NodeLatency>("nodelatencies", Api::all(client()), any()),
        listed::<MutatingWebhookConfiguration>("mutatingwebhookconfigurations", Api::all(client()), ours()),
        listed::<ValidatingAdmissionPolicy>("validatingadmissionpolicies", Api::all(client()), ours()),
        listed::<ValidatingAdmissionPolicyBinding>("validatingadmissionpolicybindings", Api::all(client()), ours()),
        injecting("mutatingadmissionpolicies", client(), "MutatingAdmissionPolicy"),
        injecting("mutatingadmissionpolicybindings", client(), "MutatingAdmissionPolicyBinding"),
        listed::<FlowSchema>("flowschemas", Api::all(client()), ours()),
        listed::<Lease>("leases", Api::namespaced(client(), namespace), any()),
        listed::<Deployment>("deployments", Api::namespaced(client(), namespace), pods()),
        listed::<DaemonSet>("daemonsets", Api::namespaced(client(), namespace), pods()),
        listed::<ReplicaSet>("replicasets", Api::namespaced(client(), namespace), pods()),
        listed::<Pod>("pods", Api::namespaced(client(), namespace), pods()),
        listed::<Service>("services", Api::namespaced(client(), namespace), ours()),
        listed::<EndpointSlice>("endpointslices", Api::namespaced(client(), namespace), any()),
        listed::<PodDisruptionBudget>("poddisruptionbudgets", Api::namespaced(client(), namespace), ours()),
        listed::<Event>("events-of-the-namespace", Api::namespaced(client(), namespace), any()),
        listed::<Event>("events-by-switchover", Api::all(client()), events),
    ]
}

fn listed<'a, K>(kind: &'static str, api: Api<K>, params: ListParams) -> Wanted<'a>
where
    K: Clone + DeserializeOwned + Serialize + Debug + Send + Sync + 'static,
{
    wanted(format!("objects/{kind}.json"), kind, async move {
        let all = cluster::list_matching(&api, params).await.map_err(plain)?;
        cleaned(&all)
    })
}

fn injecting<'a>(plural: &'static str, client: Client, kind: &'static str) -> Wanted<'a> {
    wanted(format!("objects/{plural}.json"), plural, async move {
        cleaned(&cluster::injecting(&client, kind).await.map_err(plain)?)
    })
}

fn databases<'a>(client: Client) -> Wanted<'a> {
    wanted("objects/databaseclusters.json", "databaseclusters", async move {
        cleaned(&cluster::databases(&client).await.map_err(plain)?)
    })
}

fn cleaned(objects: &impl Serialize) -> Result<Vec<u8>, String> {
    let mut value: Value = serde_json::to_value(objects).map_err(|error| error.to_string())?;
    clean::object(&mut value);
    json(&value)
}

/// What other commands would tell.
fn told<'a>(client: &'a Client, args: &'a ReportArgs) -> Vec<Wanted<'a>> {
    let version = wanted("version.json", "the API server's version", async {
        json(&cluster::bounded(client.apiserver_version()).await.map_err(plain)?)
    });
    let check = wanted("check.json", "switchover check", async {
        json(&check::told(client, &args.namespace).await.map_err(plain)?)
    });
    let status = wanted("status.json", "switchover status", async {
        json(&status::collect(client, None).await.map_err(|error| error.to_string())?)
    });
    let snapshot = wanted(SNAPSHOT, "a snapshot, for switchover plan", async {
        let snapshot = ClusterSnapshot::take(client, Timestamp::now()).await;
        let snapshot = snapshot.map_err(|error| match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        });
        serde_json::to_vec(&snapshot?).map_err(|error| error.to_string())
    });
    vec![version, check, status, Wanted { patience: 4 * PATIENCE, ..snapshot }]
}

async fn pods(client: &Client, namespace: &str) -> Result<Vec<Pod>, String> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    cluster::list_matching(&api, ListParams::default().labels(OUR_PODS)).await.map_err(plain)
}

/// Logs of each container, also of the last run, and the metrics.
fn of_pod<'a>(client: &Client, namespace: &str, pod: &Pod) -> Vec<Wanted<'a>> {
    let name = pod.name_any();
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let mut all = Vec::new();
    for status in statuses {
        let runs = if status.restart_count > 0 { &[false, true][..] } else { &[false] };
        for previous in runs {
            let (container, api) = (status.name.clone(), Api::<Pod>::namespaced(client.clone(), namespace));
            let last = if *previous { ".previous" } else { "" };
            let path = format!("logs/{name}/{container}{last}.log");
            let params = LogParams {
                container: Some(container),
                previous: *previous,
                limit_bytes: Some(MOST_OF_LOG),
                tail_lines: Some(20_000),
                timestamps: true,
                ..LogParams::default()
            };
            let (what, name) = (format!("log of {name}{last}"), name.clone());
            all.push(wanted(path, what, async move {
                Ok(cluster::bounded(api.logs(&name, &params)).await.map_err(plain)?.into_bytes())
            }));
        }
    }
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    let health = ports.into_iter().find(|port| port.name.as_deref() == Some("health")).map(|port| port.container_port);
    if let Some(port) = health {
        let client = client.clone();
        let url = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/metrics");
        all.push(wanted(format!("metrics/{name}.txt"), format!("metrics of {name}"), async move {
            let request = Request::get(url).body(Vec::new()).map_err(|error| error.to_string())?;
            Ok(cluster::bounded(client.request_text(request)).await.map_err(plain)?.into_bytes())
        }));
    }
    all
}

/// Databases whose members can be recorded.
async fn recorded(client: &Client) -> Result<Vec<String>, String> {
    let databases = cluster::databases(client).await.map_err(plain)?;
    let by_patroni = databases.iter().filter(|it| it.data.pointer("/spec/discovery/patroni").is_some());
    Ok(by_patroni.map(ResourceExt::name_any).collect())
}

fn recording<'a>(args: &'a ReportArgs, name: String) -> Wanted<'a> {
    let span: Span = args.record;
    let path = format!("{RECORDINGS}/{name}.jsonl");
    let part = wanted(path, format!("a recording of {name}, for switchover replay"), async move {
        let mut out = Vec::new();
        let recorded = record::record_database(&name, &args.namespace, span, &args.cluster, &mut out).await;
        recorded.map_err(|error| error.to_string())?;
        if out.is_empty() { Err("no member gave an answer".to_owned()) } else { Ok(out) }
    });
    Wanted { patience: span.0 + PATIENCE, ..part }
}
