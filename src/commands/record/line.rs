//! What came of one question → one line of a recording, if it says anything new.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::discover::http::{PatroniError, Raw};

/// Fields that differ in every answer of a database at work, whatever is the matter with it. An answer in which only
/// these have changed says nothing new.
const RESTLESS: [&str; 10] = [
    "xlog",
    "dcs_last_seen",
    "logger_queue_size",
    "logger_records_lost",
    "lag",
    "lsn",
    "receive_lag",
    "receive_lsn",
    "replay_lag",
    "replay_lsn",
];

/// The format of the recordings that `switchover replay` reads.
#[derive(Serialize)]
struct Line<'a> {
    t: f64,
    member: &'a str,
    path: &'a str,
    status: Option<u16>,
    error: Option<String>,
    body: Option<Box<RawValue>>,
    /// Whose answers those of this URL are.
    #[serde(skip_serializing_if = "Option::is_none")]
    is: Option<&'a str>,
}

/// What an answer says, without what is restless.
#[derive(Debug, PartialEq)]
enum Said {
    Nothing(PatroniError),
    Json(u16, Value),
    Text(u16, Vec<u8>),
}

impl Said {
    fn of(answer: &Result<Raw, PatroniError>) -> Self {
        match answer {
            Err(error) => Self::Nothing(error.clone()),
            Ok((status, body)) => match serde_json::from_slice(body) {
                Ok(value) => Self::Json(*status, calm(value)),
                Err(_) => Self::Text(*status, body.clone()),
            },
        }
    }
}

fn calm(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(name, _)| !RESTLESS.contains(&name.as_str()));
            Value::Object(kept.map(|(name, value)| (name, calm(value))).collect())
        }
        Value::Array(items) => {
            // PostgreSQL lists its replicas in any order.
            let mut items: Vec<Value> = items.into_iter().map(calm).collect();
            items.sort_by_cached_key(Value::to_string);
            Value::Array(items)
        }
        other => other,
    }
}

/// Remembers what every member said last, and writes what is new.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// By member and path.
    last: BTreeMap<(String, &'static str), Said>,
}

impl Lines {
    /// The line for an answer, without its end, if it isn't what the member said last. `t` is the time since the
    /// recording began.
    pub(super) fn next(
        &mut self,
        t: Duration,
        member: &str,
        path: &'static str,
        answer: Result<Raw, PatroniError>,
    ) -> Option<String> {
        let said = Said::of(&answer);
        match self.last.entry((member.to_owned(), path)) {
            Entry::Occupied(last) if *last.get() == said => return None,
            Entry::Occupied(mut last) => drop(last.insert(said)),
            Entry::Vacant(first) => drop(first.insert(said)),
        }
        let (status, error, body) = match answer {
            Ok((status, body)) => (Some(status), None, raw(&body)),
            Err(error) => (None, Some(error.to_string()), None),
        };
        written(&Line { t: seconds(t), member, path, status, error, body, is: None })
    }

    /// The URLs that stand in the place of a member's name so far.
    pub(super) fn addresses(&self) -> BTreeSet<String> {
        self.last.keys().filter(|(member, _)| member.contains("://")).map(|(url, _)| url.clone()).collect()
    }

    /// The line that says whose answers those of `url` are. No more lines are written under it, unless somebody else answers
    /// there.
    pub(super) fn is(&mut self, t: Duration, url: &str, name: &str) -> Option<String> {
        self.last.retain(|(member, _), _| member != url);
        let error = Some(format!("the answers here are {name}'s"));
        written(&Line { t: seconds(t), member: url, path: "/primary", status: None, error, body: None, is: Some(name) })
    }

    /// Members that have said something.
    pub(super) fn members(&self) -> usize {
        self.last.keys().map(|(member, _)| member).collect::<BTreeSet<_>>().len()
    }
}

#[expect(clippy::cast_precision_loss, reason = "whole milliseconds: exact for 285,000 years")]
fn seconds(t: Duration) -> f64 {
    t.as_millis() as f64 / 1e3
}

/// Text keys and finite numbers can always be written.
fn written(line: &Line) -> Option<String> {
    serde_json::to_string(line).ok()
}

/// A body as JSON in one line: as it came if it is that, else as its text.
fn raw(body: &[u8]) -> Option<Box<RawValue>> {
    let body = body.trim_ascii();
    if body.is_empty() {
        return None;
    }
    if let Ok(value) = serde_json::from_slice::<Box<RawValue>>(body) {
        if !value.get().contains(['\n', '\r']) {
            return Some(value);
        }
        let value: Value = serde_json::from_slice(body).ok()?;
        return serde_json::value::to_raw_value(&value).ok();
    }
    serde_json::value::to_raw_value(&String::from_utf8_lossy(body)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_only_when_something_new_is_said() {
        let mut lines = Lines::default();
        let mut t = Duration::ZERO;
        let mut next = |answer: Result<(u16, &str), PatroniError>| {
            t += Duration::from_micros(250_400);
            lines.next(t, "pg1", "/primary", answer.map(|(status, body)| (status, body.as_bytes().to_vec())))
        };
        let primary =
            r#"{"state": "running", "xlog": {"location": 1}, "dcs_last_seen": 7, "replication": [{"a": 1}, {"b": 2}]}"#;
        let later =
            r#"{"state": "running", "xlog": {"location": 2}, "dcs_last_seen": 8, "replication": [{"b": 2}, {"a": 1}]}"#;
        let head = |t: &str, status: &str, error: &str, body: &str| {
            let fields = format!(r#""path":"/primary","status":{status},"error":{error},"body":{body}"#);
            Some(format!(r#"{{"t":{t},"member":"pg1",{fields}}}"#))
        };
        assert_eq!(next(Ok((200, primary))), head("0.25", "200", "null", primary), "the body as it came");
        assert_eq!(next(Ok((200, later))), None);
        assert_eq!(next(Ok((503, later))), head("0.751", "503", "null", later));
        let refused = || Err(PatroniError::Connection("Connection refused".to_owned()));
        assert_eq!(next(refused()), head("1.001", "null", r#""Connection refused""#, "null"));
        assert_eq!(next(refused()), None);
        assert_eq!(next(Ok((503, later))), head("1.502", "503", "null", later), "back");
        assert_eq!(next(Ok((502, "<h1>\nBad"))), head("1.752", "502", "null", r#""<h1>\nBad""#));
        assert_eq!(next(Ok((200, "{\n \"a\": 1}"))), head("2.003", "200", "null", r#"{"a":1}"#));
        assert_eq!(next(Ok((200, ""))), head("2.253", "200", "null", "null"));
    }

    #[test]
    fn members_and_paths_are_apart() {
        let mut lines = Lines::default();
        let answer = || Ok((200, b"{}".to_vec()));
        assert!(lines.next(Duration::ZERO, "pg1", "/primary", answer()).is_some());
        assert!(lines.next(Duration::ZERO, "pg1", "/cluster", answer()).is_some());
        assert!(lines.next(Duration::ZERO, "pg2", "/primary", answer()).is_some());
        assert_eq!(lines.members(), 2);
    }
}
