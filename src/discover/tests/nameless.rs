//! Discovery of a Patroni before 3.2, which leaves its name out of its answers.

use std::{sync::Arc, time::Duration};

use super::super::{
    Discovery, DiscoveryState, PatroniConfig, Restored,
    testing::{SLOW_PACE, Server, follow_by, known, places, until},
};
use crate::{
    core::primary::{Belief, Primary},
    credentials::{Access, Credentials},
};

fn follow(urls: &[String], restored: Restored) -> Discovery {
    let access = Access::fixed(Arc::new(Credentials::none(places())));
    let timeout = Duration::from_millis(300);
    let urls = urls.to_vec();
    let hosts = crate::discover::patroni::hosts_of(&urls);
    follow_by(PatroniConfig { urls, hosts, access, timeout, interval: SLOW_PACE, witness: None }, restored)
}

/// What is seen on the way, which must not be a split brain.
async fn peacefully(handle: &Discovery, what: &str, holds: impl Fn(&DiscoveryState) -> bool) -> DiscoveryState {
    until(handle, what, |state| {
        assert_ne!(state.view.state.name(), "SplitBrain", "before {what}: {}", state.view.why);
        holds(state)
    })
    .await
}

fn restored(primary: &str, contested: &[&str]) -> Restored {
    let claim = |name: &&str| Primary { name: (*name).to_owned(), timeline: 1 };
    let belief = Belief {
        primary: Some(primary.to_owned()),
        timeline: Some(1),
        highest_timeline: Some(1),
        system_identifier: Some("77".to_owned()),
        epoch: 4,
        contested: contested.iter().map(claim).collect(),
        ..Belief::default()
    };
    Restored { belief, members: Vec::new() }
}

#[tokio::test]
async fn under_host_names_each_server_is_one_member_through_a_switchover_and_a_restart() {
    let (pg1, pg2) = (Server::start().await, Server::start().await);
    let both = [("pg1", &pg1), ("pg2", &pg2)];
    pg1.is_nameless(1, "200 running master 1");
    pg2.is_nameless(2, "503 running replica 1");
    pg1.lists("pg1", &both);
    pg2.lists("pg1", &both);
    let handle = follow(&[pg1.by_name(), pg2.by_name()], Restored::default());
    let state = peacefully(&handle, "pg1 is primary", |state| known(state).is_some()).await;
    assert_eq!((known(&state), state.view.epoch), (Some(("pg1", 1)), 1));
    peacefully(&handle, "nobody is known by a URL", |state| {
        state.answers.iter().map(|answer| answer.name.as_str()).eq(["pg1", "pg2"])
    })
    .await;

    pg1.is_nameless(1, "200 stopping master");
    peacefully(&handle, "pg1 stops", |state| known(state).is_none()).await;
    pg1.is_nameless(1, "503 stopped demoted");
    pg2.is_nameless(2, "200 running master 2");
    let state = peacefully(&handle, "pg2 is primary", |state| known(state).is_some()).await;
    assert_eq!((known(&state), state.view.epoch), (Some(("pg2", 2)), 2));

    pg2.is_nameless(12, "200 running master 3");
    pg1.is_nameless(11, "503 running replica 2");
    let state = peacefully(&handle, "pg2 has come back", |state| known(state) == Some(("pg2", 3))).await;
    assert_eq!(state.view.epoch, 2);
}

#[tokio::test]
async fn a_member_that_answers_by_a_forwarder_only_is_named_by_the_list_that_it_leads() {
    let (pg1, mut unreachable) = (Server::start().await, Server::start().await);
    unreachable.url = "http://127.0.0.1:1".to_owned();
    pg1.is_nameless(1, "200 running master 1");
    pg1.lists("pg1", &[("pg1", &unreachable)]);
    let handle = follow(&[pg1.by_name()], Restored::default());
    let state = peacefully(&handle, "pg1 is primary", |state| known(state).is_some()).await;
    assert_eq!((known(&state), state.view.epoch), (Some(("pg1", 1)), 1));
}

#[tokio::test]
async fn who_was_known_by_a_url_is_known_by_name_and_a_split_brain_with_oneself_ends() {
    let pg1 = Server::start().await;
    pg1.is_nameless(1, "200 running master 1");
    pg1.lists("pg1", &[("pg1", &pg1)]);
    let url = pg1.by_name();
    let handle = follow(std::slice::from_ref(&url), restored(&url, &[&url, "pg1"]));
    let state = until(&handle, "pg1 is primary", |state| known(state).is_some()).await;
    assert_eq!((known(&state), state.view.epoch), (Some(("pg1", 1)), 4), "no change of primary");
}

#[tokio::test]
async fn two_that_are_primary_are_a_split_brain_with_a_list_and_without() {
    for listed in [true, false] {
        let (pg1, pg2) = (Server::start().await, Server::start().await);
        for (server, started) in [(&pg1, 1), (&pg2, 2)] {
            server.is_nameless(started, "200 running master 1");
            if listed {
                server.lists("pg1", &[("pg1", &pg1), ("pg2", &pg2)]);
            }
        }
        let handle = follow(&[pg1.by_name(), pg2.by_name()], Restored::default());
        let state = until(&handle, "a split brain", |state| state.view.state.name() == "SplitBrain").await;
        let names = if listed { ["pg1".to_owned(), "pg2".to_owned()] } else { [pg1.by_name(), pg2.by_name()] };
        let named = names.iter().all(|name| state.view.why.contains(&format!("{name} (timeline 1)")));
        assert!(named, "{}", state.view.why);
    }
}
