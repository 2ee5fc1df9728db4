//! What the databases say of themselves, and whether they are reached.

use kube::{ResourceExt, core::DynamicObject};

use super::conditions;
use crate::{
    api::{database_cluster::ConditionType, read},
    commands::check::{
        facts::{Facts, Seen},
        found::{Found, Mark},
    },
};

fn databases(facts: &Facts) -> Seen<&[DynamicObject]> {
    facts.databases.as_deref().map_err(Clone::clone)
}

pub(in crate::commands::check) fn readable(facts: &Facts) -> Found {
    let databases = match databases(facts) {
        Ok(databases) => databases,
        Err(unseen) => return Found::unclear(&unseen),
    };
    if databases.is_empty() {
        return Found::default().and(Mark::Warning, "there is no DatabaseCluster yet");
    }
    let names: Vec<String> = databases.iter().map(ResourceExt::name_any).collect();
    let mut found = Found::right(names.join(", "));
    for database in databases {
        if let Err(error) = read::database(database.clone()) {
            found.tell(Mark::Wrong, format!("{} can't be read: {error}", database.name_any()));
        }
    }
    found
}

/// Whether a controller has looked at the spec as it is now.
pub(in crate::commands::check) fn observed(facts: &Facts) -> Found {
    let databases = match databases(facts) {
        Ok([]) => return Found::skipped("there is none"),
        Ok(databases) => databases,
        Err(unseen) => return Found::unclear(&unseen),
    };
    let mut found = Found::default();
    for database in databases {
        let observed = database.data.pointer("/status/observedGeneration").and_then(serde_json::Value::as_i64);
        let name = database.name_any();
        match (observed, database.metadata.generation) {
            (None, _) => found.tell(Mark::Wrong, format!("{name} has no status: no controller has looked at it")),
            (Some(seen), Some(now)) if seen < now => {
                found.tell(
                    Mark::Wrong,
                    format!("the status of {name} is about an older spec ({seen}, now it is {now})"),
                );
            }
            _ => {}
        }
    }
    found
}

/// The value that isn't as it should be, and how bad that is.
const fn bad(condition: ConditionType) -> Option<(&'static str, Mark)> {
    Some(match condition {
        ConditionType::Accepted | ConditionType::PrimaryKnown | ConditionType::CredentialsCurrent => {
            ("False", Mark::Wrong)
        }
        ConditionType::SplitBrain => ("True", Mark::Wrong),
        ConditionType::Frozen => ("True", Mark::Warning),
        ConditionType::LabelsAccepted => ("False", Mark::Wrong),
        ConditionType::WitnessSeen | ConditionType::HostsAccepted | ConditionType::ReadyForFailover => {
            ("False", Mark::Warning)
        }
        // Whether something moves now, or a taint is on its way, is no fault of anybody's.
        ConditionType::Moving | ConditionType::EvictsByTaint => return None,
    })
}

/// Reasons of those two that don't pass by themselves.
const HALTED: [&str; 3] = ["Halted", "NamespaceHalted", "Refused"];

/// What the databases say by one condition; nothing is said of those that don't have it.
pub(super) fn condition(facts: &Facts, type_: ConditionType) -> Found {
    let databases = match databases(facts) {
        Ok(databases) => databases,
        Err(unseen) => return Found::unclear(&unseen),
    };
    let mut found = Found::default();
    let mut said = 0;
    // Of one that isn't followed whatever else is known is old.
    let followed = |it: &&DynamicObject| {
        type_ == ConditionType::Accepted
            || !conditions(it).iter().any(|it| it.type_ == "Accepted" && it.status == "False")
    };
    for database in databases.iter().filter(followed) {
        let Some(condition) = conditions(database).into_iter().find(|it| it.type_ == type_.name()) else { continue };
        said += 1;
        let mark = match bad(type_) {
            Some((value, mark)) => (condition.status == value).then_some(mark),
            None => HALTED.contains(&&*condition.reason).then_some(Mark::Warning),
        };
        if let Some(mark) = mark {
            found.tell(mark, format!("{}: {}: {}", database.name_any(), condition.reason, condition.message));
        }
    }
    if said == 0 { Found::skipped("no database says so far") } else { found }
}

macro_rules! by_condition {
    ($($name:ident: $type:ident),* $(,)?) => {
        $(pub(in crate::commands::check) fn $name(facts: &Facts) -> Found { condition(facts, ConditionType::$type) })*
        /// The conditions that are looked at.
        #[cfg(test)]
        pub(in crate::commands::check) const CONDITIONS: &[&str] = &[$(stringify!($type)),*];
    };
}

by_condition! {
    accepted: Accepted,
    primary_known: PrimaryKnown,
    split_brain: SplitBrain,
    frozen: Frozen,
    moving: Moving,
    labels: LabelsAccepted,
    credentials: CredentialsCurrent,
    witness: WitnessSeen,
    hosts: HostsAccepted,
    taint: EvictsByTaint,
    ready: ReadyForFailover,
}

pub(in crate::commands::check) fn reached(facts: &Facts) -> Found {
    if facts.reached.is_empty() {
        return Found::skipped("no member of a database is known yet");
    }
    let mut found = Found::right(format!("{} members", facts.reached.len()));
    let not: Vec<String> = facts
        .reached
        .iter()
        .filter_map(|it| {
            let why = it.reached.as_ref().err()?;
            Some(format!("{} of {} at {} ({why})", it.member, it.database, it.address))
        })
        .collect();
    let all = facts.reached.len();
    found.tell_of(Mark::Warning, &not, |names| {
        format!("{} of {all} members aren't reached from here: {names}", not.len())
    });
    found
}
