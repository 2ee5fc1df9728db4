//! The pods follow the primary, and whatever fails in the middle of it hurts nobody.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use lab::{
    control::ProcessAction,
    control_plane::Component,
    site::{self, Site},
    supervisor::CONTROL_PLANE_HOST,
};

use super::stage::{REPLICAS, SYSTEM, Stage, scene};
use crate::light::support::{Witness, witness::Seen};

/// The demo service's pods, watched from a moment on at which all of them are where they should be.
struct Watch {
    witness: Witness,
    at_first: BTreeSet<String>,
    /// That ever were, before.
    before: Seen,
}

impl Watch {
    fn begin(stage: &Stage) -> Result<Watch> {
        let witness = stage.witness()?;
        let before = witness.seen();
        let at_first = before.serving();
        ensure!(at_first.len() == REPLICAS, "{} replicas serve at first", at_first.len());
        Ok(Watch { witness, at_first, before })
    }

    fn evicted(&self) -> BTreeSet<String> {
        &self.witness.seen().evicted - &self.before.evicted
    }

    /// Moves the primary to pg3 and waits until the first pod was evicted, and some are still to go.
    fn reaches_the_middle(&self, stage: &Stage) -> Result<()> {
        stage.switch("pg3")?;
        stage.wait("the first eviction", |_| !self.evicted().is_empty())?;
        ensure!(self.evicted().len() < REPLICAS, "all pods were evicted at once");
        Ok(())
    }

    /// Every pod that there was at first was evicted, each once, and nothing that came in its place was.
    fn each_moved_once(&self) -> Result<()> {
        let (seen, evicted, first) = (self.witness.seen(), self.evicted(), &self.at_first);
        ensure!(evicted == *first, "evicted {evicted:?}, and at first there were {first:?}");
        let born = &seen.ever - &self.before.ever;
        ensure!(born.len() == REPLICAS, "{} pods came for {REPLICAS}", born.len());
        ensure!(seen.fewest_serving >= Some(REPLICAS - 1), "only {:?} served", seen.fewest_serving);
        Ok(())
    }
}

#[test]
#[ignore = "needs root and the lab"]
fn the_service_follows_a_switchover_without_an_outage() {
    scene(|stage| {
        let (load, watch) = (stage.load()?, Watch::begin(stage)?);
        stage.switch("pg3")?;
        stage.at("pg3")?;
        watch.each_moved_once()?;
        load.unharmed(stage)
    });
}

#[test]
#[ignore = "needs root and the lab"]
fn a_leader_killed_in_the_middle_hands_over_and_nothing_moves_twice() {
    scene(|stage| {
        let (load, watch) = (stage.load()?, Watch::begin(stage)?);
        watch.reaches_the_middle(stage)?;
        let leader = stage.leader()?;
        stage.kubectl(["-n", SYSTEM, "delete", "pod", &leader, "--force", "--grace-period=0"])?;
        stage.at("pg3")?;
        ensure!(stage.leader()? != leader, "{leader} still leads");
        watch.each_moved_once()?;
        load.unharmed(stage)
    });
}

/// When the leader is killed. In the middle of the movement has a scene of its own.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    /// While Patroni moves the primary.
    Before,
    Confirmed,
    /// The first nodes have their new label, and others are still to get theirs.
    Labelling,
    Labelled,
}

#[test]
#[ignore = "needs root and the lab"]
fn a_leader_killed_at_any_step_of_a_failover_leaves_one_epoch_and_the_same_end() {
    scene(|stage| {
        let kill_leader = || -> Result<()> {
            let leader = stage.leader()?;
            stage.kubectl(["-n", SYSTEM, "delete", "pod", &leader, "--force", "--grace-period=0"]).map(drop)
        };
        let steps =
            [(Step::Before, "pg3"), (Step::Confirmed, "pg1"), (Step::Labelling, "pg3"), (Step::Labelled, "pg1")];
        for (step, to) in steps {
            let (watch, epoch) = (Watch::begin(stage)?, stage.status()?.epoch);
            if step == Step::Before {
                kill_leader()?;
            }
            match step {
                Step::Labelling => labelling(stage, to)?,
                Step::Before | Step::Confirmed | Step::Labelled => stage.switch(to)?,
            }
            match step {
                Step::Before | Step::Labelling => {}
                Step::Confirmed => {
                    stage.wait("the primary is confirmed", |seen| seen.failover(epoch).is_some())?;
                    kill_leader()?;
                }
                Step::Labelled => {
                    stage.wait("the labels follow", |seen| seen.labels_right(to))?;
                    kill_leader()?;
                }
            }
            stage.at(to)?;
            watch.each_moved_once()?;
            let now = stage.status()?.epoch;
            ensure!(now == epoch + 1, "one change of primary led from epoch {epoch} to {now}");
        }
        Ok(())
    });
}

/// Switches over and kills the leader's process while the labels are being written. So that there is a middle, every
/// request of the leader's takes a while, and none gets through from when the first labels were written.
fn labelling(stage: &Stage, to: &str) -> Result<()> {
    let leader = stage.leader()?;
    let node = stage.kubectl(["-n", SYSTEM, "get", "pod", &leader, "-o", "jsonpath={.spec.nodeName}"])?;
    let site = site::of_node(&node).context("the leader runs on a node")?;
    let before = stage.scene.seen().labels.clone();
    stage.lab.wan(Site::ControlPlane, site, "900ms")?;
    let killed = stage.switch(to).and_then(|()| {
        stage.wait("the first labels follow", |seen| seen.labels != before)?;
        stage.lab.wan(Site::ControlPlane, site, "cut")?;
        // At once, and without a last word: the process is found by its environment.
        let script = r#"pids=$(grep -lsxz "$0" /proc/[0-9]*/environ | cut -d/ -f3); [ -n "$pids" ] && kill -9 $pids"#;
        let mut kill = stage.lab.command(CONTROL_PLANE_HOST, "sh")?;
        let done = kill.args(["-c", script, &format!("SWITCHOVER_IDENTITY={leader}")]).status()?;
        ensure!(done.success(), "the leader could not be killed");
        ensure!(!stage.scene.seen().labels_right(to), "all labels had been written by then");
        Ok(())
    });
    stage.lab.wan(Site::ControlPlane, site, "heal")?;
    killed
}

#[test]
#[ignore = "needs root and the lab"]
fn an_api_server_restarted_in_the_middle_stops_the_movement_and_not_the_service() {
    scene(|stage| {
        let (load, watch) = (stage.load()?, Watch::begin(stage)?);
        watch.reaches_the_middle(stage)?;
        stage.lab.process(Component::KubeApiserver, ProcessAction::Restart)?;
        stage.at("pg3")?;
        watch.each_moved_once()?;
        load.unharmed(stage)
    });
}
