//! Listeners of every role: plain HTTP for health and metrics, TLS for the webhook.
//!
//! A client that is slow, silent or one too many costs a bounded amount and nothing else: connections are counted, and
//! who asks for nothing makes room for who comes later; handshakes, request heads and idleness have limits of their own,
//! and whoever stops serving finishes what it began.

mod activity;
mod connection;
mod probes;
mod seats;
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
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    activity::Order,
    seats::{Seat, Seats},
};
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
    /// Connections at the same time. One more takes the place of one that waits for no answer: of one that has asked for
    /// nothing, or else of the one that has been idle for the longest time. It is closed at once if there is none.
    pub connections: usize,
    /// Whether a connection may ask again after an answer. HTTP/1.1 only.
    pub keep_alive: bool,
    /// Requests at the same time on one HTTP/2 connection.
    pub streams: u32,
    /// From the connection to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of an HTTP/1.1 request to the end of its head.
    pub head: Duration,
    /// Without any request. Longer than API servers keep idle connections (90 s), so that they close them, not we: a
    /// request that meets a closing connection fails.
    pub idle: Duration,
    /// Of a request that has run for longer, nobody is believed to wait for the answer: it makes room, too.
    pub patience: Duration,
    /// From the order to stop to the end of the last request.
    pub finish: Duration,
}

/// Whoever asks for health waits a few seconds at most, and asks over a new connection each time.
const HEALTH: Limits = Limits {
    // Few ask; a port scan must not cost more than a few files.
    connections: 64,
    keep_alive: false,
    streams: 1,
    handshake: Duration::from_secs(2),
    head: Duration::from_secs(2),
    idle: Duration::from_secs(5),
    patience: Duration::from_secs(2),
    finish: Duration::from_secs(2),
};

/// Few look, and whoever does may look for hours: the browser asks anew when a stream ends.
const PAGE: Limits = Limits {
    connections: 64,
    keep_alive: true,
    streams: 1,
    handshake: Duration::from_secs(5),
    head: Duration::from_secs(5),
    idle: Duration::from_secs(4 * 3600),
    patience: Duration::from_secs(30),
    finish: Duration::from_secs(2),
};

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            keep_alive: true,
            streams: 128,
            handshake: Duration::from_secs(5),
            head: Duration::from_secs(5),
            idle: Duration::from_secs(180),
            // API servers wait for a second where nobody wrote otherwise.
            patience: Duration::from_secs(2),
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
            "Connections of the listener with TLS by how they ended: closed, handshake (TLS failed or took too long), slow (request head took too long), displaced (made room for a newer one), full (one too many, and all were waited for), or error",
            metrics.total.clone(),
        );
        metrics
    }

    fn count(&self, end: &'static str) {
        self.total.get_or_create(&[("end", end)]).inc();
    }
}

/// How a listener ends: both tokens are its owner's to cancel, in this order.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    /// From now on each answer ends its connection, so that whoever asks again asks another replica.
    pub drain: CancellationToken,
    /// Nothing new is accepted, and what was begun is finished.
    pub stop: CancellationToken,
}

/// Serves plain HTTP/1.1 for health and metrics from now until `shutdown`, in a task of its own that ends when the last
/// request is answered.
///
/// # Errors
/// When the address can't be listened on.
pub async fn serve_http(
    address: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
) -> Result<JoinHandle<()>, ServeError> {
    let listener = listen(address).await?;
    let ending = Ending { stop: shutdown, ..Ending::default() };
    Ok(tokio::spawn(accept(listener, None, router, HEALTH, ConnectionMetrics::default(), ending)))
}

/// Listens on 127.0.0.1 alone, on a port that the system finds if it is 0.
///
/// # Errors
/// The port can't be listened on.
pub async fn listen_locally(port: u16) -> Result<TcpListener, ServeError> {
    listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}

/// Serves a page for people, whose streams of events live for as long as somebody looks, until `shutdown`.
pub fn serve_page(listener: TcpListener, router: Router, shutdown: CancellationToken) -> JoinHandle<()> {
    let ending = Ending { stop: shutdown, ..Ending::default() };
    tokio::spawn(accept(listener, None, router, PAGE, ConnectionMetrics::default(), ending))
}

/// Serves HTTP over TLS from now until its end, in a task of its own. Gives the bound address, too.
///
/// # Errors
/// When the address can't be listened on.
pub async fn serve_tls(
    address: SocketAddr,
    tls: Arc<rustls::ServerConfig>,
    responder: impl Respond,
    limits: Limits,
    metrics: ConnectionMetrics,
    ending: Ending,
) -> Result<(SocketAddr, JoinHandle<()>), ServeError> {
    let listener = listen(address).await?;
    let bound = listener.local_addr().unwrap_or(address);
    let tls = Some(TlsAcceptor::from(tls));
    Ok((bound, tokio::spawn(accept(listener, tls, responder, limits, metrics, ending))))
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
    ending: Ending,
) {
    let seats = Seats::new(limits.connections, limits.patience);
    let connections = TaskTracker::new();
    let finish = limits.finish;
    let context = connection::Context { tls, responder, limits, metrics };
    let mut draining = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ending.drain.cancelled(), if !draining => {
                draining = true;
                seats.tell(Order::Drain);
                continue;
            }
            () = ending.stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => match seats.take() {
                Some(seat) => drop(connections.spawn(handle(context.clone(), stream, seat))),
                // Closing at once tells the client sooner than a queue would.
                None => context.metrics.count("full"),
            },
            Err(error) => {
                // Out of files or memory, or a client that left. Asking again at once would only spin.
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    seats.tell(Order::Stop);
    connections.close();
    if tokio::time::timeout(finish, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests still ran at the end of the time to finish");
    }
}

async fn handle(context: connection::Context<impl Respond>, stream: TcpStream, seat: Seat) {
    context.metrics.open.inc();
    let end = connection::serve(&context, stream, &seat.activity).await;
    context.metrics.count(end);
    context.metrics.open.dec();
}

#[cfg(test)]
mod tests;
