//! The controller's part: what it does with what was decided, in the order in which it does it (`controller/database.rs`).

use std::time::Duration;

use jiff::Timestamp;

use super::{
    cluster::{Answer, Cluster},
    databases::{Database, Member},
    script::Ms,
    world::World,
};
use crate::{
    api::{DatabaseClusterStatus, NodeLatencySpec, database_cluster::FailoverStatus, node_latency::Reading},
    controller::status_update,
    core::{
        moment::Moment,
        movement::{
            held::Gate,
            ledger::Others,
            plan::{Move, still_safe},
            restart,
            ways::Way,
        },
        primary::{PrimaryTracker, PrimaryView},
    },
    evaluate::{Decided, Facts, Memory, Refusal, evaluate},
    index::Latency,
};

const TICK: Duration = Duration::from_secs(1);
/// Between an evaluation and its moves: the status is written.
const WRITES: (u64, u64) = (20, 200);
/// Changes of primary that a status remembers.
const MOST_FAILOVERS: usize = 10;
/// An agent writes at least this often.
const HEARTBEAT: Ms = 60_000;
/// And sooner when a host has fallen silent, or is back.
const NOTICES: Ms = 5_000;

/// One database, for as long as this leader leads.
#[derive(Debug)]
pub(super) struct Task {
    pub database: usize,
    tracker: PrimaryTracker,
    memory: Memory,
    status: DatabaseClusterStatus,
    /// When it evaluates next.
    pub wake: Ms,
    /// Decided and written down, to be carried out.
    pub acting: Vec<Move>,
    /// What the other databases had on the move when that was decided.
    others: Others,
    epoch: u64,
    /// Evaluations in a row that had nothing to do.
    idle: u32,
    pub busy: bool,
    /// What the last evaluation said.
    pub last: Option<Decided>,
}

impl Task {
    /// Goes on from what is written in the status.
    pub(super) fn new(database: usize, stored: &DatabaseClusterStatus, now: Ms, moment: Moment) -> Self {
        Self {
            database,
            tracker: PrimaryTracker::new(status_update::restored(stored).belief, Duration::from_secs(5)),
            memory: Memory::restored(stored, moment),
            status: stored.clone(),
            wake: now + 100,
            acting: Vec::new(),
            others: Others::default(),
            epoch: stored.epoch,
            idle: 0,
            busy: true,
            last: None,
        }
    }

    /// Something changed in its picture.
    pub(super) fn rouse(&mut self, now: Ms) -> Option<Ms> {
        self.idle = self.idle.min(3);
        let at = now + if self.busy { 50 } else { 700 };
        (self.acting.is_empty() && at < self.wake).then(|| {
            self.wake = at;
            at
        })
    }

    /// One step: remember what is believed, evaluate one picture, label, write. What is to be moved waits in `acting`.
    pub(super) fn step(&mut self, world: &mut World, now: Ms) {
        let moment = world.clock.moment(now);
        self.wake = now + 1_000;
        world.measure(now);
        let database = &world.cluster.databases[self.database];
        let view = self.tracker.observe(&database.observations(moment.instant), moment.instant);
        self.remember_primary(&view, database, moment.wall);
        let found = world.watches.tables.databases.get(&database.name).and_then(|it| it.object.as_ref().ok());
        let Some(object) = found.cloned() else { return };
        self.others = world.ledger.look(&database.name, moment.instant);
        let facts = Facts {
            object: &object,
            tables: &world.watches.tables,
            stale: world.watches.stale(now),
            own_namespace: "switchover-system",
            view: &view,
            members: &self.status.members,
            status: &self.status,
            others: &self.others,
            confirm_every: TICK,
        };
        let mut decided = evaluate(&facts, &mut self.memory, moment);
        self.enter(&mut decided, world, object.spec.movement.max_concurrent);
        self.status.primary_host.clone_from(&self.memory.primary_host);
        self.label(&decided, &view, world, moment);
        self.remember_progress(&decided, moment.wall);
        let facts = status_update::Facts {
            object: &object,
            view: &view,
            credentials: None,
            witness: None,
            hosts: &[],
            memory: &self.memory,
            decided: &decided,
            readiness: None,
        };
        status_update::update(&mut self.status, &facts, moment.wall);
        self.busy = !decided.labelling.changes.is_empty() || self.memory.busy();
        let idle = decided.labelling.changes.is_empty() && decided.plan.moves.is_empty() && decided.outcomes.is_empty();
        self.idle = if idle { self.idle + 1 } else { 0 };
        if world.answers() && world.writes_status {
            world.stored[self.database].clone_from(&self.status);
            self.acting.clone_from(&decided.plan.moves);
            self.epoch = view.epoch;
        } else {
            decided.plan.moves.iter().for_each(|move_| self.memory.forget_move(&move_.uid));
            self.correct(world);
        }
        self.wake = self.next(&decided, now);
        world.laws.decided(&world.cluster, self.database, &decided, now);
        self.last = Some(decided);
    }

    /// Enters what was decided into the ledger. What clashes with what another database began meanwhile is left out.
    fn enter(&mut self, decided: &mut Decided, world: &mut World, most: u32) {
        let name = &world.cluster.databases[self.database].name;
        let underway = &self.memory.journal.underway;
        let refused = world.ledger.enter(name, &self.others, underway, decided.evidence, most);
        for uid in &refused {
            self.memory.forget_move(uid);
        }
        decided.plan.moves.retain(|move_| !refused.contains(&move_.uid));
    }

    /// What its predecessor began is known to all.
    pub(super) fn take_over(&self, world: &mut World) {
        world.ledger.take_over(&world.cluster.databases[self.database].name, &self.memory.journal.underway);
    }

    /// Some moves were not carried out.
    fn correct(&self, world: &mut World) {
        world.ledger.correct(&world.cluster.databases[self.database].name, &self.memory.journal.underway);
    }

    /// When it is to look again though nothing changes: after a second, and ever later where nothing comes of it.
    fn next(&self, decided: &Decided, now: Ms) -> Ms {
        // A tier changes only when several looks in a row agree.
        let undecided = self.memory.tiers.nodes.values().any(|node| node.candidate.is_some());
        let pause = match self.idle {
            _ if undecided => 1_000,
            0..6 => 1_000,
            6..18 => 5_000,
            18..60 => 30_000,
            _ if self.busy => 30_000,
            _ => 300_000,
        };
        let Some(Gate::Settling { until, .. }) = &decided.gate else { return now + pause };
        let left = until.duration_since(super::cluster::wall(now)).as_millis();
        now + u64::try_from(left).unwrap_or(0).clamp(1, pause)
    }

    fn label(&mut self, decided: &Decided, view: &PrimaryView, world: &mut World, moment: Moment) {
        let key = world.cluster.databases[self.database].object.node_label();
        let answers = world.answers();
        for (name, change) in &decided.labelling.changes {
            let refusal = (!answers).then(|| Refusal { why: "no answer".to_owned(), answered: false });
            if let Some(node) = world.cluster.node(name).filter(|_| answers) {
                let labels = &mut world.cluster.nodes[node].labels;
                match change.tier.label() {
                    Some(label) => labels.insert(key.to_string(), label.to_owned()),
                    None => labels.remove(&*key),
                };
                world.cluster.tell_node(node);
            }
            self.memory.note_written(name, refusal, moment.instant);
        }
        if !decided.labelling.changes.is_empty() && view.known().is_some() {
            self.memory.note_all_tried();
        }
    }

    /// Carries out what was decided, after asking once more.
    pub(super) fn act(&mut self, world: &mut World, now: Ms) {
        let moment = world.clock.moment(now);
        let observations = world.cluster.databases[self.database].observations(moment.instant);
        let view = self.tracker.observe(&observations, moment.instant);
        let began = self.memory.journal.underway.clone();
        for move_ in std::mem::take(&mut self.acting) {
            let name = &world.cluster.databases[self.database].name;
            let object = world.watches.tables.databases.get(name).and_then(|it| it.object.as_ref().ok());
            let per_workload = object.and_then(|object| object.spec.movement.per_workload);
            let right = object.is_some_and(|object| !object.spec.paused)
                && world.watches.stale(now).is_none()
                && view.epoch == self.epoch
                && view.movement_allowed();
            let others = began.iter().chain(&self.others.underway);
            if !right || still_safe(world.watches.tables.snapshot(), &move_, others, per_workload).is_err() {
                self.memory.forget_move(&move_.uid);
                continue;
            }
            // Without an answer nobody knows: the journal keeps it until the cluster shows.
            if !world.answers() {
                continue;
            }
            let answer = carry_out(&mut world.cluster, &mut world.laws, self.database, &move_, &view, now);
            world.report.moved(now, &move_, answer);
            match answer {
                Answer::Accepted => self.memory.note_accepted_move(&move_),
                Answer::NoBudget => {
                    self.memory.note_refused_move(&move_, true, "its budget allows none".to_owned(), moment.instant);
                }
                Answer::Gone => {}
            }
        }
        self.correct(world);
        self.wake = now + 50;
    }

    fn remember_primary(&mut self, view: &PrimaryView, database: &Database, wall: Timestamp) {
        self.status.members = database.listed();
        let Some(primary) = view.last.as_ref() else { return };
        let (before, from) = (self.status.epoch, self.status.primary.clone());
        status_update::believe(&mut self.status, view);
        if view.epoch == before {
            return;
        }
        self.status.since = Some(wall);
        let failover = FailoverStatus {
            epoch: view.epoch,
            from,
            to: primary.name.clone(),
            timeline: primary.timeline,
            confirmed_at: Some(wall),
            ..FailoverStatus::default()
        };
        self.status.failovers.insert(0, failover);
        self.status.failovers.truncate(MOST_FAILOVERS);
    }

    fn remember_progress(&mut self, decided: &Decided, wall: Timestamp) {
        let epoch = self.status.epoch;
        let Some(failover) = self.status.failovers.first_mut().filter(|it| it.epoch == epoch) else { return };
        if decided.labelled {
            failover.labelled_at = Some(wall);
        }
        failover.moved = self.memory.journal.moved;
        if decided.over {
            failover.moved_at = Some(wall);
        }
    }

    /// When its moves are carried out.
    pub(super) fn acts_at(&self, world: &mut World, now: Ms) -> Option<Ms> {
        (!self.acting.is_empty()).then(|| now + world.chance.between(WRITES.0, WRITES.1))
    }
}

fn carry_out(
    cluster: &mut Cluster,
    laws: &mut super::laws::Laws,
    database: usize,
    move_: &Move,
    view: &PrimaryView,
    now: Ms,
) -> Answer {
    match move_.way {
        Way::Evict => {
            let Some(pod) = Cluster::by_uid(&move_.uid) else { return Answer::Gone };
            let before = laws.before(cluster, pod);
            let answer = cluster.evict(pod, now);
            if answer == Answer::Accepted {
                laws.evicted(cluster, database, move_, before, now);
            }
            answer
        }
        Way::Restart => {
            let found = cluster.live().find(|at| cluster.workloads[*at].uid() == move_.workload.uid);
            let Some(workload) = found else { return Answer::Gone };
            laws.restarted(cluster, database, move_, workload, now);
            let series = restart::series(&cluster.databases[database].name, view.epoch);
            cluster.restart(workload, &restart::mark(&series, move_.time), now);
            Answer::Accepted
        }
    }
}

impl World {
    /// The API server answers.
    pub(super) const fn answers(&self) -> bool {
        self.watches.cut_off.is_none()
    }

    /// Agents that are due have written.
    fn measure(&mut self, now: Ms) {
        if !self.watches.hears_agents() {
            return;
        }
        // A member is in the power of its zone's nodes.
        let dark = self.cluster.dark_zones();
        for node in 0..self.cluster.nodes.len() {
            let it = &self.cluster.nodes[node];
            let news = self.noticed[node] != dark;
            let due = self.heard[node].is_none_or(|at| now >= at + if news { NOTICES } else { HEARTBEAT });
            if !(due && it.alive && it.measured) {
                continue;
            }
            let reading = |(member, us): (&Member, &u32)| Reading {
                host: member.host.clone(),
                rtt_us: Some(*us).filter(|_| !dark.contains(&member.zone)),
                ..Reading::default()
            };
            let hosts = self.cluster.databases.iter().zip(&it.rtts_us);
            let readings = hosts.flat_map(|(database, us)| database.members.iter().zip(us));
            let readings: Vec<Reading> = readings.map(reading).collect();
            let spec = NodeLatencySpec {
                heartbeat: super::cluster::wall(now),
                member_count: u32::try_from(readings.len()).unwrap_or(u32::MAX),
                readings,
            };
            let latency = Latency { spec, received: self.clock.moment(now).instant };
            self.watches.tables.put_latency(&it.name, latency);
            self.heard[node] = Some(now);
            self.noticed[node].clone_from(&dark);
        }
    }
}
