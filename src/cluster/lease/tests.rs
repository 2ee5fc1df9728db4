//! Whether a controller runs, asked of an API server that is made up.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{Json, Router, http::StatusCode, routing::get};
use serde_json::json;

use super::*;

/// The controllers' Lease of this holder, which lasts for a second, and whose version is raised by so much at each look.
fn cluster(holder: &'static str, raised: u64) -> Client {
    let version = Arc::new(AtomicU64::new(7));
    let lease = async move || {
        let version = version.fetch_add(raised, Ordering::Relaxed).to_string();
        Json(json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": NAME, "resourceVersion": version},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 1},
        }))
    };
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/switchover-system/leases/{NAME}");
    Client::new(Router::new().route(&path, get(lease)), "default")
}

#[tokio::test]
async fn a_controller_runs_that_is_seen_to_renew_the_lease() {
    for (what, client, expected) in [
        ("renewed", cluster("c-1", 1), Some("c-1")),
        ("not renewed", cluster("c-1", 0), None),
        ("given back", cluster("", 1), None),
    ] {
        let holder = holder(&client, "switchover-system").await.unwrap();
        assert_eq!(holder.as_deref(), expected, "{what}");
    }
}

#[tokio::test]
async fn without_a_lease_no_controller_runs_and_without_an_answer_nobody_knows() {
    let status = |code: StatusCode, reason: &'static str| {
        let body =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16()});
        let answer = async move || (code, Json(body));
        Client::new(Router::new().fallback(answer), "default")
    };
    let none = status(StatusCode::NOT_FOUND, "NotFound");
    assert_eq!(holder(&none, "switchover-system").await.unwrap(), None);
    assert!(holder(&status(StatusCode::FORBIDDEN, "Forbidden"), "switchover-system").await.is_err());
}

/// An API server with a Lease that keeps to versions, and loses what the test takes from it.
#[derive(Clone, Default)]
struct Store(Arc<parking_lot::Mutex<(u64, String)>>);

impl Store {
    fn client(&self) -> Client {
        let lease = |version: u64, holder: &str| {
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": NAME, "resourceVersion": version.to_string()},
                "spec": {"holderIdentity": holder, "leaseDurationSeconds": 60},
            })
        };
        let (read, written) = (self.clone(), self.clone());
        let get_it = async move || {
            let (version, holder) = read.0.lock().clone();
            Json(lease(version, &holder))
        };
        let put_it = async move |Json(new): Json<serde_json::Value>| {
            let mut kept = written.0.lock();
            if new["metadata"]["resourceVersion"].as_str() != Some(&*kept.0.to_string()) {
                let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409});
                return (StatusCode::CONFLICT, Json(status));
            }
            *kept = (kept.0 + 1, new["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned());
            (StatusCode::OK, Json(lease(kept.0, &kept.1)))
        };
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/switchover-system/leases/{NAME}");
        Client::new(Router::new().route(&path, get(get_it).put(put_it)), "default")
    }

    async fn until(&self, holds: impl Fn(u64) -> bool) {
        while !holds(self.0.lock().0) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_lease_that_is_not_as_it_was_written_puts_everything_in_doubt() {
    let store = Store::default();
    let config = LeaseConfig {
        namespace: "switchover-system".into(),
        name: NAME.into(),
        identity: "c-1".into(),
        duration: Duration::from_secs(60),
        renew_every: Duration::from_millis(1),
    };
    let (sender, _leadership) = watch::channel(Leadership::default());
    let (told, mut doubts) = tokio::sync::mpsc::unbounded_channel();
    let doubt = move |why: &str| told.send(why.to_owned()).expect("the test listens");
    let over = CancellationToken::new();
    let election = tokio::spawn(run(config, store.client(), sender, doubt, over.clone()));
    store.until(|version| version > 5).await;
    assert!(doubts.try_recv().is_err(), "it was as it was written");
    // A database that failed over, and had not got the newest writes.
    store.0.lock().0 = 2;
    assert_eq!(doubts.recv().await.as_deref(), Some("the lease isn't as it was written"));
    over.cancel();
    election.await.unwrap();
}
