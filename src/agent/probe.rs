//! Measures the distance to hosts: ICMP echoes from one socket, TCP connects where echoes are blocked.
//!
//! One task owns everything. Each tick sends one echo to every host; answers, losses and resolved names come back into
//! the same task, and a summary of each host's window goes out.

mod echo;
mod metrics;
#[cfg(test)]
mod tests;
mod track;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use tokio::{sync::watch, time::MissedTickBehavior};

use self::track::Track;
pub use self::{
    echo::{ProbeError, Sockets},
    metrics::ProbeMetrics,
};
use crate::{
    core::{
        distance::rtt::{Method, Summary},
        hosts::{RefusedHost, class_of},
    },
    discover::lookups,
};

/// A host name is resolved anew this often …
const RESOLVE_EVERY: Duration = Duration::from_secs(30);
/// … or this often while it can't be resolved …
const RESOLVE_RETRY: Duration = Duration::from_secs(2);
/// … and a resolver that takes longer is not waited for.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Readings go out this long after the echoes went, so that answers from nearby are in them.
const COLLECT: Duration = Duration::from_millis(100);

/// How to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeConfig {
    /// Pause between two echoes to one host.
    pub interval: Duration,
    /// Number of echoes in a window.
    pub window: usize,
    /// An echo that isn't answered within this time is lost.
    pub timeout: Duration,
    /// Pause between two TCP connects to one host, where echoes are blocked. PostgreSQL starts a process for each.
    pub tcp_interval: Duration,
}

/// A host to measure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// For TCP connects.
    pub port: u16,
}

/// What is measured now, by host: `None` until a window has enough echoes to say something.
pub type Readings = BTreeMap<String, Option<Summary>>;

/// Measures until the future is dropped, following `targets` as they change. A host is measured once, whatever the
/// number of ports.
pub async fn run(
    config: ProbeConfig,
    sockets: Sockets,
    mut targets: watch::Receiver<BTreeSet<Target>>,
    readings: watch::Sender<Arc<Readings>>,
    metrics: ProbeMetrics,
) {
    let mut prober =
        Prober { config, sockets, hosts: BTreeMap::new(), flights: FuturesUnordered::new(), sequence: 0, metrics };
    let mut ticks = tokio::time::interval(config.interval);
    // After a standstill one echo is enough; a burst would measure itself.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let collect = COLLECT.min(config.interval / 2);
    let mut publish_at: Option<tokio::time::Instant> = None;
    prober.follow(&targets.borrow_and_update().clone());
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                prober.tick(Instant::now());
                publish_at = Some(tokio::time::Instant::now() + collect);
            }
            Some(landed) = prober.flights.next(), if !prober.flights.is_empty() => prober.land(landed, Instant::now()),
            () = tokio::time::sleep_until(publish_at.unwrap_or_else(tokio::time::Instant::now)), if publish_at.is_some() => {
                publish_at = None;
                prober.publish(&readings);
            }
            Ok(()) = targets.changed() => {
                let targets = targets.borrow_and_update().clone();
                prober.follow(&targets);
                prober.publish(&readings);
            }
        }
    }
}

struct Host {
    port: u16,
    address: Option<IpAddr>,
    track: Track,
    /// Answers to what was sent under an earlier generation are about another address.
    generation: u64,
    /// `None` for an address, which needs no resolving.
    resolve_at: Option<Instant>,
    resolving: bool,
    tcp_at: Option<Instant>,
    connecting: bool,
    /// So that the log says once when a name can't be resolved.
    unresolved: bool,
}

/// What comes back from outside.
struct Landed {
    host: String,
    generation: u64,
    what: What,
}

enum What {
    Echo(Result<Option<u32>, echo::NotSent>),
    Connect(Option<u32>),
    Resolved(Result<Vec<IpAddr>, String>),
}

struct Prober {
    config: ProbeConfig,
    sockets: Sockets,
    hosts: BTreeMap<String, Host>,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    /// One count for all hosts: two names of one address must not send the same echo.
    sequence: u16,
    metrics: ProbeMetrics,
}

impl Prober {
    fn follow(&mut self, targets: &BTreeSet<Target>) {
        let wanted: BTreeMap<&str, u16> = targets.iter().map(|target| (target.host.as_str(), target.port)).collect();
        let metrics = &self.metrics;
        self.hosts.retain(|host, _| {
            let stays = wanted.contains_key(host.as_str());
            if !stays {
                metrics.forget(host);
            }
            stays
        });
        for (host, port) in wanted {
            let config = &self.config;
            let entry = self.hosts.entry(host.to_owned()).or_insert_with(|| {
                let address: Option<IpAddr> = host.parse().ok();
                Host {
                    port,
                    address,
                    track: Track::new(config.window),
                    generation: 0,
                    resolve_at: address.is_none().then(Instant::now),
                    resolving: false,
                    tcp_at: None,
                    connecting: false,
                    unresolved: false,
                }
            });
            entry.port = port;
        }
    }

    fn tick(&mut self, now: Instant) {
        let names: Vec<String> = self.hosts.keys().cloned().collect();
        let mut measured = BTreeSet::new();
        for name in names {
            self.sequence = self.sequence.wrapping_add(1);
            let (sequence, config) = (self.sequence, self.config);
            let Some(host) = self.hosts.get_mut(&name) else { continue };
            let generation = host.generation;
            let landed = move |host: String, what: What| Landed { host, generation, what };
            if host.resolve_at.is_some_and(|at| at <= now) && !host.resolving {
                host.resolving = true;
                let name = name.clone();
                self.flights.push(async move { landed(name.clone(), What::Resolved(resolve(&name).await)) }.boxed());
            }
            let Some(address) = host.address else {
                // A name without an address is as far away as a host that doesn't answer.
                host.track.echo(None);
                continue;
            };
            // Several names of one address are one machine, which gets no more echoes for having many.
            if !measured.insert(address) {
                continue;
            }
            if host.track.wants_connects() && !host.connecting && host.tcp_at.is_none_or(|at| at <= now) {
                host.connecting = true;
                host.tcp_at = Some(now + config.tcp_interval);
                let to = SocketAddr::new(address, host.port);
                let name = name.clone();
                let connect = async move { landed(name, What::Connect(echo::connect(to, config.timeout).await)) };
                self.flights.push(connect.boxed());
            }
            let echo = self.sockets.echo(address, sequence, config.timeout);
            self.flights.push(async move { landed(name, What::Echo(echo.await)) }.boxed());
        }
    }

    fn land(&mut self, landed: Landed, now: Instant) {
        let Some(host) = self.hosts.get_mut(&landed.host) else { return };
        if let What::Resolved(resolved) = landed.what {
            host.resolving = false;
            host.resolve_at = Some(now + if resolved.is_ok() { RESOLVE_EVERY } else { RESOLVE_RETRY });
            match resolved {
                Ok(addresses) => {
                    host.unresolved = false;
                    let address = self.sockets.choose(host.address, &addresses);
                    if address != host.address {
                        host.address = address;
                        host.generation += 1;
                        host.track.restart();
                    }
                }
                Err(error) => {
                    self.metrics.error("resolve");
                    if !std::mem::replace(&mut host.unresolved, true) {
                        tracing::warn!(
                            host = landed.host,
                            error,
                            "a member's name can't be resolved; going on with its last address, if any"
                        );
                    }
                }
            }
            return;
        }
        if matches!(landed.what, What::Connect(_)) {
            host.connecting = false;
        }
        if landed.generation != host.generation {
            return;
        }
        let before = host.track.method();
        match landed.what {
            What::Echo(sent) => {
                if sent.is_err() {
                    self.metrics.error("send");
                }
                // What can't be sent can't arrive: the way is cut.
                host.track.echo(sent.ok().flatten());
            }
            What::Connect(rtt_us) => host.track.connect(rtt_us),
            What::Resolved(_) => {}
        }
        let method = host.track.method();
        if method != before {
            let how = if method == Method::Tcp { "TCP connects, because echoes are not answered" } else { "echoes" };
            tracing::info!(host = landed.host, "measuring by {how}");
        }
    }

    fn publish(&self, readings: &watch::Sender<Arc<Readings>>) {
        // As in [`Prober::tick`], the first name of an address is the one that is measured.
        let mut measured = BTreeMap::new();
        let mut reading = |state: &Host| match state.address {
            Some(address) => *measured.entry(address).or_insert_with(|| state.track.reading()),
            None => state.track.reading(),
        };
        let now: Readings = self.hosts.iter().map(|(host, state)| (host.clone(), reading(state))).collect();
        for (host, reading) in &now {
            self.metrics.reading(host, reading.as_ref());
        }
        readings.send_if_modified(|current| {
            let differs = **current != now;
            *current = Arc::new(now);
            differs
        });
    }
}

async fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    // A resolver that hangs is not asked again for the same name meanwhile: each question holds a thread.
    match tokio::time::timeout(RESOLVE_TIMEOUT, lookups::addresses(host)).await {
        Ok(Ok(addresses)) => {
            let found: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
            // A machine's own name often leads to a loopback address of it.
            let refused = |address: &IpAddr| class_of(*address).filter(|why| *why != RefusedHost::Loopback);
            let addresses: Vec<IpAddr> = found.iter().copied().filter(|address| refused(address).is_none()).collect();
            match found.iter().find_map(|address| Some((address, refused(address)?))) {
                Some((address, why)) if addresses.is_empty() => Err(format!("the name leads to {address}, which {why}")),
                _ if addresses.is_empty() => Err("the name has no address".to_owned()),
                _ => Ok(addresses),
            }
        }
        Ok(Err(error)) => Err(error),
        Err(_) => Err(format!("the resolver did not answer within {} s", RESOLVE_TIMEOUT.as_secs())),
    }
}
