//! How long a new primary must have held before pods move. A primary that moves back and forth takes longer each time,
//! so that pods don't run after it.

use std::{fmt, time::Duration};

use crate::core::backoff::Pause;

/// The longest that settle grows to by itself, unless it is longer to begin with.
const MOST: Duration = Duration::from_secs(30 * 60);
/// Growth ends at this many times settle, unless a limit is given.
const MOST_TIMES: u32 = 10;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    pub settle: Duration,
    /// Changes of primary within this time of each other make settle grow.
    pub window: Duration,
    /// What settle grows to at most. `None`: ten times itself, but no more than 30 min.
    pub max: Option<Duration>,
}

/// How long the primary must hold now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settle {
    pub wait: Duration,
    /// Why that is longer than what was asked for, if it is.
    pub grown: Option<Growth>,
}

/// Why settle has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    pub changes: usize,
    pub window: Duration,
    pub wait: Duration,
    pub settle: Duration,
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes, window, wait, settle } = self;
        let [window, wait, settle] = [window, wait, settle].map(|time| plain(*time));
        write!(f, "{changes} changes within {window}: settle is {wait} instead of {settle}")
    }
}

impl Rules {
    /// `ages` are those of the confirmed changes of primary at the moment from which on the primary has held; of one that
    /// was confirmed no earlier it is zero. (The first primary ever seen is no change.) Settle doubles with each change
    /// but the last. It doesn't depend on how long the primary has held since, so that it stays the same while it is waited for.
    #[must_use]
    pub fn after(&self, ages: impl IntoIterator<Item = Duration>) -> Settle {
        let changes = ages.into_iter().filter(|age| *age < self.window).count();
        let longest = self.max.unwrap_or_else(|| self.settle.saturating_mul(MOST_TIMES).min(MOST));
        let pause = Pause { first: self.settle, longest };
        let wait = pause.nth(u32::try_from(changes).unwrap_or(u32::MAX)).max(self.settle);
        let grown = Growth { changes, window: self.window, wait, settle: self.settle };
        Settle { wait, grown: (wait > self.settle).then_some(grown) }
    }
}

/// `30 s`, `2 min`, `1.5 h`: in the unit in which it reads best.
fn plain(time: Duration) -> String {
    let s = time.as_secs_f64();
    // 90 s, but 2 min.
    let (unit_s, unit) = match s {
        _ if s >= 3600.0 && s % 1800.0 == 0.0 => (3600.0, "h"),
        _ if s >= 60.0 && s % 60.0 == 0.0 => (60.0, "min"),
        _ if s >= 1.0 => (1.0, "s"),
        _ => (1e-3, "ms"),
    };
    let number = (s / unit_s * 1e3).round() / 1e3;
    format!("{number} {unit}")
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn settle_doubles_with_each_change_inside_the_window() {
        let usual = Rules { settle: s(30), window: s(600), max: None };
        let limited = Rules { max: Some(s(45)), ..usual };
        let long = Rules { settle: s(3600), ..usual };
        let longish = Rules { settle: s(400), ..usual };
        let never = Rules { window: s(0), ..usual };
        let at_once = Rules { settle: s(0), ..usual };
        let rows = [
            (usual, &[][..], 30),
            (usual, &[0], 30),
            (usual, &[0, 599], 60),
            (usual, &[0, 600], 30),
            (usual, &[0, 100, 200], 120),
            (usual, &[0, 100, 200, 300], 240),
            (usual, &[0, 100, 200, 300, 400], 300),
            (usual, &[1; 100], 300),
            // It has held long before, and was lost for a moment.
            (usual, &[7_200, 7_300, 7_400], 30),
            (limited, &[0, 1], 45),
            (long, &[0, 1], 3600),
            (longish, &[0, 1, 2], 1600),
            (longish, &[0, 1, 2, 3], 1800),
            (never, &[0, 0, 0], 30),
            (at_once, &[0, 0, 0], 0),
        ];
        check_rows(rows, |(rules, ages, wait)| {
            let settle = rules.after(ages.iter().map(|age| s(*age)));
            assert_eq!(settle.wait, s(wait), "{rules:?} {ages:?}");
            assert_eq!(settle.grown.is_some(), settle.wait > rules.settle);
        });
    }

    #[test]
    fn a_sentence_says_that_it_has_grown() {
        let rules = Rules { settle: s(30), window: s(600), max: None };
        let said = |rules: Rules, n| rules.after(vec![s(0); n]).grown.map(|grown| grown.to_string());
        assert_eq!(said(rules, 1), None);
        assert_eq!(said(rules, 2).unwrap(), "2 changes within 10 min: settle is 1 min instead of 30 s");
        assert_eq!(said(rules, 3).unwrap(), "3 changes within 10 min: settle is 2 min instead of 30 s");
        let short = Rules { settle: Duration::from_millis(300), window: s(5400), max: None };
        assert_eq!(said(short, 2).unwrap(), "2 changes within 1.5 h: settle is 600 ms instead of 300 ms");
        assert_eq!(plain(s(90)), "90 s");
        assert_eq!(plain(Duration::from_millis(1500)), "1.5 s");
    }
}
