//! What must follow where there are no timelines: the members' words are all there is.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::{Belief, Primary, PrimaryTracker};
use super::{NOBODY, look, tell};

fn known(primary: &str) -> Belief {
    let belief = super::belief(primary, 0);
    Belief { system_identifier: None, ..belief }
}

#[test]
fn the_first_one() {
    tell("one is writable", NOBODY, &[("db1=writable db2=read_only", "Known db1@0 e1")]);
    tell("all are read-only", NOBODY, &[("db1=read_only db2=read_only", "Unknown e0")]);
    tell(
        "two are writable",
        NOBODY,
        &[
            ("db1=writable db2=writable", "SplitBrain db1@0 db2@0 e0 [split_brain]"),
            ("db1=writable db2=read_only", "Known db1@0 e1"),
        ],
    );
    tell(
        "everybody is heard first",
        NOBODY,
        &[("db1=writable db2=pending", "Unknown e0"), ("db1=writable db2=read_only", "Known db1@0 e1")],
    );
}

#[test]
fn a_switchover() {
    tell(
        "both sets of words in one look",
        known("db1"),
        &[("db1=writable db2=read_only", "Known db1@0 e1"), ("db1=read_only db2=writable", "Known db2@0 e2")],
    );
    tell(
        "a moment in which all are read-only, there and back",
        known("db1"),
        &[
            ("db1=read_only db2=read_only", "Unknown e1"),
            ("db1=read_only db2=writable", "Known db2@0 e2"),
            ("db1=read_only db2=read_only", "Unknown e2"),
            ("db1=writable db2=read_only", "Known db1@0 e3"),
        ],
    );
}

#[test]
fn a_failover() {
    let failover = [
        ("db1=writable db2=read_only", "Known db1@0 e1"),
        ("db1=refused db2=read_only", "Unknown e1"),
        ("db1=refused db2=writable", "Known db2@0 e2"),
    ];
    let comes_back = [
        ("db1=writable db2=writable", "SplitBrain db1@0 db2@0 e2 [split_brain]"),
        ("restart", ""),
        ("db1=refused db2=writable", "SplitBrain db1@0 db2@0 e2 [split_brain]"),
    ];
    let began = [&failover[..], &comes_back[..]].concat();
    tell(
        "the old one says that it is read-only",
        known("db1"),
        &[
            &began[..],
            &[("db1=read_only db2=writable", "Known db2@0 e2"), ("db1=refused db2=writable", "Known db2@0 e2")],
        ]
        .concat(),
    );
    tell(
        "the new one says so",
        known("db1"),
        &[&began[..], &[("db1=writable db2=read_only", "Known db1@0 e3")]].concat(),
    );
    tell(
        "nobody fell silent before another one was writable",
        known("db1"),
        &[
            ("db1=writable db2=writable", "SplitBrain db1@0 db2@0 e1 [split_brain]"),
            ("db1=refused db2=writable", "SplitBrain db1@0 db2@0 e1 [split_brain]"),
        ],
    );
}

#[test]
fn a_person_decides() {
    let story = [
        ("db1=writable db2=writable", "SplitBrain db1@0 db2@0 e1 [split_brain]"),
        ("accept db2", ""),
        ("db1=writable db2=writable", "Known db2@0 e2"),
        ("restart", ""),
        ("db1=writable db2=read_only", "Unknown e2"),
        ("db1=writable db2=writable", "Known db2@0 e2"),
    ];
    tell("whom they decided against stays out", known("db1"), &story);
    let later = [("db1=read_only db2=writable", "Known db2@0 e2"), ("db1=writable db2=read_only", "Known db1@0 e3")];
    tell("but it may be the primary again once it was none", known("db1"), &[&story[..], &later].concat());
}

#[test]
fn a_group_that_votes() {
    tell(
        "who lost the majority has no claim",
        known("db1"),
        &[
            ("db1=writable db2=read_only db3=read_only", "Known db1@0 e1"),
            ("db1=outvoted db2=read_only db3=read_only", "Degraded db1 e1"),
            ("db1=outvoted db2=writable db3=read_only", "Known db2@0 e2"),
        ],
    );
    tell(
        "nor has it one that was contested",
        known("db1"),
        &[
            ("db1=writable db2=writable", "SplitBrain db1@0 db2@0 e1 [split_brain]"),
            ("db1=outvoted db2=writable", "Known db2@0 e2"),
        ],
    );
    tell(
        "whoever is only in trouble keeps it",
        known("db1"),
        &[("db1=troubled db2=writable", "SplitBrain db1@0 db2@0 e1 [split_brain]")],
    );
}

#[test]
fn sentences_name_no_timeline() {
    let mut tracker = PrimaryTracker::new(known("db1"), Duration::from_secs(5));
    let now = Instant::now();
    let mut why = |said: &str| tracker.observe(&look(said, now), now).why;
    for (said, expected) in [
        ("db1=writable db2=read_only", "db1 is primary: it takes writes; 2 of 2 members answer"),
        ("db1=writable db2=writable", "split brain: db1 and db2 may each be the primary; none is believed"),
        ("db1=read_only db2=read_only", "none of the 2 members that answer is primary, of 2 known"),
        (
            "db1=outvoted db2=writable",
            "db2 is primary: it takes writes; 2 of 2 members answer; db1 may still act as primary and is not believed",
        ),
    ] {
        assert_eq!(why(said), expected, "{said}");
    }
    let primary = |timeline| Primary { name: "db1".to_owned(), timeline };
    assert_eq!((primary(0).to_string(), primary(2).to_string()), ("db1".into(), "db1 (timeline 2)".into()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn whatever_they_say_nobody_is_believed_beside_another_who_takes_writes(
        story in prop::collection::vec(
            prop::array::uniform3(prop::sample::select(vec!["writable", "read_only", "read_only", "refused"])),
            1..40,
        ),
    ) {
        let mut now = Instant::now();
        let mut tracker = PrimaryTracker::new(Belief::default(), Duration::from_secs(5));
        let (mut epoch, mut last) = (0, None);
        for words in story {
            now += Duration::from_secs(1);
            let said = format!("db1={} db2={} db3={}", words[0], words[1], words[2]);
            let view = tracker.observe(&look(&said, now), now);
            let writable: Vec<_> = (1..=3).filter(|index| words[index - 1] == "writable").collect();
            match view.known() {
                Some(primary) => {
                    prop_assert_eq!(&[primary.name.clone()][..], writable.iter().map(|it| format!("db{it}")).collect::<Vec<_>>());
                    epoch += u64::from(last.as_ref() != Some(&primary.name));
                    last = Some(primary.name.clone());
                }
                None => prop_assert!(writable.is_empty() || !view.frozen.is_empty(), "{}: {}", said, view.why),
            }
            prop_assert_eq!(view.epoch, epoch, "one change is one epoch");
            prop_assert!(!view.why.contains("timeline"));
        }
    }
}
