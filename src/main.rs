//! Dispatch only: what was typed goes to the role or tool that does it.
#![forbid(unsafe_code)]

use std::{io::Write, process::ExitCode};

use clap::Parser;
use switchover::{
    agent, api,
    cli::{Args, Command, Manifest},
    cluster, controller, decide, explain,
    process::{self, Failure, Threads, until_terminated},
    record, replay, status, uninstall, webhook, witness,
};

fn main() -> ExitCode {
    let args = Args::parse();
    let threads = match args.command {
        Command::Agent(_) | Command::Witness(_) => Threads::One,
        _ => Threads::Many,
    };
    // An agent runs on every node, and in a program of its own it takes less memory.
    let alone = matches!(args.command, Command::Agent(_)).then(|| process::go_on_as(agent::PROGRAM));
    process::run(&args.log, threads, async {
        if let Some(error) = alone {
            tracing::info!(
                error = &error as &dyn std::error::Error,
                "{} can't be run: the agent takes more memory",
                agent::PROGRAM
            );
        }
        dispatch(args.command).await
    })
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
            controller::run(args.config(), cluster::attentive_client().await?, until_terminated()?).await?;
        }
        Command::Webhook(args) => {
            webhook::run(args.config(), cluster::attentive_client().await?, until_terminated()?).await?
        }
        Command::Witness(args) => witness::run(args.config()?, until_terminated()?).await?,
        Command::Agent(args) => agent::run(args.config(), cluster::client(None).await?, until_terminated()?).await?,
    }
    Ok(())
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
