//! Plays a script: time goes from one thing that is due to the next.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Instant,
};

use super::{
    cluster::Timer,
    expect,
    leader::Task,
    report::Report,
    script::{DatabaseDeed, Event, Ms, NodeDeed, Part, Script, SettingError, What, WorkloadDeed},
    world::World,
};
use crate::core::movement::ledger::Ledger;

/// A Lease that isn't renewed expires after this.
const LEASE: Ms = 15_000;
/// `kubectl drain` tries again after this.
const DRAIN: Ms = 5_000;

/// Something that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Cluster(Timer),
    Event(usize),
    Deliver,
    Wake(usize),
    Act(usize, u32),
    Elect,
    MoveBack(usize, u32),
    Drain(usize),
    Expect(usize),
    End,
}

/// A simulation in the middle.
struct Player<'s> {
    script: &'s Script,
    world: World,
    /// Nobody leads while there is none.
    tasks: Option<Vec<Task>>,
    /// Counts the leaders.
    term: u32,
    due: BinaryHeap<Reverse<(Ms, u64, Due)>>,
    sequence: u64,
    /// Who is moved back again and again, how often, and which word of it is the last.
    moved_back: BTreeMap<usize, (Ms, u32)>,
    draining: BTreeMap<usize, ()>,
    far: u64,
    missing: u64,
    now: Ms,
}

/// Plays a script from its beginning to its end. Nothing depends on what `begin` is.
///
/// # Errors
/// A setting of the script is no field of `spec.movement`.
pub fn play(script: &Script, begin: Instant) -> Result<Report, SettingError> {
    let mut player = Player::new(script, begin)?;
    player.run();
    let mut report = player.world.report;
    report.broken = player.world.laws.broken;
    report.broken.sort();
    report.broken.dedup();
    Ok(report)
}

impl<'s> Player<'s> {
    fn new(script: &'s Script, begin: Instant) -> Result<Self, SettingError> {
        let world = World::new(script, begin)?;
        let mut player = Self {
            script,
            world,
            tasks: None,
            term: 0,
            due: BinaryHeap::new(),
            sequence: 0,
            moved_back: BTreeMap::new(),
            draining: BTreeMap::new(),
            far: 0,
            missing: 0,
            now: 0,
        };
        for (at, event) in script.events.iter().enumerate() {
            player.push(event.at, Due::Event(at));
        }
        for (at, time) in script.expectations.iter().enumerate().filter_map(|(at, it)| Some((at, it.time()?))) {
            player.push(time, Due::Expect(at));
        }
        player.push(script.until, Due::End);
        player.push(0, Due::Elect);
        player.absorb();
        Ok(player)
    }

    fn push(&mut self, at: Ms, due: Due) {
        self.sequence += 1;
        self.due.push(Reverse((at, self.sequence, due)));
    }

    fn run(&mut self) {
        while let Some(Reverse((at, _, due))) = self.due.pop() {
            let passed = at.saturating_sub(self.now);
            self.world.report.far_pod_ms += self.far * passed;
            self.world.report.missing_pod_ms += self.missing * passed;
            self.now = self.now.max(at);
            self.world.cluster.now = self.now;
            self.world.report.steps += 1;
            if due == Due::End || self.world.laws.broken.len() > 5 {
                break;
            }
            self.happen(due);
            self.absorb();
        }
        expect::at_the_end(self.script, &mut self.world);
    }

    fn happen(&mut self, due: Due) {
        let now = self.now;
        match due {
            Due::Cluster(timer) => self.world.cluster.fire(timer, now),
            Due::Event(at) => {
                let script = self.script;
                self.suffer(&script.events[at]);
            }
            Due::Deliver => self.deliver(),
            Due::Wake(task) => self.wake(task),
            Due::Act(task, term) if term == self.term => self.with(task, |task, world| task.act(world, now)),
            Due::Act(..) => {}
            Due::Elect => self.elect(),
            Due::MoveBack(workload, word) => self.move_back(workload, word),
            Due::Drain(node) => self.drain(node),
            Due::Expect(at) => {
                let last = self.tasks.as_deref().unwrap_or_default();
                let last: Vec<_> = last.iter().map(|task| task.last.as_ref()).collect();
                expect::now(&self.script.expectations[at], &mut self.world, &last, now);
            }
            Due::End => {}
        }
    }

    /// A task evaluates, unless it has something else to do by now.
    fn wake(&mut self, task: usize) {
        let now = self.now;
        let due = |task: &Task| task.wake == now && task.acting.is_empty();
        if self.tasks.as_ref().is_some_and(|tasks| due(&tasks[task])) {
            self.world.report.evaluations += 1;
            self.with(task, |task, world| task.step(world, now));
        }
    }

    /// Lets a task of the leader do something, and plans what it does next.
    fn with(&mut self, at: usize, does: impl FnOnce(&mut Task, &mut World)) {
        let Some(mut tasks) = self.tasks.take() else { return };
        does(&mut tasks[at], &mut self.world);
        let (wake, acts) = (tasks[at].wake, tasks[at].acts_at(&mut self.world, self.now));
        match acts {
            Some(acts) => self.push(acts, Due::Act(at, self.term)),
            None if wake > self.now => self.push(wake, Due::Wake(at)),
            None => {}
        }
        self.tasks = Some(tasks);
    }

    /// What came of a step: new timers, news for the watches, who is far.
    fn absorb(&mut self) {
        let now = self.now;
        if std::mem::take(&mut self.world.cluster.reschedule) {
            self.push(now + 100, Due::Cluster(Timer::Schedule));
        }
        for (at, timer) in std::mem::take(&mut self.world.cluster.timers) {
            self.push(at, Due::Cluster(timer));
        }
        for change in std::mem::take(&mut self.world.cluster.changes) {
            let at = self.world.watches.send(change, now, &mut self.world.chance);
            self.push(at, Due::Deliver);
        }
        if std::mem::take(&mut self.world.cluster.moved) {
            let cluster = &self.world.cluster;
            self.far = cluster.pods.values().filter(|pod| cluster.is_far(pod)).count() as u64;
            let serving: Vec<u32> = (0..cluster.workloads.len()).map(|at| cluster.serving(at)).collect();
            let missing = |at: usize| u64::from(cluster.workloads[at].spec.replicas.saturating_sub(serving[at]));
            self.missing = cluster.live().map(missing).sum();
            self.world.laws.look(cluster);
            expect::always(self.script, &mut self.world, &serving, now);
        }
    }

    fn deliver(&mut self) {
        if self.world.watches.deliver(&self.world.cluster.databases, self.now) {
            self.rouse();
        }
    }

    fn elect(&mut self) {
        if self.tasks.is_some() {
            return;
        }
        if !self.world.answers() {
            self.push(self.now + 2_000, Due::Elect);
            return;
        }
        let now = self.now;
        self.term += 1;
        self.world.laws.led_since = now;
        self.world.ledger = Ledger::default();
        for at in 0..self.world.cluster.workloads.len() {
            self.world.laws.count_anew(at, now);
        }
        let moment = self.world.clock.moment(now);
        let task = |(at, stored)| Task::new(at, stored, now, moment);
        let tasks: Vec<Task> = self.world.stored.iter().enumerate().map(task).collect();
        for task in &tasks {
            task.take_over(&mut self.world);
            self.push(task.wake, Due::Wake(task.database));
        }
        self.tasks = Some(tasks);
    }

    fn suffer(&mut self, event: &Event) {
        let now = self.now;
        self.world.laws.disturb(now);
        self.world.report.tell(now, &event.what);
        match &event.what {
            What::Primary { member } => self.promote(member),
            What::Database { name, deed } => self.database(name, *deed),
            What::Node { name, deed } => {
                if let Some(node) = self.world.cluster.node(name) {
                    self.node(node, *deed);
                }
            }
            What::Zone { name, deed } => {
                let nodes: Vec<usize> = (0..self.world.cluster.nodes.len())
                    .filter(|node| self.world.cluster.nodes[*node].zone == *name)
                    .collect();
                nodes.into_iter().for_each(|node| self.node(node, *deed));
            }
            What::Workload { name, deed } => {
                if let Some(at) = self.world.cluster.find(name).filter(|at| !self.world.cluster.workloads[*at].deleted)
                {
                    self.workload(at, *deed);
                }
            }
            What::Part { part, works } => self.part(*part, *works),
            What::Scheduler { heeds } => self.world.cluster.heeds_labels = *heeds,
            What::Watch { kind, works } => {
                self.world.watches.hang(kind, *works, now);
                self.hangs();
            }
            What::Budgets { lag } => self.world.cluster.budget_lag = *lag,
            What::LeaderDies => {
                self.tasks = None;
                self.push(now + LEASE, Due::Elect);
            }
        }
        // Discovery hears of it at its next look, and so do agents.
        self.rouse();
    }

    fn rouse(&mut self) {
        let now = self.now;
        let roused = self.tasks.iter_mut().flatten().filter_map(|task| Some((task.database, task.rouse(now)?)));
        let roused: Vec<(usize, Ms)> = roused.collect();
        roused.into_iter().for_each(|(task, at)| self.push(at, Due::Wake(task)));
    }

    /// The watches have changed: laws know that what was true may not be seen.
    fn hangs(&mut self) {
        let now = self.now;
        self.world.laws.hanging = (!self.world.watches.all_well()).then_some(now);
        self.push(now, Due::Deliver);
    }

    fn promote(&mut self, member: &str) {
        let now = self.now;
        let cluster = &mut self.world.cluster;
        let found = cluster.databases.iter().position(|it| it.members.iter().any(|it| it.name == member));
        let Some(at) = found else { return };
        cluster.databases[at].promote(member, now);
        cluster.judge(at);
        for workload in 0..cluster.workloads.len() {
            self.world.laws.count_anew(workload, now);
        }
    }

    fn database(&mut self, name: &str, deed: DatabaseDeed) {
        let cluster = &mut self.world.cluster;
        if let Some(at) = cluster.databases.iter().position(|it| it.name == name)
            && cluster.databases[at].suffer(deed, self.now)
        {
            cluster.changes.push(super::cluster::Change::Database(at));
        }
    }

    fn node(&mut self, node: usize, deed: NodeDeed) {
        let now = self.now;
        let cluster = &mut self.world.cluster;
        match deed {
            NodeDeed::Dies => cluster.kill_node(node, now),
            NodeDeed::Returns => cluster.revive_node(node, now),
            NodeDeed::Cordoned => cluster.cordon(node, true),
            NodeDeed::Uncordoned => {
                self.draining.remove(&node);
                cluster.cordon(node, false);
            }
            NodeDeed::Drained => {
                cluster.cordon(node, true);
                self.draining.insert(node, ());
                self.push(now, Due::Drain(node));
            }
            NodeDeed::Unmeasured => cluster.nodes[node].measured = false,
            NodeDeed::Measured => (cluster.nodes[node].measured, cluster.nodes[node].changed) = (true, now),
        }
    }

    fn workload(&mut self, at: usize, deed: WorkloadDeed) {
        let now = self.now;
        let cluster = &mut self.world.cluster;
        match deed {
            WorkloadDeed::Deployed => {
                cluster.deploy(at, now);
                self.world.laws.count_anew(at, now);
            }
            WorkloadDeed::Scaled(replicas) => {
                cluster.scale(at, replicas, now);
                self.world.laws.count_anew(at, now);
            }
            WorkloadDeed::Budget(asks) => cluster.put_budget(at, asks, now),
            WorkloadDeed::Ready(after) => cluster.ready_after(at, after, now),
            WorkloadDeed::MovedBack(every) => {
                let word = self.moved_back.get(&at).map_or(0, |(_, word)| word + 1);
                self.moved_back.insert(at, (every.unwrap_or(0), word));
                if let Some(every) = every {
                    self.push(now + every.max(1_000), Due::MoveBack(at, word));
                }
            }
            WorkloadDeed::Deleted => cluster.delete_workload(at, now),
        }
    }

    fn part(&mut self, part: Part, works: bool) {
        let now = self.now;
        let cluster = &mut self.world.cluster;
        match part {
            Part::Webhook => cluster.webhook = works,
            Part::Scheduler => {
                cluster.scheduler = works;
                cluster.reschedule = true;
            }
            Part::Controllers => {
                cluster.controllers = works;
                (0..cluster.workloads.len()).for_each(|at| cluster.touch(at, now));
            }
            Part::Status => self.world.writes_status = works,
            Part::Api => {
                self.world.watches.cut_off = (!works).then_some(now);
                self.hangs();
            }
        }
    }

    /// A descheduler takes a pod from near the primary, and its replacement goes elsewhere.
    fn move_back(&mut self, at: usize, word: u32) {
        let now = self.now;
        let Some((every, _)) = self.moved_back.get(&at).copied().filter(|(_, last)| *last == word) else { return };
        self.world.laws.disturb(now);
        let cluster = &mut self.world.cluster;
        let near = cluster.pods_of(at).find(|(_, pod)| cluster.serves(pod) && !cluster.is_far(pod)).map(|(id, _)| id);
        if let Some(id) = near.filter(|_| self.world.watches.cut_off.is_none()) {
            cluster.workloads[at].shunned += 1;
            if cluster.evict(id, now) == super::cluster::Answer::Accepted {
                let name = cluster.workloads[at].spec.name.clone();
                self.world.report.tell(now, format!("somebody moves a pod of {name} back"));
            } else {
                cluster.workloads[at].shunned -= 1;
            }
        }
        self.push(now + every.max(1_000), Due::MoveBack(at, word));
    }

    fn drain(&mut self, node: usize) {
        if !self.draining.contains_key(&node) {
            return;
        }
        let now = self.now;
        let cluster = &mut self.world.cluster;
        let pods: Vec<u64> =
            cluster.pods.iter().filter(|(_, pod)| pod.node == Some(node) && !pod.dying).map(|(id, _)| *id).collect();
        if pods.is_empty() {
            self.draining.remove(&node);
            return;
        }
        if self.world.watches.cut_off.is_none() {
            for id in pods {
                let _ = cluster.evict(id, now);
            }
        }
        self.push(now + DRAIN, Due::Drain(node));
    }
}

#[cfg(test)]
mod foretold;
