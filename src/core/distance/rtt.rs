//! Round-trip times: a window of the last echoes, what it says, and when that is worth writing.

use std::collections::VecDeque;

/// How a round trip was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// ICMP echo.
    #[default]
    Icmp,
    /// TCP connect to the database port.
    Tcp,
}

/// The last echoes to one address, all made by the same method; `None` is one that was not answered in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    echoes: VecDeque<Option<u32>>,
    size: usize,
}

/// What a window says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Median in microseconds; `None` when every echo was lost.
    pub rtt_us: Option<u32>,
    /// 90th minus 10th percentile in microseconds.
    pub jitter_us: Option<u32>,
    /// Lost echoes in percent, rounded up, so that a single loss is never none.
    pub loss_percent: u8,
    /// Number of echoes.
    pub samples: u16,
    pub method: Method,
}

impl Window {
    /// A window of the last `size` echoes, at least one.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let size = size.max(1);
        Self { echoes: VecDeque::with_capacity(size), size }
    }

    /// Adds an echo: its round-trip time in microseconds, or `None` if it was lost. The oldest one drops out.
    pub fn push(&mut self, rtt_us: Option<u32>) {
        if self.echoes.len() == self.size {
            self.echoes.pop_front();
        }
        self.echoes.push_back(rtt_us);
    }

    pub fn clear(&mut self) {
        self.echoes.clear();
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.echoes.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.echoes.is_empty()
    }

    /// Whether the window is full and not one echo of it was answered.
    #[must_use]
    pub fn silent(&self) -> bool {
        self.echoes.len() == self.size && self.echoes.iter().all(Option::is_none)
    }

    /// Whether an echo of it was answered.
    #[must_use]
    pub fn answered(&self) -> bool {
        self.echoes.iter().any(Option::is_some)
    }

    #[must_use]
    pub fn summary(&self, method: Method) -> Summary {
        let mut answered: Vec<u32> = self.echoes.iter().copied().flatten().collect();
        answered.sort_unstable();
        let total = self.echoes.len();
        let lost = total - answered.len();
        // Nearest rank, never a mean of two: while a route changes, half of the window is old and half is new, and
        // their mean would be a distance at which the member never was.
        let percentile = |percent: usize| {
            let rank = (answered.len() * percent).div_ceil(100).max(1);
            answered.get(rank - 1).copied()
        };
        Summary {
            rtt_us: percentile(50),
            jitter_us: percentile(90).zip(percentile(10)).map(|(high, low)| high - low),
            loss_percent: if total == 0 { 0 } else { u8::try_from((lost * 100).div_ceil(total)).unwrap_or(100) },
            samples: u16::try_from(total).unwrap_or(u16::MAX),
            method,
        }
    }
}

/// From when on a reading differs enough from the last written one to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadband {
    /// In percent of the written round-trip time …
    pub percent: u32,
    /// … but at least this many microseconds.
    pub absolute_us: u32,
    /// Loss, in percentage points.
    pub loss_points: u8,
}

impl Default for Deadband {
    fn default() -> Self {
        Self { percent: 10, absolute_us: 200, loss_points: 30 }
    }
}

/// Whether `now` says something that `written` doesn't. `None` is no reading at all.
#[must_use]
pub fn worth_writing(written: Option<&Summary>, now: Option<&Summary>, deadband: &Deadband) -> bool {
    let (written, now) = match (written, now) {
        (None, None) => return false,
        (Some(written), Some(now)) => (written, now),
        _ => return true,
    };
    let moved = match (written.rtt_us, now.rtt_us) {
        (None, None) => false,
        (Some(before), Some(after)) => {
            let tolerated =
                (u64::from(before) * u64::from(deadband.percent) / 100).max(u64::from(deadband.absolute_us));
            u64::from(before.abs_diff(after)) > tolerated
        }
        _ => true,
    };
    moved || written.method != now.method || written.loss_percent.abs_diff(now.loss_percent) >= deadband.loss_points
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    /// `"300 310 - 20000"`: echoes in microseconds, `-` for a lost one.
    fn window(size: usize, echoes: &str) -> Window {
        let mut window = Window::new(size);
        for echo in echoes.split_whitespace() {
            window.push(echo.parse().ok());
        }
        window
    }

    #[test]
    fn a_window_says_its_median_jitter_and_loss() {
        let rows = [
            ("nothing yet", "", None, None, 0, 0),
            ("one", "300", Some(300), Some(0), 0, 1),
            ("calm", "300 310 290 305 300 300 300 300 300 900", Some(300), Some(20), 0, 10),
            ("a spike is no median", "300 9000 300", Some(300), Some(8700), 0, 3),
            ("lost ones don't count as distance", "- 300 - 310 -", Some(300), Some(10), 60, 5),
            ("a single loss is never none", "300 300 300 300 300 300 300 300 300 -", Some(300), Some(0), 10, 10),
            ("all lost", "- - -", None, None, 100, 3),
            ("half old, half new: one of both", "300 300 20000 20000", Some(300), Some(19700), 0, 4),
            ("one more, and it is the new one", "300 300 20000 20000 20000", Some(20000), Some(19700), 0, 5),
            ("the window slides", "1 2 3 300 300 300 300 300 300 300 300 300 300", Some(300), Some(0), 0, 10),
        ];
        check_rows(rows, |(what, echoes, rtt_us, jitter_us, loss_percent, samples)| {
            let expected = Summary { rtt_us, jitter_us, loss_percent, samples, method: Method::Icmp };
            assert_eq!(window(10, echoes).summary(Method::Icmp), expected, "{what}");
        });
    }

    #[test]
    fn a_route_change_shows_after_six_of_ten_echoes() {
        let mut window = window(10, "300 300 300 300 300 300 300 300 300 300");
        let medians: Vec<_> = (0..7)
            .map(|_| {
                window.push(Some(20_000));
                window.summary(Method::Icmp).rtt_us.unwrap()
            })
            .collect();
        assert_eq!(medians, [300, 300, 300, 300, 300, 20_000, 20_000]);
    }

    #[test]
    fn only_a_full_window_is_silent() {
        assert!(!window(3, "- -").silent());
        assert!(window(3, "- - -").silent());
        assert!(window(3, "300 - - -").silent());
        assert!(!window(3, "- - 300").silent());
    }

    #[test]
    fn a_reading_is_written_when_it_says_something_new() {
        let reading = |rtt_us: u32, loss_percent| {
            Some(Summary { rtt_us: (rtt_us > 0).then_some(rtt_us), loss_percent, samples: 10, ..Summary::default() })
        };
        let tcp = |rtt_us| reading(rtt_us, 0).map(|summary| Summary { method: Method::Tcp, ..summary });
        let rows = [
            ("nothing", None, None, false),
            ("the first one", None, reading(300, 0), true),
            ("no longer measured", reading(300, 0), None, true),
            ("the same", reading(300, 0), reading(300, 0), false),
            ("within the absolute band", reading(300, 0), reading(500, 0), false),
            ("beyond it", reading(300, 0), reading(501, 0), true),
            ("within the relative band", reading(20_000, 0), reading(22_000, 0), false),
            ("beyond it", reading(20_000, 0), reading(22_001, 0), true),
            ("nearer counts as well", reading(20_000, 0), reading(300, 0), true),
            ("all lost", reading(300, 0), reading(0, 100), true),
            ("still all lost", reading(0, 100), reading(0, 100), false),
            ("back", reading(0, 100), reading(300, 0), true),
            ("a little loss", reading(300, 0), reading(300, 20), false),
            ("much loss", reading(300, 0), reading(300, 30), true),
            ("another method", reading(300, 0), tcp(300), true),
        ];
        check_rows(rows, |(what, written, now, expected)| {
            assert_eq!(worth_writing(written.as_ref(), now.as_ref(), &Deadband::default()), expected, "{what}");
        });
    }
}
