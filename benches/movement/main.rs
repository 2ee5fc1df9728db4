//! `make bench-movement`: how long pods take to be near the primary again, by switchover and by what people would do by hand, on
//! a real control plane with fake nodes.

#[path = "../../tests/it/light"]
mod light {
    #[expect(dead_code, unused_imports, reason = "the scenes use the rest")]
    pub(crate) mod support;
}

mod movers;
mod observer;

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Node},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use lab::{
    light::READY_DELAY,
    measured::{load_average, machine, write_report, write_section},
    requests::Requests,
    wait::until_within,
};
use serde_json::{Map, Value, json};

use self::{
    light::support::{Patroni, Scene, world, world::CONTROLLERS},
    movers::Mover,
    observer::{Figures, Observer},
};

#[derive(Parser)]
pub(crate) struct Args {
    /// What `cargo bench` says; without it nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, default_value_t = 40)]
    workloads: usize,
    #[arg(long, default_value_t = 15)]
    pub(crate) replicas: usize,
    /// Seconds after which a pod is Ready
    #[arg(long, default_value_t = 8)]
    ready: u64,
    /// maxUnavailable of each workload's disruption budget, `25%` or `1`; `none`: no budget
    #[arg(long, default_value = "25%")]
    budget: String,
    /// Those who move; all by default
    #[arg(long, value_enum, value_delimiter = ',')]
    movers: Vec<Mover>,
}

impl Args {
    fn pods(&self) -> usize {
        self.workloads * self.replicas
    }

    /// Nodes in each of the two data centres: room for all pods and for those that begin before others end.
    fn nodes(&self) -> usize {
        (self.pods() * 3 / 2).div_ceil(110).max(2)
    }

    /// How many replicas may be away, as the disruption controller rounds it.
    pub(crate) fn allowed(&self) -> usize {
        match self.budget.strip_suffix('%').map(str::parse::<usize>) {
            Some(Ok(percent)) => (self.replicas * percent).div_ceil(100),
            _ => self.budget.parse().unwrap_or(1),
        }
    }

    /// The case that the page tells of.
    fn usual(&self) -> bool {
        let usual = (self.workloads, self.replicas, self.ready, self.budget.as_str(), self.movers.len());
        usual == (40, 15, 8, "25%", 0)
    }
}

impl Scene {
    pub(crate) fn far_nodes(&self, args: &Args) -> Vec<String> {
        (1..=args.nodes()).map(|number| self.node(&format!("dc1-{number}"))).collect()
    }
}

const NAME: &str = "movement";
/// Longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(1_800);
const CONCURRENT: usize = 16;

/// What one mover did.
struct Round {
    mover: Mover,
    seconds: f64,
    seen: Figures,
    requests: Requests,
}

impl Round {
    fn evictions(&self) -> u64 {
        self.requests.of("POST pods/eviction")
    }

    fn refused(&self) -> u64 {
        self.requests.answered("POST pods/eviction", |code| !code.starts_with('2'))
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    if !args.bench {
        println!("make bench-movement measures");
        return Ok(());
    }
    ensure!(args.replicas > 0 && args.workloads > 0, "--workloads and --replicas: at least 1");
    let world = world();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let load = load_average();
        // The standby runs on another machine than the leader.
        world.kill_role(CONTROLLERS[1])?;
        let scene = Scene { name: NAME, world, client: world.bed.admin().await? };
        let rounds = measure(&args, &scene).await?;
        report(&args, &rounds, &load)
    })
}

async fn measure(args: &Args, scene: &Scene) -> Result<Vec<Round>> {
    scene.nodes(&[1, 3], args.nodes()).await?;
    let patroni = Patroni::start(NAME).await?;
    let rules =
        json!({"movement": {"settle": "0s", "settleWindow": "0s", "paused": true}, "tiers": {"staleAfter": "12h"}});
    scene.database(&patroni, rules).await?;
    let all = <Mover as clap::ValueEnum>::value_variants();
    let movers = if args.movers.is_empty() { all } else { &args.movers };
    let mut rounds = Vec::new();
    let mut timeline = 1;
    for mover in movers {
        timeline += 2;
        patroni.switchover("pg1", timeline);
        scene.labelled(&tiers(args, "closely", "far")).await?;
        let namespace = format!("{NAME}-{}", mover.key().replace('_', "-"));
        create(args, scene, &namespace).await?;
        let observer = Observer::begin(scene.pods(&namespace), scene.node("dc3")).await?;
        patroni.switchover("pg3", timeline + 1);
        scene.labelled(&tiers(args, "far", "closely")).await?;

        let before = Requests::read(&scene.client).await?;
        let far_before = observer.figures().far_pod_seconds;
        let began = Instant::now();
        let mut moving = movers::begin(*mover, args, scene, &namespace).await?;
        until_within(PATIENCE, &format!("all pods to be near, moved by {mover}"), async || {
            moving.check().await?;
            Ok((observer.near_and_elsewhere() == (args.pods(), 0)).then_some(()))
        })
        .await?;
        let seconds = began.elapsed().as_secs_f64();
        let mut seen = observer.figures();
        seen.far_pod_seconds -= far_before;
        let requests = Requests::read(&scene.client).await?.since(&before);
        drop((moving, observer));
        let round = Round { mover: *mover, seconds, seen, requests };
        println!("{}", row(&round));
        rounds.push(round);
        clear(args, scene, &namespace).await?;
    }
    Ok(rounds)
}

/// The labels of all nodes, those of dc1 and those of dc3.
fn tiers(args: &Args, first: &str, second: &str) -> String {
    let mut tiers: Vec<String> = [("dc1", first), ("dc3", second)]
        .into_iter()
        .flat_map(|(zone, tier)| (1..=args.nodes()).map(move |number| format!("{zone}-{number}={tier}")))
        .collect();
    tiers.sort();
    tiers.join(" ")
}

/// A namespace whose pods all serve near pg1, with budgets that were observed.
async fn create(args: &Args, scene: &Scene, namespace: &str) -> Result<()> {
    let short = namespace.strip_prefix(&format!("{NAME}-")).unwrap_or(namespace);
    scene.namespace(short, Some(NAME), json!({})).await?;
    let deployments: Api<Deployment> = Api::namespaced(scene.client.clone(), namespace);
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(scene.client.clone(), namespace);
    let make = async |number: usize| -> Result<()> {
        let name = format!("web-{number}");
        let mut workload = scene.workload(namespace, "web");
        // Near pg1 at once: only the movement is measured with pods that are slow.
        workload.annotations = json!({READY_DELAY: format!("{}s", args.ready)});
        let mut deployment = json!({
            "metadata": {"name": name},
            "spec": {
                "replicas": args.replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": workload.template(),
            },
        });
        deployment["spec"]["template"]["metadata"]["labels"]["app"] = name.as_str().into();
        deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
        if args.budget != "none" {
            let unavailable = args.budget.parse::<u32>().map_or_else(|_| json!(args.budget), |count| json!(count));
            let budget = json!({
                "metadata": {"name": name},
                "spec": {"maxUnavailable": unavailable, "selector": {"matchLabels": {"app": name}}},
            });
            budgets.create(&PostParams::default(), &serde_json::from_value(budget)?).await?;
        }
        Ok(())
    };
    stream::iter(0..args.workloads).map(make).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    until_within(PATIENCE, "all pods to serve near pg1", async || {
        let available = deployments.list(&ListParams::default()).await?.items.into_iter();
        let available: i32 = available.filter_map(|it| it.status?.available_replicas).sum();
        Ok((usize::try_from(available)? == args.pods()).then_some(()))
    })
    .await?;
    until_within(PATIENCE, "all budgets to be observed", async || {
        let allowed = i32::try_from(args.allowed())?;
        let observed = budgets.list(&ListParams::default()).await?.items;
        let ready = observed.iter().all(|it| it.status.as_ref().is_some_and(|it| it.disruptions_allowed == allowed));
        Ok(ready.then_some(()))
    })
    .await?;
    let zones = scene.zones(namespace).await?;
    ensure!(zones == format!("{} in dc1", args.pods()), "born near the primary: {zones}");
    Ok(())
}

/// Pauses the movement, takes the pods away, and lets nodes take pods that were drained.
async fn clear(args: &Args, scene: &Scene, namespace: &str) -> Result<()> {
    scene.patch_database(json!({"movement": {"paused": true, "maxConcurrent": null}})).await?;
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    namespaces.delete(namespace, &DeleteParams::background()).await?;
    let nodes: Api<Node> = Api::all(scene.client.clone());
    for node in scene.far_nodes(args) {
        let takes_pods = Patch::Merge(json!({"spec": {"unschedulable": null}}));
        nodes.patch(&node, &PatchParams::default(), &takes_pods).await?;
    }
    until_within(PATIENCE, "the namespace to be gone", async || {
        Ok(namespaces.get_opt(namespace).await?.is_none().then_some(()))
    })
    .await?;
    until_within(PATIENCE, "the nodes to take pods", async || {
        let tainted = |node: &Node| node.spec.as_ref().is_some_and(|spec| spec.taints.is_some());
        Ok((!scene.own_nodes().await?.iter().any(tainted)).then_some(()))
    })
    .await
}

fn row(round: &Round) -> String {
    let Round { mover, seconds, seen, .. } = round;
    let asked = match mover.evicts() {
        true => format!("{} | {}", round.evictions(), round.refused()),
        false => "– | –".to_owned(),
    };
    let far = seen.far_pod_seconds;
    format!("| {mover} | {seconds:.0} | {} | {far:.0} | {asked} |", seen.fewest_serving)
}

/// What is promised of switchover with its defaults: key, greatest value, and what it is in words.
const GOALS: [(&str, f64, &str); 5] = [
    ("movement.to_drain", 0.85, "seconds, of drain's"),
    ("movement.to_bound", 1.2, "seconds, of the bound's"),
    ("movement.far_pod_seconds_to_drain", 0.8, "pod-seconds far, of drain's"),
    ("movement.refused_share", 0.05, "evictions refused, of all"),
    ("movement.requests_per_move", 6.0, "requests of ours, per pod"),
];

fn report(args: &Args, rounds: &[Round], load: &str) -> Result<()> {
    let of = |mover: Mover| rounds.iter().find(|round| round.mover == mover);
    let mut figures = Map::new();
    if let Some(ours) = of(Mover::Switchover) {
        let evictions = ours.evictions().max(1) as f64;
        let mut put = |key: &str, value: f64| figures.insert(key.to_owned(), json!(value));
        put("movement.refused_share", ours.refused() as f64 / evictions);
        put("movement.requests_per_move", ours.requests.ours() as f64 / args.pods() as f64);
        if let Some(drain) = of(Mover::Drain) {
            put("movement.to_drain", ours.seconds / drain.seconds);
            put("movement.far_pod_seconds_to_drain", ours.seen.far_pod_seconds / drain.seen.far_pod_seconds);
        }
        if let Some(bound) = of(Mover::Bound) {
            put("movement.to_bound", ours.seconds / bound.seconds);
        }
    }
    let mut goals = String::from("| switchover with its defaults | ratio | goal | met |\n|---|---|---|---|\n");
    for (key, most, words) in GOALS {
        let Some(value) = figures.get(key).and_then(Value::as_f64) else { continue };
        let met = if value <= most { "yes" } else { "**no**" };
        let _ = writeln!(goals, "| {words} `{key}` | {value:.2} | ≤ {most} | {met} |");
    }
    let table: String = rounds.iter().map(|round| row(round) + "\n").collect();
    println!("{table}\n{goals}");
    if !args.usual() {
        println!("another case than the page's: docs/performance.md and report.json stay as they are");
        return Ok(());
    }
    figures.insert("movement".to_owned(), whole(args, rounds, load));
    write_report(figures)?;
    let text = include_str!("performance.md")
        .replace("{pods}", &args.pods().to_string())
        .replace("{workloads}", &args.workloads.to_string())
        .replace("{replicas}", &args.replicas.to_string())
        .replace("{ready}", &args.ready.to_string())
        .replace("{budget}", &format!("a budget of maxUnavailable {} each", args.budget))
        .replace("{date}", &jiff::Zoned::now().date().to_string())
        .replace("{machine}", &machine())
        .replace("{load}", load)
        .replace("{table}\n", &table)
        .replace("{goals}", goals.trim_end());
    write_section(NAME, &text).context("the figures are in target/bench/report.json")
}

/// Everything that was measured, absolute figures, too.
fn whole(args: &Args, rounds: &[Round], load: &str) -> Value {
    let round = |round: &Round| {
        json!({
            "mover": round.mover.key(),
            "seconds": round.seconds,
            "fewest_serving": round.seen.fewest_serving,
            "far_pod_seconds": round.seen.far_pod_seconds,
            "evictions": round.evictions(),
            "refused": round.refused(),
            "requests_of_ours": round.requests.ours(),
            "requests": round.requests.total(),
        })
    };
    json!({
        "workloads": args.workloads,
        "replicas": args.replicas,
        "rounds": rounds.iter().map(round).collect::<Vec<_>>(),
        "machine": machine(),
        "date": jiff::Timestamp::now().to_string(),
        "load_average_before": load,
    })
}
