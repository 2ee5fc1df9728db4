//! Who is asked, and who is believed to have answered.

use lab::table::check_rows;

use super::*;
use crate::{
    core::primary::MemberBody,
    discover::{MemberAnswer, described},
};

const PAUSE: Duration = Duration::from_secs(1);
const EACH: Pauses = Pauses::alike(PAUSE);
const MAX_AGE: Duration = Duration::from_secs(5);

fn answers(roster: &Roster) -> Vec<MemberAnswer> {
    roster.observations().into_iter().map(|(name, seen)| described(name, seen.answer)).collect()
}

fn member(name: &str) -> Member {
    Member { name: name.into(), host: name.into(), port: 5432, api_url: Some(url(name)) }
}

fn url(name: &str) -> String {
    format!("http://{name}:8008")
}

fn says(name: &str) -> Answer {
    Answer::Http { status: 503, body: MemberBody { name: Some(name.into()), ..MemberBody::default() } }
}

fn list(leader: &str, names: &[&str]) -> ClusterBody {
    ClusterBody {
        members: names.iter().map(|name| member(name)).collect(),
        leader: Some(leader.into()),
        ..ClusterBody::default()
    }
}

fn names(roster: &Roster) -> Vec<String> {
    roster.members().into_iter().map(|m| m.name).collect()
}

#[test]
fn one_request_at_a_time_and_a_pause_between() {
    let start = Instant::now();
    let mut roster = Roster::new([url("pg1")], vec![], Arc::default(), start);
    assert_eq!(roster.due(&EACH, start, MAX_AGE), [url("pg1")]);
    roster.asked(&url("pg1"), start);
    assert!(roster.due(&EACH, start + 3 * PAUSE, MAX_AGE).is_empty(), "in flight");
    roster.answered(&url("pg1"), says("pg1"), start + PAUSE / 2);
    assert!(roster.due(&EACH, start + PAUSE / 2, MAX_AGE).is_empty(), "too early");
    assert_eq!(roster.next_due(&EACH, start, MAX_AGE), Some(start + PAUSE));
    assert_eq!(roster.due(&EACH, start + PAUSE, MAX_AGE), [url("pg1")]);
}

#[test]
fn who_follows_is_asked_seldom_while_the_primary_says_that_it_is_one() {
    let (start, longer) = (Instant::now(), 3 * PAUSE);
    let calm = Pauses { each: PAUSE, followers: Some(("pg1".into(), longer)) };
    let others = |answer: Answer| {
        let mut roster = Roster::new([url("pg1"), url("pg2")], vec![], Arc::default(), start);
        roster.listed(list("pg1", &["pg1", "pg2"]), None, start);
        for (name, answer) in [("pg1", primary("pg1", 1)), ("pg2", answer)] {
            roster.asked(&url(name), start);
            roster.answered(&url(name), answer, start);
        }
        roster
    };
    let asked = |roster: &Roster, pauses: &Pauses, after| roster.due(pauses, start + after * PAUSE, MAX_AGE);
    let roster = others(says("pg2"));
    assert_eq!([asked(&roster, &calm, 1), asked(&roster, &calm, 2)], [[url("pg1")], [url("pg1")]]);
    assert_eq!(asked(&roster, &calm, 3), [url("pg1"), url("pg2")]);
    assert_eq!(asked(&roster, &EACH, 1), [url("pg1"), url("pg2")]);
    assert_eq!(roster.next_due(&calm, start, MAX_AGE), Some(start + PAUSE));
    let elsewhere = Pauses { followers: Some(("pg3".into(), longer)), ..calm.clone() };
    assert_eq!(asked(&roster, &elsewhere, 1), [url("pg1"), url("pg2")], "nobody has heard that pg3 is the primary");
    // Who is silent, holds the lock, too, or isn't who is asked there, is asked as ever.
    let rows = [silent(), primary("pg2", 1), says("pg1"), without_name("2026-01-01", false)];
    check_rows(rows, |answer| assert_eq!(asked(&others(answer), &calm, 1), [url("pg1"), url("pg2")]));
    let mut roster = others(says("pg2"));
    roster.answered(&url("pg1"), says("pg1"), start);
    assert_eq!(asked(&roster, &calm, 1), [url("pg1"), url("pg2")], "it is none any more");
}

#[test]
fn an_answer_repeats_the_last_one_if_nothing_is_decided_by_what_is_new_in_it() {
    let now = Instant::now();
    let mut roster = Roster::new([url("pg1"), url("pg2")], vec![], Arc::default(), now);
    roster.listed(list("pg1", &["pg1", "pg2"]), None, now);
    let body = MemberBody { name: Some("pg1".into()), timeline: Some(3), position: Some(7), ..MemberBody::default() };
    let http = |status, body: &MemberBody| Answer::Http { status, body: body.clone() };
    assert!(!roster.repeats(&url("pg1"), &http(200, &body)), "it is the first one");
    roster.answered(&url("pg1"), http(200, &body), now);
    let later = MemberBody { position: Some(8), dcs_last_seen_s: Some(1), ..body.clone() };
    let rows = [
        (http(200, &body), true),
        (http(200, &later), true),
        (http(503, &later), false),
        (http(200, &MemberBody { timeline: Some(4), ..body.clone() }), false),
        (http(200, &MemberBody { pause: true, ..body.clone() }), false),
        (http(200, &MemberBody { cluster_unlocked: true, ..body.clone() }), false),
        (http(200, &MemberBody { name: Some("pg2".into()), ..body.clone() }), false),
        (silent(), false),
    ];
    check_rows(rows, |(answer, expected)| assert_eq!(roster.repeats(&url("pg1"), &answer), expected, "{answer:?}"));
    assert!(!roster.repeats("http://elsewhere:8008", &http(200, &body)));
    roster.answered(&url("pg2"), silent(), now);
    assert!(roster.repeats(&url("pg2"), &silent()));
}

#[test]
fn while_somebodys_name_is_not_known_every_answer_may_tell_it() {
    let now = Instant::now();
    let mut roster = Roster::new([url("pg1"), "http://vip:8008".into()], vec![], Arc::default(), now);
    roster.answered(&url("pg1"), says("pg1"), now);
    assert!(roster.repeats(&url("pg1"), &says("pg1")));
    roster.answered("http://vip:8008", without_name("2026-01-01", true), now);
    assert!(!roster.repeats(&url("pg1"), &says("pg1")));
}

#[test]
fn members_are_followed_as_they_change() {
    let now = Instant::now();
    let mut roster = Roster::new([url("pg1")], vec![], Arc::default(), now);
    roster.listed(list("pg1", &["pg1", "pg2", "pg3"]), None, now);
    assert_eq!(names(&roster), ["pg1", "pg2", "pg3"]);
    roster.listed(ClusterBody::default(), Some("pg1"), now);
    roster.listed(list("pg9", &["pg1"]), Some("pg1"), now);
    roster.listed(list("pg1", &["pg1"]), None, now);
    roster.listed(list("pg1", &["pg1", "pg3"]), Some("pg1"), now);
    assert_eq!(names(&roster), ["pg1", "pg2", "pg3"], "one list is not enough, nor one that names no known primary");
    roster.listed(list("pg1", &["pg1", "pg3"]), Some("pg1"), now + GONE_AFTER / 2);
    assert_eq!(names(&roster), ["pg1", "pg2", "pg3"], "for a moment, while members register anew");
    let now = now + GONE_AFTER;
    roster.listed(list("pg1", &["pg1", "pg3", "pg4"]), Some("pg1"), now);
    assert_eq!(names(&roster), ["pg1", "pg3", "pg4"]);
    assert_eq!(roster.due(&EACH, now, MAX_AGE), [url("pg1"), url("pg3"), url("pg4")]);
}

#[test]
fn a_member_that_moves_to_another_address_is_asked_there() {
    let now = Instant::now();
    let mut roster = Roster::new([], vec![member("pg1")], Arc::default(), now);
    let moved = Member { api_url: Some(url("new")), host: "new".into(), ..member("pg1") };
    roster.listed(ClusterBody { members: vec![moved.clone()], leader: None, ..ClusterBody::default() }, None, now);
    assert_eq!(roster.members(), [moved]);
    assert_eq!(roster.due(&EACH, now, MAX_AGE), [url("new")]);
}

#[test]
fn a_second_address_is_asked_only_while_the_stated_one_is_silent() {
    let now = Instant::now();
    let mut roster = Roster::new([url("alias")], vec![], Arc::default(), now);
    assert!(roster.answered(&url("alias"), says("pg1"), now), "not on a list yet");
    roster.listed(list("pg1", &["pg1"]), None, now);
    assert_eq!(roster.due(&EACH, now, MAX_AGE), [url("alias"), url("pg1")]);
    assert!(!roster.answered(&url("pg1"), says("pg1"), now));
    assert_eq!(roster.due(&EACH, now, MAX_AGE), [url("pg1")]);
    assert_eq!(roster.observations().keys().collect::<Vec<_>>(), ["pg1"]);
    let nameless = Answer::Http { status: 200, body: MemberBody { state: "unknown".into(), ..MemberBody::default() } };
    let now = now + PAUSE;
    roster.answered(&url("pg1"), nameless, now);
    assert_eq!(said(&roster), "pg1=200");
    assert_eq!(roster.due(&EACH, now, MAX_AGE), [url("pg1")], "it leaves its name out, and is who it was");
    roster.answered(&url("pg1"), silent(), now);
    assert_eq!(roster.due(&EACH, now, MAX_AGE), [url("alias"), url("pg1")]);
}

#[test]
fn nobody_is_woken_for_an_address_that_is_not_asked() {
    let start = Instant::now();
    let mut roster = Roster::new([url("alias")], vec![member("pg1")], Arc::default(), start);
    for (name, at) in [("alias", start), ("pg1", start + PAUSE)] {
        roster.asked(&url(name), at);
        roster.answered(&url(name), says("pg1"), at);
    }
    let next = |now| roster.next_due(&EACH, now, MAX_AGE).map(|at| at - start);
    assert_eq!(next(start + PAUSE), Some(2 * PAUSE));
    assert_eq!(next(start + PAUSE + 2 * MAX_AGE), Some(PAUSE), "pg1 gives no answer where it is asked");
}

/// What is known of everybody, as `pg1=503 pg2=refused`.
fn said(roster: &Roster) -> String {
    let said = answers(roster).into_iter().map(|answer| {
        let what = answer.status.map_or_else(|| answer.error.unwrap_or_default(), |status| status.to_string());
        format!("{}={what}", answer.name)
    });
    said.collect::<Vec<_>>().join(" ")
}

fn silent() -> Answer {
    Answer::Unreachable { error: "refused".into() }
}

fn primary(name: &str, timeline: u64) -> Answer {
    let body = MemberBody { name: Some(name.into()), timeline: Some(timeline), ..MemberBody::default() };
    Answer::Http { status: 200, body }
}

#[test]
fn an_empty_list_and_one_that_lacks_most_for_a_moment_change_nothing() {
    let now = Instant::now();
    let mut roster = Roster::new([url("pg1")], vec![], Arc::default(), now);
    roster.listed(list("pg1", &["pg1", "pg2", "pg3"]), None, now);
    for second in 1..60 {
        let names = if second % 2 == 0 { &["pg1"][..] } else { &[] };
        roster.listed(list("pg1", names), Some("pg1"), now + Duration::from_secs(second));
    }
    assert_eq!(names(&roster), ["pg1", "pg2", "pg3"]);
    roster.listed(list("pg1", &["pg1", "pg2", "pg3"]), Some("pg1"), now + GONE_AFTER);
    roster.listed(list("pg1", &["pg1"]), Some("pg1"), now + GONE_AFTER + PAUSE);
    assert_eq!(names(&roster), ["pg1", "pg2", "pg3"], "they were seen in between");
}

#[test]
fn a_member_that_takes_anothers_name_is_asked_and_measured_where_it_is() {
    let now = Instant::now();
    let mut roster = Roster::new([url("pg1")], vec![], Arc::default(), now);
    roster.listed(list("pg1", &["pg1", "pg2"]), None, now);
    roster.answered(&url("pg1"), primary("pg1", 7), now);
    roster.answered(&url("pg2"), says("pg2"), now);
    // The machine is gone, and a new one has its name, another address, and a timeline of its own.
    let new = Member { api_url: Some(url("new")), host: "fd00::1".into(), ..member("pg1") };
    roster.answered(&url("pg1"), silent(), now + PAUSE);
    roster.listed(
        ClusterBody { members: vec![new.clone(), member("pg2")], leader: None, ..ClusterBody::default() },
        None,
        now + PAUSE,
    );
    assert_eq!(roster.members(), [new, member("pg2")]);
    assert_eq!(said(&roster), "pg1=no answer yet pg2=503");
    roster.answered(&url("new"), primary("pg1", 3), now + 2 * PAUSE);
    assert_eq!(said(&roster), "pg1=200 pg2=503");
    assert_eq!(answers(&roster)[0].timeline, Some(3), "what the old one said is over");
    assert_eq!(
        roster.due(&EACH, now + 3 * PAUSE, MAX_AGE),
        [url("new"), url("pg2")],
        "nobody asks the old one any more"
    );
    // The old one comes back at the URL that people wrote, and says that it is pg1. It isn't asked while the new one answers.
    roster.answered(&url("pg1"), primary("pg1", 7), now + 2 * PAUSE);
    roster.answered(&url("new"), primary("pg1", 3), now + 3 * PAUSE);
    assert_eq!(answers(&roster)[0].timeline, Some(3));
    assert_eq!(roster.due(&EACH, now + 4 * PAUSE, MAX_AGE), [url("new"), url("pg2")]);
}

#[test]
fn an_address_that_goes_to_another_member_is_that_ones() {
    let now = Instant::now();
    let mut roster = Roster::new([], vec![member("pg1"), member("pg2")], Arc::default(), now);
    roster.answered(&url("pg1"), primary("pg1", 1), now);
    roster.answered(&url("pg2"), says("pg2"), now);
    assert!(roster.answered(&url("pg1"), says("pg4"), now + PAUSE), "on no list yet");
    assert_eq!(said(&roster), "pg1=200 pg2=503 pg4=503", "what pg1 said grows old");
    roster.answered(&url("pg1"), says("pg4"), now + PAUSE + REMEMBERED_FOR);
    assert_eq!(said(&roster), format!("pg1=at its address {} pg4 answers pg2=503 pg4=503", url("pg1")));
    roster.answered(&url("pg1"), silent(), now + 2 * PAUSE + REMEMBERED_FOR);
    assert_eq!(said(&roster), "pg1=refused pg2=503", "the list says whose it is");
}

#[test]
fn several_members_behind_one_url_are_each_heard() {
    let now = Instant::now();
    let proxy = "http://proxy:8008".to_owned();
    // All of them state the proxy's URL as theirs, or only people know it: the answers are the same.
    for stated in [true, false] {
        let mut roster = Roster::new([proxy.clone()], vec![], Arc::default(), now);
        if stated {
            let behind = |name| Member { api_url: Some(proxy.clone()), ..member(name) };
            let members = ["pg1", "pg2", "pg3"].map(behind).to_vec();
            roster.listed(ClusterBody { members, leader: None, ..ClusterBody::default() }, None, now);
            assert_eq!(said(&roster), "pg1=no answer yet pg2=no answer yet pg3=no answer yet");
        }
        for (turn, name) in ["pg2", "pg1", "pg3", "pg2"].into_iter().enumerate() {
            let answer = if name == "pg1" { primary(name, 1) } else { says(name) };
            roster.answered(&proxy, answer, now + PAUSE * u32::try_from(turn).unwrap());
            assert_eq!(roster.name_of(&proxy), name);
        }
        assert_eq!(said(&roster), "pg1=200 pg2=503 pg3=503");
        assert_eq!(roster.observations()["pg1"].at, now + PAUSE, "as old as it is");
        assert_eq!(roster.due(&EACH, now + 9 * PAUSE, MAX_AGE), std::slice::from_ref(&proxy));
        // A proxy that falls silent says nothing of any one of them: what they said grows old.
        roster.answered(&proxy, silent(), now + 4 * PAUSE);
        let silence = if stated { String::new() } else { format!("{proxy}=refused ") };
        assert_eq!(said(&roster), format!("{silence}pg1=200 pg2=503 pg3=503"));
    }
    // Where each also answers at an address of its own, nobody asks the proxy.
    let mut roster = Roster::new([proxy.clone()], vec![member("pg1"), member("pg2")], Arc::default(), now);
    for name in ["pg1", "pg2"] {
        roster.answered(&proxy, says(name), now);
        roster.answered(&url(name), says(name), now);
    }
    assert_eq!(roster.due(&EACH, now + PAUSE, MAX_AGE), [url("pg1"), url("pg2")]);
    roster.answered(&url("pg2"), silent(), now);
    assert_eq!(roster.due(&EACH, now + PAUSE, MAX_AGE), [url("pg1"), url("pg2"), proxy]);
}

/// As Patroni answers before 3.2: PostgreSQL was started then.
fn without_name(started: &str, primary: bool) -> Answer {
    let body = MemberBody {
        state: "running".into(),
        role: if primary { "master" } else { "replica" }.into(),
        timeline: Some(1),
        started: Some(started.into()),
        ..MemberBody::default()
    };
    Answer::Http { status: if primary { 200 } else { 503 }, body }
}

#[test]
fn an_answer_without_a_name_is_given_one_as_soon_as_it_is_proven_and_loses_it_when_it_is_disproven() {
    let now = Instant::now();
    let mut roster = Roster::new([url("alias")], vec![], Arc::default(), now);
    assert!(roster.answered(&url("alias"), without_name("a", true), now), "a list would help");
    assert_eq!(roster.name_of(&url("alias")), url("alias"));
    roster.listed(list("pg1", &["pg1", "pg2"]), None, now);
    roster.answered(&url("pg2"), without_name("b", false), now);
    assert_eq!(said(&roster), format!("{}=200 pg1=no answer yet pg2=503", url("alias")));
    assert!(matches!(roster.observations()[&url("alias")].answer, Answer::Nameless { .. }));
    roster.answered(&url("pg1"), without_name("a", true), now);
    assert_eq!(said(&roster), "pg1=200 pg2=503");
    assert_eq!(roster.name_of(&url("alias")), "pg1");
    assert_eq!(roster.due(&EACH, now, MAX_AGE), [url("pg1"), url("pg2")], "pg1 answers where it says that it does");

    roster.answered(&url("pg1"), silent(), now + PAUSE);
    assert_eq!(roster.due(&EACH, now + PAUSE, MAX_AGE).len(), 3);
    roster.answered(&url("alias"), silent(), now + PAUSE);
    assert_eq!(said(&roster), "pg1=refused pg2=503", "silent at both, and still one");

    // Somebody else is there now, beside both.
    for second in 2..=4 {
        let at = now + second * PAUSE;
        for (url, answer) in [
            (url("alias"), without_name("c", true)),
            (url("pg1"), without_name("a", true)),
            (url("pg2"), without_name("b", false)),
        ] {
            roster.asked(&url, at);
            roster.answered(&url, answer, at + PAUSE / 2);
        }
    }
    assert_eq!(said(&roster), format!("{}=200 pg1=200 pg2=503", url("alias")));
    assert!(matches!(roster.observations()[&url("alias")].answer, Answer::Http { .. }), "its claim is its own");
    assert_eq!(roster.due(&EACH, now + 9 * PAUSE, MAX_AGE).len(), 3, "it is asked further");
}

#[test]
fn members_without_names_that_all_state_one_url_are_not_all_of_them_the_primary() {
    let now = Instant::now();
    let proxy = "http://proxy:8008".to_owned();
    let behind = |name| Member { api_url: Some(proxy.clone()), ..member(name) };
    let list = || ClusterBody {
        members: ["pg1", "pg2"].map(behind).to_vec(),
        leader: Some("pg1".into()),
        ..ClusterBody::default()
    };
    let mut roster = Roster::new([proxy.clone()], vec![], Arc::default(), now);
    roster.asked(&proxy, now);
    roster.answered(&proxy, without_name("a", true), now + PAUSE / 9);
    roster.asks_for_list(now + PAUSE / 2);
    roster.listed(list(), None, now + PAUSE);
    let nameless = format!("at its address {proxy} somebody answers without a name");
    assert_eq!(said(&roster), format!("{proxy}=200 pg1={nameless} pg2={nameless}"));
    roster.asked(&proxy, now + 2 * PAUSE);
    roster.answered(&proxy, without_name("a", true), now + 2 * PAUSE + PAUSE / 9);
    assert_eq!(said(&roster), format!("pg1=200 pg2=at its address {proxy} pg1 answers"), "it led all the while");
    roster.answered(&proxy, without_name("b", false), now + 3 * PAUSE);
    let someone = format!("at its address {proxy} somebody answers without a name");
    assert_eq!(said(&roster), format!("{proxy}=503 pg1=200 pg2={someone}"), "what pg1 said grows old");
}

#[test]
fn a_listed_member_is_asked_and_measured_only_where_it_may_be() {
    let now = Instant::now();
    let hosts = HostRules::new(["10.0.0.1".to_owned()], []);
    let mut roster = Roster::new(["http://10.0.0.1:8008".to_owned()], vec![], Arc::new(hosts), now);
    let at = |name: &str, host: &str| Member {
        name: name.into(),
        host: host.into(),
        port: 5432,
        api_url: Some(format!("http://{host}:8008")),
    };
    let members =
        vec![at("pg1", "10.0.0.1"), at("pg2", "127.0.0.1"), at("pg3", "169.254.169.254"), at("pg4", "10.0.0.4")];
    roster.listed(ClusterBody { members, leader: Some("pg1".into()), ..ClusterBody::default() }, None, now);
    let hosts: Vec<_> = roster.members().into_iter().map(|it| (it.name, it.host, it.api_url)).collect();
    let left_out = |name: &str| (name.to_owned(), String::new(), None);
    let taken = |name: &str, host: &str| (name.to_owned(), host.to_owned(), Some(format!("http://{host}:8008")));
    assert_eq!(hosts, [taken("pg1", "10.0.0.1"), left_out("pg2"), left_out("pg3"), taken("pg4", "10.0.0.4")]);
    assert_eq!(roster.due(&EACH, now, MAX_AGE), ["http://10.0.0.1:8008", "http://10.0.0.4:8008"]);
    roster.asked("http://10.0.0.4:8008", now);
    roster.answered("http://10.0.0.4:8008", says("pg4"), now);
    assert_eq!(roster.hosts().get("pg4").map(String::as_str), Some("10.0.0.4"), "who speaks from where");
    let told = roster.refused();
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(
        told[0],
        "pg2 states 127.0.0.1 as the address of its database (postgresql.connect_address), which every machine takes for \
         itself (loopback): it isn't measured; write one there that nodes and the controller reach, or name this one in \
         spec.discovery.patroni.allowedHosts"
    );
    roster.listed(
        ClusterBody {
            members: vec![at("pg2", "10.0.0.2"), at("pg3", "10.0.0.3")],
            leader: None,
            ..ClusterBody::default()
        },
        None,
        now,
    );
    assert_eq!(roster.refused(), Vec::<String>::new(), "they state others now");
}
