//! `/livez`, `/readyz` and `/metrics`.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use parking_lot::{Mutex, MutexGuard};
use prometheus_client::registry::Registry;

/// One thing that must hold before the process is ready. Written by its owner, read by `/readyz`.
#[derive(Debug, Clone)]
pub struct Check {
    name: &'static str,
    /// What to tell while it doesn't hold.
    sentence: &'static str,
    holds: Arc<AtomicBool>,
}

impl Check {
    pub fn set_ready(&self) {
        self.set(true);
    }

    pub fn set(&self, holds: bool) {
        self.holds.store(holds, Ordering::Release);
    }

    #[must_use]
    pub fn holds(&self) -> bool {
        self.holds.load(Ordering::Acquire)
    }
}

/// The checks and metrics of one process. Clones share them.
#[derive(Debug, Clone)]
pub struct Probes {
    registry: Arc<Registry>,
    readiness: Arc<Mutex<Vec<Check>>>,
    draining: Check,
}

impl Probes {
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        let draining = Check { name: "serving", sentence: "shutting down", holds: Arc::new(AtomicBool::new(true)) };
        Self { registry, readiness: Arc::new(Mutex::new(vec![draining.clone()])), draining }
    }

    /// Adds a check that does not hold yet; `sentence` says what is missing until it does.
    #[must_use]
    pub fn check(&self, name: &'static str, sentence: &'static str) -> Check {
        let check = Check { name, sentence, holds: Arc::default() };
        self.lock().push(check.clone());
        check
    }

    /// From now on the process is not ready, so that nobody sends it anything new.
    pub fn drain(&self) {
        self.draining.set(false);
    }

    /// The three paths. Liveness has no checks: whoever can answer can also recover, and a task that dies ends the
    /// process, or is started anew if it is one database's.
    pub fn router(&self) -> Router {
        self.health_router().merge(self.metrics_router())
    }

    /// `/livez` and `/readyz` alone.
    pub fn health_router(&self) -> Router {
        let health = Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(readyz));
        health.with_state(self.clone())
    }

    /// `/metrics` alone.
    pub fn metrics_router(&self) -> Router {
        Router::new().route("/metrics", get(metrics)).with_state(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Check>> {
        self.readiness.lock()
    }
}

async fn readyz(State(probes): State<Probes>) -> impl IntoResponse {
    let mut missing = String::new();
    for check in probes.lock().iter().filter(|check| !check.holds()) {
        // Writing into a String does not fail.
        let _ = writeln!(missing, "{}: {}", check.name, check.sentence);
    }
    if missing.is_empty() { (StatusCode::OK, "ok\n".to_owned()) } else { (StatusCode::SERVICE_UNAVAILABLE, missing) }
}

async fn metrics(State(probes): State<Probes>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, crate::metrics::CONTENT_TYPE)], crate::metrics::render(&probes.registry))
}
