//! How often members are asked: once per interval, and five times a second while no primary is known. Who only follows a primary that
//! has held for a while is asked as seldom as its answers hold: it is the primary that says first when it is none any more.

use std::time::{Duration, Instant};

/// Pause between two looks at a member while no primary is known.
pub(super) const FAST_PAUSE: Duration = Duration::from_millis(200);
/// A database without a primary for this long is not about to get one: look at the ordinary pace again.
const FAST_FOR: Duration = Duration::from_secs(600);

/// A primary that has held for so long, with nothing against moving pods to it, is not about to go.
pub(super) const CALM: Duration = Duration::from_secs(60);

/// Pauses between two looks at one member, from the beginning of one to that of the next.
#[derive(Debug, Clone)]
pub(crate) struct Pauses {
    pub each: Duration,
    /// Of those who follow this primary, for as long as it says that it is one.
    pub followers: Option<(String, Duration)>,
}

impl Pauses {
    /// The same for everybody.
    pub(crate) const fn alike(each: Duration) -> Self {
        Self { each, followers: None }
    }
}

/// The pace of one database.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    /// How long the fast pace is worth it.
    fast_until: Instant,
}

impl Pace {
    /// Fast at first.
    pub(super) fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, fast_until: now + FAST_FOR }
    }

    /// A primary was known, and none is now.
    pub(super) fn lost(&mut self, now: Instant) {
        self.fast_until = now + FAST_FOR;
    }

    /// Pause between two looks at one member, from the beginning of one to that of the next.
    pub(super) fn pause(&self, primary_known: bool, now: Instant) -> Duration {
        if primary_known || now > self.fast_until { self.interval } else { self.interval.min(FAST_PAUSE) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fast_while_no_primary_is_known_but_not_for_ever() {
        let start = Instant::now();
        let after = |s: u64| start + Duration::from_secs(s);
        let mut pace = Pace::new(Duration::from_secs(1), start);
        let told = |pace: &Pace, known: bool, s: u64| pace.pause(known, after(s)).as_millis();
        assert_eq!([told(&pace, false, 0), told(&pace, false, 600), told(&pace, false, 601)], [200, 200, 1000]);
        assert_eq!([told(&pace, true, 0), told(&pace, true, 601)], [1000, 1000]);
        pace.lost(after(900));
        assert_eq!([told(&pace, false, 901), told(&pace, false, 1501)], [200, 1000]);
        assert_eq!(Pace::new(Duration::from_millis(100), start).pause(false, start).as_millis(), 100);
    }
}
