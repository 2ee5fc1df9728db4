//! Bad input at the socket: each gets a clear status, costs a bounded amount, and the next request is served, on a new
//! connection and, where HTTP allows it, on the same.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
};

use axum::body::Body;
use futures::{StreamExt, stream};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::*;
use super::Server;
use crate::admission::{self, API_VERSION, Failure};

/// As a real API server sent it, so that everything stands in its own order.
const REVIEW: &str = include_str!("../../../tests/fixtures/reviews/deployment.json");
const UID: &str = "00000000-0000-4000-8000-000000000001";

const HTTP: [&[u8]; 2] = [b"http/1.1", b"h2"];

/// One connection that is kept.
enum Client {
    One(conn::http1::SendRequest<Body>),
    Two(conn::http2::SendRequest<Body>),
}

impl Client {
    async fn connect(server: &Server, alpn: &[u8]) -> Self {
        let io = TokioIo::new(server.connect(alpn).await.unwrap());
        if alpn == b"h2" {
            let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            tokio::spawn(connection);
            Self::Two(sender)
        } else {
            let (sender, connection) = conn::http1::handshake(io).await.unwrap();
            tokio::spawn(connection);
            Self::One(sender)
        }
    }

    /// Status, content type and body: JSON, or the text.
    async fn send(&mut self, request: Request<Body>) -> (StatusCode, String, Value) {
        let response = match self {
            Self::One(sender) => {
                sender.ready().await.expect("the connection is still there");
                sender.send_request(request).await
            }
            Self::Two(sender) => sender.send_request(request).await,
        };
        read(response.unwrap()).await
    }

    async fn is_served(&mut self) {
        let (status, _, body) = self.send(posted(REVIEW)).await;
        assert_eq!((status, &body["response"]["uid"]), (StatusCode::OK, &json!(UID)));
    }
}

async fn read(response: Response<Incoming>) -> (StatusCode, String, Value) {
    let (status, headers) = (response.status(), response.headers().clone());
    let body = axum::body::to_bytes(Body::new(response.into_body()), 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
    (status, headers.get("content-type").map(|of| of.to_str().unwrap().to_owned()).unwrap_or_default(), body)
}

fn request(method: Method, path: &str) -> hyper::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("https://switchover-webhook.switchover-system.svc{path}"))
        .header("host", "switchover-webhook.switchover-system.svc")
}

fn posted(body: impl Into<Body>) -> Request<Body> {
    request(Method::POST, "/mutate?timeout=1s").header("content-type", "application/json").body(body.into()).unwrap()
}

/// A review in which something is replaced, once.
fn with(old: &str, new: impl AsRef<[u8]>) -> Vec<u8> {
    let (before, after) = REVIEW.split_once(old).unwrap_or_else(|| panic!("the review has no {old}"));
    [before.as_bytes(), new.as_ref(), after.as_bytes()].concat()
}

/// What a body is answered with.
#[derive(Debug, PartialEq, Eq)]
enum Says {
    /// An AdmissionReview of this version with the request's uid that allows the pod and patches it.
    Patched(&'static str),
    /// The same without a patch, and the sentence.
    Allowed(&'static str, Failure),
    /// The sentence alone.
    Sentence(Failure),
}

impl Says {
    fn read(body: &Value) -> Self {
        let failures = [Failure::Unreadable, Failure::Version, Failure::MediaType, Failure::TooLarge];
        let of = |sentence: &Value| failures.into_iter().find(|it| *sentence == it.sentence());
        if let Some(text) = body.as_str() {
            return Self::Sentence(of(&json!(text.trim_end())).unwrap_or_else(|| panic!("{text}")));
        }
        let response = &body["response"];
        assert_eq!((&response["uid"], &response["allowed"]), (&json!(UID), &json!(true)), "{body}");
        let version = if body["apiVersion"] == API_VERSION { API_VERSION } else { "admission.k8s.io/v1beta1" };
        assert_eq!((&body["kind"], &body["apiVersion"]), (&json!("AdmissionReview"), &json!(version)));
        if response.get("patch").is_some() {
            return Self::Patched(version);
        }
        Self::Allowed(version, of(&response["status"]["message"]).unwrap_or_else(|| panic!("{body}")))
    }
}

#[tokio::test]
async fn bad_bodies_get_a_clear_status_and_the_connection_goes_on() {
    let server = Server::start("bodies", WebhookConfig::default()).await;
    let (open, close) = ("[".repeat(10_000), "]".repeat(10_000));
    let nested = r#"{"affinity":"#.repeat(10_000) + "1" + &"}".repeat(10_000);
    let allowed = |failure| Says::Allowed(API_VERSION, failure);
    let unread = Failure::Unreadable;
    let bodies = [
        ("nothing", Vec::new(), 400, Says::Sentence(unread)),
        ("no JSON", b"hello".to_vec(), 400, Says::Sentence(unread)),
        ("bytes", vec![0xff; 30_000], 400, Says::Sentence(unread)),
        ("half of it", REVIEW.as_bytes()[..REVIEW.len() / 2].to_vec(), 200, allowed(unread)),
        ("10,000 levels and nothing else", open.clone().into_bytes(), 400, Says::Sentence(unread)),
        (
            "10,000 levels in what nobody reads",
            with(r#""priority": 0"#, format!(r#""priority": {open}{close}"#)),
            200,
            Says::Patched(API_VERSION),
        ),
        (
            "10,000 levels in what is read",
            with(r#""priority": 0"#, format!(r#""affinity":{open}{close}"#)),
            200,
            allowed(unread),
        ),
        (
            "10,000 levels of a name that is read",
            with(r#""priority": 0"#, format!(r#""affinity":{nested}"#)),
            200,
            Says::Patched(API_VERSION),
        ),
        ("no UTF-8 in what nobody reads", with("ClusterFirst", b"\xff"), 200, Says::Patched(API_VERSION)),
        ("no UTF-8 in what is read", with("default-scheduler", b"\xff"), 200, allowed(unread)),
        (
            "a key twice",
            with(r#""operation": "CREATE""#, r#""operation": "CREATE", "operation": "CREATE""#),
            200,
            allowed(unread),
        ),
        ("no uid", with(&format!(r#""uid": "{UID}""#), r#""id": "1""#), 400, Says::Sentence(unread)),
        (
            "an old version",
            with(API_VERSION, "admission.k8s.io/v1beta1"),
            400,
            Says::Allowed("admission.k8s.io/v1beta1", Failure::Version),
        ),
    ];
    for alpn in HTTP {
        let mut kept = Client::connect(&server, alpn).await;
        for (what, body, status, says) in &bodies {
            let (seen, content_type, answer) = kept.send(posted(body.clone())).await;
            assert_eq!((seen.as_u16(), &Says::read(&answer)), (*status, says), "{what}");
            let expected = if answer.is_string() { admission::TEXT } else { "application/json" };
            assert_eq!(content_type, expected, "{what}");
            kept.is_served().await;
        }
        Client::connect(&server, alpn).await.is_served().await;
    }
    server.end().await;
}

#[tokio::test]
async fn what_is_no_json_by_its_own_word_is_not_read_as_json() {
    let server = Server::start("types", WebhookConfig::default()).await;
    let typed = |header: &str, value: &str, body: Vec<u8>| {
        request(Method::POST, "/mutate").header(header, value).body(Body::from(body)).unwrap()
    };
    let (whole, gzip) = (REVIEW.as_bytes().to_vec(), vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    let unread = || Says::Allowed(API_VERSION, Failure::MediaType);
    let cases = [
        ("content-type", "application/json; charset=utf-8", &whole, 200, Says::Patched(API_VERSION)),
        ("content-type", "Application/JSON", &whole, 200, Says::Patched(API_VERSION)),
        ("accept", "application/json", &whole, 200, Says::Patched(API_VERSION)),
        ("content-encoding", "identity", &whole, 200, Says::Patched(API_VERSION)),
        ("content-type", "text/plain", &whole, 415, unread()),
        ("content-type", "application/json-patch+json", &whole, 415, unread()),
        ("content-type", "application/vnd.kubernetes.protobuf", &gzip, 415, Says::Sentence(Failure::MediaType)),
        ("content-encoding", "gzip", &gzip, 415, Says::Sentence(Failure::MediaType)),
        // Without a word about it, it is rubbish like any other.
        ("accept", "application/json", &gzip, 400, Says::Sentence(Failure::Unreadable)),
    ];
    for alpn in HTTP {
        let mut kept = Client::connect(&server, alpn).await;
        for (header, value, body, status, says) in &cases {
            let (seen, _, answer) = kept.send(typed(header, value, body.to_vec())).await;
            assert_eq!((seen.as_u16(), &Says::read(&answer)), (*status, says), "{header}: {value}");
            kept.is_served().await;
        }
    }
    server.end().await;
}

#[tokio::test]
async fn other_paths_and_methods_are_told_what_is_served() {
    let server = Server::start("paths", WebhookConfig::default()).await;
    for alpn in HTTP {
        let mut kept = Client::connect(&server, alpn).await;
        for (method, path, status) in [
            (Method::GET, "/mutate", 405),
            (Method::PUT, "/mutate?timeout=1s", 405),
            (Method::OPTIONS, "/mutate", 405),
            (Method::POST, "/", 404),
            (Method::POST, "/mutate/", 404),
            (Method::GET, "/metrics", 404),
            (Method::GET, "/readyz", 404),
        ] {
            let what = format!("{method} {path}");
            let (seen, content_type, body) = kept.send(request(method, path).body(Body::empty()).unwrap()).await;
            assert_eq!((seen.as_u16(), &*content_type), (status, admission::TEXT), "{what}");
            assert_eq!(body, "switchover answers POST /mutate here\n", "{what}");
            kept.is_served().await;
        }
    }
    server.end().await;
}

const MEGABYTE: usize = 1_000_000;

#[tokio::test]
async fn of_100_mb_no_more_is_taken_than_is_allowed() {
    let server = Server::start("flood", WebhookConfig::default()).await;
    let begin = format!(r#"{{"apiVersion":"{API_VERSION}","request":{{"uid":"{}","x":""#, UID);
    // What is allowed, and what the kernel's buffers of both ends take on the way.
    let bound = WebhookConfig::default().max_body_bytes + 32 * MEGABYTE;
    for head in ["Content-Length: 100000000", "Transfer-Encoding: chunked"] {
        let (mut from, mut to) = tokio::io::split(server.connect(b"http/1.1").await.unwrap());
        let head = format!("POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{head}\r\n\r\n");
        let chunked = head.contains("chunked");
        let piece = |text: &str| if chunked { format!("{:x}\r\n{text}\r\n", text.len()) } else { text.to_owned() };
        let (beginning, more) = (head + &piece(&begin), piece(&"a".repeat(MEGABYTE)));
        let send = async {
            let mut sent = 0;
            to.write_all(beginning.as_bytes()).await.unwrap();
            // Ends when the server has closed the connection.
            while sent < 100 * MEGABYTE && to.write_all(more.as_bytes()).await.is_ok() {
                sent += MEGABYTE;
            }
            sent
        };
        let mut answer = Vec::new();
        let (sent, _) = tokio::join!(send, from.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains(UID), "{answer}");
        assert!(sent < bound, "{sent} bytes were taken");
        Client::connect(&server, b"http/1.1").await.is_served().await;
    }

    let mut kept = Client::connect(&server, b"h2").await;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let pieces = stream::iter([Bytes::from(begin)]).chain(stream::repeat(Bytes::from("a".repeat(MEGABYTE))).take(100));
    let counted = pieces.map(move |piece| {
        count.fetch_add(piece.len(), Ordering::Relaxed);
        Ok::<_, Infallible>(piece)
    });
    let (status, _, body) = kept.send(posted(Body::from_stream(counted))).await;
    assert_eq!(
        (status, Says::read(&body)),
        (StatusCode::PAYLOAD_TOO_LARGE, Says::Allowed(API_VERSION, Failure::TooLarge))
    );
    assert!(sent.load(Ordering::Relaxed) < bound, "{sent:?} bytes were taken");
    kept.is_served().await;
    server.end().await;
}

#[tokio::test]
async fn what_is_no_http_or_breaks_off_ends_its_own_connection_alone() {
    let limits = Limits { handshake: Duration::from_millis(500), ..Limits::default() };
    let server = Server::start("broken", WebhookConfig { limits, ..WebhookConfig::default() }).await;
    for (what, sent, answered) in [
        ("no HTTP", "hello\r\n\r\n", "HTTP/1.1 400"),
        ("another HTTP", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
        ("two lengths", "POST /mutate HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "HTTP/1.1 400"),
        ("no length", "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: much\r\n\r\n", "HTTP/1.1 400"),
        ("a head without end", "POST /mutate HTTP/1.1\r\nX: ", ""),
        ("half a body", "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{", ""),
        ("nothing", "", ""),
    ] {
        let mut stream = server.connect(b"http/1.1").await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        // Without a farewell is an end, too.
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(answered), "{what}: {answer}");
        Client::connect(&server, b"http/1.1").await.is_served().await;
    }
    for sent in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\xff\xff", b"\xff\xff\xff"] {
        server.raw(sent).await;
        Client::connect(&server, b"h2").await.is_served().await;
    }
    server.end().await;
}
