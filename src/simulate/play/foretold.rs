//! What is foreseen before a change of primary is what then happens, when nothing else does.

use std::{collections::BTreeMap, time::Instant};

use super::*;
use crate::{
    core::distance::tier::Tier,
    foresight::{Forecast, Lost, Question, Standing, foresee},
    simulate::{invent, script::What},
};

/// When the primary changes; and long after everything has come to rest.
const CHANGES: Ms = 5 * 60_000;
const REST: Ms = 4 * 3_600_000;

impl Player<'_> {
    fn run_until(&mut self, end: Ms) {
        while let Some(Reverse((at, _, due))) = self.due.peek().copied().filter(|Reverse((at, ..))| *at < end) {
            self.due.pop();
            self.now = self.now.max(at);
            self.world.cluster.now = self.now;
            if due != Due::End {
                self.happen(due);
                self.absorb();
            }
        }
    }

    fn forecast(&self, to: &str) -> Forecast {
        let (tables, status) = (&self.world.watches.tables, &self.world.stored[0]);
        let object = tables.databases.get("default").and_then(|it| it.object.as_ref().ok()).unwrap();
        let followers = tables.followers("default");
        let question = Question {
            object,
            tables,
            followers: &followers,
            own_namespace: "switchover-system",
            status,
            lost: &Lost::default(),
            now: self.world.clock.moment(self.now),
        };
        foresee(&question, status.members.iter().find(|member| member.name == to).unwrap()).unwrap()
    }

    /// How many pods of each workload are far, and how many have no node.
    fn far_and_pending(&self) -> (BTreeMap<String, u32>, usize) {
        let cluster = &self.world.cluster;
        let mut far: BTreeMap<String, u32> = BTreeMap::new();
        let is_far = |node: usize| cluster.truth[0][node] == Tier::Far;
        for pod in cluster.pods.values().filter(|pod| !pod.dying && pod.node.is_some_and(is_far)) {
            *far.entry(cluster.workloads[pod.workload].spec.name.clone()).or_default() += 1;
        }
        (far, cluster.pods.values().filter(|pod| pod.node.is_none()).count())
    }
}

/// A small cluster that nobody wrote, in which one thing happens: the last member becomes the primary.
fn script(seed: u64) -> (Script, String) {
    let mut script = invent(seed, 1);
    script.databases.truncate(1);
    for workload in &mut script.workloads {
        workload.follow.clear();
        // What ends and starts anew goes on starting where it is.
        workload.ready = workload.ready.map(|ready| ready.min(20_000));
    }
    let member = script.databases[0].members.last().unwrap().0.clone();
    script.events = vec![Event { at: CHANGES, what: What::Primary { member: member.clone() } }];
    script.until = REST;
    (script, member)
}

/// Whether the last zone takes everybody, whichever of its nodes the scheduler chooses for each: a node that refuses a pod has less left
/// than the largest one asks for.
fn has_room_however_it_is_cut(script: &Script) -> bool {
    let Some(zone) = script.zones.last() else { return false };
    let asked: u64 = script.workloads.iter().map(|it| u64::from(it.replicas) * it.cpu_m).sum();
    let largest = script.workloads.iter().map(|it| it.cpu_m).max().unwrap_or(0);
    // Two more, for a restart that surges.
    asked + largest * (u64::from(zone.nodes) + 2) <= zone.cpu_m * u64::from(zone.nodes)
}

#[test]
fn what_is_foreseen_to_fit_is_what_is_moved_when_nothing_else_changes() {
    let (mut fitting, mut others) = (0, 0);
    for seed in 1..=16 {
        let (script, member) = script(seed);
        let mut player = Player::new(&script, Instant::now()).unwrap();
        player.run_until(CHANGES);
        let (_, waiting) = player.far_and_pending();
        let forecast = player.forecast(&member);
        player.run_until(REST);
        let (far, pending) = player.far_and_pending();
        assert!(pending <= waiting, "seed {seed}: {pending} wait for a node\n{script}");
        if waiting > 0 {
            // There wasn't room for everybody before either: who comes where is for the scheduler to say.
            continue;
        }
        let mut staying: BTreeMap<String, u32> = BTreeMap::new();
        for held in &forecast.held {
            *staying.entry(held.name.clone()).or_default() += held.pods;
        }
        if forecast.staying(Standing::NoPlace) > 0 {
            // Who of several gets the last places is for the scheduler to say; that some get none is known.
            assert!(!far.is_empty(), "seed {seed}: {:?}\n{script}", forecast.held);
            others += 1;
            continue;
        }
        if !has_room_however_it_is_cut(&script) {
            others += 1;
            continue;
        }
        assert_eq!(far, staying, "seed {seed}: {:?}\n{script}", forecast.held);
        fitting += 1;
    }
    assert!(fitting >= 1 && others >= 1, "{fitting} that fit and {others} that don't");
}
