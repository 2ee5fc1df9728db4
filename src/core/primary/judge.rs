//! One look at all members: what do their answers, together with what was believed, amount to?

use std::collections::BTreeSet;

use super::{
    Belief, Primary,
    answer::{Member, Members, Standing},
    credible,
};

/// What one look amounts to. Sentences are made from it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Known(Primary),
    Promoting { member: String },
    Degraded { member: String },
    SplitBrain { claimants: BTreeSet<Primary>, because: Split },
    Unknown(Absence),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Split {
    SameTimeline,
    /// Patroni gives one lock, and these have said for long that they hold it.
    TwoLocks,
    /// The claimants have different `database_system_identifier`s, or another one than was believed.
    Identity,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absence {
    NoMembers,
    /// Nothing was ever believed, and these members have not answered yet.
    Waiting(Vec<String>),
    /// A member is confirmed, but on a lower timeline than one that was seen.
    OldTimeline(Primary),
    /// A member is confirmed, but on a timeline so far above this one, the highest that anybody else knows of, that another
    /// member must know of it, too.
    Leap(Primary, u64),
    /// Somebody is confirmed, but it isn't known which one of these members it is.
    Nameless(Primary, Vec<String>),
    /// A standby cluster has no primary.
    Standby(String),
    /// A member runs as primary that never had the leader lock, as far as anybody saw.
    WithoutLock(Primary),
    /// The last primary doesn't answer, and nobody else is primary.
    LastSilent(String),
    NobodyAnswers,
    NobodyIsPrimary,
}

/// Whether every member that answers belongs to `identity`, and they are most of the members: then the database was
/// made anew, and timelines start over.
fn made_anew(members: &Members, identity: &str) -> bool {
    let mut same = 0;
    for member in members.values() {
        match member.system_identifier() {
            Some(other) if other != identity => return false,
            Some(_) => same += 1,
            None => {}
        }
    }
    same * 2 > members.len()
}

/// What earlier looks left open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Past {
    pub belief: Belief,
    /// Since the last primary was confirmed, there was a moment at which nobody was.
    pub vacant: bool,
    /// More than one member has said for long that it holds the leader lock.
    pub contradicted: bool,
}

/// Every member that is confirmed, believed or not.
pub(super) fn confirmed(members: &Members) -> BTreeSet<Primary> {
    let primary = |(name, member): (&String, &Member)| match member.standing {
        Standing::Confirmed { timeline } => Some(Primary { name: name.clone(), timeline }),
        _ => None,
    };
    members.iter().filter_map(primary).collect()
}

/// Every member that says that it runs as primary on some timeline, without the leader lock.
pub(super) fn without_lock(members: &Members) -> impl Iterator<Item = Primary> {
    members.iter().filter_map(|(name, member)| match member.standing {
        Standing::Stale { timeline: Some(timeline) } if member.acts_as_primary() => {
            Some(Primary { name: name.clone(), timeline })
        }
        _ => None,
    })
}

/// Judges the answers.
pub(super) fn judge(past: &Past, members: &Members) -> Verdict {
    let Past { belief, vacant, contradicted } = past;
    let dismissed = &belief.dismissed;
    if members.is_empty() {
        return Verdict::Unknown(Absence::NoMembers);
    }
    let confirmed = &confirmed(members) - dismissed;
    let identities: BTreeSet<&str> = confirmed.iter().filter_map(|p| members[&p.name].system_identifier()).collect();
    let believed = belief.system_identifier.as_deref();
    let renewed = identities.iter().any(|id| believed.is_some_and(|believed| believed != *id));
    // One that fell silent, and that another one follows after a pause, was succeeded.
    let silent = |last: &Primary| {
        matches!(members.get(&last.name).map(|member| &member.standing), None | Some(Standing::Silent(_)))
    };
    let in_office = belief.last().filter(|last| renewed && !*vacant && silent(last) && !dismissed.contains(last));
    if identities.len() > 1 || in_office.is_some() || (renewed && !identities.iter().all(|id| made_anew(members, id))) {
        let claimants = confirmed.into_iter().chain(in_office).collect();
        return Verdict::SplitBrain { claimants, because: Split::Identity };
    }
    // Timelines of a database that was made anew start over, and nobody of the old one has a claim on it.
    let forgotten = Belief { primary: belief.primary.clone(), ..Belief::default() };
    let belief = if renewed { &forgotten } else { belief };

    let floor = belief.highest_timeline.unwrap_or(0);
    let credible = credible::of(&confirmed, belief, members);
    let top = credible.iter().map(|p| p.timeline).max().filter(|top| *top >= floor);
    let leaders: BTreeSet<Primary> = credible.iter().filter(|p| Some(p.timeline) == top).cloned().collect();

    // Whoever claimed this timeline before is still a claimant until it says itself that it is none: out of sight is
    // not out of office. A higher timeline settles it.
    let unrefuted = |claimant: &&Primary| {
        let given_up = members.get(&claimant.name).is_some_and(|member| member.gives_up(claimant));
        top.is_none_or(|top| claimant.timeline >= top) && !given_up
    };
    let mut claimants = leaders.clone();
    claimants.extend(belief.contested.iter().filter(unrefuted).cloned());
    // A primary that crashes before anybody follows it takes its timeline with it, and the next one begins another of the
    // same number.
    let succeeded = |last: &Primary| *vacant && silent(last);
    let last = belief
        .last()
        .filter(|last| !leaders.is_empty() && !dismissed.contains(last) && unrefuted(&last) && !succeeded(last));
    if let Some(last) = last {
        claimants.insert(last);
    }
    // Whoever runs as primary on this very timeline is a claimant, lock or not: both may be writable.
    // Only Patroni's answer counts, which is PostgreSQL's own word: a label that an operator left on a pod is none.
    let identity = leaders.first().and_then(|leader| members[&leader.name].system_identifier());
    let same_database = |name: &str| match (members[name].system_identifier(), identity) {
        (Some(its), Some(identity)) => its == identity,
        _ => true,
    };
    let alike = |claimant: &Primary| Some(claimant.timeline) == top && same_database(&claimant.name);
    claimants.extend(without_lock(members).filter(alike).filter(|claimant| !dismissed.contains(claimant)));
    if claimants.len() > 1 {
        return Verdict::SplitBrain { claimants, because: Split::SameTimeline };
    }
    let holders = credible::with_lock(&confirmed, members);
    if *contradicted || (leaders.is_empty() && holders.len() > 1) {
        return Verdict::SplitBrain { claimants: holders, because: Split::TwoLocks };
    }

    if belief.primary.is_none() {
        // The first belief waits for everybody's first answer, so that it doesn't depend on who is quickest.
        let waiting: Vec<_> = names(members, |m| m.standing == Standing::Pending).collect();
        if !waiting.is_empty() {
            return Verdict::Unknown(Absence::Waiting(waiting));
        }
    }
    if let Some(member) = promoting(members, top) {
        return Verdict::Promoting { member };
    }
    match leaders.first() {
        Some(leader) => Verdict::Known(leader.clone()),
        None => without_leader(belief, members, &confirmed),
    }
}

fn names<'a>(members: &'a Members, which: impl Fn(&Member) -> bool + 'a) -> impl Iterator<Item = String> + 'a {
    members.iter().filter(move |(_, member)| which(member)).map(|(name, _)| name.clone())
}

/// Who holds the lock and is about to be primary: not if somebody is confirmed on a higher timeline already, for then
/// the answer is old. On the same timeline the confirmed one has just lost the lock.
fn promoting(members: &Members, top: Option<u64>) -> Option<String> {
    members
        .iter()
        .filter_map(|(name, member)| match member.standing {
            Standing::Promoting { timeline } if timeline.is_none_or(|t| top.is_none_or(|top| t >= top)) => {
                Some((timeline, std::cmp::Reverse(name)))
            }
            _ => None,
        })
        .max()
        .map(|(_, name)| name.0.clone())
}

fn without_leader(belief: &Belief, members: &Members, confirmed: &BTreeSet<Primary>) -> Verdict {
    let last = belief.primary.as_deref();
    let troubled = |name: &str| {
        let troubled = members.get(name)?.standing == Standing::Troubled;
        troubled.then(|| Verdict::Degraded { member: name.to_owned() })
    };
    // The last primary first: if it is one of several, it is the one that people know.
    if let Some(degraded) = last.into_iter().chain(members.keys().map(String::as_str)).find_map(troubled) {
        return degraded;
    }
    if let Some(name) = last {
        match members.get(name).map(|m| &m.standing) {
            Some(Standing::Stale { timeline }) if timeline.is_none_or(|t| Some(t) >= belief.highest_timeline) => {
                return Verdict::Degraded { member: name.to_owned() };
            }
            _ => {}
        }
    }
    let nameless = members.iter().filter_map(|(place, member)| match &member.standing {
        Standing::Nameless { timeline: Some(timeline), might_be } => {
            Some((Primary { name: place.clone(), timeline: *timeline }, might_be))
        }
        _ => None,
    });
    if let Some((primary, might_be)) = nameless.max_by_key(|(primary, _)| primary.timeline) {
        return Verdict::Unknown(Absence::Nameless(primary, might_be.clone()));
    }
    if let Some((leaping, known)) = confirmed.iter().find_map(|claim| credible::leap(claim, belief, members)) {
        return Verdict::Unknown(Absence::Leap(leaping, known));
    }
    if let Some(outdated) = confirmed.last() {
        return Verdict::Unknown(Absence::OldTimeline(outdated.clone()));
    }
    if let Some(standby) = names(members, |m| m.standing == Standing::StandbyLeader).next() {
        return Verdict::Unknown(Absence::Standby(standby));
    }
    if members.values().all(|m| m.body.is_none()) {
        return Verdict::Unknown(Absence::NobodyAnswers);
    }
    if let Some(primary) = without_lock(members).max_by_key(|primary| primary.timeline) {
        return Verdict::Unknown(Absence::WithoutLock(primary));
    }
    match last.filter(|name| members.get(*name).is_none_or(|m| m.body.is_none())) {
        Some(name) => Verdict::Unknown(Absence::LastSilent(name.to_owned())),
        None => Verdict::Unknown(Absence::NobodyIsPrimary),
    }
}
