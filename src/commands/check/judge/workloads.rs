//! Whether the workloads that follow can be moved without an outage. Nothing of it is wrong with the installation: hints, all of it.

use crate::{
    commands::check::{
        facts::{Facts, Follower},
        found::{Found, Mark},
    },
    core::{
        weakness::{Serving, Weakness, weaknesses},
        words::listed,
    },
};

/// Each lack once, with those that have it.
pub(in crate::commands::check) fn ready(facts: &Facts) -> Found {
    let followers = match &facts.followers {
        Ok(followers) => followers,
        // Whoever may not see them isn't told that something is unclear about the installation.
        Err(unseen) => return Found::skipped(&*unseen.0),
    };
    if followers.is_empty() {
        return Found::skipped("no Deployment or StatefulSet follows so far");
    }
    let mut lacking: Vec<(Weakness, Vec<String>)> = Vec::new();
    for follower in followers {
        for weakness in of(follower) {
            let name = named(follower);
            match lacking.iter_mut().find(|(known, _)| *known == weakness) {
                Some((_, names)) => names.push(name),
                None => lacking.push((weakness, vec![name])),
            }
        }
    }
    let mut found = Found::right(format!("{} workloads", followers.len()));
    // Whatever most of them lack comes first.
    lacking.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    for (weakness, names) in lacking {
        found.tell(Mark::Hint, format!("{}: {weakness}; {} ({})", listed(&names), weakness.advice(), weakness.doc()));
    }
    found
}

fn of(follower: &Follower) -> Vec<Weakness> {
    let Follower { workload, min_ready_s, pod, budgets } = follower;
    weaknesses(&Serving {
        kind: &workload.kind,
        replicas: Some(workload.desired),
        strategy: workload.strategy,
        min_ready_s: Some(*min_ready_s),
        pod: Some(pod),
        budgets,
    })
}

/// `deployment orders/api`
fn named(Follower { workload, .. }: &Follower) -> String {
    format!("{} {}/{}", workload.kind.to_lowercase(), workload.namespace, workload.name)
}
