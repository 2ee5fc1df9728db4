//! Patroni before 3.2 doesn't say its name: one member is heard under a URL and under its name, and is one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{patroni::ALL, replay, verdicts};

/// How often whoever records asks at a URL.
const EVERY_S: f64 = 0.25;

/// One line of a recording.
type Line = (f64, Value);

fn lines(text: &str) -> Vec<Line> {
    let line = |text: &str| {
        let mut line: Value = serde_json::from_str(text).unwrap();
        if let Some(patroni) = line.pointer_mut("/body/patroni") {
            patroni.as_object_mut().unwrap().remove("name");
        }
        (line["t"].as_f64().unwrap(), line)
    };
    text.lines().map(line).collect()
}

fn text(mut lines: Vec<Line>) -> String {
    lines.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let line = |(t, mut line): Line| {
        line["t"] = json!(t);
        format!("{line}\n")
    };
    lines.into_iter().map(line).collect()
}

fn at(url: &str, line: &Value) -> Value {
    let mut line = line.clone();
    line["member"] = json!(url);
    line
}

fn is_primary(line: &Value) -> bool {
    line["path"] == "/primary"
}

/// The same with a further line at the URL of each of these members, so much later.
fn under_urls(recording: &str, members: &[&str], later_s: f64) -> String {
    let lines = lines(recording);
    let own = lines.iter().filter(|(_, line)| is_primary(line) && members.contains(&line["member"].as_str().unwrap()));
    let further = own.map(|(t, line)| {
        let url = format!("http://{}.lab.test:18008", line["member"].as_str().unwrap());
        ((t + later_s).max(0.0), at(&url, line))
    });
    text(further.chain(lines.clone()).collect())
}

/// The same with an address that leads to one member at a time: which one, of their latest answers, at each turn.
fn behind(recording: &str, which: impl Fn(usize, &BTreeMap<String, Value>) -> Option<Value>) -> String {
    let lines = lines(recording);
    let end = lines.last().unwrap().0;
    let mut further = Vec::new();
    let mut latest = BTreeMap::new();
    let mut coming = lines.iter().filter(|(_, line)| is_primary(line)).peekable();
    for turn in 0.. {
        let t = 0.1 + EVERY_S * f64::from(turn);
        if t > end {
            break;
        }
        while let Some((_, line)) = coming.next_if(|(before, _)| *before <= t) {
            latest.insert(line["member"].as_str().unwrap().to_owned(), line.clone());
        }
        let nobody = json!({"path": "/primary", "status": null, "error": "connection closed", "body": null});
        let line = which(usize::try_from(turn).unwrap(), &latest).unwrap_or(nobody);
        further.push((t, at("http://db.lab.test:8008", &line)));
    }
    text(further.into_iter().chain(lines).collect())
}

/// Every primary that was known, and since when; and how often a split brain began.
fn known(text: &str) -> (Vec<(f64, String)>, usize) {
    let mut known: Vec<(f64, String)> = Vec::new();
    let mut splits = 0;
    for change in replay(text).unwrap() {
        splits += usize::from(change.view.state.name() == "SplitBrain");
        if let Some(primary) = change.view.known() {
            let primary = format!("{primary} in epoch {}", change.view.epoch);
            if known.last().is_none_or(|(_, last)| *last != primary) {
                known.push((change.t, primary));
            }
        }
    }
    (known, splits)
}

#[test]
fn every_recording_again_without_names_in_answers() {
    let everybody = ["pg1", "pg2", "pg3"];
    let in_turn =
        |turn: usize, latest: &BTreeMap<String, Value>| latest.values().nth(turn % latest.len().max(1)).cloned();
    let has_lock =
        |_: usize, latest: &BTreeMap<String, Value>| latest.values().find(|line| line["status"] == 200).cloned();
    for (name, recording) in ALL.into_iter().filter(|(name, _)| !name.starts_with("old-")) {
        let (expected, splits) = known(recording);
        for (what, text) in [
            ("URLs asked later", under_urls(recording, &everybody, 0.1)),
            ("URLs asked sooner", under_urls(recording, &everybody, -0.1)),
            ("a forwarder in front of pg1", under_urls(recording, &["pg1"], 0.03)),
            ("a forwarder in front of pg2", under_urls(recording, &["pg2"], -0.03)),
            ("an address that leads to everybody in turn", behind(recording, in_turn)),
            ("an address that goes with the lock", behind(recording, has_lock)),
        ] {
            assert!(
                text.matches("http://").count() > recording.matches("http://").count(),
                "{name}, {what}: no URL is heard"
            );
            let (found, further) = known(&text);
            let names = |known: &[(f64, String)]| known.iter().map(|(_, primary)| primary.clone()).collect::<Vec<_>>();
            assert_eq!((names(&found), further), (names(&expected), splits), "{name}, {what}");
            for ((found, primary), (expected, _)) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 0.3, "{name}, {what}: {primary} at {found} s, not {expected} s");
            }
        }
    }
}

/// `"0 http://db:8008 200 a1 primary 3"`: PostgreSQL a1, `-` if it doesn't say when it started; `"1 pg1 refused"`.
fn told(story: &[&str]) -> String {
    let line = |said: &&str| {
        let words: Vec<_> = said.split(' ').collect();
        let (t, member) = (words[0].parse().unwrap(), words[1]);
        let mut line = json!({"member": member, "path": "/primary", "status": null, "error": null, "body": null});
        match words[2..] {
            ["list", members] => {
                let member = |name: &str| json!({"name": name, "host": name, "api_url": format!("http://10.0.0.{}:8008/patroni", &name[2..])});
                let members: Vec<Value> = members.split(',').map(member).collect();
                (line["path"], line["status"], line["body"]) =
                    (json!("/cluster"), json!(200), json!({"members": members}));
            }
            [status, started, role, timeline] => {
                let body = json!({
                    "state": "running", "role": role, "timeline": timeline.parse::<u64>().unwrap(),
                    "database_system_identifier": "77",
                    "postmaster_start_time": Some(started).filter(|started| *started != "-"),
                });
                (line["status"], line["body"]) = (json!(status.parse::<u16>().unwrap()), body);
            }
            _ => line["error"] = json!(words[2]),
        }
        (t, line)
    };
    text(story.iter().map(line).collect())
}

#[test]
fn what_is_made_of_answers_without_names() {
    for (what, story, expected) in [
        (
            "as somebody reported it, without anything but the claim",
            &["0 http://pg1.example:8008 200 - master 3", "1 pg1 200 - master 3"][..],
            &["0.000 Unknown - last - epoch 0", "1.000 Known pg1@3 last pg1 epoch 1"][..],
        ),
        (
            "URLs alone, and no list",
            &[
                "0 http://a:8008 200 a1 master 1",
                "0 http://b:8008 503 b1 replica 1",
                "9 http://b:8008 503 b1 replica 2",
            ],
            &["0.000 Unknown - last - epoch 0", "9.000 Known http://a:8008@1 last http://a:8008 epoch 1"],
        ),
        (
            "one line",
            &["0 http://a:8008 200 a1 master 1"],
            &["0.000 Unknown - last - epoch 0", "0.000 Known http://a:8008@1 last http://a:8008 epoch 1"],
        ),
        (
            "two URLs without a list, both of them primary",
            &["0 http://a:8008 200 a1 master 1", "0 http://b:8008 200 b1 master 1"],
            &[
                "0.000 Unknown - last - epoch 0",
                r#"0.000 SplitBrain [Primary { name: "http://a:8008", timeline: 1 }, Primary { name: "http://b:8008", timeline: 1 }] last - epoch 0 frozen split_brain"#,
            ],
        ),
        (
            "two members, both of them primary",
            &[
                "0 pg1 list pg1,pg2",
                "0 pg1 200 a1 master 1",
                "0 http://a:8008 200 a1 master 1",
                "0 pg2 503 b1 replica 1",
                "0 http://b:8008 503 b1 replica 1",
                "5 http://b:8008 200 b1 master 1",
                "5.1 pg2 200 b1 master 1",
                "8 pg1 503 a2 replica 1",
                "8.1 http://a:8008 503 a2 replica 1",
            ],
            &[
                "0.000 Known pg1@1 last pg1 epoch 1",
                r#"5.000 SplitBrain [Primary { name: "pg1", timeline: 1 }, Primary { name: "pg2", timeline: 1 }] last pg1 epoch 1 frozen split_brain"#,
                "8.000 Known pg2@1 last pg2 epoch 2",
            ],
        ),
        (
            "a primary beside the members, which is none of them",
            &[
                "0 pg1 list pg1,pg2",
                "0 pg1 200 a1 master 1",
                "0 pg2 503 b1 replica 1",
                "1 http://c:8008 200 c1 master 1",
                "9 pg2 503 b1 replica 2",
            ],
            &[
                "0.000 Known pg1@1 last pg1 epoch 1",
                r#"9.000 SplitBrain [Primary { name: "http://c:8008", timeline: 1 }, Primary { name: "pg1", timeline: 1 }] last pg1 epoch 1 frozen split_brain"#,
            ],
        ),
        (
            "started anew in place, heard first at the URL",
            &[
                "0 pg1 list pg1,pg2",
                "0 pg1 200 a1 master 1",
                "0 pg2 503 b1 replica 1",
                "0 http://a:8008 200 a1 master 1",
                "5 http://a:8008 200 a2 master 2",
                "5.2 pg1 200 a2 master 2",
                "9 pg2 503 b1 replica 2",
            ],
            &["0.000 Known pg1@1 last pg1 epoch 1", "5.200 Known pg1@2 last pg1 epoch 1"],
        ),
        (
            "silent at both places, and back at the URL alone",
            &[
                "0 pg1 list pg1,pg2",
                "0 pg1 200 a1 master 1",
                "0 pg2 503 b1 replica 1",
                "0 http://a:8008 200 a1 master 1",
                "5 http://a:8008 reset",
                "5.2 pg1 refused",
                "9 http://a:8008 200 a1 master 1",
                "12 http://a:8008 reset",
            ],
            &[
                "0.000 Known pg1@1 last pg1 epoch 1",
                "5.200 Unknown - last pg1 epoch 1",
                "9.000 Known pg1@1 last pg1 epoch 1",
                "12.000 Unknown - last pg1 epoch 1",
            ],
        ),
        (
            "IPv6, a list that is older than whoever answers, and a URL that a member states",
            &[
                "0 http://[fd00::1]:8008 200 a1 master 1",
                "0.1 http://10.0.0.2:8008 503 b1 replica 1",
                "1 http://[fd00::1]:8008 list pg1,pg2",
                "1.1 pg1 200 a1 master 1",
                "7 http://10.0.0.2:8008 200 b1 master 2",
                "7.1 pg1 503 a2 replica 2",
            ],
            &[
                "0.000 Unknown - last - epoch 0",
                "1.100 Known pg1@1 last pg1 epoch 1",
                "7.100 Known pg2@2 last pg2 epoch 2",
            ],
        ),
    ] {
        assert_eq!(verdicts(&told(story)), expected, "{what}");
    }
}
