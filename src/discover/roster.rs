//! Whom to ask, when, and what they said last. No I/O: the task beside it asks.

mod endpoint;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use self::endpoint::{Endpoint, named};
use super::{
    Member,
    pace::Pauses,
    patroni::{ClusterBody, MAX_MEMBERS, host_of},
};
use crate::core::{
    hosts::{HostRules, RefusedHost, is_loopback},
    primary::{Alias, Answer, Identities, Observation, Who},
};

/// A member that is missing from this many lists in a row, each from the confirmed primary's cluster, is gone …
const GONE_AFTER_LISTS: u8 = 2;
/// … if that takes so long: members that lose Patroni's store register anew within its ttl (30 s) and `loop_wait`.
const GONE_AFTER: Duration = Duration::from_secs(60);
/// So long it is remembered who has answered at a URL where somebody else answers, too.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Listed {
    member: Member,
    /// Lists in a row that lacked it, and when the first of them came.
    missing: u8,
    missing_since: Option<Instant>,
}

impl Listed {
    const fn new(member: Member) -> Self {
        Self { member, missing: 0, missing_since: None }
    }
}

/// The members of one database and the URLs that they are asked at.
#[derive(Debug)]
pub(crate) struct Roster {
    /// By base URL.
    endpoints: BTreeMap<String, Endpoint>,
    /// By name.
    members: BTreeMap<String, Listed>,
    identities: Identities,
    hosts: Arc<HostRules>,
    /// By member: addresses that it states and that are left out, in sentences.
    refused: BTreeMap<String, Vec<String>>,
    /// When the list was asked for last.
    list_asked: Option<Instant>,
}

impl Roster {
    /// `seeds` are base URLs; `members` is what was known before a restart.
    pub(crate) fn new(
        seeds: impl IntoIterator<Item = String>,
        members: Vec<Member>,
        hosts: Arc<HostRules>,
        now: Instant,
    ) -> Self {
        let mut refused = BTreeMap::new();
        let listed = |member: Member| {
            let (member, why) = admit(member, &hosts);
            refused.insert(member.name.clone(), why);
            (member.name.clone(), Listed::new(member))
        };
        let mut roster = Self {
            endpoints: seeds.into_iter().map(|url| (url, Endpoint::new(true, now))).collect(),
            members: members.into_iter().take(MAX_MEMBERS).map(listed).collect(),
            identities: Identities::default(),
            refused,
            hosts,
            list_asked: None,
        };
        roster.follow_members(now);
        roster.identify_members(None, now);
        roster
    }

    /// URLs that are to be asked now: one request at a time each, a pause from one request's start to the next.
    pub(crate) fn due(&self, pauses: &Pauses, now: Instant, max_age: Duration) -> Vec<String> {
        let pause = self.pause_of(pauses);
        let waited = |endpoint: &Endpoint| endpoint.asked_at.is_none_or(|at| at + pause(endpoint) <= now);
        self.waiting(now, max_age).filter(|(_, endpoint)| waited(endpoint)).map(|(url, _)| url.clone()).collect()
    }

    /// When [`Roster::due`] is worth asking again, as far as it is known by now.
    pub(crate) fn next_due(&self, pauses: &Pauses, now: Instant, max_age: Duration) -> Option<Instant> {
        let pause = self.pause_of(pauses);
        let due = |(_, endpoint): (&String, &Endpoint)| endpoint.asked_at.map(|at| at + pause(endpoint));
        self.waiting(now, max_age).filter_map(due).min()
    }

    /// Who is asked, now or later.
    fn waiting(&self, now: Instant, max_age: Duration) -> impl Iterator<Item = (&String, &Endpoint)> {
        let idle = self.endpoints.iter().filter(|(_, endpoint)| !endpoint.in_flight);
        idle.filter(move |(url, endpoint)| !self.superfluous(url, endpoint, now, max_age))
    }

    /// Whether it is known of every last answer whose it is.
    fn knows_names(&self) -> bool {
        self.endpoints.values().all(|endpoint| endpoint.nameless.is_none())
    }

    /// The longer pause is for who was last heard to follow, at a URL where nobody else answers, while the primary says that it is one and
    /// everybody's name is known.
    fn pause_of<'p>(&self, pauses: &'p Pauses) -> impl Fn(&Endpoint) -> Duration + use<'p> {
        let followers = pauses.followers.as_ref().filter(|(primary, _)| {
            let holds = |endpoint: &Endpoint| endpoint.only_speaker() == Some((primary, 200));
            self.knows_names() && self.endpoints.values().any(holds)
        });
        move |endpoint| match followers {
            Some((primary, longer)) if endpoint.follows(primary) => *longer,
            _ => pauses.each,
        }
    }

    /// A further address of members that all answer at the addresses which they state themselves.
    fn superfluous(&self, url: &str, endpoint: &Endpoint, now: Instant, max_age: Duration) -> bool {
        let answers_elsewhere = |name: &String| {
            let listed = self.members.get(name);
            let stated = listed.and_then(|listed| self.endpoints.get(listed.member.api_url.as_ref()?));
            let answer = stated.and_then(|endpoint| endpoint.heard.get(name));
            answer.is_some_and(|answer| now.saturating_duration_since(answer.at) <= max_age)
        };
        if !matches!(endpoint.nameless, None | Some(Who::Member(_))) {
            return false;
        }
        let mut names = endpoint.heard.keys().chain(&endpoint.speaker).peekable();
        names.peek().is_some() && self.stating(url).next().is_none() && names.all(answers_elsewhere)
    }

    /// Notes that the list of members is asked for.
    pub(crate) const fn asks_for_list(&mut self, now: Instant) {
        self.list_asked = Some(now);
    }

    /// The members that state this URL as theirs.
    fn stating<'a>(&'a self, url: &'a str) -> impl Iterator<Item = &'a str> {
        let stated = self.members.values().filter(move |listed| listed.member.api_url.as_deref() == Some(url));
        stated.map(|listed| listed.member.name.as_str())
    }

    /// Whom an outcome at a URL is about that doesn't say so itself: the member that states the URL, else the only one that
    /// was heard there. `None` if that may be several.
    fn owner<'a>(&'a self, url: &'a str, endpoint: &'a Endpoint) -> Option<&'a str> {
        let mut stating = self.stating(url);
        match (stating.next(), stating.next()) {
            (Some(only), None) => Some(only),
            (Some(_), Some(_)) => None,
            (None, _) if endpoint.heard.len() > 1 => None,
            (None, _) => endpoint.speaker.as_deref(),
        }
    }

    pub(crate) fn asked(&mut self, url: &str, now: Instant) {
        if let Some(endpoint) = self.endpoints.get_mut(url) {
            endpoint.asked_at = Some(now);
            endpoint.in_flight = true;
        }
    }

    /// The name of the member behind a URL, or the URL while the name isn't known. Where several answer, the last one's.
    pub(crate) fn name_of(&self, url: &str) -> String {
        let name = self.endpoints.get(url).and_then(|endpoint| match &endpoint.nameless {
            Some(Who::Member(name)) => Some(name.as_str()),
            Some(_) => None,
            None => {
                let said = endpoint.speaker.as_deref().filter(|_| named(&endpoint.latest).is_some());
                said.or_else(|| self.owner(url, endpoint))
            }
        });
        name.unwrap_or(url).to_owned()
    }

    /// Whether an answer says what the last one at its URL did, and everybody's name is known, so that nothing comes of it but that it is newer.
    pub(crate) fn repeats(&self, url: &str, answer: &Answer) -> bool {
        self.knows_names() && self.endpoints.get(url).is_some_and(|endpoint| answer.repeats(&endpoint.latest.answer))
    }

    /// Notes an answer. Whoever answers is who it says it is, whatever the list says of the URL. Says whether a list would
    /// help: it came from a member that is on none yet, or from one that has the lock, and it isn't known which.
    pub(crate) fn answered(&mut self, url: &str, answer: Answer, now: Instant) -> bool {
        let Some(asked) = self.endpoints.get(url).map(|endpoint| endpoint.asked_at.unwrap_or(now)) else {
            return false;
        };
        self.identities.heard(url, &answer, asked, now);
        let unlisted = self.note(url, answer, now);
        self.identify(now);
        let unknown = self.endpoints.get(url).is_some_and(|endpoint| {
            let has_lock = matches!(endpoint.latest.answer, Answer::Http { status: 200, .. });
            has_lock && matches!(endpoint.nameless, Some(Who::OneOf(_)))
        });
        unlisted || unknown
    }

    /// Says whether it came from a member that is on no list yet.
    fn note(&mut self, url: &str, answer: Answer, now: Instant) -> bool {
        let stating = {
            let mut stating = self.stating(url);
            stating.next().filter(|_| stating.next().is_none()).map(str::to_owned)
        };
        let Some(endpoint) = self.endpoints.get_mut(url) else { return false };
        endpoint.in_flight = false;
        endpoint.latest = Observation { answer, at: now };
        endpoint.nameless = None;
        endpoint.heard.retain(|_, heard| now.saturating_duration_since(heard.at) <= REMEMBERED_FOR);
        let Some(name) = named(&endpoint.latest).map(str::to_owned) else {
            let silent = !matches!(endpoint.latest.answer, Answer::Http { .. });
            if silent && endpoint.heard.len() <= 1 {
                endpoint.heard.clear();
            }
            if let (Some(stating), Answer::Http { .. }) = (stating, &endpoint.latest.answer) {
                endpoint.heard.insert(stating, endpoint.latest.clone());
            }
            return false;
        };
        if endpoint.heard.len() >= MAX_MEMBERS && !endpoint.heard.contains_key(&name) {
            // More names than a database has members are nobody's.
            endpoint.heard.clear();
        }
        endpoint.heard.insert(name.clone(), endpoint.latest.clone());
        let unlisted = !self.members.contains_key(&name);
        endpoint.speaker = Some(name);
        unlisted
    }

    /// Gives every latest answer that bears no name the one that it is found out by, or takes it back.
    fn identify(&mut self, now: Instant) {
        let members = &self.members;
        let stated_by_one = |url: &String| {
            let stated = members.values().filter(|listed| listed.member.api_url.as_ref() == Some(url));
            stated.count() == 1
        };
        for (url, endpoint) in &mut self.endpoints {
            let nameless = matches!(endpoint.latest.answer, Answer::Http { .. }) && named(&endpoint.latest).is_none();
            let who = (nameless && !stated_by_one(url)).then(|| self.identities.who(url, now));
            if endpoint.nameless == who {
                continue;
            }
            if let Some(Who::Member(before)) = &endpoint.nameless {
                endpoint.heard.remove(before);
                let may_be_still = matches!(&who, Some(Who::OneOf(names)) if names.contains(before));
                if !may_be_still {
                    endpoint.speaker = None;
                }
            }
            if let Some(Who::Member(name)) = &who {
                endpoint.heard.insert(name.clone(), endpoint.latest.clone());
                endpoint.speaker = Some(name.clone());
            }
            endpoint.nameless = who;
        }
    }

    /// Tells who the members are, and who led them when the list was made.
    fn identify_members(&mut self, leader: Option<&str>, now: Instant) {
        let members = self.members.iter().map(|(name, listed)| (name.as_str(), listed.member.api_url.as_deref()));
        self.identities.listed(members, leader, self.list_asked.unwrap_or(now), now);
        self.identify(now);
    }

    /// URLs in place of which a member's name stands from now on.
    pub(crate) fn aliases(&self, now: Instant) -> BTreeMap<String, Alias> {
        self.identities.aliases(now)
    }

    /// Takes over a list of members. New and changed ones count at once, also one that has taken another's name. One that is
    /// missing is dropped when [`GONE_AFTER_LISTS`] lists in a row, over [`GONE_AFTER`], which name the confirmed primary
    /// as the leader, lack it. An empty list says nothing.
    pub(crate) fn listed(&mut self, list: ClusterBody, primary: Option<&str>, now: Instant) {
        if list.members.is_empty() {
            return;
        }
        if primary.is_some() && list.leader.as_deref() == primary {
            for (name, listed) in &mut self.members {
                if !list.members.iter().any(|member| member.name == *name) {
                    listed.missing = listed.missing.saturating_add(1);
                    listed.missing_since.get_or_insert(now);
                }
            }
            let gone = |listed: &Listed| {
                let long = listed.missing_since.is_some_and(|since| now >= since + GONE_AFTER);
                listed.missing >= GONE_AFTER_LISTS && long
            };
            self.members.retain(|_, listed| !gone(listed));
        }
        for member in list.members {
            let (member, why) = admit(member, &self.hosts);
            if self.members.len() < MAX_MEMBERS || self.members.contains_key(&member.name) {
                self.refused.insert(member.name.clone(), why);
                self.members.insert(member.name.clone(), Listed::new(member));
            }
        }
        self.refused.retain(|name, _| self.members.contains_key(name));
        self.follow_members(now);
        self.identify_members(list.leader.as_deref(), now);
    }

    /// Asks exactly the seeds and the members.
    fn follow_members(&mut self, now: Instant) {
        for url in self.members.values().filter_map(|listed| listed.member.api_url.as_ref()) {
            self.endpoints.entry(url.clone()).or_insert_with(|| Endpoint::new(false, now));
        }
        let members = &self.members;
        let stated = |url: &String| members.values().any(|listed| listed.member.api_url.as_ref() == Some(url));
        self.endpoints.retain(|url, endpoint| endpoint.seed || stated(url));
    }

    /// The URLs that answered last time, for questions that go to any one member.
    pub(crate) fn answering(&self) -> Vec<String> {
        let answers = |endpoint: &Endpoint| matches!(endpoint.latest.answer, Answer::Http { .. });
        self.endpoints.iter().filter(|(_, endpoint)| answers(endpoint)).map(|(url, _)| url.clone()).collect()
    }

    /// The latest answer of every member, by name, or by URL while the name isn't known. Where a member has several
    /// addresses, an answer counts more than none, and the latest most.
    pub(crate) fn observations(&self) -> BTreeMap<String, Observation> {
        self.latest().into_iter().map(|(name, (_, observation))| (name, observation)).collect()
    }

    /// The machine that each of [`Roster::observations`] came from, by the same names. Where all of it runs on one, each port
    /// counts as one.
    pub(crate) fn hosts(&self) -> BTreeMap<String, String> {
        let machine = |url: String| host_of(&url).map(|host| if is_loopback(&host) { url } else { host });
        self.latest().into_iter().filter_map(|(name, (url, _))| Some((name, machine(url)?))).collect()
    }

    /// By name, or by URL while the name isn't known: the URL that was asked, and the answer.
    fn latest(&self) -> BTreeMap<String, (String, Observation)> {
        let mut latest: BTreeMap<String, (String, Observation)> = BTreeMap::new();
        let weight = |o: &Observation| (matches!(o.answer, Answer::Http { .. } | Answer::Nameless { .. }), o.at);
        let mut consider = |name: &str, url: &str, observation: &Observation| {
            if latest.get(name).is_none_or(|(_, known)| weight(known) < weight(observation)) {
                latest.insert(name.to_owned(), (url.to_owned(), observation.clone()));
            }
        };
        for (url, endpoint) in &self.endpoints {
            for (name, observation) in &endpoint.heard {
                consider(name, url, observation);
            }
            if let Some(who) = &endpoint.nameless {
                let Observation { answer, at } = endpoint.latest.clone();
                match who {
                    Who::Member(_) => {}
                    Who::OneOf(might_be) => {
                        consider(url, url, &Observation { answer: answer.without_name(might_be.clone()), at })
                    }
                    Who::Stranger => consider(url, url, &endpoint.latest),
                }
            } else if named(&endpoint.latest).is_none() {
                match self.owner(url, endpoint) {
                    Some(owner) => consider(owner, url, &endpoint.latest),
                    // Those that state it are spoken of below.
                    None if self.stating(url).next().is_some() => {}
                    None => consider(url, url, &endpoint.latest),
                }
            }
        }
        for Listed { member, .. } in self.members.values() {
            let Some(url) = member.api_url.as_ref().filter(|_| !latest.contains_key(&member.name)) else { continue };
            if let Some(endpoint) = self.endpoints.get(url) {
                latest.insert(member.name.clone(), (url.clone(), endpoint.missed(url)));
            }
        }
        latest
    }

    /// Whether nobody's first answer is awaited any more.
    pub(crate) fn all_heard(&self) -> bool {
        self.endpoints.values().all(|endpoint| endpoint.latest.answer != Answer::Pending)
    }

    /// Addresses that members state and that are neither asked nor measured, in sentences.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.refused.values().flatten().cloned().collect()
    }

    /// The members in the order of their names.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.members.values().map(|listed| listed.member.clone()).collect()
    }
}

/// The member without the addresses that are left out, and why they are.
fn admit(mut member: Member, hosts: &HostRules) -> (Member, Vec<String>) {
    let mut told = Vec::new();
    if let Some(why) = hosts.refuse(&member.host).filter(|_| !member.host.is_empty()) {
        told.push(format!(
            "{} states {} as the address of its database (postgresql.connect_address), which {why}: it isn't measured; {}",
            member.name,
            member.host,
            advice(why)
        ));
        member.host.clear();
    }
    let asked = member.api_url.as_ref().and_then(|url| Some((url.clone(), hosts.refuse(&host_of(url)?)?)));
    if let Some((url, why)) = asked {
        told.push(format!(
            "{} states {url} as the address of its REST API (restapi.connect_address), which {why}: it isn't asked there; {}",
            member.name,
            advice(why)
        ));
        member.api_url = None;
    }
    (member, told)
}

const fn advice(why: RefusedHost) -> &'static str {
    match why {
        RefusedHost::NotAllowed => "write it there if it is the member's",
        _ => {
            "write one there that nodes and the controller reach, or name this one in spec.discovery.patroni.allowedHosts"
        }
    }
}

#[cfg(test)]
mod tests;
