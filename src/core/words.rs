//! How things are put in words, wherever people read of them.

use std::{borrow::Cow, fmt};

/// As many as one line of log and one event name.
const MOST_LISTED: usize = 5;

/// The first few, and how many more there are.
#[must_use]
pub fn listed(all: &[impl fmt::Display]) -> String {
    let (told, unlisted) = all.split_at(all.len().min(MOST_LISTED));
    let mut parts: Vec<String> = told.iter().map(ToString::to_string).collect();
    if !unlisted.is_empty() {
        parts.push(format!("and {} more", unlisted.len()));
    }
    parts.join("; ")
}

/// Whether a terminal or a log would obey it in place of showing it: control characters, line separators, and what turns the
/// direction of a line.
#[must_use]
pub fn is_obeyed(char: char) -> bool {
    char.is_control() || matches!(char, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// What others said, as it may go to a terminal or a log: what would be obeyed is shown in its place.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if is_obeyed(char) { out.extend(char.escape_default()) } else { out.push(char) }
    }
    Cow::Owned(out)
}

/// The same of several lines, which stay lines.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// The character, or `?` for one that a terminal or a log would obey.
#[must_use]
pub fn plain(c: char) -> char {
    if is_obeyed(c) { '?' } else { c }
}

/// So many microseconds, shown as milliseconds. They are cut, not rounded, to as many digits as are asked for: two if none are, at
/// most three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Milliseconds {
    pub us: u64,
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ms, us) = (self.us / 1000, self.us % 1000);
        match f.precision().unwrap_or(2) {
            0 => write!(f, "{ms} ms"),
            1 => write!(f, "{ms}.{} ms", us / 100),
            2 => write!(f, "{ms}.{:02} ms", us / 10),
            _ => write!(f, "{ms}.{us:03} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_the_first_few_and_counts_the_rest() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        for (count, expected) in [(0, ""), (1, "a"), (5, "a; b; c; d; e"), (7, "a; b; c; d; e; and 2 more")] {
            assert_eq!(listed(&names[..count]), expected);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (text, expected) in [
            ("pg1 → pg2, 3 ms, ü", "pg1 → pg2, 3 ms, ü"),
            ("pg1\u{1b}[2J", "pg1\\u{1b}[2J"),
            ("a\nlevel=error", "a\\nlevel=error"),
            ("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c"),
        ] {
            assert_eq!(printable(text), expected);
        }
        assert_eq!(printable_lines("a\u{7}\nb\n"), "a\\u{7}\nb\n");
    }

    #[test]
    fn milliseconds_are_cut_to_the_digits_that_are_asked_for() {
        for (us, expected) in [
            (0, ["0.00 ms", "0 ms", "0.0 ms", "0.000 ms"]),
            (319, ["0.31 ms", "0 ms", "0.3 ms", "0.319 ms"]),
            (20_099, ["20.09 ms", "20 ms", "20.0 ms", "20.099 ms"]),
        ] {
            let ms = Milliseconds { us };
            assert_eq!([format!("{ms}"), format!("{ms:.0}"), format!("{ms:.1}"), format!("{ms:.3}")], expected);
        }
    }
}
