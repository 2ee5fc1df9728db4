//! Months in seconds: a cluster in memory, a script of what happens to it, and the real [`evaluate`](crate::evaluate) in a loop.
//!
//! Time is virtual: it goes from one thing that is due to the next. The same script always comes to the same end. Scripts are text
//! (`docs/simulations/`), tests and documents at once; others are invented from a seed, and what breaks a law is shrunk to a small
//! script that still does.
//!
//! ```text
//! script ─→ cluster ─ watches, late → Tables → evaluate → Decided ─→ labels, status, evictions ─→ cluster
//!                │                                                        │
//!                └────────────────────── laws, expectations ──────────────┘
//! ```

mod chance;
mod cluster;
mod databases;
mod expect;
mod grid;
mod invent;
mod laws;
mod leader;
mod play;
mod report;
mod script;
mod shrink;
#[cfg(test)]
mod tests;
mod watches;
mod world;

pub use self::{
    grid::{HEAD, Row, grid},
    invent::invent,
    play::play,
    report::{Broken, Report},
    script::{Script, ScriptError, SettingError},
    shrink::shrink,
};
