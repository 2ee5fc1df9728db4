//! The whole agent against a small API server that remembers what was applied. Needs a machine on which echoes may be
//! sent; elsewhere it says so and passes.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, patch},
};
use serde_json::{Value, json};

use super::*;

/// What the server was told, and how often it refuses first.
#[derive(Default)]
struct Server {
    applied: Mutex<Vec<Value>>,
    refusals: AtomicU32,
}

async fn databases(RawQuery(query): RawQuery) -> Response {
    if query.is_some_and(|query| query.contains("watch=true")) {
        return Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()).into_response();
    }
    let database = |name: &str, urls: Value| {
        json!({ "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "metadata": { "name": name },
            "spec": { "discovery": { "patroni": { "urls": urls } } } })
    };
    let items = [database("orders", json!(["http://127.0.0.1:8008"])), database("odd", json!(3))];
    Json(json!({ "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseClusterList",
        "metadata": { "resourceVersion": "1" }, "items": items }))
    .into_response()
}

async fn node(Path(name): Path<String>) -> Json<Value> {
    Json(json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": { "name": name, "uid": "node-uid" } }))
}

async fn apply(State(server): State<Arc<Server>>, RawQuery(query): RawQuery, body: Bytes) -> Response {
    assert!(query.is_some_and(|query| query.contains("fieldManager=switchover-agent")));
    if server.refusals.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
            "reason": "Forbidden", "message": "not yet" });
        return (StatusCode::FORBIDDEN, Json(status)).into_response();
    }
    let mut object: Value = serde_json::from_slice(&body).unwrap();
    server.applied.lock().unwrap().push(object.clone());
    object["metadata"]["uid"] = "object-uid".into();
    Json(object).into_response()
}

async fn client(server: Arc<Server>) -> Client {
    let router = Router::new()
        .route("/apis/switchover.dev/v1alpha1/databaseclusters", get(databases))
        .route("/apis/switchover.dev/v1alpha1/nodelatencies/{name}", patch(apply))
        .route("/api/v1/nodes/{name}", get(node))
        .with_state(server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    crate::tls::install_provider();
    Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap()
}

#[tokio::test]
async fn the_distance_to_every_member_is_written_once_and_again_after_a_refusal() {
    if let Err(error) = Sockets::open() {
        eprintln!("not tested: {error}");
        return;
    }
    let server = Arc::new(Server { refusals: AtomicU32::new(1), ..Server::default() });
    let config = AgentConfig {
        node_name: "n1".to_owned(),
        interval: Duration::from_millis(20),
        spread: Duration::ZERO,
        // What the test waits for is the change, not the heartbeat.
        heartbeat: Duration::from_secs(3_600),
        deadband: Deadband { absolute_us: 10_000_000, ..Deadband::default() },
        metrics_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        ..AgentConfig::default()
    };
    let shutdown = CancellationToken::new();
    let agent = tokio::spawn(run(config, client(Arc::clone(&server)).await, shutdown.clone()));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while server.applied.lock().unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "nothing was written");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Calm: nothing more to say.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    shutdown.cancel();
    agent.await.unwrap().unwrap();

    let applied = server.applied.lock().unwrap();
    assert_eq!(applied.len(), 1, "{applied:#?}");
    let object = &applied[0];
    assert_eq!(object["metadata"]["name"], "n1");
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "node-uid");
    assert_eq!(object["spec"]["memberCount"], 1);
    let reading = &object["spec"]["readings"][0];
    assert_eq!((&reading["host"], &reading["method"]), (&json!("127.0.0.1"), &json!("icmp")));
    assert!(reading["rttUs"].as_u64().is_some_and(|rtt_us| rtt_us > 0), "{reading}");
}
