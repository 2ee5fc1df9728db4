//! The databases of a simulation: who of their members says what.

use std::{collections::BTreeMap, time::Instant};

use super::script::{self, DatabaseDeed, SettingError};
use crate::{
    api::{DatabaseCluster, database_cluster::MemberStatus},
    core::primary::{Answer, Claim, Claimed, Observation},
};

/// One database, as it truly is.
#[derive(Debug, Clone)]
pub(super) struct Database {
    pub name: String,
    pub object: DatabaseCluster,
    pub members: Vec<Member>,
    /// Who writes; `None`: nobody does.
    pub primary: Option<usize>,
    /// Says that it writes, too.
    rival: Option<usize>,
    timeline: u64,
    pub frozen: bool,
    /// Who wrote last.
    last: Option<usize>,
    /// When another one began to.
    pub promoted: script::Ms,
    /// When something of this last changed.
    pub changed: script::Ms,
}

/// One member of a database.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub name: String,
    pub zone: String,
    /// As agents measure it.
    pub host: String,
}

impl Database {
    pub(super) fn new(at: usize, database: &script::Database) -> Result<Self, SettingError> {
        let host = |member: usize| format!("10.0.{at}.{}", member + 1);
        let member = |(number, (name, zone)): (usize, &(String, String))| Member {
            name: name.clone(),
            zone: zone.clone(),
            host: host(number),
        };
        Ok(Self {
            name: database.name.clone(),
            object: database.object()?,
            members: database.members.iter().enumerate().map(member).collect(),
            primary: Some(0),
            rival: None,
            timeline: 1,
            frozen: false,
            last: Some(0),
            promoted: 0,
            changed: 0,
        })
    }

    /// This member is promoted.
    pub(super) fn promote(&mut self, member: &str, now: script::Ms) {
        self.primary = self.members.iter().position(|it| it.name == member);
        if self.primary != self.last {
            (self.promoted, self.last) = (now, self.primary);
        }
        self.rival = None;
        self.timeline += 1;
        self.changed = now;
    }

    /// True if its object changed.
    pub(super) fn suffer(&mut self, deed: DatabaseDeed, now: script::Ms) -> bool {
        self.changed = now;
        match deed {
            DatabaseDeed::Lost => (self.primary, self.rival) = (None, None),
            DatabaseDeed::Split => self.rival = (0..self.members.len()).find(|it| Some(*it) != self.primary),
            DatabaseDeed::Frozen => self.frozen = true,
            DatabaseDeed::Thawed => self.frozen = false,
            DatabaseDeed::Paused => self.object.spec.paused = true,
            DatabaseDeed::Resumed => self.object.spec.paused = false,
        }
        let changed = matches!(deed, DatabaseDeed::Paused | DatabaseDeed::Resumed);
        if changed {
            self.object.metadata.resource_version = Some(format!("at-{now}"));
        }
        changed
    }

    /// Exactly one writes, and nothing is frozen or paused.
    pub(super) fn may_move(&self) -> bool {
        self.primary.is_some() && self.rival.is_none() && !self.frozen && !self.object.spec.paused
    }

    /// Exactly one writes.
    pub(super) const fn known(&self) -> bool {
        self.primary.is_some() && self.rival.is_none()
    }

    /// The zone that the primary is in.
    pub(super) fn home(&self) -> Option<&str> {
        self.primary.map(|member| &*self.members[member].zone)
    }

    /// What every member says.
    pub(super) fn observations(&self, now: Instant) -> BTreeMap<String, Observation> {
        let says = |at: usize| {
            let writes = self.primary == Some(at) || self.rival == Some(at);
            if !writes && self.primary.is_none() && at == 0 {
                return Answer::Unreachable { error: "nobody is there".to_owned() };
            }
            Answer::Seen(Claimed {
                claim: if writes { Claim::Primary { timeline: self.timeline } } else { Claim::Follower },
                because: "it says so".to_owned(),
                system_identifier: None,
                pause: self.frozen,
            })
        };
        let observation =
            |(at, member): (usize, &Member)| (member.name.clone(), Observation { answer: says(at), at: now });
        self.members.iter().enumerate().map(observation).collect()
    }

    /// Whom the source lists.
    pub(super) fn listed(&self) -> Vec<MemberStatus> {
        let member =
            |it: &Member| MemberStatus { name: it.name.clone(), host: it.host.clone(), port: 5432, api_url: None };
        self.members.iter().map(member).collect()
    }
}
