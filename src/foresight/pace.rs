//! When each move begins and ends: as many at once as budgets, workloads and limits let there be, each for as long as replacements of its
//! workload take.

mod jobs;
mod schedule;

use std::collections::BTreeMap;

pub(super) use self::jobs::Going;
use self::{
    jobs::Jobs,
    schedule::{Bounds, NO_BOUNDS, schedule},
};
use super::{
    Question,
    forecast::{Seconds, Step, WaveForecast},
    waves::{Carried, Course},
};
use crate::core::movement::{ways::Way, workloads::Workloads};

/// Moves that begin within this are one wave.
const TOGETHER_MS: u64 = 500;

/// The moves of a course, in time.
#[derive(Debug)]
pub(super) struct Paced {
    /// Of each move of the course, in its order.
    pub times: Vec<Timed>,
    pub steps: Vec<Step>,
    pub seconds: Seconds,
}

/// One move, in time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timed {
    pub way: Way,
    pub begins_ms: u64,
    pub ends_ms: u64,
    pub wave: u32,
    pub at_once: u32,
    pub ready_s: u32,
    pub ready_known: bool,
}

impl Timed {
    pub(super) fn ends_s(&self) -> f64 {
        seconds(self.ends_ms)
    }
}

impl Paced {
    pub(super) fn waves(&self) -> Vec<WaveForecast> {
        let mut waves: BTreeMap<u32, WaveForecast> = BTreeMap::new();
        for step in &self.steps {
            let wave =
                waves.entry(step.wave).or_insert(WaveForecast { wave: step.wave, begins_s: step.begins_s, pods: 0 });
            wave.pods += 1;
        }
        waves.into_values().collect()
    }
}

fn seconds(ms: u64) -> f64 {
    // Tenths are more than anybody knows.
    let tenths = u32::try_from(ms / 100).unwrap_or(u32::MAX);
    f64::from(tenths) / 10.0
}

pub(super) fn pace(question: &Question<'_>, course: &Course) -> Paced {
    let going: Vec<Going<'_>> = course.carried.iter().map(Going::of).collect();
    let uids = course.carried.iter().map(|carried| &*carried.move_.workload.uid);
    let workloads = Workloads::named(question.tables.snapshot(), uids);
    let Jobs { jobs, at_once, habits } = Jobs::of(question, &going, &workloads);
    let times = schedule(&jobs, &at_once, Bounds::of(question));
    let end = |times: &[(u64, u64)]| times.iter().map(|(_, end)| *end).max().unwrap_or(0);
    let total = end(&times);
    let in_budgets = end(&schedule(&jobs, &at_once, NO_BOUNDS)).min(total);
    let readiness = jobs.iter().map(|job| job.takes_ms).max().unwrap_or(0).min(in_budgets);
    let waves = numbered(&times);
    let timed = |at: usize| {
        let (ready_s, ready_known) = habits.ready_s(&going[at].workload.uid);
        Timed {
            way: going[at].way,
            begins_ms: times[at].0,
            ends_ms: times[at].1,
            wave: waves[at],
            at_once: at_once[jobs[at].group],
            ready_s,
            ready_known,
        }
    };
    let timed: Vec<Timed> = (0..jobs.len()).map(timed).collect();
    Paced {
        steps: steps(course, &timed),
        times: timed,
        seconds: Seconds {
            settle: question.object.spec.movement.settle.0.as_secs_f64(),
            total: seconds(total),
            readiness: seconds(readiness),
            budget: seconds(in_budgets - readiness),
            limits: seconds(total - in_budgets),
        },
    }
}

/// When the last of these ends ([`Seconds::total`]); they are of these workloads.
pub(super) fn total_s(question: &Question<'_>, going: &[Going<'_>], workloads: &Workloads<'_>) -> f64 {
    let Jobs { jobs, at_once, .. } = Jobs::of(question, going, workloads);
    let times = schedule(&jobs, &at_once, Bounds::of(question));
    seconds(times.iter().map(|(_, end)| *end).max().unwrap_or(0))
}

fn steps(course: &Course, timed: &[Timed]) -> Vec<Step> {
    let of_move = |(carried, timed): (&Carried, &Timed)| {
        let step = |pod: &super::waves::Moved| Step {
            wave: timed.wave,
            begins_s: seconds(timed.begins_ms),
            ends_s: timed.ends_s(),
            pod: pod.pod.full_name(),
            from: pod.from.clone(),
            to: pod.to.clone(),
            way: timed.way.name(),
        };
        carried.pods.iter().map(step).collect::<Vec<_>>()
    };
    let mut steps: Vec<Step> = course.carried.iter().zip(timed).flat_map(of_move).collect();
    steps.sort_by(|a, b| a.begins_s.total_cmp(&b.begins_s).then_with(|| a.pod.cmp(&b.pod)));
    steps
}

/// The number of the wave of each, from 1 on.
fn numbered(times: &[(u64, u64)]) -> Vec<u32> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|at| times[*at].0);
    let (mut wave, mut began, mut waves) = (0, None::<u64>, vec![0; times.len()]);
    for at in order {
        let begins = times[at].0;
        if began.is_none_or(|began| begins > began + TOGETHER_MS) {
            (wave, began) = (wave + 1, Some(begins));
        }
        waves[at] = wave;
    }
    waves
}

#[cfg(test)]
mod tests;
