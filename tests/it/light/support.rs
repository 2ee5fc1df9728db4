//! What the scenes are made of.

pub mod custom;
pub mod databases;
pub mod limits;
pub mod mariadb;
pub mod objects;
pub mod places;
pub mod postgres;
pub mod scene;
pub mod witness;
pub mod workloads;
pub mod world;

pub use lab::scripted::{Patroni, Says};
pub use lab::wait::{SEVERAL_TICKS, eventually, stays, until};

pub use self::{
    databases::Database,
    scene::{Scene, alone, scene, upheaval},
    witness::Witness,
    workloads::Workload,
    world::{World, world},
};
