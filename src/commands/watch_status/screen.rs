//! Lines that keep their place in a terminal.

use std::io::{self, Write};

use terminal_size::{Height, Width, terminal_size};

/// Of a terminal that doesn't say how large it is.
const USUAL: (usize, usize) = (80, 24);
/// Lines for whoever doesn't draw: all of them.
const NO_BOUND: usize = usize::MAX;

/// What was drawn last, and where.
#[derive(Debug)]
pub(super) struct Screen {
    /// It is a terminal. Otherwise each change is written below the last one.
    draws: bool,
    shown: Vec<String>,
}

impl Screen {
    pub(super) const fn of(draws: bool) -> Self {
        Self { draws, shown: Vec::new() }
    }

    pub(super) const fn draws(&self) -> bool {
        self.draws
    }

    /// Lines that there is room for.
    pub(super) fn height(&self) -> usize {
        // The cursor stands on the line below.
        if self.draws { size().1.saturating_sub(1).max(1) } else { NO_BOUND }
    }

    /// Shows these lines in place of the last ones. `changed`: it is news, not only older.
    pub(super) fn show(&mut self, out: &mut impl Write, lines: Vec<String>, changed: bool) -> io::Result<()> {
        let lines = if self.draws { fitted(lines, size()) } else { lines };
        if lines == self.shown || (!self.draws && !changed) {
            return Ok(());
        }
        let text = if self.draws { drawn_over(self.shown.len(), &lines) } else { below(&self.shown, &lines) };
        out.write_all(text.as_bytes())?;
        out.flush()?;
        self.shown = lines;
        Ok(())
    }

    /// What was drawn last stays; what follows stands below it.
    pub(super) fn end(&self, out: &mut impl Write) -> io::Result<()> {
        if self.draws {
            // Of `^C`, which terminals write.
            out.write_all(b"\r\x1b[K")?;
        }
        out.flush()
    }
}

/// Columns and rows.
fn size() -> (usize, usize) {
    terminal_size().map_or(USUAL, |(Width(width), Height(height))| (width.into(), height.into()))
}

/// No line is longer than the terminal is wide, because it would take two, and none is below its end.
fn fitted(lines: Vec<String>, (width, height): (usize, usize)) -> Vec<String> {
    let cut = |line: String| {
        if line.chars().count() < width {
            return line;
        }
        line.chars().take(width.saturating_sub(2)).chain(['…']).collect()
    };
    lines.into_iter().take(height.saturating_sub(1).max(1)).map(cut).collect()
}

/// From the first of the lines that stand there; each is cleared when it is written anew, so that nothing flickers.
fn drawn_over(before: usize, lines: &[String]) -> String {
    let up = if before > 0 { format!("\x1b[{before}A") } else { String::new() };
    let lines: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\r{up}{lines}\x1b[J")
}

fn below(before: &[String], lines: &[String]) -> String {
    let apart = if before.is_empty() { "" } else { "\n" };
    format!("{apart}{}\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn lines_are_drawn_over_the_last_ones_and_none_is_left() {
        assert_eq!(drawn_over(0, &lines(&["a", "b"])), "\ra\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(drawn_over(2, &lines(&["c"])), "\r\x1b[2Ac\x1b[K\n\x1b[J");
    }

    #[test]
    fn a_line_takes_one_line_and_all_of_them_the_terminal_at_most() {
        let shown = fitted(lines(&["12345678", "1234567", "123456789", "gone"]), (9, 4));
        assert_eq!(shown, lines(&["12345678", "1234567", "1234567…"]));
    }

    #[test]
    fn a_file_gets_each_change_below_the_last_one_and_nothing_that_is_only_older() {
        let mut screen = Screen::of(false);
        let mut out = Vec::new();
        for (text, changed) in [("a 1s", true), ("a 2s", false), ("a 2s", true), ("a 2s", true)] {
            screen.show(&mut out, lines(&[text]), changed).unwrap();
        }
        screen.end(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a 1s\n\na 2s\n");
    }
}
