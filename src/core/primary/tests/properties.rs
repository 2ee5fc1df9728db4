//! What must hold whatever the members say, in whatever order.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::super::{Answer, Belief, MemberBody, Observation, PrimaryState, PrimaryTracker};

const MAX_AGE: Duration = Duration::from_secs(5);

fn answers() -> impl Strategy<Value = Answer> {
    let body = (
        prop::sample::select(vec!["running", "stopping", "starting", "crashed", "unknown", "stopped"]),
        prop::sample::select(vec!["primary", "primary", "master", "replica", "replica", "demoted", "standby_leader"]),
        prop::option::weighted(0.9, 1u64..5),
        prop::sample::select(vec!["1", "1", "1", "1", "1", "1", "2"]),
        prop::array::uniform3(prop::bool::weighted(0.1)),
        prop::option::of(0u64..30),
    );
    prop_oneof![
        1 => Just(Answer::Unreachable { error: "timed out".to_owned() }),
        6 => (any::<bool>(), body).prop_map(|(ok, (state, role, timeline, id, flags, seen))| Answer::Http {
            status: if ok { 200 } else { 503 },
            body: MemberBody {
                name: None,
                state: state.to_owned(),
                role: role.to_owned(),
                timeline,
                system_identifier: Some(id.to_owned()),
                started: None,
                position: None,
                cluster_unlocked: flags[0],
                failsafe: flags[1],
                pause: flags[2],
                dcs_last_seen_s: seen,
            },
        }),
    ]
}

/// Which of four members answers what, one after the other.
pub(in crate::core::primary) fn stories() -> impl Strategy<Value = Vec<(usize, Answer)>> {
    prop::collection::vec((0usize..4, answers()), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn whatever_the_members_say(story in stories()) {
        let mut now = Instant::now();
        let mut tracker = PrimaryTracker::new(Belief::default(), MAX_AGE);
        let mut latest: BTreeMap<String, Observation> = BTreeMap::new();
        let mut before = tracker.observe(&latest, now);
        for (member, answer) in story {
            now += Duration::from_millis(300);
            latest.insert(format!("pg{member}"), Observation { answer, at: now });
            let view = tracker.observe(&latest, now);

            prop_assert!(!view.why.is_empty());
            prop_assert!(view.frozen.is_empty() || !view.movement_allowed(), "no movement while frozen");
            prop_assert!(matches!(view.state, PrimaryState::Known(_)) || !view.movement_allowed());
            prop_assert_eq!(view.known_since.is_some(), view.known().is_some());
            prop_assert_eq!(view.calm_since.is_some(), view.movement_allowed());
            prop_assert!(view.calm_since.is_none_or(|since| Some(since) >= view.known_since));

            // One change of primary is one epoch, and nothing else is.
            let name = |v: &super::super::PrimaryView| v.last.as_ref().map(|p| p.name.clone());
            let changed = name(&view) != name(&before);
            prop_assert_eq!(view.epoch, before.epoch + u64::from(changed));
            prop_assert!(!changed || view.known().is_some(), "only a confirmed primary is a new one");

            // Never back to a lower timeline, except in a database that was made anew.
            if view.system_identifier == before.system_identifier {
                prop_assert!(view.highest_timeline >= before.highest_timeline);
            }
            if let Some(primary) = view.known() {
                prop_assert_eq!(Some(primary.timeline), view.highest_timeline);
                let Answer::Http { status, body } = &latest[&primary.name].answer else { panic!("{view:?}") };
                prop_assert_eq!((*status, body.state.as_str(), body.timeline), (200, "running", Some(primary.timeline)));
                prop_assert!(matches!(body.role.as_str(), "primary" | "master"));
                // Nobody else says, here and now, that it runs as primary of this database on this timeline.
                for (name, Observation { answer, at }) in &latest {
                    let Answer::Http { body: other, .. } = answer else { continue };
                    let writable = other.acts_as_primary() && other.state == "running" && now - *at <= MAX_AGE;
                    let alike = other.timeline == body.timeline && other.system_identifier == body.system_identifier;
                    prop_assert!(*name == primary.name || !(writable && alike), "{name} is writable, too: {view:?}");
                }
            }

            // The same look again changes nothing.
            prop_assert_eq!(&tracker.observe(&latest, now), &view);
            before = view;
        }
    }

    #[test]
    fn a_restart_forgets_nothing_that_matters(story in stories()) {
        let now = Instant::now();
        let mut tracker = PrimaryTracker::new(Belief::default(), MAX_AGE);
        let mut latest: BTreeMap<String, Observation> = BTreeMap::new();
        for (member, answer) in story {
            latest.insert(format!("pg{member}"), Observation { answer, at: now });
            let belief = tracker.observe(&latest, now).belief();
            let view = PrimaryTracker::new(belief.clone(), MAX_AGE).observe(&latest, now);
            // Whether nobody was primary in between is forgotten: what was a succession may be a split brain to a new
            // process, never the other way round.
            prop_assert!(view.contested.is_superset(&belief.contested));
            prop_assert_eq!(Belief { contested: belief.contested.clone(), ..view.belief() }, belief);
        }
    }

    #[test]
    fn simultaneous_answers_have_no_order(story in stories(), seed in any::<u64>()) {
        let now = Instant::now();
        let one_name = |n: usize, mut answer: Answer| {
            // Several addresses of one member: the order in which they are asked must not matter either.
            if let Answer::Http { body, .. } = &mut answer { body.name = Some(format!("pg{}", n % 3)); }
            Observation { answer, at: now }
        };
        let all: Vec<_> = story.into_iter().enumerate().map(|(n, (_, answer))| one_name(n, answer)).collect();
        let views = [0, seed].map(|seed| {
            let keyed = all.iter().cloned().enumerate()
                .map(|(n, observation)| (format!("{:x}", (n as u64 + 1).wrapping_mul(seed | 1)), observation))
                .collect();
            PrimaryTracker::new(Belief::default(), MAX_AGE).observe(&keyed, now)
        });
        prop_assert_eq!(&views[0].state, &views[1].state);
        prop_assert_eq!(&views[0].epoch, &views[1].epoch);
    }
}
