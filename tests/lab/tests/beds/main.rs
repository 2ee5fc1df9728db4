//! Parts of the lab without Kubernetes, for real: the emulated WAN, and Patroni with a service and its load over it.
//!
//! They need root, iproute2, ping and PostgreSQL, and some minutes:
//! `cargo test -p switchover-lab --test beds -- --ignored --nocapture --test-threads 1`

mod database;
mod isolation;
mod wan;
