//! The witness: asks the members of databases from another site, and tells those who show a certificate what it hears.
//!
//! It runs anywhere, knows nothing of Kubernetes, and decides nothing. Whoever asks it gets each member's last answer and how
//! old it is; what that amounts to is for the one who asks. See docs/witness.md.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    credentials::{Access, Files, Pace},
    discover::{
        self, Discovery, PatroniConfig, Restored, Source,
        witness::{NoSuchDatabase, Report},
    },
    serve::{ConnectionMetrics, Limits, Listener, Probes, ServeError, Server, TaskEnded},
    tls::{self, HttpVersions, ServerFiles, TlsError},
};

/// How the witness runs.
#[derive(Debug, Clone)]
pub struct WitnessConfig {
    /// Where reports are served over TLS.
    pub listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are served.
    pub metrics_listen: SocketAddr,
    /// PEM certificate chain. Read again when it changes.
    pub certificate_file: PathBuf,
    /// PEM private key. Read again when it changes.
    pub key_file: PathBuf,
    /// PEM certificates of the authorities that sign clients. Read again when it changes.
    pub client_authorities: PathBuf,
    /// Names of which a client bears one; any name if empty.
    pub client_names: Vec<String>,
    /// Base URLs of members to start from, by the database's name.
    pub databases: BTreeMap<String, Vec<String>>,
    /// What Patroni is asked with. Read again when it changes.
    pub files: Files,
    /// Pause between two looks at one member.
    pub interval: Duration,
    /// Time allowed for one answer of a member.
    pub timeout: Duration,
    /// Pause between two looks at the files of certificates.
    pub certificate_poll: Duration,
    pub limits: Limits,
}

/// What one witness allows: a few controllers ask it about once a second.
#[must_use]
pub fn limits() -> Limits {
    let (head, idle, finish) = (Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(2));
    Limits { connections: 128, streams: 16, head, idle, finish, ..Limits::default() }
}

/// Why the witness ended or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Task(#[from] TaskEnded),
}

/// Runs until `shutdown`.
///
/// # Errors
/// A port can't be had, or a background task died.
pub async fn run(config: WitnessConfig, shutdown: CancellationToken) -> Result<(), WitnessError> {
    tls::install_provider();
    let mut registry = crate::metrics::begin("witness");
    let metrics = discover::Metrics::register(&mut registry);
    let connections = ConnectionMetrics::register(&mut registry);
    let probes = Probes::new(Arc::new(registry));
    let mut tasks = JoinSet::new();

    let files = ServerFiles {
        certificate: config.certificate_file,
        key: config.key_file,
        client_authorities: Some(config.client_authorities),
        client_names: config.client_names,
        versions: HttpVersions::One,
        poll: config.certificate_poll,
    };
    let server = files.keep(&probes, &mut tasks, |_, _| {})?.config;

    let pace = Pace { regular: config.certificate_poll, soon: config.certificate_poll };
    let follow = |(name, urls): (String, Vec<String>)| {
        let source = Source::Patroni(PatroniConfig {
            hosts: discover::patroni::hosts_of(&urls),
            urls,
            access: Access::files(&name, config.files.clone(), pace),
            timeout: config.timeout,
            interval: config.interval,
            witness: None,
        });
        let discovery = discover::spawn(name.clone(), source, Restored::default(), metrics.clone());
        (name, discovery)
    };
    let databases = Arc::new(config.databases.into_iter().map(follow).collect::<Databases>());
    let asked = probes.check("members", "not every member was asked yet");
    let following = Arc::clone(&databases);
    tasks.spawn(async move {
        for discovery in following.values() {
            let _ = discovery.state.clone().wait_for(|state| state.looked).await;
        }
        asked.set_ready();
        // A discovery ends by itself only by a panic.
        while following.values().all(Discovery::alive) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });

    let health = Listener::http(config.metrics_listen, probes.router()).await?;
    let (address, main) = Listener::tls(config.listen, server, router(databases), config.limits, connections).await?;
    tracing::info!(%address, "telling what is heard from the members");
    Ok(Server { tasks, probes, health, main, drain: Duration::ZERO }.run_until(shutdown).await?)
}

type Databases = BTreeMap<String, Discovery>;

fn router(databases: Arc<Databases>) -> Router {
    Router::new().route("/v1/databases/{name}", get(report)).fallback(elsewhere).with_state(databases)
}

async fn report(State(databases): State<Arc<Databases>>, Path(name): Path<String>) -> Response {
    let Some(discovery) = databases.get(&name) else {
        let error =
            format!("there is no database {name} here: ask for one of those below, or add --database {name}=URL");
        return unknown(&databases, error);
    };
    let (state, heard) = (discovery.state.borrow().clone(), discovery.heard.borrow().clone());
    Json(Report::new(&name, &state.members, &heard, Instant::now())).into_response()
}

async fn elsewhere(State(databases): State<Arc<Databases>>, uri: Uri) -> Response {
    unknown(&databases, format!("there is nothing at {}: ask for /v1/databases/NAME", uri.path()))
}

fn unknown(databases: &Databases, error: String) -> Response {
    let databases = databases.keys().cloned().collect();
    (StatusCode::NOT_FOUND, Json(NoSuchDatabase { error, databases })).into_response()
}
