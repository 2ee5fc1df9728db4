//! One host's windows, and which of them speaks.

use crate::core::distance::rtt::{Method, Summary, Window};

/// Fewest samples that say something.
const LEAST_SAMPLES: usize = 3;

/// The echoes to one host, and the TCP connects while echoes are blocked. The two are never mixed.
#[derive(Debug)]
pub(super) struct Track {
    echoes: Window,
    connects: Window,
    method: Method,
    /// Number of echoes in a row that were answered.
    answered_in_a_row: usize,
    size: usize,
}

impl Track {
    pub(super) fn new(size: usize) -> Self {
        let size = size.max(1);
        Self {
            echoes: Window::new(size),
            connects: Window::new(size),
            method: Method::Icmp,
            answered_in_a_row: 0,
            size,
        }
    }

    /// Notes an echo; `None` is a lost one.
    pub(super) fn echo(&mut self, rtt_us: Option<u32>) {
        self.echoes.push(rtt_us);
        self.answered_in_a_row = if rtt_us.is_some() { self.answered_in_a_row + 1 } else { 0 };
        // A few answers between many losses may come from a rate limit; half a window in a row is a way that works.
        if self.answered_in_a_row * 2 >= self.size || (self.method == Method::Icmp && self.echoes.answered()) {
            self.method = Method::Icmp;
            self.connects.clear();
        }
    }

    /// Notes a TCP connect; `None` is one that got no answer.
    pub(super) fn connect(&mut self, rtt_us: Option<u32>) {
        if !self.wants_connects() {
            return;
        }
        self.connects.push(rtt_us);
        if self.connects.answered() && self.connects.len() >= LEAST_SAMPLES.min(self.size) {
            self.method = Method::Tcp;
        }
    }

    /// Whether echoes are blocked as far as can be told, so that connects are worth a try.
    pub(super) fn wants_connects(&self) -> bool {
        self.method == Method::Tcp || self.echoes.silent()
    }

    pub(super) const fn method(&self) -> Method {
        self.method
    }

    /// Forgets everything: the host has another address.
    pub(super) fn restart(&mut self) {
        *self = Self::new(self.size);
    }

    /// What the windows say; `None` until there are enough samples.
    pub(super) fn reading(&self) -> Option<Summary> {
        let window = match self.method {
            Method::Icmp => &self.echoes,
            Method::Tcp => &self.connects,
        };
        (window.len() >= LEAST_SAMPLES.min(self.size)).then(|| window.summary(self.method))
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    /// `"e300 e- c310 c-"`: echoes and connects, `-` for lost.
    fn track(story: &str) -> Track {
        let mut track = Track::new(4);
        for word in story.split_whitespace() {
            let (kind, rtt) = word.split_at(1);
            if kind == "e" { track.echo(rtt.parse().ok()) } else { track.connect(rtt.parse().ok()) }
        }
        track
    }

    fn shown(track: &Track) -> String {
        let Some(reading) = track.reading() else { return "-".to_owned() };
        format!("{:?} {:?} loss {} of {}", reading.method, reading.rtt_us, reading.loss_percent, reading.samples)
    }

    #[test]
    fn which_window_speaks() {
        let rows = [
            ("too few to say anything", "e300 e300", "-"),
            ("echoes", "e300 e310 e320", "Icmp Some(310) loss 0 of 3"),
            ("a network that dies is loss", "e300 e300 e300 e- e- e- e-", "Icmp None loss 100 of 4"),
            (
                "connects don't count while echoes are answered",
                "e300 e- e- e- c900 c900 c900",
                "Icmp Some(300) loss 75 of 4",
            ),
            ("echoes blocked, the port answers", "e- e- e- e- c900 c910 c920", "Tcp Some(910) loss 0 of 3"),
            ("nothing answers", "e- e- e- e- c- c- c- c-", "Icmp None loss 100 of 4"),
            (
                "an odd echo doesn't bring the method back",
                "e- e- e- e- c900 c910 c920 e300 e-",
                "Tcp Some(910) loss 0 of 3",
            ),
            ("echoes are answered again", "e- e- e- e- c900 c910 c920 e300 e300", "Icmp Some(300) loss 50 of 4"),
            ("the port dies, too", "e- e- e- e- c900 c910 c920 c- c- c- c-", "Tcp None loss 100 of 4"),
        ];
        check_rows(rows, |(what, story, expected)| {
            assert_eq!(shown(&track(story)), expected, "{what}");
        });
    }

    #[test]
    fn connects_are_wanted_only_when_a_whole_window_is_silent() {
        assert!(!track("e- e- e-").wants_connects());
        assert!(track("e- e- e- e-").wants_connects());
        assert!(!track("e- e- e- e- c900 c900 c900 e300 e300").wants_connects());
    }

    #[test]
    fn another_address_starts_over() {
        let mut track = track("e300 e300 e300");
        track.restart();
        assert_eq!(track.reading(), None);
    }
}
