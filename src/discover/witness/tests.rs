//! A witness is asked over mTLS, and what it tells counts for members that are silent to us.

use std::{net::TcpListener, path::PathBuf, sync::Arc};

use lab::pki::{Authority, Identity};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    credentials::{Credentials, Files, Pace},
    discover::{
        DiscoveryState, PatroniConfig, Restored,
        testing::{Reply, Server, follow_by, known, names, places, until},
    },
    witness::{self, WitnessConfig},
};

const PACE: Pace = Pace { regular: Duration::from_millis(100), soon: Duration::from_millis(20) };

/// Files of one test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("switchover-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// What a client is given whom the authority knows, or not.
    fn client(&self, authority: &Authority, identity: Option<&Identity>) -> Files {
        Files {
            authorities: Some(self.file("ca.crt", &authority.certificate())),
            certificate: identity.map(|identity| self.file("client.crt", &identity.certificate)),
            key: identity.map(|identity| self.file("client.key", &identity.key)),
            server_name: Some("witness.example.com".to_owned()),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running witness of the database `orders`.
struct Running {
    url: String,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(directory: &Directory, authority: &Authority, members: &[&Server]) -> Self {
        let own = authority.issue("witness", None, &["witness.example.com"]).unwrap();
        let here = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let listen = TcpListener::bind(here(0)).unwrap().local_addr().unwrap();
        let config = WitnessConfig {
            listen,
            metrics_listen: here(0),
            certificate_file: directory.file("tls.crt", &own.certificate),
            key_file: directory.file("tls.key", &own.key),
            client_authorities: directory.file("clients.crt", &authority.certificate()),
            client_names: vec!["switchover".to_owned()],
            databases: [("orders".to_owned(), members.iter().map(|member| member.url.clone()).collect())].into(),
            files: Files::default(),
            interval: Duration::from_millis(200),
            timeout: Duration::from_millis(300),
            certificate_poll: Duration::from_secs(1),
            limits: witness::limits(),
        };
        let stop = CancellationToken::new();
        let token = stop.clone();
        let task = tokio::spawn(async move { witness::run(config, token).await.unwrap() });
        Self { url: format!("https://{listen}"), stop, task }
    }

    /// Whatever it answers to this client.
    async fn get(&self, files: &Files, path: &str) -> Result<(u16, Value), PatroniError> {
        let credentials = Arc::new(files.load().unwrap());
        let http = Http::new(Arc::clone(&credentials), &Access::fixed(credentials), true, Arc::default()).unwrap();
        let (status, body) = http.get(&format!("{}{path}", self.url), Duration::from_secs(5)).await?;
        Ok((status, serde_json::from_slice(&body).unwrap()))
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_witness_tells_what_it_hears_to_those_who_show_a_certificate() {
    crate::tls::install_provider();
    let (directory, authority) = (Directory::new("witness-tells"), Authority::new().unwrap());
    let (pg1, pg2) = (Server::start().await, Server::start().await);
    pg1.is("pg1", "200 running primary 3");
    pg2.says("/primary", Reply::Hang);
    pg1.lists("pg1", &[("pg1", &pg1), ("pg2", &pg2)]);
    let witness = Running::start(&directory, &authority, &[&pg1]);
    let client = directory.client(&authority, Some(&authority.issue("switchover", None, &[]).unwrap()));

    let report = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Ok((200, report)) = witness.get(&client, "/v1/databases/orders").await
                && report["members"][1]["error"] == "no answer within 300 ms"
            {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut report = report.await.expect("both members are told of");
    for member in report["members"].as_array_mut().unwrap() {
        assert!(member.as_object_mut().unwrap().remove("ageMs").is_some_and(|age| age.is_u64()));
    }
    let body = json!({
        "state": "running", "role": "primary", "timeline": 3, "database_system_identifier": "77", "patroni": {"name": "pg1"},
        "cluster_unlocked": false, "failsafe_mode_is_active": false, "pause": false, "dcs_last_seen": null,
    });
    let expected = json!({"database": "orders", "members": [
        {"name": "pg1", "url": pg1.url, "host": "pg1.db", "status": 200, "body": body},
        {"name": "pg2", "url": pg2.url, "host": "pg2.db", "error": "no answer within 300 ms"},
    ]});
    assert_eq!(report, expected);

    let (status, told) = witness.get(&client, "/v1/databases/stock").await.unwrap();
    assert_eq!((status, &told["databases"]), (404, &json!(["orders"])));
    let nothing = "there is nothing at /primary: ask for /v1/databases/NAME";
    assert_eq!(
        witness.get(&client, "/primary").await.unwrap(),
        (404, json!({"error": nothing, "databases": ["orders"]}))
    );

    let stranger = Authority::new().unwrap().issue("switchover", None, &[]).unwrap();
    let somebody = authority.issue("somebody", None, &[]).unwrap();
    for identity in [None, Some(&stranger), Some(&somebody)] {
        let refused = witness.get(&directory.client(&authority, identity), "/v1/databases/orders").await;
        assert!(matches!(refused, Err(PatroniError::Tls(_))), "{refused:?}");
    }
    witness.end().await;
}

#[tokio::test]
async fn a_primary_out_of_our_sight_is_seen_by_the_witness_and_a_silent_witness_changes_nothing() {
    crate::tls::install_provider();
    let (directory, authority) = (Directory::new("witness-sees"), Authority::new().unwrap());
    // The same members at other addresses: a way to them that we don't have.
    let (ours1, ours2) = (Server::start().await, Server::start().await);
    let (theirs1, theirs2) = (Server::start().await, Server::start().await);
    for (one, two) in [(&ours1, &ours2), (&theirs1, &theirs2)] {
        one.is("pg1", "200 running primary 1");
        two.is("pg2", "503 running replica 1");
        for server in [one, two] {
            server.lists("pg1", &[("pg1", one), ("pg2", two)]);
        }
    }
    let witness = Running::start(&directory, &authority, &[&theirs1]);
    let client = directory.client(&authority, Some(&authority.issue("switchover", None, &[]).unwrap()));
    let handle = follow_by(
        PatroniConfig {
            urls: vec![ours1.url.clone(), ours2.url.clone()],
            hosts: crate::discover::patroni::hosts_of([&ours1.url]),
            access: Access::fixed(Arc::new(Credentials::none(places()))),
            timeout: Duration::from_secs(1),
            interval: Duration::from_millis(200),
            witness: Some(WitnessAddress {
                url: format!("{}/", witness.url),
                database: "orders".to_owned(),
                access: Access::files("orders", client, PACE),
            }),
        },
        Restored::default(),
    );
    let says = |seen: bool, why: String| {
        move |state: &DiscoveryState| state.witness == Some(WitnessStanding { seen, why: why.clone() })
    };
    let hears = |whom: &str| format!("the witness at {} hears {whom}", witness.url);
    until(&handle, "the witness is heard", says(true, hears("pg1, pg2"))).await;
    let state = until(&handle, "everybody is listed", |state| names(state) == ["pg1", "pg2"]).await;
    assert_eq!((known(&state), state.view.why.contains("witness")), (Some(("pg1", 1)), false));

    ours1.says("/primary", Reply::Hang);
    let seen = "as the witness sees it; 1 of 2 members answers, and pg1 only to the witness";
    let state = until(&handle, seen, |state| state.view.why.ends_with(seen)).await;
    assert_eq!((known(&state), state.view.epoch), (Some(("pg1", 1)), 1));

    // Nobody answers us: the witness alone is not enough.
    ours2.says("/primary", Reply::Hang);
    let alone = "only the witness sees pg1 (primary, timeline 1), pg2: on its word alone nothing is believed or moved";
    let state = until(&handle, alone, |state| state.view.why.ends_with(alone)).await;
    assert_eq!((known(&state), state.view.epoch), (None, 1));
    ours2.is("pg2", "503 running replica 1");
    until(&handle, "pg1 by the witness again", |state| known(state) == Some(("pg1", 1))).await;

    let url = witness.url.clone();
    witness.end().await;
    let state = until(&handle, "the witness has gone", |state| known(state).is_none()).await;
    assert!(state.view.why.starts_with("pg1, the last primary, doesn't answer"), "{}", state.view.why);
    let begins = format!("the witness at {url} can't be heard, and nothing depends on it: ");
    let lost = |state: &DiscoveryState| {
        state.witness.as_ref().is_some_and(|standing| !standing.seen && standing.why.starts_with(&begins))
    };
    until(&handle, "the witness is missed", lost).await;
}

#[test]
fn people_are_told_to_write_where_a_witness_is_written_of() {
    let rules = WitnessRules {
        url: "https://witness.example.com:8444".to_owned(),
        secret_name: "witness".to_owned(),
        server_name: None,
        database: None,
    };
    let places = sources(&rules, "switchover-system").places();
    assert_eq!(places.server_name, "spec.witness.serverName");
    assert_eq!(places.identity, "tls.crt and tls.key of the Secret switchover-system/witness");
}

#[test]
fn a_report_is_read_strictly() {
    let asked = Instant::now() + Duration::from_secs(3600);
    let read = |status: u16, body: &str| Report::read(&(status, body.as_bytes().to_vec()), "orders", asked);
    let of = |members: &str| format!(r#"{{"database": "orders", "members": [{members}], "more": 1}}"#);
    let body = r#"{"state": "running", "role": "primary", "timeline": 3, "patroni": {"name": "pg1"}}"#;
    let pg1 = format!(
        r#"{{"name": "pg1", "url": "http://10.0.0.1:8008/patroni", "ageMs": 250, "status": 200, "body": {body}}}"#
    );
    let (heard, silent) =
        read(200, &of(&format!(r#"{pg1}, {{"name": "pg2", "ageMs": 5, "error": "refused"}}"#))).unwrap();
    let expected = WitnessAnswer {
        member: "pg1".to_owned(),
        url: Some("http://10.0.0.1:8008".to_owned()),
        status: 200,
        body: patroni::parse_member(body.as_bytes()).unwrap(),
        at: asked - Duration::from_millis(250),
    };
    assert_eq!((heard, silent), (vec![expected], vec!["pg2".to_owned()]));
    let ancient = pg1.replace("250", &u64::MAX.to_string());
    let (heard, _) = read(200, &of(&ancient)).unwrap();
    assert!(heard.iter().all(|sighting| asked.duration_since(sighting.at) > Duration::from_secs(86_400)), "{heard:?}");

    let many = vec![pg1.clone(); MAX_MEMBERS + 1].join(",");
    let not_patronis = "answered with a body that isn't a witness's: what it says of pg1 isn't Patroni's";
    for (status, body, expected) in [
        (200, String::new(), "answered with a body that isn't a witness's: EOF"),
        (200, "[]".to_owned(), "answered with a body that isn't a witness's: "),
        (200, of(&pg1).replace("orders", "stock"), "answered with a body that isn't a witness's: it is about stock"),
        (200, of(&pg1.replace("250", "-1")), "answered with a body that isn't a witness's: "),
        (200, of(&pg1.replace(": 200", ": 404")), not_patronis),
        (200, of(&pg1.replace(": 3", ": 4294967296")), not_patronis),
        (200, of(&pg1.replace(r#""role": "primary", "#, "")), not_patronis),
        (200, of(&many), "answered with a body that isn't a witness's: 65 members, more than 64"),
        (404, "not here".to_owned(), "answered 404, which a witness doesn't"),
        (500, of(&pg1), "answered 500, which a witness doesn't"),
        (
            404,
            r#"{"error": "no", "databases": ["stock", "bank"]}"#.to_owned(),
            "doesn't know a database orders, only stock, bank: write one of these as spec.witness.database",
        ),
    ] {
        let error = read(status, &body).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{body}: {error}");
    }
}
