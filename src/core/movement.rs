//! What moves when the primary has gone elsewhere. The workloads are counted ([`workloads`]), each pod's new node is foreseen
//! ([`fit`]), the next moves are planned ([`plan`]) and written down ([`journal`]); what is not moved says why ([`held`]). What all
//! databases have on the move is in one [`ledger`], how many that may be finds the [`window`] out, and the [`breaker`] stops what
//! fails. When nothing moves at all is decided by [`settle`] among others; [`restart`] and [`taint`] are two further ways to move.
//! What each is called is in [`ways`], and which one a pod goes is chosen by `choice`. When people let it move is in [`control`],
//! [`windows`] (of time) and [`limits`].

pub mod breaker;
mod choice;
pub mod control;
pub mod fit;
pub mod held;
pub mod journal;
pub mod ledger;
pub mod limits;
pub mod plan;
pub mod replacement;
pub mod restart;
pub mod settle;
pub mod taint;
pub mod ways;
pub mod window;
pub mod windows;
pub mod workloads;
