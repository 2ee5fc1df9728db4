//! The decisions, and nothing else: functions of facts and `now`. No async, no client, no clock, no randomness,
//! no logging; whoever calls them does the reading before and the acting after.
//!
//! In reading order: who is primary ([`primary`]), who is to be ([`announcement`]), how far each node is from it ([`distance`]), what a pod asks for
//! ([`follow`], [`orders`], [`schedulers`]), what admission injects ([`affinity`]), what the movement does ([`workload`], [`movement`]), what a workload
//! isn't ready for ([`weakness`]), who leads
//! ([`lease`]), and when the webhook's certificates are renewed ([`rotation`]). [`moment`], [`words`], [`keys`], [`label_key`],
//! [`selector`], [`taints`], [`images`], [`map`], [`hash`], [`shared`] and [`backoff`] serve them all.

pub mod announcement;
pub mod hosts;
pub mod primary;

pub mod distance;

pub mod affinity;
pub mod follow;
pub mod orders;
pub mod schedulers;

pub mod movement;
pub mod weakness;
pub mod workload;

pub mod lease;
pub mod rotation;

pub mod backoff;
pub mod hash;
pub mod images;
pub mod keys;
pub mod label_key;
pub mod map;
pub mod moment;
pub mod placement;
pub mod quota;
pub mod selector;
pub mod shared;
pub mod taints;
#[cfg(test)]
pub(crate) mod testing;
pub mod words;
