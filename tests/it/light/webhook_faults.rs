//! Whatever is wrong with a webhook that is registered as ours is, pods start, as they are and in time, and the API server's
//! metrics say so.
//!
//! A stand-in plays the webhook: with the shipped configuration but for the address, for the scene's namespaces only. (The
//! one answer that Kubernetes forgives nobody is a JSON patch that is well-formed and does not apply; that ours always
//! applies is shown by the properties of the injection.)

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use switchover::{api::keys, certificates::authority::Authority};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::support::{Scene, Workload, eventually, scene, scene::POOL, until};

/// The configured timeout is one second, and the slowest of these webhooks would take ten: less than that, by what creating
/// a pod takes on a busy machine.
const IN_TIME: Duration = Duration::from_secs(8);
const TEN_YEARS: Duration = Duration::from_secs(3650 * 86_400);

/// How the stand-in behaves.
#[derive(Clone, Copy)]
enum Answers {
    /// With these bytes, made from the request's uid, after a while.
    With { bytes: fn(&str) -> String, after: Duration },
    /// Takes the connection and doesn't even shake hands.
    Never,
    /// Speaks without TLS.
    Plainly,
}

const fn at_once(bytes: fn(&str) -> String) -> Answers {
    Answers::With { bytes, after: Duration::ZERO }
}

/// Plays the webhook until it is dropped.
struct StandIn {
    url: String,
    authority: String,
    answers: Arc<Mutex<Answers>>,
    serving: JoinSet<()>,
}

impl StandIn {
    /// With a certificate of a day that was made at `certified`.
    async fn start(answers: Answers, certified: Timestamp) -> Result<StandIn> {
        let authority = Authority::generate(TEN_YEARS, certified)?;
        let made = authority.issue("127.0.0.1", "x", Duration::from_secs(86_400), certified)?;
        let chain = vec![CertificateDer::from_pem_slice(made.certificate_pem.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(made.key_pem.as_bytes())?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));

        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("https://{}/mutate", listener.local_addr()?);
        let answers = Arc::new(Mutex::new(answers));
        let (mut serving, current) = (JoinSet::new(), Arc::clone(&answers));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let answers = *current.lock().unwrap_or_else(PoisonError::into_inner);
                connections.spawn(answer(stream, acceptor.clone(), answers));
            }
        });
        Ok(StandIn { url, authority: made.ca_pem, answers, serving })
    }

    fn let_answer(&self, answers: Answers) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }
}

async fn answer(stream: TcpStream, acceptor: TlsAcceptor, answers: Answers) {
    match answers {
        Answers::Never => std::future::pending().await,
        Answers::Plainly => {
            let mut stream = stream;
            let _ = stream.write_all(ok("hello").as_bytes()).await;
        }
        Answers::With { bytes, after } => {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let Some(uid) = read_uid(&mut stream).await else { return };
            tokio::time::sleep(after).await;
            let _ = reply(&mut stream, &bytes(&uid)).await;
        }
    }
}

async fn reply(stream: &mut (impl AsyncWrite + Unpin), bytes: &str) -> std::io::Result<()> {
    stream.write_all(bytes.as_bytes()).await?;
    stream.shutdown().await
}

/// Reads one HTTP/1.1 request; the uid of the review in it.
async fn read_uid(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut chunk).await.ok().filter(|length| *length > 0)?;
        request.extend_from_slice(&chunk[..length]);
        let Some(head) = request.windows(4).position(|end| end == b"\r\n\r\n") else { continue };
        if let Ok(review) = serde_json::from_slice::<Value>(&request[head + 4..]) {
            return review["request"]["uid"].as_str().map(str::to_owned);
        }
    }
}

fn http(status: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn ok(body: &str) -> String {
    http("200 OK", body)
}

/// An answer that adds the annotation `patched`, changed a little.
fn review(uid: &str, change: Value) -> String {
    let patch = json!([{"op": "add", "path": "/metadata/annotations", "value": {"patched": "yes"}}]);
    let response =
        json!({"uid": uid, "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch.to_string())});
    let mut review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    json_patch::merge(&mut review, &change);
    ok(&review.to_string())
}

fn healthy(uid: &str) -> String {
    review(uid, json!({}))
}

/// A namespace whose pods pass through a webhook at `url` that is registered as ours is.
struct Stage<'s> {
    scene: &'s Scene,
    namespace: String,
    /// Of the configuration and the webhook in it, so that metrics tell it from others.
    name: String,
}

impl<'s> Stage<'s> {
    async fn set(scene: &'s Scene, url: &str, authority: &str) -> Result<Stage<'s>> {
        let namespace = scene.namespace("shop", None, json!({})).await?;
        Stage::set_over(scene, namespace, url, authority, json!({})).await
    }

    /// The same over a namespace that is there, with changes of how it is registered.
    async fn set_over(
        scene: &'s Scene,
        namespace: String,
        url: &str,
        authority: &str,
        change: Value,
    ) -> Result<Stage<'s>> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(scene.client.clone());
        let shipped = configurations.get("switchover").await?;
        let mut webhook = serde_json::to_value(shipped.webhooks.and_then(|all| all.into_iter().next()))?;
        assert_eq!((&webhook["failurePolicy"], &webhook["timeoutSeconds"]), (&json!("Ignore"), &json!(1)));
        let name = format!("{}.faults.example.com", scene.name);
        webhook["name"] = name.as_str().into();
        webhook["clientConfig"] = json!({"url": url, "caBundle": STANDARD.encode(authority)});
        webhook["namespaceSelector"] = json!({"matchLabels": {POOL: scene.name}});
        json_patch::merge(&mut webhook, &change);
        let configuration = serde_json::from_value(json!({"metadata": {"name": name}, "webhooks": [webhook]}))?;
        configurations.create(&PostParams::default(), &configuration).await?;
        Ok(Stage { scene, namespace, name })
    }

    /// Creates a pod, for show or in earnest; what became of it, and how long that took.
    async fn create(&self, dry_run: bool) -> Result<(Pod, Duration)> {
        self.create_of(&self.scene.workload(&self.namespace, "pod"), dry_run).await
    }

    async fn create_of(&self, workload: &Workload<'_>, dry_run: bool) -> Result<(Pod, Duration)> {
        let mut pod = workload.pod()?;
        pod.metadata.generate_name = pod.metadata.name.take().map(|name| name + "-");
        let params = PostParams { dry_run, ..PostParams::default() };
        let began = Instant::now();
        let pod = self.scene.pods(&self.namespace).create(&params, &pod).await?;
        Ok((pod, began.elapsed()))
    }

    /// How often the API server went on without an answer of this webhook.
    async fn failed_open(&self) -> Result<u64> {
        let request = axum::http::Request::get("/metrics").body(Vec::new())?;
        let metrics = self.scene.client.request_text(request).await?;
        let name = format!("name=\"{}\"", self.name);
        let mine = metrics
            .lines()
            .filter(|line| line.starts_with("apiserver_admission_webhook_fail_open_count{") && line.contains(&name));
        Ok(mine.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// Waits until the API server has heard of the configuration and missed an answer.
    async fn begins(&self) -> Result<()> {
        until("the API server to miss the webhook's answer", async || {
            self.create(true).await?;
            Ok((self.failed_open().await? > 0).then_some(()))
        })
        .await
    }

    /// Three pods start in time and unpatched, and the API server says that it went on without the webhook each time.
    async fn pods_start_as_they_are(&self, fault: &str) -> Result<()> {
        const PODS: u64 = 3;
        let before = self.failed_open().await?;
        for _ in 0..PODS {
            let (pod, took) = self.create(false).await.with_context(|| format!("{fault}: no pod"))?;
            assert!(took < IN_TIME, "{fault}: a pod took {took:?}");
            assert_eq!(pod.annotations().get("patched"), None, "{fault}");
        }
        assert_eq!(self.failed_open().await? - before, PODS, "{fault}: the API server tells of each");
        Ok(())
    }

    async fn end(self) -> Result<()> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(self.scene.client.clone());
        configurations.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }
}

#[test]
fn a_slow_webhook_delays_a_pod_by_its_timeout_and_no_more() {
    scene("slow", async |scene| {
        let slow = Answers::With { bytes: healthy, after: Duration::from_secs(10) };
        let stand_in = StandIn::start(slow, Timestamp::now()).await?;
        let stage = Stage::set(scene, &stand_in.url, &stand_in.authority).await?;
        stage.begins().await?;
        stage.pods_start_as_they_are("10 s until it answers").await?;
        stand_in.let_answer(Answers::Never);
        stage.pods_start_as_they_are("it never shakes hands").await?;

        // So that nobody thinks it was not asked: once it answers, it is heard.
        stand_in.let_answer(at_once(healthy));
        assert_eq!(stage.create(false).await?.0.annotations().get("patched").map(String::as_str), Some("yes"));
        stage.end().await
    });
}

#[test]
fn a_webhook_that_answers_rubbish_is_not_heard() {
    scene("rubbish", async |scene| {
        let stand_in = StandIn::start(at_once(|_| ok("hello")), Timestamp::now()).await?;
        let stage = Stage::set(scene, &stand_in.url, &stand_in.authority).await?;
        stage.begins().await?;
        let rubbish: [(&str, Answers); 12] = [
            ("text", at_once(|_| ok("hello"))),
            ("nothing", at_once(|_| ok(""))),
            ("an empty object", at_once(|_| ok("{}"))),
            ("another kind", at_once(|_| ok(r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}"#))),
            ("another request's answer", at_once(|_| healthy("another"))),
            ("a patch that is no base64", at_once(|uid| review(uid, json!({"response": {"patch": "%%%"}})))),
            ("an unknown patch", at_once(|uid| review(uid, json!({"response": {"patchType": "Unheard"}})))),
            ("an error", at_once(|uid| healthy(uid).replacen("200 OK", "500 Internal Server Error", 1))),
            ("half an answer", at_once(|uid| healthy(uid).split_at(120).0.to_owned())),
            (
                "a redirection",
                at_once(|_| http("302 Found", "").replacen("Connection", "Location: /\r\nConnection", 1)),
            ),
            ("no HTTP", at_once(|_| "hello\r\n\r\n".to_owned())),
            ("no TLS", Answers::Plainly),
        ];
        for (what, answers) in rubbish {
            stand_in.let_answer(answers);
            stage.pods_start_as_they_are(what).await?;
        }
        stage.end().await
    });
}

#[test]
fn a_webhook_with_an_expired_certificate_is_not_called() {
    scene("expired", async |scene| {
        let last_month = Timestamp::now() - SignedDuration::from_hours(24 * 30);
        let stand_in = StandIn::start(at_once(healthy), last_month).await?;
        let stage = Stage::set(scene, &stand_in.url, &stand_in.authority).await?;
        stage.begins().await?;
        stage.pods_start_as_they_are("an expired certificate").await?;
        stage.end().await
    });
}

#[test]
fn a_webhook_that_is_not_there_is_not_waited_for() {
    scene("nowhere", async |scene| {
        let mut stand_in = StandIn::start(at_once(healthy), Timestamp::now()).await?;
        let stage = Stage::set(scene, &stand_in.url, &stand_in.authority).await?;
        until("the stand-in to be heard", async || {
            Ok(stage.create(true).await?.0.annotations().contains_key("patched").then_some(()))
        })
        .await?;
        // It dies between two pods.
        stand_in.serving.shutdown().await;
        stage.pods_start_as_they_are("nobody listens").await?;
        stage.end().await
    });
}

/// An answer that adds an alternative to the required terms, as a webhook does that knows nothing of ours.
fn loosens(uid: &str) -> String {
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/-";
    let term = json!({"matchExpressions": [{"key": POOL, "operator": "Exists"}]});
    let patch = json!([{"op": "add", "path": terms, "value": term}]);
    review(uid, json!({"response": {"patch": STANDARD.encode(patch.to_string())}}))
}

#[test]
fn a_term_that_a_later_webhook_adds_is_narrowed_too() {
    // Webhooks are asked in the order of their configurations' names.
    scene("the-later-one", async |scene| {
        let (_patroni, shop) = scene.two_centres(json!({})).await?;
        let later = StandIn::start(at_once(loosens), Timestamp::now()).await?;
        let once = json!({"reinvocationPolicy": "Never"});
        let stage = Stage::set_over(scene, shop.clone(), &later.url, &later.authority, once).await?;
        let web = scene.workload(&shop, "web").says(keys::AFFINITY, "avoid-far");
        let terms = async || {
            let pod = stage.create_of(&web, true).await?.0;
            let affinity = pod.spec.and_then(|spec| spec.affinity).and_then(|it| it.node_affinity);
            let affinity = serde_json::to_value(affinity)?;
            anyhow::Ok(affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].clone())
        };
        let not_far = json!({"key": keys::default_node_label(scene.name), "operator": "NotIn", "values": ["far"]});
        let theirs = json!({"key": POOL, "operator": "Exists"});
        let expected = json!([{"matchExpressions": [not_far]}, {"matchExpressions": [theirs, not_far]}]);
        eventually("the later webhook to be heard, and ours after it", expected, terms).await?;
        stage.end().await
    });
}
