//! Asks a member's Patroni over HTTP, from inside the member's own network namespace: what the WAN does to packets
//! never changes what the lab sees of a member, nor does what a test lets its REST API say.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Host,
    config::{BEHIND_PORT, STORE_CLIENT_PORT},
};
use crate::{net::exchange, process::Power, site::Site};

/// Patroni answers health questions at once, or it is in trouble.
pub(super) const HEALTH_TIMEOUT: Duration = Duration::from_millis(1500);

/// What one member says of itself, and what the lab knows of its processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberState {
    pub name: String,
    pub site: Site,
    pub address: Ipv4Addr,
    /// Whether Patroni's process exists.
    pub patroni: Power,
    /// Whether Patroni is stopped by [`super::Patroni::freeze`].
    pub frozen: bool,
    /// Whether PostgreSQL's process exists.
    pub postgres: Power,
    /// The status of `GET /primary`: 200 for who holds the leader lock. `None`: no answer.
    pub primary_status: Option<u16>,
    pub role: Option<String>,
    pub state: Option<String>,
    pub timeline: Option<u64>,
    /// `streaming` for a replica that follows.
    pub replication: Option<String>,
    pub pause: bool,
}

impl MemberState {
    /// A writable primary: it holds the lock, runs, and has finished its promotion.
    pub fn is_primary(&self) -> bool {
        self.primary_status == Some(200)
            && self.state.as_deref() == Some("running")
            && matches!(self.role.as_deref(), Some("primary" | "master"))
            && self.timeline.is_some()
    }

    /// A replica that receives the primary's changes.
    pub fn is_streaming(&self) -> bool {
        self.role.as_deref() == Some("replica") && self.replication.as_deref() == Some("streaming")
    }

    pub(super) fn learn(&mut self, status: u16, body: &Value) {
        let text = |key: &str| body[key].as_str().map(str::to_owned);
        self.primary_status = Some(status);
        self.role = text("role");
        self.state = text("state");
        self.timeline = body["timeline"].as_u64();
        self.replication = text("replication_state");
        self.pause = body["pause"] == true;
    }
}

/// The line above rows of [`MemberState`].
pub fn table_header() -> String {
    format!("{:<7} {:<5} {:<12} {:<9} {:<14} {:>8}", "MEMBER", "SITE", "ADDRESS", "ROLE", "STATE", "TIMELINE")
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match (self.patroni, self.frozen) {
            (Power::Off, _) => "off",
            (Power::On, true) => "frozen",
            (Power::On, false) => self.replication.as_deref().or(self.state.as_deref()).unwrap_or("no answer"),
        };
        write!(
            f,
            "{:<7} {:<5} {:<12} {:<9} {state:<14} {:>8}{}",
            self.name,
            self.site.to_string(),
            self.address.to_string(),
            self.role.as_deref().unwrap_or("-"),
            self.timeline.map_or("-".to_owned(), |timeline| timeline.to_string()),
            if self.pause { "  (paused)" } else { "" }
        )
    }
}

/// Sends one request to the member's Patroni; returns the status and the body.
pub(super) fn ask(
    host: &Host,
    method: &str,
    path: &str,
    body: Option<&Value>,
    timeout: Duration,
) -> Result<(u16, String)> {
    let address = SocketAddr::from((host.address, BEHIND_PORT));
    request(host, address, method, path, body, timeout)
        .with_context(|| format!("Patroni of {} gave no answer to {method} http://{address}{path}", host.name))
}

/// Whether the member's store has found the others and agreed on what they speak. Patroni that meets it before that
/// waits for 5 s.
pub(super) fn store_is_ready(host: &Host) -> bool {
    let address = SocketAddr::from((host.address, STORE_CLIENT_PORT));
    let answer = request(host, address, "GET", "/version", None, HEALTH_TIMEOUT);
    answer.is_ok_and(|(status, body)| status == 200 && !body.contains("not_decided"))
}

pub(super) fn request(
    host: &Host,
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
    timeout: Duration,
) -> Result<(u16, String)> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    parse(&exchange(&host.netns, address, request, timeout)?)
}

fn parse(answer: &str) -> Result<(u16, String)> {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else { bail!("this is not HTTP: {answer:?}") };
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    Ok((status.with_context(|| format!("no status in {head:?}"))?, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = "HTTP/1.0 503 Service Unavailable\r\nServer: x\r\n\r\n{\"role\": \"replica\"}";
        assert_eq!(parse(answer).unwrap(), (503, "{\"role\": \"replica\"}".to_owned()));
        assert!(parse("nonsense").is_err());
    }

    #[test]
    fn only_a_running_promoted_lock_holder_is_the_primary() {
        let mut member = MemberState {
            name: "pg1".into(),
            site: Site::Dc1,
            address: Site::Dc1.host(5),
            patroni: Power::On,
            frozen: false,
            postgres: Power::On,
            primary_status: None,
            role: None,
            state: None,
            timeline: None,
            replication: None,
            pause: false,
        };
        assert!(!member.is_primary());
        let body = |role, state| serde_json::json!({"role": role, "state": state, "timeline": 2});
        for (status, role, state, expected) in [
            (200, "primary", "running", true),
            (200, "replica", "running", false),
            (200, "primary", "stopping", false),
            (503, "primary", "running", false),
        ] {
            member.learn(status, &body(role, state));
            assert_eq!(member.is_primary(), expected, "{status} {role} {state}");
        }
    }
}
