//! Tables of what must follow from which answers.

mod documented;
mod liars;
pub(super) mod properties;
mod split;
mod timeless;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Answer, Belief, Claim, Claimed, MemberBody, Observation, PrimaryTracker, PrimaryView};

const MAX_AGE: Duration = Duration::from_secs(5);

/// `"pg1=200/running/primary/3+pause pg2=refused"`: one look. Flags follow a `+`: `unlocked`, `failsafe`, `pause`,
/// `id:X` (system identifier), `seen:N` (`dcs_last_seen`), `maybe:X,Y` (it may be one of these members). `"db1=writable db2=read_only"` is one of a database without
/// timelines.
pub(super) fn look(text: &str, at: Instant) -> BTreeMap<String, Observation> {
    text.split_whitespace()
        .map(|word| {
            let (name, said) = word.split_once('=').unwrap();
            (name.to_owned(), Observation { answer: answer(name, said), at })
        })
        .collect()
}

fn answer(name: &str, said: &str) -> Answer {
    let mut flags = said.split('+');
    let parts: Vec<_> = flags.next().unwrap().split('/').collect();
    let seen = |claim| {
        Answer::Seen(Claimed { claim, because: "it takes writes".to_owned(), system_identifier: None, pause: false })
    };
    let (status, state, role, timeline) = match parts[..] {
        ["pending"] => return Answer::Pending,
        ["writable"] => return seen(Claim::Primary { timeline: 0 }),
        ["read_only"] => return seen(Claim::Follower),
        ["outvoted"] => return seen(Claim::Stale { timeline: None }),
        ["troubled"] => return seen(Claim::Troubled),
        [error] => return Answer::Unreachable { error: error.to_owned() },
        [status, state, role] => (status, state, role, None),
        [status, state, role, timeline] => (status, state, role, Some(timeline.parse().unwrap())),
        _ => panic!("{said}"),
    };
    let mut might_be = None;
    let mut body = MemberBody {
        // A member that doesn't say its name is known by its address.
        name: (!name.contains("://")).then(|| name.to_owned()),
        // Words of a state have blanks between them, and so have members.
        state: state.replace('_', " "),
        role: role.to_owned(),
        timeline,
        system_identifier: Some("1".to_owned()),
        ..MemberBody::default()
    };
    for flag in flags {
        match flag.split_once(':').unwrap_or((flag, "")) {
            ("unlocked", _) => body.cluster_unlocked = true,
            ("failsafe", _) => body.failsafe = true,
            ("pause", _) => body.pause = true,
            ("id", id) => body.system_identifier = Some(id.to_owned()),
            ("maybe", names) => {
                might_be = Some(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect());
            }
            ("seen", s) => body.dcs_last_seen_s = Some(s.parse().unwrap()),
            _ => panic!("{flag}"),
        }
    }
    let answer = Answer::Http { status: status.parse().unwrap(), body };
    match might_be {
        Some(might_be) => answer.without_name(might_be),
        None => answer,
    }
}

/// `"Known pg2@3 e2 [pause]"`, as one line.
pub(super) fn shown(view: &PrimaryView) -> String {
    use super::PrimaryState::{Degraded, Known, Promoting, SplitBrain, Unknown};
    let who = match &view.state {
        Known(p) => format!(" {}@{}", p.name, p.timeline),
        Promoting { member } | Degraded { member } => format!(" {member}"),
        SplitBrain(claimants) => {
            claimants.iter().map(|p| format!(" {}@{}", p.name, p.timeline)).collect::<Vec<_>>().join("")
        }
        Unknown => String::new(),
    };
    let frozen: Vec<_> = view.frozen.iter().map(super::FrozenReason::name).collect();
    let frozen = if frozen.is_empty() { String::new() } else { format!(" [{}]", frozen.join(",")) };
    format!("{}{who} e{}{frozen}", view.state.name(), view.epoch)
}

pub(super) fn belief(primary: &str, timeline: u64) -> Belief {
    Belief {
        primary: Some(primary.to_owned()),
        timeline: Some(timeline),
        highest_timeline: Some(timeline),
        system_identifier: Some("1".to_owned()),
        epoch: 1,
        ..Belief::default()
    }
}

/// A story: one look a second, each with what must be believed after it.
pub(super) fn tell(what: &str, start: Belief, story: &[(&str, &str)]) -> PrimaryView {
    let mut now = Instant::now();
    let mut tracker = PrimaryTracker::new(start, MAX_AGE);
    let mut view = None;
    for (step, (said, expected)) in story.iter().enumerate() {
        now += Duration::from_secs(1);
        if let Some(word) = said.strip_prefix("accept ") {
            // `accept pg2`: now. `accept pg2 e1`: given in another epoch.
            let (member, epoch) = word.split_once(" e").unwrap_or((word, ""));
            let current = view.as_ref().map_or(0, |view: &PrimaryView| view.epoch);
            tracker.accept(member.to_owned(), epoch.parse().unwrap_or(current));
            continue;
        }
        if *said == "withdraw" {
            tracker.withdraw();
            continue;
        }
        if *said == "restart" {
            let belief = view.as_ref().map(PrimaryView::belief).unwrap_or_default();
            tracker = PrimaryTracker::new(belief, MAX_AGE);
            continue;
        }
        let next = tracker.observe(&look(said, now), now);
        assert_eq!(shown(&next), *expected, "{what}, step {step}: {said}: {}", next.why);
        view = Some(next);
    }
    view.unwrap()
}

pub(super) const NOBODY: Belief = Belief {
    primary: None,
    timeline: None,
    highest_timeline: None,
    system_identifier: None,
    epoch: 0,
    contested: std::collections::BTreeSet::new(),
    dismissed: std::collections::BTreeSet::new(),
};

#[test]
fn the_first_primary() {
    tell("nobody to ask", NOBODY, &[("", "Unknown e0")]);
    tell("nobody answers", NOBODY, &[("pg1=refused pg2=refused", "Unknown e0")]);
    tell("one answers as primary", NOBODY, &[("pg1=200/running/primary/1", "Known pg1@1 e1")]);
    tell(
        "the first belief waits for everybody's first word",
        NOBODY,
        &[
            ("pg1=200/running/primary/1 pg2=pending", "Unknown e0"),
            ("pg1=503/running/replica/2 pg2=200/running/primary/2", "Known pg2@2 e1"),
        ],
    );
    tell(
        "a restarted controller doesn't wait",
        belief("pg1", 1),
        &[("pg1=200/running/primary/1 pg2=pending", "Known pg1@1 e1")],
    );
    tell("a standby cluster has none", NOBODY, &[("pg1=503/running/standby_leader/1", "Unknown e0")]);
    tell(
        "until it is promoted",
        NOBODY,
        &[
            ("pg1=503/running/standby_leader/1 pg2=503/running/replica/1", "Unknown e0"),
            ("pg1=200/running/standby_leader/1 pg2=503/running/replica/1", "Promoting pg1 e0"),
            ("pg1=200/running/replica/1 pg2=503/running/replica/1", "Promoting pg1 e0"),
            ("pg1=200/running/primary/2 pg2=503/running/replica/1", "Known pg1@2 e1"),
        ],
    );
    tell(
        "a cluster that is made a standby cluster, and promoted again elsewhere",
        belief("pg1", 3),
        &[
            ("pg1=503/running/standby_leader/3 pg2=503/running/replica/3", "Unknown e1"),
            ("pg1=503/running/replica/3 pg2=503/running/standby_leader/3", "Unknown e1"),
            ("pg1=503/running/replica/3 pg2=200/running/primary/4", "Known pg2@4 e2"),
        ],
    );
}

#[test]
fn a_primary_that_moves_is_followed_once() {
    tell(
        "switchover",
        belief("pg1", 1),
        &[
            ("pg1=200/running/primary/1 pg2=503/running/replica/1", "Known pg1@1 e1"),
            ("pg1=200/stopping/primary pg2=503/running/replica/1", "Degraded pg1 e1"),
            ("pg1=503/stopping/demoted+unlocked pg2=503/running/replica/1+unlocked", "Unknown e1 [cluster_unlocked]"),
            ("pg1=503/stopped/demoted pg2=200/running/replica/1", "Promoting pg2 e1"),
            ("pg1=503/stopped/demoted pg2=200/running/primary/2", "Known pg2@2 e2"),
            ("pg1=503/running/replica/2 pg2=200/running/primary/2", "Known pg2@2 e2"),
        ],
    );
    tell(
        "the lock changed hands, the old primary's answer is the older one",
        belief("pg1", 1),
        &[("pg1=200/running/primary/1 pg2=200/running/replica/1", "Promoting pg2 e1")],
    );
    tell(
        "an old answer about a promotion that failed",
        belief("pg1", 3),
        &[("pg1=200/running/primary/3 pg2=200/running/replica/2", "Known pg1@3 e1")],
    );
    let same_member = tell(
        "the same member on a new timeline is no move",
        belief("pg1", 1),
        &[("pg1=200/running/primary/1", "Known pg1@1 e1"), ("pg1=200/running/primary/2", "Known pg1@2 e1")],
    );
    assert_eq!(same_member.highest_timeline, Some(2));
}

#[test]
fn members_that_die_in_turn_and_come_back() {
    let view = tell(
        "three of three",
        belief("pg1", 1),
        &[
            ("pg1=200/running/primary/1 pg2=503/running/replica/1 pg3=503/running/replica/1", "Known pg1@1 e1"),
            ("pg1=refused pg2=503/running/replica/1 pg3=503/running/replica/1", "Unknown e1"),
            (
                "pg1=refused pg2=503/running/replica/1+unlocked pg3=503/running/replica/1+unlocked",
                "Unknown e1 [cluster_unlocked]",
            ),
            ("pg1=refused pg2=200/running/replica/1 pg3=503/running/replica/1", "Promoting pg2 e1"),
            ("pg1=refused pg2=200/running/primary/2 pg3=503/running/replica/1", "Known pg2@2 e2"),
            ("pg1=refused pg2=timeout pg3=503/running/replica/2", "Unknown e2"),
            ("pg1=refused pg2=refused pg3=200/running/replica/2", "Promoting pg3 e2"),
            ("pg1=refused pg2=refused pg3=200/running/primary/3", "Known pg3@3 e3"),
            ("pg1=refused pg2=refused pg3=refused", "Unknown e3"),
            // The first to come back knows least: what it writes would be lost again.
            ("pg1=503/starting/replica pg2=refused pg3=refused", "Unknown e3"),
            ("pg1=200/running/replica/1 pg2=refused pg3=refused", "Promoting pg1 e3"),
            ("pg1=200/running/primary/2 pg2=refused pg3=refused", "Unknown e3"),
            ("pg1=503/running/replica/2 pg2=refused pg3=200/starting/primary", "Degraded pg3 e3"),
            ("pg1=503/running/replica/2 pg2=refused pg3=200/running/primary/3", "Known pg3@3 e3"),
            // Rejoining members.
            ("pg1=503/starting/replica pg2=503/stopped/uninitialized pg3=200/running/primary/3", "Known pg3@3 e3"),
            ("pg1=503/running/replica/3 pg2=503/starting/primary pg3=200/running/primary/3", "Known pg3@3 e3"),
            ("pg1=503/running/replica/3 pg2=503/running/replica/3 pg3=200/running/primary/3", "Known pg3@3 e3"),
        ],
    );
    assert!(view.movement_allowed());
}

#[test]
fn a_crash_of_postgres_alone_is_no_failover() {
    let replicas = "pg2=503/running/replica/3 pg3=timeout";
    let said = ["unknown/primary", "crashed/primary", "starting/primary", "starting/primary/3"];
    let looks: Vec<_> = said.iter().map(|said| format!("pg1=200/{said} {replicas}")).collect();
    let mut story: Vec<_> = looks.iter().map(|look| (look.as_str(), "Degraded pg1 e1")).collect();
    let back = format!("pg1=200/running/primary/3 {replicas}");
    story.push((&back, "Known pg1@3 e1"));
    tell("it comes back", belief("pg1", 3), &story);
    let view = tell("no timeline", belief("pg1", 3), &[("pg1=200/running/primary", "Degraded pg1 e1")]);
    assert_eq!(view.why, "pg1 holds the leader lock, but doesn't say as a primary which timeline it writes");
}

#[test]
fn a_store_out_of_reach_of_everybody() {
    let unlocked = "Unknown e1 [cluster_unlocked]";
    tell(
        "without failsafe everybody is demoted, and another one may be primary afterwards",
        belief("pg1", 1),
        &[
            ("pg1=200/running/primary/1+seen:10 pg2=503/running/replica/1+seen:4", "Known pg1@1 e1"),
            ("pg1=200/running/primary/1+unlocked+seen:10 pg2=timeout", "Known pg1@1 e1 [cluster_unlocked]"),
            ("pg1=200/stopping/primary+unlocked+seen:10 pg2=timeout", "Degraded pg1 e1 [cluster_unlocked]"),
            ("pg1=503/running/replica/1+unlocked+seen:10 pg2=timeout", unlocked),
            ("pg1=timeout pg2=timeout", "Unknown e1"),
            ("pg1=503/running/replica/1+unlocked+seen:60 pg2=503/running/replica/1+unlocked+seen:60", unlocked),
            ("pg1=503/running/replica/1+seen:61 pg2=200/running/replica/1+seen:61", "Promoting pg2 e1"),
            ("pg1=503/running/replica/1+seen:61 pg2=200/running/primary/2+seen:61", "Known pg2@2 e2"),
        ],
    );
    tell(
        "with failsafe the primary stays, and nothing moves",
        belief("pg1", 1),
        &[
            (
                "pg1=200/running/primary/1+failsafe+unlocked pg2=503/running/replica/1+failsafe",
                "Known pg1@1 e1 [cluster_unlocked,failsafe_mode_is_active]",
            ),
            ("pg1=200/running/primary/1 pg2=503/running/replica/1", "Known pg1@1 e1"),
        ],
    );
}

#[test]
fn a_stale_primary_is_never_believed() {
    let view = tell(
        "a frozen member wakes up",
        belief("pg1", 1),
        &[
            ("pg1=timeout pg2=503/running/replica/1", "Unknown e1"),
            ("pg1=timeout pg2=200/running/primary/2", "Known pg2@2 e2"),
            ("pg1=200/running/primary/1 pg2=200/running/primary/2", "Known pg2@2 e2"),
            ("pg1=503/running/primary/1 pg2=200/running/primary/2", "Known pg2@2 e2"),
        ],
    );
    assert!(view.movement_allowed(), "the stale one is ignored");
    assert!(view.why.contains("pg1 (timeline 1) still acts as primary"), "{}", view.why);
    tell("the true one is out of sight", belief("pg2", 2), &[("pg1=200/running/primary/1 pg2=timeout", "Unknown e1")]);
    tell(
        "no lock for a moment, as in pause",
        belief("pg1", 1),
        &[
            ("pg1=503/running/primary/1+pause pg2=503/running/replica/1", "Degraded pg1 e1 [pause]"),
            ("pg1=200/running/primary/1+pause pg2=503/running/replica/1", "Known pg1@1 e1 [pause]"),
        ],
    );
}

#[test]
fn a_member_out_of_reach_proves_nothing() {
    let view = tell(
        "the primary is out of reach and comes back",
        belief("pg1", 1),
        &[
            ("pg1=200/running/primary/1 pg2=503/running/replica/1", "Known pg1@1 e1"),
            ("pg1=timeout pg2=503/running/replica/1", "Unknown e1"),
            ("pg1=200/running/primary/1 pg2=timeout", "Known pg1@1 e1"),
        ],
    );
    assert_eq!(view.last.unwrap().name, "pg1");
}

#[test]
fn who_does_not_answer_is_named_with_the_reason() {
    for (said, expected) in [
        ("pg2=503/running/replica/1", "2 of 2 members answer"),
        ("pg2=pending", "1 of 2 members answers"),
        ("pg2=refused", "1 of 2 members answers; no answer from pg2 (refused)"),
        ("pg2=refused pg3=timeout", "1 of 3 members answers; no answer from pg2 (refused), pg3 (timeout)"),
        (
            "pg2=503/running/replica/1 http://a:8008=unresolved http://b:8008=unresolved",
            "2 of 2 members answer; no answer from http://a:8008, http://b:8008 (unresolved)",
        ),
        ("http://a:8008=503/running/replica", "2 of 2 members answer"),
    ] {
        let now = Instant::now();
        let answers = look(&format!("pg1=200/running/primary/1 {said}"), now);
        let view = PrimaryTracker::new(belief("pg1", 1), MAX_AGE).observe(&answers, now);
        let known = "pg1 (timeline 1) is primary: it holds the leader lock and its PostgreSQL is running";
        assert_eq!(view.why, format!("{known}; {expected}"));
    }
}

#[test]
fn an_old_answer_is_none() {
    let start = Instant::now();
    let mut tracker = PrimaryTracker::new(belief("pg1", 1), MAX_AGE);
    let answers = look("pg1=200/running/primary/1", start);
    assert_eq!(shown(&tracker.observe(&answers, start + MAX_AGE)), "Known pg1@1 e1");
    let late = tracker.observe(&answers, start + MAX_AGE + Duration::from_millis(1));
    assert_eq!(shown(&late), "Unknown e1");
    assert_eq!(late.why, "no member answers: pg1 (its last answer is 5 s old)");
}

#[test]
fn patronis_flags_freeze_the_movement() {
    for (what, said, expected) in [
        ("failsafe", "pg1=200/running/primary/1+failsafe", "Known pg1@1 e1 [failsafe_mode_is_active]"),
        ("pause", "pg1=200/running/primary/1 pg2=503/running/replica/1+pause", "Known pg1@1 e1 [pause]"),
        (
            "unlocked, says the primary",
            "pg1=200/running/primary/1+unlocked+seen:100",
            "Known pg1@1 e1 [cluster_unlocked]",
        ),
        (
            "unlocked, says a replica that sees the store as well as the primary does",
            "pg1=200/running/primary/1+seen:100 pg2=503/running/replica/1+unlocked+seen:99",
            "Known pg1@1 e1 [cluster_unlocked]",
        ),
        (
            "unlocked, says a replica that lost sight of the store before the primary was one",
            "pg1=200/running/primary/1+seen:100 pg2=503/running/replica/1+unlocked+seen:90",
            "Known pg1@1 e1",
        ),
        (
            "unlocked, says a replica that doesn't say when it saw the store",
            "pg1=200/running/primary/1+seen:100 pg2=503/running/replica/1+unlocked",
            "Known pg1@1 e1 [cluster_unlocked]",
        ),
    ] {
        tell(what, belief("pg1", 1), &[(said, expected)]);
    }
}

#[test]
fn one_member_under_two_addresses_is_one_member() {
    let now = Instant::now();
    let mut answers = look("pg1=200/running/primary/1", now);
    let same = answers["pg1"].clone();
    answers.insert("http://10.0.0.1:8008".to_owned(), same);
    answers.insert(
        "http://10.0.0.2:8008".to_owned(),
        Observation { answer: Answer::Unreachable { error: "refused".to_owned() }, at: now },
    );
    let view = PrimaryTracker::new(NOBODY, MAX_AGE).observe(&answers, now);
    assert_eq!(shown(&view), "Known pg1@1 e1");
}

#[test]
fn the_instants_say_when_it_was_confirmed_and_since_when_it_holds() {
    let start = Instant::now();
    let at = |s| start + Duration::from_secs(s);
    let mut tracker = PrimaryTracker::new(NOBODY, MAX_AGE);
    let mut see = |said, s| {
        let view = tracker.observe(&look(said, at(s)), at(s));
        [view.confirmed_at, view.known_since, view.calm_since].map(|it| it.map(|i| (i - start).as_secs()))
    };
    assert_eq!(see("pg1=200/running/primary/1", 1), [Some(1), Some(1), Some(1)]);
    assert_eq!(see("pg1=200/crashed/primary", 2), [Some(1), None, None]);
    assert_eq!(see("pg1=200/running/primary/1", 3), [Some(1), Some(3), Some(3)]);
    assert_eq!(see("pg1=200/running/primary/1+pause", 4), [Some(1), Some(3), None]);
    assert_eq!(see("pg1=200/running/primary/2", 5), [Some(1), Some(3), Some(5)]);
    assert_eq!(see("pg1=503/running/replica/3 pg2=200/running/primary/3", 6), [Some(6), Some(6), Some(6)]);
}

#[test]
fn a_person_should_look_when_there_is_no_primary_in_order_or_nothing_may_be_moved() {
    for (answers, worries) in [
        ("pg1=200/running/primary/2 pg2=503/running/replica/2", false),
        ("pg1=503/running/replica/2 pg2=200/running/replica/2", false),
        ("pg1=200/running/primary/2+pause pg2=503/running/replica/2", true),
        ("pg1=200/running/primary/2 pg2=503/running/primary/1", true),
        ("pg1=503/running/primary/2 pg2=200/running/primary/3", false),
        ("pg1=200/running/primary/2 pg2=200/running/primary/2", true),
        ("pg1=200/crashed/primary pg2=503/running/replica/2", true),
        ("pg1=refused pg2=refused", true),
    ] {
        let now = Instant::now();
        let mut tracker = PrimaryTracker::new(belief("pg1", 2), MAX_AGE);
        let before = tracker.observe(&BTreeMap::new(), now);
        let view = tracker.observe(&look(answers, now), now);
        assert_eq!(view.worries_after(&before), worries, "{answers}: {view:?}");
    }
}
