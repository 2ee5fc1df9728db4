//! When the agent writes. No clock and no randomness of its own.

use std::time::{Duration, Instant};

use crate::core::backoff::Pause;

/// Writes are at least this far apart.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// After a write that failed.
const BACKOFF: Pause = Pause { first: Duration::from_secs(1), longest: Duration::from_secs(30) };

/// A write is due when something changed or the heartbeat is, but not before the last pause is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    heartbeat: Duration,
    heartbeat_due: Instant,
    change_due: Option<Instant>,
    not_before: Instant,
    failures: u32,
}

impl Schedule {
    /// Two numbers in 0..1: the length of a first pause that began before `now`, and how much of it is over. So agents
    /// that start together write as evenly as they do later.
    pub(super) fn new(heartbeat: Duration, now: Instant, (spread, over): (f64, f64)) -> Self {
        let heartbeat_due = now + Self::pause(heartbeat, spread).mul_f64(1.0 - over);
        Self { heartbeat, heartbeat_due, change_due: None, not_before: now, failures: 0 }
    }

    /// Something changed that is worth a write within `delay`. The first change sets the time.
    pub(super) fn changed(&mut self, now: Instant, delay: Duration) {
        self.change_due.get_or_insert(now + delay);
    }

    /// What had changed is as it was written.
    pub(super) const fn unchanged(&mut self) {
        self.change_due = None;
    }

    /// When the next write is due.
    pub(super) fn next(&self) -> Instant {
        let wanted = self.change_due.map_or(self.heartbeat_due, |change| change.min(self.heartbeat_due));
        wanted.max(self.not_before)
    }

    /// A write succeeded. `spread` in 0..1 moves the next heartbeat by up to a tenth.
    pub(super) fn wrote(&mut self, now: Instant, spread: f64) {
        self.change_due = None;
        self.failures = 0;
        self.not_before = now + LEAST_PAUSE;
        self.heartbeat_due = now + Self::pause(self.heartbeat, spread);
    }

    /// Between two heartbeats.
    fn pause(heartbeat: Duration, spread: f64) -> Duration {
        heartbeat.mul_f64(1.0 - 0.1 * spread)
    }

    /// A write failed. `spread` in 0..1 makes the pause half as long to one and a half times as long. Says whether this
    /// is the first failure in a row.
    pub(super) fn failed(&mut self, now: Instant, spread: f64) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + BACKOFF.nth(self.failures).mul_f64(0.5 + spread);
        self.failures == 1
    }

    pub(super) const fn failing(&self) -> bool {
        self.failures > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_change_is_written_soon_and_a_heartbeat_rarely() {
        let start = Instant::now();
        let s = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut schedule = Schedule::new(MINUTE, start, (0.0, 0.5));
        assert_eq!(schedule.next(), s(30.0));
        schedule.changed(s(2.0), Duration::from_millis(300));
        schedule.changed(s(2.2), Duration::from_millis(300));
        assert_eq!(schedule.next(), s(2.3), "the first change sets the time");
        schedule.wrote(s(2.4), 0.0);
        assert_eq!(schedule.next(), s(62.4));
        schedule.changed(s(2.5), Duration::ZERO);
        assert_eq!(schedule.next(), s(3.4), "at most one write a second");
        schedule.unchanged();
        assert_eq!(schedule.next(), s(62.4));
        schedule.wrote(s(62.4), 1.0);
        assert_eq!(schedule.next(), s(116.4));
    }

    #[test]
    fn failures_back_off_up_to_a_bound_and_are_told_once() {
        let start = Instant::now();
        let mut schedule = Schedule::new(MINUTE, start, (0.0, 1.0));
        let mut told = 0;
        let pauses: Vec<_> = (0..8)
            .map(|_| {
                told += u32::from(schedule.failed(start, 0.5));
                (schedule.next() - start).as_secs()
            })
            .collect();
        assert_eq!((pauses, told), (vec![1, 2, 4, 8, 16, 30, 30, 30], 1));
        schedule.wrote(start, 0.0);
        assert!(!schedule.failing());
    }

    /// 5,000 schedules as the agents of a fleet keep them, in virtual time: the number of writes in each second.
    fn fleet(seconds: u64, change_at: u64, spread: Duration) -> Vec<u32> {
        let start = Instant::now();
        let heartbeat = crate::agent::AgentConfig::default().heartbeat;
        // Numbers in 0..1 that are spread as random ones are, and the same in every run.
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut schedules: Vec<_> = (0..5_000).map(|_| Schedule::new(heartbeat, start, (random(), random()))).collect();
        let mut writes = Vec::new();
        for second in 0..seconds {
            let (begin, end) = (start + Duration::from_secs(second), start + Duration::from_secs(second + 1));
            let mut count = 0;
            for schedule in &mut schedules {
                if second == change_at {
                    schedule.changed(begin, spread.mul_f64(random()));
                }
                while schedule.next() < end {
                    let at = schedule.next();
                    schedule.wrote(at, random());
                    count += 1;
                }
            }
            writes.push(count);
        }
        writes
    }

    #[test]
    fn five_thousand_agents_write_fewer_than_a_hundred_times_a_second() {
        let writes = fleet(600, u64::MAX, Duration::ZERO);
        for minute in writes.chunks(60) {
            assert!(minute.iter().sum::<u32>() < 100 * 60, "{minute:?}");
        }
        // A second is a sample of 88 on average.
        assert!(writes.iter().all(|count| *count < 150), "{:?}", writes.iter().max());
    }

    #[test]
    fn a_change_that_all_agents_see_is_written_over_the_whole_spread() {
        let writes = fleet(60, 30, Duration::from_secs(25));
        let changed = &writes[30..55];
        assert!(changed.iter().all(|count| (90..350).contains(count)), "{changed:?}");
    }
}
