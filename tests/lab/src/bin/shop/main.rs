//! The demo service: one HTTP endpoint whose answer needs ten queries, so that the distance to the database is felt
//! ten times.
//!
//! Environment: DATABASE_URL (required), LISTEN (0.0.0.0:8080), DRAIN_SECONDS (3), POD_NAME, NODE_NAME.

mod database;

use std::{env, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header::CONNECTION},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use database::Database;

/// How long requests in flight may take after the drain. An order has a deadline of its own, far below.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

/// Where the process is in its life. Written by `serve` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    /// SIGTERM came: not ready any more, but whoever has not heard of it yet is still served.
    Draining,
    /// Idle connections close, requests in flight are finished.
    Closing,
}

struct Shop {
    pod: String,
    node: String,
    database: Arc<Database>,
    phase: watch::Receiver<Phase>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let variable = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let url = env::var("DATABASE_URL").context(
        "DATABASE_URL is not set; set it to every member, for example \
         postgresql://shop:shop@10.77.1.5,10.77.2.5/shop?target_session_attrs=read-write",
    )?;
    let listen: SocketAddr = variable("LISTEN", "0.0.0.0:8080").parse().context("LISTEN is not an address and port")?;
    let drain = variable("DRAIN_SECONDS", "3").parse().context("DRAIN_SECONDS is not a number")?;
    let drain = Duration::try_from_secs_f64(drain).context("DRAIN_SECONDS is not a duration")?;
    let pod = variable("POD_NAME", "shop");

    let (phases, phase) = watch::channel(Phase::Serving);
    let database = Arc::new(Database::new(&url, &pod)?);
    // Lives as long as the process: nothing to end when it ends.
    tokio::spawn(database.clone().keep_healthy());
    let shop = Arc::new(Shop { pod, node: variable("NODE_NAME", "none"), database, phase });
    serve(listen, shop, phases, drain).await
}

/// Serves until SIGTERM, then drains. Nobody who was told of this pod by an EndpointSlice meets a closed door.
async fn serve(listen: SocketAddr, shop: Arc<Shop>, phases: watch::Sender<Phase>, drain: Duration) -> Result<()> {
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let router = Router::new()
        .route("/order", get(order))
        .route("/readyz", get(readyz))
        .route("/livez", get(|| async { "ok" }))
        .layer(from_fn_with_state(shop.clone(), say_goodbye))
        .with_state(shop.clone());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut connections = JoinSet::new();
    let closing = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        phases.send_replace(Phase::Draining);
        tokio::time::sleep(drain).await;
        phases.send_replace(Phase::Closing);
    };
    tokio::pin!(closing);
    loop {
        tokio::select! {
            () = &mut closing => break,
            accepted = listener.accept() => {
                // A connection that is gone before it was accepted is its client's affair.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve_connection(stream, router.clone(), shop.phase.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    if timeout(FINISH_WITHIN, async { while connections.join_next().await.is_some() {} }).await.is_err() {
        eprintln!("{} connections were still busy {} s after the drain", connections.len(), FINISH_WITHIN.as_secs());
    }
    Ok(())
}

async fn serve_connection(stream: TcpStream, router: Router, mut phase: watch::Receiver<Phase>) {
    let _ = stream.set_nodelay(true);
    // Without a timer hyper has no timeout for idle connections: closing one just when its client sends the next
    // request is a failure that the client can't tell from a crash, so only the drain closes them.
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = phase.wait_for(|phase| *phase == Phase::Closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// While draining, every answer asks the client to close: by the end of the drain no connection is in use, and closing
/// the idle ones hurts nobody.
async fn say_goodbye(State(shop): State<Arc<Shop>>, request: axum::extract::Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if *shop.phase.borrow() > Phase::Serving {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Ready means that this process can answer. It says nothing of the database: during a failover every pod would go
/// unready together, and clients would meet no service at all instead of a clear 503 from one that recovers by itself.
async fn readyz(State(shop): State<Arc<Shop>>) -> (StatusCode, &'static str) {
    match *shop.phase.borrow() {
        Phase::Serving => (StatusCode::OK, "ok"),
        Phase::Draining | Phase::Closing => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    }
}

async fn order(State(shop): State<Arc<Shop>>) -> Response {
    match shop.database.order(&shop.pod).await {
        Ok(order) => {
            let ms = (order.took.as_secs_f64() * 100_000.0).round() / 100.0;
            Json(json!({"pod": shop.pod, "node": shop.node, "db": order.member, "ms": ms})).into_response()
        }
        Err(error) => {
            let body = json!({"error": format!("database unavailable: {error:#}"), "pod": shop.pod});
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}
