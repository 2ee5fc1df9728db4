//! switchover keeps pods close to the primary of the database that they use.
//!
//! ```text
//! probe → Window → Summary → NodeLatency ──┐
//! discover → PrimaryView ──────────────────┴→ TierMap ─┬→ affinity patch → admission answer
//!                               Snapshot ──────────────┴→ Plan {moves, held} → effect → Outcome → metrics, Event, status
//! ```
//!
//! Modules in reading order. Dependencies point one way: roles → {index, api} → core.
#![forbid(unsafe_code)]

pub mod core;

pub mod api;
pub mod cluster;
pub mod evaluate;
pub mod foresight;
pub mod index;

pub mod credentials;
pub mod discover;

pub mod admission;
pub mod certificates;
pub mod serve;
pub mod tls;
pub mod webhook;

pub mod controller;
pub mod simulate;

pub mod agent;

pub mod witness;

pub mod cli;
pub mod commands;
pub mod metrics;
pub mod process;

#[cfg(test)]
mod documented;
