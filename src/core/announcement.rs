//! A switchover that the database announces: whether it can be believed, what becomes of it, and whether a new primary is the one that
//! was announced.
//!
//! ```text
//! heard ─┬→ Announced, Changed   it stands in the status, so that the next leader knows of it
//!        ├→ Withdrawn            before its time: nobody announces it any more
//!        ├→ Missed               its time has passed, and nothing came of it
//!        └→ Ignored              it can't be read, or can't come
//! confirmed primary ─┬→ Came     the announced one, in time: settle is not waited for
//!                    └→ Other    settle is waited for, as ever
//! ```

use std::{collections::BTreeSet, fmt, time::Duration};

use jiff::Timestamp;
use strum::IntoStaticStr;

use crate::core::words::listed;

/// A new primary comes as announced from so long before the announced time on: clocks are apart …
const EARLY: Duration = Duration::from_secs(10);
/// … until so long after it. For so long it is remembered, too: who announces it takes it back when it begins.
const LATE: Duration = Duration::from_secs(5 * 60);
/// A primary that came as announced must have held since so long after it was confirmed: members hear of a new leader one after the
/// other. If it is lost later, it has to hold anew.
const FIRST_WORDS: Duration = Duration::from_secs(30);

/// A switchover to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub at: Timestamp,
    /// Who is to be the primary no more.
    pub from: Option<String>,
    /// Who is to be the primary. `None`: any other member.
    pub to: Option<String>,
    /// Who announces it.
    pub by: String,
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.as_deref().unwrap_or("the primary");
        let to = self.to.as_deref().unwrap_or("any other member");
        write!(f, "{from} → {to} at {:.0}", self.at)
    }
}

impl Announcement {
    /// Whether the change of primary that is confirmed now is this one.
    #[must_use]
    pub fn is(&self, from: Option<&str>, to: &str, now: Timestamp) -> bool {
        let timely = now.duration_since(self.at);
        self.to.as_deref() == Some(to)
            && self.from.as_deref().is_none_or(|announced| from == Some(announced))
            && timely >= -signed(EARLY)
            && timely <= signed(LATE)
    }

    /// Where only one other member could take over, it is the target that wasn't named.
    fn completed(mut self, known: Known<'_>) -> Self {
        self.from = self.from.or_else(|| known.primary.map(str::to_owned));
        if self.to.is_none() {
            let mut others = known.members.iter().filter(|name| Some(**name) != self.from.as_deref());
            if let (Some(only), None) = (others.next(), others.next()) {
                self.to = Some((*only).to_owned());
            }
        }
        self
    }

    /// Why it can't come.
    fn refuse(&self, known: Known<'_>, now: Timestamp) -> Option<String> {
        let Known { primary, members } = known;
        let primary = primary?;
        if let Some(from) = self.from.as_deref().filter(|from| *from != primary) {
            return Some(format!("{self}, announced by {}: {from} isn't the primary: {primary} is", self.by));
        }
        if let Some(to) = self.to.as_deref().filter(|to| !members.is_empty() && !members.contains(to)) {
            let members = listed(&members.iter().collect::<Vec<_>>());
            return Some(format!("{self}, announced by {}: {to} is no member: there are {members}", self.by));
        }
        let past = now.duration_since(self.at) > signed(LATE);
        past.then(|| format!("{self}, announced by {}: that time has passed", self.by))
    }
}

/// What was heard of a switchover to come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Heard {
    /// Nobody was asked yet, or nobody answered: what was known stays.
    #[default]
    Nothing,
    /// None is announced.
    None,
    Announced(Announcement),
    /// One is announced and can't be read, for this reason.
    Unreadable(String),
}

/// Who is who at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The last confirmed primary.
    pub primary: Option<&'a str>,
    /// Empty while nobody knows.
    pub members: &'a BTreeSet<&'a str>,
}

/// What has become of an announcement.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr)]
pub enum Turn {
    Announced(Announcement),
    /// It is another one than before.
    Changed(Announcement),
    Withdrawn(Announcement),
    Missed(Announcement),
    Came(Announcement),
    /// This member became the primary, or not when it was announced.
    #[strum(serialize = "OtherPrimary")]
    Other(Announcement, String),
    Ignored(String),
}

impl Turn {
    /// In one CamelCase word, for conditions.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announced(it) => write!(f, "{it}, announced by {}", it.by),
            Self::Changed(it) => write!(f, "{it}, announced by {} in place of the last one", it.by),
            Self::Withdrawn(it) => write!(f, "{it} is not announced any more"),
            Self::Missed(it) => write!(f, "{it} did not come"),
            Self::Came(it) => write!(f, "{it} came as announced: settle is not waited for"),
            Self::Other(it, primary) => write!(f, "{it} did not come as announced: {primary} is the primary now"),
            Self::Ignored(why) => write!(f, "ignored: {why}"),
        }
    }
}

/// What is known of switchovers to come. `current` stands in the status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announcements {
    pub current: Option<Announcement>,
    /// It is over; whoever announces it may go on doing so for a while.
    over: Option<Announcement>,
    /// Why one is ignored, as it was told.
    ignored: Option<String>,
}

impl Announcements {
    /// As the last leader knew it.
    #[must_use]
    pub const fn restored(current: Option<Announcement>) -> Self {
        Self { current, over: None, ignored: None }
    }

    /// Takes what was heard, while nobody else has become the primary; what is new of it, which is told once.
    pub fn hear(&mut self, heard: &Heard, known: Known<'_>, now: Timestamp) -> Option<Turn> {
        if let Some(missed) = self.current.take_if(|it| now.duration_since(it.at) > signed(LATE)) {
            self.over = Some(missed.clone());
            return Some(Turn::Missed(missed));
        }
        match heard {
            Heard::Nothing => None,
            Heard::None => {
                (self.over, self.ignored) = (None, None);
                // From its time on it is being carried out, and nobody announces it any more.
                let before = |it: &mut Announcement| it.at.duration_since(now) > signed(EARLY);
                self.current.take_if(before).map(Turn::Withdrawn)
            }
            Heard::Unreadable(why) => self.ignore(why.clone()),
            Heard::Announced(it) => self.announce(it.clone().completed(known), known, now),
        }
    }

    fn announce(&mut self, it: Announcement, known: Known<'_>, now: Timestamp) -> Option<Turn> {
        // Who is the primary already was announced before.
        let over = self.over.as_ref() == Some(&it) || (it.to.is_some() && it.to.as_deref() == known.primary);
        if over || self.current.as_ref() == Some(&it) {
            return None;
        }
        if let Some(why) = it.refuse(known, now) {
            return self.ignore(why);
        }
        self.ignored = None;
        Some(match self.current.replace(it.clone()) {
            None => Turn::Announced(it),
            Some(_) => Turn::Changed(it),
        })
    }

    fn ignore(&mut self, why: String) -> Option<Turn> {
        // Whatever was announced before, this is what is announced now.
        self.current = None;
        let new = self.ignored.as_ref() != Some(&why);
        new.then(|| {
            self.ignored = Some(why.clone());
            Turn::Ignored(why)
        })
    }

    /// Another primary was confirmed: what was announced is over, one way or the other.
    pub fn confirmed(&mut self, from: Option<&str>, to: &str, now: Timestamp) -> Option<Turn> {
        let it = self.current.take()?;
        self.over = Some(it.clone());
        Some(if it.is(from, to, now) { Turn::Came(it) } else { Turn::Other(it, to.to_owned()) })
    }
}

/// Whether a primary that came as announced, and was confirmed at that time, has held ever since. It has been `calm_since`: known without a
/// break, and nothing frozen.
#[must_use]
pub fn holds(confirmed: Timestamp, calm_since: Timestamp) -> bool {
    calm_since.duration_since(confirmed) <= signed(FIRST_WORDS)
}

fn signed(time: Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(time).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
