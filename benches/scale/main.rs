//! `make bench-scale`: what a controller takes in memory and CPU time, with 50,000 pods on 5,000 nodes, and with 200 databases, on a
//! real control plane whose nodes and pods are only objects.

#[path = "../../tests/it/light"]
mod light {
    #[expect(dead_code, unused_imports, reason = "the scenes use the rest")]
    pub(crate) mod support;
}

mod objects;

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use jiff::Timestamp;
use kube::{Api, Client, api::PostParams};
use lab::{
    control_plane::Component,
    measured::{load_average, machine, write_report, write_section},
};
use serde_json::json;
use switchover::api::DatabaseCluster;

use self::{
    light::support::{
        Patroni, World, world,
        world::{CONTROLLERS, WEBHOOK, world_apart},
    },
    objects::Fleet,
};

#[derive(Parser)]
struct Args {
    /// What `cargo bench` says; without it nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, default_value_t = 5_000)]
    nodes: usize,
    #[arg(long, default_value_t = 50_000)]
    pods: usize,
    /// Number of databases of the second part, on a fifth of the nodes with two fifths of the pods
    #[arg(long, default_value_t = 200)]
    databases: usize,
    /// Length of a period in which CPU time is counted, in seconds
    #[arg(long, default_value_t = 60)]
    period_s: u64,
}

/// Longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(300);
/// What comes with the beginning is over then: who follows a primary that has held for a minute is asked rarely.
const CALM: Duration = Duration::from_secs(75);
/// Pods that change each second.
const CHANGES: usize = 20;
/// What may be resident with 50,000 pods, in megabytes.
const MEMORY_GOAL_MB: f64 = 200.0;
/// What 200 databases may take of a CPU.
const CPU_GOAL: f64 = 0.3;

fn main() -> Result<()> {
    let args = Args::parse();
    if !args.bench {
        println!("make bench-scale measures");
        return Ok(());
    }
    measure(&args)
}

/// What one controller takes.
struct Taken {
    /// Of a CPU.
    cpu: f64,
    resident_mb: f64,
    /// From its start until the labels of the last database's nodes were right.
    labelled_s: f64,
}

fn measure(args: &Args) -> Result<()> {
    let load = load_average();
    let small = Fleet {
        name: "many",
        nodes: args.nodes / 5,
        pods: args.pods * 2 / 5,
        databases: (0..args.databases).map(|it| format!("db-{it:03}")).collect(),
        near: true,
    };
    let many = take(args, world(), &small, CHANGES)?;
    println!("{} databases: {:.2} of a CPU, {:.0} MB", args.databases, many.cpu, many.resident_mb);
    let large =
        Fleet { name: "large", nodes: args.nodes, pods: args.pods, databases: vec!["orders".into()], near: false };
    // A bed of its own, with nothing else in it.
    let one = take(args, world_apart(0), &large, 0)?;
    println!("{} pods: {:.2} of a CPU, {:.0} MB", args.pods, one.cpu, one.resident_mb);
    report(args, &one, &many, &load)
}

/// Makes the fleet and its databases, and measures a controller of its own.
fn take(args: &Args, world: &World, fleet: &Fleet, changes: usize) -> Result<Taken> {
    for role in CONTROLLERS.into_iter().chain([WEBHOOK]) {
        world.kill_role(role)?;
    }
    world.bed.end_kwok()?;
    for component in [Component::KubeControllerManager, Component::KubeScheduler] {
        world.bed.kill(component)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = runtime.block_on(world.bed.admin())?;
    let began = Instant::now();
    runtime.block_on(fleet.create(&client))?;
    println!("{} nodes and {} pods were made in {:.0} s", fleet.nodes, fleet.pods, began.elapsed().as_secs_f64());
    let _members = runtime.block_on(create_databases(&client, fleet))?;
    let began = Instant::now();
    world.start_role_with(CONTROLLERS[0], &[])?;
    let last = fleet.databases.last().context("a database")?;
    runtime.block_on(labelled(&Api::all(client.clone()), last))?;
    let labelled_s = began.elapsed().as_secs_f64();
    println!("all nodes had their label after {labelled_s:.0} s");
    thread::sleep(CALM);
    let (start, before) = (Instant::now(), world.usage(CONTROLLERS[0])?);
    runtime.block_on(change(&client, fleet, changes, args.period_s))?;
    let after = world.usage(CONTROLLERS[0])?;
    let cpu = (after.cpu - before.cpu).as_secs_f64() / start.elapsed().as_secs_f64();
    world.kill_role(CONTROLLERS[0])?;
    Ok(Taken { cpu, resident_mb: after.resident_bytes as f64 / 1e6, labelled_s })
}

async fn create_databases(client: &Client, fleet: &Fleet) -> Result<Vec<Patroni>> {
    let databases: Api<DatabaseCluster> = Api::all(client.clone());
    let mut members = Vec::new();
    for name in &fleet.databases {
        let patroni = Patroni::start(name).await?;
        let database: DatabaseCluster = serde_json::from_value(json!({
            "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "metadata": {"name": name},
            "spec": {
                "discovery": {"patroni": {"urls": patroni.urls()}}, "tiers": {"staleAfter": "1h"},
                // Whoever is far stays: what is measured is the looking.
                "movement": {"maxConcurrent": 1, "settle": "5s"},
            },
        }))?;
        databases.create(&PostParams::default(), &database).await?;
        members.push(patroni);
    }
    Ok(members)
}

/// So many pods change each second.
async fn change(client: &Client, fleet: &Fleet, changes: usize, seconds: u64) -> Result<()> {
    let start = tokio::time::Instant::now();
    let mut number = 0;
    for second in 1..=seconds {
        for _ in 0..changes {
            number += 1;
            fleet.change(client, number * 997 % fleet.pods, number).await?;
        }
        tokio::time::sleep_until(start + Duration::from_secs(second)).await;
    }
    Ok(())
}

/// Waits until the status says that the labels are right.
async fn labelled(databases: &Api<DatabaseCluster>, name: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = databases.get(name).await?.status.unwrap_or_default();
        if status.failovers.iter().any(|failover| failover.labelled_at.is_some()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{name} was not labelled in {} s: {status:?}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn report(args: &Args, one: &Taken, many: &Taken, load: &str) -> Result<()> {
    let figures = json!({
        "controller.mb_50k": one.resident_mb,
        "controller.cpu_50k": one.cpu,
        "controller.labelled_s_50k": one.labelled_s,
        "controller.cpu_200_databases": many.cpu,
        "controller.mb_200_databases": many.resident_mb,
        "scale": {
            "nodes": args.nodes, "pods": args.pods, "databases": args.databases, "period_s": args.period_s,
            "machine": machine(), "date": Timestamp::now().to_string(), "load_average_before": load,
        },
    });
    write_report(figures.as_object().cloned().context("an object")?)?;
    if (args.nodes, args.pods, args.databases) != (5_000, 50_000, 200) {
        println!("other numbers than usual: docs/performance.md stays as it is");
        return Ok(());
    }
    let met = |holds: bool| if holds { "yes" } else { "**no**" };
    let rows = [
        format!(
            "| resident with 50,000 pods on 5,000 nodes, a third far, one database `controller.mb_50k` | {:.0} MB | {MEMORY_GOAL_MB:.0} MB | {} |",
            one.resident_mb,
            met(one.resident_mb <= MEMORY_GOAL_MB)
        ),
        format!("| its CPU time, of one CPU `controller.cpu_50k` | {:.2} | | |", one.cpu),
        format!(
            "| CPU time of 200 databases on 1,000 nodes with 20,000 pods, of one CPU `controller.cpu_200_databases` | {:.2} | {CPU_GOAL} | {} |",
            many.cpu,
            met(many.cpu <= CPU_GOAL)
        ),
        format!("| resident there `controller.mb_200_databases` | {:.0} MB | | |", many.resident_mb),
    ];
    let text = include_str!("performance.md")
        .replace("{date}", &jiff::Zoned::now().date().to_string())
        .replace("{machine}", &machine())
        .replace("{load}", load)
        .replace("{labelled}", &format!("{:.0}", one.labelled_s))
        .replace("{changes}", &CHANGES.to_string())
        .replace("{period}", &args.period_s.to_string())
        .replace("{table}\n", &(rows.join("\n") + "\n"));
    write_section("scale", &text).context("the figures are in target/bench/report.json")
}
