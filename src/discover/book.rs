//! Whom to ask, when, and what they said last. No I/O: the task beside it asks.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{
    Member,
    patroni::{ClusterBody, MAX_MEMBERS},
};
use crate::core::primary::{Answer, Observation};

/// A member that is missing from this many lists in a row, each from the confirmed primary's cluster, is gone.
const GONE_AFTER_LISTS: u8 = 2;

/// One base URL that is asked for `/primary`.
#[derive(Debug)]
struct Endpoint {
    /// Written by people in the DatabaseCluster: asked for ever.
    seed: bool,
    /// Of the member behind it, once it is known.
    name: Option<String>,
    latest: Observation,
    asked_at: Option<Instant>,
    in_flight: bool,
}

#[derive(Debug)]
struct Listed {
    member: Member,
    /// Lists in a row that lacked it.
    missing: u8,
}

/// The members of one database and the URLs that they are asked at.
#[derive(Debug)]
pub(crate) struct Book {
    /// By base URL.
    endpoints: BTreeMap<String, Endpoint>,
    /// By name.
    members: BTreeMap<String, Listed>,
}

impl Book {
    /// `seeds` are base URLs; `members` is what was known before a restart.
    pub fn new(seeds: impl IntoIterator<Item = String>, members: Vec<Member>, now: Instant) -> Self {
        let listed = |member: Member| (member.name.clone(), Listed { member, missing: 0 });
        let mut book = Self {
            endpoints: seeds.into_iter().map(|url| (url, Endpoint::new(true, None, now))).collect(),
            members: members.into_iter().take(MAX_MEMBERS).map(listed).collect(),
        };
        book.follow_members(now);
        book
    }

    /// URLs that are to be asked now: one request at a time each, `pause` from one request's start to the next.
    pub fn due(&self, pause: Duration, now: Instant, max_age: Duration) -> Vec<String> {
        let due = |(url, endpoint): (&String, &Endpoint)| {
            let waited = endpoint.asked_at.is_none_or(|at| at + pause <= now);
            (waited && !endpoint.in_flight && !self.superfluous(url, endpoint, now, max_age)).then(|| url.clone())
        };
        self.endpoints.iter().filter_map(due).collect()
    }

    /// When [`Book::due`] is worth asking again.
    pub fn next_due(&self, pause: Duration) -> Option<Instant> {
        let waiting = self.endpoints.values().filter(|endpoint| !endpoint.in_flight);
        waiting.filter_map(|endpoint| endpoint.asked_at.map(|at| at + pause)).min()
    }

    /// A second address of a member that answers at the address which it states itself.
    fn superfluous(&self, url: &str, endpoint: &Endpoint, now: Instant, max_age: Duration) -> bool {
        let listed = endpoint.name.as_ref().and_then(|name| self.members.get(name));
        let stated = listed.and_then(|listed| listed.member.api_url.as_ref());
        stated.is_some_and(|stated| {
            stated != url
                && self.endpoints.get(stated).is_some_and(|other| {
                    matches!(other.latest.answer, Answer::Http { .. })
                        && other.name == endpoint.name
                        && now.saturating_duration_since(other.latest.at) <= max_age
                })
        })
    }

    pub fn asked(&mut self, url: &str, now: Instant) {
        if let Some(endpoint) = self.endpoints.get_mut(url) {
            endpoint.asked_at = Some(now);
            endpoint.in_flight = true;
        }
    }

    /// The name of the member behind a URL, or the URL while the name isn't known.
    pub fn name_of(&self, url: &str) -> String {
        self.endpoints.get(url).and_then(|endpoint| endpoint.name.clone()).unwrap_or_else(|| url.to_owned())
    }

    /// Notes an answer. Says whether it came from a member that is on no list yet.
    pub fn answered(&mut self, url: &str, answer: Answer, now: Instant) -> bool {
        let Some(endpoint) = self.endpoints.get_mut(url) else { return false };
        endpoint.in_flight = false;
        if let Answer::Http { body, .. } = &answer
            && let Some(name) = &body.name
        {
            endpoint.name = Some(name.clone());
        }
        let unlisted = matches!(answer, Answer::Http { .. })
            && endpoint.name.as_ref().is_some_and(|name| !self.members.contains_key(name));
        endpoint.latest = Observation { answer, at: now };
        unlisted
    }

    /// Takes over a list of members. New and changed ones count at once. One that is missing is dropped when
    /// [`GONE_AFTER_LISTS`] lists in a row, which name the confirmed primary as the leader, lack it.
    pub fn listed(&mut self, list: ClusterBody, primary: Option<&str>, now: Instant) {
        if list.members.is_empty() {
            return;
        }
        if primary.is_some() && list.leader.as_deref() == primary {
            for (name, listed) in &mut self.members {
                listed.missing += u8::from(!list.members.iter().any(|member| member.name == *name));
            }
            self.members.retain(|_, listed| listed.missing < GONE_AFTER_LISTS);
        }
        for member in list.members {
            if self.members.len() < MAX_MEMBERS || self.members.contains_key(&member.name) {
                self.members.insert(member.name.clone(), Listed { member, missing: 0 });
            }
        }
        self.follow_members(now);
    }

    /// Asks exactly the seeds and the members.
    fn follow_members(&mut self, now: Instant) {
        for Listed { member, .. } in self.members.values() {
            let Some(url) = &member.api_url else { continue };
            let endpoint = self.endpoints.entry(url.clone());
            let endpoint = endpoint.or_insert_with(|| Endpoint::new(false, None, now));
            // Also a seed that has never answered has a name, once somebody else states it.
            endpoint.name.get_or_insert_with(|| member.name.clone());
        }
        let stated = |url: &String| self.members.values().any(|listed| listed.member.api_url.as_ref() == Some(url));
        let unused: Vec<_> =
            self.endpoints.iter().filter(|(url, e)| !e.seed && !stated(url)).map(|(url, _)| url.clone()).collect();
        for url in unused {
            self.endpoints.remove(&url);
        }
    }

    /// The URLs that answered last time, for questions that go to any one member.
    pub fn answering(&self) -> Vec<String> {
        let answers = |endpoint: &Endpoint| matches!(endpoint.latest.answer, Answer::Http { .. });
        self.endpoints.iter().filter(|(_, endpoint)| answers(endpoint)).map(|(url, _)| url.clone()).collect()
    }

    /// The latest answer of every member, by name, or by URL while the name isn't known. Where a member has two
    /// addresses, an answer counts more than none, and the latest most.
    pub fn observations(&self) -> BTreeMap<String, Observation> {
        let mut latest: BTreeMap<String, Observation> = BTreeMap::new();
        let weight = |o: &Observation| (matches!(o.answer, Answer::Http { .. }), o.at);
        for (url, endpoint) in &self.endpoints {
            let name = endpoint.name.as_ref().unwrap_or(url);
            if latest.get(name).is_none_or(|known| weight(known) < weight(&endpoint.latest)) {
                latest.insert(name.clone(), endpoint.latest.clone());
            }
        }
        latest
    }

    /// Whether nobody's first answer is awaited any more.
    pub fn all_heard(&self) -> bool {
        self.endpoints.values().all(|endpoint| endpoint.latest.answer != Answer::Pending)
    }

    /// The members in the order of their names.
    pub fn members(&self) -> Vec<Member> {
        self.members.values().map(|listed| listed.member.clone()).collect()
    }
}

impl Endpoint {
    const fn new(seed: bool, name: Option<String>, now: Instant) -> Self {
        let latest = Observation { answer: Answer::Pending, at: now };
        Self { seed, name, latest, asked_at: None, in_flight: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::primary::MemberBody;

    const PAUSE: Duration = Duration::from_secs(1);
    const MAX_AGE: Duration = Duration::from_secs(5);

    fn member(name: &str) -> Member {
        Member { name: name.into(), host: name.into(), port: 5432, api_url: Some(url(name)) }
    }

    fn url(name: &str) -> String {
        format!("http://{name}:8008")
    }

    fn says(name: &str) -> Answer {
        Answer::Http { status: 503, body: MemberBody { name: Some(name.into()), ..MemberBody::default() } }
    }

    fn list(leader: &str, names: &[&str]) -> ClusterBody {
        ClusterBody { members: names.iter().map(|name| member(name)).collect(), leader: Some(leader.into()) }
    }

    fn names(book: &Book) -> Vec<String> {
        book.members().into_iter().map(|m| m.name).collect()
    }

    #[test]
    fn one_request_at_a_time_and_a_pause_between() {
        let start = Instant::now();
        let mut book = Book::new([url("pg1")], vec![], start);
        assert_eq!(book.due(PAUSE, start, MAX_AGE), [url("pg1")]);
        book.asked(&url("pg1"), start);
        assert!(book.due(PAUSE, start + 3 * PAUSE, MAX_AGE).is_empty(), "in flight");
        book.answered(&url("pg1"), says("pg1"), start + PAUSE / 2);
        assert!(book.due(PAUSE, start + PAUSE / 2, MAX_AGE).is_empty(), "too early");
        assert_eq!(book.next_due(PAUSE), Some(start + PAUSE));
        assert_eq!(book.due(PAUSE, start + PAUSE, MAX_AGE), [url("pg1")]);
    }

    #[test]
    fn members_are_followed_as_they_change() {
        let now = Instant::now();
        let mut book = Book::new([url("pg1")], vec![], now);
        book.listed(list("pg1", &["pg1", "pg2", "pg3"]), None, now);
        assert_eq!(names(&book), ["pg1", "pg2", "pg3"]);
        book.listed(ClusterBody::default(), Some("pg1"), now);
        book.listed(list("pg9", &["pg1"]), Some("pg1"), now);
        book.listed(list("pg1", &["pg1"]), None, now);
        book.listed(list("pg1", &["pg1", "pg3"]), Some("pg1"), now);
        assert_eq!(names(&book), ["pg1", "pg2", "pg3"], "one list is not enough, nor one that names no known primary");
        book.listed(list("pg1", &["pg1", "pg3", "pg4"]), Some("pg1"), now);
        assert_eq!(names(&book), ["pg1", "pg3", "pg4"]);
        assert_eq!(book.due(PAUSE, now, MAX_AGE), [url("pg1"), url("pg3"), url("pg4")]);
    }

    #[test]
    fn a_member_that_moves_to_another_address_is_asked_there() {
        let now = Instant::now();
        let mut book = Book::new([], vec![member("pg1")], now);
        let moved = Member { api_url: Some(url("new")), host: "new".into(), ..member("pg1") };
        book.listed(ClusterBody { members: vec![moved.clone()], leader: None }, None, now);
        assert_eq!(book.members(), [moved]);
        assert_eq!(book.due(PAUSE, now, MAX_AGE), [url("new")]);
    }

    #[test]
    fn a_second_address_is_asked_only_while_the_stated_one_is_silent() {
        let now = Instant::now();
        let mut book = Book::new([url("alias")], vec![], now);
        assert!(book.answered(&url("alias"), says("pg1"), now), "not on a list yet");
        book.listed(list("pg1", &["pg1"]), None, now);
        assert_eq!(book.due(PAUSE, now, MAX_AGE), [url("alias"), url("pg1")]);
        assert!(!book.answered(&url("pg1"), says("pg1"), now));
        assert_eq!(book.due(PAUSE, now, MAX_AGE), [url("pg1")]);
        assert_eq!(book.observations().keys().collect::<Vec<_>>(), ["pg1"]);
        book.answered(&url("pg1"), Answer::Unreachable { error: "refused".into() }, now);
        assert_eq!(book.due(PAUSE, now, MAX_AGE), [url("alias"), url("pg1")]);
    }
}
