//! What people say of when a pod may be moved, besides how: pauses, mistakes that hold, windows, and the wish that it be moved now.

use super::{
    held::{Gate, HeldReason, Paused, Scope},
    limits::Limits,
    workloads::WorkloadKey,
};
use crate::core::{
    follow::{Follow, Wrong},
    moment::Moment,
    workload::{Pod, Snapshot, Workload},
};

/// What a plan keeps to besides the first closed gate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Control<'a> {
    /// The gates that are closed behind the first one.
    pub behind: &'a [Gate],
    /// Pods whose node is farther than this may be moved outside of windows, too.
    pub farther_than_us: Option<u64>,
    pub limits: Limits,
}

impl Control<'_> {
    /// Whether the pod may be moved now, as far as people and gates go. `gate` is the first one that is closed, `rtt_us` how far its node
    /// is.
    ///
    /// # Errors
    /// What holds it.
    pub fn allow(
        &self,
        snapshot: Snapshot<'_>,
        (key, pod): (&WorkloadKey, &Pod),
        (gate, rtt_us): (Option<&Gate>, Option<u64>),
        now: Moment,
    ) -> Result<(), HeldReason> {
        let workload = snapshot.workloads.get(&key.uid).map(AsRef::as_ref);
        let asked = wanted_now(workload, now);
        let farther = self.farther_than_us.zip(rtt_us).is_some_and(|(bound, rtt_us)| rtt_us > bound);
        let passes = |gate: &Gate| match gate {
            Gate::Settling { .. } => asked,
            Gate::OutsideWindow { .. } => asked || farther,
            _ => false,
        };
        allowed(snapshot, workload, (key, pod), now)?;
        match gate.into_iter().chain(self.behind).find(|gate| !passes(gate)) {
            Some(gate) => Err(HeldReason::Gate(gate.clone())),
            None => Ok(()),
        }
    }
}

/// Whether a person said a moment ago that the workload is to be moved now.
#[must_use]
pub fn wanted_now(workload: Option<&Workload>, now: Moment) -> bool {
    workload.and_then(|it| it.orders.as_ref()).is_some_and(|orders| orders.wants_move(now.wall))
}

/// Whether nobody says that the pod is to stay, for a while or by mistake: its namespace, its workload and itself. Asked again right
/// before it is moved.
///
/// # Errors
/// Who says so, and why.
pub fn still_allowed(snapshot: Snapshot<'_>, key: &WorkloadKey, pod: &Pod, now: Moment) -> Result<(), HeldReason> {
    allowed(snapshot, snapshot.workloads.get(&key.uid).map(AsRef::as_ref), (key, pod), now)
}

fn allowed(
    snapshot: Snapshot<'_>,
    workload: Option<&Workload>,
    (key, pod): (&WorkloadKey, &Pod),
    now: Moment,
) -> Result<(), HeldReason> {
    let namespace = snapshot.namespaces.get(&pod.namespace);
    let all = [
        (namespace.and_then(|it| it.orders.as_ref()), Scope::Namespace),
        (workload.and_then(|it| it.orders.as_ref()), Scope::Workload),
        (pod.orders.as_ref(), Scope::Pod),
    ];
    for (orders, scope) in &all {
        let pause = orders.and_then(|orders| orders.pause.as_ref()).filter(|pause| pause.holds(now.wall));
        if let Some(pause) = pause {
            let paused = Paused { scope: *scope, name: named(*scope, key, pod), pause: pause.clone() };
            return Err(HeldReason::Gate(Gate::PausedBy(Box::new(paused))));
        }
    }
    if let Some(sentence) = all.iter().find_map(|(orders, _)| orders.as_ref()?.misread.clone()) {
        return Err(HeldReason::Misread(sentence));
    }
    let Some(namespace) = namespace else { return Ok(()) };
    // Which databases there are isn't asked here: a name that is readable is no mistake of this kind.
    let mistakes = Follow::mistakes(namespace.opt_in.as_deref(), &namespace.wishes.says(), &pod.wishes.says());
    match mistakes.iter().find(|mistake| mistake.wrong != Wrong::TooMany) {
        Some(mistake) => Err(HeldReason::Misread(mistake.to_string())),
        None => Ok(()),
    }
}

fn named(scope: Scope, key: &WorkloadKey, pod: &Pod) -> String {
    match scope {
        Scope::Workload => format!("{} {}", key.kind, key.name),
        Scope::Pod => pod.name.clone(),
        _ => pod.namespace.clone(),
    }
}

#[cfg(test)]
mod tests;
