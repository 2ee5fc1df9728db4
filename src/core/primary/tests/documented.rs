//! docs/how-it-decides.md quotes every sentence, with answers that lead to it. Here each row of its tables is run.

use std::time::{Duration, Instant};

use super::super::{Belief, FrozenReason, PrimaryState, PrimaryTracker, PrimaryView};
use super::{belief, look};

const PAGE: &str = include_str!("../../../../docs/how-it-decides.md");

/// The rows of the table after this heading, cell by cell, without the marks of Markdown.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = PAGE.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n#").next().unwrap_or_default();
    let table = section.lines().filter(|line| line.starts_with('|')).skip(2);
    table
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect())
        .collect()
}

/// What is made of these answers: right after pg1 was the primary on timeline 2, or after nothing. What is said
/// `for 6 s:` is said again.
fn view(answers: &str) -> PrimaryView {
    let now = Instant::now();
    let (before, answers) = match answers.strip_prefix("at first:") {
        Some(answers) => (Belief::default(), answers),
        None => (belief("pg1", 2), answers),
    };
    let mut tracker = PrimaryTracker::new(before, Duration::from_secs(5));
    match answers.strip_prefix("for 6 s:") {
        Some(answers) => {
            tracker.observe(&look(answers, now), now);
            let later = now + Duration::from_secs(6);
            tracker.observe(&look(answers, later), later)
        }
        None => tracker.observe(&look(answers, now), now),
    }
}

/// Fails with the rows as they should be.
fn check(heading: &str, names: &[&str], actual: impl Fn(&PrimaryView, &str) -> (String, String)) {
    let rows = rows(heading);
    let mut wrong = Vec::new();
    for row in &rows {
        let [answers, name, sentence] = &row[..] else { panic!("{row:?}") };
        let actual = actual(&view(answers), name);
        if (&actual.0, &actual.1) != (name, sentence) {
            wrong.push(format!("| `{answers}` | `{}` | {} |", actual.0, actual.1));
        }
    }
    assert!(wrong.is_empty(), "{heading} should say:\n{}", wrong.join("\n"));
    for name in names {
        assert!(rows.iter().any(|row| row[1] == *name), "{heading} has no sentence for {name}");
    }
}

#[test]
fn metrics_and_status_know_these_words() {
    assert_eq!(PrimaryState::NAMES, ["Known", "Promoting", "Degraded", "SplitBrain", "Unknown"]);
    let frozen = ["cluster_unlocked", "pause", "failsafe_mode_is_active", "split_brain", "system_identifier"];
    assert_eq!(FrozenReason::NAMES, frozen);
    assert_eq!((PrimaryState::Unknown.name(), FrozenReason::SplitBrain.name()), ("Unknown", "split_brain"));
}

#[test]
fn every_sentence_is_as_the_page_quotes_it() {
    check("### In words", PrimaryState::NAMES, |view, _| (view.state.name().to_owned(), view.why.clone()));
}

#[test]
fn every_freeze_is_as_the_page_quotes_it() {
    check("### What freezes", FrozenReason::NAMES, |view, name| {
        let frozen = view.frozen.iter().find(|reason| reason.name() == name);
        frozen.map_or_else(Default::default, |reason| (reason.name().to_owned(), reason.to_string()))
    });
}
