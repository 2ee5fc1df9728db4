//! The shared recordings, and what may stand in others.

use super::*;
use crate::core::primary::PrimaryState::{Degraded, Known, Promoting, SplitBrain, Unknown};

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/recordings/patroni/", $name, ".jsonl"))
    };
}

fn replay(text: &str) -> Result<Vec<Change>, RecordingError> {
    let mut replay = Replay::new(Instant::now());
    let mut changes = Vec::new();
    for line in text.split('\n') {
        changes.extend(replay.line(line.as_bytes())?);
    }
    let (last, _) = replay.finish()?;
    Ok(changes.into_iter().chain(last).collect())
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
    replay(text).unwrap().into_iter().map(line).collect()
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

// The following were recorded by `switchover record` with ttl 20, loop_wait 2, retry_timeout 3.

#[test]
fn patroni_of_the_leader_frozen_without_watchdog() {
    assert_eq!(
        verdicts(recording!("patroni-frozen")),
        [
            "0.005 Unknown - last - epoch 0",
            "0.006 Known pg1@1 last pg1 epoch 1",
            "4.517 Unknown - last pg1 epoch 1",
            "23.128 Unknown - last pg1 epoch 1 frozen cluster_unlocked",
            // At 43.087 pg1 thaws and runs as primary on timeline 1, without the lock, for two seconds.
            "25.140 Known pg3@2 last pg3 epoch 2",
        ]
    );
}

#[test]
fn three_members_die_in_turn_and_rejoin() {
    assert_eq!(
        verdicts(recording!("three-die-in-turn")),
        [
            "0.004 Unknown - last - epoch 0",
            "0.005 Known pg3@2 last pg3 epoch 1",
            "3.266 Unknown - last pg3 epoch 1",
            "22.622 Known pg1@3 last pg1 epoch 2",
            "23.119 Unknown - last pg1 epoch 2",
            "42.993 Unknown - last pg1 epoch 2 frozen cluster_unlocked",
            "43.242 Known pg2@4 last pg2 epoch 3",
            "48.515 Unknown - last pg2 epoch 3",
            "55.552 Degraded pg2 last pg2 epoch 3",
            "55.808 Promoting pg2 last pg2 epoch 3",
            "56.312 Known pg2@5 last pg2 epoch 3",
        ]
    );
}

#[test]
fn store_hung_in_pause() {
    assert_eq!(
        verdicts(recording!("pause-store-hung")),
        [
            "0.004 Known pg2@5 last pg2 epoch 1",
            "3.769 Known pg2@5 last pg2 epoch 1 frozen pause",
            "14.831 Known pg2@5 last pg2 epoch 1 frozen cluster_unlocked,pause",
            "33.925 Known pg2@5 last pg2 epoch 1 frozen pause",
            "46.493 Known pg2@5 last pg2 epoch 1",
        ]
    );
}

#[test]
fn store_hung_with_failsafe() {
    assert_eq!(
        verdicts(recording!("failsafe")),
        [
            "0.004 Unknown - last - epoch 0",
            "0.006 Known pg2@5 last pg2 epoch 1",
            "6.040 Known pg2@5 last pg2 epoch 1 frozen failsafe_mode_is_active",
            "9.057 Known pg2@5 last pg2 epoch 1 frozen cluster_unlocked,failsafe_mode_is_active",
            // For as long as ttl the replicas believe that it may not be over.
            "38.210 Known pg2@5 last pg2 epoch 1 frozen failsafe_mode_is_active",
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
        recording!("patroni-frozen"),
        recording!("three-die-in-turn"),
        recording!("pause-store-hung"),
        recording!("failsafe"),
    ] {
        for change in replay(text).unwrap() {
            let free = matches!(change.view.state, Known(_)) && change.view.frozen.is_empty();
            assert_eq!(change.view.movement_allowed(), free);
            assert!(change.view.why.len() > 20, "{}", change.view.why);
        }
    }
}

#[test]
fn a_file_that_is_no_recording_is_refused_with_its_line() {
    let primary = r#"{"t": 5, "member": "a", "path": "/primary", "error": "refused"}"#;
    for (text, expected) in [
        ("\n{}", "line 2 is not a recorded answer: missing field `t` (column 2): write {\"t\": 1.5, "),
        ("garbage", "line 1 is not a recorded answer: expected value (column 1): write {"),
        (r#"{"t": -1, "member": "a", "path": "/primary"}"#, "line 1: t is -1: write seconds since"),
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
