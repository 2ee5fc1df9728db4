//! Pages that scenes write: prose, and what each command printed. Whenever such a scene is played, its commands are compared with those of
//! the page.

use std::{env, fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};

/// A page, or a part of one, as far as it has been played.
#[derive(Default)]
pub(crate) struct Told {
    text: String,
}

impl Told {
    pub(crate) fn says(&mut self, prose: &str) {
        self.text.push_str(prose.trim_end());
        self.text.push('\n');
    }

    pub(crate) fn shows(&mut self, typed: &str, printed: &str) {
        let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
        let printed = printed.join("\n");
        let printed = printed.trim_end();
        let printed = if printed.is_empty() { String::new() } else { format!("{printed}\n") };
        // Writing into a String does not fail.
        let _ = write!(self.text, "\n```text\n$ {typed}\n{printed}```\n");
    }

    /// What was typed, in order.
    pub(crate) fn commands(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("$ ")).collect()
    }

    /// Whether what was played has this command.
    pub(crate) fn has(&self, command: &str) -> bool {
        Self::commands(&self.text).contains(&command)
    }

    /// Compares its commands with those of a page, or of a page's part between two marks; or writes it where `asked` is in the environment.
    pub(crate) fn close(&self, path: &Path, marks: Option<(&str, &str)>, asked: &str, make: &str) -> Result<()> {
        let there = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let (begin, end) = match marks {
            Some((first, last)) => {
                let begin = there.find(first).with_context(|| format!("{first} isn't in {}", path.display()))?;
                let begin = begin + first.len();
                (begin, begin + there[begin..].find(last).with_context(|| format!("{last} doesn't follow"))?)
            }
            None => (0, there.len()),
        };
        if env::var_os(asked).is_some() {
            let text = if marks.is_some() { format!("\n{}\n", self.text) } else { self.text.clone() };
            return Ok(fs::write(path, format!("{}{text}{}", &there[..begin], &there[end..]))?);
        }
        assert_eq!(Self::commands(&there[begin..end]), Self::commands(&self.text), "run {make}");
        Ok(())
    }
}
