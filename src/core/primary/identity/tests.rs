//! Whose answers they are, story by story.

mod properties;

use super::*;
use crate::core::primary::{Belief, MemberBody, Primary, PrimaryTracker};

const LB: &str = "http://lb:8008";
const STEP: Duration = Duration::from_secs(1);

fn stated(name: &str) -> String {
    format!("http://10.0.0.{}:8008", name.trim_start_matches("pg"))
}

/// `"200/a1/primary/3@100"`: PostgreSQL a1 on timeline 3, at 100 bytes of its log. `"503/-"`: none runs. `"-"`: silence.
fn answer(said: &str) -> Answer {
    let (said, position) = said.split_once('@').map_or((said, None), |(said, bytes)| (said, bytes.parse().ok()));
    let words: Vec<&str> = said.split('/').collect();
    let body = match words[..] {
        ["-"] => return Answer::Unreachable { error: "refused".to_owned() },
        [_, "-"] => MemberBody { state: "stopping".to_owned(), role: "master".to_owned(), ..MemberBody::default() },
        [_, started, role, timeline] => MemberBody {
            state: "running".to_owned(),
            role: role.to_owned(),
            timeline: timeline.parse().ok(),
            system_identifier: Some("77".to_owned()),
            // `?`: it doesn't say when it started.
            started: Some(started.to_owned()).filter(|started| started != "?"),
            position,
            ..MemberBody::default()
        },
        _ => panic!("{said}"),
    };
    Answer::Http { status: words[0].parse().unwrap(), body }
}

fn list(identities: &mut Identities, names: &str, leader: Option<&str>, now: Instant) {
    let members: Vec<(&str, String)> = names.split(',').map(|name| (name, stated(name))).collect();
    let members = members.iter().map(|(name, url)| (*name, Some(url.as_str())));
    identities.listed(members, leader, now, now);
}

fn shown(who: Who) -> String {
    match who {
        Who::Member(name) => name,
        Who::OneOf(names) if names.is_empty() => "?".to_owned(),
        Who::OneOf(names) => format!("{}?", names.join("|")),
        Who::Stranger => "stranger".to_owned(),
    }
}

/// One step a second: `"pg1=200/a1/primary/1 lb=503/b1/replica/1"`, `"list pg1,pg2"`, `"list pg1,pg2 led pg1"`. A name stands
/// for the URL that it states, `lb` for one that nobody states, and so does any other word. What is expected after it is who
/// answers there: at `lb`, or as `other:pg1`.
fn tell(what: &str, story: &[(&str, &str)]) {
    told_to(Identities::default(), what, story);
}

/// The same, as long ago that answers hold and nothing is contradicted yet.
fn tell_either(what: &str, story: &[(&str, &str)]) {
    tell(what, story);
    told_to(Identities::lasting(100 * STEP), what, story);
}

fn told_to(mut identities: Identities, what: &str, story: &[(&str, &str)]) {
    let mut now = Instant::now();
    {
        for (step, (said, expected)) in story.iter().enumerate() {
            now += STEP;
            match said.strip_prefix("list ").map(|list| list.split_once(" led ").unwrap_or((list, ""))) {
                Some((names, leader)) => list(&mut identities, names, Some(leader).filter(|it| !it.is_empty()), now),
                None => {
                    for word in said.split_whitespace() {
                        let (place, said) = word.split_once('=').unwrap();
                        let url = if place.starts_with("pg") { stated(place) } else { format!("http://{place}:8008") };
                        identities.heard(&url, &answer(said), now, now);
                    }
                }
            }
            for expected in expected.split_whitespace() {
                let (place, expected) = expected.split_once(':').unwrap_or(("lb", expected));
                let who = identities.who(&format!("http://{place}:8008"), now);
                assert_eq!(shown(who), expected, "{what}, step {step}: {said}");
            }
        }
    }
}

#[test]
fn the_same_postgresql_is_the_same_member() {
    tell_either(
        "found out as soon as the member answers for itself",
        &[
            ("lb=200/a1/primary/1", "?"),
            ("list pg1,pg2", "pg1|pg2?"),
            ("pg2=503/b1/replica/1", "pg1|pg2?"),
            ("pg1=200/a1/primary/1", "pg1"),
            ("lb=200/a1/primary/1", "pg1"),
        ],
    );
    tell_either(
        "in any order",
        &[("list pg1,pg2", ""), ("pg1=200/a1/primary/1 pg2=503/b1/replica/1", ""), ("lb=503/b1/replica/1", "pg2")],
    );
    tell_either(
        "a URL that leads now to one and now to another",
        &[
            ("list pg1,pg2", ""),
            ("pg1=200/a1/primary/1 pg2=503/b1/replica/1 lb=200/a1/primary/1", "pg1"),
            ("lb=503/b1/replica/1", "pg2"),
            ("lb=200/a1/primary/1", "pg1"),
            // Whose PostgreSQL it is that stops nobody knows.
            ("lb=503/-", "pg1|pg2?"),
            ("pg1=503/- pg2=200/b1/primary/2 lb=200/b1/primary/2", "pg2"),
        ],
    );
    tell_either(
        "two URLs of one member",
        &[("list pg1,pg2", ""), ("lb=200/a1/primary/1 other=200/a1/primary/1 pg1=200/a1/primary/1", "pg1 other:pg1")],
    );
    tell_either(
        "members whose addresses lead to one and the same aren't told apart by it",
        &[("list pg1,pg2", ""), ("pg1=200/a1/primary/1 pg2=200/a1/primary/1 lb=200/a1/primary/1", "pg1|pg2?")],
    );
}

#[test]
fn a_member_stays_who_it_is_in_silence_and_when_it_is_started_anew() {
    let known = [("list pg1,pg2", ""), ("pg1=200/a1/primary/1 pg2=503/b1/replica/1 lb=200/a1/primary/1", "pg1")];
    let after = |story: &[(&'static str, &'static str)]| [&known[..], story].concat();
    tell_either(
        "stopping, and who answers for itself speaks for itself",
        &after(&[("lb=200/-", "pg1|pg2?"), ("pg1=200/-", "pg1|pg2?"), ("pg1=-", "pg1"), ("lb=503/-", "pg1")]),
    );
    tell_either(
        "silent, both of them",
        &after(&[("lb=-", ""), ("pg1=-", ""), ("lb=-", ""), ("lb=503/-", "pg1"), ("lb=200/a1/primary/1", "pg1")]),
    );
    tell_either(
        "heard as started anew first at the one and then at the other",
        &after(&[
            ("lb=200/a2/primary/2", "pg1|pg2?"),
            ("pg1=200/a2/primary/2", "pg1"),
            ("pg1=200/a3/primary/3 lb=200/a2/primary/2", "pg1"),
        ]),
    );
    tell(
        "its own address doesn't answer any more, and it can be no other",
        &after(&[
            ("pg1=-", ""),
            ("lb=503/-", "pg1"),
            ("lb=200/a2/primary/2", "pg1|pg2?"),
            ("pg2=503/b1/replica/2", "pg1"),
            ("lb=200/a2/primary/2", "pg1"),
        ]),
    );
}

#[test]
fn whoever_is_contradicted_is_not_that_member() {
    let known = [("list pg1,pg2", ""), ("pg1=200/a1/primary/1 pg2=503/b1/replica/1 lb=200/a1/primary/1", "pg1")];
    let after = |story: &[(&'static str, &'static str)]| [&known[..], story].concat();
    tell(
        "another PostgreSQL beside both",
        &after(&[
            ("lb=200/c1/primary/1", "pg1|pg2?"),
            ("pg1=200/a1/primary/1 lb=200/c1/primary/1", "pg2?"),
            ("pg2=503/b1/replica/1 lb=200/c1/primary/1", "stranger"),
            ("pg1=- pg2=-", "stranger"),
            ("lb=200/c1/primary/2", "stranger"),
        ]),
    );
    tell(
        "one of which it isn't said when it started",
        &[
            ("list pg1,pg2", ""),
            ("pg1=503/?/replica/3 pg2=503/?/replica/3 lb=200/?/primary/3", "pg1|pg2?"),
            ("pg1=503/?/replica/3 lb=200/?/primary/3", "pg2?"),
            ("pg2=503/?/replica/3 lb=200/?/primary/3", "stranger"),
        ],
    );
    tell(
        "a URL that leads to another PostgreSQL now, which says what the one before did",
        &[
            ("list pg1,pg2,pg3", ""),
            ("lb=503/c1/replica/1 pg3=503/c1/replica/1", "pg3"),
            ("pg1=503/a1/primary/1", "pg3"),
            ("pg1=503/-", "pg3"),
            ("pg3=-", "pg3"),
            ("pg2=200/b1/primary/2", "pg3"),
            // It is pg1, started anew.
            ("lb=503/a2/replica/1", "pg1|pg2|pg3?"),
            ("pg2=200/b1/primary/2", "pg1|pg3?"),
        ],
    );
    told_to(
        Identities::lasting(STEP / 2),
        "what holds contradicts, too",
        &after(&[("lb=200/c1/primary/1", "pg1|pg2?"), ("lb=-", ""), ("lb=200/c1/primary/1", "stranger")]),
    );
    tell(
        "a copy that was resumed from an image of the memory, and writes for itself",
        &after(&[
            ("pg1=200/a1/primary/1@900 lb=200/a1/primary/1@500", "pg1"),
            ("pg1=200/a1/primary/1@990 lb=200/a1/primary/1@510", "stranger"),
            ("lb=200/a1/primary/1@2000", "stranger"),
        ]),
    );
    tell(
        "a kept answer that is repeated is the member's own, and old",
        &after(&[
            ("pg1=200/a1/primary/1@900 lb=200/a1/primary/1@500", "pg1"),
            ("pg1=200/a1/primary/1@990 lb=200/a1/primary/1@500", "pg1"),
            ("pg1=503/a2/replica/1 lb=200/a1/primary/1@500", "pg1"),
        ]),
    );
}

#[test]
fn who_holds_the_lock_all_the_while_is_the_leader_on_the_list() {
    tell(
        "addresses that only a forwarder reaches",
        &[
            ("lb=200/a1/primary/1", "?"),
            ("pg1=- pg2=- list=-", "?"),
            ("list pg1,pg2 led pg1", "pg1|pg2?"),
            ("lb=200/a1/primary/1", "pg1"),
            ("lb=200/b1/primary/2", "pg1|pg2?"),
            ("list pg1,pg2 led pg2", "pg1|pg2?"),
            ("lb=200/b1/primary/2", "pg2"),
            ("lb=503/a1/replica/2", "pg1"),
        ],
    );
    tell(
        "not while the leader answers for itself",
        &[
            ("lb=200/a1/primary/1 pg1=503/-", "?"),
            ("list pg1,pg2 led pg1", "pg1|pg2?"),
            ("lb=200/a1/primary/1 pg1=503/-", "pg1|pg2?"),
        ],
    );
    tell(
        "nor where two hold it",
        &[
            ("lb=200/a1/primary/1 other=200/b1/primary/1", "?"),
            ("list pg1,pg2 led pg1", "pg1|pg2? other:pg1|pg2?"),
            ("lb=200/a1/primary/1 other=200/b1/primary/1", "pg1|pg2? other:pg1|pg2?"),
        ],
    );
}

#[test]
fn without_a_list_each_is_waited_for_a_moment_and_then_stands_for_itself() {
    tell(
        "no list ever comes",
        &[
            ("lb=200/a1/primary/1", "?"),
            ("lb=200/a1/primary/1", "?"),
            ("", "?"),
            ("", "stranger"),
            ("list pg1", "pg1?"),
        ],
    );
}

#[test]
fn whoever_was_believed_under_an_address_is_believed_under_its_name() {
    let claim = |name: &str, timeline| Primary { name: name.to_owned(), timeline };
    let belief = Belief {
        primary: Some(LB.to_owned()),
        timeline: Some(2),
        highest_timeline: Some(2),
        system_identifier: Some("77".to_owned()),
        epoch: 3,
        contested: BTreeSet::from([claim(LB, 2), claim("pg1", 2)]),
        dismissed: BTreeSet::from([claim(LB, 1)]),
    };
    let alias = |timeline| BTreeMap::from([(LB.to_owned(), Alias { name: "pg1".to_owned(), timeline })]);
    let after = |timeline| {
        let now = Instant::now();
        let mut tracker = PrimaryTracker::new(belief.clone(), Duration::from_secs(5));
        tracker.rename(&alias(timeline));
        tracker.observe(&BTreeMap::new(), now).belief()
    };
    let renamed = Belief {
        primary: Some("pg1".to_owned()),
        contested: BTreeSet::from([claim("pg1", 2)]),
        dismissed: BTreeSet::from([claim(LB, 1)]),
        ..belief.clone()
    };
    assert_eq!(after(Some(2)), renamed);
    assert_eq!(after(None), Belief { dismissed: BTreeSet::from([claim("pg1", 1)]), ..renamed });
    assert_eq!(after(Some(3)), belief, "who is there now may be another one");
}
