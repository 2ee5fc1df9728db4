//! PodDisruptionBudgets: the disruption controller's count, and the Eviction API, as kube-apiserver decides.

use super::{BudgetState, Cluster, Ms, script};
use crate::core::workload::DisruptionBudget;

/// An evicted pod that isn't seen to end is believed to stay after this.
const DISRUPTED: Ms = 120_000;

/// What the Eviction API says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulate) enum Answer {
    Accepted,
    /// 429
    NoBudget,
    /// 404
    Gone,
}

impl Cluster {
    /// Somebody writes another budget, or takes it away.
    pub(in crate::simulate) fn put_budget(&mut self, workload: usize, asks: Option<script::Budget>, now: Ms) {
        let before = self.workloads[workload].budget.take();
        // What the last count said stands there until the next one, and is of an older spec.
        self.workloads[workload].budget = asks.map(|asks| match before {
            Some(before) => BudgetState { asks, observed: false, ..before },
            None => BudgetState::new(asks),
        });
        self.workloads[workload].spec.budget = asks;
        self.tell_budget(workload);
        self.touch(workload, now);
    }

    /// The disruption controller looks.
    pub(super) fn count(&mut self, workload: usize, now: Ms) {
        let expected = self.workloads[workload].spec.replicas;
        let Some(mut budget) = self.workloads[workload].budget.take() else { return };
        let told = budget.disrupted.len();
        budget.disrupted.retain(|id, at| {
            let pod = self.pods.get(id);
            now < *at + DISRUPTED && pod.is_some_and(|pod| !pod.dying)
        });
        let healthy = self
            .pods_of(workload)
            .filter(|(id, pod)| pod.ready.is_some() && !pod.dying && !budget.disrupted.contains_key(id))
            .count();
        let counted = (budget.healthy, budget.wanted, told);
        budget.healthy = u32::try_from(healthy).unwrap_or(u32::MAX);
        budget.wanted = budget.asks.healthy(expected);
        let allowed = if expected == 0 { 0 } else { budget.healthy.saturating_sub(budget.wanted) };
        let news = (allowed, true) != (budget.allowed, budget.observed)
            || (budget.healthy, budget.wanted, budget.disrupted.len()) != counted;
        (budget.allowed, budget.observed) = (allowed, true);
        let again = budget.disrupted.values().min().map(|at| at + DISRUPTED);
        self.workloads[workload].budget = Some(budget);
        if let Some(at) = again {
            self.timer(at, super::Timer::Count(workload));
        }
        if news {
            self.tell_budget(workload);
        }
    }

    /// What `status.disruptionsAllowed` says, to whoever reads it.
    pub(in crate::simulate) fn allowed(&self, workload: usize) -> Option<u32> {
        let budget = self.workloads[workload].budget.as_ref()?;
        Some(if budget.observed { budget.allowed } else { 0 })
    }

    /// What else its status says.
    pub(super) fn counts(&self, workload: usize) -> DisruptionBudget {
        let Some(budget) = &self.workloads[workload].budget else { return DisruptionBudget::default() };
        let disrupted = budget.disrupted.keys().filter_map(|id| self.pods.get(id)).map(|pod| pod.name.clone());
        DisruptionBudget {
            healthy: if budget.observed { budget.healthy } else { 0 },
            desired_healthy: budget.wanted,
            disrupted: disrupted.collect(),
            ..DisruptionBudget::default()
        }
    }

    /// The Eviction API (registry/core/pod/storage/eviction.go).
    pub(in crate::simulate) fn evict(&mut self, id: u64, now: Ms) -> Answer {
        let Some(pod) = self.pods.get(&id) else { return Answer::Gone };
        let workload = pod.workload;
        let asks = !pod.dying && pod.running;
        let ready = pod.ready.is_some();
        if let Some(budget) = self.workloads[workload].budget.as_mut().filter(|_| asks) {
            let spares = !ready && budget.healthy >= budget.wanted && budget.wanted > 0;
            if !spares {
                if !budget.observed || budget.allowed == 0 {
                    return Answer::NoBudget;
                }
                budget.allowed -= 1;
                budget.disrupted.insert(id, now);
                self.tell_budget(workload);
            }
        }
        self.delete(id, now);
        Answer::Accepted
    }
}
