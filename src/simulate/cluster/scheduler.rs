//! Who is Pending gets a node: kube-scheduler's filters and scores, of its own making and not the movement's, so that the two can
//! disagree.

use super::{Cluster, Ms, Pod};

impl Cluster {
    pub(super) fn schedule(&mut self, now: Ms) {
        self.reschedule = false;
        if !self.scheduler {
            return;
        }
        let pending: Vec<u64> =
            self.pods.iter().filter(|(_, pod)| pod.node.is_none() && !pod.dying).map(|(id, _)| *id).collect();
        for id in pending {
            if let Some(node) = self.choose(&self.pods[&id]) {
                self.bind(id, node, now);
            }
        }
    }

    /// The best node that takes a pod, if there is one.
    fn choose(&self, pod: &Pod) -> Option<usize> {
        let shunned = |node: &usize| pod.shunned.as_ref().is_some_and(|zone| self.nodes[*node].zone == *zone);
        let fitting: Vec<usize> = (0..self.nodes.len()).filter(|node| self.takes(pod.workload, *node)).collect();
        let wanted: Vec<usize> = fitting.iter().copied().filter(|node| !shunned(node)).collect();
        let among = if wanted.is_empty() { fitting } else { wanted };
        among.into_iter().max_by_key(|node| (self.score(pod, *node), std::cmp::Reverse(*node)))
    }

    /// Whether a node takes one more pod of a workload.
    pub(in crate::simulate) fn takes(&self, workload: usize, node: usize) -> bool {
        let it = &self.nodes[node];
        if !it.ready || it.cordoned {
            return false;
        }
        let there = self.pods.values().filter(|pod| pod.node == Some(node));
        let (pods, cpu_m) =
            there.fold((0, 0), |(pods, cpu_m), pod| (pods + 1, cpu_m + self.workloads[pod.workload].spec.cpu_m));
        pods < it.pods && cpu_m + self.workloads[workload].spec.cpu_m <= it.cpu_m
    }

    /// The nodes' labels weigh twice 100, room and spreading as much as by default: they lose only among equals.
    fn score(&self, pod: &Pod, node: usize) -> u64 {
        let it = &self.nodes[node];
        let near = |key: &String| match it.labels.get(key).map(String::as_str) {
            Some("closely") => 200,
            Some("intermediate") => 100,
            _ => 0,
        };
        let drawn: u64 = if self.heeds_labels { pod.keys.iter().map(near).sum() } else { 0 };
        let (mut there, mut alike, mut cpu_m) = (0, 0, 0);
        for other in self.pods.values().filter(|other| other.node == Some(node)) {
            there += 1;
            alike += u64::from(other.workload == pod.workload);
            cpu_m += self.workloads[other.workload].spec.cpu_m;
        }
        let free = (it.cpu_m.saturating_sub(cpu_m)) * 50 / it.cpu_m.max(1);
        drawn + free + 40u64.saturating_sub(10 * alike) + 10u64.saturating_sub(there / 4)
    }
}
