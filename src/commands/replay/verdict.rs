//! One line of `switchover replay`, and when movement may start.

use std::{collections::VecDeque, time::Instant};

use serde::Serialize;

use crate::{
    core::{movement::settle::Rules, words::printable},
    discover::recording::{Change, Shown},
};

/// When movement would be allowed to start, and to whom.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Move {
    /// Seconds since the recording began. May be later than its end: the last answers hold.
    pub at: f64,
    pub to: String,
}

/// One line of output. The keys and their order are part of the command line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Verdict {
    t: f64,
    #[serde(flatten)]
    shown: Shown,
    why: String,
    /// Not asked for; or asked for, and perhaps there is none.
    #[serde(rename = "move", skip_serializing_if = "Option::is_none")]
    movement: Option<Option<Move>>,
}

impl From<Change> for Verdict {
    fn from(change: Change) -> Self {
        Self { t: change.t, shown: change.shown, why: change.view.why, movement: None }
    }
}

impl Verdict {
    /// # Errors
    /// Never: every key is text.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let Shown { state, primary, timeline, epoch, frozen } = &self.shown;
        let primary = match (primary, timeline) {
            (Some(name), Some(timeline)) => format!("{name} (timeline {timeline})"),
            (Some(name), None) => name.clone(),
            (None, _) => "-".to_owned(),
        };
        let mut text = format!("{:>9.3} s  {state:<10}  {primary:<18}  epoch {epoch}  {}", self.t, self.why);
        if !frozen.is_empty() {
            text += &format!("; frozen: {}", frozen.join(", "));
        }
        match &self.movement {
            Some(Some(Move { at, to })) => text += &format!("; pods may move to {to} from {at:.3} s on"),
            // In every other state it goes without saying.
            Some(None) if *state == "Known" && frozen.is_empty() => text += "; not for long enough to move pods",
            Some(None) | None => {}
        }
        // Names and errors come from a file.
        printable(&text).into_owned()
    }
}

/// Finds out for each view when movement may start: once the same primary has been known, and nothing frozen, for
/// long enough. Whether it has shows only later, so views are held back until then.
#[derive(Debug)]
pub(super) struct Movement {
    rules: Rules,
    base: Instant,
    epoch: u64,
    /// When the primary changed, the earliest first.
    changes: Vec<Instant>,
    /// Views of one and the same streak, in their order.
    waiting: VecDeque<(Verdict, Move, Instant)>,
}

impl Movement {
    /// `base` is the instant at which the recording began.
    pub(super) fn new(rules: Rules, base: Instant) -> Self {
        Self { rules, base, epoch: 0, changes: Vec::new(), waiting: VecDeque::new() }
    }

    /// The verdicts that are certain now that this change is known, in their order.
    pub(super) fn next(&mut self, change: Change) -> Vec<Verdict> {
        let streak = change.view.calm_since;
        let mut certain = Vec::new();
        while let Some((mut verdict, movement, since)) = self.waiting.pop_front() {
            let holds = streak == Some(since);
            if holds && movement.at > change.t {
                self.waiting.push_front((verdict, movement, since));
                break;
            }
            let started = holds || movement.at < change.t;
            verdict.movement = Some(started.then_some(movement));
            certain.push(verdict);
        }
        self.note_change(&change);
        match (streak, change.view.known()) {
            (Some(since), Some(primary)) => {
                let at = self.after(since).max(change.t);
                let movement = Move { at, to: primary.name.clone() };
                self.waiting.push_back((change.into(), movement, since));
            }
            _ => certain.push(Verdict { movement: Some(None), ..change.into() }),
        }
        certain
    }

    /// What was held back: nothing breaks a streak after the end.
    pub(super) fn finish(self) -> Vec<Verdict> {
        let start = |(verdict, movement, _)| Verdict { movement: Some(Some(movement)), ..verdict };
        self.waiting.into_iter().map(start).collect()
    }

    fn note_change(&mut self, change: &Change) {
        // The first primary ever seen is no change.
        let changed = self.epoch > 0 && change.view.epoch > self.epoch;
        self.changes.extend(change.view.confirmed_at.filter(|_| changed));
        self.epoch = change.view.epoch;
    }

    /// When a streak that began at `since` has lasted long enough, in seconds since the recording began.
    fn after(&self, since: Instant) -> f64 {
        let ages = self.changes.iter().map(|at| since.saturating_duration_since(*at));
        let s = (since.duration_since(self.base) + self.rules.after(ages).wait).as_secs_f64();
        // Instants are finer than the recording's times; nobody wants to read that.
        (s * 1e6).round() / 1e6
    }
}
