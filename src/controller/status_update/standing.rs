//! What the conditions of a database come to, in the words that tools know for every kind: Ready, and Reconciling or Stalled where that
//! is so (kstatus, sigs.k8s.io/cli-utils/pkg/kstatus).

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use strum::IntoStaticStr;

use super::{Now, set};
use crate::api::database_cluster::ConditionType;

/// What a cause means for whoever waits for the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// Pods don't follow, and won't until a person does something.
    Stalled,
    /// Pods don't follow for now.
    Waits,
    /// Pods follow; something is under way.
    UnderWay,
    /// Pods follow, and there is something to say.
    Follows,
}

/// Why a database stands as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
enum Cause {
    NotAccepted,
    SplitBrain,
    LabelInUse,
    Halted,
    CredentialsNotCurrent,
    PrimaryUnknown,
    Frozen,
    Stale,
    TooFewReadings,
    LabelsRefused,
    LabelsPending,
    Moving,
    Settling,
    NodesInDoubt,
    NamespaceHalted,
    WitnessNotHeard,
    HostsLeftOut,
    NotReadyForFailover,
    Following,
}

/// The value of a condition, and its reason where only that one counts.
type When = (ConditionType, Option<bool>, Option<&'static str>);

/// The worst first. Whoever waits for somebody else's word is told of that one: without credentials the primary is unknown, too.
const CAUSES: &[(Cause, Weight, When)] = {
    use {Cause as Is, ConditionType as C, Weight as W};
    &[
        (Is::NotAccepted, W::Stalled, (C::Accepted, Some(false), None)),
        (Is::SplitBrain, W::Stalled, (C::SplitBrain, Some(true), None)),
        (Is::LabelInUse, W::Stalled, (C::LabelsAccepted, Some(false), Some("KeyInUse"))),
        (Is::Halted, W::Stalled, (C::Moving, None, Some("Halted"))),
        (Is::CredentialsNotCurrent, W::Waits, (C::CredentialsCurrent, Some(false), None)),
        (Is::PrimaryUnknown, W::Waits, (C::PrimaryKnown, Some(false), None)),
        (Is::Frozen, W::Waits, (C::Frozen, Some(true), None)),
        (Is::Stale, W::Waits, (C::Moving, None, Some("Stale"))),
        (Is::TooFewReadings, W::Waits, (C::Moving, None, Some("TooFewReadings"))),
        (Is::LabelsRefused, W::Waits, (C::LabelsAccepted, Some(false), None)),
        (Is::LabelsPending, W::Waits, (C::Moving, None, Some("LabelsPending"))),
        (Is::Moving, W::UnderWay, (C::Moving, Some(true), None)),
        (Is::Settling, W::UnderWay, (C::Moving, None, Some("Settling"))),
        (Is::NodesInDoubt, W::UnderWay, (C::Moving, None, Some("NodesInDoubt"))),
        (Is::NamespaceHalted, W::Follows, (C::Moving, None, Some("NamespaceHalted"))),
        (Is::WitnessNotHeard, W::Follows, (C::WitnessSeen, Some(false), None)),
        (Is::HostsLeftOut, W::Follows, (C::HostsAccepted, Some(false), None)),
        (Is::NotReadyForFailover, W::Follows, (C::ReadyForFailover, Some(false), None)),
    ]
};

/// The worst that the conditions say, and the sentence of the one that says it.
fn worst(conditions: &[Condition]) -> (Cause, Weight, &str) {
    let says = |(type_, holds, reason): &When| {
        conditions.iter().find(|condition| {
            condition.type_ == type_.name()
                && holds.is_none_or(|holds| condition.status == if holds { "True" } else { "False" })
                && reason.is_none_or(|reason| condition.reason == reason)
        })
    };
    CAUSES
        .iter()
        .find_map(|(cause, weight, when)| says(when).map(|condition| (*cause, *weight, condition.message.as_str())))
        .unwrap_or((Cause::Following, Weight::Follows, "pods follow the primary"))
}

/// Brings Ready, Reconciling and Stalled up to date with the other conditions.
pub(super) fn tell(conditions: &mut Vec<Condition>, generation: Option<i64>, wall: Timestamp) {
    let (cause, weight, message) = worst(conditions);
    let (reason, message): (&str, String) = (cause.into(), message.to_owned());
    let ready = matches!(weight, Weight::UnderWay | Weight::Follows);
    let mut say = |type_: ConditionType, holds: bool, always: bool| {
        if holds || always {
            set(conditions, Now { type_, holds, reason, message: message.clone() }, generation, wall);
        } else {
            conditions.retain(|condition| condition.type_ != type_.name());
        }
    };
    say(ConditionType::Ready, ready, true);
    say(ConditionType::Reconciling, matches!(weight, Weight::Waits | Weight::UnderWay), false);
    say(ConditionType::Stalled, weight == Weight::Stalled, false);
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;
    use crate::core::{movement::held::Gate, testing::at};

    fn said(conditions: &[(ConditionType, bool, &'static str)]) -> Vec<Condition> {
        let mut all = Vec::new();
        for (type_, holds, reason) in conditions {
            let now = Now { type_: *type_, holds: *holds, reason, message: format!("because of {reason}") };
            set(&mut all, now, Some(3), at(0));
        }
        all
    }

    /// What is told, each as `Type=Status Reason`.
    fn told(conditions: &[(ConditionType, bool, &'static str)]) -> Vec<String> {
        let mut all = said(conditions);
        tell(&mut all, Some(3), at(0));
        let own = all.iter().skip(conditions.len());
        own.map(|it| format!("{}={} {}: {}", it.type_, it.status, it.reason, it.message)).collect()
    }

    #[test]
    fn ready_says_the_worst_and_tools_learn_whether_to_wait_or_to_give_up() {
        use ConditionType as C;
        let known =
            [(C::Accepted, true, "Accepted"), (C::PrimaryKnown, true, "Known"), (C::SplitBrain, false, "NoSplit")];
        let stalled = |reason, why| {
            vec![format!("Ready=False {reason}: because of {why}"), format!("Stalled=True {reason}: because of {why}")]
        };
        let waits = |reason, why| {
            vec![
                format!("Ready=False {reason}: because of {why}"),
                format!("Reconciling=True {reason}: because of {why}"),
            ]
        };
        let under_way = |reason, why| {
            vec![
                format!("Ready=True {reason}: because of {why}"),
                format!("Reconciling=True {reason}: because of {why}"),
            ]
        };
        let follows = |reason, why| vec![format!("Ready=True {reason}: because of {why}")];
        let rows = [
            (vec![], vec!["Ready=True Following: pods follow the primary".to_owned()]),
            (vec![(C::Moving, false, "Done")], vec!["Ready=True Following: pods follow the primary".to_owned()]),
            (vec![(C::Moving, false, "Paused")], vec!["Ready=True Following: pods follow the primary".to_owned()]),
            (vec![(C::Moving, true, "Moving")], under_way("Moving", "Moving")),
            (vec![(C::Moving, false, "Settling")], under_way("Settling", "Settling")),
            (vec![(C::Moving, false, "NodesInDoubt")], under_way("NodesInDoubt", "NodesInDoubt")),
            (vec![(C::Moving, false, "LabelsPending")], waits("LabelsPending", "LabelsPending")),
            (vec![(C::Moving, false, "Halted")], stalled("Halted", "Halted")),
            (vec![(C::Moving, false, "NamespaceHalted")], follows("NamespaceHalted", "NamespaceHalted")),
            (vec![(C::Frozen, true, "DatabaseSaysSo")], waits("Frozen", "DatabaseSaysSo")),
            (vec![(C::LabelsAccepted, false, "Refused")], waits("LabelsRefused", "Refused")),
            (vec![(C::LabelsAccepted, false, "KeyInUse")], stalled("LabelInUse", "KeyInUse")),
            (vec![(C::WitnessSeen, false, "NotHeard")], follows("WitnessNotHeard", "NotHeard")),
            (
                vec![(C::WitnessSeen, false, "NotHeard"), (C::CredentialsCurrent, false, "Missing")],
                waits("CredentialsNotCurrent", "Missing"),
            ),
            (vec![(C::ReadyForFailover, false, "NoPlace")], follows("NotReadyForFailover", "NoPlace")),
        ];
        check_rows(rows, |(more, expected)| assert_eq!(told(&[&known[..], &more].concat()), expected));
        let unknown = [(C::Accepted, true, "Accepted"), (C::PrimaryKnown, false, "Unknown")];
        assert_eq!(told(&unknown), waits("PrimaryUnknown", "Unknown"));
        let split = [(C::PrimaryKnown, false, "SplitBrain"), (C::SplitBrain, true, "SeveralPrimaries")];
        assert_eq!(told(&split), stalled("SplitBrain", "SeveralPrimaries"));
        let refused = [(C::PrimaryKnown, false, "NotFollowed"), (C::Accepted, false, "NotAccepted")];
        assert_eq!(told(&refused), stalled("NotAccepted", "NotAccepted"));
    }

    #[test]
    fn what_is_over_is_told_no_more() {
        let mut all = said(&[(ConditionType::Frozen, true, "DatabaseSaysSo")]);
        tell(&mut all, Some(3), at(0));
        assert!(all.iter().any(|it| it.type_ == "Reconciling"));
        all.retain(|it| it.type_ != "Frozen");
        tell(&mut all, Some(3), at(9));
        let left: Vec<_> = all.iter().map(|it| (&*it.type_, &*it.status, it.last_transition_time.0)).collect();
        assert_eq!(left, [("Ready", "True", at(9))]);
    }

    #[test]
    fn every_gate_that_is_a_cause_is_one() {
        let gates = CAUSES.iter().filter(|(_, _, (type_, ..))| *type_ == ConditionType::Moving);
        let reasons = gates.filter_map(|(_, _, (_, _, reason))| *reason).filter(|reason| *reason != "NamespaceHalted");
        let unknown: Vec<_> = reasons.filter(|reason| !Gate::NAMES.contains(reason)).collect();
        assert_eq!(unknown, Vec::<&str>::new());
    }
}
