//! How the webhook lists what it watches.

use std::sync::Mutex;

use axum::{Json, Router, extract::RawQuery, routing::get};
use serde_json::{Value, json};

use super::super::*;

/// A list that says where the next page begins, if there is one.
fn list(kind: &str, items: &[Value], next: Option<usize>) -> Json<Value> {
    let next = next.map(|at| at.to_string()).unwrap_or_default();
    Json(json!({
        "apiVersion": "v1", "kind": format!("{kind}List"), "items": items,
        "metadata": {"resourceVersion": "1", "continue": next},
    }))
}

/// What a query says of this.
fn said<'q>(query: &'q str, key: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
}

/// What watches ask for never comes.
async fn nothing(RawQuery(asked): RawQuery) -> Json<Value> {
    if said(&asked.unwrap_or_default(), "watch").is_some() {
        std::future::pending::<()>().await;
    }
    list("None", &[], None)
}

#[tokio::test]
async fn nodes_are_listed_in_small_pages() {
    let pages = Arc::new(Mutex::new(Vec::new()));
    let served = Arc::clone(&pages);
    let nodes = move |RawQuery(asked): RawQuery| {
        let served = Arc::clone(&served);
        async move {
            let asked = asked.unwrap_or_default();
            if said(&asked, "watch").is_some() {
                std::future::pending::<()>().await;
            }
            let number = |key: &str| said(&asked, key).and_then(|text| text.parse::<usize>().ok());
            let (begin, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
            let end = begin.saturating_add(limit).min(250);
            // Images are most of a Node, and nothing is decided on them.
            let node = |n| json!({"metadata": {"name": format!("n{n}")}, "status": {"images": "many"}});
            served.lock().unwrap().push(end - begin);
            list("Node", &(begin..end).map(node).collect::<Vec<_>>(), (end < 250).then_some(end))
        }
    };
    let router = Router::new()
        .route("/api/v1/nodes", get(nodes))
        .route("/api/v1/namespaces", get(nothing))
        .route("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", get(nothing))
        .route("/apis/switchover.dev/v1alpha1/databaseclusters", get(nothing));
    let mut registry = crate::metrics::registry();
    let cache = Cache::new("switchover-system", Duration::from_secs(30), WebhookMetrics::register(&mut registry));
    let probes = Probes::new(Arc::new(registry));
    let (filled, mut tasks) = (probes.check("caches", "not yet"), JoinSet::new());
    cache.spawn(&Client::new(router, "default"), "switchover-controller", filled.clone(), &mut tasks);
    let all = async {
        while !filled.holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("the caches are filled");
    assert_eq!(*pages.lock().unwrap(), [100, 100, 50]);
}
