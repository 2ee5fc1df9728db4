//! Real echoes and connects over loopback. They need a machine on which echoes may be sent (root, CAP_NET_RAW or ping
//! sockets); elsewhere they say so and pass.

use super::*;

const CONFIG: ProbeConfig = ProbeConfig {
    interval: Duration::from_millis(20),
    window: 10,
    timeout: Duration::from_millis(200),
    tcp_interval: Duration::from_millis(20),
};

struct Measuring {
    targets: watch::Sender<BTreeSet<Target>>,
    readings: watch::Receiver<Arc<Readings>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Measuring {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn measure(targets: &[(&str, u16)]) -> Option<Measuring> {
    let sockets = match Sockets::open() {
        Ok(sockets) => sockets,
        Err(error) => {
            eprintln!("not tested: {error}");
            return None;
        }
    };
    let set = targets.iter().map(|(host, port)| Target { host: (*host).to_owned(), port: *port }).collect();
    let (targets, followed) = watch::channel(set);
    let (sender, readings) = watch::channel(Arc::default());
    let task = tokio::spawn(run(CONFIG, sockets, followed, sender, ProbeMetrics::default()));
    Some(Measuring { targets, readings, task })
}

async fn until(measuring: &mut Measuring, what: &str, holds: impl Fn(&Readings) -> bool) -> Arc<Readings> {
    let waited =
        tokio::time::timeout(Duration::from_secs(10), measuring.readings.wait_for(|readings| holds(readings))).await;
    let found = waited.map(|readings| Arc::clone(&readings.unwrap()));
    found.unwrap_or_else(|_| panic!("never: {what}: {:?}", measuring.readings.borrow()))
}

fn measured(readings: &Readings, host: &str) -> Option<Summary> {
    readings.get(host).copied().flatten()
}

#[tokio::test]
async fn loopback_is_near_and_a_name_is_resolved() {
    let Some(mut measuring) = measure(&[("127.0.0.1", 1), ("127.0.0.2", 1), ("localhost", 1)]) else { return };
    let full = |readings: &Readings| {
        readings.len() == 3 && readings.values().all(|r| r.is_some_and(|r| r.samples == 10 && r.rtt_us.is_some()))
    };
    let readings = until(&mut measuring, "three full windows", full).await;
    let reading = measured(&readings, "127.0.0.1").unwrap();
    assert!((1..50_000).contains(&reading.rtt_us.unwrap()), "{reading:?}");
    assert_eq!((reading.loss_percent, reading.method), (0, Method::Icmp));
}

#[tokio::test]
async fn two_names_of_one_address_are_both_measured() {
    let Some(mut measuring) = measure(&[("127.0.0.1", 1), ("localhost", 1)]) else { return };
    let full = |readings: &Readings| readings.values().all(|r| r.is_some_and(|r| r.samples == 10));
    let readings = until(&mut measuring, "full windows", full).await;
    assert!(readings.values().all(|r| r.unwrap().loss_percent <= 10), "{readings:?}");
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_loss_not_distance() {
    // TEST-NET-1 (RFC 5737): nobody answers, or a router says "unreachable"; neither is a distance.
    let Some(mut measuring) = measure(&[("192.0.2.1", 9), ("no-such-host.invalid", 1)]) else { return };
    let lost = |readings: &Readings| {
        readings.values().all(|r| r.is_some_and(|r| r.loss_percent == 100 && r.rtt_us.is_none() && r.samples == 10))
    };
    until(&mut measuring, "all lost", lost).await;
}

#[tokio::test]
async fn targets_are_followed_as_they_change() {
    let Some(mut measuring) = measure(&[("127.0.0.1", 1)]) else { return };
    until(&mut measuring, "the first", |readings| measured(readings, "127.0.0.1").is_some()).await;
    measuring.targets.send(BTreeSet::from([Target { host: "127.0.0.9".to_owned(), port: 1 }])).unwrap();
    let readings = until(&mut measuring, "the second", |readings| measured(readings, "127.0.0.9").is_some()).await;
    assert_eq!(readings.len(), 1);
}

#[tokio::test]
async fn a_connect_and_a_refusal_are_both_a_distance() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap();
    assert!(echo::connect(open, CONFIG.timeout).await.is_some());
    drop(listener);
    assert!(echo::connect(open, CONFIG.timeout).await.is_some(), "refused by the host itself");
}

#[tokio::test]
async fn several_names_of_one_address_get_the_echoes_of_one() {
    let Ok(sockets) = Sockets::open() else {
        eprintln!("not tested: no echoes may be sent here");
        return;
    };
    let (hosts, flights, metrics) = (BTreeMap::new(), FuturesUnordered::new(), ProbeMetrics::default());
    let mut prober = Prober { config: CONFIG, sockets, hosts, flights, sequence: 0, metrics };
    let names = (0..64).map(|n| format!("alias{n}.invalid"));
    let targets = names.map(|host| Target { host, port: 1 }).chain([Target { host: "127.0.0.1".to_owned(), port: 1 }]);
    prober.follow(&targets.collect());
    for host in prober.hosts.values_mut() {
        (host.address, host.resolve_at) = (Some([127, 0, 0, 1].into()), None);
    }
    prober.tick(Instant::now());
    assert_eq!(prober.flights.len(), 1);
}
