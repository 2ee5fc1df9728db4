//! What every program of this crate does around its role: the log, the runtime, signals, and a line for what ended it.

use std::{
    env,
    error::Error,
    future::Future,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Command, ExitCode},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    cli::{LogArgs, LogFormat},
    tls,
};

/// Say of a request or a watch that failed nothing that isn't said elsewhere.
const QUIET: [&str; 2] = ["kube_client=off", "kube_runtime=off"];

/// Whatever ends a process, told in one line.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Which threads a role runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// For roles with little to do: one thread costs less than a pool.
    One,
    /// One for each CPU.
    Many,
}

/// Runs a role, or a tool, until it ends. What ended it goes to stderr.
pub fn run(log: &LogArgs, threads: Threads, role: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let Err(failure) = start(log, threads, role) else { return ExitCode::SUCCESS };
    let mut line = format!("switchover: {failure}");
    let mut source = failure.source();
    while let Some(cause) = source {
        if !line.contains(&cause.to_string()) {
            line.push_str(&format!(": {cause}"));
        }
        source = cause.source();
    }
    let _ = writeln!(io::stderr(), "{line}");
    ExitCode::FAILURE
}

fn start(log: &LogArgs, threads: Threads, role: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    open_log(log)?;
    tls::install_provider();
    let mut runtime = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Many => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(role)
}

fn open_log(args: &LogArgs) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|error| format!("--log: {error}: write a level such as info, or module=level"))?;
    // kube logs each request that fails, as an error; whoever made the request says what it means. Unless it was asked for.
    let filter = if args.log.contains("kube") {
        filter
    } else {
        QUIET.iter().try_fold(filter, |filter, quiet| Ok::<_, Failure>(filter.add_directive(quiet.parse()?)))?
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    match args.log_format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Cancelled by SIGTERM or SIGINT.
///
/// # Errors
/// The signals can't be caught.
pub fn until_terminated() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let shutdown = CancellationToken::new();
    let token = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down");
        token.cancel();
    });
    Ok(shutdown)
}

/// Goes on as another program that lies beside this one, with the same arguments, environment and process id. Returns
/// only if that is not possible: why.
#[must_use]
pub fn go_on_as(name: &str) -> io::Error {
    let beside = match env::current_exe() {
        Ok(this) => this.with_file_name(name),
        Err(error) => return error,
    };
    let mut arguments = env::args_os();
    let mut command = Command::new(beside);
    if let Some(typed) = arguments.next() {
        command.arg0(typed);
    }
    command.args(arguments).exec()
}
