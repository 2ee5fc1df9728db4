//! A person's decision on who is primary: taken from the annotation, handed on, and put on record.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Task;
use crate::{
    api::{DatabaseCluster, database_cluster::DecisionStatus, decision::Decision, keys},
    cluster,
    cluster::EventReason,
    core::primary::PrimaryView,
    discover::DiscoveryState,
};

/// Characters of a person's name that go on record.
const LONGEST_NAME: usize = 253;

/// What is to be done about an annotation now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heed {
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
fn heed(
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

impl Task {
    /// Does what a person's decision asks for, if there is one. Returns the annotation when it is over, to be removed
    /// once the status says so.
    pub(super) fn heed_decision(
        &mut self,
        object: &DatabaseCluster,
        found: &DiscoveryState,
        wall: Timestamp,
    ) -> Option<String> {
        let Some(text) = object.metadata.annotations.as_ref().and_then(|all| all.get(keys::DECISION)) else {
            if self.heeded.is_some() && self.discovery.withdraw() {
                self.heeded = None;
            }
            return None;
        };
        if !self.leads() {
            return None;
        }
        let members = found.members.iter().map(|member| member.name.as_str()).collect();
        // Each is told of and handed on once, however often it is seen.
        let new = self.heeded.as_ref() != Some(text);
        match heed(text, self.status.decision.as_ref(), &found.view, &members, wall) {
            Heed::Pass(Decision { member, by, at, epoch }) => {
                if new && self.discovery.accept(member.clone(), epoch) {
                    tracing::info!(database = self.name, member, by, %at, epoch, "a person decides who is primary");
                    self.heeded = Some(text.clone());
                }
                return None;
            }
            Heed::Taken(taken) => {
                let DecisionStatus { member, by, at, epoch, .. } = &taken;
                let at = at.map(|at| format!(" at {at:.0}")).unwrap_or_default();
                tracing::info!(database = self.name, member, by, epoch, "the primary is the one that a person named");
                self.notice(
                    false,
                    EventReason::PrimaryDecided,
                    format!("{member} is the primary (epoch {epoch}): {by} said so{at}"),
                );
                self.status.decision = Some(taken);
            }
            Heed::Over => {}
            Heed::Refuse(why) if new => {
                tracing::warn!(database = self.name, why, "a decision on who is primary is not followed");
                self.notice(true, EventReason::DecisionRefused, why);
                self.heeded = Some(text.clone());
            }
            Heed::Refuse(_) => {}
        }
        Some(text.clone())
    }

    pub(super) async fn remove_decision(&self, text: &str) {
        if let Err(error) = cluster::remove_annotation(&self.shared.client, &self.name, keys::DECISION, text).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(database = self.name, error, "could not remove the decision that is over; will try again");
        }
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

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
        let rows = [
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
        ];
        check_rows(rows, |(what, text, recorded, view, expected)| {
            let members = BTreeSet::from(["pg1", "pg2"]);
            assert_eq!(heed(&text, recorded.as_ref(), &view, &members, at), expected, "{what}");
        });
    }
}
