//! Requests flow while certificates and authorities change every two seconds: none fails.
//!
//! The reconcile is the controller's own, against a stand-in for three objects of the API server; the files are swapped
//! as a kubelet swaps a mounted Secret; the clients trust what stands in the `caBundle`, as the API server does.

use std::{
    collections::BTreeSet,
    os::unix::fs::symlink,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::body::Body;
use hyper::{Request, StatusCode, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::super::*;
use super::review;
use crate::{
    certificates::{
        install::{self, AUTHORITY_SECRET, Rotation, SECRET},
        testing::Objects,
    },
    core::rotation::Seen,
    serve,
};

const RUN: Duration = Duration::from_secs(13);
const EVERY: Duration = Duration::from_secs(2);

/// What the clients share.
struct Clients {
    objects: Objects,
    address: SocketAddr,
    end: tokio::time::Instant,
    failures: Mutex<Vec<String>>,
    answered: [AtomicUsize; 4],
    /// Serving certificates that were met.
    served: Mutex<BTreeSet<Vec<u8>>>,
}

impl Clients {
    async fn connect(&self, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(self.objects.bundle().as_bytes()) {
            roots.add(authority.unwrap()).unwrap();
        }
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from("switchover-webhook.switchover-system.svc").unwrap();
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        self.served.lock().unwrap().insert(leaf);
        Ok(stream)
    }

    fn count(&self, kind: usize, result: Result<StatusCode, String>) {
        match result {
            Ok(StatusCode::OK) => drop(self.answered[kind].fetch_add(1, Ordering::Relaxed)),
            other => self.failures.lock().unwrap().push(format!("{}: {other:?}", KINDS[kind])),
        }
    }

    /// One client: of kinds 0 and 1 with a connection for each request, of 2 and 3 with one connection for all.
    async fn flow(self: Arc<Self>, kind: usize) {
        let keeps = kind >= 2;
        let mut kept = None;
        while tokio::time::Instant::now() < self.end {
            if kept.is_none() || !keeps {
                let opened = if kind.is_multiple_of(2) {
                    Sender::http1(self.connect(b"http/1.1").await).await
                } else {
                    Sender::http2(self.connect(b"h2").await).await
                };
                match opened {
                    Ok(sender) => kept = Some(sender),
                    Err(error) => self.count(kind, Err(error)),
                }
            }
            if let Some(sender) = &mut kept {
                let answer = sender.send().await;
                self.count(kind, answer);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

const KINDS: [&str; 4] = ["new HTTP/1.1", "new HTTP/2", "kept HTTP/1.1", "kept HTTP/2"];

enum Sender {
    Http1(conn::http1::SendRequest<Body>),
    Http2(conn::http2::SendRequest<Body>),
}

impl Sender {
    async fn http1(stream: std::io::Result<TlsStream<TcpStream>>) -> Result<Self, String> {
        let io = TokioIo::new(stream.map_err(|error| error.to_string())?);
        let (sender, connection) = conn::http1::handshake(io).await.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Self::Http1(sender))
    }

    async fn http2(stream: std::io::Result<TlsStream<TcpStream>>) -> Result<Self, String> {
        let io = TokioIo::new(stream.map_err(|error| error.to_string())?);
        let handshake = conn::http2::handshake(TokioExecutor::new(), io).await;
        let (sender, connection) = handshake.map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        Ok(Self::Http2(sender))
    }

    async fn send(&mut self) -> Result<StatusCode, String> {
        let request = Request::post("https://switchover-webhook.switchover-system.svc/mutate")
            .header("host", "switchover-webhook.switchover-system.svc")
            .body(Body::from(review()))
            .unwrap();
        let response = match self {
            Self::Http1(sender) => sender.send_request(request).await,
            Self::Http2(sender) => sender.send_request(request).await,
        };
        let response = response.map_err(|error| error.to_string())?;
        let status = response.status();
        axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await.map_err(|error| error.to_string())?;
        Ok(status)
    }
}

/// Swaps both files at once by a symbolic link to a directory, as kubelets do.
fn mount(directory: &Path, objects: &Objects, number: usize) {
    let fresh = directory.join(format!("..{number}"));
    std::fs::create_dir_all(&fresh).unwrap();
    for file in ["tls.crt", "tls.key"] {
        std::fs::write(fresh.join(file), objects.file(SECRET, file)).unwrap();
        let _ = symlink(Path::new("..data").join(file), directory.join(file));
    }
    symlink(format!("..{number}"), directory.join("..new")).unwrap();
    std::fs::rename(directory.join("..new"), directory.join("..data")).unwrap();
}

/// Keeps the certificates as the leader does, and brings the Secret into the mount when it has changed.
async fn keep(objects: Objects, rotation: Rotation, directory: PathBuf) {
    let (client, mut mounted, mut number) = (objects.client(), String::new(), 0);
    let mut seen = Seen::default();
    loop {
        install::pass(&client, &rotation, crate::process::now, Some(&mut seen), || true, |_| {}).await.unwrap();
        let certificate = objects.file(SECRET, "tls.crt");
        if certificate != mounted {
            number += 1;
            mount(&directory, &objects, number);
            mounted = certificate;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_every_two_seconds_and_no_request_fails() {
    tls::install_provider();
    let directory = std::env::temp_dir().join(format!("switchover-rotation-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let objects = Objects::with_configuration("");
    // The grace is a twelfth: one second. Short enough that certificates also run out by themselves, after 8 s.
    let rotation = Rotation {
        service: "switchover-webhook".to_owned(),
        configuration: "switchover".to_owned(),
        namespace: "switchover-system".to_owned(),
        lifetime: Duration::from_secs(12),
        authority_lifetime: Duration::from_secs(60),
    };
    assert_eq!(rotation.grace(), Duration::from_secs(1));
    let mut tasks = JoinSet::new();
    tasks.spawn(keep(objects.clone(), rotation, directory.clone()));

    let (seen, mut expiry) = tokio::sync::watch::channel(None);
    let files = ServerFiles {
        certificate: directory.join("tls.crt"),
        key: directory.join("tls.key"),
        client_authorities: None,
        client_names: Vec::new(),
        versions: tls::HttpVersions::OneAndTwo,
        poll: Duration::from_millis(50),
    };
    let probes = Probes::new(Arc::new(crate::metrics::registry()));
    let tls = files
        .keep(&probes, &mut tasks, move |_, expires| {
            seen.send_replace(expires);
        })
        .unwrap()
        .config;
    expiry.wait_for(Option::is_some).await.unwrap();
    let config = WebhookConfig::default();
    let view = arc_swap::ArcSwap::from_pointee(crate::admission::tests::view(std::time::Instant::now()));
    let metrics = WebhookMetrics::register(&mut crate::metrics::registry());
    let (address, _serving) = serve::serve_tls(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        tls,
        Handler::new(Arc::new(view), metrics, &config),
        config.limits,
        ConnectionMetrics::default(),
        serve::Ending::default(),
    )
    .await
    .unwrap();

    let clients = Arc::new(Clients {
        objects: objects.clone(),
        address,
        end: tokio::time::Instant::now() + RUN,
        failures: Mutex::default(),
        answered: Default::default(),
        served: Mutex::default(),
    });
    let flows: Vec<_> = (0..4).map(|kind| tokio::spawn(Arc::clone(&clients).flow(kind))).collect();
    // By turns the authority is lost, so that another takes its place step by step, and the certificate.
    let mut authorities = BTreeSet::from([objects.file(AUTHORITY_SECRET, "tls.crt")]);
    for secret in [AUTHORITY_SECRET, SECRET].into_iter().cycle() {
        tokio::time::sleep(EVERY).await;
        if tokio::time::Instant::now() + EVERY > clients.end {
            break;
        }
        authorities.insert(objects.file(AUTHORITY_SECRET, "tls.crt"));
        objects.remove(secret);
    }
    for flow in flows {
        flow.await.unwrap();
    }
    tasks.shutdown().await;
    std::fs::remove_dir_all(&directory).unwrap();

    assert_eq!(*clients.failures.lock().unwrap(), Vec::<String>::new());
    let answered = clients.answered.each_ref().map(|count| count.load(Ordering::Relaxed));
    assert!(answered.iter().all(|count| *count > 100), "{answered:?}");
    let served = clients.served.lock().unwrap().len();
    println!(
        "{authorities} authorities, {served} certificates, answered: {answered:?}",
        authorities = authorities.len()
    );
    assert!(served >= 5 && authorities.len() >= 3, "{served} certificates of {} authorities", authorities.len());
}
