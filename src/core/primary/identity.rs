//! Whose answer it is that bears no name.
//!
//! Patroni says its name since 3.2. Before, all that is known of an answer is where it came from: the URL that a member
//! states as its own, or one that people wrote, behind which may be any member, now this one and now that one. How a URL is
//! spelt proves nothing; what is answered does:
//!
//! ```text
//! the very PostgreSQL that a member has told of              that member: no two start within one microsecond
//! who holds the lock from before a list until after it       the leader on that list, if nobody else can be meant
//! no PostgreSQL at all, where one member was before          still that member, if it doesn't answer for itself elsewhere
//! PostgreSQL started anew where one member was before        the same, if it can be no other
//! whose words a member contradicts                           not that member
//! else                                                       any member that it isn't proven not to be
//! ```
//!
//! Two members contradict each other if neither order of what they said makes sense: each said something else after the other
//! had begun to say what it does. One that was started anew looks different from what it said before, and contradicts nobody.

mod account;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use self::account::{Account, Position, Said, Server};
use super::{Answer, Observation};

/// So long an answer without a name waits for a list of the members.
const LIST_GRACE: Duration = Duration::from_secs(3);
/// Places and PostgreSQLs that are remembered: a database has at most 64 members, and others may call themselves anything.
const MOST_REMEMBERED: usize = 512;

/// Whether it stands for a member whose name isn't known yet: Patroni's members have names, and no URLs in their place.
pub(crate) fn is_address(name: &str) -> bool {
    name.contains("://")
}

/// Who answers at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Member(String),
    /// It isn't known which one of these; of nobody, until a list is had.
    OneOf(Vec<String>),
    /// None of the members.
    Stranger,
}

/// Another name of a member: the URL that it was known by before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    /// What it writes now, if it says so: whoever was known by the URL on another timeline may have been another member.
    pub timeline: Option<u64>,
}

#[derive(Debug, Clone)]
struct List {
    leader: String,
    asked: Instant,
    came: Instant,
}

/// Whose one PostgreSQL is.
#[derive(Debug, Clone)]
struct Proof {
    /// Those that have told of it themselves.
    own: BTreeSet<String>,
    /// Who it was as the leader on a list.
    led: Option<String>,
    /// When that was proven last.
    at: Instant,
}

impl Proof {
    fn names(&self) -> impl Iterator<Item = &str> {
        let led = self.led.iter().filter(|_| self.own.is_empty());
        self.own.iter().chain(led).map(String::as_str)
    }
}

/// Finds out whose the answers are. A place is a base URL, or the name of a member.
#[derive(Debug, Clone, Default)]
pub struct Identities {
    /// An answer holds until the place's next one, but its time is true to so much only. `None`: a place is asked again and
    /// again, and what it said before proves nothing of now.
    lasting: Option<Duration>,
    /// By URL: the members that state it as theirs.
    stated: BTreeMap<String, BTreeSet<String>>,
    listed: BTreeSet<String>,
    list: Option<List>,
    accounts: BTreeMap<String, Account>,
    proven: BTreeMap<Server, Proof>,
    /// When the first answer without a name came.
    since: Option<Instant>,
    /// No list comes any more.
    settled: bool,
}

impl Identities {
    /// Of answers that hold until the next one, as in a recording, with times that are true to `lag`.
    #[must_use]
    pub fn lasting(lag: Duration) -> Self {
        Self { lasting: Some(lag), ..Self::default() }
    }

    /// Takes over who is a member and where each says that it answers; and who led when that was asked for, if it says so.
    pub fn listed<'a>(
        &mut self,
        members: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
        leader: Option<&str>,
        asked: Instant,
        came: Instant,
    ) {
        self.stated.clear();
        self.listed.clear();
        for (name, url) in members {
            self.listed.insert(name.to_owned());
            if let Some(url) = url {
                self.stated.entry(url.to_owned()).or_default().insert(name.to_owned());
            }
        }
        if let Some(leader) = leader {
            self.list = Some(List { leader: leader.to_owned(), asked, came });
        }
        // What was heard at a URL is the member's own word as soon as it states it.
        let owned: Vec<(String, String)> =
            self.accounts.keys().filter_map(|place| Some((place.clone(), self.owner(place)?.to_owned()))).collect();
        for (place, name) in owned.into_iter().filter(|(place, name)| place != name) {
            let Some(heard) = self.accounts.remove(&place) else { continue };
            let known = self.accounts.get(&name).and_then(|account| account.latest);
            if known < heard.latest {
                self.accounts.insert(name, heard);
            }
        }
        self.prove(came);
    }

    /// Takes in what came at `at` of a question at `place` that was `asked` before.
    pub fn heard(&mut self, place: &str, answer: &Answer, asked: Instant, at: Instant) {
        let said = match answer {
            Answer::Http { status, body } => Some((*status, body)),
            Answer::Pending => return,
            Answer::Seen(_) | Answer::Nameless { .. } | Answer::Unreachable { .. } => None,
        };
        let named = said.and_then(|(_, body)| body.name.as_deref());
        let key = named.or_else(|| self.owner(place)).unwrap_or(place).to_owned();
        if named.is_none() && said.is_some() {
            self.since.get_or_insert(at);
        }
        let lasting = self.lasting;
        self.accounts.entry(key).or_default().take(said, lasting, asked, at);
        if let Some(name) = named.filter(|_| is_address(place) && self.owner(place).is_none()) {
            let name = name.to_owned();
            let account = self.accounts.entry(place.to_owned()).or_default();
            account.take(None, lasting, asked, at);
            account.is(name, at);
        }
        while self.accounts.len() > MOST_REMEMBERED {
            let oldest = self.accounts.iter().min_by_key(|(_, account)| account.latest).map(|(place, _)| place.clone());
            self.accounts.remove(&oldest.unwrap_or_default());
        }
        self.prove(at);
    }

    /// Somebody else has found out that it is `name` that answers at `place`.
    pub fn told(&mut self, place: &str, name: &str, at: Instant) {
        self.accounts.remove(place);
        let account = self.accounts.entry(place.to_owned()).or_default();
        account.latest = Some(at);
        account.is(name.to_owned(), at);
    }

    /// No list of members comes any more that isn't there by now.
    pub const fn settle(&mut self) {
        self.settled = true;
    }

    /// Whose the last answer at `place` is, if it bore no name.
    #[must_use]
    pub fn who(&self, place: &str, now: Instant) -> Who {
        if let Some(owner) = self.owner(place) {
            return Who::Member(owner.to_owned());
        }
        let names = self.names();
        if names.is_empty() {
            let waits = !self.settled && self.since.is_some_and(|since| now < since + LIST_GRACE);
            return if waits { Who::OneOf(Vec::new()) } else { Who::Stranger };
        }
        let Some(account) = self.accounts.get(place) else {
            return Who::OneOf(names.into_iter().map(str::to_owned).collect());
        };
        let server = account.runs();
        if let Some(name) = server.and_then(|server| self.owner_of(&server.what))
            && !account.copies.contains(name)
        {
            return Who::Member(name.to_owned());
        }
        let possible: Vec<&str> = names.into_iter().filter(|name| self.may_be(account, name, now)).collect();
        let was = account.was.as_deref().filter(|was| possible.contains(was) && !account.wanders(now));
        if let Some(was) = was.filter(|was| !self.speaks_elsewhere(was, place, server))
            && (server.is_none() || possible.len() == 1)
        {
            return Who::Member(was.to_owned());
        }
        match possible.is_empty() {
            true => Who::Stranger,
            false => Who::OneOf(possible.into_iter().map(str::to_owned).collect()),
        }
    }

    /// Whose silence it is that comes from `place`.
    #[must_use]
    pub fn whose_silence<'a>(&'a self, place: &'a str, now: Instant) -> Option<&'a str> {
        self.owner(place).or_else(|| {
            let account = self.accounts.get(place).filter(|account| !account.wanders(now))?;
            account.was.as_deref()
        })
    }

    /// Every URL that a member is known to answer at, in place of which its name stands from now on.
    #[must_use]
    pub fn aliases(&self, now: Instant) -> BTreeMap<String, Alias> {
        let timeline = |account: Option<&Account>| {
            let posture = account?.posture.as_ref().filter(|posture| posture.now)?;
            posture.what.timeline
        };
        let alias = |place: &str, name: &str, account| {
            (place.to_owned(), Alias { name: name.to_owned(), timeline: timeline(account) })
        };
        let stated = self.stated.keys().filter_map(|url| {
            let owner = self.owner(url)?;
            Some(alias(url, owner, self.accounts.get(owner)))
        });
        let proven = self.accounts.iter().filter_map(|(place, account)| {
            let was = account.was.as_deref().filter(|_| is_address(place) && self.owner(place).is_none())?;
            let holds = !account.answers || self.who(place, now) == Who::Member(was.to_owned());
            holds.then(|| alias(place, was, Some(account)))
        });
        stated.chain(proven).collect()
    }

    /// What was heard at every place, by the names of the members as far as they are known. An answer counts more than none.
    #[must_use]
    pub fn named(&self, heard: &BTreeMap<String, Observation>, now: Instant) -> BTreeMap<String, Observation> {
        let mut named: BTreeMap<String, Observation> = BTreeMap::new();
        let weight =
            |seen: &Observation| (matches!(seen.answer, Answer::Http { .. } | Answer::Nameless { .. }), seen.at);
        for (place, seen) in heard {
            let (name, answer) = match &seen.answer {
                Answer::Http { body, .. } if body.name.is_none() => match self.who(place, now) {
                    Who::Member(name) => (name, seen.answer.clone()),
                    Who::OneOf(might_be) => (place.clone(), seen.answer.clone().without_name(might_be)),
                    Who::Stranger => (place.clone(), seen.answer.clone()),
                },
                Answer::Http { .. } => (place.clone(), seen.answer.clone()),
                other => (self.whose_silence(place, now).unwrap_or(place).to_owned(), other.clone()),
            };
            let seen = Observation { answer, at: seen.at };
            if named.get(&name).is_none_or(|known| weight(known) < weight(&seen)) {
                named.insert(name, seen);
            }
        }
        named
    }

    /// The member whose own word it is that comes from `place`.
    fn owner<'a>(&'a self, place: &'a str) -> Option<&'a str> {
        if !is_address(place) {
            return Some(place);
        }
        let mut stating = self.stated.get(place)?.iter();
        stating.next().filter(|_| stating.next().is_none()).map(String::as_str)
    }

    /// Everybody who may be meant.
    fn names(&self) -> BTreeSet<&str> {
        let speaks =
            |(place, account): &(&String, &Account)| !is_address(place) && (account.answers || self.listed.is_empty());
        let heard = self.accounts.iter().filter(speaks).map(|(name, _)| name);
        self.listed.iter().chain(heard).map(String::as_str).collect()
    }

    /// The only member that `server` was proven to be.
    fn owner_of(&self, server: &Server) -> Option<&str> {
        let mut names = self.proven.get(server)?.names();
        names.next().filter(|_| names.next().is_none())
    }

    /// Whether that member answers by itself, or at another place, where it is another PostgreSQL than `server`.
    fn speaks_elsewhere(&self, name: &str, place: &str, server: Option<&Said<Server>>) -> bool {
        let server = server.map(|server| &server.what);
        let other = |its: &Said<Server>| its.now && Some(&its.what) != server;
        self.accounts.iter().filter(|(elsewhere, account)| *elsewhere != place && account.answers).any(
            |(elsewhere, account)| {
                let proven = account.was.as_deref() == Some(name) && account.server.as_ref().is_some_and(other);
                elsewhere == name || proven
            },
        )
    }

    /// Whether nothing speaks against its being that member.
    fn may_be(&self, account: &Account, name: &str, now: Instant) -> bool {
        if account.copies.contains(name) {
            return false;
        }
        let proven = account.runs().and_then(|server| self.proven.get(&server.what));
        if let Some(proof) = proven {
            return proof.names().any(|other| other == name);
        }
        let Some(own) = self.accounts.get(name) else { return true };
        match (&account.server, &own.server) {
            (Some(its), Some(own)) if its.now && own.what == its.what => true,
            (Some(its), Some(own)) if its.now && self.contradict(its, own, now) => false,
            (Some(its), Some(own)) if its.now && own.now => true,
            _ => match (&account.posture, &own.posture) {
                (Some(its), Some(own)) => !self.contradict(its, own, now),
                _ => true,
            },
        }
    }

    /// Whether it can't be one that said both, the one after the other.
    fn contradict<T: PartialEq>(&self, one: &Said<T>, other: &Said<T>, now: Instant) -> bool {
        let lag = self.lasting.unwrap_or_default();
        let until = |said: &Said<T>| if said.now && self.lasting.is_some() { now } else { said.until };
        one.what != other.what && until(one) > other.since + lag && until(other) > one.since + lag
    }

    /// Draws every conclusion from what was heard up to `now`.
    fn prove(&mut self, now: Instant) {
        let own = self.accounts.iter().filter(|(place, _)| !is_address(place));
        let told = own.filter_map(|(name, account)| {
            let server = account.runs()?;
            Some((server.what.clone(), name.clone()))
        });
        let told: Vec<(Server, String)> = told.collect();
        let leads = self.leads(now);
        let unproven = || Proof { own: BTreeSet::new(), led: None, at: now };
        for (server, name) in told {
            let proof = self.proven.entry(server).or_insert_with(unproven);
            proof.own.insert(name);
            proof.at = now;
        }
        if let Some((server, name)) = leads {
            self.proven.entry(server).or_insert_with(unproven).led = Some(name);
        }
        while self.proven.len() > MOST_REMEMBERED {
            let oldest = self.proven.iter().min_by_key(|(_, proof)| proof.at).map(|(server, _)| server.clone());
            let Some(oldest) = oldest else { break };
            self.proven.remove(&oldest);
        }
        let places: Vec<String> = self.accounts.keys().filter(|place| self.owner(place).is_none()).cloned().collect();
        for place in places {
            let copies = self.copies(&place);
            if let Some(account) = self.accounts.get_mut(&place) {
                account.copies.extend(copies);
            }
            let who = self.who(&place, now);
            let Some(account) = self.accounts.get_mut(&place).filter(|account| account.answers) else { continue };
            match who {
                Who::Member(name) => account.is(name, now),
                Who::OneOf(names) if account.was.as_ref().is_none_or(|was| names.contains(was)) => {}
                Who::OneOf(_) | Who::Stranger => account.was = None,
            }
        }
    }

    /// Which PostgreSQL the leader on the last list is: whoever held the lock all the while. Not if several did, or if the
    /// leader answers for itself.
    fn leads(&self, now: Instant) -> Option<(Server, String)> {
        let list = self.list.as_ref()?;
        if self.accounts.get(&list.leader).is_some_and(|own| own.answers) {
            return None;
        }
        let lag = self.lasting.unwrap_or_default();
        let holders = self.accounts.iter().filter(|(_, account)| account.answers).filter_map(|(place, account)| {
            let posture = account.posture.as_ref().filter(|said| said.now && said.what.lock && said.what.primary)?;
            Some((place, account, posture))
        });
        let mut leading = None;
        for (place, account, posture) in holders {
            let server = account.runs()?;
            let since = posture.since.max(server.since) + lag;
            let until = if self.lasting.is_some() { now.checked_sub(lag)? } else { posture.until };
            let all_the_while = since < list.asked && until > list.came;
            let free = !self.proven.contains_key(&server.what) && self.may_be(account, &list.leader, now);
            if !is_address(place)
                || !all_the_while
                || !free
                || leading.as_ref().is_some_and(|known| *known != server.what)
            {
                return None;
            }
            leading = Some(server.what.clone());
        }
        leading.map(|server| (server, list.leader.clone()))
    }

    /// The members of which `place` is a copy: the same PostgreSQL, resumed from an image of its memory, which writes for
    /// itself. An answer that is kept and repeated doesn't move.
    fn copies(&self, place: &str) -> Option<String> {
        let account = self.accounts.get(place)?;
        let server = &account.runs()?.what;
        let name = self.owner_of(server)?;
        let own = self.accounts.get(name).filter(|own| own.server.as_ref().is_some_and(|its| its.what == *server))?;
        let (its, own) = (account.position?, own.position?);
        let lag = self.lasting.unwrap_or_default();
        let behind =
            |late: Position, early: Position| late.moves && late.bytes < early.bytes && late.asked >= early.at + lag;
        (behind(its, own) || behind(own, its)).then(|| name.to_owned())
    }
}

#[cfg(test)]
mod tests;
