//! `make bench-policies`: what admission adds to the creation of a pod, by the webhook and by the policy, on the same API server, pod after
//! pod in turn.

#[path = "../../tests/it/light"]
mod light {
    #[expect(dead_code, unused_imports, reason = "the scenes use the rest")]
    pub(crate) mod support;
}

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use clap::Parser;
use jiff::Timestamp;
use lab::measured::{load_average, machine, median, write_report, write_section};
use serde_json::{Map, Value, json};

use self::light::support::{
    Patroni, Scene,
    objects::NEAR_PG1,
    sides::{By, Sides},
    until, world,
};

#[derive(Parser)]
struct Args {
    /// What `cargo bench` says; without it nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    /// Pods on each side
    #[arg(long, default_value_t = 1_000)]
    pods: usize,
}

/// The database, and what everything begins with.
const NAME: &str = "bench-policies";
/// Pods before those that are timed.
const WARM_UP: usize = 50;
/// With fewer the page stays as it is.
const ENOUGH: usize = 1_000;

fn main() -> Result<()> {
    let args = Args::parse();
    if !args.bench {
        println!("make bench-policies measures");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let world = world();
    runtime.block_on(async {
        let load_before = load_average();
        let scene = Scene { name: NAME, world, client: world.bed.admin().await? };
        scene.nodes(&[1, 3], 2).await?;
        let patroni = Patroni::start(NAME).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled(NEAR_PG1).await?;
        until("hard modes to be possible", async || Ok((!scene.status().await?.hard_modes.is_empty()).then_some(())))
            .await?;
        let sides = Sides::set(world, &scene.client, NAME, json!({})).await?;
        let times = measure(&sides, args.pods).await?;
        report(&args, &times, &load_before)
    })
}

/// As a Deployment's pod is when the API server gets it: some 5 kB.
fn pod() -> Value {
    let variable = |number: usize| json!({"name": format!("VARIABLE_{number}"), "value": "a value of the usual length, or a little more"});
    let container = |name: &str| {
        json!({
            "name": name, "image": format!("registry.example.com/team/{name}:1.2.3"),
            "env": (0..15).map(variable).collect::<Vec<_>>(),
            "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}},
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web", "pod-template-hash": "7d4b9c6f5"}, "annotations": {"checksum/config": "0".repeat(64)}},
        "spec": {
            "automountServiceAccountToken": false, "containers": [container("web"), container("sidecar")],
            "volumes": [{"name": "config", "configMap": {"name": "web"}}],
        },
    })
}

/// Milliseconds of each creation, by side. Who comes first changes each time.
async fn measure(sides: &Sides<'_>, pods: usize) -> Result<[Vec<f64>; 4]> {
    let pod = pod();
    let mut times = [const { Vec::new() }; 4];
    for number in 0..WARM_UP + pods {
        for turn in 0..By::ALL.len() {
            let side = (turn + number) % By::ALL.len();
            let began = Instant::now();
            sides.create(By::ALL[side], &pod).await?.map_err(|said| anyhow!(said))?;
            let took = began.elapsed();
            if number >= WARM_UP {
                times[side].push(milliseconds(took));
            }
        }
    }
    Ok(times)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The value that this share of all is below of.
fn quantile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

fn report(args: &Args, times: &[Vec<f64>; 4], load_before: &str) -> Result<()> {
    let medians = [0, 1, 2, 3].map(|side: usize| median(times[side].iter().copied()));
    let [plain, webhook, policy, both] = medians;
    let ratio = (policy - plain) / (webhook - plain);
    let figures = json!({
        "admission.policy_to_webhook": ratio,
        "admission.webhook_added_ms": webhook - plain,
        "admission.policy_added_ms": policy - plain,
        "admission.both_added_ms": both - plain,
        "policies": {
            "pods": args.pods, "plain_ms": plain, "p99_ms": times.each_ref().map(|times| quantile(times, 0.99)),
            "machine": machine(), "date": Timestamp::now().to_string(), "load_average_before": load_before,
        },
    });
    let Value::Object(figures) = figures else { unreachable!("an object was written just above") };
    write_report(Map::from_iter(figures))?;
    let row = |name: &str, side: usize| {
        let (middle, slow) = (medians[side], quantile(&times[side], 0.99));
        let added = if side == 0 { "–".to_owned() } else { format!("{:.2}", middle - plain) };
        format!("| {name} | {middle:.2} | {added} | {slow:.2} |\n")
    };
    let table = row("nobody", 0) + &row("the webhook", 1) + &row("the policy", 2) + &row("both", 3);
    if args.pods < ENOUGH {
        println!("{table}policy to webhook: {ratio:.2}\nfewer than {ENOUGH} pods: docs/performance.md stays as it is");
        return Ok(());
    }
    let text = include_str!("performance.md")
        .replace("{pods}", &args.pods.to_string())
        .replace("{date}", &jiff::Zoned::now().date().to_string())
        .replace("{machine}", &machine())
        .replace("{load}", load_before)
        .replace("{ratio}", &format!("{ratio:.2}"))
        .replace("{table}\n", &table);
    write_section("policies", &text)
}
