//! Patroni over the emulated WAN, and a service with steady load on it, through a switchover and a crash.

use std::{
    net::SocketAddr,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lab::{
    load::{Load, LoadOptions},
    net::{Network, in_netns, namespace},
    patroni::{Cluster, Context, Host, Patroni},
    process::{Place, Process},
    site::{Site, member_address},
    tools::{Cache, ETCD},
    wan::{LinkChange, Wan},
};

use crate::{
    isolation::{SCRATCH, bind, isolated},
    wan::processor_time,
};

struct Bed {
    patroni: Patroni,
    network: Network,
    wan: Wan,
}

impl Bed {
    fn start() -> Result<Bed> {
        let (network, devices) = Network::build()?;
        let wan = Wan::start(devices)?;
        let cache = Cache::from_environment()?;
        let scratch = Path::new(SCRATCH);
        bind(&cache.directory, &scratch.join("cache"))?;
        let shown = Cache { directory: scratch.join("cache") };
        let hosts = Site::DATA_CENTRES.into_iter().map(|site| {
            let name = format!("pg{}", site.index());
            network.add_host(site, &name, member_address(site), &[])?;
            Ok(Host { netns: namespace(&name), name, site, address: member_address(site) })
        });
        let hosts = hosts.collect::<Result<Vec<Host>>>()?;
        let state = scratch.join("state");
        let context =
            Context { bin: shown.go(&ETCD), cache: shown.directory.clone(), state, hosts, cluster: Cluster::default() };
        let start = Instant::now();
        let patroni = Patroni::start(&context)?;
        println!("a primary and two streaming replicas after {:.1} s", start.elapsed().as_secs_f64());
        Ok(Bed { patroni, network, wan })
    }

    fn show(&self) {
        println!("{}", lab::patroni::table_header());
        self.patroni.list().iter().for_each(|member| println!("{member}"));
    }

    /// How long it took until another member than `old` was a writable primary.
    fn wait_for_primary_after(&self, old: &str, start: Instant) -> Result<(String, Duration)> {
        while start.elapsed() < Duration::from_secs(60) {
            if let Some(primary) = self.patroni.primary().filter(|primary| primary != old) {
                return Ok((primary, start.elapsed()));
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.show();
        anyhow::bail!("no new primary within 60 s")
    }
}

fn prepare() -> Result<()> {
    let cache = Cache::from_environment()?;
    cache.require(&[cache.go(&ETCD)])?;
    Patroni::prepare(&cache.directory, &|line| println!("{line}"))
}

#[test]
#[ignore = "needs root and PostgreSQL, takes two minutes"]
fn the_primary_moves_and_crashed_members_come_back() {
    isolated("database::the_primary_moves_and_crashed_members_come_back", prepare, || {
        let bed = Bed::start()?;
        bed.show();
        println!("{}", bed.patroni.database_url());

        let first = bed.patroni.primary().context("a primary")?;
        let candidate = if first == "pg2" { "pg3" } else { "pg2" };
        let moved = bed.patroni.switchover(Some(candidate))?;
        println!("{moved:?}");
        ensure!((&*moved.from, &*moved.to) == (&*first, candidate), "{moved:?}");
        let refused = bed.patroni.switchover(Some(candidate)).map(|_| ()).unwrap_err().to_string();
        ensure!(refused == format!("{candidate} is the primary already"), "{refused}");
        ensure!(bed.patroni.kill9("pg9").unwrap_err().to_string().contains("it has pg1, pg2, pg3"));

        let start = Instant::now();
        bed.patroni.wait_until_settled(Duration::from_secs(30))?;
        println!("the others followed {:.1} s later", start.elapsed().as_secs_f64());
        let start = Instant::now();
        bed.patroni.kill9(candidate)?;
        println!("kill9 took {} ms", start.elapsed().as_millis());
        let (second, took) = bed.wait_for_primary_after(candidate, start)?;
        println!("kill -9 of {candidate}: {second} is the primary after {:.1} s", took.as_secs_f64());
        let start = Instant::now();
        bed.patroni.start_member(candidate)?;
        println!("{candidate} streams again after {:.1} s", start.elapsed().as_secs_f64());

        bed.network.add_host(Site::Dc1, "pg4", Site::Dc1.host(6), &[])?;
        let start = Instant::now();
        bed.patroni.add_member(Host {
            name: "pg4".into(),
            site: Site::Dc1,
            address: Site::Dc1.host(6),
            netns: namespace("pg4"),
        })?;
        println!("pg4 streams {:.1} s after it was added", start.elapsed().as_secs_f64());
        bed.patroni.pause()?;
        bed.show();
        bed.patroni.resume()?;
        bed.patroni.freeze(&second)?;
        bed.show();
        bed.patroni.thaw(&second)?;
        bed.patroni.remove_member("pg4")?;
        bed.show();
        let start = Instant::now();
        bed.patroni.stop()?;
        println!("everything ended in {} ms", start.elapsed().as_millis());
        Ok(())
    });
}

/// A running instance of the demo service in a host of its own.
struct Shop {
    process: Process,
    endpoint: SocketAddr,
}

impl Shop {
    fn start(bed: &Bed, number: u8, site: Site) -> Result<Shop> {
        let (name, address) = (format!("shop{number}"), site.host(100 + number));
        bed.network.add_host(site, &name, address, &[])?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_shop"));
        command
            .env("DATABASE_URL", bed.patroni.database_url())
            .env("POD_NAME", &name)
            .env("NODE_NAME", site.to_string());
        let log = Path::new(SCRATCH).join(format!("{name}.log"));
        let place = Place { namespace: Some(namespace(&name)), ..Place::default() };
        Ok(Shop { process: Process::start(&name, command, &log, &place)?, endpoint: (address, 8080).into() })
    }
}

#[test]
#[ignore = "needs root and PostgreSQL, takes three minutes"]
fn the_service_never_fails_without_saying_why() {
    isolated("database::the_service_never_fails_without_saying_why", prepare, || {
        let bed = Bed::start()?;
        let mut shops = (1..=6)
            .map(|number| Shop::start(&bed, number, Site::DATA_CENTRES[usize::from(number - 1) / 2]))
            .collect::<Result<Vec<Shop>>>()?;
        bed.network.add_host(Site::ControlPlane, "client", lab::site::CLIENT, &[])?;
        thread::sleep(Duration::from_secs(1));

        let all: Vec<SocketAddr> = shops.iter().map(|shop| shop.endpoint).collect();
        let (endpoints, watched) = tokio::sync::watch::channel(all.clone());
        let load = in_netns(&namespace("client"), || Load::start(LoadOptions::default(), watched))??;
        // The first order creates the tables.
        thread::sleep(Duration::from_secs(2));
        let report = |name: &str, from: Instant| {
            let summary = load.window(from, Instant::now());
            println!("{name}: {summary}");
            summary
        };

        let (start, cpu) = (Instant::now(), processor_time());
        thread::sleep(Duration::from_secs(10));
        println!("WAN and load: {:.1} % of a processor", (processor_time() - cpu).as_secs_f64() * 10.0);
        let steady = report("steady", start);
        ensure!(steady.ok == steady.requests && steady.requests > 280, "{steady}");

        // A pod that ends in order while it is in use, as Kubernetes ends it: SIGTERM first, the endpoint goes later.
        let start = Instant::now();
        let shop = &mut shops[0];
        let stopping = thread::scope(|scope| {
            let stopping = scope.spawn(|| shop.process.stop(Duration::from_secs(20)));
            thread::sleep(Duration::from_millis(500));
            endpoints.send_replace(all[1..].to_vec());
            stopping.join().expect("stopping does not panic")
        });
        stopping?;
        println!("the service ended {:.1} s after SIGTERM", start.elapsed().as_secs_f64());
        thread::sleep(Duration::from_secs(1));
        let ended = report("one pod ends", start);
        ensure!(ended.ok == ended.requests, "{ended}");

        let start = Instant::now();
        let old = bed.patroni.primary().context("a primary")?;
        let moved = bed.patroni.switchover(Some("pg3"))?;
        println!("{moved:?}");
        thread::sleep(Duration::from_secs(8));
        let switched = report("switchover", start);
        show_seconds(&load, start);

        bed.patroni.wait_until_settled(Duration::from_secs(30))?;
        let start = Instant::now();
        bed.patroni.kill9("pg3")?;
        let (new, took) = bed.wait_for_primary_after("pg3", start)?;
        println!("kill -9 of pg3: {new} is the primary after {:.1} s", took.as_secs_f64());
        thread::sleep(Duration::from_secs(5));
        let crashed = report("kill -9", start);
        show_seconds(&load, start);
        bed.patroni.start_member("pg3")?;
        let start = Instant::now();
        thread::sleep(Duration::from_secs(3));
        let after = report("afterwards", start);

        // The primary's data centre is cut off from the others, but not from the clients: nobody may hang.
        bed.patroni.wait_until_settled(Duration::from_secs(60))?;
        let start = Instant::now();
        let site = Site::DATA_CENTRES[usize::from(new.as_bytes()[2] - b'1')];
        let others = || Site::DATA_CENTRES.into_iter().filter(|other| *other != site);
        others().for_each(|other| bed.wan.set(site, other, LinkChange::Cut));
        let (elected, took) = bed.wait_for_primary_after(&new, start)?;
        println!("{site} cut off: {elected} is the primary after {:.1} s", took.as_secs_f64());
        thread::sleep(Duration::from_secs(5));
        let partitioned = report("cut off", start);
        show_seconds(&load, start);
        others().for_each(|other| bed.wan.set(site, other, LinkChange::Heal));
        let start = Instant::now();
        bed.patroni.wait_until_settled(Duration::from_secs(60))?;
        println!("everybody streams {:.1} s after the link healed", start.elapsed().as_secs_f64());

        load.failures().iter().for_each(|failure| println!("{failure:?}"));
        ensure!(old == "pg1", "the first host's member is the first primary, not {old}");
        for summary in [&switched, &crashed, &partitioned] {
            ensure!(summary.db_unavailable > 0, "somebody noticed: {summary}");
            ensure!(summary.ok + summary.db_unavailable == summary.requests, "{summary}");
        }
        ensure!(after.ok == after.requests, "{after}");
        Ok(())
    });
}

fn show_seconds(load: &Load, from: Instant) {
    for (second, summary) in load.seconds(from, Instant::now()).iter().enumerate() {
        println!("  +{second:>2} s  {summary}");
    }
}
