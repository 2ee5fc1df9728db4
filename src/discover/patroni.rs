//! Patroni's REST API: what its answers say.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

pub use super::http::host_of;
use super::{
    Member, announced, cut,
    http::{Http, PatroniError, Raw},
};
use crate::{
    api::{database_cluster::PatroniDiscovery, node_latency::LONGEST_HOST},
    core::{
        announcement::Heard,
        hosts::HostRules,
        primary::{Answer, MemberBody},
        words::is_obeyed,
    },
    credentials::Sources,
};

/// Most members that one database may have.
pub const MAX_MEMBERS: usize = 64;
/// Longest text that is taken from an answer, in bytes: names, states and hosts, and what is said of a body that is not
/// Patroni's. They go into the status of the DatabaseCluster, into events and logs.
pub const LONGEST_TEXT: usize = 256;
/// Largest timeline that PostgreSQL can have (`TimeLineID` has 32 bits).
const MAX_TIMELINE: u64 = u32::MAX as u64;

/// Where the credentials for the members lie; `namespace` is switchover's own.
#[must_use]
pub fn sources(spec: &PatroniDiscovery, namespace: &str) -> Sources {
    let tls = spec.tls.clone().unwrap_or_default();
    Sources {
        field: "spec.discovery.patroni",
        namespace: namespace.to_owned(),
        tls_secret: tls.secret_name,
        server_name: tls.server_name,
        basic_auth_secret: spec.basic_auth.as_ref().map(|login| login.secret_name.clone()),
        ..Sources::default()
    }
}

/// `GET {base}/primary`: whatever comes of it is an answer.
pub async fn ask(http: &Http, base: &str, timeout: Duration) -> Answer {
    answer(&http.get(&format!("{base}/primary"), timeout).await)
}

/// What an answer to `/primary` says.
#[must_use]
pub fn answer(raw: &Result<Raw, PatroniError>) -> Answer {
    let read = || match raw {
        Ok((status @ (200 | 503), body)) => Ok(Answer::Http { status: *status, body: parse_member(body)? }),
        Ok((other, _)) => Err(PatroniError::Status(*other)),
        Err(error) => Err(error.clone()),
    };
    read().unwrap_or_else(|error| Answer::Unreachable { error: error.to_string() })
}

/// `GET {base}/cluster`: the members, as the answering member reads them from Patroni's store just now.
///
/// # Errors
/// When the member doesn't answer in time or not as Patroni does.
pub async fn cluster(http: &Http, base: &str, timeout: Duration) -> Result<ClusterBody, PatroniError> {
    match http.get(&format!("{base}/cluster"), timeout).await? {
        (200, body) => parse_cluster(&body),
        (other, _) => Err(PatroniError::Status(other)),
    }
}

#[derive(Deserialize)]
struct RawMember {
    state: String,
    role: String,
    timeline: Option<u64>,
    database_system_identifier: Option<Identifier>,
    postmaster_start_time: Option<String>,
    /// What there is of it depends on the version, and nothing but who is who depends on it.
    xlog: Option<serde_json::Value>,
    #[serde(default)]
    cluster_unlocked: bool,
    #[serde(default)]
    failsafe_mode_is_active: bool,
    #[serde(default)]
    pause: bool,
    dcs_last_seen: Option<u64>,
    patroni: Option<RawPatroni>,
}

#[derive(Deserialize)]
struct RawPatroni {
    name: Option<String>,
}

/// Patroni writes it as text; a number is the same thing.
#[derive(Deserialize)]
#[serde(untagged)]
enum Identifier {
    Text(String),
    Number(u64),
}

/// Reads the body that Patroni's health endpoints share. Unknown fields are ignored.
///
/// # Errors
/// When it isn't JSON, a field that counts has a wrong type or is too long, or `state` or `role` is missing.
pub fn parse_member(body: &[u8]) -> Result<MemberBody, PatroniError> {
    let raw: RawMember = read(body)?;
    if let Some(timeline) = raw.timeline.filter(|timeline| *timeline > MAX_TIMELINE) {
        // Believed once, it would bar every true timeline for ever.
        return Err(PatroniError::Body(format!("timeline {timeline} is greater than PostgreSQL can have")));
    }
    let name = raw.patroni.and_then(|patroni| patroni.name).filter(|name| !name.is_empty());
    let system_identifier = raw.database_system_identifier.map(|id| match id {
        Identifier::Text(text) => text,
        Identifier::Number(number) => number.to_string(),
    });
    short("state", Some(&raw.state), LONGEST_TEXT)?;
    short("role", Some(&raw.role), LONGEST_TEXT)?;
    short("patroni.name", name.as_deref(), LONGEST_TEXT)?;
    short("postmaster_start_time", raw.postmaster_start_time.as_deref(), LONGEST_TEXT)?;
    short("database_system_identifier", system_identifier.as_deref(), LONGEST_TEXT)?;
    Ok(MemberBody {
        name,
        state: raw.state,
        role: raw.role,
        timeline: raw.timeline.filter(|timeline| *timeline > 0),
        system_identifier,
        started: raw.postmaster_start_time.filter(|started| !started.is_empty()),
        position: raw.xlog.as_ref().and_then(position),
        cluster_unlocked: raw.cluster_unlocked,
        failsafe: raw.failsafe_mode_is_active,
        pause: raw.pause,
        dcs_last_seen_s: raw.dcs_last_seen,
    })
}

/// A primary's is where it writes, a replica's how far it has replayed.
fn position(log: &serde_json::Value) -> Option<u64> {
    log.get("location").or_else(|| log.get("replayed_location"))?.as_u64()
}

fn read<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, PatroniError> {
    serde_json::from_slice(body).map_err(|error| {
        let mut told = unquoted(error.to_string());
        cut(&mut told, LONGEST_TEXT);
        PatroniError::Body(told)
    })
}

/// The reader's words without what it met, which somebody else wrote: it would go on into status, events and logs.
pub(super) fn unquoted(told: String) -> String {
    match (told.find('"'), told.rfind('"')) {
        (Some(first), Some(last)) if first < last => format!("{}\"…\"{}", &told[..first], &told[last + 1..]),
        _ => told,
    }
}

fn short(field: &str, text: Option<&str>, most: usize) -> Result<(), PatroniError> {
    match text.map(str::len) {
        Some(bytes) if bytes > most => Err(PatroniError::Body(format!("{field} has {bytes} bytes, more than {most}"))),
        // They go to terminals and logs as they are.
        _ if text.is_some_and(|text| text.contains(is_obeyed)) => {
            Err(PatroniError::Body(format!("{field} holds a control character")))
        }
        _ => Ok(()),
    }
}

/// The other way round: a body that [`parse_member`] reads as `member`.
#[must_use]
pub fn written(member: &MemberBody) -> Option<Box<RawValue>> {
    let mut body = serde_json::json!({
        "state": member.state,
        "role": member.role,
        "timeline": member.timeline,
        "database_system_identifier": member.system_identifier,
        "cluster_unlocked": member.cluster_unlocked,
        "failsafe_mode_is_active": member.failsafe,
        "pause": member.pause,
        "dcs_last_seen": member.dcs_last_seen_s,
        "patroni": { "name": member.name },
    });
    // Who leaves its name out is known by these.
    if let Some(started) = &member.started {
        body["postmaster_start_time"] = started.as_str().into();
    }
    if let Some(position) = member.position {
        body["xlog"] = serde_json::json!({ "location": position });
    }
    serde_json::value::to_raw_value(&body).ok()
}

/// What `/cluster` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterBody {
    pub members: Vec<Member>,
    /// The member that holds the leader lock, says Patroni's store.
    pub leader: Option<String>,
    /// The switchover that somebody scheduled.
    pub announced: Heard,
}

#[derive(Deserialize)]
struct RawCluster {
    members: Vec<RawClusterMember>,
    /// `{at, from, to}`. Whatever it is, the members are listed all the same.
    scheduled_switchover: Option<Value>,
}

#[derive(Deserialize)]
struct RawClusterMember {
    name: String,
    #[serde(default)]
    role: String,
    api_url: Option<String>,
    host: Option<String>,
    port: Option<u16>,
}

/// Reads the body of `/cluster`. A member that is only being set up may lack its addresses; it is left out until it
/// has them.
///
/// # Errors
/// When it isn't JSON, or a field that counts has a wrong type or is too long.
pub fn parse_cluster(body: &[u8]) -> Result<ClusterBody, PatroniError> {
    let raw: RawCluster = read(body)?;
    if raw.members.len() > MAX_MEMBERS {
        return Err(PatroniError::Body(format!("{} members, more than {MAX_MEMBERS}", raw.members.len())));
    }
    for member in &raw.members {
        short("name", Some(&member.name), LONGEST_TEXT)?;
        short("host", member.host.as_deref(), LONGEST_HOST)?;
        short("api_url", member.api_url.as_deref(), LONGEST_TEXT)?;
    }
    let announced = scheduled(raw.scheduled_switchover.as_ref());
    let leads = |member: &&RawClusterMember| matches!(member.role.as_str(), "leader" | "master" | "standby_leader");
    let leader = raw.members.iter().find(leads).map(|member| member.name.clone());
    let complete = |member: RawClusterMember| {
        let host = member.host.filter(|host| !host.is_empty())?;
        Some(Member {
            name: member.name,
            host,
            port: member.port.unwrap_or(5432),
            api_url: Some(base_url(&member.api_url?)?),
        })
    };
    Ok(ClusterBody { members: raw.members.into_iter().filter_map(complete).collect(), leader, announced })
}

/// The source of what Patroni announces, as people are told.
pub(super) const PATRONI: &str = "Patroni";

fn scheduled(scheduled: Option<&Value>) -> Heard {
    let Some(scheduled) = scheduled else { return Heard::None };
    let [at, from, to] = ["at", "from", "to"].map(|key| scheduled.get(key).and_then(Value::as_str));
    announced::heard(PATRONI, at, from, to)
}

/// The base of a member's REST API, from its `api_url` (`http://10.0.1.5:8008/patroni`) or as people write it.
/// `None` for anything but http and https.
#[must_use]
pub fn base_url(url: &str) -> Option<String> {
    let parsed = reqwest::Url::parse(url.trim()).ok()?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return None;
    }
    let host = parsed.host_str()?;
    let port = parsed.port_or_known_default()?;
    Some(format!("{}://{host}:{port}", parsed.scheme()))
}

/// What may be asked where nothing is allowed but what people wrote, and what these members state.
#[must_use]
pub fn hosts_of<'a>(urls: impl IntoIterator<Item = &'a String>) -> Arc<HostRules> {
    Arc::new(HostRules::new(urls.into_iter().filter_map(|url| host_of(url)), []))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_brought_into_one_form() {
        for (url, expected) in [
            ("http://127.0.1.1:18008/patroni", Some("http://127.0.1.1:18008")),
            ("http://10.0.1.5:8008/", Some("http://10.0.1.5:8008")),
            ("https://PG1.example.com", Some("https://pg1.example.com:443")),
            ("http://[fd00::1]:8008/patroni", Some("http://[fd00::1]:8008")),
            ("ftp://10.0.1.5", None),
            ("file:///etc/passwd", None),
            ("10.0.1.5:8008", None),
            ("", None),
        ] {
            assert_eq!(base_url(url).as_deref(), expected, "{url}");
        }
        assert_eq!(host_of("http://[fd00::1]:8008").as_deref(), Some("fd00::1"));
        assert_eq!(host_of("http://pg1:8008/").as_deref(), Some("pg1"));
    }

    #[test]
    fn a_member_is_read_leniently_and_checked_where_it_counts() {
        let full = br#"{"state": "running", "role": "primary", "timeline": 3,
            "postmaster_start_time": "2026-11-27 15:23:50.079482+00:00", "xlog": {"location": 1}, "pause": true,
            "dcs_last_seen": 1795359129, "database_system_identifier": "7711008477986263233",
            "patroni": {"version": "4.1.5", "scope": "demo", "name": "pg1"}}"#;
        assert_eq!(
            parse_member(full).unwrap(),
            MemberBody {
                name: Some("pg1".into()),
                state: "running".into(),
                role: "primary".into(),
                timeline: Some(3),
                system_identifier: Some("7711008477986263233".into()),
                started: Some("2026-11-27 15:23:50.079482+00:00".into()),
                position: Some(1),
                pause: true,
                dcs_last_seen_s: Some(1_795_359_129),
                ..MemberBody::default()
            }
        );
        let again = written(&parse_member(full).unwrap()).unwrap();
        assert_eq!(parse_member(again.get().as_bytes()), parse_member(full));
        let number = br#"{"state": "running", "role": "master", "database_system_identifier": 77, "timeline": 0}"#;
        let member = parse_member(number).unwrap();
        assert_eq!((member.system_identifier.as_deref(), member.timeline), (Some("77"), None));

        for (body, expected) in [
            ("", "EOF while parsing"),
            ("<html>", "expected value"),
            (r#"{"role": "primary"}"#, "missing field `state`"),
            (r#"{"state": "running", "role": "primary", "timeline": "3"}"#, "invalid type: string"),
            (r#"{"state": "running", "role": "primary", "timeline": -1}"#, "invalid value: integer `-1`"),
            (r#"{"state": "running", "role": "primary", "timeline": 99999999999}"#, "greater than PostgreSQL can have"),
            (
                &format!(r#"{{"state": "{}", "role": "primary"}}"#, "x".repeat(257)),
                "state has 257 bytes, more than 256",
            ),
            (
                &format!(r#"{{"state": "running", "role": "primary", "timeline": "{}"}}"#, "ä".repeat(999)),
                r#"invalid type: string "…", expected u64"#,
            ),
            (
                r#"{"state": "running", "role": "primary", "patroni": {"name": "pg1\u001b[2J"}}"#,
                "patroni.name holds a control character",
            ),
            (r#"{"state": "running\nlevel=error", "role": "primary"}"#, "state holds a control character"),
        ] {
            let error = parse_member(body.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("answered with a body that isn't Patroni's: "), "{error}");
            assert!(error.contains(expected), "{body}: {error}");
            assert!(error.len() < 2 * LONGEST_TEXT, "{error}");
        }
    }

    #[test]
    fn the_members_are_read_from_cluster() {
        let body = br#"{"members": [
            {"name": "pg1", "role": "leader", "state": "running", "api_url": "http://127.0.1.1:18008/patroni",
             "host": "127.0.1.1", "port": 15432, "timeline": 2, "tags": {"dc": "dc1"}},
            {"name": "pg2", "role": "replica", "state": "stopped", "api_url": "http://127.0.1.2:18008/patroni",
             "host": "127.0.1.2", "port": 15432, "lag": "unknown", "lsn": "unknown"},
            {"name": "pg3", "role": "replica", "state": "creating replica"}], "scope": "demo", "pause": true}"#;
        let member = |name: &str, ip: &str| Member {
            name: name.into(),
            host: ip.into(),
            port: 15432,
            api_url: Some(format!("http://{ip}:18008")),
        };
        let expected = ClusterBody {
            members: vec![member("pg1", "127.0.1.1"), member("pg2", "127.0.1.2")],
            leader: Some("pg1".into()),
            announced: Heard::None,
        };
        assert_eq!(parse_cluster(body).unwrap(), expected);
        let nobody = ClusterBody { announced: Heard::None, ..ClusterBody::default() };
        assert_eq!(parse_cluster(br#"{"members": [], "scope": "demo"}"#).unwrap(), nobody);
        assert!(parse_cluster(br#"{"members": 3}"#).is_err());
        assert!(parse_cluster(br#"{"members": [{"name": "pg1", "port": "5432"}]}"#).is_err());
        let long = |field: &str, bytes| {
            let body = format!(r#"{{"members": [{{"name": "pg1", "{field}": "{}"}}]}}"#, "x".repeat(bytes));
            let body = if field == "name" { body.replace(r#""name": "pg1", "#, "") } else { body };
            parse_cluster(body.as_bytes()).unwrap_err().to_string()
        };
        for field in ["name", "host", "api_url"] {
            let body = format!(r#"{{"members": [{{"name": "pg1", "{field}": "a\u202eb"}}]}}"#);
            let body = if field == "name" { body.replace(r#""name": "pg1", "#, "") } else { body };
            let error = parse_cluster(body.as_bytes()).unwrap_err().to_string();
            assert!(error.ends_with(&format!("{field} holds a control character")), "{error}");
        }
        assert!(long("name", 257).ends_with("name has 257 bytes, more than 256"));
        assert!(long("host", 254).ends_with("host has 254 bytes, more than 253"), "no NodeLatency could have it");
    }

    /// Written by hand after Patroni's own code (`cluster_as_json`): no recording has one.
    #[test]
    fn a_scheduled_switchover_is_read_and_whatever_it_is_the_members_are_listed() {
        let announced = |scheduled: &str| {
            let body = format!(
                r#"{{"members": [{{"name": "pg1", "role": "leader", "host": "10.0.0.1",
                    "api_url": "http://10.0.0.1:8008/patroni"}}], "scope": "demo", "scheduled_switchover": {scheduled}}}"#
            );
            let list = parse_cluster(body.as_bytes()).unwrap();
            assert_eq!(list.members.len(), 1, "{scheduled}");
            match list.announced {
                Heard::Announced(it) => format!("{it}, announced by {}", it.by),
                Heard::Unreadable(why) => why,
                other => format!("{other:?}"),
            }
        };
        for (scheduled, expected) in [
            (
                r#"{"at": "2026-11-28T10:00:00+00:00", "from": "pg1", "to": "pg3"}"#,
                "pg1 → pg3 at 2026-11-28T10:00:00Z, announced by Patroni",
            ),
            (
                r#"{"at": "2026-11-28T10:00:00.123456+01:00", "from": "pg1"}"#,
                "pg1 → any other member at 2026-11-28T09:00:00Z, announced by Patroni",
            ),
            ("null", "None"),
            ("{}", "Patroni announces a switchover whose time is no text"),
            (r#""soon""#, "Patroni announces a switchover whose time is no text"),
            (r#"{"at": 1795359129}"#, "Patroni announces a switchover whose time is no text"),
            (r#"{"at": "tomorrow"}"#, "Patroni announces a switchover whose time can't be read"),
        ] {
            assert_eq!(announced(scheduled), expected, "{scheduled}");
        }
    }
}
