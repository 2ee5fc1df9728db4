//! Dispatch only: what was typed goes to the role or tool that does it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use switchover::{
    agent,
    cli::{Args, Command},
    cluster,
    commands::{
        bundle, certs, check, complete, completion, crds, dashboards, explain, history, man, move_now, pause, plan,
        policies, record, replay, resume, simulate, snapshot, status, ui, uninstall,
    },
    controller,
    process::{self, Failure, Threads, until_terminated},
    webhook, witness,
};

fn main() -> ExitCode {
    complete::answer_shell();
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
        Command::Check(args) => check::run(&args).await??,
        Command::Plan(args) => plan::run(&args).await??,
        Command::Snapshot(args) => snapshot::run(&args).await?,
        Command::History(args) => history::run(&args).await?,
        Command::Ui(args) => ui::run(&args, until_terminated()?).await?,
        Command::Explain(args) => explain::run(&args).await?,
        Command::Report(args) => bundle::run(&args).await?,
        Command::Record(args) => record::run(&args, until_terminated()?).await?,
        Command::Replay(args) => replay::run(&args)?,
        Command::Simulate(args) => simulate::run(&args)?,
        Command::Crds(args) => crds::run(&args)?,
        Command::Dashboards(args) => dashboards::run(&args)?,
        Command::Policies(args) => policies::run(&args).await?,
        Command::Certs(args) => certs::run(&args).await?,
        Command::Pause(args) => pause::run(&args).await?,
        Command::Move(args) => move_now::run(&args).await?,
        Command::Resume(args) => resume::run(&args).await?,
        Command::Uninstall(args) => uninstall::run(&args).await?,
        Command::Completion(args) => completion::run(&args)?,
        Command::Man(args) => man::run(&args)?,
        Command::Complete(args) => print!("{}", complete::for_kubectl(args.words)),
        Command::Controller(args) => {
            controller::run(args.config(), cluster::attentive_client(None).await?, until_terminated()?).await?;
        }
        Command::Webhook(args) => {
            webhook::run(args.config(), cluster::attentive_client(None).await?, until_terminated()?).await?
        }
        Command::Witness(args) => witness::run(args.config()?, until_terminated()?).await?,
        Command::Agent(args) => agent::run(args.config(), cluster::client(None).await?, until_terminated()?).await?,
    }
    Ok(())
}
