//! A real PostgreSQL server of Debian's, on a loopback address, with TLS. It ends with the value.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use lab::{
    patroni::{POSTGRES_BIN, as_database_user, prepare_postgres},
    pki::Authority,
    process::{Place, Process},
};

use super::until;

const PORT: u16 = 15_432;
/// Whom the product connects as. A role with nothing but LOGIN.
pub(crate) const USER: &str = "switchover";
pub(crate) const PASSWORD: &str = "a password";

/// Servers that follow each other.
#[derive(Debug)]
pub(crate) struct Postgres {
    directory: PathBuf,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Server {
    pub host: &'static str,
    /// Of its data, in one of its own with the socket and the log.
    data: PathBuf,
    process: Option<Process>,
}

impl Postgres {
    pub(crate) const PORT: u16 = PORT;

    pub(crate) fn new() -> Result<Self> {
        prepare_postgres(&|step| println!("{step}"))?;
        let directory = std::env::temp_dir().join(format!("switchover-sql-{}", std::process::id()));
        // PostgreSQL's own user makes it, and can read every directory above it.
        run(as_database_user(Path::new("mkdir")).arg("-m700").arg(&directory))?;
        Ok(Self { directory })
    }

    /// A primary with the product's user.
    pub(crate) async fn primary(&self, host: &'static str, authority: &Authority) -> Result<Server> {
        let mut server = self.server(host)?;
        run(tool("initdb").arg("--no-sync").args(["-U", "postgres", "-A", "trust", "-D"]).arg(&server.data))?;
        let identity = authority.issue("postgres", None, &["127.0.0.1", "127.0.0.2"])?;
        let settings = format!(
            "fsync = off\nport = {PORT}\nunix_socket_directories = '..'\nssl = on\nssl_cert_file = 'tls.crt'\n\
             ssl_key_file = 'tls.key'\nlog_min_messages = log\n"
        );
        server.write("postgresql.auto.conf", &settings)?;
        server.write(
            "pg_hba.conf",
            "local all all trust\nlocal replication all trust\nhostssl all all all scram-sha-256\n",
        )?;
        server.write("tls.crt", &identity.certificate)?;
        server.write("tls.key", &identity.key)?;
        server.start().await?;
        run(&mut server.psql(&format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")))?;
        Ok(server)
    }

    /// A standby of it.
    pub(crate) async fn standby(&self, host: &'static str, primary: &Server) -> Result<Server> {
        let mut server = self.server(host)?;
        let mut copy = tool("pg_basebackup");
        copy.args(["--no-sync", "-c", "fast", "-R", "-U", "postgres", "-p", &PORT.to_string(), "-h"]);
        run(copy.arg(primary.sockets()).arg("-D").arg(&server.data))?;
        server.start().await?;
        Ok(server)
    }

    fn server(&self, host: &'static str) -> Result<Server> {
        let directory = self.directory.join(host);
        run(as_database_user(Path::new("mkdir")).arg(&directory))?;
        Ok(Server { host, data: directory.join("data"), process: None })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    /// Starts it, as whatever it was when it ended.
    pub(crate) async fn start(&mut self) -> Result<()> {
        let mut command = Command::new("setpriv");
        // The kernel forgets whom a program ends with when its user changes.
        command.args(["--pdeathsig", "KILL", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]);
        command.arg(program("postgres")).arg("-D").arg(&self.data).args(["-h", self.host]);
        let log = self.data.with_file_name("log");
        let place = Place { die_with_thread: true, ..Place::default() };
        self.process = Some(Process::start("postgres", command, &log, &place)?);
        until("PostgreSQL to take connections", async || {
            self.process.as_mut().context("it was started")?.check()?;
            Ok(self.psql("SELECT 1").output()?.status.success().then_some(()))
        })
        .await
    }

    /// SIGKILL to the postmaster; the rest of it follows.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.as_mut().map_or(Ok(()), Process::kill)
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) -> Result<()> {
        run(tool("pg_ctl").args(["promote", "-D"]).arg(&self.data))
    }

    fn sockets(&self) -> &Path {
        self.data.parent().unwrap_or(&self.data)
    }

    fn psql(&self, statement: &str) -> Command {
        let mut command = tool("psql");
        command.arg("-h").arg(self.sockets()).args(["-p", &PORT.to_string(), "-U", "postgres", "-c", statement]);
        command
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        let mut command = as_database_user(Path::new("sh"));
        run(command.args(["-c", "umask 077; printf %s \"$1\" > \"$2\"", "sh", text]).arg(self.data.join(file)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn program(name: &str) -> PathBuf {
    Path::new(POSTGRES_BIN).join(name)
}

/// One of PostgreSQL's programs, as its user.
fn tool(name: &str) -> Command {
    as_database_user(&program(name))
}

pub(super) fn run(command: &mut Command) -> Result<()> {
    let output = command.current_dir("/").output().with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {said}");
    Ok(())
}
