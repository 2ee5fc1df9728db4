//! Who is primary, from what the members say: [`PrimaryTracker`] turns answers into a [`PrimaryView`].
//!
//! ```text
//! 200, running, primary, timeline   confirmed   the highest credible timeline wins; two that last are a split brain
//! 200, replica, standby_leader      promoting   it has the lock and is not writable yet: prepare, move nothing
//! 200, anything else                troubled    it has the lock, PostgreSQL is not in order: keep the last primary
//! 503, running, primary             stale       writable but without the lock: never believed
//! any other answer                  follower
//! no answer                         silent      proves nothing
//! ```

mod answer;
mod credible;
mod identity;
mod judge;
pub mod mysql;
mod observer;
pub mod operator;
pub mod postgres;
#[cfg(test)]
mod tests;
mod tracker;

use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

use strum::{IntoStaticStr, VariantNames};

pub use answer::{Answer, Claim, Claimed, MemberBody, Observation};
pub use identity::{Alias, Identities, Who};
pub use observer::WitnessAnswer;
pub use tracker::PrimaryTracker;

/// A confirmed primary: a member and the PostgreSQL timeline that it writes. 0: the database knows of no timelines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Primary {
    pub name: String,
    pub timeline: u64,
}

impl Primary {
    /// Its timeline, if the database knows of any.
    #[must_use]
    pub const fn timeline_if_any(&self) -> Option<u64> {
        match self.timeline {
            0 => None,
            timeline => Some(timeline),
        }
    }
}

impl fmt::Display for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timeline_if_any() {
            Some(timeline) => write!(f, "{} (timeline {timeline})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// What is believed now.
#[derive(Debug, Clone, PartialEq, Eq, IntoStaticStr, VariantNames)]
pub enum PrimaryState {
    /// Exactly one member is confirmed, on the highest timeline ever seen.
    Known(Primary),
    /// `member` holds the leader lock and is not writable yet.
    Promoting { member: String },
    /// `member` acts as primary, but not in order: PostgreSQL isn't running, or the leader lock isn't held.
    Degraded { member: String },
    /// More than one member may be the primary: two are confirmed, or one that is was never refuted.
    SplitBrain(Vec<Primary>),
    /// Nobody is seen to be primary.
    Unknown,
}

impl PrimaryState {
    /// The state's name, as status, metrics and `switchover replay` show it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Every name, for gauges that have one series per state.
    pub const NAMES: &'static [&'static str] = Self::VARIANTS;
}

/// Why nothing may be moved although there may be a primary.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum FrozenReason {
    /// These members see no holder of the leader lock (`cluster_unlocked`).
    ClusterUnlocked(Vec<String>),
    /// The cluster is in maintenance mode (`pause`), say these members.
    #[strum(serialize = "pause")]
    Paused(Vec<String>),
    /// Patroni can't reach its store and runs without it (`failsafe_mode_is_active`), say these members.
    #[strum(serialize = "failsafe_mode_is_active")]
    Failsafe(Vec<String>),
    /// More than one member may be the primary.
    SplitBrain,
    /// These members belong to another database: their `database_system_identifier` differs.
    #[strum(serialize = "system_identifier")]
    OtherDatabase(Vec<String>),
}

impl FrozenReason {
    /// Every [`FrozenReason::name`].
    pub const NAMES: &'static [&'static str] = Self::VARIANTS;

    /// In one word, as metrics and `switchover replay` show it; Patroni's own where there is one.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for FrozenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClusterUnlocked(by) => {
                write!(f, "nobody holds the leader lock (cluster_unlocked), according to {}", by.join(", "))
            }
            Self::Paused(by) => write!(f, "Patroni is paused, according to {}", by.join(", ")),
            Self::Failsafe(by) => {
                write!(f, "Patroni can't reach its store (failsafe_mode_is_active), according to {}", by.join(", "))
            }
            Self::SplitBrain => write!(f, "more than one member may be the primary"),
            Self::OtherDatabase(members) => write!(
                f,
                "the database_system_identifier of {} differs: part of another database is listed here",
                members.join(", ")
            ),
        }
    }
}

/// What must survive a restart: kept in the status of the DatabaseCluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Belief {
    /// Name of the last confirmed primary.
    pub primary: Option<String>,
    /// Its timeline.
    pub timeline: Option<u64>,
    /// Highest timeline ever confirmed for `system_identifier`.
    pub highest_timeline: Option<u64>,
    /// PostgreSQL's `database_system_identifier`.
    pub system_identifier: Option<String>,
    /// Counts the confirmed changes of the primary member. A new timeline of the same member is no change.
    pub epoch: u64,
    /// Claimants of a split brain that isn't settled.
    pub contested: BTreeSet<Primary>,
    /// Claims that a person decided against. A new timeline is a new claim; where there are none, one that is raised again
    /// after the member itself said that it isn't the primary.
    pub dismissed: BTreeSet<Primary>,
}

impl Belief {
    /// The last confirmed primary.
    #[must_use]
    pub fn last(&self) -> Option<Primary> {
        Some(Primary { name: self.primary.clone()?, timeline: self.timeline? })
    }
}

/// The answer to "who is primary", and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrimaryView {
    pub state: PrimaryState,
    /// The last confirmed primary, whatever the state: labels stay with it.
    pub last: Option<Primary>,
    /// Counts the confirmed changes of the primary member.
    pub epoch: u64,
    /// Why nothing may be moved. Empty when movement is free to go.
    pub frozen: Vec<FrozenReason>,
    /// Members that act as primary but are not believed, for the alert.
    pub stale: Vec<Primary>,
    /// In one sentence: what is believed, and why.
    pub why: String,
    pub highest_timeline: Option<u64>,
    pub system_identifier: Option<String>,
    /// Claimants of a split brain that isn't settled.
    pub contested: BTreeSet<Primary>,
    /// Claims that a person decided against.
    pub dismissed: BTreeSet<Primary>,
    /// When this process first confirmed the primary of this epoch.
    pub confirmed_at: Option<Instant>,
    /// Since when the state has been `Known` with this primary, without a break.
    pub known_since: Option<Instant>,
    /// Since when, besides, nothing has been frozen, without a break. Movement waits for this to last: what froze it
    /// (a pause, a store out of reach) often ends with another primary.
    pub calm_since: Option<Instant>,
}

impl PrimaryView {
    /// What must survive a restart.
    #[must_use]
    pub fn belief(&self) -> Belief {
        Belief {
            primary: self.last.as_ref().map(|p| p.name.clone()),
            timeline: self.last.as_ref().map(|p| p.timeline),
            highest_timeline: self.highest_timeline,
            system_identifier: self.system_identifier.clone(),
            epoch: self.epoch,
            contested: self.contested.clone(),
            dismissed: self.dismissed.clone(),
        }
    }

    /// The primary, if there is exactly one and it is confirmed now.
    #[must_use]
    pub const fn known(&self) -> Option<&Primary> {
        match &self.state {
            PrimaryState::Known(primary) => Some(primary),
            _ => None,
        }
    }

    /// Why nothing may be moved, in words; empty when nothing is frozen.
    #[must_use]
    pub fn why_frozen(&self) -> String {
        self.frozen.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    /// Whether a person should look, who was told of `before`: there is no primary that is in order, nothing may be moved, or
    /// somebody else acts as primary. Right after a change the last primary may: its answer is older.
    #[must_use]
    pub fn worries_after(&self, before: &Self) -> bool {
        let in_order = matches!(self.state, PrimaryState::Known(_) | PrimaryState::Promoting { .. });
        !in_order || !self.frozen.is_empty() || (!self.stale.is_empty() && self.epoch == before.epoch)
    }

    /// Whether it is something else than what was told before. Who says that it is frozen is not: members hear of a pause one
    /// after the other.
    #[must_use]
    pub fn is_news_after(&self, before: &Self) -> bool {
        let frozen = |view: &Self| view.frozen.iter().map(FrozenReason::name).collect::<Vec<_>>();
        (&self.state, &self.stale) != (&before.state, &before.stale) || frozen(self) != frozen(before)
    }

    /// Whether the primary itself stands in the way of moving pods. How long it must have held is for the caller.
    #[must_use]
    pub fn movement_allowed(&self) -> bool {
        self.known().is_some() && self.frozen.is_empty()
    }

    /// For how long that has been so, without a break. Nothing if it isn't.
    #[must_use]
    pub fn calm_for(&self, now: Instant) -> Duration {
        self.calm_since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}
