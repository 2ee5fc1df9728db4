//! Two data centres over Kine, with and without synchronous replication under Kubernetes. Too long for every change: `make test-two`, which is
//! part of `make nightly`.

use anyhow::{Result, ensure};
use lab::{
    Lab, Options,
    demo::Clock,
    two::{Bed, Report, play, scenes},
};

/// Each has a lab of its own, because each leaves another one behind.
fn story(name: &str, synchronous: bool) {
    let state = lab::target_directory().join(format!("lab-{name}"));
    let told = tell(&state, synchronous);
    let ended = Lab::down(&state);
    told.and(ended).unwrap_or_else(|error| panic!("{error:#}"));
}

fn tell(state: &std::path::Path, synchronous: bool) -> Result<()> {
    let images = ["switchover", "shop"].map(|name| lab::target_directory().join(format!("images/{name}.tar"))).to_vec();
    let clock = Clock::start();
    let lab =
        Lab::up(&Options { state: state.to_owned(), images, ..Options::two(synchronous) }, &|step| clock.say(step))?;
    lab.end_with_this_process()?;
    let bed = Bed::set(lab, super::product(), clock)?;
    // What doesn't depend on how the database replicates is played once.
    let scenes: Vec<_> = scenes(synchronous, |number| synchronous || ![6, 8, 9].contains(&number)).collect();
    let mut report = Report::of(scenes.len());
    play(&bed, &scenes, &mut report, &state.join("two-centres.json")).inspect_err(|_| println!("{}", bed.told()))?;
    println!("{}", report.line(clock.elapsed()));
    ensure!(report.problems().is_empty(), "{}", report.problems().join("\n"));
    Ok(())
}

#[test]
#[ignore = "needs root and the lab, and ten minutes"]
fn either_data_centre_falls_and_returns_and_a_broken_link_leaves_one_history() {
    story("two", true);
}

#[test]
#[ignore = "needs root and the lab, and eight minutes"]
fn so_it_is_where_a_failover_under_kubernetes_may_lose_its_last_writes() {
    story("two-asynchronous", false);
}
