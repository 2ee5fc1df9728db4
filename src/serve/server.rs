//! A role that serves over TLS, from the first request to an orderly end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{ConnectionMetrics, Ending, Limits, Probes, Respond, ServeError, serve_http, serve_tls};

/// What ends a role before it is told to.
#[derive(Debug, thiserror::Error)]
#[error("a background task ended that should not have: {0}")]
pub struct TaskEnded(pub String);

/// A listener that answers until it is told to stop, and then finishes what it began.
#[derive(Debug)]
pub struct Listener {
    ending: Ending,
    ended: JoinHandle<()>,
}

impl Listener {
    /// Plain HTTP/1.1, from now on.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub async fn http(address: SocketAddr, router: Router) -> Result<Self, ServeError> {
        let ending = Ending::default();
        Ok(Self { ended: serve_http(address, router, ending.stop.clone()).await?, ending })
    }

    /// HTTP over TLS, from now on; and the bound address.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub async fn tls(
        address: SocketAddr,
        tls: Arc<rustls::ServerConfig>,
        responder: impl Respond,
        limits: Limits,
        metrics: ConnectionMetrics,
    ) -> Result<(SocketAddr, Self), ServeError> {
        let ending = Ending::default();
        let (bound, ended) = serve_tls(address, tls, responder, limits, metrics, ending.clone()).await?;
        Ok((bound, Self { ending, ended }))
    }

    async fn stop(self) {
        self.ending.stop.cancel();
        let _ = self.ended.await;
    }
}

/// What a role with TLS consists of.
#[derive(Debug)]
pub struct Server {
    /// None of them ends by itself.
    pub tasks: JoinSet<()>,
    pub probes: Probes,
    pub health: Listener,
    pub main: Listener,
    /// From not being ready to not listening any more.
    pub drain: Duration,
}

impl Server {
    /// Serves until `shutdown`, then ends in order: not ready and no connection kept after an answer first, then no new
    /// connections, then the end of the last request. Health is told until the very end.
    ///
    /// # Errors
    /// A background task died. Then nothing is drained.
    pub async fn run_until(mut self, shutdown: CancellationToken) -> Result<(), TaskEnded> {
        let died = tokio::select! {
            () = shutdown.cancelled() => None,
            Some(ended) = self.tasks.join_next() => Some(format!("{ended:?}")),
        };
        self.probes.drain();
        self.main.ending.drain.cancel();
        if died.is_none() && !self.drain.is_zero() {
            tracing::info!(drain = ?self.drain, "not ready any more, finishing what is on the way");
            tokio::time::sleep(self.drain).await;
        }
        self.main.stop().await;
        self.health.stop().await;
        self.tasks.shutdown().await;
        died.map_or(Ok(()), |task| Err(TaskEnded(task)))
    }
}
