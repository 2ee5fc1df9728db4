//! A person's decision on who is primary: taken from the annotation, handed on, and put on record.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    api::{database_cluster::DecisionStatus, decision::Decision},
    core::primary::PrimaryView,
};

/// Characters of a person's name that go on record.
const LONGEST_NAME: usize = 253;

/// What is to be done about an annotation now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heed {
    /// Hand the member to the decision, and wait.
    Pass(Decision),
    /// The member is the primary: put it on record, and remove the annotation.
    Taken(DecisionStatus),
    /// It is on record already: remove the annotation.
    Over,
    /// It can't be followed, for this reason: say so, and remove the annotation.
    Refuse(String),
}

/// Reads an annotation against what is believed. It depends on nothing that a restart forgets.
pub(super) fn heed(
    text: &str,
    recorded: Option<&DecisionStatus>,
    view: &PrimaryView,
    members: &BTreeSet<&str>,
    wall: Timestamp,
) -> Heed {
    let Ok(decision) = serde_json::from_str::<Decision>(text) else {
        return Heed::Refuse("it can't be read: write it with switchover resume DATABASE --primary MEMBER".into());
    };
    let Decision { member, by, at, epoch } = &decision;
    if recorded.is_some_and(|it| (&it.member, it.at) == (member, Some(*at))) {
        return Heed::Over;
    }
    let of_this_epoch = view.epoch == *epoch;
    match view.known() {
        // Its own doing, or its restart's: the word for another member than the last one begins a new epoch.
        Some(primary) if primary.name == *member && (of_this_epoch || view.epoch == epoch.saturating_add(1)) => {
            let (member, by) = (member.clone(), by.chars().take(LONGEST_NAME).collect());
            Heed::Taken(DecisionStatus { member, by, at: Some(*at), taken_at: Some(wall), epoch: view.epoch })
        }
        Some(primary) => Heed::Refuse(format!("{by} named {member}, but {primary} is known to be the primary by now")),
        None if !of_this_epoch => {
            Heed::Refuse(format!("{by} named {member} in epoch {epoch}, and the primary has changed since"))
        }
        None if !members.is_empty() && !members.contains(member.as_str()) => {
            let members = members.iter().copied().collect::<Vec<_>>().join(", ");
            Heed::Refuse(format!("{by} named {member}, which is no member: there are {members}"))
        }
        None => Heed::Pass(decision),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::primary::{Answer, MemberBody, Observation};
    use crate::core::primary::{Belief, PrimaryTracker};
    use std::time::{Duration, Instant};

    /// What is believed when these members say that they are primary, and pg1 was before, in epoch 1.
    fn view(primaries: &[&str], epoch: u64) -> PrimaryView {
        let now = Instant::now();
        let belief = Belief { primary: Some("pg1".into()), timeline: Some(2), epoch, ..Belief::default() };
        let says = |name: &str| MemberBody {
            name: Some(name.into()),
            state: "running".into(),
            role: if primaries.contains(&name) { "primary" } else { "replica" }.into(),
            timeline: Some(2),
            ..MemberBody::default()
        };
        let answer =
            |name: &str| Answer::Http { status: if primaries.contains(&name) { 200 } else { 503 }, body: says(name) };
        let observations =
            ["pg1", "pg2"].map(|name| (name.to_owned(), Observation { answer: answer(name), at: now })).into();
        PrimaryTracker::new(belief, Duration::from_secs(5)).observe(&observations, now)
    }

    #[test]
    fn a_decision_is_passed_on_put_on_record_or_refused() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let decision = |member: &str, epoch| Decision { member: member.into(), by: "ada".into(), at, epoch };
        let text = |member, epoch| serde_json::to_string(&decision(member, epoch)).unwrap();
        let record = |member: &str, epoch| DecisionStatus {
            member: member.into(),
            by: "ada".into(),
            at: Some(at),
            taken_at: Some(at),
            epoch,
        };
        let refuse = |why: &str| Heed::Refuse(why.into());
        let (both, second, first, nobody) = (&["pg1", "pg2"][..], &["pg2"][..], &["pg1"][..], &[][..]);
        for (what, text, recorded, view, expected) in [
            ("split", text("pg2", 1), None, view(both, 1), Heed::Pass(decision("pg2", 1))),
            ("nobody is primary", text("pg2", 1), None, view(nobody, 1), Heed::Pass(decision("pg2", 1))),
            ("it is primary now", text("pg2", 1), None, view(second, 1), Heed::Taken(record("pg2", 2))),
            ("no change", text("pg1", 1), None, view(first, 1), Heed::Taken(record("pg1", 1))),
            ("after a restart", text("pg1", 1), None, view(first, 2), Heed::Taken(record("pg1", 2))),
            ("on record", text("pg2", 1), Some(record("pg2", 2)), view(both, 2), Heed::Over),
            (
                "another decision is on record",
                text("pg1", 1),
                Some(record("pg2", 0)),
                view(both, 1),
                Heed::Pass(decision("pg1", 1)),
            ),
            (
                "another one is primary",
                text("pg2", 1),
                None,
                view(first, 1),
                refuse("ada named pg2, but pg1 (timeline 2) is known to be the primary by now"),
            ),
            (
                "of another epoch",
                text("pg2", 1),
                None,
                view(both, 2),
                refuse("ada named pg2 in epoch 1, and the primary has changed since"),
            ),
            (
                "nobody",
                text("pg9", 1),
                None,
                view(both, 1),
                refuse("ada named pg9, which is no member: there are pg1, pg2"),
            ),
            (
                "at the end of time",
                text("pg2", u64::MAX),
                None,
                view(both, u64::MAX),
                Heed::Pass(decision("pg2", u64::MAX)),
            ),
            (
                "rubbish",
                "pg2".into(),
                None,
                view(both, 1),
                refuse("it can't be read: write it with switchover resume DATABASE --primary MEMBER"),
            ),
        ] {
            let members = BTreeSet::from(["pg1", "pg2"]);
            assert_eq!(heed(&text, recorded.as_ref(), &view, &members, at), expected, "{what}");
        }
    }
}
