//! A Patroni that does what a test says: small servers that answer as its members do (HTTP/1.0, no length, one answer per
//! connection), and a database of three of them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

mod database;

pub use database::{Patroni, Says, host};

/// What a server does with a request for one path.
#[derive(Debug, Clone)]
pub enum Reply {
    Json(u16, String),
    /// 200 with this body for whoever shows this `Authorization`, and 401 for everybody else.
    JsonFor(String, String),
    Redirect(String),
    /// More than is read of any body.
    Endless,
    /// Takes the request and never answers.
    Hang,
    /// Takes the request and closes the connection.
    Close,
}

/// How often a server was asked.
#[derive(Debug, Default)]
pub struct Counts {
    pub primary: AtomicUsize,
    pub cluster: AtomicUsize,
    now: AtomicUsize,
    /// Most questions for `/primary` that were open at one time.
    pub most_at_once: AtomicUsize,
}

/// One member. It ends with the value.
#[derive(Debug)]
pub struct Server {
    /// With the scheme that it spoke at first.
    pub url: String,
    pub counts: Arc<Counts>,
    script: Arc<Script>,
    serving: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Script {
    tls: Mutex<Option<Arc<ServerConfig>>>,
    replies: Mutex<BTreeMap<&'static str, Reply>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Server {
    /// On loopback, in the clear.
    ///
    /// # Panics
    /// As [`Server::start_at`].
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0", None).await
    }

    /// Over TLS, if there is a configuration of it.
    ///
    /// # Panics
    /// If nobody can listen at `address`.
    pub async fn start_at(address: &str, tls: Option<ServerConfig>) -> Self {
        Self::bind(address, tls).await.expect("an address to listen at")
    }

    async fn bind(address: &str, tls: Option<ServerConfig>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let script = Arc::new(Script { tls: Mutex::new(tls.map(Arc::new)), replies: Mutex::default() });
        let counts: Arc<Counts> = Arc::default();
        let (plays, counted) = (Arc::clone(&script), Arc::clone(&counts));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(welcome(stream, Arc::clone(&plays), Arc::clone(&counted)));
            }
        });
        Ok(Self { url, counts, script, serving })
    }

    /// From the next connection on.
    pub fn speaks(&self, tls: ServerConfig) {
        *lock(&self.script.tls) = Some(Arc::new(tls));
    }

    /// What is answered to questions for `path`. Any other one is not found.
    pub fn says(&self, path: &'static str, reply: Reply) {
        lock(&self.script.replies).insert(path, reply);
    }

    /// `"200 running primary 1"`.
    ///
    /// # Panics
    /// If it isn't written like that.
    pub fn is(&self, name: &str, said: &str) {
        let (status, said) = said.split_once(' ').expect("a status and more");
        self.says("/primary", Reply::Json(status.parse().expect("a number"), Self::body(name, said)));
    }

    /// What a member says of itself: `"running primary 1"`, the timeline perhaps left out.
    ///
    /// # Panics
    /// If it isn't written like that.
    pub fn body(name: &str, said: &str) -> String {
        let words: Vec<_> = said.split(' ').collect();
        let timeline = words.get(2).map_or(String::new(), |timeline| format!(r#""timeline": {timeline},"#));
        format!(
            r#"{{"state": "{}", "role": "{}", {timeline} "database_system_identifier": "77",
                "patroni": {{"version": "4.1.5", "scope": "demo", "name": "{name}"}}}}"#,
            words[0], words[1]
        )
    }

    /// As Patroni 3.0.2 answers `/primary`, which leaves its name out: `"200 running master 1"`. PostgreSQL was `started` at that
    /// second.
    ///
    /// # Panics
    /// When it isn't said so.
    pub fn is_nameless(&self, started: u32, said: &str) {
        let words: Vec<_> = said.split(' ').collect();
        let of_postgres = words.get(3).map_or(String::new(), |timeline| {
            format!(
                r#""postmaster_start_time": "2026-11-27 15:23:{started:02}.079482+00:00", "timeline": {timeline},
                    "server_version": 150018, "xlog": {{"location": 67108960}},"#
            )
        });
        let body = format!(
            r#"{{"state": "{}", "role": "{}", {of_postgres} "database_system_identifier": "77",
                "patroni": {{"version": "3.0.2", "scope": "demo"}}}}"#,
            words[1], words[2]
        );
        self.says("/primary", Reply::Json(words[0].parse().expect("a status"), body));
    }

    /// Its URL as people write it who know its host by name, while the member states an address.
    #[must_use]
    pub fn by_name(&self) -> String {
        self.url.replace("127.0.0.1", "localhost")
    }

    /// Which members it knows of.
    pub fn lists(&self, leader: &str, members: &[(&str, &Self)]) {
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

async fn welcome(stream: TcpStream, script: Arc<Script>, counts: Arc<Counts>) {
    let tls = lock(&script.tls).clone();
    match tls {
        None => answer(stream, &script, &counts).await,
        // As Patroni does, it says no more to whom it refuses than TLS does.
        Some(tls) => {
            if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                answer(stream, &script, &counts).await;
            }
        }
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script, counts: &Counts) {
    let Some(request) = head(&mut stream).await else { return };
    let path = request.split(' ').nth(1).unwrap_or("").to_owned();
    let counter = if path == "/cluster" { &counts.cluster } else { &counts.primary };
    counter.fetch_add(1, Ordering::SeqCst);
    if path == "/primary" {
        let at_once = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most_at_once.fetch_max(at_once, Ordering::SeqCst);
    }
    let reply = lock(&script.replies).get(path.as_str()).cloned();
    // Whoever gave up waiting doesn't read it.
    let _ = play(&mut stream, &request, reply).await;
    if path == "/primary" {
        counts.now.fetch_sub(1, Ordering::SeqCst);
    }
    let _ = stream.shutdown().await;
}

/// The request up to the empty line, or whatever comes first if that is no HTTP.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    let mut chunk = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.first().is_none_or(u8::is_ascii_uppercase) {
        match stream.read(&mut chunk).await {
            Ok(length) if length > 0 => request.extend_from_slice(&chunk[..length]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&request).into_owned())
}

async fn play(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    request: &str,
    reply: Option<Reply>,
) -> std::io::Result<()> {
    let (status, body) = match reply {
        Some(Reply::Json(status, body)) => (status, body),
        Some(Reply::JsonFor(login, body)) => {
            let shown = request.lines().find_map(|line| line.strip_prefix("authorization: "));
            if shown == Some(&*login) { (200, body) } else { (401, String::new()) }
        }
        Some(Reply::Redirect(to)) => {
            return stream.write_all(format!("HTTP/1.0 302 Found\r\nLocation: {to}\r\n\r\n").as_bytes()).await;
        }
        Some(Reply::Endless) => {
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n{\"state\": \"").await?;
            loop {
                stream.write_all(&[b'x'; 65_536]).await?;
            }
        }
        // Until whoever asked has gone.
        Some(Reply::Hang) => return stream.read(&mut [0; 16]).await.map(drop),
        Some(Reply::Close) => return Ok(()),
        None => return stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").await,
    };
    let head =
        format!("HTTP/1.0 {status} x\r\nServer: BaseHTTP/0.6 Python/3.11.2\r\nContent-Type: application/json\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).await
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
