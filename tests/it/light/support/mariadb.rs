//! Real MariaDB servers of Debian's, each on a loopback address, with TLS. They end with the value.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use lab::{
    pki::{Authority, Identity, write_private},
    prepare::prepare_packages,
    process::{Place, Process},
    tools::{Cache, MARIADB_PACKAGES},
};

use super::{postgres::run, until};

const PORT: u16 = 13_306;
/// Whom the product connects as: somebody without rights, who shows a certificate besides.
pub(crate) const USER: &str = "switchover";
pub(crate) const PASSWORD: &str = "a password";
/// The only name in the servers' certificate.
pub(crate) const NAME: &str = "db.example.com";

/// Servers that know nothing of each other: who takes writes is all that is looked at.
#[derive(Debug)]
pub(crate) struct MariaDb {
    directory: PathBuf,
    programs: PathBuf,
    authority: String,
    identity: Identity,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Server {
    pub host: &'static str,
    /// With the data, the socket and the log.
    directory: PathBuf,
    programs: PathBuf,
    process: Option<Process>,
}

impl MariaDb {
    pub(crate) const PORT: u16 = PORT;

    pub(crate) fn new(authority: &Authority) -> Result<Self> {
        let cache = Cache::from_environment()?;
        let programs = prepare_packages(&cache, &MARIADB_PACKAGES, &|step| println!("{step}"))?;
        let directory = std::env::temp_dir().join(format!("switchover-mariadb-{}", std::process::id()));
        fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let identity = authority.issue("mariadb", None, &[NAME])?;
        Ok(Self { directory, programs, authority: authority.certificate(), identity })
    }

    /// A server with the product's user, which takes writes.
    pub(crate) async fn server(&self, host: &'static str) -> Result<Server> {
        let directory = self.directory.join(host);
        fs::create_dir(&directory)?;
        for (file, text) in
            [("ca.crt", &self.authority), ("tls.crt", &self.identity.certificate), ("tls.key", &self.identity.key)]
        {
            write_private(&directory.join(file), text)?;
        }
        let mut server = Server { host, directory, programs: self.programs.clone(), process: None };
        let mut install = server.program("bin/mariadb-install-db");
        install.arg(format!("--datadir={}", server.data().display()));
        install.args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]);
        run(&mut install)?;
        server.start().await?;
        server.execute(&format!("CREATE USER {USER} IDENTIFIED BY '{PASSWORD}' REQUIRE X509"))?;
        Ok(server)
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    /// Starts it. It takes writes, whatever it did when it ended.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let mut command = self.program("sbin/mariadbd");
        command.current_dir(&self.directory).arg(format!("--datadir={}", self.data().display()));
        command.args([format!("--bind-address={}", self.host), format!("--port={PORT}")]);
        command.args(["--user=root", "--socket=socket", "--pid-file=pid", "--skip-name-resolve"]);
        command.args(["--innodb-buffer-pool-size=8M", "--innodb-flush-log-at-trx-commit=0"]);
        for (option, file) in [("ca", "ca.crt"), ("cert", "tls.crt"), ("key", "tls.key")] {
            command.arg(format!("--ssl-{option}={}", self.directory.join(file).display()));
        }
        let place = Place { die_with_thread: true, ..Place::default() };
        self.process = Some(Process::start("mariadbd", command, &self.directory.join("log"), &place)?);
        until("MariaDB to take connections", async || {
            self.process.as_mut().context("it was started")?.check()?;
            Ok(self.client("SELECT 1").output()?.status.success().then_some(()))
        })
        .await
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::kill)
    }

    /// As whoever switches a database over does.
    pub(crate) fn set_read_only(&self, on: bool) -> Result<()> {
        self.execute(&format!("SET GLOBAL read_only = {}", u8::from(on)))
    }

    fn execute(&self, statement: &str) -> Result<()> {
        run(&mut self.client(statement))
    }

    fn client(&self, statement: &str) -> Command {
        let mut command = self.program("bin/mariadb");
        command.arg(format!("--socket={}", self.data().join("socket").display()));
        command.args(["--user=root", "--execute", statement]);
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// One of the programs, which reads no file of this machine.
    fn program(&self, name: &str) -> Command {
        let root = self.programs.join("usr");
        let mut command = Command::new(root.join(name));
        let libraries =
            |root: &Path| root.join(format!("lib/{}-linux-gnu", std::env::consts::ARCH)).display().to_string();
        command.env("LD_LIBRARY_PATH", [libraries(&root), libraries(&self.programs)].join(":"));
        command.arg("--no-defaults");
        if !name.ends_with("/mariadb") {
            command.arg(format!("--basedir={}", root.display()));
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
