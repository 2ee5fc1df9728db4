//! What every program of this crate does around its role: the log, the runtime, signals, and a line for what ended it.

mod level;
mod log;

use std::{
    env,
    error::Error,
    future::Future,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, ExitCode},
    time::Instant,
};

use clap::{Args as ClapArgs, ValueEnum};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::level::Level;
use crate::{cluster::plainly, core::moment::Moment, tls};

/// Whatever ends a process, told in one line.
pub type Failure = Box<dyn Error + Send + Sync>;

/// What a tool found out, for scripts: it has told it already, and ends with this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("exit status {0}")]
pub struct Verdict(pub u8);

/// Which threads a role runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// For roles with little to do: one thread costs less than a pool.
    One,
    /// One for each CPU.
    Many,
}

/// How the process logs.
#[derive(Debug, Clone, ClapArgs)]
pub struct LogArgs {
    /// Log lines for people or for machines
    #[arg(long, env = "SWITCHOVER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,

    /// What to log, as tracing filters: a level, or module=level, separated by commas
    #[arg(long, env = "SWITCHOVER_LOG", default_value = "info", global = true)]
    pub log: String,

    /// A file that says what to log, in the same words: looked at every two seconds, and it counts in place of --log while it is there
    #[arg(long, env = "SWITCHOVER_LOG_FROM", value_name = "FILE", global = true)]
    pub log_from: Option<PathBuf>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Runs a role, or a tool, until it ends. What ended it goes to stderr.
pub fn run(args: &LogArgs, threads: Threads, role: impl Future<Output = Result<(), Failure>>) -> ExitCode {
    let ended = start(args, threads, role);
    log::flush();
    let Err(failure) = ended else { return ExitCode::SUCCESS };
    if let Some(Verdict(code)) = failure.downcast_ref() {
        return ExitCode::from(*code);
    }
    let _ = writeln!(io::stderr(), "switchover: {}", in_one_line(&*failure));
    ExitCode::FAILURE
}

/// The error and its causes, each said once.
fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let of_kube =
            cause.downcast_ref::<kube::Error>().or_else(|| cause.downcast_ref::<Box<kube::Error>>().map(|it| &**it));
        let told = of_kube.map_or_else(|| cause.to_string(), plainly);
        if !line.contains(&told) {
            line.push_str(&format!(": {told}"));
        }
        // Below it lies the rest of the answer, in Rust's words.
        next = if matches!(of_kube, Some(kube::Error::Api(_))) { None } else { cause.source() };
    }
    line
}

fn start(log: &LogArgs, threads: Threads, role: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let level = open_log(log)?;
    tls::install_provider();
    let mut runtime = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Many => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(async {
        // It ends with the runtime.
        if let (Some(file), Some(level)) = (log.log_from.clone(), level) {
            tokio::spawn(level.follow(file));
        }
        role.await
    })
}

/// What the log's level is changed by, if it may change.
fn open_log(args: &LogArgs) -> Result<Option<Level>, Failure> {
    let filter = level::read(&args.log).map_err(|error| format!("--log: {error}"))?;
    let lines = log::Lines::to(io::stderr());
    *log::OPEN.lock() = Some(lines.clone());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_target(false);
    // What may change is looked up behind a lock.
    match (args.log_format, args.log_from.is_some()) {
        (LogFormat::Text, false) => builder.with_ansi(false).init(),
        (LogFormat::Json, false) => builder.json().flatten_event(true).init(),
        (LogFormat::Text, true) => {
            let builder = builder.with_ansi(false).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            return Ok(Some(Level::new(&args.log, move |filter| handle.reload(filter).is_ok())));
        }
        (LogFormat::Json, true) => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            builder.init();
            return Ok(Some(Level::new(&args.log, move |filter| handle.reload(filter).is_ok())));
        }
    }
    Ok(None)
}

/// Now, by both clocks.
#[must_use]
pub fn now() -> Moment {
    Moment { instant: Instant::now(), wall: Timestamp::now() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("can't read {what}")]
    struct Read {
        what: &'static str,
        source: Box<kube::Error>,
    }

    #[test]
    fn what_the_api_server_says_is_told_without_the_rest_of_its_answer() {
        let status = |code, message: &str| {
            let status = kube::core::Status { code, message: message.into(), ..kube::core::Status::default() };
            Box::new(kube::Error::Api(Box::new(status)))
        };
        let missing = Read { what: "the pod web-1", source: status(404, "pods \"web-1\" not found") };
        assert_eq!(in_one_line(&missing), "can't read the pod web-1: pods \"web-1\" not found");
        let nothing = Read { what: "the DatabaseClusters", source: status(404, "404 page not found: Failed to parse") };
        assert_eq!(
            in_one_line(&nothing),
            "can't read the DatabaseClusters: the API server knows nothing of that kind: is switchover installed \
             (deploy/base/crds.yaml)?"
        );
    }
}
