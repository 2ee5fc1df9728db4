//! `make bench-fleet`: how long the labels of 5,000 nodes take after the primary has moved, on a real control plane whose
//! nodes are only objects, with readings as agents would write them; and what it costs the API server.

#[path = "../../tests/it/light"]
mod light {
    #[expect(dead_code, unused_imports, reason = "the scenes use the rest")]
    pub(crate) mod support;
}

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams, ValidationDirective},
};
use lab::scripted::host;
use lab::{
    control_plane::Component,
    measured::{load_average, machine, median, write_report, write_section},
    requests::Requests,
};
use serde_json::{Map, Value, json};
use switchover::api::{DatabaseCluster, NodeLatency, keys};

use self::light::support::{
    Patroni, World, world,
    world::{CONTROLLERS, WEBHOOK},
};

#[derive(Parser)]
struct Args {
    /// What `cargo bench` says; without it nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    /// Number of nodes, a third of them in each data centre
    #[arg(long, default_value_t = 5_000)]
    nodes: usize,
    /// Number of times that the primary moves
    #[arg(long, default_value_t = 6)]
    rounds: u64,
}

/// The database, and what its nodes' names begin with.
const NAME: &str = "fleet";
/// Longer than anything takes that is not broken.
const PATIENCE: Duration = Duration::from_secs(300);
/// Writes of the bench itself that are under way at the same time.
const CONCURRENT: usize = 32;
/// Labels that the bench writes at the same time to see how many the API server takes; the controller writes as many.
const FLOOR_CONCURRENT: usize = 16;
/// The labels of nodes are the only thing that anybody patches in nodes here.
const LABEL_PATCH: &str = "PATCH nodes";
/// What the labels of 5,000 nodes may take, in seconds.
const GOAL_S: f64 = 5.0;

fn main() -> Result<()> {
    let args = Args::parse();
    if !args.bench {
        println!("make bench-fleet measures");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let world = world();
    runtime.block_on(measure(&args, world))
}

/// One move of the primary.
struct Round {
    to: usize,
    /// From the confirmed primary to the last label, as the controller's status tells it.
    labels_s: f64,
    /// Nodes whose label had to change.
    changed: usize,
    requests: Requests,
}

async fn measure(args: &Args, world: &World) -> Result<()> {
    let load_before = load_average();
    let client = world.bed.admin().await?;
    // One controller: the standby and the webhook run on other machines than the leader.
    for role in [CONTROLLERS[1], WEBHOOK] {
        world.kill_role(role)?;
    }
    // The nodes are only objects, and what their kubelets cost the API server is left out: see the page.
    world.bed.end_kwok()?;
    for component in [Component::KubeControllerManager, Component::KubeScheduler] {
        world.bed.kill(component)?;
    }
    let began = Instant::now();
    create(&client, args.nodes).await?;
    println!("{} nodes and their readings were made in {:.0} s", args.nodes, began.elapsed().as_secs_f64());

    let patroni = Patroni::start(NAME).await?;
    let database: DatabaseCluster = serde_json::from_value(json!({
        "apiVersion": "switchover.dev/v1alpha1",
        "kind": "DatabaseCluster",
        "metadata": {"name": NAME},
        "spec": {"discovery": {"patroni": {"urls": patroni.urls()}}, "tiers": {"staleAfter": "1h"}},
    }))?;
    let databases: Api<DatabaseCluster> = Api::all(client.clone());
    databases.create(&PostParams::default(), &database).await?;
    labelled(&client, args.nodes, 0).await?;
    println!("all nodes had their first label after {:.0} s", began.elapsed().as_secs_f64());

    let mut rounds = Vec::new();
    let floor = floor(&client, args.nodes).await?;
    println!("the API server takes {floor:.0} labels a second of a client that does nothing else");
    for number in 0..args.rounds {
        let to = usize::try_from((number + 1) % 3)?;
        let before = tiers(&client).await?;
        let counted = Requests::read(&client).await?;
        patroni.switchover(&format!("pg{}", to + 1), number + 2);
        let labels_s = last_label(&databases, number + 2).await?;
        let requests = Requests::read(&client).await?.since(&counted);
        let after = labelled(&client, args.nodes, to).await?;
        let changed = after.iter().filter(|(node, tier)| before.get(*node) != Some(tier)).count();
        let round = Round { to, labels_s, changed, requests };
        println!("to pg{}: {labels_s:.2} s for {changed} of {} labels; {}", to + 1, args.nodes, round.requests);
        rounds.push(round);
    }
    report(args, &rounds, floor, &load_before)
}

/// Labels a second that the API server takes of a client that does nothing else, written as the controller writes them.
async fn floor(client: &Client, count: usize) -> Result<f64> {
    let nodes: Api<Node> = Api::all(client.clone());
    let params = PatchParams { field_validation: Some(ValidationDirective::Ignore), ..PatchParams::default() };
    let patch = Patch::Strategic(json!({"metadata": {"labels": {"floor": "written"}}}));
    let (nodes, params, patch) = (&nodes, &params, &patch);
    let write = |number: usize| async move { nodes.patch(&format!("{NAME}-{number}"), params, patch).await };
    let began = Instant::now();
    stream::iter(0..count).map(write).buffer_unordered(FLOOR_CONCURRENT).try_for_each(|_| async { Ok(()) }).await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// Round-trip time from the node with this number to the member in data centre `to`, in microseconds. Nodes of one data
/// centre differ a little.
const fn rtt_us(node: usize, to: usize) -> usize {
    let base = match (node % 3, to) {
        (from, to) if from == to => 300,
        (0, 1) | (1, 0) => 8_000,
        (0, 2) | (2, 0) => 20_000,
        _ => 21_000,
    };
    base + node % 7 * 30
}

/// The label that the node with this number must have while the primary is in data centre `to`.
const fn expected(node: usize, to: usize) -> &'static str {
    match (node % 3, to) {
        (from, to) if from == to => "closely",
        (0, 1) | (1, 0) => "intermediate",
        // From pg3 dc1 is 20 ms away and dc2 21 ms: both within the window of 2 ms below the farthest.
        _ => "far",
    }
}

async fn create(client: &Client, count: usize) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let latencies: Api<NodeLatency> = Api::all(client.clone());
    let create = async |number: usize| -> Result<()> {
        let name = format!("{NAME}-{number}");
        let node: Node = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": format!("dc{}", number % 3 + 1)}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }))?;
        nodes.create(&PostParams::default(), &node).await?;
        let readings: Vec<Value> = (0..3)
            .map(|to| {
                let host = host(NAME, &format!("pg{}", to + 1));
                json!({"host": host, "rttUs": rtt_us(number, to), "samples": 10})
            })
            .collect();
        let latency: NodeLatency = serde_json::from_value(json!({
            "apiVersion": "switchover.dev/v1alpha1",
            "kind": "NodeLatency",
            "metadata": {"name": name},
            "spec": {"heartbeat": Timestamp::now(), "memberCount": 3, "readings": readings},
        }))?;
        latencies.create(&PostParams::default(), &latency).await?;
        Ok(())
    };
    stream::iter(0..count).map(create).buffer_unordered(CONCURRENT).try_collect::<()>().await
}

async fn tiers(client: &Client) -> Result<BTreeMap<String, String>> {
    let key = keys::default_node_label(NAME);
    let nodes = Api::<Node>::all(client.clone()).list_metadata(&ListParams::default()).await?.items;
    let tier = |labels: &BTreeMap<String, String>| labels.get(&key).cloned().unwrap_or_default();
    Ok(nodes.iter().map(|node| (node.name_any(), tier(node.labels()))).collect())
}

/// Waits until every node's label is right for a primary in data centre `to`.
async fn labelled(client: &Client, count: usize, to: usize) -> Result<BTreeMap<String, String>> {
    let right: BTreeMap<String, String> =
        (0..count).map(|number| (format!("{NAME}-{number}"), expected(number, to).to_owned())).collect();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = tiers(client).await?;
        if seen == right {
            return Ok(seen);
        }
        let wrong = right.iter().find(|(node, tier)| seen.get(*node) != Some(tier));
        ensure!(Instant::now() < deadline, "after {} s this label is still missing: {wrong:?}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Seconds from the confirmation of this epoch's primary to the last label.
async fn last_label(databases: &Api<DatabaseCluster>, epoch: u64) -> Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = databases.get(NAME).await?.status.unwrap_or_default();
        if let Some(failover) = status.failovers.iter().find(|failover| failover.epoch == epoch)
            && let (Some(confirmed), Some(labelled)) = (failover.confirmed_at, failover.labelled_at)
        {
            return Ok(labelled.duration_since(confirmed).as_secs_f64());
        }
        ensure!(Instant::now() < deadline, "epoch {epoch} was not labelled in {} s", PATIENCE.as_secs());
        // Often enough for the count of requests, rarely enough not to be one of them that matters.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn report(args: &Args, rounds: &[Round], floor: f64, load_before: &str) -> Result<()> {
    let seconds = || rounds.iter().map(|round| round.labels_s);
    let (middle, worst) = (median(seconds()), seconds().fold(0.0, f64::max));
    let patches = median(rounds.iter().map(|round| round.requests.of(LABEL_PATCH) as f64 / round.changed as f64));
    let to_floor = median(rounds.iter().map(|round| round.changed as f64 / round.labels_s)) / floor;
    let figures = json!({
        "fleet.labels_s": middle,
        "fleet.rate_to_floor": to_floor,
        "fleet.labels_max_s": worst,
        "fleet.patches_per_label": patches,
        "fleet": {
            "nodes": args.nodes,
            "rounds": rounds.iter().map(|round| json!({
                "to": format!("pg{}", round.to + 1),
                "labels_s": round.labels_s,
                "changed": round.changed,
                "requests": round.requests.total(),
                "label_patches": round.requests.of(LABEL_PATCH),
            })).collect::<Vec<_>>(),
            "machine": machine(),
            "date": Timestamp::now().to_string(),
            "load_average_before": load_before,
        },
    });
    let Value::Object(figures) = figures else { unreachable!("an object was written just above") };
    write_report(Map::from_iter(figures))?;

    let mut table = String::new();
    for round in rounds {
        let Round { to, labels_s, changed, requests } = round;
        let rate = *changed as f64 / labels_s;
        let _ = writeln!(
            table,
            "| pg{} | {labels_s:.2} | {changed} | {rate:.0} | {} | {} |",
            to + 1,
            requests.of(LABEL_PATCH),
            requests.total() - requests.of(LABEL_PATCH),
        );
    }
    if args.nodes < 5_000 {
        println!("{table}fewer than 5,000 nodes: docs/performance.md stays as it is");
        return Ok(());
    }
    let met = if worst <= GOAL_S { "met" } else { "**missed**" };
    let text = include_str!("performance.md")
        .replace("{date}", &jiff::Zoned::now().date().to_string())
        .replace("{machine}", &machine())
        .replace("{load}", load_before)
        .replace("{nodes}", &args.nodes.to_string())
        .replace("{median}", &format!("{middle:.2}"))
        .replace("{max}", &format!("{worst:.2}"))
        .replace("{floor}", &format!("{floor:.0}"))
        .replace("{to_floor}", &format!("{to_floor:.2}"))
        .replace("{goal}", &format!("{GOAL_S:.0} s: {met}"))
        .replace("{table}\n", &table);
    write_section("fleet", &text).context("the figures are in target/bench/report.json")
}
