//! Ctrl-C.

use std::{path::PathBuf, thread};

use anyhow::Result;
use lab::Lab;
use tokio::signal::unix::{SignalKind, signal};

/// The exit status of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// Returns on SIGINT or SIGTERM.
pub(super) fn wait() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}

/// Leaves nothing behind when a lab that is on its way up is interrupted.
pub(super) fn clean_up_on_interrupt(state: PathBuf) -> Result<()> {
    thread::Builder::new().name("interrupt".into()).spawn(move || {
        if wait().is_ok() {
            eprintln!("interrupted: ending the lab");
            if let Err(error) = Lab::down(&state) {
                eprintln!("lab: {error:#}");
            }
            std::process::exit(INTERRUPTED);
        }
    })?;
    Ok(())
}
