//! A seed → a cluster, and months of what may happen to it.

use std::time::Duration;

use super::{
    chance::Chance,
    script::{
        Budget, Database, DatabaseDeed, Event, KINDS, Kind, Ms, NodeDeed, Part, Script, Share, What, Workload,
        WorkloadDeed, Zone,
    },
};
use crate::core::{follow::MoveMode, workload::Strategy};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// A script that nobody wrote: a small cluster, and so many days of trouble. The same seed always gives the same.
#[must_use]
pub fn invent(seed: u64, days: u32) -> Script {
    let mut chance = Chance::new(seed);
    let mut script = cluster(&mut chance, seed);
    script.until = u64::from(days.max(1)) * 24 * HOUR;
    let mut inventor = Inventor { chance: &mut chance, script: &mut script };
    inventor.trouble();
    script.events.sort_by_key(|event| event.at);
    script
}

fn cluster(chance: &mut Chance, seed: u64) -> Script {
    let names = ["a", "b", "c"];
    let zones = if chance.percent(50) { 2 } else { 3 };
    let zone = |name: &&str, chance: &mut Chance| Zone {
        name: (*name).to_owned(),
        nodes: 2 + chance.below(5),
        cpu_m: 4_000,
        pods: 30,
    };
    let zones: Vec<Zone> = names[..zones].iter().map(|name| zone(name, chance)).collect();
    let mut distances = Vec::new();
    if zones.len() == 3 && chance.percent(50) {
        distances.push(("a".to_owned(), "b".to_owned(), Duration::from_millis(8)));
    }
    let member =
        |database: usize, zone: &Zone| (format!("pg{}", (database * 10) + 1 + place(&zone.name)), zone.name.clone());
    let databases = if chance.percent(70) { vec!["default"] } else { vec!["default", "orders"] };
    let databases: Vec<Database> = databases
        .into_iter()
        .enumerate()
        .map(|(at, name)| Database {
            name: name.to_owned(),
            members: zones.iter().map(|zone| member(at, zone)).collect(),
            settings: settings(chance),
        })
        .collect();
    let many = 4 + chance.below(8);
    let workloads = (0..many).map(|at| workload(chance, at, databases.len())).collect();
    Script { seed, zones, distances, databases, workloads, events: Vec::new(), expectations: Vec::new(), until: 0 }
}

fn place(zone: &str) -> usize {
    usize::from(zone.bytes().next().unwrap_or(b'a').saturating_sub(b'a'))
}

fn settings(chance: &mut Chance) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    let mut say = |key: &str, value: String| settings.push((key.to_owned(), value));
    if chance.percent(50) {
        say("settle", format!("{}s", chance.between(0, 60)));
    }
    if chance.percent(50) {
        say("maxConcurrent", chance.between(1, 12).to_string());
    }
    if chance.percent(30) {
        say("haltAfterFailures", chance.between(1, 5).to_string());
    }
    if chance.percent(30) {
        say("replacementTimeout", format!("{}s", chance.between(20, 300)));
    }
    settings
}

fn budget(chance: &mut Chance, replicas: u32) -> Budget {
    match chance.below(6) {
        0 => Budget::Unavailable(Share::Percent(25)),
        1 => Budget::Available(Share::Percent(50)),
        2 => Budget::Available(Share::Pods(replicas.saturating_sub(1))),
        3 => Budget::Unavailable(Share::Pods(2)),
        4 if chance.percent(30) => Budget::Unavailable(Share::Pods(0)),
        _ => Budget::Unavailable(Share::Pods(1)),
    }
}

fn workload(chance: &mut Chance, at: u32, databases: usize) -> Workload {
    let kind = match chance.below(10) {
        0..=5 => Kind::Deployment,
        6..=8 => Kind::StatefulSet,
        _ => Kind::ReplicaSet,
    };
    let replicas = if chance.percent(25) { 1 } else { 2 + chance.below(6) };
    let mut it = Workload::new(kind, &format!("w{at}"), replicas);
    it.strategy = match (kind, chance.below(8)) {
        (Kind::Deployment, 0) => Strategy::Recreate,
        (Kind::Deployment, 1) => Strategy::Rolling { surge: 0, unavailable: 1 },
        (Kind::Deployment, 2) => Strategy::Rolling { surge: 2, unavailable: 1 },
        (Kind::StatefulSet, 0) => Strategy::OnDelete,
        _ => it.strategy,
    };
    it.budget = chance.percent(60).then(|| budget(chance, replicas));
    it.ready = Some(chance.between(1, 40) * SECOND);
    it.ends = chance.between(1, 30) * SECOND;
    it.available_after = if chance.percent(20) { 10 * SECOND } else { 0 };
    it.cpu_m = chance.between(1, 8) * 100;
    it.moved_by = match chance.below(20) {
        0 => Some(MoveMode::Never),
        1 | 2 => Some(MoveMode::Evict),
        3 | 4 => Some(MoveMode::Restart),
        _ => None,
    };
    if databases > 1 {
        it.follow = match chance.below(4) {
            0 => vec!["orders".to_owned()],
            1 => vec!["default".to_owned(), "orders".to_owned()],
            _ => Vec::new(),
        };
    }
    it
}

struct Inventor<'i> {
    chance: &'i mut Chance,
    script: &'i mut Script,
}

impl Inventor<'_> {
    /// Trouble comes every few hours, and often more than one at a time.
    fn trouble(&mut self) {
        let mut now = 10 * MINUTE;
        while now < self.script.until {
            let many = 1 + self.chance.below(4);
            for _ in 0..many {
                let at = now + self.chance.between(0, 240) * SECOND;
                self.one(at);
            }
            now += match self.chance.below(3) {
                0 => self.chance.between(2, 20) * MINUTE,
                1 => self.chance.between(20, 120) * MINUTE,
                _ => self.chance.between(3, 9) * HOUR,
            };
        }
    }

    fn say(&mut self, at: Ms, what: What) {
        if at < self.script.until {
            self.script.events.push(Event { at, what });
        }
    }

    /// Something begins, and is over after a while.
    fn for_a_while(&mut self, at: Ms, (least, most): (u64, u64), begins: What, ends: What) {
        let over = at + self.chance.between(least, most) / SECOND * SECOND;
        // It must be over before the end, or what is found at the end is found of a cluster that is ill.
        if over < self.script.until {
            self.say(at, begins);
            self.say(over, ends);
        }
    }

    fn one(&mut self, at: Ms) {
        let kinds = self.chance.below(28);
        match kinds {
            0..=4 => self.switchover(at),
            5..=7 => self.failover(at),
            8 => self.flap(at),
            9 => self.split(at),
            10 => self.database(at, (MINUTE, 30 * MINUTE), DatabaseDeed::Frozen, DatabaseDeed::Thawed),
            11 => self.database(at, (MINUTE, 60 * MINUTE), DatabaseDeed::Paused, DatabaseDeed::Resumed),
            12 => self.node(at, (MINUTE, 30 * MINUTE), NodeDeed::Dies, NodeDeed::Returns),
            13 => self.node(at, (10 * MINUTE, 60 * MINUTE), NodeDeed::Drained, NodeDeed::Uncordoned),
            14 => self.node(at, (MINUTE, 60 * MINUTE), NodeDeed::Unmeasured, NodeDeed::Measured),
            15 => self.zone_dies(at),
            16 => self.part(at, (10 * SECOND, 60 * MINUTE), Part::Webhook),
            17 => self.part(at, (10 * SECOND, 10 * MINUTE), Part::Scheduler),
            18 => self.part(at, (5 * SECOND, 5 * MINUTE), Part::Controllers),
            19 => self.part(at, (5 * SECOND, 2 * MINUTE), Part::Api),
            20 => self.part(at, (5 * SECOND, 5 * MINUTE), Part::Status),
            21 => {
                let span = (10 * MINUTE, 2 * HOUR);
                self.for_a_while(at, span, What::Scheduler { heeds: false }, What::Scheduler { heeds: true });
            }
            22 => {
                let kind = KINDS[self.chance.below(8) as usize].to_owned();
                let (hangs, works) =
                    (What::Watch { kind: kind.clone(), works: false }, What::Watch { kind, works: true });
                self.for_a_while(at, (2 * SECOND, 90 * SECOND), hangs, works);
            }
            23 | 24 => self.say(at, What::LeaderDies),
            25 => {
                let lag = self.chance.between(1, 30) * SECOND;
                self.for_a_while(at, (MINUTE, 30 * MINUTE), What::Budgets { lag }, What::Budgets { lag: 150 });
            }
            _ => self.workload(at),
        }
    }

    fn member(&mut self) -> (String, String) {
        let databases = self.script.databases.clone();
        let Some(database) = self.chance.one(&databases) else { return Default::default() };
        let member = self.chance.one(&database.members).map(|(member, _)| member.clone());
        (database.name.clone(), member.unwrap_or_default())
    }

    fn switchover(&mut self, at: Ms) {
        let (_, member) = self.member();
        self.say(at, What::Primary { member });
    }

    fn failover(&mut self, at: Ms) {
        let (name, member) = self.member();
        self.say(at, What::Database { name, deed: DatabaseDeed::Lost });
        let over = at + self.chance.between(5, 90) * SECOND;
        self.say(over, What::Primary { member });
    }

    fn flap(&mut self, at: Ms) {
        let mut now = at;
        let database = self.member().0;
        let members: Vec<String> = self
            .script
            .databases
            .iter()
            .filter(|it| it.name == database)
            .flat_map(|it| it.members.iter().map(|(member, _)| member.clone()))
            .collect();
        for _ in 0..2 + self.chance.below(5) {
            if let Some(member) = self.chance.one(&members).cloned() {
                self.say(now, What::Primary { member });
            }
            now += self.chance.between(2, 300) * SECOND;
        }
    }

    fn split(&mut self, at: Ms) {
        let (name, member) = self.member();
        self.say(at, What::Database { name, deed: DatabaseDeed::Split });
        let over = at + self.chance.between(5, 600) * SECOND;
        self.say(over, What::Primary { member });
    }

    fn database(&mut self, at: Ms, span: (u64, u64), begins: DatabaseDeed, ends: DatabaseDeed) {
        let (name, _) = self.member();
        let what = |deed| What::Database { name: name.clone(), deed };
        self.for_a_while(at, span, what(begins), what(ends));
    }

    fn node(&mut self, at: Ms, span: (u64, u64), begins: NodeDeed, ends: NodeDeed) {
        let zones = self.script.zones.clone();
        let Some(zone) = self.chance.one(&zones) else { return };
        let name = format!("{}{}", zone.name, 1 + self.chance.below(zone.nodes));
        let what = |deed| What::Node { name: name.clone(), deed };
        self.for_a_while(at, span, what(begins), what(ends));
    }

    /// A data centre is lost, and with it perhaps the primary.
    fn zone_dies(&mut self, at: Ms) {
        let zones = self.script.zones.clone();
        let Some(zone) = self.chance.one(&zones) else { return };
        let what = |deed| What::Zone { name: zone.name.clone(), deed };
        self.for_a_while(at, (5 * MINUTE, 60 * MINUTE), what(NodeDeed::Dies), what(NodeDeed::Returns));
        if self.chance.percent(70) {
            self.failover(at);
        }
    }

    fn part(&mut self, at: Ms, span: (u64, u64), part: Part) {
        self.for_a_while(at, span, What::Part { part, works: false }, What::Part { part, works: true });
    }

    fn workload(&mut self, at: Ms) {
        let workloads = self.script.workloads.clone();
        let Some(spec) = self.chance.one(&workloads) else { return };
        let what = |deed| What::Workload { name: spec.name.clone(), deed };
        match self.chance.below(6) {
            0 | 1 => self.say(at, what(WorkloadDeed::Deployed)),
            2 => {
                let replicas = 1 + self.chance.below(spec.replicas * 2);
                let span = (MINUTE, 2 * HOUR);
                self.for_a_while(
                    at,
                    span,
                    what(WorkloadDeed::Scaled(replicas)),
                    what(WorkloadDeed::Scaled(spec.replicas)),
                );
            }
            3 => {
                let asks = Some(budget(self.chance, spec.replicas));
                let span = (MINUTE, 60 * MINUTE);
                self.for_a_while(at, span, what(WorkloadDeed::Budget(asks)), what(WorkloadDeed::Budget(spec.budget)));
            }
            4 => {
                let span = (MINUTE, 60 * MINUTE);
                self.for_a_while(at, span, what(WorkloadDeed::Ready(None)), what(WorkloadDeed::Ready(spec.ready)));
            }
            _ => {
                let every = self.chance.between(30, 600) * SECOND;
                let back = WorkloadDeed::MovedBack(Some(every));
                self.for_a_while(at, (10 * MINUTE, 3 * HOUR), what(back), what(WorkloadDeed::MovedBack(None)));
            }
        }
    }
}
