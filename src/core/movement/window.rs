//! How many pods may be on the move at once, over all databases: few at first, then each round of moves twice as large as the one
//! before it, and half as many when one fails. So does TCP find out what a network bears (RFC 5681).

use std::time::{Duration, Instant};

/// How many more moves may begin for each replacement that has found its place. Those that have wait to be Ready and keep theirs, so
/// that two for one make the next round twice as large.
const FOLLOW: u32 = 2;
/// Moves that may be under way before the first replacement has shown that it works.
pub const FIRST: u32 = 10;
/// Where nothing has moved for as long, the next movement begins small again.
const RESTED: Duration = Duration::from_secs(60);

/// What one look showed of moves that were under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Replacements that have a node now, and a nearer one: admission, scheduler and room are as they were foreseen.
    pub placed: u32,
    /// Replacements that are Ready now, and nearer.
    pub ready: u32,
    /// Replacements that were not Ready in time, or came no nearer.
    pub failed: u32,
}

/// How many pods may be on the move at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    size: u32,
    /// One has failed: from then on it grows by one when as many replacements as it is large were Ready; so many have been.
    careful: Option<u32>,
    /// Since when nothing has been on the move.
    idle_since: Option<Instant>,
}

impl Default for Window {
    fn default() -> Self {
        Self { size: FIRST, careful: None, idle_since: None }
    }
}

impl Window {
    /// For whoever has no others beside him.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { size: u32::MAX, careful: None, idle_since: None }
    }

    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// Learns from one look at the moves of a database that has at most `most` of them under way.
    pub fn learn(&mut self, evidence: Evidence, most: u32) {
        if evidence.failed > 0 {
            // Once for each look: those that fail together were begun together.
            self.size = (self.size / 2).max(1);
            self.careful = Some(0);
            return;
        }
        let most = most.max(self.size);
        match &mut self.careful {
            None => self.size = self.size.saturating_add(evidence.placed.saturating_mul(FOLLOW)).min(most),
            Some(ready) => {
                *ready = ready.saturating_add(evidence.ready);
                while *ready >= self.size && self.size < most {
                    *ready -= self.size;
                    self.size += 1;
                }
            }
        }
    }

    /// One look at whether anything is on the move.
    pub fn rest(&mut self, moving: bool, now: Instant) {
        let since = self.idle_since.unwrap_or(now);
        if now.saturating_duration_since(since) >= RESTED {
            *self = Self::default();
        }
        self.idle_since = (!moving).then_some(since);
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    /// How large it is after each look: `p10` ten placed, `r3` three Ready, `f1` one failed.
    fn sizes(looks: &str, most: u32) -> Vec<u32> {
        let mut window = Window::default();
        let look = |word: &str| {
            let (kind, count) = word.split_at(1);
            let count = count.parse().unwrap();
            let mut evidence = Evidence::default();
            match kind {
                "p" => evidence.placed = count,
                "r" => evidence.ready = count,
                _ => evidence.failed = count,
            }
            window.learn(evidence, most);
            window.size()
        };
        looks.split(' ').map(look).collect()
    }

    #[test]
    fn each_round_is_twice_the_one_before_and_failures_halve_it_and_slow_it_down() {
        let rows = [
            ("nothing is known yet", "p0", 200, vec![10]),
            ("rounds of 10, 20, 40, 80", "p10 p20 p40", 200, vec![30, 70, 150]),
            ("up to the most", "p10 p20 p40 p80", 200, vec![30, 70, 150, 200]),
            ("single ones count, too", "p1 p1 p1", 200, vec![12, 14, 16]),
            ("a database with a lower limit takes nothing away", "p10", 5, vec![10]),
            ("Ready alone adds nothing to what places did", "r10", 200, vec![10]),
            ("a failure halves it", "p10 f1", 200, vec![30, 15]),
            ("those of one look count once", "p10 f7", 200, vec![30, 15]),
            ("down to one", "f1 f1 f1 f1 f1", 200, vec![5, 2, 1, 1, 1]),
            ("then places add nothing", "p10 f1 p50", 200, vec![30, 15, 15]),
            ("and a windowful of Ready ones adds one", "p10 f1 r14 r1 r17", 200, vec![30, 15, 15, 16, 17]),
            ("up to the most all the same", "f1 r1000", 7, vec![5, 7]),
        ];
        check_rows(rows, |(what, looks, most, expected)| {
            assert_eq!(sizes(looks, most), expected, "{what}");
        });
    }

    #[test]
    fn after_a_rest_it_begins_small_again() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let large = || {
            let mut window = Window::default();
            window.learn(Evidence { placed: 45, ..Evidence::default() }, 200);
            window.rest(true, began);
            window
        };
        let mut window = large();
        for second in [1, 30, 60] {
            window.rest(false, after(second));
            assert_eq!(window.size(), 100, "after {second} s");
        }
        window.rest(true, after(60));
        window.rest(false, after(61));
        window.rest(false, after(120));
        assert_eq!(window.size(), 100, "something moved meanwhile");
        window.rest(true, after(121));
        assert_eq!(window.size(), FIRST);
    }
}
