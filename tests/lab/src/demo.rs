//! The demo: a service follows its database's primary through a switchover and a crash, without an outage, in figures.

mod report;
mod scene;
mod story;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

pub use report::{Move, Report};
pub use scene::{Eviction, LabelChange, Scene, Seen, SeenPod};
pub use story::Drains;
use story::Story;

use crate::{
    Lab, Options,
    install::{self, Product},
    load::{Load, LoadOptions},
    net,
};

/// How the demo runs.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    pub lab: Options,
    pub product: Product,
    /// Where report.json goes.
    pub out: PathBuf,
    /// Leave the lab up afterwards.
    pub keep: bool,
}

/// Where the story begins: the primary's data centre is far from the one that it will move to.
const FIRST_PRIMARY: &str = "pg1";

/// Runs the whole story. The lab is ended whatever happens, unless it is to be kept.
pub fn run(options: &DemoOptions) -> Result<()> {
    let clock = Clock::start();
    let result = tell(options, clock);
    if options.keep {
        keep(options);
    } else {
        clock.say("ending the lab");
        Lab::down(&options.lab.state)?;
    }
    let report = result?;
    println!("{}", report.line(clock.elapsed()));
    ensure!(report.problems().is_empty(), "the demo did not hold what it promises");
    Ok(())
}

/// Prints what is being done, with the time since the start.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Starts now.
    #[must_use]
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// A line with the time.
    pub fn say(self, what: &str) {
        println!("[{:6.1} s] {what}", self.0.elapsed().as_secs_f64());
    }
}

fn tell(options: &DemoOptions, clock: Clock) -> Result<Report> {
    clock.say("starting a Kubernetes of six nodes in three data centres, and a Patroni member in each");
    let lab = Lab::up(&options.lab, &|step| clock.say(step))?;
    let primary = lab.members()?.into_iter().find(|m| m.primary_status == Some(200)).context("no primary came up")?;
    if primary.name != FIRST_PRIMARY {
        clock.say(&format!("moving the primary from {} to {FIRST_PRIMARY}, where the story begins", primary.name));
        lab.switchover(Some(FIRST_PRIMARY))?;
    }
    clock.say("installing switchover: kubectl apply -k deploy/overlays/lab");
    options.product.install(&lab)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let scene = runtime.block_on(Scene::watch(&lab))?;
    clock.say("waiting until switchover knows the primary and every node has its label");
    scene.wait(Duration::from_secs(60), "every node labelled for pg1", |seen| seen.labels_right(FIRST_PRIMARY))?;
    clock.say("applying the demo service: 6 replicas, in a namespace labelled switchover.dev/follow=default");
    install::shop(&lab)?;
    scene.wait(Duration::from_secs(30), "six replicas Ready", |seen| seen.ready() == 6)?;

    let endpoints = scene.endpoints();
    let load = net::in_netns(&lab.netns("client"), move || Load::start(LoadOptions::default(), endpoints))??;
    clock.say("load: 30 requests a second, each of ten SQL queries, from outside");
    let story = Story { lab: &lab, product: &options.product, scene: &scene, load: &load, clock };
    let mut report = Report { replicas: 6, ..Report::default() };
    report.moves.push(story.switchover("pg3")?);
    report.moves.push(story.kill()?);
    report.drains = story.drains()?;
    report.write(&options.out)?;
    println!("\n{}", options.product.run(&lab, ["status"])?);
    for problem in report.problems() {
        println!("PROBLEM: {problem}");
    }
    Ok(report)
}

fn keep(options: &DemoOptions) {
    let state = options.lab.state.display();
    println!("\nThe lab stays up (state in {state}). To look around:");
    println!("  make lab-shell                                  a shell inside, with kubectl");
    println!("  export KUBECONFIG={state}/kubeconfig");
    println!("  target/release/switchover status                what switchover knows and does");
    println!("  kubectl get dbc,nlat,nodes -L switchover         the same in Kubernetes' words");
    println!("  target/release/lab patroni switchover --to pg1   move the primary");
    println!("  target/release/lab wan dc1 dc3 60ms              change a distance");
    println!("To end it:  make lab-down\n");
}
