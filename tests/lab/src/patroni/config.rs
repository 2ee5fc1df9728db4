//! The configuration of a member: Patroni's file, the command lines, and what the database holds from the start.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use nix::unistd::{User, chown};

use super::{
    Host,
    tools::{POSTGRES_BIN, USER},
};

/// The name of the cluster, in Patroni's words the scope.
pub const SCOPE: &str = "shop";

/// Patroni's REST API, as everybody knows it: [`super::front`] listens here.
pub const REST_PORT: u16 = 8008;

/// Where Patroni itself listens.
pub(super) const BEHIND_PORT: u16 = 8018;

/// PostgreSQL listens here.
pub const POSTGRES_PORT: u16 = 5432;

/// Patroni's store listens here to its clients.
pub(super) const STORE_CLIENT_PORT: u16 = 2379;
pub(super) const STORE_PEER_PORT: u16 = 2380;

/// What distinguishes one cluster of a lab from another.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Patroni's name of it.
    pub scope: String,
    /// What the database holds from the start.
    pub first_sql: String,
    /// Whether a commit waits for a replica, so that a failover loses nothing.
    pub synchronous: bool,
    /// What a replica may lack at most to be promoted.
    pub lag_bytes: u64,
    pub store: Store,
}

/// Where a cluster keeps its leader lock.
#[derive(Debug, Clone)]
pub enum Store {
    /// A member beside each of the first members of the database, and one at a third site if there are only two of those.
    Own { witness: Option<Host> },
    /// That of another cluster.
    Shared(Vec<Ipv4Addr>),
}

/// The demo service's.
impl Default for Cluster {
    fn default() -> Cluster {
        Cluster {
            scope: SCOPE.to_owned(),
            first_sql: FIRST_SQL.to_owned(),
            synchronous: false,
            lag_bytes: 16 << 20,
            store: Store::Own { witness: None },
        }
    }
}

impl Cluster {
    /// The one that Kine writes to: user, password and database are called `kine`.
    pub fn of_kine(synchronous: bool, witness: Host) -> Cluster {
        Cluster {
            scope: "kine".to_owned(),
            first_sql: KINE_SQL.to_owned(),
            synchronous,
            // Who takes the loss of writes takes that of many: a scene wants to see what comes of it.
            lag_bytes: if synchronous { 16 << 20 } else { 1 << 30 },
            store: Store::Own { witness: Some(witness) },
        }
    }

    /// The demo service's, over the store of another cluster.
    pub fn beside(store: Vec<Ipv4Addr>) -> Cluster {
        Cluster { store: Store::Shared(store), ..Cluster::default() }
    }
}

const KINE_SQL: &str = "\
CREATE ROLE kine LOGIN PASSWORD 'kine';
CREATE DATABASE kine OWNER kine;
";

/// What the demo service needs, and a role that may only look (for discovery by SQL).
const FIRST_SQL: &str = "\
CREATE ROLE shop LOGIN PASSWORD 'shop';
CREATE DATABASE shop OWNER shop;
CREATE ROLE monitor LOGIN PASSWORD 'monitor' IN ROLE pg_monitor;
";

/// The files of one member.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub directory: PathBuf,
}

impl Files {
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub(super) fn patroni_log(&self) -> PathBuf {
        self.directory.join("patroni.log")
    }

    pub(super) fn store_log(&self) -> PathBuf {
        self.directory.join("etcd.log")
    }

    pub(super) fn store_data(&self) -> PathBuf {
        self.directory.join("etcd")
    }

    fn settings(&self) -> PathBuf {
        self.directory.join("patroni.yml")
    }

    /// Writes everything that the member's programs read. Data of an earlier run stays.
    pub(super) fn write(&self, host: &Host, cluster: &Cluster, stores: &[Ipv4Addr], user: &User) -> Result<()> {
        fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot create {} for {}", self.directory.display(), host.name))?;
        fs::write(self.settings(), settings(host, cluster, stores, &self.directory))?;
        fs::write(self.directory.join("first.sql"), &cluster.first_sql)?;
        let script = format!(
            "#!/bin/sh\nexec {POSTGRES_BIN}/psql \"$1\" --no-psqlrc --quiet --set ON_ERROR_STOP=1 --file {}\n",
            self.directory.join("first.sql").display()
        );
        fs::write(self.directory.join("first.sh"), script)?;
        for name in ["socket", "etcd"] {
            fs::create_dir_all(self.directory.join(name))?;
            chown(&self.directory.join(name), Some(user.uid), Some(user.gid))?;
        }
        // etcd warns about a data directory that others may read.
        fs::set_permissions(self.directory.join("etcd"), fs::Permissions::from_mode(0o700))?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o755))?;
        chown(&self.directory, Some(user.uid), Some(user.gid))?;
        Ok(())
    }

    /// Patroni, which runs PostgreSQL.
    pub(super) fn patroni(&self, python: &Path) -> Command {
        let mut command = as_database_user(python);
        command.args(["-m", "patroni"]).arg(self.settings()).env("HOME", &self.directory).current_dir(&self.directory);
        command
    }

    /// The member of the distributed store in which Patroni keeps the leader lock.
    pub(super) fn store(&self, etcd: &Path, host: &Host, members: &[(String, Ipv4Addr)]) -> Command {
        let peer = |address: &Ipv4Addr| format!("http://{address}:{STORE_PEER_PORT}");
        let client = format!("http://{}:{STORE_CLIENT_PORT}", host.address);
        let all: Vec<String> = members.iter().map(|(name, address)| format!("{name}={}", peer(address))).collect();
        let mut command = as_database_user(etcd);
        command
            .args(["--name", &host.name, "--initial-cluster", &all.join(","), "--initial-cluster-token", SCOPE])
            .arg("--data-dir")
            .arg(self.directory.join("etcd"))
            .args(["--listen-peer-urls", &peer(&host.address), "--initial-advertise-peer-urls", &peer(&host.address)])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            // A heartbeat is longer than the longest round trip, an election ten heartbeats, as etcd advises.
            .args(["--heartbeat-interval", "100", "--election-timeout", "1000"])
            // The lab's crashes are killed processes: what was written is in the page cache, and no disk is waited for.
            .args(["--unsafe-no-fsync", "--log-level", "warn"])
            .args(["--auto-compaction-mode", "periodic", "--auto-compaction-retention", "10m"])
            .env("GOMAXPROCS", "1")
            .current_dir(&self.directory);
        command
    }
}

/// A command as the database's user, in an environment with nothing of the caller's.
pub fn as_database_user(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups", "--"])
        .arg(program)
        .env_clear()
        .env("PATH", format!("{POSTGRES_BIN}:/usr/local/bin:/usr/bin:/bin"))
        // The lab has no name server, and Patroni looks its own address up at its start: give up after 1 s, not 10.
        .env("RES_OPTIONS", "timeout:1 attempts:1")
        .env("LANG", "C.UTF-8");
    command
}

/// Patroni's file. The failover settings are the fastest that Patroni takes: it raises a smaller ttl to 20.
fn settings(host: &Host, cluster: &Cluster, stores: &[Ipv4Addr], directory: &Path) -> String {
    let Cluster { scope, synchronous, lag_bytes, .. } = cluster;
    let Host { name, site, address, .. } = host;
    // The own data centre's store first.
    let mut stores = stores.to_vec();
    stores.sort_by_key(|store| store != address);
    let stores: Vec<String> = stores.iter().map(|store| format!("{store}:{STORE_CLIENT_PORT}")).collect();
    let (stores, directory) = (stores.join(", "), directory.display());
    format!(
        "\
scope: {scope}
name: {name}
tags: {{dc: {site}}}
restapi:
  listen: {address}:{BEHIND_PORT}
  connect_address: {address}:{REST_PORT}
etcd3:
  hosts: [{stores}]
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 3
    maximum_lag_on_failover: {lag_bytes}
    synchronous_mode: {synchronous}
    postgresql:
      use_pg_rewind: true
      use_slots: true
      parameters:
        wal_log_hints: 'on'
        max_connections: 250
        max_wal_senders: 10
        max_replication_slots: 10
  initdb:
    - encoding: UTF8
    - locale: C
    - auth: scram-sha-256
  post_bootstrap: sh {directory}/first.sh
postgresql:
  listen: {address}:{POSTGRES_PORT}
  connect_address: {address}:{POSTGRES_PORT}
  bin_dir: {POSTGRES_BIN}
  data_dir: {directory}/data
  pgpass: {directory}/pgpass
  use_unix_socket: true
  basebackup:
    - checkpoint: fast
    - no-sync
  authentication:
    superuser: {{username: postgres, password: postgres}}
    replication: {{username: replicator, password: replicator}}
  pg_hba:
    - local all all trust
    - host replication replicator 10.77.0.0/16 scram-sha-256
    # In clear text: SCRAM takes a client that was built without optimization 0.2 s of its processor.
    - host all all 10.77.0.0/16 password
    - host all all 10.244.0.0/16 password
  parameters:
    unix_socket_directories: {directory}/socket
    shared_buffers: 32MB
    # The lab's crashes are killed processes: what was written is in the page cache, and no disk is waited for.
    fsync: 'off'
    # Over a cut link a dead peer is noticed in seconds.
    wal_sender_timeout: 5s
    wal_receiver_timeout: 5s
    tcp_keepalives_idle: 2
    tcp_keepalives_interval: 1
    tcp_keepalives_count: 3
    tcp_user_timeout: 5s
    log_line_prefix: '%m [%p] %q%u@%d %h '
    # So that a client can say which member answered: SELECT current_setting('lab.member').
    lab.member: {name}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{self, Site};

    #[test]
    fn a_cluster_of_two_asks_three_votes_its_own_first() {
        let host = |name: &str, site: Site, address| Host { name: name.into(), site, address, netns: PathBuf::new() };
        let witness = host("witness", Site::ControlPlane, site::WITNESS);
        let address = site::kine_member_address;
        let members = [Site::Dc1, Site::Dc2].map(|site| host(&format!("kine{}", site.index()), site, address(site)));
        let stores = [address(Site::Dc1), address(Site::Dc2), site::WITNESS];
        for synchronous in [true, false] {
            let cluster = Cluster::of_kine(synchronous, witness.clone());
            let text = settings(&members[1], &cluster, &stores, Path::new("/state"));
            for line in [
                "scope: kine".to_owned(),
                "name: kine2".to_owned(),
                "  hosts: [10.77.2.4:2379, 10.77.1.4:2379, 10.77.0.30:2379]".to_owned(),
                format!("    synchronous_mode: {synchronous}"),
            ] {
                assert!(text.lines().any(|it| it == line), "{line}\n{text}");
            }
        }
    }
}
