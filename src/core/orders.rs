//! What people ask of one object by annotations under our domain, besides whom its pods follow and how: to leave it alone for a
//! while, or to move it now. Whatever stands under that domain and is understood by nobody is told, and holds.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::{keys, words::plain};

/// For so long a person's word counts that something be moved now ([`keys::MOVE_NOW`]), by clocks that may differ as much.
pub const MOVE_NOW_HOLDS: Duration = Duration::from_secs(600);
/// Characters of a reason that are kept, and of a name or value.
const LONGEST_REASON: usize = 200;
const LONGEST_WORD: usize = 60;

/// What an object's annotations under our domain say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// Nothing of it is to be moved.
    pub pause: Option<Pause>,
    /// It is to be moved now, said somebody then.
    pub move_now: Option<Timestamp>,
    /// What can't be understood, in a sentence that says what to write.
    pub misread: Option<String>,
}

/// Somebody's word that nothing be moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pause {
    pub why: Option<String>,
    pub by: Option<String>,
    /// It ends by itself.
    pub until: Option<Timestamp>,
}

impl Pause {
    /// Whether it still holds.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl fmt::Display for Pause {
    /// `by alice until 2026-12-24T18:00:00Z: a load test`, or less of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { why, by, until } = self;
        write!(f, "by {}", by.as_deref().unwrap_or("somebody"))?;
        if let Some(until) = until {
            write!(f, " until {until:.0}")?;
        }
        why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

/// Which object the annotations stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    Namespace,
    /// The workload's own annotations, of this kind.
    Workload(&'a str),
    Pod,
    Database,
}

impl Place<'_> {
    fn knows(self, key: &str) -> bool {
        let pauses = [keys::PAUSED, keys::PAUSED_BY, keys::PAUSED_UNTIL].contains(&key);
        let wishes = is_wish(key);
        match self {
            Self::Namespace => pauses || wishes,
            // Of a Rollout the mark of a restart stands on the object itself.
            Self::Workload(kind) => {
                pauses || key == keys::MOVE_NOW || (kind == "Rollout" && key == keys::RESTARTED_FOR)
            }
            Self::Pod => pauses || wishes || [keys::INJECTED, keys::RESTARTED_FOR].contains(&key),
            // Whatever else stands there holds nobody's pods.
            Self::Database => true,
        }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "namespace",
            Self::Workload(kind) => kind,
            Self::Pod => "pod",
            Self::Database => "DatabaseCluster",
        })
    }
}

fn is_wish(key: &str) -> bool {
    [keys::FOLLOW, keys::AFFINITY, keys::WEIGHT, keys::MOVE].contains(&key)
}

impl Orders {
    /// What these annotations say; `None` if they say nothing that isn't a wish of the usual kind. `template` are those of a workload's
    /// pod template: what stands in both is read there.
    pub fn read<'t>(
        place: Place<'_>,
        annotations: impl IntoIterator<Item = (&'t String, &'t String)>,
        template: impl Fn(&str) -> Option<&'t str>,
    ) -> Option<Box<Self>> {
        let ours = annotations.into_iter().filter(|(key, _)| key.starts_with(keys::DOMAIN));
        let mut orders = Self::default();
        let (mut paused, mut by, mut until) = (None, None, None);
        for (key, value) in ours {
            let value = value.trim();
            match key.as_str() {
                keys::PAUSED => paused = Some(value),
                keys::PAUSED_BY => by = Some(shortened(value, LONGEST_WORD)),
                keys::PAUSED_UNTIL => until = Some(value),
                keys::MOVE_NOW if place.knows(key) => match value.parse() {
                    Ok(at) => orders.move_now = Some(at),
                    Err(_) => orders.misunderstand(unreadable(place, key, value, A_TIME)),
                },
                key if place.knows(key) => {}
                key if is_wish(key) && template(key).map(str::trim) == Some(value) => {}
                key if is_wish(key) => orders.misunderstand(format!(
                    "the annotation {key} stands on the {place} itself, where nobody reads it: write it into the pod template \
                     (spec.template.metadata.annotations)"
                )),
                key => orders.misunderstand(unknown(place, key)),
            }
        }
        let until = until.map(|text| text.parse::<Timestamp>().map_err(|_| text));
        if let Some(Err(text)) = until {
            orders.misunderstand(unreadable(place, keys::PAUSED_UNTIL, text, A_TIME));
        }
        let until = until.and_then(Result::ok);
        match paused {
            Some("false") => {}
            Some("") => orders.misunderstand(unreadable(place, keys::PAUSED, "", "a reason, or \"true\"")),
            Some(why) => {
                let why = (why != "true").then(|| shortened(why, LONGEST_REASON));
                orders.pause = Some(Pause { why, by, until });
            }
            None if until.is_some() => orders.pause = Some(Pause { why: None, by, until }),
            None => {}
        }
        (orders != Self::default()).then(|| Box::new(orders))
    }

    /// The first thing is told.
    fn misunderstand(&mut self, sentence: String) {
        self.misread.get_or_insert(sentence);
    }

    /// Whether a person said a moment ago that it is to be moved now.
    #[must_use]
    pub fn wants_move(&self, now: Timestamp) -> bool {
        self.move_now.is_some_and(|at| now.duration_since(at).unsigned_abs() <= MOVE_NOW_HOLDS)
    }
}

const A_TIME: &str = "a time, such as 2026-12-24T18:00:00Z";

fn unknown(place: Place<'_>, key: &str) -> String {
    let key = shortened(key, LONGEST_WORD);
    let known = match place {
        Place::Workload(_) => {
            "paused, paused-until or move-now (move, follow, affinity and weight go into its pod template)"
        }
        _ => "move, follow, affinity, weight, paused or paused-until",
    };
    format!("the annotation {key} of the {place} means nothing: of {}* there are {known} here", keys::DOMAIN)
}

fn unreadable(place: Place<'_>, key: &str, value: &str, write: &str) -> String {
    format!("the annotation {key} of the {place}, \"{}\", can't be read: write {write}", shortened(value, LONGEST_WORD))
}

/// Printable, on one line and not long: it goes into events and log lines.
fn shortened(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).map(|c| if c == '"' { '\'' } else { plain(c) }).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
