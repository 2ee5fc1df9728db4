//! Who waits after a refusal, ever longer.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Whoever wasn't refused again for this long after its pause begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);

/// How long something waits: each time doubles it.
#[derive(Debug, Clone, Copy)]
pub struct Pause {
    pub first: Duration,
    pub longest: Duration,
}

/// Who waits, by a name or UID, and why.
#[derive(Debug, Clone)]
pub struct Backoffs<Why> {
    waiting: BTreeMap<String, Waiting<Why>>,
}

#[derive(Debug, Clone)]
struct Waiting<Why> {
    until: Instant,
    pause: Duration,
    /// How often it was refused in a row.
    times: u32,
    why: Why,
}

impl Pause {
    /// How long the first, second, … wait is.
    #[must_use]
    pub fn nth(self, time: u32) -> Duration {
        self.first.saturating_mul(2u32.saturating_pow(time.saturating_sub(1))).min(self.longest)
    }
}

impl<Why> Default for Backoffs<Why> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new() }
    }
}

impl<Why: Clone> Backoffs<Why> {
    /// It was refused: it waits from `now` on.
    pub fn add(&mut self, who: &str, why: Why, pause: Pause, now: Instant) {
        let times = self.waiting.get(who).map_or(0, |waiting| waiting.times).saturating_add(1);
        let pause = pause.nth(times);
        self.waiting.insert(who.to_owned(), Waiting { until: now + pause, pause, times, why });
    }

    /// It was not refused.
    pub fn end(&mut self, who: &str) {
        self.waiting.remove(who);
    }

    /// Why it was refused the last time, also when its pause is over.
    #[must_use]
    pub fn last(&self, who: &str) -> Option<&Why> {
        self.waiting.get(who).map(|waiting| &waiting.why)
    }

    /// Who must wait at `now`, and why. Forgets those that have waited for long.
    pub fn current(&mut self, now: Instant) -> BTreeMap<String, Why> {
        self.waiting.retain(|_, waiting| now < waiting.until + FORGOTTEN_AFTER + waiting.pause);
        let waiting = self.waiting.iter().filter(|(_, waiting)| now < waiting.until);
        waiting.map(|(who, waiting)| (who.clone(), waiting.why.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Pause = Pause { first: Duration::from_secs(1), longest: Duration::from_secs(8) };

    #[test]
    fn each_refusal_doubles_the_pause_until_one_is_none() {
        let (mut now, mut backoffs) = (Instant::now(), Backoffs::default());
        let mut pauses = Vec::new();
        for _ in 0..5 {
            backoffs.add("n1", "no", PAUSE, now);
            let began = now;
            while !backoffs.current(now).is_empty() {
                now += Duration::from_secs(1);
            }
            pauses.push(now.duration_since(began).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 8]);
        backoffs.end("n1");
        backoffs.add("n1", "no", PAUSE, now);
        assert_eq!(backoffs.current(now), [("n1".to_owned(), "no")].into());
        assert!(backoffs.current(now + PAUSE.first).is_empty());
        assert_eq!([0, 1, 2, 3, 4, 5, 99].map(|time| PAUSE.nth(time).as_secs()), [1, 1, 2, 4, 8, 8, 8]);
        now += FORGOTTEN_AFTER + PAUSE.longest;
        backoffs.current(now);
        backoffs.add("n1", "no", PAUSE, now);
        assert!(backoffs.current(now + PAUSE.first).is_empty(), "that was long ago");
    }
}
