//! Whether a pod can be moved at all, and by which way: what holds for as long as it is what it is.

use jiff::Timestamp;

use super::{Follower, Planner, replaceable};
use crate::core::{
    follow::MoveMode,
    hash::HashMap,
    movement::{choice::choose, held::HeldReason, restart, ways::Way, workloads::WorkloadKey},
    workload::Pod,
};

/// Whether the pod itself says how it may be moved: whoever wrote that knows what it loses.
fn asked(pod: &Pod) -> bool {
    pod.wishes.movement.as_deref().is_some_and(|text| MoveMode::read(text.trim()).is_some())
}

impl<'a> Planner<'a> {
    /// What holds for as long as the pod is what it is, however the cluster stands.
    pub(super) fn movable<'k>(
        &self,
        key: Option<&'k WorkloadKey>,
        follower: &Follower<'_>,
    ) -> Result<(&'k WorkloadKey, Way), HeldReason> {
        let pod = follower.pod;
        if follower.mode == MoveMode::Never {
            // That of a namespace which is going away, whatever its pods say (`index::following`).
            let namespace = self.input.snapshot.namespaces.get(&pod.namespace);
            let terminating = namespace.is_some_and(|namespace| namespace.terminating);
            return Err(if terminating { HeldReason::NamespaceTerminating } else { HeldReason::Never });
        }
        let key = replaceable(key, pod)?;
        if let Some(why) = follower.left_alone.as_ref().or(pod.not_injected.as_ref()) {
            return Err(HeldReason::NotInjected(why.clone()));
        }
        if !asked(pod) {
            self.left_in_peace(key, pod)?;
        }
        let way = choose(follower.mode, &key.kind, pod, self.workloads.get(key))?;
        self.injects(key, pod)?;
        match self.input.journal.useless.get(key) {
            Some(moves) if *moves >= self.input.rules.max_useless_moves => Err(HeldReason::Useless { moves: *moves }),
            _ => Ok((key, way)),
        }
    }

    /// What people expect of everybody who evicts: that marks of others are heeded, and that no data is lost of which there is no
    /// second copy. (The replicas of a Deployment lose their emptyDirs at every rollout.)
    fn left_in_peace(&self, key: &WorkloadKey, pod: &Pod) -> Result<(), HeldReason> {
        if let Some(mark) = &pod.not_to_evict {
            return Err(HeldReason::DoNotEvict(mark.clone()));
        }
        let alone = self.workloads.get(key).and_then(|it| it.desired).is_some_and(|desired| desired <= 1);
        match &pod.scratch {
            Some(volume) if alone || key.kind == "StatefulSet" => Err(HeldReason::LocalData(volume.clone())),
            _ => Ok(()),
        }
    }

    /// That admission is known to inject, where it missed as many replacements of the workload as there may be useless moves: it has
    /// injected some pod since, and after as many again one of the same namespace.
    fn injects(&self, key: &WorkloadKey, pod: &Pod) -> Result<(), HeldReason> {
        let most = self.input.rules.max_useless_moves;
        let Some(missed) = self.input.journal.missed.get(key).filter(|missed| missed.times >= most) else {
            return Ok(());
        };
        let anywhere = missed.times < most.saturating_mul(2);
        let (youngest, by_namespace) = self.injected.get_or_init(|| self.injected());
        let youngest = if anywhere { youngest.as_ref() } else { by_namespace.get(pod.namespace.as_str()) };
        if youngest.is_some_and(|created| *created > missed.last) {
            return Ok(());
        }
        Err(HeldReason::NeverInjected { times: missed.times })
    }

    /// How often the pod's workload was restarted for this primary, if it may be moved all the same: admission missed the pod.
    /// Each pause is twice the one before, and there are as many restarts as there may be useless moves.
    pub(super) fn restarts(&self, key: &WorkloadKey, pod: &Pod) -> Result<u32, HeldReason> {
        let mark = self.input.snapshot.workloads.get(&key.uid).and_then(|w| w.restarted_for.as_deref());
        let times = restart::times(mark, self.input.restart_series);
        let done = self.input.journal.restarts.get(key).copied().unwrap_or(0);
        if times == 0 {
            // Another database's restart may have taken the mark's place.
            let again = done < self.input.rules.max_useless_moves;
            return if again { Ok(0) } else { Err(HeldReason::Restarted { times: done }) };
        }
        let missed = |workload_pods| restart::missed(workload_pods, mark, pod, self.input.node_label);
        if times >= self.input.rules.max_useless_moves || !self.workloads.get(key).is_some_and(missed) {
            return Err(HeldReason::Restarted { times });
        }
        let due = self.input.missed.due(&key.uid, times, self.input.now.instant);
        if due { Ok(times) } else { Err(HeldReason::AdmissionMissed) }
    }

    /// When the youngest follower was made that admission injected, anywhere and by namespace.
    fn injected(&self) -> (Option<Timestamp>, HashMap<&'a str, Timestamp>) {
        let mut by_namespace: HashMap<&str, Timestamp> = HashMap::default();
        let pods = self.input.followers.iter().map(|follower| follower.pod);
        for pod in pods.filter(|pod| pod.is_drawn_by(self.input.node_label)) {
            let youngest = by_namespace.entry(&pod.namespace).or_insert(pod.created);
            *youngest = pod.created.max(*youngest);
        }
        (by_namespace.values().max().copied(), by_namespace)
    }
}
