//! Two data centres and nothing else, as a story: each of them falls, comes back, and loses sight of the other, while a service follows
//! its database and Kubernetes itself stands on one that fails over. See docs/two-data-centres.md.

mod alerts;
mod bed;
mod clients;
mod course;
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
    let mut report = Report::of(SCENES.len());
    // What was measured before something went wrong is worth having, too.
    let played = play(&bed, &SCENES, &mut report, &options.out);
    if let Err(error) = &played {
        println!("{}", bed.told());
        println!("PROBLEM: {error:#}");
    }
    for problem in report.problems() {
        println!("PROBLEM: {problem}");
    }
    played.map(|()| report)
}

/// What is played after them where there is time, and no failover loses anything.
pub const LONGER: [Play; 3] = [
    |story| story.kubernetes_loses_its_database_while_pods_move(),
    |story| story.kine_hangs_while_pods_move(),
    |story| story.a_mariadb_is_promoted_by_a_script(),
];

/// The same where a failover under Kubernetes may lose its last writes.
pub const FORGETFUL: [Play; 2] =
    [|story| story.kubernetes_loses_its_database_while_pods_move(), |story| story.kubernetes_forgets_its_last_writes()];

/// A scene of the story.
pub type Play = fn(&Story<'_>) -> Result<Figures>;

/// What `make demo-two` shows, in its order: each scene begins where the one before it ended.
pub const SCENES: [Play; 6] = [
    |story| story.the_other_falls(),
    |story| story.the_other_returns(),
    |story| story.the_primary_falls(),
    |story| story.the_primary_returns(),
    |story| story.the_link_breaks_with_a_witness(),
    |story| story.the_link_breaks_without_a_witness(),
];

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
