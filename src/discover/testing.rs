//! Small servers that answer as Patroni does: HTTP/1.0, no length, the connection closes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use prometheus_client::registry::Registry;
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::{Discovery, DiscoveryState, Metrics, PatroniConfig, Restored, Source, spawn};
use crate::credentials::{Access, Credentials, Places, Sources};

/// What a server does with a request for one path.
#[derive(Clone)]
pub(crate) enum Reply {
    Json(u16, String),
    /// 200 with this body for whoever shows this `Authorization`, and 401 for everybody else.
    JsonFor(String, String),
    Redirect(String),
    /// More than is read of any body.
    Endless,
    /// Takes the request and never answers.
    Hang,
}

#[derive(Default)]
pub(super) struct Counts {
    pub primary: AtomicUsize,
    pub cluster: AtomicUsize,
    now: AtomicUsize,
    pub most_at_once: AtomicUsize,
}

pub(crate) struct Server {
    pub url: String,
    tls: Arc<Mutex<Option<TlsAcceptor>>>,
    replies: Arc<Mutex<BTreeMap<&'static str, Reply>>>,
    pub(super) counts: Arc<Counts>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_at("127.0.0.1:0", None).await
    }

    /// Over TLS, if there is a configuration of it.
    pub(crate) async fn start_at(address: &str, tls: Option<ServerConfig>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let tls = Arc::new(Mutex::new(tls.map(acceptor)));
        let replies: Arc<Mutex<BTreeMap<&'static str, Reply>>> = Arc::default();
        let counts: Arc<Counts> = Arc::default();
        let (answers, counted, acceptor) = (replies.clone(), counts.clone(), tls.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answers, counted) = (answers.clone(), counted.clone());
                let acceptor = acceptor.lock().unwrap().clone();
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, answers, counted).await,
                        // As Patroni does, it says no more to whom it refuses than TLS does.
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, answers, counted).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, tls, replies, counts, task }
    }

    /// From the next connection on.
    pub(crate) fn speaks(&self, tls: ServerConfig) {
        *self.tls.lock().unwrap() = Some(acceptor(tls));
    }

    pub(crate) fn says(&self, path: &'static str, reply: Reply) {
        self.replies.lock().unwrap().insert(path, reply);
    }

    /// `"200 running primary 1"`.
    pub(crate) fn is(&self, name: &str, said: &str) {
        let (status, said) = said.split_once(' ').unwrap();
        self.says("/primary", Reply::Json(status.parse().unwrap(), Self::body(name, said)));
    }

    /// `"running primary 1"`.
    pub(super) fn body(name: &str, said: &str) -> String {
        let words: Vec<_> = said.split(' ').collect();
        let timeline = words.get(2).map_or(String::new(), |timeline| format!(r#""timeline": {timeline},"#));
        format!(
            r#"{{"state": "{}", "role": "{}", {timeline} "database_system_identifier": "77",
                "patroni": {{"version": "4.1.5", "scope": "demo", "name": "{name}"}}}}"#,
            words[0], words[1]
        )
    }

    /// Between the next six requests for `/primary`.
    pub(super) async fn shortest_pause_of_five(&self) -> Duration {
        shortest_pause_of_five(|| self.counts.primary.load(Ordering::SeqCst)).await
    }

    pub(crate) fn lists(&self, leader: &str, members: &[(&str, &Self)]) {
        let member = |(name, server): &(&str, &Self)| {
            let role = if *name == leader { "leader" } else { "replica" };
            format!(
                r#"{{"name": "{name}", "role": "{role}", "state": "running", "api_url": "{}/patroni",
                    "host": "{name}.db", "port": 15432, "lag": "unknown"}}"#,
                server.url
            )
        };
        let members: Vec<_> = members.iter().map(member).collect();
        self.says("/cluster", Reply::Json(200, format!(r#"{{"members": [{}], "scope": "demo"}}"#, members.join(","))));
    }
}

/// Between the next six of what is `counted`. A busy machine makes pauses longer, never all of them.
pub(super) async fn shortest_pause_of_five(counted: impl Fn() -> usize) -> Duration {
    let next = async || {
        let seen = counted();
        while counted() == seen {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Instant::now()
    };
    let mut before = next().await;
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let now = next().await;
        shortest = shortest.min(now - before);
        before = now;
    }
    shortest
}

fn acceptor(tls: ServerConfig) -> TlsAcceptor {
    TlsAcceptor::from(Arc::new(tls))
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    replies: Arc<Mutex<BTreeMap<&'static str, Reply>>>,
    counts: Arc<Counts>,
) {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await.unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or("").to_owned();
    let counter = if path == "/cluster" { &counts.cluster } else { &counts.primary };
    counter.fetch_add(1, Ordering::SeqCst);
    if path == "/primary" {
        let at_once = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most_at_once.fetch_max(at_once, Ordering::SeqCst);
    }
    let reply = match replies.lock().unwrap().get(path.as_str()).cloned() {
        Some(Reply::JsonFor(login, body)) => {
            let shown = request.lines().find_map(|line| line.strip_prefix("authorization: "));
            Some(if shown == Some(&*login) { Reply::Json(200, body) } else { Reply::Json(401, String::new()) })
        }
        other => other,
    };
    match reply {
        Some(Reply::JsonFor(..)) => unreachable!("it was decided above"),
        Some(Reply::Json(status, body)) => {
            let head = format!("HTTP/1.0 {status} x\r\nServer: BaseHTTP/0.6\r\nContent-Type: application/json\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
        Some(Reply::Redirect(to)) => {
            let _ = stream.write_all(format!("HTTP/1.0 302 Found\r\nLocation: {to}\r\n\r\n").as_bytes()).await;
        }
        Some(Reply::Endless) => {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n{\"state\": \"").await;
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
        }
        Some(Reply::Hang) => {
            let _ = stream.read(&mut [0; 16]).await;
        }
        None => {
            let _ = stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").await;
        }
    }
    if path == "/primary" {
        counts.now.fetch_sub(1, Ordering::SeqCst);
    }
    let _ = stream.shutdown().await;
}

/// How often a member is looked at while the primary is known.
pub(super) const SLOW_PACE: Duration = Duration::from_secs(1);

pub(super) fn follow(servers: &[&Server]) -> Discovery {
    follow_from(servers, Restored::default())
}

pub(super) fn follow_from(servers: &[&Server], restored: Restored) -> Discovery {
    follow_with(servers, restored, Access::fixed(Arc::new(Credentials::none(places()))), Duration::from_millis(300))
}

/// Over TLS a busy machine needs more time for an answer.
pub(super) fn follow_with(servers: &[&Server], restored: Restored, access: Access, timeout: Duration) -> Discovery {
    let urls = servers.iter().map(|server| server.url.clone()).collect();
    follow_by(PatroniConfig { urls, access, timeout, interval: SLOW_PACE, witness: None }, restored)
}

pub(super) fn follow_by(config: PatroniConfig, restored: Restored) -> Discovery {
    spawn("orders".to_owned(), Source::Patroni(config), restored, Metrics::register(&mut Registry::default()))
}

/// Of a database that names no Secrets.
pub(super) fn places() -> Places {
    Sources { field: "spec.discovery.patroni", namespace: "switchover-system".to_owned(), ..Sources::default() }
        .places()
}

pub(super) async fn until(handle: &Discovery, what: &str, holds: impl Fn(&DiscoveryState) -> bool) -> DiscoveryState {
    let mut state = handle.state.clone();
    let waited = tokio::time::timeout(Duration::from_secs(20), state.wait_for(|state| holds(state))).await;
    match waited {
        Ok(state) => state.unwrap().clone(),
        Err(_) => panic!("never: {what}: {:?}", handle.state.borrow()),
    }
}

pub(super) fn known(state: &DiscoveryState) -> Option<(&str, u64)> {
    state.view.known().map(|primary| (primary.name.as_str(), primary.timeline))
}

pub(super) fn names(state: &DiscoveryState) -> Vec<&str> {
    state.members.iter().map(|member| member.name.as_str()).collect()
}

pub(super) fn error_of(state: &DiscoveryState, member: &str) -> Option<String> {
    state.answers.iter().find(|answer| answer.name == member).and_then(|answer| answer.error.clone())
}
