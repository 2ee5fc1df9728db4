//! What a witness changes, and what it never does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::WitnessAnswer;
use crate::core::primary::{
    Answer, Belief, Observation, PrimaryTracker, PrimaryView,
    tests::{belief, look, properties::stories, shown},
};

const MAX_AGE: Duration = Duration::from_secs(5);

/// What the witness sees, written as [`look`] is: silence is no sighting.
fn sightings(text: &str, at: Instant) -> Vec<WitnessAnswer> {
    let sighting = |(member, Observation { answer, at }): (String, Observation)| match answer {
        Answer::Http { status, body } => {
            Some(WitnessAnswer { url: Some(format!("http://{member}:8008")), member, status, body, at })
        }
        _ => None,
    };
    look(text, at).into_iter().filter_map(sighting).collect()
}

fn view(start: &Belief, ours: &str, theirs: &str, age: Duration) -> PrimaryView {
    let now = Instant::now() + Duration::from_secs(3600);
    PrimaryTracker::new(start.clone(), MAX_AGE).observe_with(&look(ours, now), &sightings(theirs, now - age), now)
}

const PG1: &str = "pg1=200/running/primary/1";
const PG1_REPLICA: &str = "pg1=503/running/replica/2";
const PG2: &str = "pg2=200/running/primary/2";
const PG2_SAME: &str = "pg2=200/running/primary/1";
const PG3: &str = "pg3=503/running/replica/1";

#[test]
fn what_is_silent_to_us_is_seen_by_the_witness_and_the_ordinary_rules_judge_it() {
    let fresh = Duration::from_secs(1);
    for (what, ours, theirs, expected) in [
        ("an old leader, frozen on our side", format!("{PG1} pg2=refused {PG3}"), PG2, "Known pg1@1 e1"),
        (
            "and a member that follows the new one",
            format!("{PG1} pg2=refused pg3=503/running/replica/2"),
            PG2,
            "Known pg2@2 e2",
        ),
        (
            "the primary's data centre is out of our sight",
            format!("pg1=refused pg2=refused {PG3}"),
            PG1,
            "Known pg1@1 e1",
        ),
        (
            "the witness sees more of the same",
            format!("{PG1} pg2=refused {PG3}"),
            "pg2=503/running/replica/1",
            "Known pg1@1 e1",
        ),
        ("neither sees the primary", format!("pg1=refused {PG3}"), "pg2=503/running/replica/1", "Unknown e1"),
        ("ours counts", format!("{PG1} {PG3}"), PG1_REPLICA, "Known pg1@1 e1"),
        ("ours counts, also when it is none", format!("pg1=503/running/replica/1 {PG3}"), PG1, "Unknown e1"),
        (
            "two on one timeline are a split brain",
            format!("{PG1} pg2=refused {PG3}"),
            PG2_SAME,
            "SplitBrain pg1@1 pg2@1 e1 [split_brain]",
        ),
        (
            "who was primary refuses, seen by the witness",
            format!("pg1=refused {PG2_SAME}"),
            "pg1=503/running/replica/1",
            "Known pg2@1 e2",
        ),
        (
            "a pause that only the witness sees",
            format!("pg1=refused {PG3}"),
            "pg1=200/running/primary/1+pause",
            "Known pg1@1 e1 [pause]",
        ),
        ("a member that only the witness knows", PG3.to_owned(), PG2, "Unknown e1"),
        ("its first answer is awaited", format!("pg1=pending {PG3}"), PG1, "Unknown e1"),
        ("nobody answers us", "pg1=refused pg2=refused".to_owned(), PG2, "Unknown e1"),
        ("nobody answers us, and nothing has changed", "pg1=refused pg2=refused".to_owned(), PG1, "Unknown e1"),
        (
            "another database",
            format!("pg1=refused {PG3}"),
            "pg1=200/running/primary/9+id:2",
            "SplitBrain pg1@9 e1 [split_brain,system_identifier]",
        ),
    ] {
        let seen = view(&belief("pg1", 1), &ours, theirs, fresh);
        assert_eq!(shown(&seen), expected, "{what}: {}", seen.why);
        // What is old is nothing.
        let start = belief("pg1", 1);
        assert_eq!(view(&start, &ours, theirs, MAX_AGE + fresh).why, view(&start, &ours, "", fresh).why, "{what}, old");
    }
}

#[test]
fn sentences_say_what_only_the_witness_sees() {
    let fresh = Duration::from_secs(1);
    for (ours, theirs, expected) in [
        (
            format!("pg1=refused pg2=refused {PG3}"),
            format!("{PG1} pg2=503/running/replica/1 {PG3}"),
            "pg1 (timeline 1) is primary: it holds the leader lock and its PostgreSQL is running, as the witness sees it; 1 \
             of 3 members answers, and pg1, pg2 only to the witness",
        ),
        (
            format!("{PG1} pg2=refused pg3=503/running/replica/2"),
            PG2.to_owned(),
            "pg2 (timeline 2) is primary: it holds the leader lock and its PostgreSQL is running, as the witness sees it; 2 \
             of 3 members answer, and pg2 only to the witness; pg1 (timeline 1) still acts as primary and is not believed",
        ),
        (
            "pg1=refused pg2=refused".to_owned(),
            format!("{PG1_REPLICA} {PG2}"),
            "no member answers: pg1, pg2 (refused); only the witness sees pg1, pg2 (primary, timeline 2): on its word alone \
             nothing is believed or moved",
        ),
        (
            format!("pg1=refused {PG3}"),
            "pg1=200/stopping/primary".to_owned(),
            "pg1 holds the leader lock, but its PostgreSQL is not running as primary (state stopping), as the witness sees it",
        ),
    ] {
        assert_eq!(view(&belief("pg1", 1), &ours, &theirs, fresh).why, expected);
    }
}

#[test]
fn a_member_is_known_by_its_address_until_somebody_has_heard_its_name() {
    let now = Instant::now();
    let mut ours = look(PG3, now);
    let silent = Observation { answer: Answer::Unreachable { error: "refused".to_owned() }, at: now };
    ours.insert("http://pg1:8008".to_owned(), silent);
    let see = |theirs: &str| {
        let seen = PrimaryTracker::new(Belief::default(), MAX_AGE).observe_with(&ours, &sightings(theirs, now), now);
        shown(&seen)
    };
    assert_eq!(see(PG1), "Known pg1@1 e1");
    assert_eq!(see("pg2=200/running/primary/1"), "Unknown e0", "at an address that we don't know");
    // Somebody whom we hear ourselves, at another address.
    let mut elsewhere = sightings("pg3=200/running/primary/7", now);
    elsewhere[0].url = Some("http://pg1:8008".to_owned());
    let seen = PrimaryTracker::new(Belief::default(), MAX_AGE).observe_with(&ours, &elsewhere, now);
    assert_eq!(shown(&seen), "Unknown e0");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn a_witness_never_overrules(story in stories(), theirs in stories(), ages_s in prop::collection::vec(0u64..8, 60)) {
        let now = Instant::now() + Duration::from_secs(3600);
        let mut tracker = PrimaryTracker::new(Belief::default(), MAX_AGE);
        let mut ours: BTreeMap<String, Observation> = BTreeMap::new();
        for (member, answer) in story {
            ours.insert(format!("pg{member}"), Observation { answer, at: now });
            tracker.observe(&ours, now);
        }
        let mut sightings: Vec<WitnessAnswer> = theirs.into_iter().zip(ages_s).filter_map(|((member, answer), age_s)| {
            let Answer::Http { status, body } = answer else { return None };
            Some(WitnessAnswer { member: format!("pg{member}"), url: None, status, body, at: now - Duration::from_secs(age_s) })
        }).collect();
        let without = tracker.clone().observe(&ours, now);
        let with = tracker.clone().observe_with(&ours, &sightings, now);
        prop_assert_eq!(&tracker.clone().observe_with(&ours, &[], now), &without, "no witness, no change");

        // Of a primary that we see ourselves it can only say that it was succeeded, or that it isn't the only one.
        if let (Some(before), Some(after)) = (without.known(), with.known()) && before != after {
            prop_assert!(after.timeline > before.timeline, "{} → {}", without.why, with.why);
            let ours = matches!(ours.get(&after.name), Some(Observation { answer: Answer::Http { .. }, .. }));
            // Or that a member which is silent to us follows the one that we see, too.
            let followed = sightings.iter().any(|seen| seen.body.timeline == Some(after.timeline));
            prop_assert!(!ours || followed, "ours counts: {}", with.why);
        }
        // Alone it is believed nothing.
        if !ours.values().any(|observation| matches!(observation.answer, Answer::Http { .. })) {
            prop_assert_eq!(&with.state, &without.state);
            prop_assert_eq!(with.belief(), without.belief());
            prop_assert!(!with.movement_allowed());
        }
        sightings.reverse();
        prop_assert_eq!(&tracker.clone().observe_with(&ours, &sightings, now), &with);
        let middle = sightings.len() / 2;
        sightings.rotate_left(middle);
        prop_assert_eq!(&tracker.observe_with(&ours, &sightings, now), &with);
    }
}
