//! The same decisions about a cluster in thought: another member is the primary, every node bears its label, and no gate is closed.
//! What is moved next, and why the other pods stay.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Stays, labels, movement, stays};
use crate::{
    api::DatabaseCluster,
    core::{
        distance::tier::TierMap,
        moment::Moment,
        movement::{
            breaker::Breaker,
            control::Control,
            held::HeldReason,
            journal::Journal,
            ledger::Others,
            plan::{Input, Plan, Rules, Sums, plan, sums},
            restart::{self, MissedRestarts},
            workloads::Workloads,
        },
    },
    index::{Followers, Following, Tables},
};

/// A database whose primary is at another host, in thought.
#[derive(Debug, Clone)]
pub struct Thought<'a> {
    pub object: &'a DatabaseCluster,
    /// Nodes bear the labels that they would have.
    pub tables: &'a Tables,
    /// Those of the picture, wherever they were put in thought.
    pub followers: Vec<&'a Following>,
    /// Of all that followers belong to, where they were counted already.
    pub workloads: Option<&'a Workloads<'a>>,
    /// How far the nodes are from the other databases ([`other_tiers`]).
    pub other_tiers: &'a HashMap<String, TierMap>,
    pub own_namespace: &'a str,
    /// Towards that host ([`tiers_towards`]).
    pub tiers: &'a TierMap,
    /// Pods, workloads and budgets, by UID, that stay for now, and why.
    pub waits: &'a BTreeMap<String, HeldReason>,
    /// Everybody goes at once, however many of a workload may be on the move: where there is room is asked, and not when.
    pub at_once: bool,
    /// Of the primary that there is.
    pub epoch: u64,
    pub now: Moment,
}

impl Thought<'_> {
    /// The next wave. Nothing is under way, and nothing is remembered.
    #[must_use]
    pub fn next_wave(&self) -> Plan {
        self.ask(plan)
    }

    /// What becomes of everybody in the end, where the next wave alone tells that ([`sums`]).
    #[must_use]
    pub fn sums(&self) -> Option<Sums> {
        self.ask(sums)
    }

    fn ask<Answer>(&self, ask: impl FnOnce(&Input<'_>) -> Answer) -> Answer {
        let database = self.object.metadata.name.as_deref().unwrap_or_default();
        let followers =
            movement::followers(self.followers.iter().copied(), self.own_namespace, self.tiers, self.other_tiers);
        let rules = movement::rules(self.object);
        let of_workload = Rules { max_concurrent: u32::MAX, most_underway: usize::MAX, ..rules };
        let unbounded = Rules { per_workload: Some(u32::MAX), all_together: true, ..of_workload };
        ask(&Input {
            snapshot: self.tables.snapshot(),
            workloads: self.workloads,
            tiers: self.tiers,
            node_label: &self.object.node_label(),
            followers: &followers,
            rules: if self.at_once { unbounded } else { of_workload },
            gate: None,
            control: Control::default(),
            breaker: &Breaker::default(),
            journal: &Journal::default(),
            others: &Others::default(),
            window: u32::MAX,
            backoff: self.waits,
            restart_series: &restart::series(database, self.epoch.saturating_add(1)),
            missed: &MissedRestarts::default(),
            now: self.now,
        })
    }

    /// Who stays, by workload.
    #[must_use]
    pub fn stays(&self, plan: &Plan) -> Vec<Stays> {
        stays::by_workload(plan, self.tables.snapshot())
    }
}

/// What every node's tier would be if the primary were at this host, by the readings that there are.
#[must_use]
pub fn tiers_towards(object: &DatabaseCluster, tables: &Tables, host: &str, now: Moment) -> TierMap {
    labels::measured(tables, object, Some(host), &TierMap::default(), true, now.instant)
}

/// How far the labels of the other databases that they follow say each node is, by database.
#[must_use]
pub fn other_tiers(tables: &Tables, followers: &Arc<Followers>) -> HashMap<String, TierMap> {
    movement::other_tiers(tables, followers)
}
