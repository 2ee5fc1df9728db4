//! What the scenes are made of.

pub mod mariadb;
pub mod objects;
pub mod patroni;
pub mod postgres;
pub mod scene;
pub mod wait;
pub mod witness;
pub mod workloads;
pub mod world;

pub use self::{
    patroni::{Patroni, Says},
    scene::{Scene, scene, upheaval},
    wait::{eventually, stays, until},
    witness::Witness,
    workloads::Workload,
    world::{World, world},
};
