//! What the scenes are made of.

pub(crate) mod custom;
pub(crate) mod databases;
pub(crate) mod descheduler;
pub(crate) mod door;
pub(crate) mod faults;
pub(crate) mod limits;
pub(crate) mod mariadb;
pub(crate) mod objects;
pub(crate) mod places;
pub(crate) mod postgres;
pub(crate) mod rollouts;
pub(crate) mod scene;
pub(crate) mod sides;
pub(crate) mod stage;
pub(crate) mod witness;
pub(crate) mod workloads;
pub(crate) mod world;

pub(crate) use lab::scripted::{Patroni, Says};
pub(crate) use lab::wait::{SEVERAL_TICKS, eventually, stays, until};

pub(crate) use self::{
    databases::Database,
    descheduler::Descheduler,
    door::Door,
    scene::{Scene, alone, scene, upheaval},
    stage::Stage,
    witness::Witness,
    workloads::Workload,
    world::{World, world},
};
