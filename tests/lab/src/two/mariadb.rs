//! A plain MariaDB, a master in one data centre and a replica in the other, and a script that promotes. Nobody holds a leader lock, and nothing
//! starts a server again: what the product sees is who takes writes.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::{
    Lab,
    prepare::prepare_packages,
    site::Site,
    supervisor::enclosure::{CACHE, STATE},
    tools::{Cache, MARIADB_PACKAGES},
    wait,
};

const SCRIPT: &str = include_str!("../../manifests/promote.sh");

/// Both may log in from everywhere, and the product's user has no rights at all. Each server has them of its own, not from the other.
const USERS: &str = "SET SESSION sql_log_bin = 0; CREATE USER admin IDENTIFIED BY 'admin'; GRANT ALL ON *.* TO admin; \
                     CREATE USER switchover IDENTIFIED BY 'switchover'";

/// What the service would write.
const ENTRY: &str = "CREATE DATABASE IF NOT EXISTS ledger; CREATE TABLE IF NOT EXISTS ledger.entries (id INT AUTO_INCREMENT PRIMARY KEY); \
                     INSERT INTO ledger.entries VALUES ()";

/// A server starts within seconds.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// Both servers. They end with the lab.
#[derive(Debug)]
pub(super) struct MariaDb<'a> {
    lab: &'a Lab,
    /// As seen inside.
    programs: std::path::PathBuf,
}

impl<'a> MariaDb<'a> {
    /// Starts both, db1 as the master.
    pub(super) fn start(lab: &'a Lab) -> Result<MariaDb<'a>> {
        let cache = Cache::from_environment()?;
        prepare_packages(&cache, &MARIADB_PACKAGES, &|step| println!("           {step}"))?;
        let programs = Cache { directory: CACHE.into() }.debian(&MARIADB_PACKAGES);
        let mariadb = MariaDb { lab, programs };
        std::fs::create_dir_all(lab.state().join("mariadb"))?;
        std::fs::write(lab.state().join("mariadb/promote.sh"), SCRIPT)?;
        for site in Site::TWO {
            lab.add_host(site, &host(site), address(site))?;
            std::fs::create_dir_all(lab.state().join("mariadb").join(host(site)))?;
            let install = "--auth-root-authentication-method=normal --skip-test-db --skip-name-resolve";
            let data = format!("--datadir={}/data", folder(site));
            mariadb
                .inside(site, &format!("exec mariadb-install-db --no-defaults --basedir=\"$ROOT\" {data} {install}"))?;
            mariadb.start_server(site, true)?;
            mariadb.sql(site, USERS)?;
        }
        mariadb.promote(Site::Dc1)?;
        Ok(mariadb)
    }

    /// As its configuration says: replicas are read-only, and so is whoever starts again. Or by mistake it is not.
    pub(super) fn start_server(&self, site: Site, read_only: bool) -> Result<()> {
        let folder = folder(site);
        let options = format!(
            "--datadir={folder}/data --socket={folder}/socket --pid-file={folder}/pid --port=3306 --bind-address={} --server-id={} \
             --read-only={} --log-bin=binlog --log-slave-updates --skip-name-resolve --user=root --innodb-buffer-pool-size=8M \
             --innodb-flush-log-at-trx-commit=0",
            address(site),
            site.index(),
            u8::from(read_only)
        );
        let script = format!("mariadbd --no-defaults --basedir=\"$ROOT\" {options} >{folder}/log 2>&1 </dev/null &");
        self.inside(site, &script).map(drop)?;
        wait::retry(STARTED_WITHIN, || self.sql(site, "SELECT 1").map(drop))
    }

    /// Writes an entry.
    pub(super) fn write(&self, site: Site) -> Result<()> {
        self.sql(site, ENTRY).map(drop)
    }

    /// How many entries a server has.
    pub(super) fn entries(&self, site: Site) -> Result<usize> {
        Ok(self.sql(site, "SELECT count(*) FROM ledger.entries")?.trim().parse()?)
    }

    /// SIGKILL.
    pub(super) fn kill(&self, site: Site) -> Result<()> {
        self.inside(site, &format!("kill -9 $(cat {}/pid)", folder(site))).map(drop)
    }

    /// The script, as whoever is on call runs it.
    pub(super) fn promote(&self, site: Site) -> Result<()> {
        let (new, old) = (address(site), address(site.other_of_two()));
        self.inside(site, &format!("exec sh {STATE}/mariadb/promote.sh {new} {old}")).map(drop)
    }

    fn sql(&self, site: Site, statement: &str) -> Result<String> {
        let options = format!("--socket={}/socket --user=root --batch --skip-column-names", folder(site));
        self.inside(site, &format!("exec mariadb --no-defaults {options} --execute=\"{statement}\""))
    }

    /// Runs a shell script on a server's host, with MariaDB's programs at hand; what it printed.
    fn inside(&self, site: Site, script: &str) -> Result<String> {
        let root = self.programs.join("usr");
        let libraries =
            |root: &Path| root.join(format!("lib/{}-linux-gnu", std::env::consts::ARCH)).display().to_string();
        let mut command = self.lab.command(&host(site), "sh")?;
        let path = "export ROOT LD_LIBRARY_PATH; PATH=$ROOT/bin:$ROOT/sbin:$PATH";
        let environment = format!(
            "ROOT={}; LD_LIBRARY_PATH={}:{}; {path}",
            root.display(),
            libraries(&root),
            libraries(&self.programs)
        );
        let output = command
            .args(["-c", &format!("{environment}\n{script}")])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run anything on {}", host(site)))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{script}: {}", said.trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The host of the server of a data centre, and its folder.
fn host(site: Site) -> String {
    format!("db{}", site.index())
}

fn address(site: Site) -> std::net::Ipv4Addr {
    site.host(8)
}

/// As seen inside.
fn folder(site: Site) -> String {
    format!("{STATE}/mariadb/{}", host(site))
}
