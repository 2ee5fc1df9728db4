//! What Kubernetes alone decides: a real control plane with fake nodes, one for the whole run.
//!
//! Each test is a scene with nodes, namespaces and a database of its own, so that they run side by side; those that
//! disturb everybody (`upheaval`) run alone, on further control planes. Scenes wait for a place themselves, so give them
//! as many threads as there are scenes (`--test-threads`): with few, those that wait keep others from beginning.

pub(crate) mod support;

mod admission;
mod alerts;
mod announced;
mod bundle;
mod certificates;
mod chart;
mod check;
mod clashes;
mod completion;
mod control;
mod corners;
mod credentials;
mod crosscheck;
mod decision;
mod elsewhere;
mod first;
mod foresight;
mod harm;
mod held;
mod input;
mod kinds;
mod labels;
mod limits;
pub(crate) mod manifests;
mod many;
mod mid_move;
mod movement;
mod operator;
mod page;
mod policies;
mod policy_admission;
mod programs;
mod refusals;
mod removal;
mod rights;
mod several;
mod sql;
mod standing;
mod taints;
mod tools;
mod upgrade;
mod upheaval;
mod webhook_faults;
mod witness;
