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
    let (address, ending, task, metrics) = start_to_drain(router, limits).await;
    (address, ending.stop, task, metrics)
}

async fn start_to_drain(router: Router, limits: Limits) -> (SocketAddr, Ending, JoinHandle<()>, ConnectionMetrics) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, ending, metrics) = (listener.local_addr().unwrap(), Ending::default(), ConnectionMetrics::default());
    let task = tokio::spawn(accept(listener, None, router, limits, metrics.clone(), ending.clone()));
    (address, ending, task, metrics)
}

/// Asks over a connection that is kept: the head of the answer and its body of two bytes.
async fn ask_again(stream: &mut TcpStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "{}", String::from_utf8_lossy(&answer));
    }
    String::from_utf8_lossy(&answer).to_lowercase()
}

async fn ended(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    assert!(!matches!(read, Err(_) | Ok(Ok(1..))), "{read:?}");
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
async fn a_silent_connection_makes_room_for_one_that_asks() {
    let router = Router::new().route("/", get(|| async { "ok" }));
    let (address, stop, task, metrics) = start(router, Limits { connections: 1, ..Limits::default() }).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    assert!(ask(address, &path("/")).await.ends_with("ok"));
    ended(&mut silent).await;
    assert_eq!(metrics.total.get_or_create(&[("end", "displaced")]).get(), 1);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn one_connection_too_many_is_closed_at_once_while_all_others_are_waited_for() {
    let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
    let router = Router::new().route(
        "/",
        get(move || async move {
            let _ = begun.send(());
            std::future::pending::<&str>().await
        }),
    );
    let limits = Limits { connections: 1, finish: Duration::ZERO, ..Limits::default() };
    let (address, stop, task, metrics) = start(router, limits).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(path("/").as_bytes()).await.unwrap();
    begins.recv().await.unwrap();
    assert_eq!(ask(address, &path("/")).await, "");
    assert_eq!(metrics.total.get_or_create(&[("end", "full")]).get(), 1);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn health_is_told_whoever_holds_connections_to_its_port() {
    let probes = Probes::new(Arc::new(crate::metrics::registry()));
    let (address, stop, task, metrics) = start(probes.router(), HEALTH).await;
    let mut held = Vec::new();
    for begin in ["", "G", "GET /livez HTTP/1.1\r\nHost: x\r\n", "POST /livez HTTP/1.1\r\nContent-Length: 9\r\n\r\n"] {
        for _ in 0..HEALTH.connections + 8 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(begin.as_bytes()).await;
            held.push(stream);
        }
        let asked =
            tokio::time::timeout(Duration::from_secs(1), ask(address, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"));
        let answer = asked.await.unwrap_or_else(|_| panic!("no answer beside {begin:?}")).to_lowercase();
        assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{begin:?}: {answer}");
    }
    let displaced = metrics.total.get_or_create(&[("end", "displaced")]).get();
    assert!(displaced > 0 && metrics.total.get_or_create(&[("end", "full")]).get() == 0, "{displaced}");
    drop(held);
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_draining_listener_answers_on_and_keeps_no_connection() {
    let router = Router::new().route("/", get(|| async { "ok" }));
    let (address, ending, task, _) = start_to_drain(router, Limits::default()).await;
    let mut kept = TcpStream::connect(address).await.unwrap();
    let answer = ask_again(&mut kept).await;
    assert!(!answer.contains("connection: close"), "{answer}");

    ending.drain.cancel();
    // What comes over a connection that was kept, or over a new one, is answered, and is its last.
    let new = async {
        loop {
            // The listener hears of the end a moment later.
            let mut stream = TcpStream::connect(address).await.unwrap();
            if ask_again(&mut stream).await.contains("connection: close") {
                break stream;
            }
        }
    };
    let mut new = new.await;
    ended(&mut new).await;
    let answer = ask_again(&mut kept).await;
    assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
    ended(&mut kept).await;
    ending.stop.cancel();
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
