//! Recorded answers: JSON lines of `t` (seconds), `member`, `path`, `status` or `error`, `body`; one line whenever an
//! answer changed. An answer holds until the same member's next line for that path.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Deserialize;

use super::patroni::{PatroniError, parse_member};
use crate::core::primary::{Answer, Belief, Observation, PrimaryTracker, PrimaryView};

#[derive(Deserialize)]
struct Line {
    t: f64,
    member: String,
    path: String,
    status: Option<u16>,
    error: Option<String>,
    body: Option<Box<serde_json::value::RawValue>>,
}

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
#[error("line {line} is not a recorded answer: {error}")]
pub struct RecordingError {
    line: usize,
    error: String,
}

/// What was believed from `t` on.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Seconds since the recording began.
    pub t: f64,
    pub view: PrimaryView,
}

/// Runs the decision over a recording and returns every change of what it shows: state, primary, timeline, epoch or
/// frozen reasons. `base` stands for the instant at which the recording began. Lines of the same `t` are one look.
///
/// # Errors
/// When a line isn't JSON of the form above. A recorded body that isn't Patroni's is an answer like any other.
pub fn replay(text: &str, base: Instant) -> Result<Vec<Change>, RecordingError> {
    let mut tracker = PrimaryTracker::new(Belief::default(), Duration::MAX);
    let mut latest: BTreeMap<String, Observation> = BTreeMap::new();
    let mut changes: Vec<Change> = Vec::new();
    let mut look = |t: f64, latest: &BTreeMap<String, Observation>| {
        let view = tracker.observe(latest, base + Duration::from_secs_f64(t));
        if changes.last().is_none_or(|last| shown(&last.view) != shown(&view)) {
            changes.push(Change { t, view });
        }
    };
    let mut now = None;
    for (number, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let refuse = |error: String| RecordingError { line: number + 1, error };
        let line: Line = serde_json::from_str(text).map_err(|error| refuse(error.to_string()))?;
        if !(0.0..=1e9).contains(&line.t) {
            return Err(refuse(format!("t is {}: write seconds since the recording began", line.t)));
        }
        if line.path != "/primary" {
            continue;
        }
        if let Some(before) = now.filter(|before| *before != line.t) {
            look(before, &latest);
        }
        now = Some(line.t);
        latest.insert(
            line.member.clone(),
            Observation { at: base + Duration::from_secs_f64(line.t), answer: answer(line) },
        );
    }
    if let Some(t) = now {
        look(t, &latest);
    }
    Ok(changes)
}

fn answer(line: Line) -> Answer {
    let unreachable = |error: String| Answer::Unreachable { error };
    match (line.status, line.body) {
        (Some(status @ (200 | 503)), Some(body)) => match parse_member(body.get().as_bytes()) {
            Ok(body) => Answer::Http { status, body },
            Err(error) => unreachable(error.to_string()),
        },
        (Some(status @ (200 | 503)), None) => unreachable(format!("answered {status} without a body")),
        (Some(status), _) => unreachable(PatroniError::Status(status).to_string()),
        (None, _) => unreachable(line.error.unwrap_or_else(|| "no answer".to_owned())),
    }
}

/// What of a view counts as a change.
fn shown(view: &PrimaryView) -> impl PartialEq + use<> {
    let frozen: Vec<_> = view.frozen.iter().map(|reason| reason.name()).collect();
    (view.state.clone(), view.last.clone(), view.epoch, frozen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::primary::PrimaryState::{Degraded, Known, Promoting, SplitBrain, Unknown};

    macro_rules! recording {
        ($name:literal) => {
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/patroni/", $name, ".jsonl"))
        };
    }

    /// `"5.630 Degraded pg2 (pg2@1) epoch 1"`: state and whom it is about, the last primary, epoch, frozen reasons.
    fn verdicts(text: &str) -> Vec<String> {
        let line = |change: Change| {
            let view = change.view;
            let who = match &view.state {
                Known(primary) => format!("{}@{}", primary.name, primary.timeline),
                Promoting { member } | Degraded { member } => member.clone(),
                SplitBrain(claimants) => format!("{claimants:?}"),
                Unknown => "-".to_owned(),
            };
            let last = view.last.as_ref().map_or("-".to_owned(), |p| p.name.clone());
            let frozen: Vec<_> = view.frozen.iter().map(|reason| reason.name()).collect();
            let line = format!("{:.3} {} {who} last {last} epoch {}", change.t, view.state.name(), view.epoch);
            if frozen.is_empty() { line } else { format!("{line} frozen {}", frozen.join(",")) }
        };
        replay(text, Instant::now()).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn switchover() {
        assert_eq!(
            verdicts(recording!("switchover-default")),
            [
                "0.059 Unknown - last - epoch 0",
                "0.085 Known pg2@1 last pg2 epoch 1",
                "5.630 Degraded pg2 last pg2 epoch 1",
                "7.818 Unknown - last pg2 epoch 1",
                "7.924 Unknown - last pg2 epoch 1 frozen cluster_unlocked",
                "8.169 Promoting pg1 last pg2 epoch 1 frozen cluster_unlocked",
                "8.231 Promoting pg1 last pg2 epoch 1",
                "8.331 Known pg1@2 last pg1 epoch 2",
            ]
        );
    }

    #[test]
    fn kill9_of_patroni_and_postgres() {
        assert_eq!(
            verdicts(recording!("kill9-patroni-and-postgres")),
            [
                "0.035 Known pg1@2 last pg1 epoch 1",
                "3.035 Unknown - last pg1 epoch 1",
                "25.111 Unknown - last pg1 epoch 1 frozen cluster_unlocked",
                "25.294 Promoting pg2 last pg1 epoch 1 frozen cluster_unlocked",
                "25.347 Promoting pg2 last pg1 epoch 1",
                "25.562 Known pg2@3 last pg2 epoch 2",
            ]
        );
    }

    #[test]
    fn kill9_of_postgres_alone_is_no_failover() {
        assert_eq!(
            verdicts(recording!("kill9-postgres-only")),
            [
                "0.011 Unknown - last - epoch 0",
                "0.018 Known pg2@3 last pg2 epoch 1",
                "3.039 Degraded pg2 last pg2 epoch 1",
                "18.360 Known pg2@3 last pg2 epoch 1",
            ]
        );
    }

    #[test]
    fn leader_cut_from_dcs() {
        assert_eq!(
            verdicts(recording!("leader-cut-from-dcs")),
            [
                "0.028 Unknown - last - epoch 0",
                "0.044 Known pg1@2 last pg1 epoch 1",
                "20.127 Degraded pg1 last pg1 epoch 1",
                "21.630 Unknown - last pg1 epoch 1",
                "30.258 Unknown - last pg1 epoch 1 frozen cluster_unlocked",
                "30.285 Promoting pg3 last pg1 epoch 1 frozen cluster_unlocked",
                "30.351 Promoting pg3 last pg1 epoch 1",
                // From 32.354 to 47.969 pg1, still cut off, says cluster_unlocked: it hasn't seen the store for 10 s.
                "30.392 Known pg3@3 last pg3 epoch 2",
            ]
        );
    }

    #[test]
    fn dcs_hung() {
        assert_eq!(
            verdicts(recording!("dcs-hung-45s")),
            [
                "0.026 Unknown - last - epoch 0",
                "0.044 Known pg3@1 last pg3 epoch 1",
                "13.223 Known pg3@1 last pg3 epoch 1 frozen cluster_unlocked",
                "15.243 Degraded pg3 last pg3 epoch 1 frozen cluster_unlocked",
                "17.279 Unknown - last pg3 epoch 1 frozen cluster_unlocked",
                "23.275 Unknown - last pg3 epoch 1",
                "25.283 Unknown - last pg3 epoch 1 frozen cluster_unlocked",
                "27.287 Unknown - last pg3 epoch 1",
                "47.991 Unknown - last pg3 epoch 1 frozen cluster_unlocked",
                "54.430 Promoting pg1 last pg3 epoch 1",
                "54.529 Known pg1@2 last pg1 epoch 2",
            ]
        );
    }

    #[test]
    fn movement_is_allowed_only_while_a_primary_is_known_and_nothing_is_frozen() {
        for text in [
            recording!("switchover-default"),
            recording!("kill9-patroni-and-postgres"),
            recording!("kill9-postgres-only"),
            recording!("leader-cut-from-dcs"),
            recording!("dcs-hung-45s"),
        ] {
            for change in replay(text, Instant::now()).unwrap() {
                let free = matches!(change.view.state, Known(_)) && change.view.frozen.is_empty();
                assert_eq!(change.view.movement_allowed(), free);
                assert!(change.view.why.len() > 20, "{}", change.view.why);
            }
        }
    }

    #[test]
    fn a_file_that_is_no_recording_is_refused_with_its_line() {
        for (text, expected) in [
            ("\n{}", "line 2 is not a recorded answer: missing field `t`"),
            (r#"{"t": -1, "member": "a", "path": "/primary"}"#, "t is -1: write seconds"),
        ] {
            let error = replay(text, Instant::now()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let odd = r#"{"t": 1, "member": "a", "path": "/primary", "status": 200, "error": null, "body": "garbage"}"#;
        assert_eq!(verdicts(odd), ["1.000 Unknown - last - epoch 0"]);
    }
}
