//! The whole way of a request: TLS, HTTP/1.1 and HTTP/2, the handler, the answer.

mod client;
mod harm;
mod pages;
mod recorded;
mod rotation;
mod shown;
mod socket;

use std::time::Instant;

use arc_swap::ArcSwap;
use axum::body::{Body, Bytes};
use hyper::{Request, StatusCode, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::{
    admission::{self, tests as reviews},
    certificates::authority,
    serve,
    tls::{CertificateFiles, Clients},
};

pub(super) struct Server {
    pub address: SocketAddr,
    pub ca: String,
    directory: PathBuf,
    certificate: Arc<CertificateFiles>,
    ending: serve::Ending,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    /// HTTP/2 is offered, too.
    pub(super) async fn start(name: &str, config: WebhookConfig) -> Self {
        let config = WebhookConfig { http_versions: HttpVersions::OneAndTwo, ..config };
        Self::start_for(name, config, None).await
    }

    pub(super) async fn start_for(name: &str, config: WebhookConfig, clients: Option<Arc<Clients>>) -> Self {
        tls::install_provider();
        let directory = std::env::temp_dir().join(format!("switchover-webhook-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let made = write_certificate(&directory);
        let certificate = Arc::new(CertificateFiles::new(directory.join("tls.crt"), directory.join("tls.key")));
        let view = Arc::new(ArcSwap::from_pointee(reviews::view(Instant::now())));
        let metrics = WebhookMetrics::register(&mut crate::metrics::registry());
        let handler = Handler::new(view, metrics, &config);
        let ending = serve::Ending::default();
        let (address, task) = serve::serve_tls(
            SocketAddr::from(([127, 0, 0, 1], 0)),
            tls::server_config(Arc::clone(&certificate), clients, config.http_versions).unwrap(),
            handler,
            config.limits,
            ConnectionMetrics::default(),
            ending.clone(),
        )
        .await
        .unwrap();
        Self { address, ca: made.ca_pem, directory, certificate, ending, task }
    }

    pub(super) async fn connect(&self, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from("switchover-webhook.switchover-system.svc").unwrap();
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn post(&self, alpn: &[u8], body: impl Into<Bytes>) -> (StatusCode, Value) {
        let io = TokioIo::new(self.connect(alpn).await.unwrap());
        let request = Request::post("https://switchover-webhook.switchover-system.svc/mutate?timeout=1s")
            .header("content-type", "application/json")
            .body(Body::from(body.into()))
            .unwrap();
        let response = if alpn == b"h2" {
            let (mut sender, connection) = conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        } else {
            let (mut sender, connection) = conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            sender.send_request(request).await.unwrap()
        };
        let status = response.status();
        let body = axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body))))
    }

    pub(super) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("no end");
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(super) async fn end(self) {
        self.ending.stop.cancel();
        self.task.await.unwrap();
        std::fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn write_certificate(directory: &std::path::Path) -> authority::Made {
    let made = authority::generate("switchover-webhook", "switchover-system", Duration::from_secs(864_000)).unwrap();
    std::fs::write(directory.join("tls.crt"), &made.certificate_pem).unwrap();
    std::fs::write(directory.join("tls.key"), &made.key_pem).unwrap();
    made
}

pub(crate) fn review() -> String {
    reviews::request("shop", reviews::pod()).to_string()
}

#[tokio::test]
async fn a_review_is_answered_over_both_versions_of_http() {
    let server = Server::start("both", WebhookConfig::default()).await;
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let (status, body) = server.post(alpn, review()).await;
        assert_eq!((status, &body["response"]["uid"]), (StatusCode::OK, &json!(reviews::UID)));
        assert_eq!(body["response"]["patchType"], "JSONPatch");
    }
    server.end().await;
}

#[tokio::test]
async fn http_2_is_offered_only_if_it_is_asked_for() {
    for (versions, spoken) in [(HttpVersions::One, None), (HttpVersions::OneAndTwo, Some(&b"h2"[..]))] {
        let config = WebhookConfig { http_versions: versions, ..WebhookConfig::default() };
        let server = Server::start_for(&format!("{versions:?}"), config, None).await;
        let spoken_by_both = server.connect(b"http/1.1").await.unwrap();
        assert_eq!(spoken_by_both.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        // Who speaks HTTP/2 alone is turned away.
        let stream = server.connect(b"h2").await.ok();
        assert_eq!(stream.as_ref().and_then(|stream| stream.get_ref().1.alpn_protocol()), spoken, "{versions:?}");
        server.end().await;
    }
}

#[tokio::test]
async fn a_body_that_never_comes_is_answered_when_its_time_is_up() {
    let config = WebhookConfig { body_timeout: Duration::from_millis(300), ..WebhookConfig::default() };
    let server = Server::start("slow", config).await;
    let begin = format!(r#"{{"apiVersion":"admission.k8s.io/v1","request":{{"uid":"{}","x":""#, reviews::UID);
    let mut stream = server.connect(b"http/1.1").await.unwrap();
    let head = format!("POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{begin}", begin.len() + 1);
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains(reviews::UID), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn a_new_certificate_is_served_without_dropping_a_connection() {
    let mut server = Server::start("rotate", WebhookConfig::default()).await;
    let io = TokioIo::new(server.connect(b"http/1.1").await.unwrap());
    let (mut kept, connection) = conn::http1::handshake::<_, Body>(io).await.unwrap();
    tokio::spawn(connection);

    let made = write_certificate(&server.directory);
    assert_eq!(server.certificate.reload(), tls::Reload::Swapped);
    assert!(server.connect(b"http/1.1").await.is_err(), "the old authority did not sign the new certificate");
    server.ca = made.ca_pem;
    assert_eq!(server.post(b"http/1.1", review()).await.0, StatusCode::OK);

    let request = Request::post("/mutate").header("host", "x").body(Body::from(review())).unwrap();
    assert_eq!(kept.send_request(request).await.unwrap().status(), StatusCode::OK);
    server.end().await;
}
