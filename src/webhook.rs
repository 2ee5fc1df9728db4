//! The admission webhook: answers the API server from memory.
//!
//! Watches keep tables, the tables become a [`View`](crate::admission::View) that is swapped in as a whole, and a request takes the current one:
//! no request ever waits for the API server. Facts that nobody confirmed for a while stop being a reason to *require*
//! anything of a pod.

mod cache;
mod events;
mod handler;
mod heartbeat;
mod metrics;
mod room;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, http::StatusCode, routing::get};
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use self::{cache::Cache, handler::Handler, metrics::WebhookMetrics};
use crate::{
    cluster::{Notices, lease},
    core::schedulers::Schedulers,
    serve::{ConnectionMetrics, Limits, Listener, Probes, ServeError, Server, TaskEnded},
    tls::{self, CertificateFiles, HttpVersions, Kept, ServerFiles, TlsError},
};

/// How the webhook runs.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Where admission is served over TLS.
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are served.
    pub metrics_listen: SocketAddr,
    /// PEM certificate chain. Read again when it changes.
    pub certificate_file: PathBuf,
    /// PEM private key. Read again when it changes.
    pub key_file: PathBuf,
    /// PEM certificates of the authorities that sign clients, read again when they change. Without it anybody who reaches
    /// the port is answered.
    pub client_authorities: Option<PathBuf>,
    /// Names of which a client bears one; any name if empty.
    pub client_names: Vec<String>,
    pub http_versions: HttpVersions,
    /// Who this replica is, in events.
    pub identity: String,
    /// Pods of this namespace are left alone: switchover's own must start whatever the webhook thinks.
    pub own_namespace: String,
    /// The controllers' Lease, in the same namespace: without anybody who renews it nothing is required of pods.
    pub lease: String,
    /// Who places pods by their affinity.
    pub schedulers: Schedulers,
    /// From not being ready to not listening any more: as long as it takes until no API server sends anything new.
    pub drain: Duration,
    /// Facts about a database that were not confirmed for so long support no requirement any more.
    pub facts_ttl: Duration,
    /// Larger requests are answered 413. The API server itself takes objects of up to 3 MiB.
    pub max_body_bytes: usize,
    /// Bytes that have come of all requests that are read or decided at the same time, at least `max_body_bytes`. A request
    /// that would exceed it takes the room of one that is still waited for, or is answered 503. This is what bounds the
    /// memory of requests.
    pub max_bytes: usize,
    /// From the head of a request to the end of its body. API servers wait for a second where nobody wrote otherwise.
    pub body_timeout: Duration,
    /// Pause between two looks at the files of certificates.
    pub certificate_poll: Duration,
    pub limits: Limits,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            metrics_listen: SocketAddr::from(([0, 0, 0, 0], 8080)),
            certificate_file: "/etc/switchover/tls/tls.crt".into(),
            key_file: "/etc/switchover/tls/tls.key".into(),
            client_authorities: None,
            client_names: Vec::new(),
            http_versions: HttpVersions::One,
            identity: "switchover-webhook".to_owned(),
            own_namespace: "switchover-system".to_owned(),
            lease: lease::NAME.to_owned(),
            schedulers: Schedulers::default(),
            drain: Duration::from_secs(5),
            facts_ttl: Duration::from_secs(30),
            max_body_bytes: 4 * 1024 * 1024,
            max_bytes: 24 * 1024 * 1024,
            body_timeout: Duration::from_secs(1),
            certificate_poll: Duration::from_secs(1),
            limits: Limits::default(),
        }
    }
}

/// Why the webhook ended or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

/// Runs until `shutdown`, then drains: not ready first, then no new connections, then the end of the last request.
///
/// # Errors
/// The certificate can't be served, a port can't be had, or a background task died.
pub async fn run(config: WebhookConfig, client: Client, shutdown: CancellationToken) -> Result<(), WebhookError> {
    tls::install_provider();
    let mut registry = crate::metrics::begin("webhook");
    let metrics = WebhookMetrics::register(&mut registry);
    let connections = ConnectionMetrics::register(&mut registry);

    let probes = Probes::new(Arc::new(registry));
    let filled = probes.check("caches", "the watches have not filled the caches yet");
    let mut tasks = JoinSet::new();
    let cache =
        Cache::new(&config.own_namespace, config.facts_ttl, metrics.clone()).going_by(config.schedulers.clone());
    cache.spawn(&client, &config.lease, filled, &mut tasks);

    let (notices, publish) = Notices::new(client, config.identity.clone());
    tasks.spawn(publish);
    let handler = Handler::following(&cache, notices, metrics.clone(), &config);
    let files = ServerFiles {
        certificate: config.certificate_file,
        key: config.key_file,
        client_authorities: config.client_authorities,
        client_names: config.client_names,
        versions: config.http_versions,
        poll: config.certificate_poll,
    };
    let Kept { config: tls, certificate } =
        files.keep(&probes, &mut tasks, move |reload, expires| metrics.certificate_seen(reload, expires))?;

    let health = Listener::http(config.metrics_listen, probes.router().merge(shown(certificate))).await?;
    let (address, main) = Listener::tls(config.listen, tls, handler, config.limits, connections).await?;
    tracing::info!(%address, "answering admission requests");
    Ok(Server { tasks, probes, health, main, drain: config.drain }.run_until(shutdown).await?)
}

/// `/certificate`: what this replica serves now, for whoever wants to know whether API servers believe it. Everybody is shown it who
/// connects to the webhook itself.
fn shown(certificate: Arc<CertificateFiles>) -> Router {
    Router::new().route(CERTIFICATE, get(async move || certificate.chain().ok_or(StatusCode::SERVICE_UNAVAILABLE)))
}

/// Where a replica shows its certificate, beside its health.
pub const CERTIFICATE: &str = "/certificate";

#[cfg(test)]
mod tests;
