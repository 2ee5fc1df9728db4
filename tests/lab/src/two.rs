//! Two data centres and nothing else, as a story: each of them falls, comes back, and loses sight of the other, while a service follows
//! its database and Kubernetes itself stands on one that fails over. See docs/two-data-centres.md.

mod alerts;
mod bed;
mod clients;
mod course;
mod decision;
mod ledger;
mod mariadb;
mod report;
mod story;
mod traits;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, ensure};

pub use bed::Bed;
pub use report::{Figures, Report};
pub use story::Story;

use crate::{Lab, Options, demo::Clock, install::Product};

/// How the story is told.
#[derive(Debug, Clone)]
pub struct TwoOptions {
    pub lab: Options,
    /// The numbers of those that are played.
    pub scenes: Vec<u8>,
    pub product: Product,
    /// Where the figures go.
    pub out: PathBuf,
    /// Leave the lab up afterwards.
    pub keep: bool,
}

/// Longer than anything takes that is not broken: a failover, a lease, a dead node, and what follows one after the other.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// Tells all of it. The lab is ended whatever happens, unless it is to be kept.
pub fn run(options: &TwoOptions) -> Result<()> {
    let clock = Clock::start();
    let told = tell(options, clock);
    if options.keep {
        println!("\nThe lab stays up (state in {}); `lab down` ends it.\n", options.lab.state.display());
    } else {
        clock.say("ending the lab");
        Lab::down(&options.lab.state)?;
    }
    let report = told?;
    println!("{}", report.line(clock.elapsed()));
    ensure!(report.problems().is_empty(), "the story did not hold what it promises");
    Ok(())
}

fn tell(options: &TwoOptions, clock: Clock) -> Result<Report> {
    clock.say("starting a Kubernetes over two data centres, whose state is in a database over both");
    let lab = Lab::up(&options.lab, &|step| clock.say(step))?;
    let bed = Bed::set(lab, options.product.clone(), clock)?;
    let synchronous = options.lab.two.is_none_or(|two| two.synchronous);
    let scenes: Vec<Play> = scenes(synchronous, |number| options.scenes.contains(&number)).collect();
    let mut report = Report::of(scenes.len());
    // What was measured before something went wrong is worth having, too.
    let played = play(&bed, &scenes, &mut report, &options.out);
    if let Err(error) = &played {
        println!("{}", bed.told());
        println!("PROBLEM: {error:#}");
    }
    for problem in report.problems() {
        println!("PROBLEM: {problem}");
    }
    played.map(|()| report)
}

/// A scene of the story.
pub type Play = fn(&Story<'_>) -> Result<Figures>;

/// The scenes of `make demo-two`, as docs/two-data-centres.md numbers them.
pub const SHOWN: [u8; 4] = [1, 2, 3, 4];

/// All in their order, by number: each begins where the one before it ended.
const SCENES: [(u8, Play); 11] = [
    (1, |story| story.the_other_falls()),
    (1, |story| story.the_other_returns()),
    (2, |story| story.the_primary_falls()),
    (3, |story| story.the_primary_returns()),
    (4, |story| story.the_link_breaks_with_a_witness()),
    (4, |story| story.the_link_breaks_without_a_witness()),
    (5, |story| story.kubernetes_loses_its_database_while_pods_move()),
    (6, |story| story.kine_hangs_while_pods_move()),
    (FORGETFUL, |story| story.kubernetes_forgets_its_last_writes()),
    (8, |story| story.a_mariadb_is_promoted_by_a_script()),
    (9, |story| story.a_person_gives_dc2_the_votes()),
];

/// Only where a failover under Kubernetes may lose its last writes.
const FORGETFUL: u8 = 7;

/// The scenes whose numbers are wanted.
pub fn scenes(synchronous: bool, wanted: impl Fn(u8) -> bool) -> impl Iterator<Item = Play> {
    let playable = move |number: u8| wanted(number) && !(synchronous && number == FORGETFUL);
    SCENES.into_iter().filter(move |(number, _)| playable(*number)).map(|(_, play)| play)
}

/// Plays these scenes, and writes the figures after each.
pub fn play(bed: &Bed, scenes: &[Play], report: &mut Report, out: &Path) -> Result<()> {
    let story = Story::begin(bed)?;
    for scene in scenes {
        let figures = scene(&story)?;
        report.scenes.push(figures);
        report.write(out)?;
    }
    println!("\n{}", bed.product.run(&bed.lab, ["status"])?);
    Ok(())
}
