//! A real Patroni outside Kubernetes: a member with PostgreSQL in each data centre, over an etcd with a member in each,
//! all in the network namespaces of their hosts, so that every byte between them crosses the WAN.

mod config;
mod control;
mod front;
mod member;
mod rest;
mod store;
mod tools;

use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    process::{Power, last_lines},
    site::Site,
};
use config::Files;
pub use config::{Cluster, POSTGRES_PORT, REST_PORT, SCOPE, Store, as_database_user};
pub use control::Switchover;
pub use front::RestFault;
use member::Member;
use rest::store_is_ready;
pub use rest::{MemberState, table_header};
pub use tools::{POSTGRES_BIN, prepare_postgres};
use tools::{python, user};

/// How long a start may take on a busy machine; about 10 s is usual.
const START_WITHIN: Duration = Duration::from_secs(90);

/// A Patroni claims the initialisation in its first second.
const CLAIMED_WITHIN: Duration = Duration::from_secs(20);
const ATTEMPTS: usize = 3;

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where the cluster lives.
#[derive(Debug, Clone)]
pub struct Context {
    /// The directory with the program `etcd`, which the user postgres can read.
    pub bin: PathBuf,
    /// The directory that was given to [`Patroni::prepare`], which the user postgres can read.
    pub cache: PathBuf,
    /// Where the members keep their data and logs, in a directory each.
    pub state: PathBuf,
    /// The first members, usually one in each data centre.
    pub hosts: Vec<Host>,
    pub cluster: Cluster,
}

impl Context {
    /// Where the store's members run that belong to this cluster.
    fn stores(&self) -> Vec<&Host> {
        match &self.cluster.store {
            Store::Own { witness } => self.hosts.iter().chain(witness).collect(),
            Store::Shared(_) => Vec::new(),
        }
    }

    /// Where members of the database ask for the leader lock.
    pub fn store_addresses(&self) -> Vec<Ipv4Addr> {
        match &self.cluster.store {
            Store::Own { .. } => self.stores().into_iter().map(|host| host.address).collect(),
            Store::Shared(addresses) => addresses.clone(),
        }
    }
}

/// Where a member runs.
#[derive(Debug, Clone)]
pub struct Host {
    pub name: String,
    pub site: Site,
    pub address: Ipv4Addr,
    pub netns: PathBuf,
}

/// The running cluster. Dropping it kills it.
#[derive(Debug)]
pub struct Patroni {
    context: Context,
    python: PathBuf,
    members: Mutex<BTreeMap<String, Member>>,
}

impl Patroni {
    /// Installs what is missing: Patroni into the cache, PostgreSQL by Debian's packages. Instant when all is there.
    pub fn prepare(cache: &Path, progress: &dyn Fn(&str)) -> Result<()> {
        tools::prepare(cache, progress)
    }

    /// Starts the store and all members; the first host's becomes the primary. Returns when every other member
    /// streams from it.
    pub fn start(context: &Context) -> Result<Patroni> {
        ensure!(!context.hosts.is_empty(), "a Patroni cluster needs at least one host");
        for _ in 0..ATTEMPTS {
            if let Some(patroni) = Patroni::try_to_start(context)? {
                return Ok(patroni);
            }
            for host in context.hosts.iter().chain(context.stores()) {
                let directory = context.state.join(&host.name);
                if !directory.exists() {
                    continue;
                }
                fs::remove_dir_all(&directory).with_context(|| format!("cannot remove {}", directory.display()))?;
            }
        }
        bail!("in {ATTEMPTS} attempts no Patroni began to initialise the database; see the members' patroni.log")
    }

    /// `None`: nobody initialises the database. On a busy machine the store may take a Patroni's claim to do it and
    /// answer too late; then that Patroni waits for another one for ever (4.1.5).
    fn try_to_start(context: &Context) -> Result<Option<Patroni>> {
        let patroni = Patroni { context: context.clone(), python: python(&context.cache)?, members: Mutex::default() };
        for host in &context.hosts {
            patroni.prepare_member(host)?;
        }
        if let Store::Own { witness: Some(witness) } = &context.cluster.store {
            patroni.prepare_member(witness)?;
        }
        for host in context.stores() {
            patroni.start_store(&host.name)?;
        }
        patroni.wait_for_stores()?;
        for (index, host) in context.hosts.iter().enumerate() {
            patroni.with(&host.name, |member| member.start_patroni(&patroni.python))?;
            if index == 0 {
                // Ahead of the others it becomes the primary, so that a lab begins the same way every time.
                patroni.wait_for(START_WITHIN, "the first Patroni to answer", |members| {
                    members.iter().any(|member| member.primary_status.is_some())
                })?;
            }
        }
        let deadline = Instant::now() + CLAIMED_WITHIN;
        while !context.hosts.iter().any(|host| context.state.join(&host.name).join("data").exists()) {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(LOOK_EVERY);
        }
        patroni.wait_until_settled(START_WITHIN)?;
        Ok(Some(patroni))
    }

    /// Waits until there is a primary and every other member that runs streams from it. A crash of a new primary before
    /// that loses its timeline, as it would for real: the next primary begins another with the same number.
    pub fn wait_until_settled(&self, patience: Duration) -> Result<()> {
        self.wait_for(patience, "a primary that all other members stream from", |members| {
            let running = members.iter().filter(|member| member.patroni == Power::On).count();
            let streaming = members.iter().filter(|member| member.is_streaming()).count();
            members.iter().any(MemberState::is_primary) && streaming + 1 == running
        })
    }

    /// Adds a member on another host, which copies the primary; returns when it streams. Nothing of it stays when it
    /// doesn't come up.
    pub fn add_member(&self, host: Host) -> Result<()> {
        let name = host.name.clone();
        ensure!(!self.members().contains_key(&name), "the database has a member {name} already");
        self.prepare_member(&host)?;
        let started = self.with(&name, |member| member.start_patroni(&self.python)).and_then(|()| {
            self.wait_for(START_WITHIN, &format!("{name} to stream from the primary"), |members| {
                members.iter().any(|member| member.name == name && member.is_streaming())
            })
        });
        if started.is_err() {
            self.take(&name)?.discard()?;
        }
        started
    }

    /// Ends a member and removes its data. Patroni forgets it after its ttl of 20 s.
    pub fn remove_member(&self, name: &str) -> Result<()> {
        ensure!(
            self.primary().as_deref() != Some(name),
            "{name} is the primary; switch over to another member first, then remove it"
        );
        // In order, so that the primary knows that the replica has left. What does not end in time is killed.
        self.with(name, |member| member.stop_patroni(Duration::from_secs(10)))?;
        self.take(name)?.discard()
    }

    /// Where the demo service connects: every member, of which the writable one is used.
    pub fn database_url(&self) -> String {
        let hosts = self.addresses();
        let hosts: Vec<_> = hosts.iter().map(|address| format!("{address}:{POSTGRES_PORT}")).collect();
        format!("postgresql://shop:shop@{}/shop?target_session_attrs=read-write&connect_timeout=1", hosts.join(","))
    }

    /// `--endpoint` of Kine: both members, of which new connections take the writable one. Hosts stand among the parameters, because
    /// Go may refuse a list of them in the place of the host.
    pub fn kine_endpoint(&self) -> String {
        let hosts: Vec<_> = self.addresses().iter().map(Ipv4Addr::to_string).collect();
        let ports = vec![POSTGRES_PORT.to_string(); hosts.len()];
        format!(
            "postgres://kine:kine@/kine?host={}&port={}&target_session_attrs=read-write&connect_timeout=2&sslmode=disable",
            hosts.join(","),
            ports.join(",")
        )
    }

    /// Of the members of the database.
    fn addresses(&self) -> Vec<Ipv4Addr> {
        let members = self.members();
        let members = members.values().filter(|member| !self.is_witness(member));
        members.map(|member| member.host.address).collect()
    }

    /// Whether it is a member of the store, and none of the database.
    fn is_witness(&self, member: &Member) -> bool {
        matches!(&self.context.cluster.store, Store::Own { witness: Some(it) } if it.name == member.host.name)
    }

    /// Ends everything at once. The data stays, and a new start recovers it as after a crash.
    pub fn stop(&self) -> Result<()> {
        let mut members = self.members();
        // Everybody is tried, whatever goes wrong with one.
        let results: Vec<Result<()>> =
            members.values_mut().flat_map(|member| [member.kill_database(), member.kill_store()]).collect();
        members.clear();
        results.into_iter().collect()
    }

    /// Writes the files of a member. From now on it is known, and stop ends it.
    fn prepare_member(&self, host: &Host) -> Result<()> {
        let files = Files { directory: self.context.state.join(&host.name) };
        files.write(host, &self.context.cluster, &self.context.store_addresses(), &user()?)?;
        self.members().insert(host.name.clone(), Member::new(host.clone(), files));
        Ok(())
    }

    fn start_store(&self, name: &str) -> Result<()> {
        let hosts = self.context.stores();
        ensure!(
            hosts.iter().any(|host| host.name == name),
            "beside {name} there is no member of the store; there is one beside each of the first members"
        );
        let stores: Vec<_> = hosts.iter().map(|host| (host.name.clone(), host.address)).collect();
        self.with(name, |member| member.start_store(&self.context.bin.join("etcd"), &stores, &[]))
    }

    fn wait_for_stores(&self) -> Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        for host in self.context.stores() {
            while !store_is_ready(host) {
                self.with(&host.name, Member::check)?;
                let log = self.with(&host.name, |member| Ok(member.files.store_log()))?;
                ensure!(
                    Instant::now() < deadline,
                    "etcd of {} did not find the others within {} s; the end of its log {}:\n{}",
                    host.name,
                    START_WITHIN.as_secs(),
                    log.display(),
                    last_lines(&log, 6)
                );
                thread::sleep(LOOK_EVERY);
            }
        }
        Ok(())
    }

    /// Looks at the members until the condition holds; the error shows what they said last.
    fn wait_for(&self, patience: Duration, what: &str, condition: impl Fn(&[MemberState]) -> bool) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let members = self.list();
            if condition(&members) {
                return Ok(());
            }
            for member in self.members().values_mut() {
                member.check()?;
            }
            if Instant::now() >= deadline {
                bail!("waited {} s in vain for {what}.\n{}", patience.as_secs(), self.report(&members));
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    fn report(&self, states: &[MemberState]) -> String {
        let mut lines = vec![table_header()];
        lines.extend(states.iter().map(MemberState::to_string));
        for (name, member) in &*self.members() {
            lines.push(format!("The end of Patroni's log of {name}:\n{}", last_lines(&member.files.patroni_log(), 6)));
        }
        lines.join("\n")
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.members.lock().expect("no holder panics")
    }

    fn with<T>(&self, name: &str, work: impl FnOnce(&mut Member) -> Result<T>) -> Result<T> {
        let mut members = self.members();
        match members.get_mut(name) {
            Some(member) => work(member),
            None => Err(anyhow::anyhow!(unknown(name, members.keys()))),
        }
    }

    fn take(&self, name: &str) -> Result<Member> {
        let mut members = self.members();
        members.remove(name).with_context(|| unknown(name, members.keys()))
    }
}

impl Drop for Patroni {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!("the database did not end: {error:#}");
        }
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    format!("the database has no member {name}; it has {}", known.join(", "))
}

fn power(on: bool) -> Power {
    if on { Power::On } else { Power::Off }
}
