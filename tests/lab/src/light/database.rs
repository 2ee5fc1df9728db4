//! A PostgreSQL alone, on loopback, for a light bed whose Kubernetes keeps its state there by Kine. Needs root, to become the database's user.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    patroni::{POSTGRES_BIN, as_database_user},
    process::{Place, Process},
};

const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running server with a database for Kine. Dropping it ends it and removes its data.
#[derive(Debug)]
pub(super) struct Database {
    directory: PathBuf,
    port: u16,
    process: Process,
}

impl Database {
    pub(super) fn start(port: u16) -> Result<Database> {
        // PostgreSQL's own user makes it, and can read every directory above it.
        let directory = std::env::temp_dir().join(format!("switchover-kine-{}-{port}", std::process::id()));
        run(as_database_user(Path::new("mkdir")).arg("-m700").arg(&directory))?;
        let data = directory.join("data");
        run(tool("initdb")
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "-U", "postgres", "-A", "trust", "-D"])
            .arg(&data))?;
        let mut command = Command::new("setpriv");
        // The kernel forgets whom a program ends with when its user changes.
        command.args(["--pdeathsig", "KILL", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]);
        command.arg(Path::new(POSTGRES_BIN).join("postgres")).arg("-D").arg(&data).current_dir("/");
        // As etcd of a bed is run: what was written is in the page cache, and nobody keeps a test bed over a power cut.
        for setting in ["fsync=off".to_owned(), "max_connections=250".to_owned(), format!("port={port}")] {
            command.args(["-c", &setting]);
        }
        command.args(["-c", &format!("unix_socket_directories={}", directory.display()), "-h", "127.0.0.1"]);
        // Its user may not write where the bed's logs are; the file is opened before it becomes that user.
        let log = std::env::temp_dir().join(format!("switchover-kine-{}-{port}.log", std::process::id()));
        let place = Place { die_with_thread: true, ..Place::default() };
        let process = Process::start("PostgreSQL", command, &log, &place)?;
        let mut database = Database { directory, port, process };
        let deadline = Instant::now() + READY_WITHIN;
        while database.sql("postgres", "SELECT 1").is_err() {
            database.process.check()?;
            ensure!(Instant::now() < deadline, "PostgreSQL takes no connections after {} s", READY_WITHIN.as_secs());
            thread::sleep(Duration::from_millis(100));
        }
        let _ = fs::remove_file(log);
        database.sql("postgres", "CREATE ROLE kine LOGIN")?;
        database.sql("postgres", "CREATE DATABASE kine OWNER kine")?;
        Ok(database)
    }

    /// `--endpoint` of Kine.
    pub(super) fn endpoint(&self) -> String {
        format!("postgres://kine@127.0.0.1:{}/kine?sslmode=disable", self.port)
    }

    fn sql(&self, database: &str, statement: &str) -> Result<()> {
        let (directory, port) = (self.directory.display().to_string(), self.port.to_string());
        run(tool("psql").args(["-h", &directory, "-p", &port, "-U", "postgres", "-d", database, "-c", statement]))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// One of PostgreSQL's programs, as its user.
fn tool(name: &str) -> Command {
    as_database_user(&Path::new(POSTGRES_BIN).join(name))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.current_dir("/").output().with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
