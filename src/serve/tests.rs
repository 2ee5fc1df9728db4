use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset is an answer, too.
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("no answer");
    String::from_utf8_lossy(&answer).into_owned()
}

fn path(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
}

async fn start(router: Router, limits: Limits) -> (SocketAddr, CancellationToken, JoinHandle<()>, ConnectionMetrics) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, stop, metrics) =
        (listener.local_addr().unwrap(), CancellationToken::new(), ConnectionMetrics::default());
    let task = tokio::spawn(accept(listener, None, router, limits, metrics.clone(), stop.clone()));
    (address, stop, task, metrics)
}

#[tokio::test]
async fn readiness_says_what_is_missing_and_metrics_are_served() {
    let mut registry = crate::metrics::registry();
    let _ = ConnectionMetrics::register(&mut registry);
    let probes = Probes::new(Arc::new(registry));
    let caches = probes.check("caches", "the watches have not filled the caches yet");
    let (address, stop, task, _) = start(probes.router(), Limits::default()).await;

    assert!(ask(address, &path("/livez")).await.starts_with("HTTP/1.1 200"));
    let answer = ask(address, &path("/readyz")).await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("caches: the watches have not"), "{answer}");
    caches.set_ready();
    assert!(ask(address, &path("/readyz")).await.starts_with("HTTP/1.1 200"));
    let metrics = ask(address, &path("/metrics")).await;
    assert!(metrics.contains("# HELP switchover_connections Open connections"), "{metrics}");
    assert!(ask(address, &path("/nothing")).await.starts_with("HTTP/1.1 404"));

    probes.drain();
    let answer = ask(address, &path("/readyz")).await;
    assert!(answer.ends_with("serving: shutting down\n"), "{answer}");
    stop.cancel();
    task.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn slow_heads_and_idle_connections_are_ended() {
    let router = Router::new().route("/", get(|| async { "ok" }));
    let limits = Limits { head: Duration::from_millis(300), idle: Duration::from_millis(900), ..Limits::default() };
    let (address, stop, task, metrics) = start(router, limits).await;
    assert_eq!(ask(address, "GET / HTTP/1.1\r\nHost:").await, "");
    assert_eq!(metrics.total.get_or_create(&[("end", "slow")]).get(), 1);
    // Kept alive, answered, then ended for idleness and not before.
    let begin = tokio::time::Instant::now();
    assert!(ask(address, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.ends_with("ok"));
    assert!(begin.elapsed() >= Duration::from_millis(900));
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once() {
    let router = Router::new().route("/", get(|| async { "ok" }));
    let (address, stop, task, metrics) = start(router, Limits { connections: 1, ..Limits::default() }).await;
    let first = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(address, &path("/")).await, "");
    assert_eq!(metrics.total.get_or_create(&[("end", "full")]).get(), 1);
    drop(first);
    loop {
        if ask(address, &path("/")).await.ends_with("ok") {
            break;
        }
        tokio::task::yield_now().await;
    }
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn whoever_stops_finishes_what_it_began() {
    let (began, begun) = tokio::sync::oneshot::channel();
    let began = Arc::new(std::sync::Mutex::new(Some(began)));
    let go = Arc::new(tokio::sync::Notify::new());
    let wait = Arc::clone(&go);
    let router = Router::new().route(
        "/",
        get(move || async move {
            began.lock().unwrap().take().map(|began| began.send(()));
            wait.notified().await;
            "done"
        }),
    );
    let (address, stop, task, _) = start(router, Limits::default()).await;
    let asked = tokio::spawn(async move { ask(address, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").await });
    begun.await.unwrap();
    stop.cancel();
    go.notify_one();
    assert!(asked.await.unwrap().ends_with("done"));
    task.await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_address() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let _listener = TcpListener::bind(taken).await.unwrap();
    let error = serve_http(taken, Router::new(), CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{taken} can't be listened on")), "{error}");
}
