//! `make bench`: the whole webhook over TLS beside a floor and a peer, in one run on one machine.
//!
//! Three kinds of processes: this one starts the others and compares; a server (ours, the floor, or the peer in Go) on
//! the first CPU; and the load generator on the second. Servers that are compared run all the time and are loaded in
//! turn, so that a drift of the machine hits both.

mod allocations;
mod compare;
mod floor;
mod frames;
mod load;
mod ours;
mod peer;
mod process;
mod report;
mod reviews;

use clap::{Parser, Subcommand};

use self::{load::LoadArgs, process::ServeArgs};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

#[derive(Parser)]
struct Args {
    /// What `cargo bench` says; without it (and without a command) nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    /// A short run with few rounds, to see whether everything works.
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve admission until standard input ends.
    Serve(ServeArgs),
    /// Load a server and print what was measured, as JSON.
    Load(LoadArgs),
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    switchover::tls::install_provider();
    match args.command {
        Some(Command::Serve(args)) => process::serve(&args),
        Some(Command::Load(args)) => {
            println!("{}", serde_json::to_string(&load::run(&args)?)?);
            Ok(())
        }
        None if args.bench => compare::run(args.quick),
        None => {
            println!("make bench measures");
            Ok(())
        }
    }
}
