//! A second pair of eyes: what a witness at another site hears from members that don't answer us.
//!
//! The witness has no vote. Its answer of a member takes the place of the silence that we hear from it, and of nothing else;
//! the ordinary rules then judge all answers together.
//!
//! ```text
//! we have the member's answer                     ours counts, whatever the witness has
//! it is silent to us, the witness has its answer  the witness's counts, and sentences say so
//! its first answer to us is awaited               we wait
//! only the witness knows the member               it isn't added
//! nobody answers us at all                        the witness alone is believed nothing
//! ```

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    MemberBody,
    answer::{Member, Members, Standing},
};

/// One member's answer, as the witness has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessAnswer {
    /// The member's name, or its URL while the witness doesn't know the name.
    pub member: String,
    /// Base URL that the witness asks it at.
    pub url: Option<String>,
    /// 200 or 503.
    pub status: u16,
    pub body: MemberBody,
    /// When the witness heard it, by our own clock.
    pub at: Instant,
}

/// Adds what the witness sees to the members as we see them. If nobody answers us, nothing is added, and what comes back is
/// what to tell people.
pub(super) fn add(
    members: &mut Members,
    sightings: &[WitnessAnswer],
    max_age: Duration,
    now: Instant,
) -> Option<String> {
    let seen = best(members, sightings, max_age, now);
    if members.values().all(|member| member.body.is_none()) {
        return (!seen.is_empty()).then(|| alone(&seen));
    }
    for (name, (asked, sighting)) in seen {
        // Who was known by an address only is known by name now.
        members.remove(&asked);
        members.insert(name, Member::witnessed(sighting.status, &sighting.body));
    }
    None
}

/// The latest sighting of every member that is silent to us: by its name, with what we call it.
fn best<'a>(
    members: &Members,
    sightings: &'a [WitnessAnswer],
    max_age: Duration,
    now: Instant,
) -> BTreeMap<String, (String, &'a WitnessAnswer)> {
    let mut best: BTreeMap<String, (String, &WitnessAnswer)> = BTreeMap::new();
    let weight = |sighting: &WitnessAnswer| (sighting.at, sighting.status, sighting.body.clone());
    let fresh = |sighting: &&WitnessAnswer| now.saturating_duration_since(sighting.at) <= max_age;
    for sighting in sightings.iter().filter(fresh) {
        // Whoever answers is who it says it is.
        let name = sighting.body.name.as_ref().unwrap_or(&sighting.member);
        let (asked, name) = match &sighting.url {
            _ if members.contains_key(name) => (name, name),
            Some(url) if members.contains_key(url) => (url, sighting.body.name.as_ref().unwrap_or(url)),
            _ => continue,
        };
        let silent = matches!(members[asked].standing, Standing::Silent(_));
        if silent && best.get(name).is_none_or(|(_, known)| weight(known) < weight(sighting)) {
            best.insert(name.clone(), (asked.clone(), sighting));
        }
    }
    best
}

fn alone(seen: &BTreeMap<String, (String, &WitnessAnswer)>) -> String {
    let shown = |(name, (_, sighting)): (&String, &(String, &WitnessAnswer))| {
        let member = Member::witnessed(sighting.status, &sighting.body);
        match member.standing {
            Standing::Confirmed { timeline } => format!("{name} (primary, timeline {timeline})"),
            _ => name.clone(),
        }
    };
    let shown: Vec<String> = seen.iter().map(shown).collect();
    format!("only the witness sees {}: on its word alone nothing is believed or moved", shown.join(", "))
}

#[cfg(test)]
mod tests;
