//! The cluster as it truly is: nodes, pods, workloads and their budgets. What its controllers do with them is in the files below.

mod budgets;
mod controllers;
mod facts;
mod nodes;
mod scheduler;

use std::collections::{BTreeMap, BTreeSet};

pub(super) use self::{
    budgets::Answer,
    facts::{Change, wall},
    nodes::Node,
};
use super::{
    chance::Chance,
    databases::Database,
    script::{self, Kind, Ms, Script, SettingError},
};
use crate::core::{distance::tier::Tier, workload::Strategy};

/// The namespace of everybody.
pub(super) const NAMESPACE: &str = "shop";

/// A pod.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub name: String,
    pub workload: usize,
    /// Of the template that it was made of.
    pub revision: u32,
    pub mark: Option<String>,
    /// Of a StatefulSet.
    pub ordinal: Option<u32>,
    pub node: Option<usize>,
    pub created: Ms,
    /// Its containers have started.
    pub running: bool,
    /// Since when it is Ready.
    pub ready: Option<Ms>,
    /// It is on its way out.
    pub dying: bool,
    /// What admission injected.
    pub keys: Vec<String>,
    /// Whoever moves pods back wants it out of this zone.
    pub shunned: Option<String>,
}

/// Pods of one template of a Deployment; a ReplicaSet that nobody owns has one set, too.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub revision: u32,
    pub replicas: u32,
    pub mark: Option<String>,
}

/// A workload, with what its controller has made of it.
#[derive(Debug, Clone)]
pub(super) struct Workload {
    pub spec: script::Workload,
    pub follow: Vec<usize>,
    pub deleted: bool,
    pub revision: u32,
    /// `switchover.dev/restarted-for` of its template.
    pub mark: Option<String>,
    pub sets: Vec<Set>,
    /// Its controller has looked at its newest spec.
    pub observed: bool,
    pub budget: Option<BudgetState>,
    /// Its controller looks at it at this time.
    pub sync: Option<Ms>,
    /// The disruption controller does.
    pub count: Option<Ms>,
    /// The next replacement goes elsewhere than near.
    pub shunned: u32,
    made: u32,
}

/// What the disruption controller made of a budget, and what evictions took of it since.
#[derive(Debug, Clone)]
pub(super) struct BudgetState {
    pub asks: script::Budget,
    pub allowed: u32,
    healthy: u32,
    wanted: u32,
    /// Evicted and not yet seen to be on their way out.
    disrupted: BTreeMap<u64, Ms>,
    /// The controller has looked at its newest spec.
    observed: bool,
}

/// Everything.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub nodes: Vec<Node>,
    pub pods: BTreeMap<u64, Pod>,
    pub workloads: Vec<Workload>,
    pub databases: Vec<Database>,
    /// By database, what every node's tier truly is.
    pub truth: Vec<Vec<Tier>>,
    pub webhook: bool,
    pub scheduler: bool,
    pub heeds_labels: bool,
    pub controllers: bool,
    pub budget_lag: Ms,
    pub now: Ms,
    /// What happened and isn't in anybody's picture yet.
    pub changes: Vec<Change>,
    /// What has to be looked at again, and when.
    pub timers: Vec<(Ms, Timer)>,
    next_pod: u64,
    /// Counts what was written of disruption budgets.
    budget_version: u64,
    /// A node, or a pod that takes room, changed: who is Pending may find a place.
    pub reschedule: bool,
    /// Pods came, went or changed: who is far has to be counted again.
    pub moved: bool,
}

impl Workload {
    fn new(script: &Script, spec: &script::Workload) -> Self {
        let followed = script.followed(spec);
        let place = |name: &String| script.databases.iter().position(|database| database.name == *name);
        Self {
            follow: followed.iter().filter_map(place).collect(),
            deleted: false,
            revision: 1,
            mark: None,
            sets: match spec.kind {
                Kind::StatefulSet => Vec::new(),
                _ => vec![Set { revision: 1, replicas: spec.replicas, mark: None }],
            },
            observed: true,
            budget: spec.budget.map(BudgetState::new),
            sync: None,
            count: None,
            shunned: 0,
            made: 0,
            spec: spec.clone(),
        }
    }
}

impl BudgetState {
    /// One that nobody has looked at yet.
    const fn new(asks: script::Budget) -> Self {
        Self { asks, allowed: 0, healthy: 0, wanted: 0, disrupted: BTreeMap::new(), observed: false }
    }
}

/// Something of the cluster that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    Start(u64),
    Ready(u64),
    Gone(u64),
    /// The node's controller hasn't heard of it; since when it is dead.
    Silent(usize, Ms),
    /// Its pods are ended.
    Emptied(usize, Ms),
    Sync(usize),
    Count(usize),
    Schedule,
}

impl Cluster {
    /// As a script describes it: every node labelled, every pod Ready, where there is room.
    pub(super) fn new(script: &Script, chance: &mut Chance) -> Result<Self, SettingError> {
        let databases: Vec<Database> =
            script.databases.iter().enumerate().map(|(at, it)| Database::new(at, it)).collect::<Result<_, _>>()?;
        let mut cluster = Self {
            nodes: nodes::of(script, &databases, chance),
            pods: BTreeMap::new(),
            workloads: script.workloads.iter().map(|spec| Workload::new(script, spec)).collect(),
            truth: vec![Vec::new(); databases.len()],
            databases,
            webhook: true,
            scheduler: true,
            heeds_labels: true,
            controllers: true,
            budget_lag: 150,
            now: 0,
            changes: Vec::new(),
            timers: Vec::new(),
            next_pod: 1,
            budget_version: 0,
            reschedule: false,
            moved: true,
        };
        for database in 0..cluster.databases.len() {
            cluster.label_truly(database);
        }
        for at in 0..cluster.workloads.len() {
            cluster.fill_at_once(at);
        }
        for node in 0..cluster.nodes.len() {
            cluster.tell_node(node);
        }
        (0..cluster.databases.len()).for_each(|database| cluster.changes.push(Change::Database(database)));
        Ok(cluster)
    }

    /// What every node's tier truly is, for the present primary. While there is none, it stays what it was.
    pub(super) fn judge(&mut self, database: usize) {
        let all: Vec<Option<u32>> = (0..self.nodes.len()).map(|node| self.rtt_us(node, database)).collect();
        let Some((least, most)) = all.iter().flatten().min().zip(all.iter().flatten().max()) else { return };
        let window_us = u32::try_from(self.databases[database].object.spec.tiers.window.as_us()).unwrap_or(u32::MAX);
        let tier = |us: &Option<u32>| match us {
            None => Tier::Unknown,
            Some(us) if *us < least.saturating_add(window_us) => Tier::Closely,
            Some(us) if *us >= most.saturating_sub(window_us) => Tier::Far,
            Some(_) => Tier::Intermediate,
        };
        self.truth[database] = all.iter().map(tier).collect();
        self.moved = true;
    }

    /// Every node has the label that it should have, as if the controller had run for long.
    fn label_truly(&mut self, database: usize) {
        self.judge(database);
        let key = self.databases[database].object.node_label().to_string();
        for (node, tier) in self.nodes.iter_mut().zip(&self.truth[database]) {
            node.labels.extend(tier.label().map(|label| (key.clone(), label.to_owned())));
        }
    }

    fn fill_at_once(&mut self, at: usize) {
        let replicas = self.workloads[at].spec.replicas;
        let stateful = self.workloads[at].spec.kind == Kind::StatefulSet;
        for ordinal in 0..replicas {
            let id = self.make(at, 1, stateful.then_some(ordinal), 0);
            self.schedule(0);
            if let Some(pod) = self.pods.get_mut(&id).filter(|pod| pod.node.is_some()) {
                (pod.running, pod.ready) = (true, Some(0));
            }
            self.tell_pod(id);
        }
        self.tell_workload(at);
        // By then every pod has been Ready for long enough.
        self.timer(self.workloads[at].spec.available_after + 1, Timer::Sync(at));
        if self.workloads[at].budget.is_some() {
            self.fire(Timer::Count(at), 0);
        }
    }

    pub(super) fn timer(&mut self, at: Ms, timer: Timer) {
        self.timers.push((at, timer));
    }

    /// Its controller is to look at a workload soon.
    pub(super) fn touch(&mut self, workload: usize, now: Ms) {
        let lag = self.budget_lag;
        let it = &mut self.workloads[workload];
        if it.sync.is_none() {
            it.sync = Some(now + 60);
            self.timers.push((now + 60, Timer::Sync(workload)));
        }
        if it.budget.is_some() && it.count.is_none() {
            it.count = Some(now + lag);
            self.timers.push((now + lag, Timer::Count(workload)));
        }
        self.moved = true;
    }

    /// Something that is due is done.
    pub(super) fn fire(&mut self, timer: Timer, now: Ms) {
        match timer {
            Timer::Start(pod) => self.start(pod, now),
            Timer::Ready(pod) => self.make_ready(pod, now),
            Timer::Gone(pod) => self.end(pod, now),
            Timer::Silent(node, since) => self.notice_silence(node, since, now),
            Timer::Emptied(node, since) => self.empty_dead(node, since, now),
            Timer::Sync(workload) => {
                self.workloads[workload].sync = None;
                if self.controllers {
                    self.sync(workload, now);
                }
            }
            Timer::Count(workload) => {
                self.workloads[workload].count = None;
                if self.controllers {
                    self.count(workload, now);
                }
            }
            Timer::Schedule => self.schedule(now),
        }
    }

    /// Whether a pod serves, as its clients see it.
    pub(super) fn serves(&self, pod: &Pod) -> bool {
        pod.ready.is_some() && !pod.dying && pod.node.is_some_and(|node| self.nodes[node].alive)
    }

    /// How many pods of a workload serve.
    pub(super) fn serving(&self, workload: usize) -> u32 {
        let count = self.pods.values().filter(|pod| pod.workload == workload && self.serves(pod)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn pods_of(&self, workload: usize) -> impl Iterator<Item = (u64, &Pod)> {
        self.pods.iter().filter(move |(_, pod)| pod.workload == workload).map(|(id, pod)| (*id, pod))
    }

    pub(super) fn find(&self, workload: &str) -> Option<usize> {
        self.workloads.iter().position(|it| it.spec.name == workload)
    }

    /// Microseconds from a node to the primary of a database, whether anybody measures them or not.
    pub(super) fn rtt_us(&self, node: usize, database: usize) -> Option<u32> {
        let member = self.databases[database].primary?;
        self.nodes[node].rtts_us[database].get(member).copied()
    }

    /// Whether a bound pod is on a node that is far from a primary that it follows.
    pub(super) fn is_far(&self, pod: &Pod) -> bool {
        let follow = &self.workloads[pod.workload].follow;
        pod.node.is_some_and(|node| follow.iter().any(|database| self.truth[*database][node] == Tier::Far))
    }

    /// The pod of a UID that is there.
    pub(super) fn by_uid(uid: &str) -> Option<u64> {
        uid.strip_prefix("pod-")?.parse().ok()
    }

    /// Nobody owns it any more: its pods end.
    pub(super) fn delete_workload(&mut self, workload: usize, now: Ms) {
        self.workloads[workload].deleted = true;
        let pods: Vec<u64> = self.pods_of(workload).map(|(id, _)| id).collect();
        pods.into_iter().for_each(|pod| self.delete(pod, now));
        self.tell_workload(workload);
    }

    /// A new template.
    pub(super) fn deploy(&mut self, workload: usize, now: Ms) {
        let it = &mut self.workloads[workload];
        it.revision += 1;
        it.observed = false;
        self.tell_workload(workload);
        self.touch(workload, now);
    }

    pub(super) fn scale(&mut self, workload: usize, replicas: u32, now: Ms) {
        let it = &mut self.workloads[workload];
        it.spec.replicas = replicas;
        it.observed = false;
        if it.spec.kind == Kind::ReplicaSet {
            it.sets[0].replicas = replicas;
        }
        self.tell_workload(workload);
        self.touch(workload, now);
    }

    /// From now on its pods are Ready so long after they have begun, or never; who has begun counts anew.
    pub(super) fn ready_after(&mut self, workload: usize, after: Option<Ms>, now: Ms) {
        self.workloads[workload].spec.ready = after;
        let waiting: Vec<u64> =
            self.pods_of(workload).filter(|(_, pod)| pod.running && pod.ready.is_none()).map(|(id, _)| id).collect();
        for id in waiting {
            self.start(id, now);
        }
    }

    /// How many of its pods its strategy may take away while it is rolled out.
    pub(super) fn away(&self, workload: usize) -> u32 {
        match self.workloads[workload].spec.strategy {
            Strategy::Rolling { unavailable, .. } | Strategy::Ordered { unavailable, .. } => unavailable,
            Strategy::Recreate => u32::MAX,
            Strategy::OnDelete | Strategy::None => 0,
        }
    }

    /// Names of nodes, for messages.
    pub(super) fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    /// The workloads that are there, by their places.
    pub(super) fn live(&self) -> impl Iterator<Item = usize> {
        (0..self.workloads.len()).filter(|at| !self.workloads[*at].deleted)
    }

    /// Those of `pods` that have a node in words, for a message.
    pub(super) fn places(&self, workload: usize) -> String {
        let place = |(_, pod): (u64, &Pod)| {
            let node = pod.node.map_or("-", |node| &*self.nodes[node].name);
            let state = match (pod.dying, pod.ready) {
                (true, _) => " ending",
                (false, None) => " unready",
                _ => "",
            };
            format!("{} {node}{state}", pod.name)
        };
        self.pods_of(workload).map(place).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
    }
}
