//! Text → script. What can't be read is told with its line, and with what to write.

use std::time::Duration;

use super::{
    Budget, Database, DatabaseDeed, Event, Expectation, KINDS, Kind, Ms, NodeDeed, Part, Script, Share, What, Workload,
    WorkloadDeed, Zone,
};
use crate::{
    api::Span,
    core::{
        follow::MoveMode,
        movement::held::{Gate, HeldReason},
        workload::Strategy,
    },
};

/// Why a text is no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?}: {what}")]
pub struct ScriptError {
    /// From 1 on.
    pub line: usize,
    pub text: String,
    /// What is wrong, and what to write.
    pub what: String,
}

type Read<T> = Result<T, String>;

const STATEMENTS: &str = "write zone, distance, database, settings, deployment, statefulset, replicaset, at, expect, seed or until \
                          first, such as: deployment web: 3 replicas";
const EVENTS: &str = "write what happens, such as: pg2 is primary; database default is paused; node a1 is dead; zone a is back; web is \
                      deployed; webhook stops; scheduler ignores labels; watch Pod hangs; budgets lag 10s; leader dies";
const WORKLOAD_EVENTS: &str = "write: is deployed, is deleted, is scaled to 3, has budget unavailable 1, has no budget, is ready after \
                               20s, is never ready, is moved back every 1m or is not moved back";
const OPTIONS: &str = "write: surge 1, unavailable 0, recreate, on delete, partition 1, budget unavailable 1, budget available 50%, \
                       ready after 8s, never ready, ends after 2s, available after 10s, cpu 100m, follow default+orders or move evict";
const EXPECTATIONS: &str = "write such as: expect at 5m: everybody is near; expect at 5m: web is held NoRoom; expect at 5m: 2 of web are \
                            far; expect at 10s: gate Settling; expect always: web never below 2; expect always: nobody is moved before \
                            90s; expect always: 3 to 4 evictions of web";

impl std::str::FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let mut script = Self {
            seed: 1,
            zones: Vec::new(),
            distances: Vec::new(),
            databases: Vec::new(),
            workloads: Vec::new(),
            events: Vec::new(),
            expectations: Vec::new(),
            until: 0,
        };
        for (at, text) in text.lines().enumerate() {
            let error = |what| ScriptError { line: at + 1, text: text.trim().to_owned(), what };
            let statement = text.split('#').next().unwrap_or_default().trim();
            if !statement.is_empty() {
                script.read(statement).map_err(error)?;
            }
        }
        script.events.sort_by_key(|event| event.at);
        script.complete().map_err(|(text, what)| ScriptError { line: 0, text, what })?;
        Ok(script)
    }
}

impl Script {
    fn read(&mut self, statement: &str) -> Read<()> {
        let (head, rest) = statement.split_once(':').map_or((statement, ""), |(head, rest)| (head.trim(), rest.trim()));
        let words: Vec<&str> = head.split_whitespace().collect();
        match words[..] {
            ["seed", seed] => self.seed = number(seed)?,
            ["until", at] => self.until = time(at)?,
            ["zone", name] => self.zones.push(zone(name, rest)?),
            ["distance", a, b] => {
                self.distances.push((a.to_owned(), b.to_owned(), Duration::from_micros(span(rest)?.as_us())));
            }
            ["database", name] => self.databases.push(database(name, rest)?),
            ["settings", name] => {
                let database = self.databases.iter_mut().find(|database| database.name == name);
                let database = database.ok_or_else(|| format!("there is no database {name} yet: write it first"))?;
                for setting in rest.split(',') {
                    let (key, value) =
                        two(setting).ok_or("write a field of spec.movement and its value: settle 30s")?;
                    database.settings.push((key.to_owned(), value.to_owned()));
                }
                database
                    .object()
                    .map_err(|error| format!("{error}: write a field of spec.movement and its value: settle 30s"))?;
            }
            ["deployment", name] => self.workloads.push(workload(Kind::Deployment, name, rest)?),
            ["statefulset", name] => self.workloads.push(workload(Kind::StatefulSet, name, rest)?),
            ["replicaset", name] => self.workloads.push(workload(Kind::ReplicaSet, name, rest)?),
            ["at", at] => self.events.push(Event { at: time(at)?, what: self.what(rest)? }),
            ["expect", "at", at] => self.expectations.push(self.at(time(at)?, rest)?),
            ["expect", "always"] => self.expectations.push(self.always(rest)?),
            ["expect", ..] => return Err(EXPECTATIONS.to_owned()),
            _ => return Err(STATEMENTS.to_owned()),
        }
        Ok(())
    }

    /// What can be said only when all is read.
    fn complete(&mut self) -> Result<(), (String, String)> {
        let missing = |what: &str, write: &str| Err((what.to_owned(), format!("there is none: write {write}")));
        if self.zones.is_empty() {
            return missing("zone", "zone a: 2 nodes");
        }
        if self.databases.is_empty() {
            return missing("database", "database default: pg1 in a");
        }
        let zone = |name: &str| self.zones.iter().any(|zone| zone.name == name);
        let homes = self.databases.iter().flat_map(|database| &database.members).map(|(_, zone)| zone);
        let ends = self.distances.iter().flat_map(|(a, b, _)| [a, b]);
        if let Some(unknown) = homes.chain(ends).find(|name| !zone(name)) {
            return Err((unknown.clone(), format!("there is no such zone: write zone {unknown}: 2 nodes")));
        }
        let mut followed = self.workloads.iter().flat_map(|workload| &workload.follow);
        let known = |name: &&String| !self.databases.iter().any(|database| database.name == **name);
        if let Some(unknown) = followed.find(known) {
            return Err((unknown.clone(), "a workload follows it, and there is no such database".to_owned()));
        }
        let looked = self.expectations.iter().filter_map(Expectation::time).max().unwrap_or(0);
        if self.until == 0 {
            self.until = self.events.last().map_or(0, |event| event.at).max(looked) + 1_000;
        } else if looked >= self.until {
            return Err(("until".to_owned(), "something is expected later: write a later time, or none".to_owned()));
        }
        Ok(())
    }

    fn what(&self, text: &str) -> Read<What> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let own = |text: &str| text.to_owned();
        Ok(match words[..] {
            ["leader", "dies"] => What::LeaderDies,
            ["budgets", "lag", lag] => What::Budgets { lag: time(lag)? },
            ["scheduler", "heeds", "labels"] => What::Scheduler { heeds: true },
            ["scheduler", "ignores", "labels"] => What::Scheduler { heeds: false },
            ["watch", kind, how @ ("hangs" | "works")] => {
                let known = || KINDS.join(", ");
                let kind = KINDS.into_iter().find(|it| *it == kind);
                let kind = kind.ok_or_else(|| format!("no such kind is watched: write one of {}", known()))?;
                What::Watch { kind: kind.to_owned(), works: how == "works" }
            }
            [part, how @ ("stops" | "works")] => {
                let part = Part::ALL.into_iter().find(|it| it.word() == part);
                let part = part.ok_or("write webhook, scheduler, controllers, api or status before stops or works")?;
                What::Part { part, works: how == "works" }
            }
            ["database", name, "is", deed] => {
                let deed = DatabaseDeed::ALL.into_iter().find(|it| it.word() == deed);
                let deed = deed.ok_or("write lost, split, frozen, thawed, paused or resumed")?;
                self.databases
                    .iter()
                    .find(|it| it.name == name)
                    .ok_or_else(|| format!("there is no database {name}"))?;
                What::Database { name: own(name), deed }
            }
            ["node", name, "is", deed] => What::Node { name: self.node(name)?, deed: node_deed(deed)? },
            ["zone", name, "is", deed] => {
                self.zones.iter().find(|it| it.name == name).ok_or_else(|| format!("there is no zone {name}"))?;
                What::Zone { name: own(name), deed: node_deed(deed)? }
            }
            [member, "is", "primary"] => {
                self.database_of(member).ok_or_else(|| format!("there is no member {member}"))?;
                What::Primary { member: own(member) }
            }
            [name, ref deed @ ..] if self.workload(name).is_some() => {
                What::Workload { name: own(name), deed: workload_deed(deed)? }
            }
            _ => return Err(EVENTS.to_owned()),
        })
    }

    fn node(&self, name: &str) -> Read<String> {
        let known = |zone: &Zone| (1..=zone.nodes).any(|at| format!("{}{at}", zone.name) == name);
        self.zones.iter().any(known).then(|| name.to_owned()).ok_or_else(|| format!("there is no node {name}"))
    }

    fn known(&self, workload: &str) -> Read<String> {
        self.workload(workload).map(|it| it.name.clone()).ok_or_else(|| format!("there is no workload {workload}"))
    }

    fn at(&self, at: Ms, text: &str) -> Read<Expectation> {
        let words: Vec<&str> = text.split_whitespace().collect();
        Ok(match words[..] {
            ["everybody", "is", "near"] => Expectation::Near { by: at, workload: None },
            [workload, "is", "near"] => Expectation::Near { by: at, workload: Some(self.known(workload)?) },
            [workload, "is", "held", reason] => {
                let known = HeldReason::names().any(|name| name == reason);
                let reasons = || HeldReason::names().collect::<Vec<_>>().join(", ");
                known
                    .then_some(())
                    .ok_or_else(|| format!("there is no reason {reason}: write one of {}", reasons()))?;
                Expectation::Held { at, workload: self.known(workload)?, reason: reason.to_owned() }
            }
            ["gate", gate] => {
                let known = gate == "none" || Gate::NAMES.contains(&gate);
                let gates = || Gate::NAMES.join(", ");
                known
                    .then_some(())
                    .ok_or_else(|| format!("there is no gate {gate}: write none or one of {}", gates()))?;
                Expectation::Gate { at, gate: gate.to_owned() }
            }
            [least, "of", workload, "are", "far"] => {
                Expectation::Far { at, workload: self.known(workload)?, least: number(least)? }
            }
            _ => return Err(EXPECTATIONS.to_owned()),
        })
    }

    fn always(&self, text: &str) -> Read<Expectation> {
        let words: Vec<&str> = text.split_whitespace().collect();
        Ok(match words[..] {
            [workload, "never", "below", least] => {
                Expectation::NeverBelow { workload: self.known(workload)?, least: number(least)? }
            }
            ["nobody", "is", "moved", "before", at] => Expectation::NoneBefore { at: time(at)? },
            [least, "to", most, "evictions"] => {
                Expectation::Evictions { workload: None, least: number(least)?, most: number(most)? }
            }
            [least, "to", most, "evictions", "of", workload] => Expectation::Evictions {
                workload: Some(self.known(workload)?),
                least: number(least)?,
                most: number(most)?,
            },
            _ => return Err(EXPECTATIONS.to_owned()),
        })
    }
}

impl Expectation {
    /// When it is looked at; `None`: all the time.
    #[must_use]
    pub const fn time(&self) -> Option<Ms> {
        match self {
            Self::Near { by: at, .. } | Self::Far { at, .. } | Self::Held { at, .. } | Self::Gate { at, .. } => {
                Some(*at)
            }
            Self::NeverBelow { .. } | Self::NoneBefore { .. } | Self::Evictions { .. } => None,
        }
    }
}

fn zone(name: &str, text: &str) -> Read<Zone> {
    let mut zone = Zone { name: name.to_owned(), nodes: 2, cpu_m: 4_000, pods: 30 };
    for option in options(text) {
        match option.split_whitespace().collect::<Vec<_>>()[..] {
            [nodes, "nodes" | "node"] => zone.nodes = number(nodes)?,
            ["cpu", cpu] => zone.cpu_m = millicores(cpu)?,
            ["pods", pods] => zone.pods = number(pods)?,
            _ => return Err("write: 2 nodes, cpu 4 or pods 30".to_owned()),
        }
    }
    Ok(zone)
}

fn database(name: &str, text: &str) -> Read<Database> {
    let mut database = Database { name: name.to_owned(), members: Vec::new(), settings: Vec::new() };
    for member in options(text) {
        match member.split_whitespace().collect::<Vec<_>>()[..] {
            [member, "in", zone] => database.members.push((member.to_owned(), zone.to_owned())),
            _ => return Err("write members and their zones: pg1 in a, pg2 in b".to_owned()),
        }
    }
    if database.members.is_empty() {
        return Err("write members and their zones: pg1 in a, pg2 in b".to_owned());
    }
    Ok(database)
}

fn workload(kind: Kind, name: &str, text: &str) -> Read<Workload> {
    let mut it = Workload::new(kind, name, 1);
    for option in options(text) {
        match option.split_whitespace().collect::<Vec<_>>()[..] {
            [replicas, "replicas" | "replica"] => it.replicas = number(replicas)?,
            ["surge", pods] => {
                let Strategy::Rolling { surge, .. } = &mut it.strategy else { return Err(OPTIONS.to_owned()) };
                *surge = number(pods)?;
            }
            ["unavailable", pods] => {
                let Strategy::Rolling { unavailable, .. } = &mut it.strategy else { return Err(OPTIONS.to_owned()) };
                *unavailable = number(pods)?;
            }
            ["recreate"] if kind == Kind::Deployment => it.strategy = Strategy::Recreate,
            ["on", "delete"] if kind == Kind::StatefulSet => it.strategy = Strategy::OnDelete,
            ["partition", pods] if kind == Kind::StatefulSet => {
                it.strategy = Strategy::Ordered { unavailable: 1, partition: number(pods)? };
            }
            ["budget", ref rest @ ..] => it.budget = Some(budget(rest)?),
            ["ready", "after", after] => it.ready = Some(time(after)?),
            ["never", "ready"] => it.ready = None,
            ["ends", "after", after] => it.ends = time(after)?,
            ["available", "after", after] => it.available_after = time(after)?,
            ["cpu", cpu] => it.cpu_m = millicores(cpu)?,
            ["follow", databases] => it.follow = databases.split('+').map(str::to_owned).collect(),
            ["move", mode] => {
                it.moved_by = Some(MoveMode::read(mode).ok_or("write move auto, evict, restart or never")?);
            }
            _ => return Err(OPTIONS.to_owned()),
        }
    }
    Ok(it)
}

fn budget(words: &[&str]) -> Read<Budget> {
    let share = |text: &str| match text.strip_suffix('%') {
        Some(percent) => number(percent).map(Share::Percent),
        None => number(text).map(Share::Pods),
    };
    match words {
        ["unavailable", text] => share(text).map(Budget::Unavailable),
        ["available", text] => share(text).map(Budget::Available),
        _ => Err("write budget unavailable 1, or budget available 50%".to_owned()),
    }
}

fn node_deed(word: &str) -> Read<NodeDeed> {
    NodeDeed::ALL
        .into_iter()
        .find(|it| it.word() == word)
        .ok_or_else(|| "write dead, back, cordoned, uncordoned, drained, unmeasured or measured".to_owned())
}

fn workload_deed(words: &[&str]) -> Read<WorkloadDeed> {
    Ok(match words {
        ["is", "deployed"] => WorkloadDeed::Deployed,
        ["is", "deleted"] => WorkloadDeed::Deleted,
        ["is", "scaled", "to", replicas] => WorkloadDeed::Scaled(number(replicas)?),
        ["has", "no", "budget"] => WorkloadDeed::Budget(None),
        ["has", "budget", rest @ ..] => WorkloadDeed::Budget(Some(budget(rest)?)),
        ["is", "never", "ready"] => WorkloadDeed::Ready(None),
        ["is", "ready", "after", after] => WorkloadDeed::Ready(Some(time(after)?)),
        ["is", "not", "moved", "back"] => WorkloadDeed::MovedBack(None),
        ["is", "moved", "back", "every", every] => WorkloadDeed::MovedBack(Some(time(every)?)),
        _ => return Err(WORKLOAD_EVENTS.to_owned()),
    })
}

fn options(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|option| !option.is_empty())
}

fn two(text: &str) -> Option<(&str, &str)> {
    text.trim().split_once(char::is_whitespace).map(|(key, value)| (key, value.trim()))
}

fn number<T: std::str::FromStr>(text: &str) -> Read<T> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn millicores(text: &str) -> Read<u64> {
    match text.strip_suffix('m') {
        Some(millis) => number(millis),
        None => number::<u64>(text).map(|cores| cores.saturating_mul(1000)),
    }
}

fn span(text: &str) -> Read<Span> {
    text.parse().map_err(|error: crate::api::span::SpanError| error.to_string())
}

fn time(text: &str) -> Read<Ms> {
    span(text).map(|span| span.as_us() / 1000)
}
