//! The demo's figures, and what they must be.

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Drains;
use crate::{load::Summary, measured::write_json};

/// target/demo/report.json
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    #[serde(skip)]
    pub replicas: usize,
    pub moves: Vec<Move>,
    pub drains: Drains,
}

/// One move of the primary, and how the service came after it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Move {
    /// `switchover` or `kill9`.
    pub event: String,
    pub from: String,
    pub to: String,
    /// Event → the controller has confirmed the new primary.
    pub confirmed_s: f64,
    /// Confirmed → every node's label right.
    pub labels_s: f64,
    pub moved: u64,
    pub held: u64,
    /// Confirmed → last replacement Ready.
    pub done_s: f64,
    /// What `switchover plan` said before the event: how many pods, and for how long from the first one on.
    pub foreseen_moves: u64,
    pub foreseen_s: f64,
    /// How long that took.
    pub moving_s: f64,
    pub min_ready: usize,
    pub replicas: usize,
    pub requests: u64,
    pub transport_failures: u64,
    pub db_unavailable: u64,
    pub p50_ms: Percentiles,
    /// Anything else that went wrong with a request.
    pub other_failures: u64,
    /// Replicas on closely nodes at the end.
    pub near: usize,
}

/// Median response times of the service in milliseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Percentiles {
    /// Before the event.
    pub before: f64,
    /// With the new primary, before the first pod has moved.
    pub far: f64,
    /// After the last pod has moved.
    pub after: f64,
}

impl Move {
    pub fn count(&mut self, summary: &Summary) {
        self.requests = summary.requests;
        self.transport_failures = summary.transport_failures;
        self.db_unavailable = summary.db_unavailable;
        self.other_failures = summary.other + summary.no_endpoint;
    }

    /// What is not as it should be, in sentences.
    fn problems(&self) -> Vec<String> {
        let Percentiles { before, far, after } = self.p50_ms;
        let checks = [
            (self.transport_failures == 0, format!("{} requests failed in transport", self.transport_failures)),
            (self.other_failures == 0, format!("{} requests failed otherwise", self.other_failures)),
            (self.min_ready + 1 >= self.replicas, format!("only {} replicas were ready at one time", self.min_ready)),
            (self.near == self.replicas, format!("only {} replicas stand on closely nodes", self.near)),
            (self.moved >= self.replicas as u64, format!("only {} pods were moved", self.moved)),
            (
                self.foreseen_moves == self.replicas as u64,
                format!("{} pods were foreseen to move", self.foreseen_moves),
            ),
            (self.held == 0, format!("{} pods were held", self.held)),
            (far > before * 3.0, format!("p50 {far:.1} ms shows no pain after {before:.1} ms")),
            // Ten queries at some hundred microseconds each: twice that is still near, ten times 20 ms is not.
            (after < before * 2.0 + 5.0, format!("p50 {after:.1} ms is not near {before:.1} ms")),
            (after > 0.0 && before > 0.0, "the response time was not measured".to_owned()),
        ];
        let failed = checks.into_iter().filter(|(holds, _)| !holds);
        failed.map(|(_, problem)| format!("{} {} → {}: {problem}", self.event, self.from, self.to)).collect()
    }
}

impl Report {
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<_> = self.moves.iter().flat_map(Move::problems).collect();
        if self.moves.len() != 2 {
            problems.push(format!("{} moves instead of 2", self.moves.len()));
        }
        problems.extend(self.drains.problems());
        problems
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        write_json(path, self)
    }

    /// The last line.
    pub fn line(&self, took: Duration) -> String {
        let moves: Vec<_> = self
            .moves
            .iter()
            .map(|m| {
                format!(
                    "{} {}→{}: known +{:.1} s, labels +{:.1} s, {} pods near +{:.1} s (moving {:.0} s, foreseen {:.0} s), p50 {:.0}→{:.0}→{:.0} ms",
                    m.event,
                    m.from,
                    m.to,
                    m.confirmed_s,
                    m.labels_s,
                    m.moved,
                    m.done_s,
                    m.moving_s,
                    m.foreseen_s,
                    m.p50_ms.before,
                    m.p50_ms.far,
                    m.p50_ms.after
                )
            })
            .collect();
        let failures = self.moves.iter().map(|m| m.transport_failures).sum::<u64>() + self.drains.transport_failures;
        let verdict = if self.problems().is_empty() { "ok" } else { "FAILED" };
        format!(
            "demo: {verdict} in {:.0} s; {}; {}; {failures} transport failures",
            took.as_secs_f64(),
            moves.join("; "),
            self.drains.line()
        )
    }
}
