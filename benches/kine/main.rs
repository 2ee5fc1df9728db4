//! `make bench-kine`: what the API server answers, and how soon, with its state in etcd and in a PostgreSQL by Kine: at rest, while 600 pods
//! move, and as much as it takes.

#[path = "../../tests/it/light"]
mod light {
    #[expect(dead_code, unused_imports, reason = "the scenes use the rest")]
    pub(crate) mod support;
}

mod clients;
mod counters;
#[path = "../movement/fleet.rs"]
mod fleet;
#[path = "../movement/observer.rs"]
#[expect(dead_code, reason = "how long pods are far is the other bench's")]
mod observer;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, api::ListParams};
use lab::{
    light::STATE,
    measured::{load_average, machine, write_report, write_section},
    wait::until_within,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::{
    clients::{Clients, Rates},
    counters::{Counters, Window},
    fleet::Fleet,
    light::support::{Patroni, Scene, world, world::CONTROLLERS},
    observer::Observer,
};

#[derive(Parser)]
struct Args {
    /// What `cargo bench` says; without it nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(flatten)]
    fleet: Fleet,
    /// How often each store is measured, in turn
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Measures the store that this process was told of, and writes the figures there
    #[arg(long, hide = true)]
    out: Option<PathBuf>,
}

impl Args {
    /// The case that the page tells of.
    fn usual(&self) -> bool {
        (self.fleet.workloads, self.fleet.replicas, self.rounds) == (40, 15, 2)
    }
}

const NAME: &str = "bench-kine";
/// Seconds after which a pod is Ready.
const READY_S: u64 = 8;
/// At rest.
const RESTS: Duration = Duration::from_secs(30);
/// Longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(900);

/// How Kubernetes' state is kept, as a bed is told it, and as people call it.
const STORES: [(&str, &str); 2] = [("etcd", "etcd"), ("kine", "Kine and PostgreSQL")];

/// What was measured of one store.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    resting: Window,
    moving: Window,
    /// From the labels until all pods were near.
    moved_s: f64,
    most: Rates,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if !args.bench {
        println!("make bench-kine measures");
        return Ok(());
    }
    match &args.out {
        Some(out) => measure_here(&args, out),
        None => compare(&args),
    }
}

/// Each bed is a process of its own, in turn.
fn compare(args: &Args) -> Result<()> {
    let load = load_average();
    let folder = lab::target_directory().join("bench/kine");
    fs::create_dir_all(&folder)?;
    let mut all = Vec::new();
    for round in 1..=args.rounds {
        for (store, name) in STORES {
            println!("{name}, round {round} of {}", args.rounds);
            let out = folder.join(format!("{store}-{round}.json"));
            let mut command = Command::new(std::env::current_exe()?);
            command
                .arg("--bench")
                .args([
                    "--workloads",
                    &args.fleet.workloads.to_string(),
                    "--replicas",
                    &args.fleet.replicas.to_string(),
                ])
                .arg("--out")
                .arg(&out)
                .env(STATE, store);
            ensure!(command.status()?.success(), "{name} could not be measured");
            let measured: Measured = serde_json::from_str(&fs::read_to_string(&out)?)?;
            all.push((name, measured));
        }
    }
    report(args, &all, &load)
}

fn measure_here(args: &Args, out: &Path) -> Result<()> {
    let world = world();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let measured = runtime.block_on(async {
        // The standby runs on another machine than the leader.
        world.kill_role(CONTROLLERS[1])?;
        let scene = Scene { name: NAME, world, client: world.bed.admin().await? };
        measure(args, &scene).await
    })?;
    lab::measured::write_json(out, &measured)
}

async fn measure(args: &Args, scene: &Scene) -> Result<Measured> {
    scene.nodes(&[1, 3], args.fleet.nodes()).await?;
    let patroni = Patroni::start(NAME).await?;
    let rules = json!({"movement": {"settle": "0s", "settleWindow": "0s"}, "tiers": {"staleAfter": "12h"}});
    scene.database(&patroni, rules).await?;
    scene.labelled(&args.fleet.tiers("closely", "far")).await?;
    let namespace = scene.namespace("apps", Some(NAME), json!({})).await?;
    let observer = Observer::begin(scene.pods(&namespace), scene.node("dc3")).await?;
    let manifests = manifests(args, scene, &namespace);
    tokio::task::block_in_place(|| {
        scene.world.kubectl(&["apply", "--server-side", "-f", "-"], &manifests.to_string())
    })?;
    until_within(PATIENCE, "all pods to serve near pg1", async || {
        Ok((scene.zones(&namespace).await? == format!("{} in dc1", args.fleet.pods())).then_some(()))
    })
    .await?;
    // By lists: each watch of Kine begins a second late, and `kubectl wait` begins one for each deployment.
    let deployments: Api<Deployment> = Api::namespaced(scene.client.clone(), &namespace);
    until_within(PATIENCE, "all deployments to be available", async || {
        let all = deployments.list(&ListParams::default()).await?.items;
        let available = all.iter().filter_map(|it| it.status.as_ref()?.available_replicas).sum::<i32>();
        Ok((usize::try_from(available)? == args.fleet.pods()).then_some(()))
    })
    .await?;

    let clients = Clients::start(&scene.client).await?;
    let resting = window(scene, &clients, async || {
        tokio::time::sleep(RESTS).await;
        Ok(())
    })
    .await?;
    let mut moved_s = 0.0;
    let moving = window(scene, &clients, async || {
        patroni.switchover("pg3", 2);
        scene.labelled(&args.fleet.tiers("far", "closely")).await?;
        let began = Instant::now();
        until_within(PATIENCE, "all pods to be near", async || {
            Ok((observer.near_and_elsewhere() == (args.fleet.pods(), 0)).then_some(()))
        })
        .await?;
        moved_s = began.elapsed().as_secs_f64();
        Ok(())
    })
    .await?;
    drop(clients);
    let most = Rates::measure(&scene.client).await?;
    Ok(Measured { resting, moving, moved_s, most })
}

/// What the API server counted, and what the clients saw, while this went on.
async fn window(scene: &Scene, clients: &Clients, during: impl AsyncFnOnce() -> Result<()>) -> Result<Window> {
    clients.begin();
    let (before, began) = (Counters::read(&scene.client).await?, Instant::now());
    during().await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Window::of(&before, &Counters::read(&scene.client).await?, seconds, clients))
}

fn manifests(args: &Args, scene: &Scene, namespace: &str) -> Value {
    let of = |number: usize| {
        let deployment = args.fleet.deployment(scene, namespace, number, READY_S);
        [deployment, Fleet::budget(namespace, number, &json!("25%"))]
    };
    json!({"apiVersion": "v1", "kind": "List", "items": (0..args.fleet.workloads).flat_map(of).collect::<Vec<_>>()})
}

fn report(args: &Args, all: &[(&str, Measured)], load: &str) -> Result<()> {
    let mut rows: Vec<String> = Vec::new();
    for (situation, of) in
        [("at rest", (|it| &it.resting) as fn(&Measured) -> &Window), ("while they move", |it| &it.moving)]
    {
        rows.extend(all.iter().map(|(name, measured)| format!("| {situation} | {name} | {} |", of(measured).row())));
    }
    let most: Vec<String> =
        all.iter().map(|(name, it)| format!("| {name} | {} | {:.0} |", it.most.row(), it.moved_s)).collect();
    let (rows, most) = (rows.join("\n"), most.join("\n"));
    println!("{rows}\n\n{most}");
    if !args.usual() {
        println!("another case than the page's: docs/performance.md and report.json stay as they are");
        return Ok(());
    }
    let rounds: Vec<Value> = all.iter().map(|(name, it)| json!({"store": name, "measured": it})).collect();
    let whole = json!({"rounds": rounds, "machine": machine(), "date": jiff::Timestamp::now().to_string(), "load_average_before": load});
    write_report(Map::from_iter([("kine".to_owned(), whole)]))?;
    let text = include_str!("performance.md")
        .replace("{pods}", &args.fleet.pods().to_string())
        .replace("{workloads}", &args.fleet.workloads.to_string())
        .replace("{replicas}", &args.fleet.replicas.to_string())
        .replace("{ready}", &READY_S.to_string())
        .replace("{clients}", &clients::MANY.to_string())
        .replace("{date}", &jiff::Zoned::now().date().to_string())
        .replace("{machine}", &machine())
        .replace("{load}", load)
        .replace("{rows}", &rows)
        .replace("{most}", &most);
    write_section("kine", &text).context("the figures are in target/bench/report.json")
}
