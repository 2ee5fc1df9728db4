//! What a script expects, held against what came.

use super::{
    cluster::{Cluster, NAMESPACE},
    script::{Expectation, Ms, Script},
    world::World,
};
use crate::evaluate::Decided;

const EXPECTED: &str = "expected";

/// An expectation of this time. `last`: what the last evaluation of each database said, if somebody leads.
pub(super) fn now(expectation: &Expectation, world: &mut World, last: &[Option<&Decided>], now: Ms) {
    let cluster = &world.cluster;
    let wrong = match expectation {
        Expectation::Near { workload, .. } => {
            let far: Vec<String> = named(cluster, workload.as_deref())
                .filter(|at| cluster.pods_of(*at).any(|(_, pod)| cluster.is_far(pod)) || !is_whole(cluster, *at))
                .map(|at| cluster.places(at))
                .collect();
            (!far.is_empty()).then(|| far.join("; "))
        }
        Expectation::Far { workload, least, .. } => {
            let far = |at: usize| cluster.pods_of(at).filter(|(_, pod)| cluster.is_far(pod)).count();
            named(cluster, Some(workload)).find(|at| far(*at) < *least as usize).map(|at| cluster.places(at))
        }
        Expectation::Held { workload, reason, .. } => {
            let of = |pod: &str| {
                cluster.pods.values().any(|it| it.name == pod && cluster.workloads[it.workload].spec.name == *workload)
            };
            let held = last.iter().flatten().flat_map(|decided| &decided.plan.held);
            let reasons: Vec<String> = held
                .filter(|held| held.namespace == NAMESPACE && of(&held.pod))
                .map(|held| format!("{} {}: {}", held.pod, held.reason.name(), held.reason))
                .collect();
            let right = !reasons.is_empty() && reasons.iter().all(|it| it.contains(&format!(" {reason}: ")));
            (!right).then(|| if reasons.is_empty() { "nobody is held".to_owned() } else { reasons.join("; ") })
        }
        Expectation::Gate { gate, .. } => {
            let gates: Vec<&str> =
                last.iter().map(|it| it.and_then(|it| it.gate.as_ref()).map_or("none", |gate| gate.name())).collect();
            (!gates.iter().any(|it| it == gate)).then(|| gates.join(", "))
        }
        Expectation::NeverBelow { .. } | Expectation::NoneBefore { .. } | Expectation::Evictions { .. } => None,
    };
    if let Some(wrong) = wrong {
        world.laws.break_(now, EXPECTED, format!("{expectation}; but {wrong}"));
    }
}

fn named<'a>(cluster: &'a Cluster, workload: Option<&'a str>) -> impl Iterator<Item = usize> + 'a {
    cluster.live().filter(move |at| workload.is_none_or(|name| cluster.workloads[*at].spec.name == *name))
}

fn is_whole(cluster: &Cluster, at: usize) -> bool {
    cluster.serving(at) >= cluster.workloads[at].spec.replicas
}

/// After each step that changed something: `serving` of each workload.
pub(super) fn always(script: &Script, world: &mut World, serving: &[u32], now: Ms) {
    for expectation in &script.expectations {
        let Expectation::NeverBelow { workload, least } = expectation else { continue };
        let at = world.cluster.find(workload).filter(|at| !world.cluster.workloads[*at].deleted);
        if let Some(at) = at.filter(|at| serving[*at] < *least) {
            let places = world.cluster.places(at);
            world.laws.break_(now, EXPECTED, format!("{expectation}; but {} serve: {places}", serving[at]));
        }
    }
}

/// What can be counted only when all is over.
pub(super) fn at_the_end(script: &Script, world: &mut World) {
    for expectation in &script.expectations {
        let wrong = match expectation {
            Expectation::NoneBefore { at } => {
                world.report.moves.iter().find(|(when, _)| when < at).map(|(when, who)| format!("{who} at {when} ms"))
            }
            Expectation::Evictions { workload, least, most } => {
                let of = |who: &String| workload.as_ref().is_none_or(|workload| workload == who);
                let count = world.report.moves.iter().filter(|(_, who)| of(who)).count();
                (!(*least as usize..=*most as usize).contains(&count)).then(|| format!("there were {count}"))
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            world.laws.break_(script.until, EXPECTED, format!("{expectation}; but {wrong}"));
        }
    }
}
