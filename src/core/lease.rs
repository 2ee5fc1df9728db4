//! Who leads: what a replica does next about the Lease, until when its leadership is certain, and whether anybody leads at all.
//!
//! The times that stand in a Lease are another machine's, and are compared with no clock. What counts is when this process saw
//! the Lease change, by the clock that never jumps (client-go's leaderelection does the same).

use std::time::{Duration, Instant};

/// One replica that takes part in the election.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Unique per process.
    pub identity: &'a str,
    /// For how long a leader may be silent before others take over.
    pub duration: Duration,
}

/// The Lease as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Empty: nobody's. It was given back.
    pub holder: String,
    /// For how long its holder may be silent, as the holder itself wrote.
    pub duration: Option<Duration>,
    /// The object's `resourceVersion`, which changes with each renewal.
    pub version: String,
}

/// The last change of somebody else's Lease that this process saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub version: String,
    pub at: Instant,
}

/// What a replica does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is no Lease: make one.
    Create,
    /// The Lease is ours: renew it.
    Renew,
    /// The Lease is nobody's: take it.
    Take,
    /// Its holder was silent for too long: take it.
    TakeOver { from: String },
    /// Somebody else leads. `observed` is what the next look goes on from.
    Follow { holder: String, observed: Observed },
}

/// What is next after the Lease was read, which was asked for at `now`. `observed` is what the last look left.
#[must_use]
pub fn next(candidate: Candidate<'_>, seen: Option<&Seen>, observed: Option<&Observed>, now: Instant) -> Step {
    let Some(seen) = seen else { return Step::Create };
    if seen.holder == candidate.identity {
        return Step::Renew;
    }
    if seen.holder.is_empty() {
        return Step::Take;
    }
    let fresh = || Observed { version: seen.version.clone(), at: now };
    let observed = observed.filter(|observed| observed.version == seen.version).cloned().unwrap_or_else(fresh);
    // The holder's own duration counts, in case it was configured otherwise.
    let patience = seen.duration.unwrap_or(candidate.duration);
    if now.saturating_duration_since(observed.at) < patience {
        Step::Follow { holder: seen.holder.clone(), observed }
    } else {
        Step::TakeOver { from: seen.holder.clone() }
    }
}

/// What a replica knows of its leadership.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leadership {
    /// Until when it is certain that nobody else leads; `None`: this replica doesn't lead.
    pub certain_until: Option<Instant>,
    /// Who leads, as far as is known.
    pub holder: String,
}

impl Leadership {
    #[must_use]
    pub fn leads(&self, now: Instant) -> bool {
        self.certain_until.is_some_and(|until| now < until)
    }

    /// What a write into the Lease means that was sent after `asked_at`: it was taken, or met another replica's
    /// (`resourceVersion`), which was faster.
    #[must_use]
    pub fn of_write(candidate: Candidate<'_>, taken: bool, asked_at: Instant) -> Self {
        if !taken {
            return Self::default();
        }
        // A follower counts from when it saw the renewal, which is after we asked. A quarter is left for what is on its way.
        Self { certain_until: Some(asked_at + candidate.duration * 3 / 4), holder: candidate.identity.to_owned() }
    }
}

/// Whether anybody leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// The Lease was never taken, or was given back.
    Nobody,
    /// This one renews it.
    Runs(String),
    /// Its holder let it run out.
    Silent,
    /// That shows only in a while.
    Unclear,
}

/// A Lease that doesn't say for how long its holder may be silent.
const USUAL: Duration = Duration::from_secs(10);

/// Whether anybody leads, when the Lease was `first` at first and is `now` after it was `watched` for so long.
#[must_use]
pub fn life(first: Option<&Seen>, now: Option<&Seen>, watched: Duration) -> Life {
    let Some(now) = now.filter(|seen| !seen.holder.is_empty()) else { return Life::Nobody };
    if first.is_some_and(|first| first.version != now.version) {
        Life::Runs(now.holder.clone())
    } else if watched >= now.duration.unwrap_or(USUAL) {
        Life::Silent
    } else {
        Life::Unclear
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::testing::instant;

    const US: Candidate<'_> = Candidate { identity: "c-1", duration: Duration::from_secs(10) };

    fn held_by(holder: &str, version: &str) -> Seen {
        Seen { holder: holder.into(), duration: Some(Duration::from_secs(10)), version: version.into() }
    }

    /// `create`, `renew`, `take`, `take over from c-2`, `follow c-2 since 7`.
    fn told(step: &Step) -> String {
        match step {
            Step::Create => "create".into(),
            Step::Renew => "renew".into(),
            Step::Take => "take".into(),
            Step::TakeOver { from } => format!("take over from {from}"),
            Step::Follow { holder, observed } => {
                format!("follow {holder} since {}", observed.at.duration_since(instant(0)).as_secs())
            }
        }
    }

    #[test]
    fn each_look_at_the_lease_has_one_next_step() {
        let theirs = |version| Some(held_by("c-2", version));
        let lasting = |duration| Some(Seen { duration, ..held_by("c-2", "7") });
        let seven = |second| Some(Observed { version: "7".into(), at: instant(second) });
        let (three, minute) = (Some(Duration::from_secs(3)), Some(Duration::from_secs(60)));
        let mut wrong = Vec::new();
        for (what, seen, observed, now, expected) in [
            ("there is none", None, None, 0, "create"),
            ("somebody removed theirs", None, seven(0), 5, "create"),
            ("ours", Some(held_by("c-1", "7")), None, 0, "renew"),
            ("ours, however long ago", Some(held_by("c-1", "7")), seven(0), 1000, "renew"),
            ("given back", Some(held_by("", "7")), None, 0, "take"),
            ("given back a moment after a renewal", Some(held_by("", "8")), seven(0), 1, "take"),
            ("never written", Some(Seen::default()), None, 0, "take"),
            ("theirs, seen for the first time", theirs("7"), None, 5, "follow c-2 since 5"),
            ("renewed since", theirs("8"), seven(0), 5, "follow c-2 since 5"),
            ("renewed since, seen late", theirs("8"), seven(0), 1000, "follow c-2 since 1000"),
            ("not renewed yet", theirs("7"), seven(0), 9, "follow c-2 since 0"),
            ("silent", theirs("7"), seven(0), 10, "take over from c-2"),
            ("silent while this machine slept", theirs("7"), seven(0), 1000, "take over from c-2"),
            ("its own duration is shorter", lasting(three), seven(0), 3, "take over from c-2"),
            ("its own duration is longer", lasting(minute), seven(0), 59, "follow c-2 since 0"),
            ("it has none: ours counts", lasting(None), seven(0), 9, "follow c-2 since 0"),
            ("it has none, and is silent", lasting(None), seven(0), 10, "take over from c-2"),
            ("another one took it", Some(held_by("c-3", "8")), seven(0), 12, "follow c-3 since 12"),
            ("asked before it was last seen to change", theirs("7"), seven(8), 5, "follow c-2 since 8"),
        ] {
            let step = told(&next(US, seen.as_ref(), observed.as_ref(), instant(now)));
            if step != expected {
                wrong.push(format!("{what}: {step}, not {expected}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn leadership_is_certain_for_less_time_than_others_wait() {
        let leads = Leadership::of_write(US, true, instant(100));
        assert_eq!(
            leads,
            Leadership { certain_until: Some(instant(100) + Duration::from_millis(7500)), holder: "c-1".into() }
        );
        assert!(leads.leads(instant(107)) && !leads.leads(instant(108)));
        // A follower that saw the renewal at the very moment at which it was asked for.
        let (seen, observed) = (held_by("c-1", "7"), Observed { version: "7".into(), at: instant(100) });
        let other = Candidate { identity: "c-2", ..US };
        for second in 100..110 {
            let step = next(other, Some(&seen), Some(&observed), instant(second));
            assert_eq!(told(&step), "follow c-1 since 100");
        }
        assert_eq!(Leadership::of_write(US, false, instant(100)), Leadership::default(), "another one was faster");
        assert!(!Leadership::default().leads(instant(0)));
    }

    #[test]
    fn somebody_leads_who_is_seen_to_renew_the_lease() {
        let theirs = |version| Some(held_by("c-2", version));
        let endless = || Some(Seen { duration: None, ..held_by("c-2", "7") });
        let runs = |holder: &str| Life::Runs(holder.to_owned());
        for (what, first, now, watched, expected) in [
            ("there is none", None, None, 0, Life::Nobody),
            ("given back", Some(held_by("", "7")), Some(held_by("", "7")), 0, Life::Nobody),
            ("just read", theirs("7"), theirs("7"), 0, Life::Unclear),
            ("not yet", theirs("7"), theirs("7"), 9, Life::Unclear),
            ("renewed", theirs("7"), theirs("8"), 1, runs("c-2")),
            ("renewed at the last moment", theirs("7"), theirs("8"), 10, runs("c-2")),
            ("not renewed", theirs("7"), theirs("7"), 10, Life::Silent),
            ("taken over", theirs("7"), Some(held_by("c-3", "8")), 3, runs("c-3")),
            ("given back meanwhile", theirs("7"), Some(held_by("", "8")), 3, Life::Nobody),
            ("removed meanwhile", theirs("7"), None, 3, Life::Nobody),
            ("it doesn't say for how long: not yet", endless(), endless(), 9, Life::Unclear),
            ("it doesn't say for how long", endless(), endless(), 10, Life::Silent),
        ] {
            assert_eq!(life(first.as_ref(), now.as_ref(), Duration::from_secs(watched)), expected, "{what}");
        }
    }
}
