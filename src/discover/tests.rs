//! Discovery against small servers that answer as Patroni does: HTTP/1.0, no length, the connection closes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use prometheus_client::registry::Registry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;

/// What a server does with a request for one path.
#[derive(Clone)]
pub(crate) enum Reply {
    Json(u16, String),
    Redirect(String),
    /// More than is read of any body.
    Endless,
    /// Takes the request and never answers.
    Hang,
}

#[derive(Default)]
struct Counts {
    primary: AtomicUsize,
    cluster: AtomicUsize,
    now: AtomicUsize,
    most_at_once: AtomicUsize,
}

pub(crate) struct Server {
    pub url: String,
    replies: Arc<Mutex<BTreeMap<&'static str, Reply>>>,
    counts: Arc<Counts>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let replies: Arc<Mutex<BTreeMap<&'static str, Reply>>> = Arc::default();
        let counts: Arc<Counts> = Arc::default();
        let (answers, counted) = (replies.clone(), counts.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, answers.clone(), counted.clone()));
            }
        });
        Self { url, replies, counts, task }
    }

    pub(crate) fn says(&self, path: &'static str, reply: Reply) {
        self.replies.lock().unwrap().insert(path, reply);
    }

    /// `"200 running primary 1"`.
    pub(crate) fn is(&self, name: &str, said: &str) {
        let words: Vec<_> = said.split(' ').collect();
        let timeline = words.get(3).map_or(String::new(), |timeline| format!(r#""timeline": {timeline},"#));
        let body = format!(
            r#"{{"state": "{}", "role": "{}", {timeline} "database_system_identifier": "77",
                "patroni": {{"version": "4.1.5", "scope": "demo", "name": "{name}"}}}}"#,
            words[1], words[2]
        );
        self.says("/primary", Reply::Json(words[0].parse().unwrap(), body));
    }

    /// Between the next six requests for `/primary`. A busy machine makes pauses longer, never all of them.
    async fn shortest_pause_of_five(&self) -> Duration {
        let next = async || {
            let seen = self.counts.primary.load(Ordering::SeqCst);
            while self.counts.primary.load(Ordering::SeqCst) == seen {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Instant::now()
        };
        let mut before = next().await;
        let mut shortest = Duration::MAX;
        for _ in 0..5 {
            let now = next().await;
            shortest = shortest.min(now - before);
            before = now;
        }
        shortest
    }

    pub(crate) fn lists(&self, leader: &str, members: &[(&str, &Self)]) {
        let member = |(name, server): &(&str, &Self)| {
            let role = if *name == leader { "leader" } else { "replica" };
            format!(
                r#"{{"name": "{name}", "role": "{role}", "state": "running", "api_url": "{}/patroni",
                    "host": "{name}.db", "port": 15432, "lag": "unknown"}}"#,
                server.url
            )
        };
        let members: Vec<_> = members.iter().map(member).collect();
        self.says("/cluster", Reply::Json(200, format!(r#"{{"members": [{}], "scope": "demo"}}"#, members.join(","))));
    }
}

async fn serve(
    mut stream: tokio::net::TcpStream,
    replies: Arc<Mutex<BTreeMap<&'static str, Reply>>>,
    counts: Arc<Counts>,
) {
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await.unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or("").to_owned();
    let counter = if path == "/cluster" { &counts.cluster } else { &counts.primary };
    counter.fetch_add(1, Ordering::SeqCst);
    if path == "/primary" {
        let at_once = counts.now.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most_at_once.fetch_max(at_once, Ordering::SeqCst);
    }
    let reply = replies.lock().unwrap().get(path.as_str()).cloned();
    match reply {
        Some(Reply::Json(status, body)) => {
            let head = format!("HTTP/1.0 {status} x\r\nServer: BaseHTTP/0.6\r\nContent-Type: application/json\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes()).await;
        }
        Some(Reply::Redirect(to)) => {
            let _ = stream.write_all(format!("HTTP/1.0 302 Found\r\nLocation: {to}\r\n\r\n").as_bytes()).await;
        }
        Some(Reply::Endless) => {
            let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n{\"state\": \"").await;
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
        }
        Some(Reply::Hang) => {
            let _ = stream.read(&mut [0; 16]).await;
        }
        None => {
            let _ = stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n").await;
        }
    }
    if path == "/primary" {
        counts.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How often a member is looked at while the primary is known.
const SLOW_PACE: Duration = Duration::from_secs(1);

fn follow(servers: &[&Server]) -> Discovery {
    follow_from(servers, Restored::default())
}

fn follow_from(servers: &[&Server], restored: Restored) -> Discovery {
    let config = PatroniConfig {
        urls: servers.iter().map(|server| server.url.clone()).collect(),
        timeout: Duration::from_millis(300),
        interval: SLOW_PACE,
    };
    let metrics = Metrics::register(&mut Registry::default());
    spawn("orders".to_owned(), Source::Patroni(config), restored, metrics).unwrap()
}

async fn until(handle: &Discovery, what: &str, holds: impl Fn(&DiscoveryState) -> bool) -> DiscoveryState {
    let mut state = handle.state.clone();
    let waited = tokio::time::timeout(Duration::from_secs(20), state.wait_for(|state| holds(state))).await;
    match waited {
        Ok(state) => state.unwrap().clone(),
        Err(_) => panic!("never: {what}: {:?}", handle.state.borrow()),
    }
}

fn known(state: &DiscoveryState) -> Option<(&str, u64)> {
    state.view.known().map(|primary| (primary.name.as_str(), primary.timeline))
}

fn names(state: &DiscoveryState) -> Vec<&str> {
    state.members.iter().map(|member| member.name.as_str()).collect()
}

fn error_of(state: &DiscoveryState, member: &str) -> Option<String> {
    state.answers.iter().find(|answer| answer.name == member).and_then(|answer| answer.error.clone())
}

#[tokio::test]
async fn from_one_url_the_members_are_found_and_a_switchover_is_followed_at_a_faster_pace() {
    let (pg1, pg2) = (Server::start().await, Server::start().await);
    pg1.is("pg1", "503 running replica 1");
    pg2.is("pg2", "200 running primary 1");
    pg1.lists("pg2", &[("pg1", &pg1), ("pg2", &pg2)]);
    let handle = follow(&[&pg1]);
    let state = until(&handle, "pg2 is primary", |state| known(state) == Some(("pg2", 1))).await;
    assert_eq!(names(&state), ["pg1", "pg2"]);
    assert_eq!((state.host("pg2"), state.members[1].port), (Some("pg2.db"), 15432));
    assert_eq!(state.members[0].api_url.as_ref(), Some(&pg1.url));

    pg2.is("pg2", "200 stopping primary");
    until(&handle, "degraded", |state| state.view.state.name() == "Degraded").await;
    pg2.is("pg2", "503 stopped demoted");
    pg1.is("pg1", "200 running replica 1");
    until(&handle, "promoting", |state| state.view.state.name() == "Promoting").await;
    assert!(pg1.shortest_pause_of_five().await < SLOW_PACE / 2, "looked at more often while nobody is primary");
    pg1.is("pg1", "200 running primary 2");
    let state = until(&handle, "pg1 is primary", |state| known(state) == Some(("pg1", 2))).await;
    assert_eq!(state.view.epoch, 2);
}

#[tokio::test]
async fn a_member_that_hangs_gets_one_request_at_a_time_and_delays_nobody() {
    let (pg1, pg2) = (Server::start().await, Server::start().await);
    pg1.is("pg1", "200 running primary 1");
    pg1.lists("pg1", &[("pg1", &pg1), ("pg2", &pg2)]);
    pg2.says("/primary", Reply::Hang);
    let handle = follow(&[&pg1]);
    let state = until(&handle, "pg2 timed out", |state| {
        error_of(state, "pg2").is_some_and(|error| error.contains("no answer within 300 ms"))
    })
    .await;
    assert_eq!(known(&state), Some(("pg1", 1)));
    pg1.is("pg1", "200 running primary 2");
    until(&handle, "pg1 is on timeline 2", |state| known(state) == Some(("pg1", 2))).await;
    assert_eq!(pg2.counts.most_at_once.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn while_a_primary_is_known_the_members_are_asked_once_per_interval() {
    let pg1 = Server::start().await;
    pg1.is("pg1", "200 running primary 1");
    pg1.lists("pg1", &[("pg1", &pg1)]);
    let handle = follow(&[&pg1]);
    until(&handle, "pg1 is primary", |state| known(state).is_some() && !state.members.is_empty()).await;
    let before = pg1.counts.primary.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let asked = pg1.counts.primary.load(Ordering::SeqCst) - before;
    assert!((2..=3).contains(&asked), "{asked} looks in 2.5 s");
    // Once at the start and once after the change of primary.
    assert!(pg1.counts.cluster.load(Ordering::SeqCst) <= 2);
}

#[tokio::test]
async fn what_is_not_patroni_is_an_error_that_says_so() {
    for (reply, expected) in [
        (Reply::Json(200, "<html>".to_owned()), "answered with a body that isn't Patroni's"),
        (Reply::Json(404, String::new()), "answered 404, which Patroni doesn't"),
        (Reply::Redirect("http://127.0.0.1:1/".to_owned()), "answered 302, which Patroni doesn't"),
        (Reply::Endless, "answered with more than 1048576 bytes"),
        (Reply::Hang, "no answer within 300 ms"),
    ] {
        let server = Server::start().await;
        server.says("/primary", reply);
        let handle = follow(&[&server]);
        let says_so =
            |state: &DiscoveryState| error_of(state, &server.url).is_some_and(|error| error.starts_with(expected));
        let state = until(&handle, expected, says_so).await;
        assert_eq!(state.view.state.name(), "Unknown");
    }
    let gone = Server::start().await;
    let url = gone.url.clone();
    let handle = follow(&[&gone]);
    drop(gone);
    until(&handle, "refused", |state| error_of(state, &url).is_some_and(|error| error.contains("Connection refused")))
        .await;
}

#[tokio::test]
async fn a_restart_goes_on_from_what_was_known() {
    let (pg1, pg2) = (Server::start().await, Server::start().await);
    pg1.is("pg1", "200 running primary 4");
    pg2.is("pg2", "503 running replica 5");
    let member = |name: &str, server: &Server| Member {
        name: name.to_owned(),
        host: format!("{name}.db"),
        port: 5432,
        api_url: Some(server.url.clone()),
    };
    let belief = Belief {
        primary: Some("pg2".to_owned()),
        timeline: Some(5),
        highest_timeline: Some(5),
        system_identifier: Some("77".to_owned()),
        epoch: 7,
        ..Belief::default()
    };
    let restored = Restored { belief, members: vec![member("pg1", &pg1), member("pg2", &pg2)] };
    let handle = follow_from(&[&pg1], restored);
    let before = handle.state.borrow().clone();
    assert_eq!((names(&before), before.view.epoch), (vec!["pg1", "pg2"], 7));
    let state = until(&handle, "both have answered", |state| state.looked).await;
    assert_eq!((known(&state), state.view.last.as_ref().unwrap().name.as_str()), (None, "pg2"));
    pg2.is("pg2", "200 running primary 6");
    let state = until(&handle, "pg2 again", |state| known(state) == Some(("pg2", 6))).await;
    assert_eq!(state.view.epoch, 7);
}

#[tokio::test]
async fn an_empty_list_is_no_list_and_the_members_take_turns() {
    let (pg1, pg2) = (Server::start().await, Server::start().await);
    pg1.is("pg1", "200 running primary 1");
    pg2.is("pg2", "503 running replica 1");
    pg1.says("/cluster", Reply::Json(200, r#"{"members": [], "scope": "demo"}"#.to_owned()));
    pg2.lists("pg1", &[("pg1", &pg1), ("pg2", &pg2)]);
    let handle = follow(&[&pg1, &pg2]);
    let state = until(&handle, "the other one's list", |state| !state.members.is_empty()).await;
    assert_eq!(names(&state), ["pg1", "pg2"]);
}
