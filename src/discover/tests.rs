//! Discovery against small servers that answer as Patroni does.

mod nameless;
mod tls;

use std::sync::atomic::Ordering;

use super::{
    testing::{Reply, SLOW_PACE, Server, error_of, follow, follow_from, known, names, shortest_pause, until},
    *,
};

#[tokio::test]
async fn from_one_url_the_members_are_found_and_a_switchover_is_followed_at_a_faster_pace() {
    let (pg1, pg2) = (Server::start().await, Server::start().await);
    pg1.is("pg1", "503 running replica 1");
    pg2.is("pg2", "200 running primary 1");
    pg1.lists("pg2", &[("pg1", &pg1), ("pg2", &pg2)]);
    let handle = follow(&[&pg1]);
    let state = until(&handle, "pg2 is primary", |state| known(state) == Some(("pg2", 1))).await;
    assert_eq!(names(&state), ["pg1", "pg2"]);
    assert_eq!((&*state.members[1].host, state.members[1].port), ("pg2.db", 15432));
    assert_eq!(state.members[0].api_url.as_ref(), Some(&pg1.url));

    pg2.is("pg2", "200 stopping primary");
    until(&handle, "degraded", |state| state.view.state.name() == "Degraded").await;
    pg2.is("pg2", "503 stopped demoted");
    pg1.is("pg1", "200 running replica 1");
    until(&handle, "promoting", |state| state.view.state.name() == "Promoting").await;
    assert!(shortest_pause(&pg1).await < SLOW_PACE / 2, "looked at more often while nobody is primary");
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

#[tokio::test]
async fn what_a_dead_task_left_behind_lets_nothing_move() {
    let pg1 = Server::start().await;
    pg1.is("pg1", "200 running primary 1");
    pg1.lists("pg1", &[("pg1", &pg1)]);
    let handle = follow(&[&pg1]);
    let epoch = until(&handle, "pg1 is primary", |state| known(state).is_some()).await.view.epoch;
    assert_eq!((handle.alive(), movement_allowed(&handle.state, epoch)), (true, true));
    assert!(!movement_allowed(&handle.state, epoch + 1), "of another epoch");

    handle.task.abort();
    let mut state = handle.state.clone();
    while state.changed().await.is_ok() {}
    assert_eq!(known(&handle.state.borrow()), Some(("pg1", 1)), "it is still there to be read");
    assert_eq!((handle.alive(), movement_allowed(&handle.state, epoch)), (false, false));
}
