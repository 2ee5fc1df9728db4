//! What `switchover agent` goes on as, with the same command line: the agent and nothing else. An agent runs on every
//! node, and the kernel maps what lies around each part of a program that is used; the fewer roles, the less memory.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use switchover::{
    agent,
    cli::AgentArgs,
    cluster,
    process::{self, Failure, LogArgs, Threads, until_terminated},
};

/// Keeps pods close to the PostgreSQL primary: the agent alone.
#[derive(Debug, Parser)]
#[command(name = "switchover", version, max_term_width = 110, disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node's agent: measures the distance to every database member
    Agent(AgentArgs),
}

fn main() -> ExitCode {
    let Args { command: Command::Agent(args), log } = Args::parse();
    process::run(&log, Threads::One, measure(args))
}

async fn measure(args: AgentArgs) -> Result<(), Failure> {
    Ok(agent::run(args.config(), cluster::client(None).await?, until_terminated()?).await?)
}
