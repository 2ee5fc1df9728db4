//! Clients from outside: one that writes and one that reads at an even pace, and many that do as much as they can.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

/// Between two requests of those at an even pace.
const EVERY: Duration = Duration::from_millis(100);
/// Those that do as much as they can.
pub(crate) const MANY: usize = 16;
const FOR: Duration = Duration::from_secs(10);

/// Milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Latency {
    p50_ms: f64,
    p99_ms: f64,
}

impl Latency {
    fn of(times: &[Duration]) -> Latency {
        let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        let share = |share: f64| {
            let at = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
            sorted.get(at).copied().unwrap_or_default()
        };
        Latency { p50_ms: share(0.5), p99_ms: share(0.99) }
    }

    pub(crate) fn cell(&self) -> String {
        format!("{:.1} / {:.1}", self.p50_ms, self.p99_ms)
    }
}

/// The two at an even pace. Dropping them ends them.
#[derive(Debug)]
pub(crate) struct Clients {
    writes: Times,
    reads: Times,
    _tasks: JoinSet<()>,
}

type Times = Arc<Mutex<Vec<Duration>>>;

impl Clients {
    pub(crate) async fn start(client: &Client) -> Result<Clients> {
        let maps = maps(client);
        create(&maps, "even").await?;
        let (writes, reads, mut tasks) = (Times::default(), Times::default(), JoinSet::new());
        tasks.spawn(pace(maps.clone(), Arc::clone(&writes), true));
        tasks.spawn(pace(maps, Arc::clone(&reads), false));
        Ok(Clients { writes, reads, _tasks: tasks })
    }

    /// From now on it counts.
    pub(crate) fn begin(&self) {
        lock(&self.writes).clear();
        lock(&self.reads).clear();
    }

    /// Of writes and of reads since it began to count.
    pub(crate) fn end(&self) -> (Latency, Latency) {
        (Latency::of(&lock(&self.writes)), Latency::of(&lock(&self.reads)))
    }
}

/// For ever; what fails counts as long as it took.
async fn pace(maps: Api<ConfigMap>, times: Times, writes: bool) {
    let mut ticks = tokio::time::interval(EVERY);
    for number in 0.. {
        ticks.tick().await;
        let began = Instant::now();
        if let Err(error) = request(&maps, "even", number, writes).await {
            eprintln!("a request failed: {error}");
        }
        lock(&times).push(began.elapsed());
    }
}

/// As much as many clients can do together.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Rates {
    writes_per_second: f64,
    write: Latency,
    reads_per_second: f64,
    read: Latency,
}

impl Rates {
    pub(crate) async fn measure(client: &Client) -> Result<Rates> {
        let maps = maps(client);
        for number in 0..MANY {
            create(&maps, &format!("many-{number}")).await?;
        }
        let (writes_per_second, write) = many(&maps, true).await?;
        let (reads_per_second, read) = many(&maps, false).await?;
        Ok(Rates { writes_per_second, write, reads_per_second, read })
    }

    /// Cells of the page's table.
    pub(crate) fn row(&self) -> String {
        let Rates { writes_per_second, write, reads_per_second, read } = self;
        format!("{writes_per_second:.0} | {} | {reads_per_second:.0} | {}", write.cell(), read.cell())
    }
}

async fn many(maps: &Api<ConfigMap>, writes: bool) -> Result<(f64, Latency)> {
    let mut tasks = JoinSet::new();
    let end = Instant::now() + FOR;
    for number in 0..MANY {
        let (maps, name) = (maps.clone(), format!("many-{number}"));
        tasks.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < end {
                let began = Instant::now();
                request(&maps, &name, times.len(), writes).await?;
                times.push(began.elapsed());
            }
            Ok::<_, kube::Error>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(of_one) = tasks.join_next().await {
        times.extend(of_one??);
    }
    Ok((times.len() as f64 / FOR.as_secs_f64(), Latency::of(&times)))
}

fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

async fn create(maps: &Api<ConfigMap>, name: &str) -> Result<()> {
    let map = ConfigMap {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    };
    maps.create(&PostParams::default(), &map).await?;
    Ok(())
}

async fn request(maps: &Api<ConfigMap>, name: &str, number: usize, writes: bool) -> kube::Result<()> {
    let patch = json!({"data": {"number": number.to_string()}});
    match writes {
        true => maps.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop),
        // Without a resource version it is read from the store.
        false => maps.get(name).await.map(drop),
    }
}

fn lock(times: &Mutex<Vec<Duration>>) -> MutexGuard<'_, Vec<Duration>> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}
