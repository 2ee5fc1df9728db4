//! What the databases say of themselves, and whether they are reached.

use kube::{ResourceExt, core::DynamicObject};

use super::conditions;
use crate::{
    api::{
        database_cluster::{ConditionType, HeldWorkloadStatus, IgnoredStatus},
        read,
    },
    commands::check::{
        facts::{Facts, Seen},
        found::{Found, Mark},
    },
};

fn databases(facts: &Facts) -> Seen<&[DynamicObject]> {
    facts.databases.as_deref().map_err(Clone::clone)
}

/// What is told of each of them; where there is none, that.
fn of_each(facts: &Facts, none: &str, mut tell: impl FnMut(&mut Found, &DynamicObject)) -> Found {
    let databases = match databases(facts) {
        Ok([]) => return Found::skipped(none),
        Ok(databases) => databases,
        Err(unseen) => return Found::unclear(&unseen),
    };
    let mut found = Found::default();
    databases.iter().for_each(|database| tell(&mut found, database));
    found
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
    of_each(facts, "there is none", |found, database| {
        let observed = database.data.pointer("/status/observedGeneration").and_then(serde_json::Value::as_i64);
        let name = database.name_any();
        match (observed, database.metadata.generation) {
            (None | Some(..0), _) => {
                found.tell(Mark::Wrong, format!("{name} has no status: no controller has looked at it"))
            }
            (Some(seen), Some(now)) if seen < now => {
                found.tell(
                    Mark::Wrong,
                    format!("the status of {name} is about an older spec ({seen}, now it is {now})"),
                );
            }
            _ => {}
        }
    })
}

/// What of a condition isn't as it should be.
enum Bad {
    /// This value of it.
    Status(&'static str, Mark),
    /// One of these reasons: whether something moves now, or is announced, is no fault of anybody's.
    Reasons(&'static [&'static str]),
}

const fn bad(condition: ConditionType) -> Bad {
    use ConditionType as C;
    match condition {
        C::Accepted | C::PrimaryKnown | C::CredentialsCurrent | C::LabelsAccepted => Bad::Status("False", Mark::Wrong),
        C::SplitBrain => Bad::Status("True", Mark::Wrong),
        C::Frozen => Bad::Status("True", Mark::Warning),
        C::WitnessSeen | C::HostsAccepted | C::ReadyForFailover => Bad::Status("False", Mark::Warning),
        C::Moving => Bad::Reasons(&["Halted", "NamespaceHalted"]),
        C::EvictsByTaint => Bad::Reasons(&["Refused"]),
        C::SwitchoverAnnounced => Bad::Reasons(&["Blocked", "NoPlace", "Ignored"]),
        // What they come to: each cause has a check of its own.
        C::Ready | C::Reconciling | C::Stalled => Bad::Reasons(&[]),
    }
}

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
            Bad::Status(value, mark) => (condition.status == value).then_some(mark),
            Bad::Reasons(reasons) => reasons.contains(&&*condition.reason).then_some(Mark::Warning),
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
    announced: SwitchoverAnnounced,
}

/// A list in the status, of a type.
fn listed<T: serde::de::DeserializeOwned>(database: &DynamicObject, place: &str) -> Vec<T> {
    let list = database.data.pointer(place).cloned();
    list.and_then(|list| serde_json::from_value(list).ok()).unwrap_or_default()
}

/// Whether every reading is believed.
pub(in crate::commands::check) fn believed(facts: &Facts) -> Found {
    of_each(facts, "there is no database", |found, database| {
        let nodes: Vec<String> = listed::<IgnoredStatus>(database, "/status/ignored")
            .into_iter()
            .map(|it| format!("{} ({})", it.node, it.reason))
            .collect();
        found.tell_of(Mark::Warning, &nodes, |nodes| format!("{}: {nodes}", database.name_any()));
    })
}

/// Reasons for which followers stay until a person does something about the installation, or about room.
const STAYS: [&str; 5] = ["AdmissionMissed", "NeverInjected", "NoRoom", "QuotaExhausted", "UnknownWorkload"];

/// Whether followers stay on far nodes for one of these.
pub(in crate::commands::check) fn stays(facts: &Facts) -> Found {
    of_each(facts, "there is no database", |found, database| {
        for held in listed::<HeldWorkloadStatus>(database, "/status/heldWorkloads") {
            if STAYS.contains(&&*held.reason) {
                let HeldWorkloadStatus { kind, namespace, name, reason, message, pods, .. } = held;
                let whose = format!("{}: {pods} pods of {kind} {namespace}/{name}", database.name_any());
                found.tell(Mark::Warning, format!("{whose}: {reason}: {message}"));
            }
        }
    })
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
