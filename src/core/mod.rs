//! The decisions, and nothing else: functions of facts and `now`. No async, no client, no clock, no randomness,
//! no logging; whoever calls them does the reading before and the acting after.
//!
//! In reading order: who is primary ([`primary`]), how far each node is from it ([`rtt`], [`doubt`], [`tier`]) and what
//! others did to its label ([`overwrite`]), what a pod asks for ([`follow`]), what admission injects ([`affinity`]), what
//! the movement does ([`workload`], [`fit`], [`plan`], [`restart`]), and when the webhook's certificates are renewed
//! ([`rotation`]). [`moment`] is the word for `now`.

pub mod doubt;
pub mod keys;
pub mod moment;
pub mod overwrite;
pub mod primary;
pub mod rtt;
pub mod tier;

pub mod follow;

pub mod affinity;
pub mod backoff;

pub mod census;
pub mod fit;
pub mod held;
pub mod journal;
pub mod plan;
pub mod restart;
pub mod rotation;
pub mod selector;
pub mod settle;
pub mod taint;
#[cfg(test)]
pub(crate) mod testing;
pub mod words;
pub mod workload;
