//! What may stand in recordings.

mod nameless;
mod patroni;

use super::*;
use crate::core::primary::PrimaryState::{Degraded, Known, Promoting, SplitBrain, Unknown};

pub(super) fn replay(text: &str) -> Result<Vec<Change>, RecordingError> {
    let mut replay = Replay::new(Instant::now());
    let mut changes = Vec::new();
    for line in text.split('\n') {
        changes.extend(replay.line(line.as_bytes())?);
    }
    let (last, _) = replay.finish()?;
    Ok(changes.into_iter().chain(last).collect())
}

/// `"5.630 Degraded pg2 (pg2@1) epoch 1"`: state and whom it is about, the last primary, epoch, frozen reasons.
pub(super) fn verdicts(text: &str) -> Vec<String> {
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
    replay(text).unwrap().into_iter().map(line).collect()
}

#[test]
fn a_file_that_is_no_recording_is_refused_with_its_line() {
    let primary = r#"{"t": 5, "member": "a", "path": "/primary", "error": "refused"}"#;
    for (text, expected) in [
        ("\n{}", "line 2 is not a recorded answer: missing field `t` (column 2): write {\"t\": 1.5, "),
        ("garbage", "line 1 is not a recorded answer: expected value (column 1): write {"),
        (r#"{"t": -1, "member": "a", "path": "/primary"}"#, "line 1: t is -1.0: write seconds since"),
        (r#"{"t": 1e308, "member": "a", "path": "/primary"}"#, "line 1: t is 1e308: write seconds since"),
        (
            r#"{"t": "1", "member": "a"}"#,
            "line 1 is not a recorded answer: invalid type: string \"1\", expected a number",
        ),
        (
            r#"{"t": 1, "member": "a", "path": "/primary", "status": -1}"#,
            "line 1 is not a recorded answer: invalid value: integer `-1`, expected an HTTP status",
        ),
        ("7", "line 1 is not a recorded answer: invalid type: integer `7`, expected an object"),
        (r#"{"t": 1, "member": " ", "path": "/primary", "status": 200}"#, "line 1: member is empty: write the name"),
        ("[{}]", "line 1 is a JSON array: write one object per line"),
        ("\u{1f}\u{8b}", "line 1 is not a recorded answer: expected value"),
        (
            &format!("{primary}\n\n{}", primary.replace('5', "4.5")),
            "line 3: t is 4.5, but 5 stands above it: write the lines in the order of their times",
        ),
        ("\n \n", "it is empty: record GET /primary"),
        (
            &primary.replace("/primary", "/cluster"),
            "no line is an answer to /primary (there are /cluster): record GET /primary of every member",
        ),
    ] {
        let error = replay(text).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    for (bytes, what) in [
        (&b"\x1f\x8b\x08\0"[..], "compressed by gzip: write zcat FILE"),
        (&b"\xff\xfe{\0"[..], "UTF-16: write the file as UTF-8"),
    ] {
        let error = Replay::new(Instant::now()).line(bytes).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    let cut_off = replay(r#"{"t": 1, "member": "a", "pa"#).unwrap_err();
    assert!(matches!(cut_off, RecordingError::NoAnswer { line: 1, cut_off: true, .. }), "{cut_off:?}");
}

#[test]
fn what_doesnt_matter_is_read_leniently() {
    let known = ["1.000 Known a@3 last a epoch 1"];
    let body = r#"{"state": "running", "role": "primary", "timeline": 3}"#;
    let line = |rest: &str| format!(r#"{{"t": 1, "member": "a", "path": "/primary", "status": 200, {rest}}}"#);
    for text in [
        line(&format!(r#""error": null, "body": {body}"#)),
        line(&format!(r#""body": {body}, "took_ms": 12, "more": {{"t": 3}}"#)),
        line(&format!(r#""body": {}"#, serde_json::to_string(body).unwrap())),
        format!("\u{feff}\r\n{}\r\n\r\n", line(&format!(r#""body": {body}"#))),
        line(&format!(r#""body": {body}"#)).replace("/primary", "http://10.0.0.1:8008/primary/?x=1"),
    ] {
        assert_eq!(verdicts(&text), known, "{text}");
    }
    for odd in [
        line(r#""body": "garbage""#),
        line(r#""body": null"#),
        line(&format!(r#""body": {body}"#)).replace("200", "404"),
        line(&format!(r#""body": {body}"#)).replace("200", "null"),
    ] {
        assert_eq!(verdicts(&odd), ["1.000 Unknown - last - epoch 0"], "{odd}");
    }
}

/// Lines of `"t member path answer"`, the answer as `"200 running primary 3"` or one word, which is an error.
pub(crate) fn recorded(story: &[&str]) -> String {
    let line = |said: &&str| {
        let words: Vec<_> = said.split(' ').collect();
        let (t, member, path) = (words[0], words[1], words[2]);
        let head = format!(r#""t": {t}, "member": "{member}", "path": "{path}""#);
        if words.len() == 4 {
            return format!("{{{head}, \"status\": null, \"error\": \"{}\", \"body\": null}}\n", words[3]);
        }
        let timeline = words.get(6).map_or(String::new(), |timeline| format!(r#", "timeline": {timeline}"#));
        let flags: String = words.iter().skip(7).map(|flag| format!(r#", "{flag}": true"#)).collect();
        format!(
            r#"{{{head}, "status": {}, "error": null, "body": {{"state": "{}", "role": "{}"{timeline}{flags}}}}}"#,
            words[3], words[4], words[5]
        ) + "\n"
    };
    story.iter().map(line).collect()
}

#[test]
fn without_primary_the_nearest_path_is_judged() {
    let changes = |path: &str| {
        recorded(&[
            &format!("0 a {path} 200 running primary 1"),
            &format!("0 b {path} 503 running replica 1"),
            &format!("5 a {path} timeout"),
            &format!("9 b {path} 200 running primary 2"),
            &format!("9 a {path} 503 running primary 1"),
        ])
    };
    let expected =
        ["0.000 Known a@1 last a epoch 1", "5.000 Unknown - last a epoch 1", "9.000 Known b@2 last b epoch 2"];
    for path in ["/primary", "/", "/master", "/read-write", "/leader"] {
        assert_eq!(verdicts(&changes(path)), expected, "{path}");
    }
    for path in ["/patroni", "/health"] {
        // They say 200 to anybody, and don't know of the lock: the timeline tells.
        assert_eq!(verdicts(&changes(path).replace("503", "200")), expected, "{path}");
    }
    let standby = recorded(&["0 a /leader 200 running standby_leader 1", "1 b /leader 503 running replica 1"]);
    assert_eq!(verdicts(&standby), ["0.000 Unknown - last - epoch 0"]);
}

#[test]
fn where_there_is_primary_nothing_else_counts() {
    let text = recorded(&[
        "0 a /patroni 200 running primary 9",
        "0 a /leader 200 running primary 9",
        "1 a /primary 503 running replica 1",
        "1 b /primary 200 running primary 1",
        "2 b /patroni timeout",
        "3 a / 200 running primary 9",
    ]);
    assert_eq!(verdicts(&text), ["1.000 Known b@1 last b epoch 1"]);
}

#[test]
fn a_sentence_that_changes_is_no_change() {
    let text = recorded(&[
        "0 a /primary 200 running primary 1",
        "1 b /primary timeout",
        "2 b /primary refused",
        "3 a /primary refused",
        "4 a /primary timeout",
        "5 a /primary 200 crashed primary",
        "6 a /primary 200 starting primary",
        "7 b /primary 200 running replica 1",
        "8 a /primary 503 stopped replica",
        "8 b /primary 503 running replica 1",
        "8 c /primary 200 running replica 1",
    ]);
    assert_eq!(
        verdicts(&text),
        [
            "0.000 Known a@1 last a epoch 1",
            "3.000 Unknown - last a epoch 1",
            "5.000 Degraded a last a epoch 1",
            "7.000 Promoting b last a epoch 1",
        ]
    );
}

#[test]
fn a_member_is_called_what_the_recording_calls_it() {
    let named = |member: &str| {
        let line = recorded(&[&format!("0 {member} /primary 200 running primary 1")]);
        verdicts(&line.replace(r#""state""#, r#""patroni": {"name": "pg1"}, "state""#))
    };
    assert_eq!(named("db-a"), ["0.000 Known db-a@1 last db-a epoch 1"]);
    assert_eq!(named("http://10.0.0.1:8008"), ["0.000 Known pg1@1 last pg1 epoch 1"]);
}
