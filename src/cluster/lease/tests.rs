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
