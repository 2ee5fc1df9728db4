//! `switchover dashboards`: what Grafana shows of the metrics. `deploy/dashboards` holds what this prints.
//!
//! Dashboards are written here and nowhere else: one that is exported from somebody's Grafana bears his data source, and the next change
//! of a metric's name goes past it.

mod admission;
mod board;
mod failover;
mod nodes;
mod overview;
mod panels;

use std::io::{self, Write};

use self::board::Board;
use crate::{cli::DashboardsArgs, process::Failure};

/// Prints one of them, or the names of all.
///
/// # Errors
/// There is none of that name, or nobody takes what is printed.
pub fn run(args: &DashboardsArgs) -> Result<(), Failure> {
    let boards = boards();
    let mut out = io::stdout().lock();
    match &args.name {
        None => boards.iter().try_for_each(|board| writeln!(out, "{}", board.name))?,
        Some(name) => {
            let names: Vec<&str> = boards.iter().map(|board| board.name).collect();
            let board = boards.iter().find(|board| board.name == name);
            let board =
                board.ok_or_else(|| format!("there is no dashboard {name}: write one of {}", names.join(", ")))?;
            out.write_all(text(board)?.as_bytes())?;
        }
    }
    Ok(())
}

fn boards() -> [Board; 4] {
    [overview::board(), failover::board(), nodes::board(), admission::board()]
}

fn text(board: &Board) -> Result<String, serde_json::Error> {
    Ok(serde_json::to_string_pretty(&board.json())? + "\n")
}

#[cfg(test)]
mod tests;
