//! Databases that are followed as a test says.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

pub(crate) use lab::scripted::{Reply, Server};
use prometheus_client::registry::Registry;

use super::{Discovery, DiscoveryState, Metrics, PatroniConfig, Restored, Source, spawn};
use crate::credentials::{Access, Credentials, Places, Sources};

/// Between the next six requests for `/primary`.
pub(super) async fn shortest_pause(server: &Server) -> Duration {
    shortest_pause_of_five(|| server.counts.primary.load(Ordering::SeqCst)).await
}

/// Between the next six of what is `counted`. A busy machine makes pauses longer, never all of them.
pub(super) async fn shortest_pause_of_five(counted: impl Fn() -> usize) -> Duration {
    let next = async || {
        let seen = counted();
        while counted() == seen {
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

/// How often a member is looked at while the primary is known.
pub(super) const SLOW_PACE: Duration = Duration::from_secs(1);

pub(super) fn follow(servers: &[&Server]) -> Discovery {
    follow_from(servers, Restored::default())
}

pub(super) fn follow_from(servers: &[&Server], restored: Restored) -> Discovery {
    follow_with(servers, restored, Access::fixed(Arc::new(Credentials::none(places()))), Duration::from_millis(300))
}

/// Over TLS a busy machine needs more time for an answer.
pub(super) fn follow_with(servers: &[&Server], restored: Restored, access: Access, timeout: Duration) -> Discovery {
    let urls: Vec<String> = servers.iter().map(|server| server.url.clone()).collect();
    let hosts = super::patroni::hosts_of(&urls);
    follow_by(PatroniConfig { urls, hosts, access, timeout, interval: SLOW_PACE, witness: None }, restored)
}

pub(super) fn follow_by(config: PatroniConfig, restored: Restored) -> Discovery {
    spawn("orders".to_owned(), Source::Patroni(config), restored, Metrics::register(&mut Registry::default()))
}

/// Of a database that names no Secrets.
pub(super) fn places() -> Places {
    Sources { field: "spec.discovery.patroni", namespace: "switchover-system".to_owned(), ..Sources::default() }
        .places()
}

pub(super) async fn until(handle: &Discovery, what: &str, holds: impl Fn(&DiscoveryState) -> bool) -> DiscoveryState {
    let mut state = handle.state.clone();
    let waited = tokio::time::timeout(Duration::from_secs(20), state.wait_for(|state| holds(state))).await;
    match waited {
        Ok(state) => state.unwrap().clone(),
        Err(_) => panic!("never: {what}: {:?}", handle.state.borrow()),
    }
}

pub(super) fn known(state: &DiscoveryState) -> Option<(&str, u64)> {
    state.view.known().map(|primary| (primary.name.as_str(), primary.timeline))
}

pub(super) fn names(state: &DiscoveryState) -> Vec<&str> {
    state.members.iter().map(|member| member.name.as_str()).collect()
}

pub(super) fn error_of(state: &DiscoveryState, member: &str) -> Option<String> {
    state.answers.iter().find(|answer| answer.name == member).and_then(|answer| answer.error.clone())
}
