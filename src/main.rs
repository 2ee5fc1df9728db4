//! Dispatch only: what was typed goes to the role or tool that does it.
#![forbid(unsafe_code)]

use std::{io::Write, process::ExitCode};

use clap::Parser;
use switchover::{
    agent, api,
    cli::{Args, Command, LogArgs, LogFormat, Manifest},
    cluster, controller, decide, explain, record, replay, status, tls, uninstall, webhook, witness,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Whatever ends the process, in one line.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let args = Args::parse();
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut line = format!("switchover: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                if !line.contains(&cause.to_string()) {
                    line.push_str(&format!(": {cause}"));
                }
                source = cause.source();
            }
            let _ = writeln!(std::io::stderr(), "{line}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<(), Failure> {
    log(&args.log)?;
    tls::install_provider();
    // Agents and witnesses have little to do, and agents run on every node; one thread costs less than a pool.
    let mut runtime = match args.command {
        Command::Agent(_) | Command::Witness(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(dispatch(args.command))
}

async fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Status(args) => status::run(&args).await?,
        Command::Explain(args) => explain::run(&args).await?,
        Command::Record(args) => record::run(&args, until_terminated()?).await?,
        Command::Replay(args) => replay::run(&args)?,
        Command::Crds(args) => print_definitions(args.output)?,
        Command::Certs(args) => cluster::certificates(&args).await?,
        Command::Pause(args) => decide::pause(&args).await?,
        Command::Resume(args) => decide::resume(&args).await?,
        Command::Uninstall(args) => uninstall::run(&args).await?,
        Command::Controller(args) => {
            controller::run(args.config(), cluster::client(None).await?, until_terminated()?).await?;
        }
        Command::Webhook(args) => {
            webhook::run(args.config(), cluster::client(None).await?, until_terminated()?).await?
        }
        Command::Witness(args) => witness::run(args.config()?, until_terminated()?).await?,
        Command::Agent(args) => agent::run(args.config(), cluster::client(None).await?, until_terminated()?).await?,
    }
    Ok(())
}

fn log(args: &LogArgs) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&args.log)
        .map_err(|error| format!("--log: {error}: write a level such as info, or module=level"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match args.log_format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Cancelled by SIGTERM or SIGINT.
fn until_terminated() -> Result<CancellationToken, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
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

fn print_definitions(output: Manifest) -> Result<(), Failure> {
    let definitions = api::custom_resource_definitions();
    let mut out = std::io::stdout().lock();
    match output {
        Manifest::Yaml => out.write_all(api::definitions_as_yaml()?.as_bytes())?,
        Manifest::Json => {
            let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": definitions });
            serde_json::to_writer_pretty(&mut out, &list)?;
            writeln!(out)?;
        }
    }
    Ok(())
}
