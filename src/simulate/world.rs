//! Everything that a simulation is made of, but for who acts in it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    chance::Chance,
    cluster::{Cluster, wall},
    laws::Laws,
    report::Report,
    script::{Ms, Script, SettingError},
    watches::Watches,
};
use crate::{
    api::DatabaseClusterStatus,
    core::{moment::Moment, movement::ledger::Ledger},
};

/// The time of a simulation, which begins at an instant that nothing depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(pub Instant);

impl Clock {
    pub(super) fn moment(self, ms: Ms) -> Moment {
        Moment { instant: self.0 + Duration::from_millis(ms), wall: wall(ms) }
    }
}

/// The cluster, what is known of it, and what is written down.
#[derive(Debug)]
pub(super) struct World {
    pub clock: Clock,
    pub cluster: Cluster,
    pub watches: Watches,
    /// Of every database, as the API server holds it.
    pub stored: Vec<DatabaseClusterStatus>,
    pub writes_status: bool,
    /// When each node's agent last wrote.
    pub heard: Vec<Option<Ms>>,
    /// The zones without power that it had noticed by then.
    pub noticed: Vec<BTreeSet<String>>,
    /// Of the present leader: what its databases have on the move.
    pub ledger: Ledger,
    pub laws: Laws,
    pub report: Report,
    pub chance: Chance,
}

impl World {
    /// As it is when a script begins. Its watches have told of everything.
    pub(super) fn new(script: &Script, begin: Instant) -> Result<Self, SettingError> {
        let mut chance = Chance::new(script.seed);
        let cluster = Cluster::new(script, &mut chance)?;
        let first = script.databases.first().map(|database| database.name.clone()).unwrap_or_default();
        Ok(Self {
            clock: Clock(begin),
            watches: Watches::new(&first),
            stored: vec![DatabaseClusterStatus::default(); cluster.databases.len()],
            writes_status: true,
            heard: vec![None; cluster.nodes.len()],
            noticed: vec![BTreeSet::new(); cluster.nodes.len()],
            ledger: Ledger::default(),
            laws: Laws::new(&cluster),
            report: Report::default(),
            chance,
            cluster,
        })
    }
}
