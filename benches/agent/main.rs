//! `make bench-agent`: what one agent costs its node while it measures the members of three databases.

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use jiff::Timestamp;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use lab::{
    light::LightBed,
    measured::{Usage, load_average, machine, median, write_report, write_section},
    process::{Place, Process},
};
use serde_json::{Map, Value, json};
use switchover::api::{DatabaseCluster, NodeLatency};

#[derive(Parser)]
struct Args {
    /// What `cargo bench` says; without it nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    /// Number of databases
    #[arg(long, default_value_t = 3)]
    databases: usize,
    /// Number of members of each
    #[arg(long, default_value_t = 3)]
    members: usize,
    /// Length of a period, in seconds. Heartbeats come once a minute.
    #[arg(long, default_value_t = 60)]
    period_s: u64,
    /// Number of periods
    #[arg(long, default_value_t = 3)]
    periods: usize,
}

const NODE: &str = "n1";
/// Longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an agent may cost: of one CPU's time, and resident.
const CPU_GOAL_PERCENT: f64 = 0.2;
const MEMORY_GOAL_MB: f64 = 15.0;

fn main() -> Result<()> {
    let args = Args::parse();
    if !args.bench {
        println!("make bench-agent measures");
        return Ok(());
    }
    let bed = LightBed::start()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(measure(&args, &bed))
}

async fn measure(args: &Args, bed: &LightBed) -> Result<()> {
    let load_before = load_average();
    let client = bed.admin().await?;
    define(bed)?;
    for database in 0..args.databases {
        create(&client, database, args.members).await?;
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_switchover"));
    command.args(["agent", "--metrics-listen=127.0.0.1:0"]).arg(format!("--node-name={NODE}"));
    command.env("KUBECONFIG", bed.kubeconfig());
    let place = Place { die_with_thread: true, ..Place::default() };
    let mut agent = Process::start("agent", command, &bed.directory().join("agent.log"), &place)?;
    let everything = args.databases * args.members;
    measured(&client, everything, &mut agent).await?;

    let mut percents = Vec::new();
    for number in 1..=args.periods {
        let (before, began) = (Usage::of(agent.pid())?, Instant::now());
        tokio::time::sleep(Duration::from_secs(args.period_s)).await;
        agent.check()?;
        let (after, took) = (Usage::of(agent.pid())?, began.elapsed());
        let percent = 100.0 * (after.cpu - before.cpu).as_secs_f64() / took.as_secs_f64();
        println!("period {number}: {percent:.3} % of a CPU, {:.1} MB resident", megabytes(after.resident_bytes));
        percents.push(percent);
    }
    measured(&client, everything, &mut agent).await?;
    report(args, &percents, Usage::of(agent.pid())?, &load_before)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn define(bed: &LightBed) -> Result<()> {
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base/crds.yaml");
    bed.kubectl(&["apply", "--server-side", "--filename", &definitions.display().to_string()], "")?;
    bed.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], "")?;
    Ok(())
}

/// A database whose members a controller has found, each at an address of its own on loopback.
async fn create(client: &Client, database: usize, members: usize) -> Result<()> {
    let databases: Api<DatabaseCluster> = Api::all(client.clone());
    let host = |member: usize| format!("127.0.{}.{}", database + 1, member + 1);
    let mut object: DatabaseCluster = serde_json::from_value(json!({
        "apiVersion": "switchover.dev/v1alpha1",
        "kind": "DatabaseCluster",
        "metadata": {"name": format!("db{}", database + 1)},
        "spec": {"discovery": {"patroni": {"urls": [format!("http://{}:8008", host(0))]}}},
    }))?;
    object = databases.create(&PostParams::default(), &object).await?;
    let found: Vec<Value> = (0..members)
        .map(|member| json!({"name": format!("pg{}", member + 1), "host": host(member), "port": 5432}))
        .collect();
    let status = Patch::Merge(json!({"status": {"members": found}}));
    databases.patch_status(&object.name_any(), &PatchParams::default(), &status).await?;
    Ok(())
}

/// Waits until the agent has written a distance to every host.
async fn measured(client: &Client, hosts: usize, agent: &mut Process) -> Result<()> {
    let latencies: Api<NodeLatency> = Api::all(client.clone());
    let deadline = Instant::now() + PATIENCE;
    loop {
        agent.check()?;
        let written = latencies.get_opt(NODE).await?;
        let readings = written.iter().flat_map(|latency| &latency.spec.readings);
        if readings.filter(|reading| reading.rtt_us.is_some()).count() == hosts {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the agent has not measured {hosts} hosts in {} s", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn report(args: &Args, percents: &[f64], usage: Usage, load_before: &str) -> Result<()> {
    let (resident_mb, own_mb) = (megabytes(usage.resident_bytes), megabytes(usage.own_bytes));
    let (middle, worst) = (median(percents.iter().copied()), percents.iter().copied().fold(0.0, f64::max));
    let figures = json!({
        "agent.cpu_percent": middle,
        "agent.cpu_percent_max": worst,
        "agent.resident_mb": resident_mb,
        "agent.own_mb": own_mb,
        "agent": {
            "databases": args.databases,
            "members": args.members,
            "period_s": args.period_s,
            "cpu_percent": percents,
            "machine": machine(),
            "date": Timestamp::now().to_string(),
            "load_average_before": load_before,
        },
    });
    let Value::Object(figures) = figures else { unreachable!("an object was written just above") };
    write_report(Map::from_iter(figures))?;
    if (args.databases, args.members) != (3, 3) {
        println!("not three databases of three members: docs/performance.md stays as it is");
        return Ok(());
    }
    let met = |holds: bool| if holds { "met" } else { "**missed**" };
    let text = include_str!("performance.md")
        .replace("{date}", &jiff::Zoned::now().date().to_string())
        .replace("{machine}", &machine())
        .replace("{load}", load_before)
        .replace("{cpu}", &format!("{middle:.2}"))
        .replace("{cpu_max}", &format!("{worst:.2}"))
        .replace("{cpu_goal}", &format!("{CPU_GOAL_PERCENT} %: {}", met(worst <= CPU_GOAL_PERCENT)))
        .replace("{memory}", &format!("{resident_mb:.1}"))
        .replace("{own}", &format!("{own_mb:.1}"))
        .replace("{memory_goal}", &format!("{MEMORY_GOAL_MB:.0} MB: {}", met(resident_mb <= MEMORY_GOAL_MB)))
        .replace("{periods}", &args.periods.to_string())
        .replace("{period}", &args.period_s.to_string());
    write_section("agent", &text).context("the figures are in target/bench/report.json")
}
