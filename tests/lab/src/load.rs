//! Steady load on the demo service, as a proxy would send it: to every ready endpoint in turn, on kept-alive
//! connections, and with no retry, because a retry hides what is measured here.
//!
//! The rate holds whatever the answers do: a slow service gets more requests at once, not fewer.

mod client;
mod record;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use client::Client;
use record::Records;
pub use record::{Failure, Outcome, Summary};

/// How the load is made.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Requests a second.
    pub rate: f64,
    /// A request without a whole answer after this is a transport failure. The service answers within 2 s even when
    /// its database is away, so 5 s leave no doubt.
    pub timeout: Duration,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions { rate: 30.0, timeout: Duration::from_secs(5) }
    }
}

/// Running load. Dropping it ends it.
pub struct Load {
    records: Arc<Mutex<Records>>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts the load on a thread of its own, in the network namespace of the CALLING thread: for another one, call
    /// this inside [`crate::net::in_netns`]. The caller keeps `endpoints` current with the ready ones.
    pub fn start(options: LoadOptions, endpoints: watch::Receiver<Vec<SocketAddr>>) -> Result<Load> {
        let tick = Duration::try_from_secs_f64(1.0 / options.rate).ok().filter(|tick| !tick.is_zero());
        let tick = tick.with_context(|| format!("{} requests a second cannot be made", options.rate))?;
        ensure!(!options.timeout.is_zero(), "with a timeout of zero every request fails; give it some seconds");
        let records = Arc::new(Mutex::new(Records::default()));
        let (stop, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = run(Client::new(options.timeout), tick, endpoints, stopped, records.clone());
        let thread = thread::Builder::new().name("load".into()).spawn(move || runtime.block_on(run))?;
        Ok(Load { records, stop, thread: Some(thread) })
    }

    /// What happened to the requests that began in `from..to`. One that has no end yet is not in it.
    pub fn window(&self, from: Instant, to: Instant) -> Summary {
        self.records().summary(from, to)
    }

    /// A summary of each whole second in `from..to`, in order: p50 over time.
    pub fn seconds(&self, from: Instant, to: Instant) -> Vec<Summary> {
        let seconds = to.saturating_duration_since(from).as_secs();
        let records = self.records();
        let start = |second| from + Duration::from_secs(second);
        (0..seconds).map(|second| records.summary(start(second), start(second + 1))).collect()
    }

    /// The last second: what a person watches.
    pub fn now(&self) -> Summary {
        let now = Instant::now();
        self.window(now.checked_sub(Duration::from_secs(1)).unwrap_or(now), now)
    }

    /// The first requests that were neither answered nor refused for lack of a database, with what went wrong.
    pub fn failures(&self) -> Vec<Failure> {
        self.records().failures.clone()
    }

    fn records(&self) -> std::sync::MutexGuard<'_, Records> {
        self.records.lock().expect("no holder panics")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").field("last_second", &self.now()).finish_non_exhaustive()
    }
}

async fn run(
    client: Client,
    tick: Duration,
    endpoints: watch::Receiver<Vec<SocketAddr>>,
    mut stopped: watch::Receiver<bool>,
    records: Arc<Mutex<Records>>,
) {
    let client = Arc::new(client);
    let mut ticks = interval(tick);
    // A late tick is made up for, so that the rate holds.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut turn = 0usize;
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let endpoint = {
            let endpoints = endpoints.borrow();
            client.forget_others(&endpoints);
            (!endpoints.is_empty()).then(|| endpoints[turn % endpoints.len()])
        };
        turn += 1;
        let (client, records) = (client.clone(), records.clone());
        // At most rate × timeout of these live at once.
        tokio::spawn(async move {
            let start = Instant::now();
            let (outcome, sentence) = match endpoint {
                Some(endpoint) => client.order(endpoint).await,
                None => (Outcome::NoEndpoint, "no endpoint was ready".to_owned()),
            };
            records.lock().expect("no holder panics").add(start, outcome, start.elapsed(), endpoint, sentence);
        });
    }
}
