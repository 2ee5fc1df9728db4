//! Listeners of every role: plain HTTP for health and metrics, TLS for the webhook.
//!
//! A client that is slow, silent or one too many costs a bounded amount and nothing else: connections are counted,
//! handshakes, request heads and idleness have limits of their own, and whoever stops serving finishes what it began.

mod connection;
mod probes;
mod server;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{BoxError, Router};
use hyper::{
    Request, Response,
    body::{Body, Incoming},
    service::Service,
};
use hyper_util::service::TowerToHyperService;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    probes::{Check, Probes},
    server::{Listener, Server, TaskEnded},
};

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("{address} can't be listened on: {source}: write a free address and port of this machine")]
    Listen { address: SocketAddr, source: io::Error },
}

/// What one listener allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at the same time. More are closed at once.
    pub connections: usize,
    /// Requests at the same time on one HTTP/2 connection.
    pub streams: u32,
    /// From the connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of an HTTP/1.1 request to the end of its head.
    pub head: Duration,
    /// Without any request. Longer than API servers keep idle connections (90 s), so that they close them, not we: a
    /// request that meets a closing connection fails.
    pub idle: Duration,
    /// From the order to stop to the end of the last request.
    pub finish: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            streams: 128,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(5),
            idle: Duration::from_secs(180),
            finish: Duration::from_secs(10),
        }
    }
}

/// Answers the requests of a listener, each of them somehow.
pub trait Respond: Clone + Send + Sync + 'static {
    type Body: Body<Data: Send, Error: Into<BoxError>> + Send + 'static;

    fn respond(&self, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send + 'static;
}

impl Respond for Router {
    type Body = axum::body::Body;

    fn respond(&self, request: Request<Incoming>) -> impl Future<Output = Response<Self::Body>> + Send + 'static {
        let response = TowerToHyperService::new(self.clone()).call(request);
        async move {
            match response.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    }
}

type Labels = [(&'static str, &'static str); 1];

/// Connection counts of one listener.
#[derive(Debug, Clone, Default)]
pub struct ConnectionMetrics {
    open: Gauge,
    total: Family<Labels, Counter>,
}

impl ConnectionMetrics {
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("connections", "Open connections of the listener with TLS", metrics.open.clone());
        registry.register(
            "connections_handled",
            "Connections of the listener with TLS by how they ended: closed, handshake (TLS failed or took too long), slow (request head took too long), full (one too many), or error",
            metrics.total.clone(),
        );
        metrics
    }

    fn count(&self, end: &'static str) {
        self.total.get_or_create(&[("end", end)]).inc();
    }
}

/// Serves plain HTTP/1.1 from now until `shutdown`, in a task of its own that ends when the last request is answered.
///
/// # Errors
/// When the address can't be listened on.
pub async fn serve_http(
    address: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
) -> Result<JoinHandle<()>, ServeError> {
    let listener = listen(address).await?;
    // Few ask for health and metrics; a port scan must not cost more than a few files.
    let limits = Limits { connections: 64, finish: Duration::from_secs(2), ..Limits::default() };
    Ok(tokio::spawn(accept(listener, None, router, limits, ConnectionMetrics::default(), shutdown)))
}

/// Serves HTTP/1.1 and HTTP/2 over TLS from now until `shutdown`, like [`serve_http`]. Gives the bound address, too.
///
/// # Errors
/// When the address can't be listened on.
pub async fn serve_tls(
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    responder: impl Respond,
    limits: Limits,
    metrics: ConnectionMetrics,
    shutdown: CancellationToken,
) -> Result<(SocketAddr, JoinHandle<()>), ServeError> {
    let listener = listen(address).await?;
    let bound = listener.local_addr().unwrap_or(address);
    let tls = Some(TlsAcceptor::from(tls));
    Ok((bound, tokio::spawn(accept(listener, tls, responder, limits, metrics, shutdown))))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    let mut bound = TcpListener::bind(address).await;
    if bound.is_err() && address.ip() == Ipv6Addr::UNSPECIFIED {
        // `[::]` means every address; where the kernel has no IPv6 those are the IPv4 ones.
        let every = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
        bound = TcpListener::bind(every).await.or(bound);
    }
    bound.map_err(|source| ServeError::Listen { address, source })
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    responder: impl Respond,
    limits: Limits,
    metrics: ConnectionMetrics,
    shutdown: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let finish = limits.finish;
    let context = connection::Context { tls, responder, limits, metrics, stop: shutdown.clone() };
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => match Arc::clone(&permits).try_acquire_owned() {
                Ok(permit) => drop(connections.spawn(handle(context.clone(), stream, permit))),
                // Closing at once tells the client sooner than a queue would.
                Err(_) => context.metrics.count("full"),
            },
            Err(error) => {
                // Out of files or memory, or a client that left. Asking again at once would only spin.
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(finish, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests still ran at the end of the time to finish");
    }
}

async fn handle(context: connection::Context<impl Respond>, stream: TcpStream, permit: OwnedSemaphorePermit) {
    context.metrics.open.inc();
    let end = connection::serve(&context, stream).await;
    context.metrics.count(end);
    context.metrics.open.dec();
    drop(permit);
}

#[cfg(test)]
mod tests;
