//! What is recorded of small servers that answer as Patroni does, and what a replay of it says.

use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    api::Span,
    cli::ClusterArgs,
    discover::{
        recording::{Change, Replay},
        testing::{Reply, Server},
    },
};

/// What was written so far.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    async fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let wait = async {
            while !holds(&self.text()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
        assert!(waited.is_ok(), "never: {what}: {}", self.text());
    }
}

fn args(for_: Option<Span>) -> RecordArgs {
    RecordArgs {
        database: None,
        urls: Vec::new(),
        ca_file: None,
        cert_file: None,
        key_file: None,
        server_name: None,
        own_namespace: "switchover-system".to_owned(),
        every: Span::from_millis(50),
        list_every: Span::from_secs(1),
        timeout: Span::from_millis(300),
        for_,
        cluster: ClusterArgs::default(),
    }
}

/// A client for whatever these URLs lead to.
fn http(urls: &[String]) -> Http {
    let credentials = Arc::new(args(None).files().load().unwrap());
    Http::new(credentials.clone(), &Access::fixed(credentials), false, patroni::hosts_of(urls)).unwrap()
}

fn start(servers: &[&Server]) -> (Written, CancellationToken, tokio::task::JoinHandle<Result<String, RecordError>>) {
    let (written, stop) = (Written::default(), CancellationToken::new());
    let urls: Vec<String> = servers.iter().map(|server| server.url.clone()).collect();
    let (mut out, stopped) = (written.clone(), stop.clone());
    let task = tokio::spawn(async move {
        record(urls.clone(), patroni::hosts_of(&urls), http(&urls), &args(None), &mut out, &mut io::sink(), stopped)
            .await
    });
    (written, stop, task)
}

/// `"Known pg1@1"` for each change.
fn replayed(text: &str) -> Vec<String> {
    let mut replay = Replay::new(Instant::now());
    let mut changes: Vec<Change> = text.lines().filter_map(|line| replay.line(line.as_bytes()).unwrap()).collect();
    changes.extend(replay.finish().unwrap().0);
    let shown = |change: Change| match change.view.known() {
        Some(primary) => format!("Known {}@{}", primary.name, primary.timeline),
        None => change.shown.state.to_owned(),
    };
    changes.into_iter().map(shown).collect()
}

#[tokio::test]
async fn what_was_recorded_of_a_switchover_can_be_replayed() {
    let (pg1, pg2) = (Server::start().await, Server::start().await);
    pg1.is("pg1", "503 running replica 1");
    pg2.is("pg2", "200 running primary 1");
    pg1.lists("pg2", &[("pg1", &pg1), ("pg2", &pg2)]);
    pg2.lists("pg2", &[("pg1", &pg1), ("pg2", &pg2)]);
    let (written, stop, task) = start(&[&pg1]);
    let says = |member: &str, what: &str| {
        let (member, what) = (format!(r#""member":"{member}","path":"/primary""#), what.to_owned());
        move |text: &str| text.lines().any(|line| line.contains(&member) && line.contains(&what))
    };
    written.until("the member that was found", says("pg2", r#""role":"primary""#)).await;
    pg2.is("pg2", "200 stopping primary");
    written.until("stopping", says("pg2", "stopping")).await;
    pg2.says("/primary", Reply::Hang);
    written.until("a hanging member", says("pg2", "no answer within 300 ms")).await;
    pg1.is("pg1", "200 running replica 1");
    written.until("promoting", says("pg1", r#""status":200"#)).await;
    pg1.is("pg1", "200 running primary 2");
    written.until("the new primary", says("pg1", r#""timeline":2"#)).await;
    stop.cancel();
    let recorded = task.await.unwrap().unwrap();

    let text = written.text();
    assert_eq!(
        replayed(&text),
        ["Unknown", "Known pg2@1", "Degraded", "Unknown", "Promoting", "Known pg1@2"],
        "{text}"
    );
    let lines = text.lines().count();
    assert!(recorded.starts_with(&format!("recorded {lines} lines of 2 members in ")), "{recorded}");
    let primary = text.lines().filter(|line| line.contains(r#""path":"/primary""#)).count();
    assert_eq!(primary, 6, "one line for each change: {text}");
}

#[tokio::test]
async fn what_was_recorded_of_members_without_names_is_replayed_as_it_was() {
    let (pg1, pg2) = (Server::start().await, Server::start().await);
    pg1.is_nameless(1, "200 running master 1");
    pg2.is_nameless(2, "503 running replica 1");
    for server in [&pg1, &pg2] {
        server.lists("pg1", &[("pg1", &pg1), ("pg2", &pg2)]);
    }
    let (written, stop) = (Written::default(), CancellationToken::new());
    let (mut out, stopped) = (written.clone(), stop.clone());
    let urls = vec![pg1.by_name(), pg2.by_name()];
    let task = tokio::spawn(async move {
        record(urls.clone(), patroni::hosts_of(&urls), http(&urls), &args(None), &mut out, &mut io::sink(), stopped)
            .await
    });
    for (url, name) in [(pg1.by_name(), "pg1"), (pg2.by_name(), "pg2")] {
        let line = format!(r#""member":"{url}","path":"/primary","status":null"#);
        let is = format!(r#""is":"{name}""#);
        let says = |text: &str| text.lines().any(|written| written.contains(&line) && written.contains(&is));
        written.until(&format!("{url} is {name}"), says).await;
    }
    pg1.says("/primary", Reply::Hang);
    written.until("pg1 is silent", |text| text.contains("no answer within 300 ms")).await;
    pg2.is_nameless(2, "200 running master 2");
    written.until("pg2 is primary", |text| text.contains(r#""timeline":2"#)).await;
    stop.cancel();
    task.await.unwrap().unwrap();
    let text = written.text();
    let replayed = replayed(&text);
    let known: Vec<&String> = replayed.iter().filter(|line| *line != "Unknown").collect();
    assert_eq!(known, ["Known pg1@1", "Known pg2@2"], "{replayed:?} {text}");
}

#[tokio::test]
async fn it_ends_by_itself_and_names_a_member_that_never_answers_by_its_list() {
    let (pg1, pg2) = (Server::start().await, Server::start().await);
    pg1.is("pg1", "200 running primary 1");
    pg1.lists("pg1", &[("pg1", &pg1), ("pg2", &pg2)]);
    pg2.says("/primary", Reply::Hang);
    let mut written = Written::default();
    let urls = vec![pg1.url.clone(), pg2.url.clone()];
    let mut notes = Vec::new();
    let (hosts, args) = (patroni::hosts_of(&urls), args(Some(Span::from_millis(1_200))));
    record(urls.clone(), hosts, http(&urls), &args, &mut written, &mut notes, CancellationToken::new()).await.unwrap();
    let notes = String::from_utf8(notes).unwrap();
    assert_eq!(
        notes,
        format!("recording the members that are found from {}\n", urls.join(", ")),
        "people are told at once"
    );
    let text = written.text();
    let members: std::collections::BTreeSet<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["member"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(members.into_iter().collect::<Vec<_>>(), ["pg1", "pg2"], "{text}");
}

#[tokio::test]
async fn nobody_to_hear_is_recorded_too() {
    let gone = Server::start().await;
    let url = gone.url.clone();
    drop(gone);
    let mut written = Written::default();
    let for_ = Some(Span::from_millis(3_500));
    record(
        vec![url.clone()],
        patroni::hosts_of([&url]),
        http(std::slice::from_ref(&url)),
        &args(for_),
        &mut written,
        &mut io::sink(),
        CancellationToken::new(),
    )
    .await
    .unwrap();
    let line: serde_json::Value = serde_json::from_str(written.text().trim()).unwrap();
    assert_eq!((&line["member"], &line["status"]), (&url.into(), &serde_json::Value::Null));
    assert!(line["error"].as_str().unwrap().contains("Connection refused"), "{line}");
}
