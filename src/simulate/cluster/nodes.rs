//! Nodes, and what their kubelets do with pods.

use std::collections::BTreeSet;

use super::{Chance, Cluster, Database, Ms, Script, Timer};

/// Kubernetes calls a node dead that it hasn't heard of for so long.
const SILENT: Ms = 40_000;
/// And ends its pods after so long again.
const EMPTIED: Ms = 300_000;
/// Between a pod's being bound and its containers' start.
const STARTS: Ms = 500;

/// A node.
#[derive(Debug, Clone)]
pub(in crate::simulate) struct Node {
    pub name: String,
    pub zone: String,
    pub cpu_m: u64,
    pub pods: u64,
    /// Has power.
    pub alive: bool,
    /// Kubernetes believes so.
    pub ready: bool,
    pub cordoned: bool,
    /// Its agent measures.
    pub measured: bool,
    /// Since when it is dead, or back.
    pub changed: Ms,
    /// The databases' labels, by key.
    pub labels: std::collections::BTreeMap<String, String>,
    /// To each member of each database.
    pub rtts_us: Vec<Vec<u32>>,
}

/// The nodes of a script.
pub(super) fn of(script: &Script, databases: &[Database], chance: &mut Chance) -> Vec<Node> {
    let apart_us = |a: &str, b: &str| {
        let named = script.distances.iter().find(|(x, y, _)| (&**x, &**y) == (a, b) || (&**y, &**x) == (a, b));
        let us = named.map(|(_, _, distance)| u32::try_from(distance.as_micros()).unwrap_or(u32::MAX));
        us.unwrap_or(if a == b { 300 } else { 20_000 })
    };
    let mut nodes = Vec::new();
    for zone in &script.zones {
        for at in 1..=zone.nodes {
            let own_us = chance.below(100);
            let to = |member: &crate::simulate::databases::Member| apart_us(&zone.name, &member.zone) + own_us;
            nodes.push(Node {
                name: format!("{}{at}", zone.name),
                zone: zone.name.clone(),
                cpu_m: zone.cpu_m,
                pods: zone.pods,
                alive: true,
                ready: true,
                cordoned: false,
                measured: true,
                changed: 0,
                labels: std::collections::BTreeMap::new(),
                rtts_us: databases.iter().map(|database| database.members.iter().map(to).collect()).collect(),
            });
        }
    }
    nodes
}

impl Cluster {
    /// Zones of which no node has power.
    pub(in crate::simulate) fn dark_zones(&self) -> BTreeSet<String> {
        if self.nodes.iter().all(|node| node.alive) {
            return BTreeSet::new();
        }
        let lit: BTreeSet<&str> = self.nodes.iter().filter(|node| node.alive).map(|node| &*node.zone).collect();
        let zones = self.nodes.iter().map(|node| &node.zone);
        zones.filter(|zone| !lit.contains(zone.as_str())).cloned().collect()
    }

    /// The power goes.
    pub(in crate::simulate) fn kill_node(&mut self, node: usize, now: Ms) {
        let it = &mut self.nodes[node];
        if it.alive {
            (it.alive, it.changed) = (false, now);
            self.timer(now + SILENT, Timer::Silent(node, now));
            self.moved = true;
        }
    }

    /// It is back: what was to end has ended, what goes on starts anew.
    pub(in crate::simulate) fn revive_node(&mut self, node: usize, now: Ms) {
        let it = &mut self.nodes[node];
        if it.alive {
            return;
        }
        (it.alive, it.ready, it.changed) = (true, true, now);
        self.tell_node(node);
        self.reschedule = true;
        let pods: Vec<u64> = self.pods.iter().filter(|(_, pod)| pod.node == Some(node)).map(|(id, _)| *id).collect();
        for id in pods {
            let pod = self.pods.get_mut(&id).expect("it was there a moment ago");
            let (dying, workload) = (pod.dying, pod.workload);
            pod.ready = None;
            if dying {
                self.timer(now + 1_000, Timer::Gone(id));
            } else {
                self.timer(now + STARTS, Timer::Start(id));
            }
            self.tell_pod(id);
            self.touch(workload, now);
        }
    }

    pub(super) fn notice_silence(&mut self, node: usize, since: Ms, now: Ms) {
        let it = &mut self.nodes[node];
        if it.alive || it.changed != since {
            return;
        }
        it.ready = false;
        self.tell_node(node);
        let pods: Vec<u64> = self.pods.iter().filter(|(_, pod)| pod.node == Some(node)).map(|(id, _)| *id).collect();
        for id in pods {
            let pod = self.pods.get_mut(&id).expect("it was there a moment ago");
            pod.ready = None;
            let workload = pod.workload;
            self.tell_pod(id);
            self.touch(workload, now);
        }
        self.timer(now + EMPTIED, Timer::Emptied(node, since));
    }

    pub(super) fn empty_dead(&mut self, node: usize, since: Ms, now: Ms) {
        if self.nodes[node].alive || self.nodes[node].changed != since {
            return;
        }
        let pods: Vec<u64> = self.pods.iter().filter(|(_, pod)| pod.node == Some(node)).map(|(id, _)| *id).collect();
        pods.into_iter().for_each(|pod| self.delete(pod, now));
    }

    pub(in crate::simulate) fn cordon(&mut self, node: usize, cordoned: bool) {
        self.nodes[node].cordoned = cordoned;
        self.reschedule |= !cordoned;
        self.tell_node(node);
    }

    pub(super) fn start(&mut self, id: u64, now: Ms) {
        let Some(pod) = self.pods.get_mut(&id).filter(|pod| !pod.dying) else { return };
        if !pod.node.is_some_and(|node| self.nodes[node].alive) {
            return;
        }
        pod.running = true;
        let after = self.workloads[pod.workload].spec.ready;
        self.tell_pod(id);
        if let Some(after) = after {
            self.timer(now + after.saturating_sub(STARTS).max(1), Timer::Ready(id));
        }
    }

    pub(super) fn make_ready(&mut self, id: u64, now: Ms) {
        let Some(pod) = self.pods.get_mut(&id).filter(|pod| !pod.dying && pod.running && pod.ready.is_none()) else {
            return;
        };
        let workload = pod.workload;
        if !pod.node.is_some_and(|node| self.nodes[node].alive) || self.workloads[workload].spec.ready.is_none() {
            return;
        }
        pod.ready = Some(now);
        self.tell_pod(id);
        self.touch(workload, now);
        let wait = self.workloads[workload].spec.available_after;
        if wait > 0 {
            self.timer(now + wait, Timer::Sync(workload));
        }
    }

    /// Somebody deletes a pod; its kubelet ends it, if there is one.
    pub(in crate::simulate) fn delete(&mut self, id: u64, now: Ms) {
        let Some(pod) = self.pods.get_mut(&id).filter(|pod| !pod.dying) else { return };
        pod.dying = true;
        let (node, workload) = (pod.node, pod.workload);
        let ends = self.workloads[workload].spec.ends;
        match node {
            None => self.timer(now + 1, Timer::Gone(id)),
            Some(node) if self.nodes[node].alive => self.timer(now + ends.max(1), Timer::Gone(id)),
            Some(_) => {}
        }
        self.tell_pod(id);
        self.touch(workload, now);
    }

    pub(super) fn end(&mut self, id: u64, now: Ms) {
        // A node that has died meanwhile ends nobody.
        let ends = |pod: &super::Pod| pod.dying && pod.node.is_none_or(|node| self.nodes[node].alive);
        if !self.pods.get(&id).is_some_and(ends) {
            return;
        }
        if let Some(pod) = self.pods.remove(&id) {
            self.tell_gone(id);
            self.touch(pod.workload, now);
            self.reschedule = true;
        }
    }

    pub(super) fn bind(&mut self, id: u64, node: usize, now: Ms) {
        let Some(pod) = self.pods.get_mut(&id) else { return };
        pod.node = Some(node);
        let workload = pod.workload;
        self.tell_pod(id);
        self.timer(now + STARTS, Timer::Start(id));
        self.touch(workload, now);
    }
}
