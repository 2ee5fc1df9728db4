//! A script that breaks a law → a smaller one that breaks the same.

use std::time::Instant;

use super::{
    play::play,
    script::{Script, What},
};

/// Plays of one shrinking, at most: a long script costs seconds each time.
const MOST_PLAYS: u32 = 400;

/// The smallest script that is found by leaving out events, workloads and nodes while the first law that is broken stays the same.
/// A script that breaks none is returned as it is.
#[must_use]
pub fn shrink(script: &Script, begin: Instant) -> Script {
    let breaks = |script: &Script| play(script, begin).ok()?.broken.first().map(|broken| (broken.law, broken.at));
    let Some((law, at)) = breaks(script) else { return script.clone() };
    let mut least = script.clone();
    // What comes later has no part in it.
    let early = Script { until: at + 1_000, events: earlier(script, at), ..script.clone() };
    if breaks(&early).is_some_and(|(it, _)| it == law) {
        least = early;
    }
    let mut plays = 0;
    let mut still = |candidate: &Script| {
        plays += 1;
        plays <= MOST_PLAYS && breaks(candidate).is_some_and(|(it, _)| it == law)
    };
    loop {
        let before = least.clone();
        shrink_list(&mut least, |it| it.events.len(), |it, range| drop(it.events.drain(range)), &mut still);
        shrink_list(&mut least, |it| it.workloads.len(), without_workloads, &mut still);
        shrink_list(&mut least, |it| it.expectations.len(), |it, range| drop(it.expectations.drain(range)), &mut still);
        for zone in 0..least.zones.len() {
            while least.zones[zone].nodes > 1 {
                let mut candidate = least.clone();
                let gone = format!("{}{}", candidate.zones[zone].name, candidate.zones[zone].nodes);
                candidate.zones[zone].nodes -= 1;
                candidate.events.retain(|event| !matches!(&event.what, What::Node { name, .. } if *name == gone));
                if !still(&candidate) {
                    break;
                }
                least = candidate;
            }
        }
        for workload in 0..least.workloads.len() {
            while least.workloads[workload].replicas > 1 {
                let mut candidate = least.clone();
                candidate.workloads[workload].replicas -= 1;
                if !still(&candidate) {
                    break;
                }
                least = candidate;
            }
        }
        if least == before {
            return least;
        }
    }
}

fn earlier(script: &Script, at: u64) -> Vec<super::script::Event> {
    script.events.iter().filter(|event| event.at <= at).cloned().collect()
}

/// Leaves out halves, then quarters, and so on down to one.
fn shrink_list(
    least: &mut Script,
    len: impl Fn(&Script) -> usize,
    without: impl Fn(&mut Script, std::ops::Range<usize>),
    still: &mut impl FnMut(&Script) -> bool,
) {
    let mut size = len(least).div_ceil(2).max(1);
    loop {
        let mut from = 0;
        while from < len(least) {
            let mut candidate = least.clone();
            let to = (from + size).min(len(least));
            without(&mut candidate, from..to);
            if still(&candidate) {
                *least = candidate;
            } else {
                from = to;
            }
        }
        if size == 1 {
            return;
        }
        size = size.div_ceil(2);
    }
}

fn without_workloads(script: &mut Script, range: std::ops::Range<usize>) {
    let gone: Vec<String> = script.workloads.drain(range).map(|workload| workload.name).collect();
    script.events.retain(|event| !matches!(&event.what, What::Workload { name, .. } if gone.contains(name)));
}
