//! Records the AdmissionReviews that a real API server sends about pods of every kind, for tests that need no cluster.
//!
//! On a light bed of its own: a stand-in for a webhook allows everything and keeps what it was asked, while the workloads
//! of manifests/reviews.yaml and a few changes of their pods go through it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    core::v1::{Namespace, Pod, ServiceAccount},
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    light::{LightBed, add_node},
    pki::Authority,
    wait::until_within,
};

mod tidy;

const NAMESPACE: &str = "shop";
const WORKLOADS: &str = include_str!("../manifests/reviews.yaml");

/// Reviews that are recorded besides the creations that the workloads cause: of what is done to their pods afterwards.
const CHANGES: [&str; 7] = [
    "bare-binding",
    "bare-ephemeralcontainers",
    "bare-eviction",
    "bare-resize",
    "dry-run",
    "gated-update",
    "large-env",
];

/// A CronJob makes its first pod at the next full minute.
const PATIENCE: Duration = Duration::from_secs(120);

/// What was recorded, by the name of its file.
type Recorded = Arc<Mutex<BTreeMap<String, String>>>;

/// Records every review into a directory, `NAME.json` each, and says how many there are.
pub fn record(directory: &Path) -> Result<usize> {
    let bed = LightBed::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let recorded = runtime.block_on(play(&bed))?;
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    for (name, review) in &recorded {
        let path = directory.join(format!("{name}.json"));
        fs::write(&path, tidy::tidy(review)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(recorded.len())
}

async fn play(bed: &LightBed) -> Result<BTreeMap<String, String>> {
    let client = bed.admin().await?;
    let recorded = Recorded::default();
    let authority = Authority::new()?;
    let url = serve(&authority, Arc::clone(&recorded)).await?;
    add_node(&client, "n1", &[("zone", "dc1")], &[("cpu", "16"), ("memory", "32Gi"), ("pods", "110")]).await?;
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    until_within(PATIENCE, "the namespace's service account", async || Ok(accounts.get_opt("default").await?)).await?;
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    configurations.create(&PostParams::default(), &configuration(&url, &authority)?).await?;

    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let probe = pod("dry-run", &[])?;
    until_within(PATIENCE, "the API server to ask the stand-in", async || {
        pods.create(&dry_run, &probe).await?;
        Ok(has(&recorded, "dry-run").then_some(()))
    })
    .await?;
    let expected = create_workloads(bed)?;
    let text = "x".repeat(1024);
    let env: Vec<Value> = (0..32).map(|n| json!({"name": format!("TEXT_{n}"), "value": text})).collect();
    pods.create(&PostParams::default(), &pod("large-env", &env)?).await?;
    change(&pods, &recorded).await?;
    for name in expected.iter().map(String::as_str).chain(CHANGES) {
        until_within(PATIENCE, name, async || Ok(has(&recorded, name).then_some(()))).await?;
    }
    let mut recorded = lock(&recorded).clone();
    recorded.retain(|name, _| CHANGES.contains(&&**name) || expected.contains(name));
    Ok(recorded)
}

/// What happens to pods after their creation.
async fn change(pods: &Api<Pod>, recorded: &Recorded) -> Result<()> {
    let params = PatchParams::default();
    let ungated = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
    pods.patch("gated", &params, &ungated).await.context("the gate is not lifted")?;
    until_within(PATIENCE, "the pod to be bound", async || Ok(has(recorded, "bare-binding").then_some(()))).await?;
    let resized = json!({"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "10m"}}}]}});
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "example.org/none:1"}]}});
    for (subresource, patch) in [("ephemeralcontainers", debug), ("resize", resized)] {
        // Whether it is taken doesn't matter: webhooks are asked first.
        let _ = pods.patch_subresource(subresource, "bare", &params, &Patch::Strategic(patch)).await;
    }
    let eviction = json!({"metadata": {"name": "bare", "namespace": NAMESPACE}});
    let _: Value = pods.create_subresource("eviction", "bare", &PostParams::default(), &eviction).await?;
    Ok(())
}

/// Creates what the manifest says; the names of its reviews.
fn create_workloads(bed: &LightBed) -> Result<Vec<String>> {
    // It fails, because a few are refused; what was not recorded is missed later.
    bed.try_kubectl(&["create", "--namespace", NAMESPACE, "--filename", "-"], WORKLOADS)?;
    let named = WORKLOADS.split("review: ").skip(1);
    let mut names: Vec<String> =
        named.filter_map(|text| Some(text.split(['}', '\n']).next()?.trim().to_owned())).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

fn pod(name: &str, env: &[Value]) -> Result<Pod> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"review": name}},
        "spec": {"containers": [{"name": "main", "image": "example.org/none:1", "env": env}]},
    }))?)
}

/// Asks about pods and everything below them, in the namespace of the recording.
fn configuration(url: &str, authority: &Authority) -> Result<MutatingWebhookConfiguration> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "recorder"},
        "webhooks": [{
            "name": "recorder.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"url": url, "caBundle": STANDARD.encode(authority.certificate())},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "rules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["pods", "pods/*"],
            }],
        }],
    }))?)
}

/// Allows whatever is asked, until the process ends; the URL.
async fn serve(authority: &Authority, recorded: Recorded) -> Result<String> {
    let identity = authority.issue("recorder", None, &["127.0.0.1"])?;
    let chain = vec![CertificateDer::from_pem_slice(identity.certificate.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("https://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, recorded) = (acceptor.clone(), Arc::clone(&recorded));
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = service_fn(|request| answer(request, &recorded));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Ok(url)
}

async fn answer(request: Request<Incoming>, recorded: &Recorded) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    let review: Value = serde_json::from_str(&text).unwrap_or_default();
    if let Some(name) = name(&review["request"]) {
        // The first is the one that was meant: controllers repeat themselves.
        lock(recorded).entry(name).or_insert(text);
    }
    let response = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": true},
    });
    Ok(Response::new(Full::from(response.to_string())))
}

/// What a review is recorded as: the pod's label or its name, and what is done to it unless that is its creation.
fn name(request: &Value) -> Option<String> {
    let labelled = request["object"]["metadata"]["labels"]["review"].as_str();
    let name = labelled.or(request["name"].as_str())?;
    Some(match (request["subResource"].as_str(), request["operation"].as_str()) {
        (Some(subresource), _) => format!("{name}-{subresource}"),
        (None, Some("CREATE")) => name.to_owned(),
        (None, operation) => format!("{name}-{}", operation?.to_lowercase()),
    })
}

fn has(recorded: &Recorded, name: &str) -> bool {
    lock(recorded).contains_key(name)
}

fn lock(recorded: &Recorded) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
    recorded.lock().unwrap_or_else(PoisonError::into_inner)
}
