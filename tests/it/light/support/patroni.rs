//! Three members that answer as Patroni does (HTTP/1.0, no length, one answer per connection), and say what a test wants.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// What one member says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// 200, running.
    Primary { timeline: u64 },
    /// 503, running.
    Replica { timeline: u64 },
    /// Takes connections and never answers.
    Hangs,
    /// Closes every connection at once.
    Down,
}

/// A database of three members, `pg1` to `pg3`. Its answers end with the value.
#[derive(Debug)]
pub struct Patroni {
    members: Arc<Members>,
    _serving: JoinSet<()>,
}

#[derive(Debug)]
struct Members {
    /// Before the members' names, so that scenes don't share hosts.
    prefix: String,
    addresses: Vec<SocketAddr>,
    say: Mutex<Vec<Says>>,
    tls: Mutex<Option<Arc<ServerConfig>>>,
}

impl Patroni {
    /// `pg1` is the primary, on timeline 1.
    pub async fn start(prefix: &str) -> Result<Patroni> {
        Self::start_over(prefix, None).await
    }

    /// The same over TLS.
    pub async fn start_tls(prefix: &str, tls: ServerConfig) -> Result<Patroni> {
        Self::start_over(prefix, Some(Arc::new(tls))).await
    }

    async fn start_over(prefix: &str, tls: Option<Arc<ServerConfig>>) -> Result<Patroni> {
        let mut listeners = Vec::new();
        for _ in 0..3 {
            listeners.push(TcpListener::bind(("127.0.0.1", 0)).await?);
        }
        let members = Arc::new(Members {
            prefix: prefix.to_owned(),
            addresses: listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?,
            say: Mutex::new(vec![
                Says::Primary { timeline: 1 },
                Says::Replica { timeline: 1 },
                Says::Replica { timeline: 1 },
            ]),
            tls: Mutex::new(tls),
        });
        let mut serving = JoinSet::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let members = Arc::clone(&members);
            serving.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let members = Arc::clone(&members);
                    tokio::spawn(async move { members.welcome(index, stream).await });
                }
            });
        }
        Ok(Patroni { members, _serving: serving })
    }

    /// Base URLs of all members.
    pub fn urls(&self) -> Vec<String> {
        self.members.addresses.iter().map(|address| format!("{}://{address}", self.members.scheme())).collect()
    }

    /// From the next connection on all members speak this TLS.
    pub fn speak(&self, tls: ServerConfig) {
        *self.members.tls() = Some(Arc::new(tls));
    }

    /// `primary` is the primary now, on `timeline`, and the others follow it.
    pub fn switchover(&self, primary: &str, timeline: u64) {
        let primary = index_of(primary);
        for (index, says) in self.members.say().iter_mut().enumerate() {
            *says = if index == primary { Says::Primary { timeline } } else { Says::Replica { timeline } };
        }
    }

    /// From now on `member` says this.
    pub fn let_say(&self, member: &str, says: Says) {
        self.members.say()[index_of(member)] = says;
    }

    pub fn let_all_say(&self, says: Says) {
        self.members.say().fill(says);
    }
}

fn index_of(member: &str) -> usize {
    ["pg1", "pg2", "pg3"].iter().position(|name| *name == member).expect("pg1, pg2 or pg3")
}

/// The host that `member` states, as agents measure it.
pub fn host(prefix: &str, member: &str) -> String {
    format!("{prefix}-{member}.example.com")
}

impl Members {
    fn say(&self) -> std::sync::MutexGuard<'_, Vec<Says>> {
        self.say.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tls(&self) -> std::sync::MutexGuard<'_, Option<Arc<ServerConfig>>> {
        self.tls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scheme(&self) -> &'static str {
        if self.tls().is_some() { "https" } else { "http" }
    }

    async fn welcome(&self, index: usize, stream: TcpStream) {
        let tls = self.tls().clone();
        match tls {
            None => self.answer(index, stream).await,
            Some(tls) => {
                // Whoever is refused learns it from TLS.
                if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                    self.answer(index, stream).await;
                }
            }
        }
    }

    async fn answer(&self, index: usize, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let mut request = Vec::new();
        let mut chunk = [0; 1024];
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            match stream.read(&mut chunk).await {
                Ok(length) if length > 0 => request.extend_from_slice(&chunk[..length]),
                _ => return,
            }
        }
        let says = self.say()[index];
        let (status, body) = match says {
            Says::Down => return,
            Says::Hangs => return std::future::pending().await,
            _ if request.starts_with(b"GET /cluster ") => ("200 OK", self.cluster()),
            Says::Primary { timeline } => ("200 OK", member(index, "primary", timeline)),
            Says::Replica { timeline } => ("503 Service Unavailable", member(index, "replica", timeline)),
        };
        let head = format!(
            "HTTP/1.0 {status}\r\nServer: BaseHTTP/0.6 Python/3.11.2\r\nContent-Type: application/json\r\n\r\n"
        );
        // Whoever gave up waiting doesn't read it.
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        let _ = stream.shutdown().await;
    }

    fn cluster(&self) -> Value {
        let say = self.say();
        let members: Vec<Value> = (0..3)
            .map(|index| {
                let leads = matches!(say[index], Says::Primary { .. });
                json!({
                    "name": format!("pg{}", index + 1),
                    "role": if leads { "leader" } else { "replica" },
                    "state": if leads { "running" } else { "streaming" },
                    "api_url": format!("{}://{}/patroni", self.scheme(), self.addresses[index]),
                    "host": host(&self.prefix, &format!("pg{}", index + 1)),
                    "port": 5432,
                })
            })
            .collect();
        json!({ "members": members, "scope": self.prefix })
    }
}

fn member(index: usize, role: &str, timeline: u64) -> Value {
    json!({
        "state": "running",
        "role": role,
        "server_version": 150_018,
        "timeline": timeline,
        "database_system_identifier": "7711008477986263233",
        "patroni": {"version": "4.1.5", "scope": "demo", "name": format!("pg{}", index + 1)},
    })
}
