//! Clients that mean harm, or are only slow: whatever they hold, a review from another connection is answered.

use axum::body::Body;
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const KIB: usize = 1024;
const LARGE: usize = 200 * KIB;

/// Room for four of the largest bodies and eight beginnings; whoever is slow is waited for longer than the test lasts.
fn config() -> WebhookConfig {
    WebhookConfig {
        max_body_bytes: 256 * KIB,
        max_bytes: 1536 * KIB,
        body_timeout: Duration::from_secs(60),
        ..WebhookConfig::default()
    }
}

/// A review of a pod of so many bytes.
fn large_review() -> String {
    let mut pod = reviews::pod();
    pod["metadata"]["annotations"]["example.com/text"] = "x".repeat(LARGE).into();
    reviews::request("shop", pod).to_string()
}

/// Reviews are answered, large ones too, long before anybody else's time is up.
async fn assert_served(server: &Server, beside: &str) {
    for body in [review(), large_review()] {
        let large = body.len() > LARGE;
        let answer = tokio::time::timeout(Duration::from_secs(20), server.post(b"http/1.1", body));
        let (status, body) = answer.await.unwrap_or_else(|_| panic!("no answer beside {beside}; large: {large}"));
        let expected = (StatusCode::OK, &json!(reviews::UID));
        assert_eq!((status, &body["response"]["uid"]), expected, "beside {beside}; large: {large}");
    }
}

fn head(length: usize) -> String {
    format!("POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")
}

/// A connection that announces a body of this length and sends so much of it.
async fn begin(server: &Server, length: usize, sent: usize) -> Option<TlsStream<TcpStream>> {
    let mut stream = server.connect(b"http/1.1").await.ok()?;
    let bytes = [head(length).as_bytes(), &vec![b' '; sent]].concat();
    // Whoever has to make room for others may hear of it here.
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.write_all(&bytes)).await;
    Some(stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_announced_or_come_slowly_stop_nobody() {
    let most = config().max_body_bytes;
    for (what, count, length, sent) in [
        ("six that announce the most and send nothing", 6, most, 0),
        ("many with nothing but a byte to come", 64, 1, 0),
        ("twelve of which all but a byte has come", 12, most, most - 1),
        ("beginnings without an end", 40, 128 * KIB, 64 * KIB),
    ] {
        let server = Server::start(&format!("harm-{count}"), config()).await;
        let held = futures::future::join_all((0..count).map(|_| begin(&server, length, sent))).await;
        assert_served(&server, what).await;
        drop(held);
        server.end().await;
    }
}

#[tokio::test]
async fn connections_that_say_nothing_stop_nobody() {
    let limits = Limits { connections: 16, ..Limits::default() };
    let server = Server::start("silent", WebhookConfig { limits, ..WebhookConfig::default() }).await;
    let (mut plain, mut shaken) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        plain.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert_served(&server, "connections without a handshake").await;
    for _ in 0..40 {
        shaken.push(server.connect(b"http/1.1").await.unwrap());
    }
    assert_served(&server, "connections without a request").await;
    for _ in 0..40 {
        shaken.extend(begin(&server, 10, 1).await);
    }
    // Each of them is a request that is waited for, until its time is up.
    let begin = Instant::now();
    while server.connect(b"http/1.1").await.is_err() {
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
    assert_served(&server, "requests without an end").await;
    server.end().await;
}

#[tokio::test]
async fn a_connection_that_an_api_server_keeps_outlives_those_that_say_nothing() {
    let limits = Limits { connections: 8, ..Limits::default() };
    let server = Server::start("kept", WebhookConfig { limits, ..WebhookConfig::default() }).await;
    let io = TokioIo::new(server.connect(b"http/1.1").await.unwrap());
    let (mut kept, connection) = conn::http1::handshake::<_, Body>(io).await.unwrap();
    tokio::spawn(connection);
    let ask = || Request::post("/mutate").header("host", "x").body(Body::from(review())).unwrap();
    let answer = kept.send_request(ask()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    axum::body::to_bytes(Body::new(answer.into_body()), 1 << 20).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
        silent.push(server.connect(b"http/1.1").await.unwrap().into_inner().0);
    }
    kept.ready().await.unwrap();
    assert_eq!(kept.send_request(ask()).await.unwrap().status(), StatusCode::OK);
    server.end().await;
}

#[tokio::test]
async fn who_gives_way_to_others_is_told_so() {
    // Room for one of the largest bodies.
    let server = Server::start("one", WebhookConfig { max_bytes: 256 * KIB, ..config() }).await;
    let mut slow = server.connect(b"http/1.1").await.unwrap();
    let body = large_review();
    slow.write_all(&[head(body.len()).as_bytes(), &body.as_bytes()[..body.len() - 1]].concat()).await.unwrap();
    assert_served(&server, "one that is slow").await;
    let (mut told, overloaded) = (Vec::new(), admission::Failure::Overloaded.sentence());
    while !String::from_utf8_lossy(&told).contains(overloaded) {
        let mut bytes = [0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(20), slow.read(&mut bytes)).await.unwrap().unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&told));
        told.extend_from_slice(&bytes[..read]);
    }
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    server.end().await;
}
