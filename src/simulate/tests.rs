//! Scripts that people wrote, and months that nobody did.

use std::time::Instant;

use super::{Script, invent, play, shrink};

/// Every script of the documents comes to what it says.
#[test]
fn every_simulation_of_the_documents_comes_to_what_it_expects() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/simulations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|it| it == "sim"));
    files.sort();
    assert!(files.len() >= 12, "{files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let script: Script =
            std::fs::read_to_string(&file).unwrap().parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!script.expectations.is_empty(), "{name} expects nothing");
        let report = play(&script, Instant::now()).unwrap();
        if !report.broken.is_empty() {
            wrong.push(format!("{name}\n{report}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// `SIMULATE_SEED=7 SIMULATE_DAYS=30 cargo test` plays what failed again; `SIMULATE_SEEDS` plays so many from there on.
#[test]
fn whatever_happens_every_law_holds() {
    let number = |name: &str, usual: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (first, many) = (number("SIMULATE_SEED", 1), number("SIMULATE_SEEDS", 3));
    let days = u32::try_from(number("SIMULATE_DAYS", 1)).unwrap();
    for seed in first..first + many {
        let script = invent(seed, days);
        let report = play(&script, Instant::now()).unwrap();
        if let Some(broken) = report.broken.first() {
            let small = shrink(&script, Instant::now());
            let told = play(&small, Instant::now()).unwrap();
            panic!("seed {seed}, {days} days: {broken}\n\n{small}\n{told}");
        }
    }
}

#[test]
fn the_same_script_always_comes_to_the_same_end() {
    let script = invent(3, 1);
    assert_eq!(play(&script, Instant::now()).unwrap(), play(&script, Instant::now()).unwrap());
}
