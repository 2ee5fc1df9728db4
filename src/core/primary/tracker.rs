//! The state machine: looks follow each other, and what was believed bears on what is.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    Belief, FrozenReason, Observation, Primary, PrimaryState, PrimaryView,
    answer::{self, Member, Members, Standing},
    credible,
    identity::{Alias, is_address},
    judge::{self, Absence, Past, Split, Verdict},
    observer::{self, WitnessAnswer},
};

/// A member that says `cluster_unlocked` counts only if it reached Patroni's store at most this much before the
/// primary did (by their own clocks, hence not zero). One that is cut off from the store says so for as long as it is
/// cut off, and that must not hold up the pods of a database which has long got a new primary.
const UNLOCKED_LAG_S: u64 = 5;

/// Decides who is primary. Feed it with every member's latest answer whenever one changes, and once in a while.
#[derive(Debug, Clone)]
pub struct PrimaryTracker {
    past: Past,
    max_age: Duration,
    /// Two that hold the leader lock are a split brain after this long: until then one of both answers may be an old one.
    contradicted_after: Duration,
    /// Since when there have been two.
    contradicted_since: Option<Instant>,
    /// Where each member's answer came from.
    hosts: BTreeMap<String, String>,
    knows_locks: bool,
    /// The member that a person named as the primary, and in which epoch; taken at its word as soon as it is confirmed.
    accepted: Option<(String, u64)>,
    confirmed_at: Option<Instant>,
    known_since: Option<Instant>,
    calm_since: Option<Instant>,
}

impl PrimaryTracker {
    /// Goes on from what was believed. Answers older than `max_age` count as none.
    #[must_use]
    pub fn new(belief: Belief, max_age: Duration) -> Self {
        let past = Past { belief, ..Past::default() };
        Self {
            past,
            max_age,
            contradicted_after: max_age,
            contradicted_since: None,
            hosts: BTreeMap::new(),
            knows_locks: true,
            accepted: None,
            confirmed_at: None,
            known_since: None,
            calm_since: None,
        }
    }

    /// The same, of answers that hold until the next one and are written down whenever they change.
    #[must_use]
    pub fn lasting(belief: Belief, contradicted_after: Duration) -> Self {
        Self { contradicted_after, ..Self::new(belief, Duration::MAX) }
    }

    /// What is observed doesn't tell who holds the leader lock: several may act as primary, and timelines tell.
    pub fn knows_no_locks(&mut self) {
        self.knows_locks = false;
    }

    /// Where each member's latest answer came from, by the same names as the observations that follow.
    pub fn heard_from(&mut self, hosts: BTreeMap<String, String>) {
        self.hosts = hosts;
    }

    /// A person's word that `member` is the primary, whatever timelines and identifiers were seen before. It holds
    /// from the moment at which the member itself says so, and is void when the primary is known without it, or has
    /// changed since `epoch`, in which it was given.
    pub fn accept(&mut self, member: String, epoch: u64) {
        self.accepted = Some((member, epoch));
    }

    /// The person takes the word back, if it isn't fulfilled yet.
    pub fn withdraw(&mut self) {
        self.accepted = None;
    }

    /// Whoever was known by an address is known by its name from now on, and that is no change.
    pub fn rename(&mut self, aliases: &BTreeMap<String, Alias>) {
        let alias = |claim: &Primary| {
            let alias = aliases.get(&claim.name)?;
            alias.timeline.is_none_or(|timeline| timeline == claim.timeline).then(|| alias.name.clone())
        };
        let named = |claim: Primary| Primary { name: alias(&claim).unwrap_or(claim.name), timeline: claim.timeline };
        let belief = &mut self.past.belief;
        if let Some(name) = belief.last().as_ref().and_then(alias) {
            belief.primary = Some(name);
        }
        for claims in [&mut belief.contested, &mut belief.dismissed] {
            if claims.iter().any(|claim| aliases.contains_key(&claim.name)) {
                *claims = std::mem::take(claims).into_iter().map(named).collect();
            }
        }
        if let Some((member, _)) = &mut self.accepted
            && let Some(alias) = aliases.get(member)
        {
            member.clone_from(&alias.name);
        }
    }

    /// One look at the latest answer of every member, by member name, or by address while the name isn't known.
    pub fn observe(&mut self, observations: &BTreeMap<String, Observation>, now: Instant) -> PrimaryView {
        self.observe_with(observations, &[], now)
    }

    /// The same, with what a witness has of members that are silent to us.
    pub fn observe_with(
        &mut self,
        observations: &BTreeMap<String, Observation>,
        sightings: &[WitnessAnswer],
        now: Instant,
    ) -> PrimaryView {
        let mut members = answer::members(observations, self.max_age, now);
        let alone = observer::add(&mut members, sightings, self.max_age, now);
        let gives_up = |claim: &Primary| members.get(&claim.name).is_some_and(|member| member.gives_up(claim));
        self.past.belief.contested.retain(|claim| !gives_up(claim));
        self.past.belief.dismissed.retain(|claim| {
            claim.timeline_if_any().is_some() || !members.get(&claim.name).is_some_and(Member::refuses)
        });
        for (name, host) in &self.hosts {
            if let Some(member) = members.get_mut(name) {
                member.host = Some(host.clone());
            }
        }
        members.values_mut().for_each(|member| member.has_lock &= self.knows_locks);
        self.take_word(&members);
        self.notice_contradiction(&members, now);
        let verdict = judge::judge(&self.past, &members);
        match &verdict {
            Verdict::Known(primary) => self.confirm(primary, &members, now),
            _ => self.known_since = None,
        }
        let known = matches!(verdict, Verdict::Known(_));
        let confirmed = judge::confirmed(&members);
        let lasts = self.past.belief.last().is_some_and(|last| confirmed.contains(&last));
        self.past.vacant = !known && !lasts && (self.past.vacant || confirmed.is_empty());
        match &verdict {
            Verdict::SplitBrain { claimants, because: Split::SameTimeline } => {
                // Who never held the lock on this timeline claims it only for as long as it is seen to.
                let lasting = |claimant: &&Primary| {
                    let stale = members.get(&claimant.name).is_some_and(Member::is_stale);
                    let belief = &self.past.belief;
                    !stale || belief.contested.contains(*claimant) || belief.last().as_ref() == Some(*claimant)
                };
                self.past.belief.contested = claimants.iter().filter(lasting).cloned().collect();
            }
            Verdict::Known(_) => {
                self.past.belief.contested.clear();
                self.accepted = None;
            }
            _ => {}
        }
        let mut view = self.view(&verdict, &members);
        if let Some(alone) = alone {
            view.why.push_str(&format!("; {alone}"));
        }
        self.calm_since = view.movement_allowed().then(|| self.calm_since.unwrap_or(now));
        view.calm_since = self.calm_since;
        view
    }

    fn notice_contradiction(&mut self, members: &Members, now: Instant) {
        let undecided = &judge::confirmed(members) - &self.past.belief.dismissed;
        let several = credible::with_lock(&undecided, members).len() > 1;
        self.contradicted_since = several.then(|| self.contradicted_since.unwrap_or(now));
        let lasts = |since| now.saturating_duration_since(since) > self.contradicted_after;
        self.past.contradicted = self.contradicted_since.is_some_and(lasts);
    }

    fn take_word(&mut self, members: &Members) {
        let Some((name, epoch)) = &self.accepted else { return };
        if *epoch != self.past.belief.epoch {
            self.accepted = None;
            return;
        }
        let Some(member) = members.get(name) else { return };
        if let Standing::Confirmed { timeline } = member.standing {
            // What speaks against it is set aside; who was primary is not, so that the change is counted.
            let contested = std::mem::take(&mut self.past.belief.contested);
            let others = judge::confirmed(members).into_iter().chain(judge::without_lock(members)).chain(contested);
            let others = others.chain(self.past.belief.last());
            self.past.belief.dismissed.extend(others);
            self.past.belief.dismissed.retain(|dismissed| dismissed.name != *name);
            self.past.belief.highest_timeline = Some(timeline);
            self.past.belief.system_identifier = member.system_identifier().map(str::to_owned);
            self.accepted = None;
        }
    }

    fn confirm(&mut self, primary: &Primary, members: &Members, now: Instant) {
        if self.past.belief.primary.as_ref() != Some(&primary.name) {
            self.past.belief.epoch += 1;
            self.confirmed_at = None;
            self.known_since = None;
            self.calm_since = None;
        }
        // Who claims a lower timeline is not believed anyhow, but contradicts for as long as it says that it has the lock.
        let confirmed = judge::confirmed(members);
        let counts = |claim: &Primary| claim.timeline >= primary.timeline || confirmed.contains(claim);
        self.past.belief.dismissed.retain(counts);
        // Either a higher timeline, or the first one of a database that was made anew.
        self.past.belief.highest_timeline = Some(primary.timeline);
        self.past.belief.primary = Some(primary.name.clone());
        self.past.belief.timeline = Some(primary.timeline);
        if let Some(identity) = members[&primary.name].system_identifier() {
            self.past.belief.system_identifier = Some(identity.to_owned());
        }
        self.confirmed_at.get_or_insert(now);
        self.known_since.get_or_insert(now);
    }

    fn view(&self, verdict: &Verdict, members: &Members) -> PrimaryView {
        let state = match verdict {
            Verdict::Known(primary) => PrimaryState::Known(primary.clone()),
            Verdict::Promoting { member } => PrimaryState::Promoting { member: member.clone() },
            Verdict::Degraded { member } => PrimaryState::Degraded { member: member.clone() },
            Verdict::SplitBrain { claimants, .. } => PrimaryState::SplitBrain(claimants.iter().cloned().collect()),
            Verdict::Unknown(_) => PrimaryState::Unknown,
        };
        let stale = self.stale(&state, members);
        PrimaryView {
            why: self.why(verdict, members, &stale),
            frozen: self.frozen(&state, &stale, members),
            stale,
            state,
            last: self.past.belief.last(),
            epoch: self.past.belief.epoch,
            highest_timeline: self.past.belief.highest_timeline,
            system_identifier: self.past.belief.system_identifier.clone(),
            contested: self.past.belief.contested.clone(),
            dismissed: self.past.belief.dismissed.clone(),
            confirmed_at: self.confirmed_at,
            known_since: self.known_since,
            calm_since: None,
        }
    }

    /// Members that act as primary although another one is known to be it.
    fn stale(&self, state: &PrimaryState, members: &Members) -> Vec<Primary> {
        let PrimaryState::Known(primary) = state else { return Vec::new() };
        let acting = |(name, member): (&String, &Member)| {
            let timeline = match member.standing {
                Standing::Confirmed { timeline } => timeline,
                Standing::Stale { timeline } => timeline.unwrap_or(0),
                Standing::Troubled if member.may_be_writable() => 0,
                _ => return None,
            };
            Some(Primary { name: name.clone(), timeline })
        };
        members.iter().filter_map(acting).filter(|other| other.name != primary.name).collect()
    }

    fn frozen(&self, state: &PrimaryState, stale: &[Primary], members: &Members) -> Vec<FrozenReason> {
        let body = |name: &str| members.get(name).and_then(|m| m.body.as_ref());
        let primary_saw_store_s = match state {
            PrimaryState::Known(primary) => body(&primary.name).and_then(|body| body.dcs_last_seen_s),
            _ => None,
        };
        let behind = |seen_s: Option<u64>| match (seen_s, primary_saw_store_s) {
            (Some(seen_s), Some(primary_s)) => seen_s.saturating_add(UNLOCKED_LAG_S) < primary_s,
            _ => false,
        };
        let who = |which: &dyn Fn(&answer::MemberBody) -> bool| -> Vec<String> {
            members.iter().filter(|(_, m)| m.body.as_ref().is_some_and(which)).map(|(name, _)| name.clone()).collect()
        };
        let believed = self.past.belief.system_identifier.as_ref();
        let reasons = [
            FrozenReason::ClusterUnlocked(who(&|body| body.cluster_unlocked && !behind(body.dcs_last_seen_s))),
            FrozenReason::Paused(who(&|body| body.pause)),
            FrozenReason::Failsafe(who(&|body| body.failsafe)),
            FrozenReason::OtherDatabase(who(&|body| {
                believed.is_some() && body.system_identifier.is_some() && body.system_identifier.as_ref() != believed
            })),
        ];
        let applies = |reason: &FrozenReason| match reason {
            FrozenReason::ClusterUnlocked(by)
            | FrozenReason::Paused(by)
            | FrozenReason::Failsafe(by)
            | FrozenReason::OtherDatabase(by) => !by.is_empty(),
            FrozenReason::SplitBrain => false,
        };
        let mut reasons: Vec<FrozenReason> = reasons.into_iter().filter(applies).collect();
        let split = match state {
            PrimaryState::SplitBrain(_) => true,
            // Without the lock it may be writable, and isn't outbid: somebody promoted it behind Patroni's back. Where
            // something else freezes (a pause) people are at it.
            PrimaryState::Known(primary) => {
                let outbids = |other: &Primary| other.timeline > primary.timeline && members[&other.name].is_stale();
                reasons.is_empty() && stale.iter().any(outbids)
            }
            _ => false,
        };
        if split {
            reasons.insert(0, FrozenReason::SplitBrain);
        }
        reasons
    }

    fn why(&self, verdict: &Verdict, members: &Members, stale: &[Primary]) -> String {
        let answering = members.values().filter(|m| m.body.is_some()).count();
        let silence = |name: &str| match members.get(name).map(|m| &m.standing) {
            // What comes instead of an answer is said by its own verb.
            Some(Standing::Silent(error)) if error.starts_with("answered ") => error.clone(),
            Some(Standing::Silent(error)) => format!("doesn't answer ({error})"),
            _ => "doesn't answer".to_owned(),
        };
        let because = |name: &str| members.get(name).map_or("", |member| member.because.as_str());
        match verdict {
            Verdict::Known(primary) => {
                let because = because(&primary.name);
                let witnessed = members.iter().filter(|(_, m)| m.witnessed).map(|(name, _)| name.as_str());
                let witnessed: Vec<_> = witnessed.collect();
                let ours = answering - witnessed.len();
                // Nobody knows which member a silent address without a name would lead to.
                let total = members.iter().filter(|(name, m)| m.body.is_some() || !is_address(name)).count();
                let answer = if ours == 1 { "answers" } else { "answer" };
                let mut text = format!("{primary} is primary: {because}; {ours} of {total} members {answer}");
                if !witnessed.is_empty() {
                    text += &format!(", and {} only to the witness", witnessed.join(", "));
                }
                let silent = silent(members, |standing| matches!(standing, Standing::Silent(_)));
                if !silent.is_empty() {
                    text += &format!("; no answer from {silent}");
                }
                if !stale.is_empty() {
                    text += &format!("; {}", told_of(stale));
                }
                text
            }
            Verdict::Promoting { member } | Verdict::Degraded { member } => format!("{member} {}", because(member)),
            Verdict::SplitBrain { claimants, because } => {
                let alone = claimants.len() == 1;
                let claimants = enumerated(claimants.iter().map(ToString::to_string).collect());
                match because {
                    Split::SameTimeline => {
                        format!("split brain: {claimants} may each be the primary; none is believed")
                    }
                    Split::TwoLocks => format!(
                        "split brain: {claimants} each say, and go on saying, that they hold the leader lock, which only \
                         one can; none is believed"
                    ),
                    Split::Identity if alone => format!(
                        "split brain: {claimants} acts as primary, but its database_system_identifier is not the one \
                         known; it is not believed"
                    ),
                    Split::Identity => format!(
                        "split brain: {claimants} may each be the primary, with a database_system_identifier that \
                         differs between them or from the one known; none is believed"
                    ),
                }
            }
            Verdict::Unknown(absence) => match absence {
                Absence::NoMembers => "no member is known that could be asked".to_owned(),
                Absence::Waiting(names) => format!("waiting for the first answer of {}", names.join(", ")),
                Absence::OldTimeline(primary) => format!(
                    "{primary} acts as primary, but timeline {} was seen before: it is not believed",
                    self.past.belief.highest_timeline.unwrap_or(0)
                ),
                Absence::Leap(primary, known) => format!(
                    "{primary} acts as primary, but nobody else knows of a timeline above {known}: it is not believed until \
                     another member does, or a person names it (switchover resume DATABASE --primary {})",
                    primary.name
                ),
                Absence::Nameless(primary, might_be) if might_be.is_empty() => {
                    format!("{primary} acts as primary, but doesn't say its name: waiting for a list of the members")
                }
                Absence::Nameless(primary, might_be) => format!(
                    "{primary} acts as primary, but doesn't say its name: it is not believed until it is known which \
                     member it is; it may be {}",
                    either(might_be.clone())
                ),
                Absence::Standby(name) => {
                    format!("{name} leads a standby cluster, which has no primary until it is promoted")
                }
                Absence::WithoutLock(primary) => {
                    format!("{primary} runs as primary without the leader lock, and is not believed")
                }
                Absence::LastSilent(name) => {
                    format!("{name}, the last primary, {}, and {}", silence(name), nobody(answering))
                }
                Absence::NobodyAnswers => format!("no member answers: {}", silent(members, |_| true)),
                Absence::NobodyIsPrimary => match (answering, members.len()) {
                    (1, 1) => "the only member is not primary".to_owned(),
                    (1, known) => format!("of {known} members only one answers, and it is not primary"),
                    (_, known) => format!("{}, of {known} known", nobody(answering)),
                },
            },
        }
    }
}

/// That none of so many is primary.
fn nobody(answering: usize) -> String {
    match answering {
        1 => "the only member that answers is not primary".to_owned(),
        _ => format!("none of the {answering} members that answer is primary"),
    }
}

/// `a`, `a and b`, `a, b and c`.
fn enumerated(names: Vec<String>) -> String {
    joined(names, "and")
}

/// `a`, `a or b`, `a, b or c`.
fn either(names: Vec<String>) -> String {
    joined(names, "or")
}

fn joined(mut names: Vec<String>, word: &str) -> String {
    match names.pop() {
        Some(last) if !names.is_empty() => format!("{} {word} {last}", names.join(", ")),
        last => last.unwrap_or_default(),
    }
}

/// Those who act as primary and are not believed. Without a timeline nobody knows whether they are writable.
fn told_of(stale: &[Primary]) -> String {
    let tell = |primary: &Primary| match primary.timeline {
        0 => format!("{} may still act as primary and is not believed", primary.name),
        _ => format!("{primary} still acts as primary and is not believed"),
    };
    stale.iter().map(tell).collect::<Vec<_>>().join("; ")
}

/// Who of `which` doesn't answer, and why. What goes for all of them is said once.
fn silent(members: &Members, which: impl Fn(&Standing) -> bool) -> String {
    let silent = members.iter().filter(|(_, member)| member.body.is_none() && which(&member.standing));
    let mut silent: Vec<(&str, String)> = silent
        .map(|(name, member)| match &member.standing {
            Standing::Silent(error) => (name.as_str(), format!(" ({error})")),
            _ => (name.as_str(), String::new()),
        })
        .collect();
    if let Some(((_, last), others)) = silent.split_last_mut()
        && others.iter().all(|(_, other)| other == last)
    {
        others.iter_mut().for_each(|(_, other)| other.clear());
    }
    silent.iter().map(|(name, error)| format!("{name}{error}")).collect::<Vec<_>>().join(", ")
}
