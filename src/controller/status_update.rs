//! What the controller knows of one database → the status of its DatabaseCluster.

pub(crate) mod announced;
mod standing;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Client, ResourceExt};
use serde_json::Value;

use crate::{
    api::{
        DatabaseCluster, DatabaseClusterStatus,
        database_cluster::{
            ClaimantStatus, ConditionType, HeldStatus, HeldWorkloadStatus, IgnoredStatus, MemberStatus, MissedStatus,
            MovingStatus, ReadinessStatus, TierCounts, UselessStatus, WorkloadStatus,
        },
    },
    cluster,
    core::{
        distance::{doubt::Doubt, tier::Tier},
        movement::{breaker::Breaker, held::Gate, journal::Underway, taint::Waits, workloads::WorkloadKey},
        primary::{Belief, Primary, PrimaryState, PrimaryView},
        words::listed,
    },
    credentials::SecretState,
    discover::{Member, Restored, witness::WitnessStanding},
    evaluate::{Decided, Memory, Stays},
    foresight::{Grade, Readiness},
    process::Failure,
};

/// Pods that status lists by name; the total counts them all.
const MOST_HELD: usize = 20;
/// Workloads and reasons that status lists.
const MOST_HELD_WORKLOADS: usize = 50;
/// Characters of a sentence of a list.
const LONGEST_SENTENCE: usize = 400;
/// Nodes that status lists as not believed; the total counts them all.
const MOST_IGNORED: usize = 20;
/// Claims that status remembers as not settled, and as decided against.
const MOST_CLAIMS: usize = 64;
/// Workloads that status remembers as moved in vain.
const MOST_USELESS: usize = 100;
/// Workloads that status remembers as missed by admission.
const MOST_MISSED: usize = 100;
/// Members whose readiness status tells, and resources that one of them lacks.
const MOST_READINESS: usize = 64;
const MOST_RESOURCES: usize = 32;

/// Of a database whose spec is refused: whatever was known of its primary is old.
const NOT_FOLLOWED: &str = "NotFollowed";

/// A condition's value, before it is compared with what stood there.
struct Now {
    type_: ConditionType,
    holds: bool,
    reason: &'static str,
    message: String,
}

/// Everything that a status is made from, besides what the task keeps in the status itself.
pub(crate) struct Facts<'a> {
    pub object: &'a DatabaseCluster,
    pub view: &'a PrimaryView,
    pub credentials: Option<&'a SecretState>,
    pub witness: Option<&'a WitnessStanding>,
    /// What is wrong with the addresses that members state.
    pub hosts: &'a [String],
    pub memory: &'a Memory,
    pub decided: &'a Decided,
    /// Of each other member, if it was found out anew; else what was known stays.
    pub readiness: Option<&'a [Readiness]>,
}

impl Facts<'_> {
    /// The nodes that don't take their label or taint, in words; none of them if it is empty. `None` if nobody looked.
    fn refusing(&self) -> Option<String> {
        self.view.known().map(|_| self.decided.labelling.refusing(&self.object.node_label()))
    }
}

/// What [`restored`] goes on from. It is written as a whole or not at all: an epoch without its primary would be counted twice.
pub(crate) fn believe(status: &mut DatabaseClusterStatus, view: &PrimaryView) {
    status.primary = view.last.as_ref().map(|primary| primary.name.clone());
    status.timeline = view.last.as_ref().and_then(Primary::timeline_if_any);
    status.highest_timeline = view.highest_timeline.filter(|timeline| *timeline > 0);
    status.system_identifier.clone_from(&view.system_identifier);
    status.epoch = view.epoch;
    status.contested = view.contested.iter().take(MOST_CLAIMS).map(claimant).collect();
    status.dismissed = view.dismissed.iter().take(MOST_CLAIMS).map(claimant).collect();
}

/// Brings `status` up to date.
pub(crate) fn update(status: &mut DatabaseClusterStatus, facts: &Facts<'_>, wall: Timestamp) {
    let Facts {
        object,
        view,
        memory: Memory { tiers, journal, .. },
        decided: Decided { plan, stays, emptying, .. },
        ..
    } = facts;
    status.observed_generation = object.metadata.generation;
    believe(status, view);
    status.message = Some(line(&view.why));
    let count = |tier| u32::try_from(tiers.count(tier)).unwrap_or(u32::MAX);
    status.tiers = TierCounts {
        closely: count(Tier::Closely),
        intermediate: count(Tier::Intermediate),
        far: count(Tier::Far),
        unknown: count(Tier::Unknown),
    };
    status.ignored =
        tiers.doubts.iter().take(MOST_IGNORED).map(|doubt| ignored(&status.ignored, doubt, wall)).collect();
    status.ignored_total = u32::try_from(tiers.doubts.len()).unwrap_or(u32::MAX);
    status.held = plan.held.iter().take(MOST_HELD).map(held).collect();
    status.held_total = u32::try_from(plan.held.len()).unwrap_or(u32::MAX);
    status.held_workloads = stays.iter().take(MOST_HELD_WORKLOADS).map(held_workload).collect();
    status.held_workloads_total = u32::try_from(stays.len()).unwrap_or(u32::MAX);
    let (epoch, before) = (view.epoch, std::mem::take(&mut status.moving));
    status.moving = journal.underway.iter().map(|underway| moving(underway, &before, epoch)).collect();
    let useless = journal.useless.iter().take(MOST_USELESS);
    status.useless = useless.map(|(key, moves)| UselessStatus { workload: workload(key), moves: *moves }).collect();
    let missed = journal.missed.iter().take(MOST_MISSED);
    let missed = missed.map(|(key, it)| MissedStatus { workload: workload(key), times: it.times, last: it.last });
    status.missed = missed.collect();
    if let Some(readiness) = facts.readiness {
        status.readiness = readiness.iter().take(MOST_READINESS).map(readiness_of).collect();
    }
    for (type_, concerns) in [
        (ConditionType::CredentialsCurrent, facts.credentials.is_some()),
        (ConditionType::WitnessSeen, object.spec.witness.is_some()),
        (ConditionType::HostsAccepted, !facts.hosts.is_empty()),
        (ConditionType::EvictsByTaint, emptying.is_some()),
        (ConditionType::ReadyForFailover, !status.readiness.is_empty()),
    ] {
        status.conditions.retain(|condition| concerns || condition.type_ != type_.name());
    }
    let announced = announced::condition(status);
    for condition in conditions(facts).into_iter().chain(announced) {
        set(&mut status.conditions, condition, object.metadata.generation, wall);
    }
    standing::tell(&mut status.conditions, object.metadata.generation, wall);
}

fn readiness_of(of: &Readiness) -> ReadinessStatus {
    let amount = |(name, amount): (&String, &u64)| {
        let text = if name == "cpu" { format!("{amount}m") } else { amount.to_string() };
        (name.clone(), text)
    };
    ReadinessStatus {
        member: of.member.clone(),
        reason: of.grade.name().to_owned(),
        message: of.message.chars().take(LONGEST_SENTENCE).collect(),
        followers: of.followers,
        would_move: of.would_move,
        would_not_fit: of.would_not_fit,
        blocked: of.blocked,
        missing: of.missing.iter().take(MOST_RESOURCES).map(amount).collect(),
        seconds: of.seconds,
    }
}

/// The worst of all, and who it would be with.
fn ready_for_failover(readiness: &[Readiness]) -> Option<Now> {
    let worst = readiness.iter().max_by_key(|of| of.rank())?;
    let holds = worst.grade == Grade::Ready;
    let message = match holds {
        true => format!("every follower finds its place with each of {} other members", readiness.len()),
        false => format!("with {} as the primary: {}", worst.member, worst.message),
    };
    Some(Now { type_: ConditionType::ReadyForFailover, holds, reason: worst.grade.name(), message })
}

fn claimant(claimant: &Primary) -> ClaimantStatus {
    ClaimantStatus { name: claimant.name.clone(), timeline: claimant.timeline }
}

/// As it began: a reading that wavers is not news.
fn ignored(before: &[IgnoredStatus], (node, doubt): (&String, &Doubt), wall: Timestamp) -> IgnoredStatus {
    let known = before.iter().find(|known| known.node == *node && known.reason == doubt.name());
    known.cloned().unwrap_or_else(|| IgnoredStatus {
        node: node.clone(),
        reason: doubt.name().into(),
        message: doubt.to_string(),
        since: Some(wall),
    })
}

fn held(held: &crate::core::movement::plan::Held) -> HeldStatus {
    HeldStatus {
        pod: format!("{}/{}", held.namespace, held.pod),
        node: held.node.clone(),
        reason: held.reason.name().into(),
        message: held.reason.to_string(),
    }
}

fn held_workload(stays: &Stays) -> HeldWorkloadStatus {
    let WorkloadKey { kind, namespace, name, .. } = stays.workload.clone();
    HeldWorkloadStatus {
        kind,
        namespace,
        name,
        reason: stays.reason.name().into(),
        message: stays.reason.to_string().chars().take(LONGEST_SENTENCE).collect(),
        pods: stays.pods,
        passes: stays.passes(),
    }
}

fn workload(key: &WorkloadKey) -> WorkloadStatus {
    WorkloadStatus {
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: key.uid.clone(),
    }
}

fn moving(underway: &Underway, before: &[MovingStatus], epoch: u64) -> MovingStatus {
    let known = before.iter().find(|moving| moving.uid == underway.uid);
    let action = match &underway.way {
        Ok(way) => way.event(),
        // As it was written by who knows it.
        Err(unknown) => match known.filter(|moving| moving.action == unknown.0) {
            Some(moving) => return moving.clone(),
            None => &unknown.0,
        },
    };
    MovingStatus {
        pod: format!("{}/{}", underway.workload.namespace, underway.pod),
        uid: underway.uid.clone(),
        from: underway.from.clone(),
        from_tier: underway.from_tier.label().unwrap_or_default().into(),
        action: action.into(),
        workload: workload(&underway.workload),
        pods: underway.pods,
        started_at: Some(underway.started),
        to: underway.trace.to.clone(),
        after: underway.trace.after.map(|youngest| youngest.created),
        after_pods: underway.trace.after.and_then(|youngest| youngest.pods),
        // Of an earlier primary it is as it stands there, if it does.
        epoch: if underway.trace.earlier { known.map_or(Some(0), |known| known.epoch) } else { Some(epoch) },
        failed: underway.trace.failed,
        unready: underway.trace.unready,
    }
}

/// What was known of the primary when the last leader wrote the status.
pub(crate) fn restored(status: &DatabaseClusterStatus) -> Restored {
    let claimant = |c: &ClaimantStatus| Primary { name: c.name.clone(), timeline: c.timeline };
    let member = |member: &MemberStatus| {
        let (name, host) = (member.name.clone(), member.host.clone());
        Member { name, host, port: member.port, api_url: member.api_url.clone() }
    };
    Restored {
        belief: Belief {
            primary: status.primary.clone(),
            // What isn't written there is none.
            timeline: status.timeline.or_else(|| status.primary.as_ref().map(|_| 0)),
            highest_timeline: status.highest_timeline,
            system_identifier: status.system_identifier.clone(),
            epoch: status.epoch,
            contested: status.contested.iter().map(claimant).collect(),
            dismissed: status.dismissed.iter().map(claimant).collect(),
        },
        members: status.members.iter().map(member).collect(),
    }
}

fn conditions(facts: &Facts<'_>) -> Vec<Now> {
    let Facts { view, credentials, witness, memory: Memory { journal, .. }, .. } = facts;
    let Decided { plan, gate, breaker, emptying, .. } = facts.decided;
    let split = matches!(view.state, PrimaryState::SplitBrain(_));
    let frozen = view.why_frozen();
    let halted = matches!(gate, Some(Gate::Halted { .. }));
    let under_way = journal.underway.iter().filter(|move_| !move_.trace.failed).count();
    let between = journal.underway.is_empty() && facts.decided.between_moves;
    let moving = (under_way > 0 || between) && !halted;
    let (moving_reason, moving_message) = match gate {
        Some(gate) if halted => (gate.name(), gate.to_string()),
        _ if between => ("Moving", "the next move is about to begin".to_owned()),
        _ if under_way == 1 => ("Moving", "one move is under way".to_owned()),
        _ if moving => ("Moving", format!("{under_way} moves are under way")),
        Some(gate) => (gate.name(), gate.to_string()),
        None if !breaker.namespaces.is_empty() => ("NamespaceHalted", halted_in(breaker)),
        None if plan.held.is_empty() => ("Done", "every follower is where it should be".into()),
        None if plan.held.len() == 1 => ("Held", "one follower stays where it is; status.held says why".to_owned()),
        None => ("Held", format!("{} followers stay where they are; status.held says why", plan.held.len())),
    };
    let credentials = credentials.map(|standing| Now {
        type_: ConditionType::CredentialsCurrent,
        holds: matches!(standing, SecretState::Current { .. }),
        reason: standing.name(),
        message: standing.to_string(),
    });
    let witness = witness.map(|standing| Now {
        type_: ConditionType::WitnessSeen,
        holds: standing.seen,
        reason: if standing.seen { "Heard" } else { "NotHeard" },
        message: standing.why.clone(),
    });
    let labels = facts.refusing().map(|refusing| Now {
        type_: ConditionType::LabelsAccepted,
        holds: refusing.is_empty(),
        reason: match (refusing.is_empty(), facts.decided.labelling.others.is_empty()) {
            (true, _) => "Accepted",
            (false, true) => "Refused",
            (false, false) => "KeyInUse",
        },
        message: if refusing.is_empty() { "no node's label or taint is refused".to_owned() } else { refusing.clone() },
    });
    let hosts = (!facts.hosts.is_empty()).then(|| Now {
        type_: ConditionType::HostsAccepted,
        holds: false,
        reason: "LeftOut",
        message: listed(facts.hosts),
    });
    let emptying = emptying.as_ref().map(|emptying| Now {
        type_: ConditionType::EvictsByTaint,
        holds: !emptying.withdraw && !emptying.bearing.is_empty(),
        reason: emptying.waits.as_ref().map_or("Done", Waits::name),
        message: emptying.to_string(),
    });
    let always = [
        Now { type_: ConditionType::Accepted, holds: true, reason: "Accepted", message: "the spec is followed".into() },
        Now {
            type_: ConditionType::PrimaryKnown,
            holds: view.known().is_some(),
            reason: view.state.name(),
            message: view.why.clone(),
        },
        Now {
            type_: ConditionType::SplitBrain,
            holds: split,
            reason: if split { "SeveralPrimaries" } else { "NoSplit" },
            message: if split { view.why.clone() } else { "no two members act as primary".into() },
        },
        Now {
            type_: ConditionType::Frozen,
            holds: !view.frozen.is_empty(),
            reason: if view.frozen.is_empty() { "NotFrozen" } else { "DatabaseSaysSo" },
            message: if view.frozen.is_empty() { "the database allows movement".into() } else { frozen },
        },
        Now { type_: ConditionType::Moving, holds: moving, reason: moving_reason, message: moving_message },
    ];
    let ready = facts.readiness.and_then(ready_for_failover);
    always
        .into_iter()
        .chain(labels)
        .chain(credentials)
        .chain(witness)
        .chain(hosts)
        .chain(emptying)
        .chain(ready)
        .collect()
}

/// Where replacements failed, as people are told.
pub(super) fn halted_in(breaker: &Breaker) -> String {
    let all: Vec<String> =
        breaker.namespaces.iter().map(|(name, failed)| format!("{name} ({failed} failed)")).collect();
    format!(
        "halted in namespaces whose replacements did not become Ready in time (spec.movement.replacementTimeout): {}",
        listed(&all)
    )
}

/// Sets a condition; the time of its last transition changes only with its status (KEP-1623).
fn set(conditions: &mut Vec<Condition>, now: Now, generation: Option<i64>, wall: Timestamp) {
    let status = if now.holds { "True" } else { "False" };
    let before = conditions.iter().position(|condition| condition.type_ == now.type_.name());
    let since = before
        .map(|at| &conditions[at])
        .filter(|condition| condition.status == status)
        .map_or_else(|| Time(wall), |condition| condition.last_transition_time.clone());
    let condition = Condition {
        type_: now.type_.name().into(),
        status: status.into(),
        reason: now.reason.into(),
        message: line(&now.message),
        observed_generation: generation,
        last_transition_time: since,
    };
    match before {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// The schema of conditions allows 32 kB, that of `status.message` anything; people want a line.
fn line(text: &str) -> String {
    text.chars().take(1000).collect()
}

/// Writes the conditions that say that a database is not followed, and why, also of one that can't be read. What they said of its
/// primary and its movement while it was followed is over; what the next one goes on from stays. False: it must be tried again.
pub(super) async fn write_refusal(client: &Client, name: &str, why: &str) -> bool {
    let write = async || -> Result<(), Failure> {
        let mut object = cluster::database(client, name).await?;
        let mut status: DatabaseClusterStatus = match object.data["status"].take() {
            Value::Null => DatabaseClusterStatus::default(),
            status => serde_json::from_value(status)?,
        };
        let refusal =
            Now { type_: ConditionType::Accepted, holds: false, reason: "NotAccepted", message: why.to_owned() };
        let (generation, wall) = (object.metadata.generation, Timestamp::now());
        let kept = [ConditionType::Accepted, ConditionType::PrimaryKnown, ConditionType::Ready, ConditionType::Stalled];
        status.conditions.retain(|condition| kept.iter().any(|type_| condition.type_ == type_.name()));
        let unknown = Now {
            type_: ConditionType::PrimaryKnown,
            holds: false,
            reason: NOT_FOLLOWED,
            message: format!("it is not followed: {why}"),
        };
        status.message = Some(line(&unknown.message));
        set(&mut status.conditions, unknown, generation, wall);
        set(&mut status.conditions, refusal, generation, wall);
        standing::tell(&mut status.conditions, generation, wall);
        // What there is to say of this spec is said.
        status.observed_generation = generation;
        let version = object.resource_version().unwrap_or_default();
        Ok(cluster::write_status(client, name, &status, &version).await.map(|_| ())?)
    };
    let written = write().await;
    if let Err(error) = &written {
        let error: &dyn std::error::Error = &**error;
        tracing::warn!(database = name, error, "could not write the status; will try again");
    }
    written.is_ok()
}

#[cfg(test)]
mod tests;
