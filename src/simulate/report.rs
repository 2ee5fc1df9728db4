//! What came of a simulation.

use std::fmt;

use super::{
    cluster::Answer,
    script::{Ms, time},
};
use crate::core::movement::{plan::Move, ways::Way};

/// Lines of the story that are kept.
const MOST_LINES: usize = 2_000;

/// What came of a simulation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// What happened, and when.
    pub story: Vec<(Ms, String)>,
    /// Laws that didn't hold, and expectations that weren't met.
    pub broken: Vec<Broken>,
    /// Everything that was due and done.
    pub steps: u64,
    pub evaluations: u64,
    /// When we moved something, and of which workload.
    pub moves: Vec<(Ms, String)>,
    /// Pods evicted by us.
    pub evictions: u64,
    /// Rollouts begun by us.
    pub restarts: u64,
    /// Evictions that a budget refused.
    pub refused: u64,
    /// How long pods were on far nodes, all together.
    pub far_pod_ms: u64,
    /// How long workloads had fewer pods serving than they want, summed over the pods.
    pub missing_pod_ms: u64,
}

/// Something that must hold, and didn't.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Broken {
    pub at: Ms,
    /// In a few words, the same for every case of it.
    pub law: &'static str,
    /// What happened.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}: {}: {}", time(self.at), self.law, self.what)
    }
}

impl Report {
    pub(super) fn tell(&mut self, at: Ms, line: impl fmt::Display) {
        if self.story.len() < MOST_LINES {
            self.story.push((at, line.to_string()));
        }
    }

    pub(super) fn moved(&mut self, at: Ms, move_: &Move, answer: Answer) {
        let Move { pod, from, to, workload, .. } = move_;
        if answer == Answer::Accepted {
            self.moves.push((at, workload.name.clone()));
        }
        match (move_.way, answer) {
            (Way::Evict, Answer::Accepted) => {
                self.evictions += 1;
                self.tell(at, format!("evict {pod} {from}→{to}"));
            }
            (_, Answer::NoBudget) => {
                self.refused += 1;
                self.tell(at, format!("evict {pod}: refused by its budget"));
            }
            (_, Answer::Gone) => self.tell(at, format!("evict {pod}: it is gone")),
            (_, Answer::Accepted) => {
                self.restarts += 1;
                self.tell(at, format!("restart {} because of {pod} {from}→{to}", workload.name));
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in &self.story {
            writeln!(f, "{:>8}  {line}", time(*at).to_string())?;
        }
        for broken in &self.broken {
            writeln!(f, "BROKEN  {broken}")?;
        }
        write!(
            f,
            "{} steps, {} evaluations; {} evictions, {} restarts, {} refused by budgets; {} pod-seconds far, {} pod-seconds missing",
            self.steps,
            self.evaluations,
            self.evictions,
            self.restarts,
            self.refused,
            self.far_pod_ms / 1000,
            self.missing_pod_ms / 1000
        )
    }
}
