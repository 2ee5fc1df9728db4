//! The source against small servers that speak as much of PostgreSQL's protocol as it takes.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::SqlConfig;
use crate::{
    credentials::{Access, Credentials},
    discover::{
        Discovery, Metrics, Restored, Source, spawn,
        testing::{known, places, shortest_pause_of_five, until},
    },
};

const INTERVAL: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Says {
    standby: AtomicBool,
    silent: AtomicBool,
    refuses: AtomicBool,
    /// It refuses to say anything of its log.
    without_log: AtomicBool,
    asked: AtomicUsize,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

struct Server {
    port: u16,
    says: Arc<Says>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    async fn start(standby: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let says = Arc::new(Says { standby: standby.into(), ..Says::default() });
        let shared = Arc::clone(&says);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let says = Arc::clone(&shared);
                tokio::spawn(async move {
                    let open = says.open.fetch_add(1, Ordering::SeqCst) + 1;
                    says.most_open.fetch_max(open, Ordering::SeqCst);
                    // It ends when the client hangs up.
                    let _ = serve(stream, &says).await;
                    says.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, says, task }
    }

    fn asked(&self) -> usize {
        self.says.asked.load(Ordering::SeqCst)
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// What only a question for the log contains.
const LOG: &[u8] = b"pg_walfile_name";

/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
async fn serve(mut stream: TcpStream, says: &Says) -> io::Result<()> {
    let length = stream.read_u32().await?;
    stream.read_exact(&mut vec![0; length as usize - 4]).await?;
    if says.refuses.load(Ordering::SeqCst) {
        says.asked.fetch_add(1, Ordering::SeqCst);
        return stream.write_all(&message(b'E', b"SFATAL\0C28P01\0Mno\0\0")).await;
    }
    stream.write_all(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat()).await?;
    let mut asks_for_log = false;
    loop {
        let (tag, length) = (stream.read_u8().await?, stream.read_u32().await?);
        let mut body = vec![0; length as usize - 4];
        stream.read_exact(&mut body).await?;
        let reply = match tag {
            b'P' => {
                asks_for_log = body.windows(LOG.len()).any(|words| words == LOG);
                message(b'1', b"")
            }
            b'E' if asks_for_log && says.without_log.load(Ordering::SeqCst) => {
                message(b'E', b"SERROR\0C55000\0Mwal_level must be set to 'logical'\0\0")
            }
            b'D' => [message(b't', &[0; 2]), message(b'T', &columns())].concat(),
            b'B' => message(b'2', b""),
            b'E' => {
                says.asked.fetch_add(1, Ordering::SeqCst);
                while says.silent.load(Ordering::SeqCst) {
                    // Until the client hangs up.
                    stream.read_u8().await?;
                }
                [message(b'D', &row(says.standby.load(Ordering::SeqCst))), message(b'C', b"SELECT 1\0")].concat()
            }
            b'C' => message(b'3', b""),
            b'S' => message(b'Z', b"I"),
            _ => continue,
        };
        stream.write_all(&reply).await?;
    }
}

fn columns() -> Vec<u8> {
    let mut body = vec![0, 4];
    for type_oid in [16u32, 16, 25, 25] {
        // Name, table, column; type; size, modifier, format.
        body.extend([&b"c\0"[..], &[0; 6], &type_oid.to_be_bytes(), &[0; 8]].concat());
    }
    body
}

/// Both on the one timeline.
fn row(standby: bool) -> Vec<u8> {
    let mut body = vec![0, 4];
    let file = (!standby).then_some(&b"000000010000000000000001"[..]);
    for value in [Some(&[u8::from(standby)][..]), Some(&[0][..]), file, Some(&b"77"[..])] {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
        body.extend(length.to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    body
}

fn follow(servers: &[&Server]) -> Discovery {
    let member = |(index, server): (usize, &&Server)| json!({"name": format!("pg{}", index + 1), "host": "127.0.0.1", "port": server.port});
    let members: Vec<_> = servers.iter().enumerate().map(member).collect();
    let spec = json!({
        "engine": "PostgreSQL", "members": members, "basicAuth": {"secretName": "login"}, "unencrypted": true,
        "interval": format!("{}s", INTERVAL.as_secs()), "timeout": "300ms",
    });
    let config = SqlConfig {
        spec: serde_json::from_value(spec).unwrap(),
        access: Access::fixed(Arc::new(Credentials::none(places()))),
    };
    spawn("orders".into(), Source::Sql(config), Restored::default(), Metrics::register(&mut Registry::default()))
}

#[tokio::test]
async fn members_are_asked_once_per_interval_and_more_often_while_nobody_is_primary() {
    let server = Server::start(true).await;
    let handle = follow(&[&server]);
    assert!(shortest_pause_of_five(|| server.asked()).await < INTERVAL / 2, "nobody is primary yet");
    server.says.standby.store(false, Ordering::SeqCst);
    until(&handle, "pg1 is primary", |state| known(state) == Some(("pg1", 1))).await;
    let before = server.asked();
    tokio::time::sleep(INTERVAL * 5 / 2).await;
    let asked = server.asked() - before;
    assert!(asked <= 3, "{asked} questions in two and a half intervals");
    server.says.standby.store(true, Ordering::SeqCst);
    until(&handle, "nobody is", |state| known(state).is_none()).await;
    assert!(shortest_pause_of_five(|| server.asked()).await < INTERVAL / 2, "nobody is primary any more");
    assert_eq!(server.says.most_open.load(Ordering::SeqCst), 1, "one connection was kept");
}

#[tokio::test]
async fn a_member_that_refuses_the_login_is_not_asked_faster() {
    let server = Server::start(false).await;
    server.says.refuses.store(true, Ordering::SeqCst);
    let handle = follow(&[&server]);
    let state = until(&handle, "pg1 refuses", |state| state.looked).await;
    assert_eq!(state.answers[0].error.as_deref(), Some("no (SQLSTATE 28P01)"));
    let before = server.asked();
    tokio::time::sleep(INTERVAL * 5 / 2).await;
    let asked = server.asked() - before;
    assert!(asked <= 3, "{asked} logins in two and a half intervals");
    server.says.refuses.store(false, Ordering::SeqCst);
    until(&handle, "pg1 is primary", |state| known(state) == Some(("pg1", 1))).await;
}

#[tokio::test]
async fn a_member_that_hangs_has_one_question_at_a_time_and_delays_nobody() {
    let (pg1, pg2) = (Server::start(false).await, Server::start(true).await);
    pg2.says.silent.store(true, Ordering::SeqCst);
    let handle = follow(&[&pg1, &pg2]);
    until(&handle, "pg1 is primary", |state| known(state) == Some(("pg1", 1)) && state.looked).await;
    let error = |state: &crate::discover::DiscoveryState| state.answers[1].error.clone();
    let state = until(&handle, "pg2 was too late", |state| error(state).is_some()).await;
    assert_eq!(error(&state).unwrap(), "no answer within 300 ms");
    let (first, second) = (pg1.asked(), pg2.asked());
    while pg1.asked() < first + 3 || pg2.asked() < second + 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(pg2.says.most_open.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_switchover_between_two_questions_is_no_split_brain_although_no_timeline_tells() {
    let (pg1, pg2) = (Server::start(false).await, Server::start(true).await);
    let handle = follow(&[&pg1, &pg2]);
    until(&handle, "pg1 is primary", |state| known(state) == Some(("pg1", 1)) && state.looked).await;
    let mut state = handle.state.clone();
    let mut split = false;
    for (old, new, name) in [(&pg1, &pg2, "pg2"), (&pg2, &pg1, "pg1")] {
        old.says.standby.store(true, Ordering::SeqCst);
        new.says.standby.store(false, Ordering::SeqCst);
        loop {
            state.changed().await.unwrap();
            let state = state.borrow_and_update();
            split |= state.view.state.name() == "SplitBrain";
            if known(&state) == Some((name, 1)) {
                break;
            }
        }
    }
    assert!(!split);
    assert_eq!(handle.state.borrow().view.epoch, 3);
}

#[tokio::test]
async fn a_server_that_refuses_to_speak_of_its_log_is_followed_without_a_timeline() {
    let (pg1, pg2) = (Server::start(false).await, Server::start(true).await);
    for server in [&pg1, &pg2] {
        server.says.without_log.store(true, Ordering::SeqCst);
    }
    let handle = follow(&[&pg1, &pg2]);
    until(&handle, "pg1 is primary", |state| known(state) == Some(("pg1", 0)) && state.looked).await;
    pg1.says.standby.store(true, Ordering::SeqCst);
    pg2.says.standby.store(false, Ordering::SeqCst);
    let state = until(&handle, "pg2 is primary", |state| known(state) == Some(("pg2", 0))).await;
    assert!(state.view.why.contains("it doesn't say which timeline"), "{}", state.view.why);
}
