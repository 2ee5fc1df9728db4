//! What people run and what ends by itself: one file for each command.

pub mod bundle;
pub mod certs;
pub mod check;
pub mod crds;
pub mod explain;
pub mod history;
mod kinds;
mod lines;
mod look;
pub mod move_now;
pub mod pause;
pub mod plan;
pub mod policies;
mod progress;
pub mod record;
pub mod replay;
pub mod report;
pub mod resume;
pub mod simulate;
pub mod snapshot;
pub mod status;
mod target;
pub mod ui;
pub mod uninstall;
mod watch_status;
pub mod weakness;
