//! What a judgement comes to.

use std::fmt;

use serde::Serialize;

use crate::core::words::listed;

/// How a check ended. The worst one that was found counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Mark {
    /// It is as it should be.
    Right,
    /// There is nothing to look at.
    Skipped,
    /// It is as it should be, and something else could be better.
    Hint,
    /// It works, and somebody should know.
    Warning,
    /// Nobody can tell, such as for want of rights.
    Unclear,
    Wrong,
}

impl Mark {
    pub(super) const fn sign(self) -> char {
        match self {
            Self::Right => '√',
            Self::Skipped => '-',
            Self::Hint => '·',
            Self::Warning => '‼',
            Self::Unclear => '?',
            Self::Wrong => '×',
        }
    }
}

/// What was found by one check: sentences, each with how bad it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// What there is, where all is right.
    pub detail: String,
    pub told: Vec<(Mark, String)>,
}

impl Found {
    pub(super) fn right(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), told: Vec::new() }
    }

    pub(super) fn skipped(why: impl Into<String>) -> Self {
        Self::default().and(Mark::Skipped, why)
    }

    pub(super) fn unclear(why: &super::facts::Unseen) -> Self {
        Self::default().and(Mark::Unclear, &*why.0)
    }

    pub(super) fn wrong(what: impl Into<String>) -> Self {
        Self::default().and(Mark::Wrong, what)
    }

    pub(super) fn and(mut self, mark: Mark, sentence: impl Into<String>) -> Self {
        self.told.push((mark, sentence.into()));
        self
    }

    pub(super) fn tell(&mut self, mark: Mark, sentence: impl Into<String>) {
        self.told.push((mark, sentence.into()));
    }

    /// One sentence for many of a kind, the first ones by name; none if there are none. `{}` is where they stand.
    pub(super) fn tell_of(&mut self, mark: Mark, all: &[impl fmt::Display], sentence: impl FnOnce(&str) -> String) {
        if !all.is_empty() {
            self.tell(mark, sentence(&listed(all)));
        }
    }

    pub(super) fn mark(&self) -> Mark {
        self.told.iter().map(|(mark, _)| *mark).max().unwrap_or(Mark::Right)
    }
}
