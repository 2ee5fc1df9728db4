//! Everything that speaks to the API server. Each call is bounded in time and tried once.

mod calls;
mod client;
pub mod controllers;
mod databases;
mod events;
pub mod lease;
pub mod leftovers;
mod moves;
pub mod nodes;
pub mod owners;
mod policies;
pub mod watch;

pub(crate) use self::calls::{bounded, plainly};
#[cfg(test)]
pub(crate) use self::events::QUEUE;
pub use self::{
    calls::{EffectError, list, list_matching},
    client::{ClusterError, attentive_client, client},
    databases::{
        DatabaseError, database, databases, databases_if_any, missing, read_database, remove_annotation, typed,
        write_status,
    },
    events::{EventReason, HeldName, Notice, Notices, database_reference, reference},
    moves::{Evicted, carry_out},
    nodes::{in_order, label_node, taint_node},
    policies::injecting,
};
