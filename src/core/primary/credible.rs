//! Which claims to be the primary are believed of one member alone. A machine that lies, or whoever sits in between, can say
//! any timeline.
//!
//! ```text
//! a timeline up to [`MOST_AT_ONCE`] above the highest known   believed: a failover makes one, one that fails another
//! one that is farther above                                   believed once another member knows of such a one
//! a higher one, while the primary goes on having the lock     believed once another member follows it
//! several at once, while none of them was the primary before  believed is the one that another member follows
//! ```
//!
//! A database that has one member only has nobody else who could know. What an operator's objects or SQL show isn't
//! Patroni's word for a lock: there nobody else is asked.

use std::collections::BTreeSet;

use super::{
    Belief, Primary,
    answer::{Member, Members},
};

/// So many timelines a database gets further between two looks, as far as one member is believed.
const MOST_AT_ONCE: u64 = 2;

/// Of those that are confirmed, the claims that are believed.
pub(super) fn of(confirmed: &BTreeSet<Primary>, belief: &Belief, members: &Members) -> BTreeSet<Primary> {
    let holders = with_lock(confirmed, members);
    let in_office = belief
        .last()
        .and_then(|last| holders.iter().find(|holder| holder.name == last.name && holder.timeline >= last.timeline));
    let timelines: BTreeSet<u64> = holders.iter().map(|holder| holder.timeline).collect();
    let outbids = |claim: &Primary| match in_office {
        Some(primary) => claim.name != primary.name && claim.timeline > primary.timeline,
        None => timelines.len() > 1,
    };
    let followed = |claim: &Primary| {
        others(claim, members).any(|other| !other.has_lock && timeline(other) == Some(claim.timeline))
    };
    let believed = |claim: &&Primary| {
        !holders.contains(*claim)
            || (leap(claim, belief, members).is_none() && (!outbids(claim) || followed(claim)))
    };
    confirmed.iter().filter(believed).cloned().collect()
}

/// Those of whom Patroni says that they hold the leader lock.
pub(super) fn with_lock(confirmed: &BTreeSet<Primary>, members: &Members) -> BTreeSet<Primary> {
    confirmed.iter().filter(|claim| members[&claim.name].has_lock).cloned().collect()
}

/// The claim, if it needs another member's word and has none, and the highest timeline that is known without it.
pub(super) fn leap(claim: &Primary, belief: &Belief, members: &Members) -> Option<(Primary, u64)> {
    if members.len() == 1 || !members[&claim.name].has_lock {
        return None;
    }
    let known = others(claim, members).filter_map(timeline).chain(belief.highest_timeline).max()?;
    (claim.timeline > known.saturating_add(MOST_AT_ONCE)).then(|| (claim.clone(), known))
}

/// Everybody else of the same database who answers, and from another host.
fn others<'a>(claim: &'a Primary, members: &'a Members) -> impl Iterator<Item = &'a Member> {
    let own = &members[&claim.name];
    let same_database = |other: &Member| match (other.system_identifier(), own.system_identifier()) {
        (Some(its), Some(own)) => its == own,
        _ => true,
    };
    let elsewhere = |other: &Member| own.host.is_none() || own.host != other.host;
    let others = members.iter().filter(|(name, _)| **name != claim.name).map(|(_, member)| member);
    others.filter(move |other| elsewhere(other) && same_database(other))
}

fn timeline(member: &Member) -> Option<u64> {
    member.body.as_ref()?.timeline
}
