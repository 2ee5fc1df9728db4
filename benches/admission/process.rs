//! Servers as processes of their own, each on the first CPU, and what the kernel says of them.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use lab::measured::Usage;
use switchover::tls::{self, CertificateFiles};

use crate::{allocations, floor, load::Measured, ours};

const SERVER_CPU: &str = "0";
const GENERATOR_CPU: &str = "1";

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Ours,
    Floor,
}

#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    #[arg(value_enum)]
    what: What,
    /// Directory with tls.crt and tls.key.
    #[arg(long)]
    certificates: PathBuf,
    #[arg(long, default_value_t = 10)]
    namespaces: usize,
    #[arg(long, default_value_t = 1)]
    databases: usize,
    /// Count allocations; each line on standard input is answered with the count.
    #[arg(long)]
    count: bool,
}

/// Serves until standard input ends, in the runtime and with the log that the product's `main` sets up.
pub(crate) fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // Without a subscriber every span of h2 would be offered to the `log` crate.
    tracing_subscriber::fmt().with_env_filter("info").with_writer(std::io::stderr).with_target(false).init();
    let files = CertificateFiles::new(args.certificates.join("tls.crt"), args.certificates.join("tls.key"));
    let tls = tls::server_config(Arc::new(files), None, tls::HttpVersions::OneAndTwo)?;
    let address = runtime.block_on(async {
        match args.what {
            What::Ours => ours::serve(tls, ours::view(args.namespaces, args.databases)).await,
            What::Floor => floor::serve(tls).await,
        }
    })?;
    println!("{address}");
    if args.count {
        allocations::begin();
    }
    for _ in std::io::stdin().lines() {
        println!("{}", allocations::count());
    }
    Ok(())
}

/// A running server. Dropping it ends the process.
pub(crate) struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Server {
    /// This program as a server.
    pub(crate) fn start(what: What, certificates: &Path, more: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CPU]).arg(std::env::current_exe()?).arg("serve");
        command.arg(what.to_possible_value().context("a name")?.get_name());
        command.arg("--certificates").arg(certificates).args(more);
        let mut server = Self::spawn(&mut command, SocketAddr::from(([127, 0, 0, 1], 0)))?;
        server.address = server.line()?.parse()?;
        Ok(server)
    }

    /// Another program, which is told a port.
    pub(crate) fn start_other(program: &Path, certificates: &Path) -> anyhow::Result<Self> {
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CPU]).arg(program);
        command.arg("-certificates").arg(certificates).args(["-port", &address.port().to_string()]);
        let mut server = Self::spawn(command.stderr(Stdio::null()), address)?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            ensure!(Instant::now() < deadline, "{} does not listen after 20 s", program.display());
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended: {status}", program.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn spawn(command: &mut Command, address: SocketAddr) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}: install util-linux for taskset"))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, stdin, stdout, address })
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    pub(crate) fn allocations(&mut self) -> anyhow::Result<u64> {
        self.stdin.as_mut().context("standard input is closed")?.write_all(b"\n")?;
        Ok(self.line()?.parse()?)
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        Ok(Usage::of(self.child.id())?.resident_bytes)
    }

    /// One round of load from the other CPU.
    pub(crate) fn load(&self, files: &Files, reviews: &Path, round: Round) -> anyhow::Result<Measured> {
        let mut command = Command::new("taskset");
        command.args(["-c", GENERATOR_CPU]).arg(std::env::current_exe()?).arg("load");
        command.args(["--address", &self.address.to_string(), "--pid", &self.child.id().to_string()]);
        command.arg("--authority").arg(&files.authority).arg("--reviews").arg(reviews);
        command.args(["--warm-up-ms", &round.warm_up_ms.to_string(), "--measure-ms", &round.measure_ms.to_string()]);
        if let Some(rate) = round.rate {
            command.args(["--rate", &rate.to_string()]);
        }
        let output = command.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "the load generator failed: {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How one round loads.
#[derive(Clone, Copy)]
pub(crate) struct Round {
    pub warm_up_ms: u64,
    pub measure_ms: u64,
    /// Requests a second; `None` as many as it can.
    pub rate: Option<f64>,
}

/// What every process of a run reads.
pub(crate) struct Files {
    pub certificates: PathBuf,
    pub authority: PathBuf,
}

/// User and system time of a process, in seconds (proc(5), fields 14 and 15).
pub(crate) fn cpu_s(pid: u32) -> anyhow::Result<f64> {
    /// `USER_HZ`, the same on every Linux that Rust runs on.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, which may hold spaces, ends with the last bracket.
    let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
    let mut ticks = fields.split_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (ticks.next().context("no utime")??, ticks.next().context("no stime")??);
    Ok((user + system) / TICKS_A_SECOND)
}
