//! One machine that says whatever it likes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{super::PrimaryTracker, MAX_AGE, NOBODY, belief, look, properties::stories, shown, tell};
use crate::core::primary::{Observation, PrimaryState};

const TRUE: &str = "pg1=200/running/primary/5 pg2=503/running/replica/5";

/// The same look for so many seconds, and what is believed at each.
fn held(said: &str, seconds: usize, expected: &str) -> Vec<(String, String)> {
    vec![(said.to_owned(), expected.to_owned()); seconds]
}

fn tell_all(what: &str, start: super::Belief, parts: &[Vec<(String, String)>]) -> super::PrimaryView {
    let story: Vec<(&str, &str)> = parts.iter().flatten().map(|(said, then)| (said.as_str(), then.as_str())).collect();
    tell(what, start, &story)
}

#[test]
fn whoever_claims_a_high_timeline_takes_nothing_and_bars_nobody() {
    for timeline in [6_u64, 7, 4_294_967_295] {
        let lie = format!("{TRUE} pg3=200/running/primary/{timeline}");
        let split = format!("SplitBrain pg1@5 pg3@{timeline} e1 [split_brain]");
        let view = tell_all(
            "pg3 lies beside the true primary",
            belief("pg1", 5),
            &[
                held(&lie, 6, "Known pg1@5 e1"),
                held(&lie, 30, &split),
                held(&format!("{TRUE} pg3=503/running/replica/5"), 1, "Known pg1@5 e1"),
                held("pg1=refused pg2=200/running/primary/6 pg3=503/running/replica/6", 1, "Known pg2@6 e2"),
            ],
        );
        assert_eq!(view.highest_timeline, Some(6), "the lie was never believed");
    }
}

#[test]
fn a_leap_wants_the_word_of_a_second_member() {
    let view = tell_all(
        "the only one that answers leaps",
        belief("pg1", 5),
        &[
            held("pg1=refused pg2=refused pg3=200/running/primary/60", 20, "Unknown e1"),
            held("pg1=200/running/primary/5 pg2=refused pg3=timeout", 1, "Known pg1@5 e1"),
        ],
    );
    assert_eq!(view.highest_timeline, Some(5));
    tell_all(
        "a restore to a timeline far above, which a replica then follows",
        belief("pg1", 5),
        &[
            held("pg1=200/running/primary/60 pg2=503/stopped/uninitialized", 20, "Unknown e1"),
            held("pg1=200/running/primary/60 pg2=503/running/replica/60", 1, "Known pg1@60 e1"),
        ],
    );
    tell_all(
        "many failovers while nobody looked",
        belief("pg1", 5),
        &[held("pg1=refused pg2=200/running/primary/60 pg3=503/running/replica/59", 1, "Known pg2@60 e2")],
    );
    tell_all(
        "a failover after a promotion that failed",
        belief("pg1", 5),
        &[held("pg1=refused pg2=200/running/primary/7 pg3=503/running/replica/5", 1, "Known pg2@7 e2")],
    );
    tell_all(
        "at first what others say is all that is known",
        NOBODY,
        &[
            held("pg1=503/running/replica/5 pg3=200/running/primary/60", 6, "Unknown e0"),
            held("pg1=503/running/replica/60 pg3=200/running/primary/60", 1, "Known pg3@60 e1"),
        ],
    );
    let (two, lie) = ("pg1=200/running/primary/5 pg3=200/running/primary/7", "SplitBrain pg1@5 pg3@7 e0 [split_brain]");
    tell(
        "at first nobody is believed of two, and none that lies bars the other",
        NOBODY,
        &[(two, lie), ("pg1=200/running/primary/5 pg3=503/running/replica/5", "Known pg1@5 e1")],
    );
    tell(
        "nor while the last primary is silent, but for one that is followed",
        belief("pg1", 4),
        &[
            (
                "pg1=refused pg2=200/running/primary/5 pg3=200/running/primary/6 pg4=503/running/replica/4",
                "SplitBrain pg2@5 pg3@6 e1 [split_brain]",
            ),
            (
                "pg1=refused pg2=200/running/primary/5 pg3=200/running/primary/6 pg4=503/running/replica/5",
                "Known pg2@5 e2",
            ),
        ],
    );
    tell(
        "a database of one member is not locked out",
        belief("pg1", 5),
        &[("pg1=200/running/primary/60", "Known pg1@60 e1")],
    );
    tell(
        "a person may say so",
        belief("pg1", 5),
        &[
            ("pg1=200/running/primary/60 pg2=refused", "Unknown e1"),
            ("accept pg1", ""),
            ("pg1=200/running/primary/60 pg2=refused", "Known pg1@60 e1"),
        ],
    );
}

#[test]
fn the_word_of_the_same_machine_under_another_name_is_none() {
    let start = Instant::now();
    let said = "pg1=refused pg2=503/running/replica/60 pg3=200/running/primary/60";
    for (host, expected) in [("10.0.0.3", "Unknown e1"), ("10.0.0.2", "Known pg3@60 e2")] {
        let mut tracker = PrimaryTracker::new(belief("pg1", 5), MAX_AGE);
        let hosts = [("pg2", host), ("pg3", "10.0.0.3")];
        tracker.heard_from(hosts.map(|(name, host)| (name.to_owned(), host.to_owned())).into());
        assert_eq!(shown(&tracker.observe(&look(said, start), start)), expected, "pg2 speaks from {host}");
    }
}

#[test]
fn a_primary_that_others_follow_is_believed_beside_a_frozen_answer_and_a_person_ends_the_split() {
    let followed = "pg1=200/running/primary/5 pg2=200/running/primary/6 pg3=503/running/replica/6";
    let view = tell_all(
        "a proxy repeats what pg1 said",
        belief("pg1", 5),
        &[
            held("pg1=200/running/primary/5 pg2=200/running/primary/6 pg3=503/running/replica/5", 2, "Known pg1@5 e1"),
            held(followed, 4, "Known pg2@6 e2"),
            held(followed, 3, "SplitBrain pg1@5 pg2@6 e2 [split_brain]"),
            held("accept pg2", 1, ""),
            held(followed, 30, "Known pg2@6 e2"),
        ],
    );
    assert!(view.movement_allowed(), "{view:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    /// Beside a primary that goes on as it was and a replica of its own, one member says anything.
    #[test]
    fn one_member_never_takes_the_primary(story in stories(), raise in 0u64..5_000_000_000) {
        let start = Instant::now();
        let mut tracker = PrimaryTracker::new(belief("pg1", 5), MAX_AGE);
        for (step, (_, mut answer)) in story.into_iter().enumerate() {
            let now = start + Duration::from_secs(step as u64);
            if let super::Answer::Http { body, .. } = &mut answer {
                body.timeline = body.timeline.map(|timeline| timeline + raise);
            }
            let mut said: BTreeMap<String, Observation> = look(TRUE, now);
            said.insert("pg3".to_owned(), Observation { answer, at: now });
            let view = tracker.observe(&said, now);
            prop_assert_eq!((view.epoch, view.highest_timeline), (1, Some(5)), "{:?}", view);
            prop_assert!(!matches!(&view.state, PrimaryState::Known(primary) if primary.name == "pg3"));
            prop_assert_eq!(view.last.map(|last| last.name), Some("pg1".to_owned()));
        }
        // Nor does it bar the one that follows.
        let now = start + Duration::from_secs(1_000);
        let next = look("pg1=refused pg2=200/running/primary/6 pg3=503/running/replica/6", now);
        prop_assert_eq!(shown(&tracker.observe(&next, now)), "Known pg2@6 e2");
    }
}
