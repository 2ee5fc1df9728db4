//! What must hold at every step, whatever happens: asked of the cluster as it truly is, and not as the controller saw it.

mod rest;

use std::collections::BTreeSet;

use super::{cluster::Cluster, report::Broken, script::Ms};
use crate::{
    core::{distance::tier::Tier, follow::MoveMode, movement::plan::Move},
    evaluate::Decided,
};

/// So long may what was true be unknown to the controller: a watch takes as long, or hangs as long unnoticed.
const UNKNOWN: Ms = 3_000;
const HANGING: Ms = 25_000;
/// Violations that are kept.
const MOST: usize = 20;

/// What is remembered of a workload to judge the next move.
#[derive(Debug, Clone, Default)]
struct Watched {
    /// So many pods we took away, and nothing has shown the workload whole since.
    away: u32,
    /// Moves of it since the last change of primary, deploy or leader, and when they began to be counted.
    moves: u32,
    since: Ms,
    most_replicas: u32,
}

/// Asks of every move, and of every state, whether it may be.
#[derive(Debug)]
pub(super) struct Laws {
    watched: Vec<Watched>,
    evicted: BTreeSet<u64>,
    pub broken: Vec<Broken>,
    /// When something last happened that takes time to heal.
    pub disturbed: Ms,
    /// When the present leader began.
    pub led_since: Ms,
    /// A watch hangs, or hung a moment ago.
    pub hanging: Option<Ms>,
    /// How long it takes at most, in this cluster, until all is as it should be.
    rest_after: Ms,
    rested: bool,
}

/// How a workload stood right before one of its pods was evicted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pod: u64,
    serving: u32,
    served: bool,
}

impl Laws {
    pub(super) fn new(cluster: &Cluster) -> Self {
        Self {
            watched: vec![Watched::default(); cluster.workloads.len()],
            evicted: BTreeSet::new(),
            broken: Vec::new(),
            disturbed: 0,
            led_since: 0,
            hanging: None,
            rest_after: rest::after(cluster),
            rested: false,
        }
    }

    pub(super) fn break_(&mut self, at: Ms, law: &'static str, what: String) {
        if self.broken.len() < MOST {
            self.broken.push(Broken { at, law, what });
        }
    }

    /// Something happened from outside.
    pub(super) fn disturb(&mut self, now: Ms) {
        self.disturbed = now;
        self.rested = false;
    }

    /// For this workload counting begins anew: it has another template, or its pods another primary, or there is another leader.
    pub(super) fn count_anew(&mut self, workload: usize, now: Ms) {
        let watched = &mut self.watched[workload];
        (watched.moves, watched.since, watched.most_replicas) = (0, now, 0);
    }

    pub(super) fn before(&self, cluster: &Cluster, pod: u64) -> Before {
        let it = cluster.pods.get(&pod);
        Before {
            pod,
            serving: it.map_or(0, |it| cluster.serving(it.workload)),
            served: it.is_some_and(|it| cluster.serves(it)),
        }
    }

    /// A pod was evicted by us.
    pub(super) fn evicted(&mut self, cluster: &Cluster, database: usize, move_: &Move, before: Before, now: Ms) {
        let Some(pod) = cluster.pods.get(&before.pod) else { return };
        let (at, workload) = (pod.workload, &cluster.workloads[pod.workload]);
        let place = || format!("{} of {} ({})", move_.pod, workload.spec.name, cluster.places(at));
        self.may_move(cluster, database, move_, now);
        if !self.evicted.insert(before.pod) {
            self.break_(now, "a pod is evicted once", place());
        }
        let asked = workload.spec.moved_by == Some(MoveMode::Evict);
        let alone = workload.spec.replicas <= 1;
        if alone && !asked {
            self.break_(now, "a single replica is not evicted unasked", place());
        }
        if before.served && before.serving <= 1 && !alone && workload.budget.is_none() && self.sees(now) {
            self.break_(now, "the last replica that serves is not evicted", place());
        }
        // Whoever didn't serve took nothing away.
        let most = cluster.databases[database].object.spec.movement.per_workload.unwrap_or(1);
        if before.served && self.watched[at].away >= most && workload.budget.is_none() {
            self.break_(now, "without a budget no more pods are away than may be", place());
        }
        let watched = &mut self.watched[at];
        watched.away += u32::from(before.served);
        watched.moves += 1;
        watched.most_replicas = watched.most_replicas.max(workload.spec.replicas);
        let hours = u32::try_from((now - watched.since) / 3_600_000).unwrap_or(u32::MAX);
        let most = watched.most_replicas * 3 + 8 + 4 * hours;
        if watched.moves > most {
            let what = format!("{}: {} moves for one primary", workload.spec.name, watched.moves);
            self.break_(now, "nobody is moved for ever", what);
        }
    }

    /// A workload is to be restarted by us.
    pub(super) fn restarted(&mut self, cluster: &Cluster, database: usize, move_: &Move, at: usize, now: Ms) {
        self.may_move(cluster, database, move_, now);
        let workload = &cluster.workloads[at];
        let away = cluster.away(at);
        let name = &workload.spec.name;
        if away >= workload.spec.replicas {
            self.break_(now, "no restart ends every pod", name.clone());
        }
        if let Some(allowed) = cluster.allowed(at).filter(|allowed| away > *allowed && self.sees(now)) {
            let what = format!("{name}: {away} may be away, and its budget allows {allowed}");
            self.break_(now, "a restart keeps to the budget", what);
        }
        let watched = &mut self.watched[at];
        watched.moves += 1;
        let hours = u32::try_from((now - watched.since) / 3_600_000).unwrap_or(u32::MAX);
        if watched.moves > watched.most_replicas * 3 + 8 + 4 * hours {
            let what = format!("{name}: {} moves for one primary", watched.moves);
            self.break_(now, "nobody is moved for ever", what);
        }
    }

    /// Whether what is true now is known to the controller.
    fn sees(&self, now: Ms) -> bool {
        self.hanging.is_none_or(|at| now > at + HANGING) && now >= self.disturbed + UNKNOWN
    }

    /// What holds for every way to move.
    fn may_move(&mut self, cluster: &Cluster, database: usize, move_: &Move, now: Ms) {
        let it = &cluster.databases[database];
        let unknown = if self.hanging.is_some() { HANGING } else { UNKNOWN };
        if !it.may_move() && now > it.changed + unknown {
            let what = format!("{}: {}", it.name, move_.pod);
            self.break_(now, "nothing moves while the primary isn't known, frozen or paused", what);
        }
        let settle = u64::try_from(it.object.spec.movement.settle.0.as_millis()).unwrap_or(u64::MAX);
        if it.promoted > 0 && now < it.promoted.saturating_add(settle) {
            let what = format!("{}: {} {} ms after the change", it.name, move_.pod, now - it.promoted);
            self.break_(now, "a new primary must hold before anybody moves", what);
        }
        let (from, to) = (cluster.node(&move_.from), cluster.node(&move_.to));
        let (from_us, to_us) =
            (from.and_then(|it| cluster.rtt_us(it, database)), to.and_then(|it| cluster.rtt_us(it, database)));
        if let Some((from_us, to_us)) = from_us.zip(to_us).filter(|(from_us, to_us)| to_us >= from_us) {
            let what = format!("{} from {} ({from_us} µs) to {} ({to_us} µs)", move_.pod, move_.from, move_.to);
            self.break_(now, "nobody moves farther", what);
        }
    }

    /// After everything that happened at one time: who is whole again may lose the next one. Whole is who is available, and not who is
    /// only Ready (`minReadySeconds`).
    pub(super) fn look(&mut self, cluster: &Cluster) {
        for at in 0..self.watched.len() {
            if self.watched[at].away > 0 {
                let workload = &cluster.workloads[at];
                if workload.deleted || cluster.available(at, None) >= workload.spec.replicas {
                    self.watched[at].away = 0;
                }
            }
        }
    }

    /// After every evaluation: what it says of nodes, and of who stays.
    pub(super) fn decided(&mut self, cluster: &Cluster, database: usize, decided: &Decided, now: Ms) {
        if decided.gate.is_some() && !decided.plan.moves.is_empty() {
            self.break_(now, "a closed gate holds everybody", format!("{:?}", decided.gate));
        }
        let it = &cluster.databases[database];
        let known = it.known() && now > it.changed + 60_000 && now > self.led_since + 60_000;
        let long_measured =
            cluster.nodes.iter().all(|node| node.alive && node.measured && now >= node.changed + 240_000);
        if known && long_measured && self.hanging.is_none() {
            let key = it.object.node_label();
            for (node, tier) in cluster.nodes.iter().zip(&cluster.truth[database]) {
                let label = Tier::from_label(node.labels.get(&*key).map(String::as_str));
                if label != *tier {
                    let what = format!("{} is {label:?} and should be {tier:?}", node.name);
                    self.break_(now, "labels are right while the primary is known", what);
                }
            }
        }
        if !self.rested && now >= self.disturbed.max(self.led_since) + self.rest_after {
            self.rested = database + 1 == cluster.databases.len();
            self.rest(cluster, database, decided, now);
        }
    }
}
