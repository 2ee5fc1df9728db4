//! docs/how-it-decides.md quotes every sentence, with answers that lead to it. Here each row of its tables is run.

use std::time::{Duration, Instant};

use super::{
    Belief, PrimaryTracker, PrimaryView,
    tests::{belief, look},
};

const PAGE: &str = include_str!("../../../docs/how-it-decides.md");

/// The rows of the table after this heading, cell by cell, without the marks of Markdown.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let (_, section) = PAGE.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    let section = section.split("\n#").next().unwrap_or_default();
    let table = section.lines().filter(|line| line.starts_with('|')).skip(2);
    table.map(|line| line.trim_matches('|').split('|').map(|cell| cell.replace('`', "").trim().to_owned()).collect()).collect()
}

/// What is made of these answers: right after pg1 was the primary on timeline 2, or after nothing.
fn view(answers: &str) -> PrimaryView {
    let now = Instant::now();
    let (before, answers) = match answers.strip_prefix("at first:") {
        Some(answers) => (Belief::default(), answers),
        None => (belief("pg1", 2), answers),
    };
    PrimaryTracker::new(before, Duration::from_secs(5)).observe(&look(answers, now), now)
}

#[test]
fn every_sentence_is_as_the_page_quotes_it() {
    let rows = rows("### In words");
    for row in &rows {
        let [answers, state, sentence] = &row[..] else { panic!("{row:?}") };
        let view = view(answers);
        assert_eq!((view.state.name(), &*view.why), (&**state, &**sentence), "{answers}");
    }
    for state in super::PrimaryState::NAMES {
        assert!(rows.iter().any(|row| row[1] == state), "the page has no sentence for {state}");
    }
}

#[test]
fn every_freeze_is_as_the_page_quotes_it() {
    let rows = rows("### What freezes");
    for row in &rows {
        let [answers, name, sentence] = &row[..] else { panic!("{row:?}") };
        let view = view(answers);
        let frozen: Vec<_> = view.frozen.iter().map(|reason| (reason.name(), reason.to_string())).collect();
        assert!(frozen.contains(&(name, sentence.clone())), "{answers}: {frozen:?}");
    }
    for name in super::FrozenReason::NAMES {
        assert!(rows.iter().any(|row| row[1] == name), "the page has no sentence for {name}");
    }
}
