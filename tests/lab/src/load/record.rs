//! What became of every request, and sums of it over spans of time. Pure: times are arguments.

use std::{
    collections::VecDeque,
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

/// Hours of requests at the rates that demos use. Beyond it the oldest are forgotten.
const RECORDS: usize = 1_000_000;

/// Enough failures to see what they have in common.
const FAILURES: usize = 200;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    /// Refused, reset, timed out, ended early: a pod went away badly.
    TransportFailure,
    /// The service was there and said that its database was not.
    DbUnavailable,
    /// No endpoint was ready at that moment.
    NoEndpoint,
    /// Any other answer: a defect of the service.
    Other,
}

/// A request that failed for another reason than the database.
#[derive(Debug, Clone)]
pub struct Failure {
    pub at: Instant,
    pub outcome: Outcome,
    pub endpoint: Option<SocketAddr>,
    pub sentence: String,
}

/// Requests of a span of time, by what became of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub requests: u64,
    pub ok: u64,
    pub transport_failures: u64,
    pub db_unavailable: u64,
    pub no_endpoint: u64,
    pub other: u64,
    /// Of the requests that were ok; `None` when there were none.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1} ms"));
        write!(f, "{} requests, {} ok", self.requests, self.ok)?;
        let parts = [
            (self.transport_failures, "transport failures"),
            (self.db_unavailable, "database unavailable"),
            (self.no_endpoint, "without an endpoint"),
            (self.other, "other"),
        ];
        for (count, name) in parts.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {name}")?;
        }
        write!(f, "; p50 {}, p99 {}", ms(self.p50_ms), ms(self.p99_ms))
    }
}

#[derive(Debug, Clone, Copy)]
struct Record {
    start: Instant,
    outcome: Outcome,
    took: Duration,
}

/// Written by the load's thread only.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// In the order of their ends.
    records: VecDeque<Record>,
    pub failures: Vec<Failure>,
}

impl Records {
    pub(super) fn add(
        &mut self,
        start: Instant,
        outcome: Outcome,
        took: Duration,
        endpoint: Option<SocketAddr>,
        sentence: String,
    ) {
        if self.records.len() >= RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(Record { start, outcome, took });
        if !matches!(outcome, Outcome::Ok | Outcome::DbUnavailable) && self.failures.len() < FAILURES {
            self.failures.push(Failure { at: start, outcome, endpoint, sentence });
        }
    }

    pub(super) fn summary(&self, from: Instant, to: Instant) -> Summary {
        // Ends come in order, so what ended before `from` began before it too. From the newest backwards.
        let ended_later = self.records.iter().rev().take_while(|record| record.start + record.took >= from);
        let mut ok_ms = Vec::new();
        let mut summary = Summary::default();
        for record in ended_later.filter(|record| (from..to).contains(&record.start)) {
            summary.requests += 1;
            match record.outcome {
                Outcome::Ok => {
                    summary.ok += 1;
                    ok_ms.push(record.took.as_secs_f64() * 1000.0);
                }
                Outcome::TransportFailure => summary.transport_failures += 1,
                Outcome::DbUnavailable => summary.db_unavailable += 1,
                Outcome::NoEndpoint => summary.no_endpoint += 1,
                Outcome::Other => summary.other += 1,
            }
        }
        ok_ms.sort_by(f64::total_cmp);
        summary.p50_ms = percentile(&ok_ms, 0.50);
        summary.p99_ms = percentile(&ok_ms, 0.99);
        summary
    }
}

/// The nearest-rank percentile of sorted values.
fn percentile(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_counts_the_requests_that_began_in_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut records = Records::default();
        for (began, outcome, took) in [
            (0, Outcome::Ok, 10),
            (100, Outcome::Ok, 30),
            (200, Outcome::DbUnavailable, 5),
            (900, Outcome::TransportFailure, 200),
            (1000, Outcome::Ok, 150),
        ] {
            records.add(at(began), outcome, Duration::from_millis(took), None, "why".into());
        }
        let expected = Summary {
            requests: 4,
            ok: 2,
            transport_failures: 1,
            db_unavailable: 1,
            p50_ms: Some(10.0),
            p99_ms: Some(30.0),
            ..Summary::default()
        };
        assert_eq!(records.summary(start, at(1000)), expected);
        assert_eq!(records.summary(at(1000), at(2000)).p50_ms, Some(150.0));
        assert_eq!(records.summary(at(5000), at(6000)), Summary::default());
        assert_eq!(records.failures.len(), 1);
        let text = expected.to_string();
        assert_eq!(text, "4 requests, 2 ok, 1 transport failures, 1 database unavailable; p50 10.0 ms, p99 30.0 ms");
    }

    #[test]
    fn percentiles_take_the_nearest_rank() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), Some(50.0));
        assert_eq!(percentile(&values, 0.99), Some(99.0));
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
