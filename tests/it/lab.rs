//! Real nodes, a real Patroni and an emulated WAN; the product as its users install it, as containers.
//!
//! One lab for the whole run, and one scene at a time: each begins with the primary in pg1 and the demo service beside
//! it. Needs root, `lab prepare` and the images: `make test-lab` sees to all of them.

mod alerts;
mod distance;
mod faults;
mod getting_started;
mod marathon;
mod movement;
mod names;
mod outages;
mod primary;
mod rest;
mod stage;
mod two;

use lab::install::Product;

/// With the tools that the tests were built with: the shipped ones may not have been built at all.
fn product() -> Product {
    Product { program: env!("CARGO_BIN_EXE_switchover").into(), ..Product::of_workspace() }
}
