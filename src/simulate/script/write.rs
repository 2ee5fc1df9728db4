//! A script as text.

use std::fmt;

use super::{
    Budget, Database, DatabaseDeed, Event, Expectation, Kind, Ms, NodeDeed, Part, Script, Share, What, Workload,
    WorkloadDeed, Zone,
};
use crate::{api::Span, core::workload::Strategy};

/// A time of a script, as people write it.
pub(in crate::simulate) fn time(ms: Ms) -> Span {
    Span::from_millis(ms)
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        for zone in &self.zones {
            writeln!(f, "{zone}")?;
        }
        for (a, b, distance) in &self.distances {
            writeln!(f, "distance {a} {b}: {}", Span(*distance))?;
        }
        for database in &self.databases {
            write!(f, "{database}")?;
        }
        for workload in &self.workloads {
            writeln!(f, "{workload}")?;
        }
        for event in &self.events {
            writeln!(f, "{event}")?;
        }
        for expectation in &self.expectations {
            writeln!(f, "expect {expectation}")?;
        }
        writeln!(f, "until {}", time(self.until))
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, nodes, cpu_m, pods } = self;
        write!(f, "zone {name}: {nodes} nodes, cpu {cpu_m}m, pods {pods}")
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<_> = self.members.iter().map(|(member, zone)| format!("{member} in {zone}")).collect();
        writeln!(f, "database {}: {}", self.name, members.join(", "))?;
        if self.settings.is_empty() {
            return Ok(());
        }
        let settings: Vec<_> = self.settings.iter().map(|(key, value)| format!("{key} {value}")).collect();
        writeln!(f, "settings {}: {}", self.name, settings.join(", "))
    }
}

impl Kind {
    /// As scripts call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::ReplicaSet => "replicaset",
        }
    }
}

impl fmt::Display for Workload {
    /// What is as it is of everybody isn't said.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::new(self.kind, &self.name, self.replicas);
        write!(f, "{} {}: {} replicas", self.kind.word(), self.name, self.replicas)?;
        if self.strategy != usual.strategy {
            match self.strategy {
                Strategy::Rolling { surge, unavailable } => write!(f, ", surge {surge}, unavailable {unavailable}")?,
                Strategy::Ordered { partition, .. } => write!(f, ", partition {partition}")?,
                Strategy::Recreate => f.write_str(", recreate")?,
                Strategy::OnDelete => f.write_str(", on delete")?,
                Strategy::None => {}
            }
        }
        if let Some(budget) = self.budget {
            write!(f, ", budget {budget}")?;
        }
        match self.ready {
            None => f.write_str(", never ready")?,
            ready if ready == usual.ready => {}
            Some(ready) => write!(f, ", ready after {}", time(ready))?,
        }
        if self.ends != usual.ends {
            write!(f, ", ends after {}", time(self.ends))?;
        }
        if self.available_after > 0 {
            write!(f, ", available after {}", time(self.available_after))?;
        }
        if self.cpu_m != usual.cpu_m {
            write!(f, ", cpu {}m", self.cpu_m)?;
        }
        if !self.follow.is_empty() {
            write!(f, ", follow {}", self.follow.join("+"))?;
        }
        self.moved_by.map_or(Ok(()), |mode| write!(f, ", move {}", mode.as_str()))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods(pods) => write!(f, "{pods}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(share) => write!(f, "unavailable {share}"),
            Self::Available(share) => write!(f, "available {share}"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}", time(self.at), self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary { member } => write!(f, "{member} is primary"),
            Self::Database { name, deed } => write!(f, "database {name} is {}", deed.word()),
            Self::Node { name, deed } => write!(f, "node {name} is {}", deed.word()),
            Self::Zone { name, deed } => write!(f, "zone {name} is {}", deed.word()),
            Self::Workload { name, deed } => write!(f, "{name} {deed}"),
            Self::Part { part, works } => write!(f, "{} {}", part.word(), if *works { "works" } else { "stops" }),
            Self::Scheduler { heeds } => write!(f, "scheduler {} labels", if *heeds { "heeds" } else { "ignores" }),
            Self::Watch { kind, works } => write!(f, "watch {kind} {}", if *works { "works" } else { "hangs" }),
            Self::Budgets { lag } => write!(f, "budgets lag {}", time(*lag)),
            Self::LeaderDies => f.write_str("leader dies"),
        }
    }
}

impl DatabaseDeed {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Lost, Self::Split, Self::Frozen, Self::Thawed, Self::Paused, Self::Resumed];

    /// As scripts call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Split => "split",
            Self::Frozen => "frozen",
            Self::Thawed => "thawed",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
        }
    }
}

impl NodeDeed {
    /// Every one.
    pub const ALL: [Self; 7] =
        [Self::Dies, Self::Returns, Self::Cordoned, Self::Uncordoned, Self::Drained, Self::Unmeasured, Self::Measured];

    /// As scripts call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Dies => "dead",
            Self::Returns => "back",
            Self::Cordoned => "cordoned",
            Self::Uncordoned => "uncordoned",
            Self::Drained => "drained",
            Self::Unmeasured => "unmeasured",
            Self::Measured => "measured",
        }
    }
}

impl fmt::Display for WorkloadDeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployed => f.write_str("is deployed"),
            Self::Scaled(replicas) => write!(f, "is scaled to {replicas}"),
            Self::Budget(None) => f.write_str("has no budget"),
            Self::Budget(Some(budget)) => write!(f, "has budget {budget}"),
            Self::Ready(None) => f.write_str("is never ready"),
            Self::Ready(Some(after)) => write!(f, "is ready after {}", time(*after)),
            Self::MovedBack(None) => f.write_str("is not moved back"),
            Self::MovedBack(Some(every)) => write!(f, "is moved back every {}", time(*every)),
            Self::Deleted => f.write_str("is deleted"),
        }
    }
}

impl Part {
    /// Every one.
    pub const ALL: [Self; 5] = [Self::Webhook, Self::Scheduler, Self::Controllers, Self::Api, Self::Status];

    /// As scripts call it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Scheduler => "scheduler",
            Self::Controllers => "controllers",
            Self::Api => "api",
            Self::Status => "status",
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Near { by, workload } => {
                write!(f, "at {}: {} is near", time(*by), workload.as_deref().unwrap_or("everybody"))
            }
            Self::Far { at, workload, least } => write!(f, "at {}: {least} of {workload} are far", time(*at)),
            Self::NeverBelow { workload, least } => write!(f, "always: {workload} never below {least}"),
            Self::NoneBefore { at } => write!(f, "always: nobody is moved before {}", time(*at)),
            Self::Evictions { workload, least, most } => {
                write!(f, "always: {least} to {most} evictions")?;
                workload.as_ref().map_or(Ok(()), |workload| write!(f, " of {workload}"))
            }
            Self::Held { at, workload, reason } => write!(f, "at {}: {workload} is held {reason}", time(*at)),
            Self::Gate { at, gate } => write!(f, "at {}: gate {gate}", time(*at)),
        }
    }
}
