//! `make bench-movement`: how long pods take to be near the primary again, by switchover and by what people would do by hand, on
//! a real control plane with fake nodes.

#[path = "../../tests/it/light"]
mod light {
    #[expect(dead_code, unused_imports, reason = "the scenes use the rest")]
    pub(crate) mod support;
}

mod fleet;
mod movers;
mod observer;
mod report;

use std::time::{Duration, Instant};

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
use lab::{measured::load_average, requests::Requests, wait::until_within};
use serde_json::json;

use self::{
    fleet::Fleet,
    light::support::{Descheduler, Patroni, Scene, world, world::CONTROLLERS},
    movers::Mover,
    observer::{Figures, Observer},
};

#[derive(Parser)]
pub(crate) struct Args {
    /// What `cargo bench` says; without it nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(flatten)]
    pub(crate) fleet: Fleet,
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
    /// How many replicas may be away, as the disruption controller rounds it.
    pub(crate) fn allowed(&self) -> usize {
        match self.budget.strip_suffix('%').map(str::parse::<usize>) {
            Some(Ok(percent)) => (self.fleet.replicas * percent).div_ceil(100),
            _ => self.budget.parse().unwrap_or(1),
        }
    }

    fn movers(&self) -> &[Mover] {
        if self.movers.is_empty() { <Mover as clap::ValueEnum>::value_variants() } else { &self.movers }
    }

    /// What of it is not as usual, in words; empty where everything is.
    fn case(&self) -> String {
        let usual = Args::parse_from(["movement"]);
        let mut words = Vec::new();
        if (self.fleet.workloads, self.fleet.replicas) != (usual.fleet.workloads, usual.fleet.replicas) {
            words.push(format!("{} pods of {} Deployments", self.fleet.pods(), self.fleet.workloads));
        }
        if self.ready != usual.ready {
            words.push(format!("Ready after {} s", self.ready));
        }
        match self.budget.as_str() {
            budget if budget == usual.budget => {}
            "none" => words.push("no budgets".to_owned()),
            budget => words.push(format!("budgets of maxUnavailable {budget}")),
        }
        words.join(", ")
    }
}

impl Scene {
    pub(crate) fn far_nodes(&self, args: &Args) -> Vec<String> {
        (1..=args.fleet.nodes()).map(|number| self.node(&format!("dc1-{number}"))).collect()
    }
}

pub(crate) const NAME: &str = "movement";
/// Longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(1_800);
const CONCURRENT: usize = 16;

/// What one mover did.
struct Round {
    mover: Mover,
    seconds: f64,
    seen: Figures,
    requests: Requests,
    /// CPU time of the controller that leads, in seconds.
    controller_cpu_s: f64,
    /// How long `switchover plan` said before that switchover would take, in seconds.
    foreseen_s: Option<f64>,
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
    ensure!(args.fleet.replicas > 0 && args.fleet.workloads > 0, "--workloads and --replicas: at least 1");
    if args.movers().contains(&Mover::Descheduler) {
        // Nobody waits for that while pods are far.
        Descheduler::prepare()?;
    }
    let world = world();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let load = load_average();
        // The standby runs on another machine than the leader.
        world.kill_role(CONTROLLERS[1])?;
        let scene = Scene { name: NAME, world, client: world.bed.admin().await? };
        let rounds = measure(&args, &scene).await?;
        report::write(&args, &rounds, &load)
    })
}

async fn measure(args: &Args, scene: &Scene) -> Result<Vec<Round>> {
    scene.nodes(&[1, 3], args.fleet.nodes()).await?;
    let patroni = Patroni::start(NAME).await?;
    let rules =
        json!({"movement": {"settle": "0s", "settleWindow": "0s", "paused": true}, "tiers": {"staleAfter": "12h"}});
    scene.database(&patroni, rules).await?;
    let mut rounds = Vec::new();
    let mut timeline = 1;
    for mover in args.movers() {
        timeline += 2;
        patroni.switchover("pg1", timeline);
        scene.labelled(&args.fleet.tiers("closely", "far")).await?;
        let namespace = format!("{NAME}-{}", mover.key().replace('_', "-"));
        create(args, scene, &namespace).await?;
        let observer = Observer::begin(scene.pods(&namespace), scene.node("dc3")).await?;
        let foreseen_s = if *mover == Mover::Switchover { Some(foreseen_s(scene)?) } else { None };
        patroni.switchover("pg3", timeline + 1);
        scene.labelled(&args.fleet.tiers("far", "closely")).await?;

        let cpu_before = scene.world.usage(CONTROLLERS[0])?.cpu;
        let before = Requests::read(&scene.client).await?;
        let far_before = observer.figures().far_pod_seconds;
        let began = Instant::now();
        let mut moving = movers::begin(*mover, args, scene, &namespace).await?;
        until_within(PATIENCE, &format!("all pods to be near, moved by {mover}"), async || {
            moving.check().await?;
            Ok((observer.near_and_elsewhere() == (args.fleet.pods(), 0)).then_some(()))
        })
        .await?;
        let seconds = began.elapsed().as_secs_f64();
        let mut seen = observer.figures();
        seen.far_pod_seconds -= far_before;
        let requests = Requests::read(&scene.client).await?.since(&before);
        let controller_cpu_s = (scene.world.usage(CONTROLLERS[0])?.cpu.saturating_sub(cpu_before)).as_secs_f64();
        drop((moving, observer));
        let round = Round { mover: *mover, seconds, seen, requests, controller_cpu_s, foreseen_s };
        println!("{}", report::row(&round));
        rounds.push(round);
        clear(args, scene, &namespace).await?;
    }
    Ok(rounds)
}

/// How long `switchover plan` says that the movement towards pg3 takes.
fn foreseen_s(scene: &Scene) -> Result<f64> {
    let (status, plan) = scene.planned(&[NAME, "--to", "pg3"])?;
    ensure!(status == 0, "switchover plan: not everybody finds a place: {plan}");
    plan["databases"][0]["forecasts"][0]["seconds"]["total"].as_f64().context("no seconds in the plan")
}

/// A namespace whose pods all serve near pg1, with budgets that were observed.
async fn create(args: &Args, scene: &Scene, namespace: &str) -> Result<()> {
    let short = namespace.strip_prefix(&format!("{NAME}-")).unwrap_or(namespace);
    scene.namespace(short, Some(NAME), json!({})).await?;
    let deployments: Api<Deployment> = Api::namespaced(scene.client.clone(), namespace);
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(scene.client.clone(), namespace);
    let make = async |number: usize| -> Result<()> {
        let deployment = args.fleet.deployment(scene, namespace, number, args.ready);
        deployments.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
        if args.budget != "none" {
            let unavailable = args.budget.parse::<u32>().map_or_else(|_| json!(args.budget), |count| json!(count));
            let budget = Fleet::budget(namespace, number, &unavailable);
            budgets.create(&PostParams::default(), &serde_json::from_value(budget)?).await?;
        }
        Ok(())
    };
    stream::iter(0..args.fleet.workloads).map(make).buffer_unordered(CONCURRENT).try_collect::<()>().await?;
    until_within(PATIENCE, "all pods to serve near pg1", async || {
        let available = deployments.list(&ListParams::default()).await?.items.into_iter();
        let available: i32 = available.filter_map(|it| it.status?.available_replicas).sum();
        Ok((usize::try_from(available)? == args.fleet.pods()).then_some(()))
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
    ensure!(zones == format!("{} in dc1", args.fleet.pods()), "born near the primary: {zones}");
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
