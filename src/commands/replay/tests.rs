//! What the command prints.

use std::path::PathBuf;

use super::*;
use crate::{api::Span, discover::recording::tests::recorded};

#[derive(Debug)]
struct Printed {
    out: String,
    notes: String,
}

fn args(file: PathBuf) -> ReplayArgs {
    ReplayArgs {
        file,
        database: None,
        output: Output::Text,
        sentences: false,
        move_: false,
        settle: Span::from_secs(30),
        settle_window: Span::from_secs(600),
        settle_max: None,
    }
}

/// Writes the recording to a file of its own, as people have it, and replays that.
fn print(text: &str, output: Output, move_: bool) -> Result<Printed, String> {
    let file = std::env::temp_dir().join(format!("switchover-replay-{:016x}.jsonl", rand::random::<u64>()));
    std::fs::write(&file, text).unwrap();
    let args = ReplayArgs { output, move_, ..args(file.clone()) };
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let done = replay(&args, &mut out, &mut notes);
    std::fs::remove_file(&file).unwrap();
    let named = |text: String| text.replace(&*file.to_string_lossy(), "FILE");
    done.map_err(|error| named(error.to_string()))?;
    Ok(Printed { out: String::from_utf8(out).unwrap(), notes: named(String::from_utf8(notes).unwrap()) })
}

fn shared(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/patroni");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn one_json_object_for_each_change_with_its_keys_in_order() {
    let printed = print(&shared("kill9-postgres-only.jsonl"), Output::Json, true).unwrap();
    assert_eq!(
        printed.out,
        concat!(
            r#"{"t":0.011,"state":"Unknown","primary":null,"timeline":null,"epoch":0,"frozen":[],"#,
            r#""why":"the only member is not primary","move":null}"#,
            "\n",
            r#"{"t":0.018,"state":"Known","primary":"pg2","timeline":3,"epoch":1,"frozen":[],"#,
            r#""why":"pg2 (timeline 3) is primary: it holds the leader lock and its PostgreSQL is running; "#,
            r#"2 of 2 members answer","move":null}"#,
            "\n",
            r#"{"t":3.039,"state":"Degraded","primary":"pg2","timeline":3,"epoch":1,"frozen":[],"#,
            r#""why":"pg2 holds the leader lock, but its PostgreSQL is not running as primary (state unknown)","#,
            r#""move":null}"#,
            "\n",
            r#"{"t":18.36,"state":"Known","primary":"pg2","timeline":3,"epoch":1,"frozen":[],"#,
            r#""why":"pg2 (timeline 3) is primary: it holds the leader lock and its PostgreSQL is running; "#,
            r#"3 of 3 members answer","move":{"at":48.36,"to":"pg2"}}"#,
            "\n",
        )
    );
    let without = print(&shared("kill9-postgres-only.jsonl"), Output::Json, false).unwrap();
    assert_eq!(without.out.lines().count(), 4);
    assert!(!without.out.contains(r#""move""#));
}

#[test]
fn a_text_for_people() {
    let text = recorded(&[
        "0 a /primary 200 running primary 1",
        "7.5 a /primary 200 running primary 1 pause",
        "9 b /primary 503 running replica 1",
    ]);
    assert_eq!(
        print(&text, Output::Text, true).unwrap().out,
        "    0.000 s  Known       a (timeline 1)      epoch 1  a (timeline 1) is primary: it holds the leader lock and \
         its PostgreSQL is running; 1 of 1 members answers; not for long enough to move pods\n    \
         7.500 s  Known       a (timeline 1)      epoch 1  a (timeline 1) is primary: it holds the leader lock and its \
         PostgreSQL is running; 1 of 1 members answers; frozen: pause\n"
    );
    let calm = print(&text, Output::Text, false).unwrap().out;
    assert!(calm.lines().next().unwrap().ends_with("1 of 1 members answers"), "{calm}");
}

/// `"8.331 Known 38.331 pg1"` for each line.
fn moves(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        let movement = match &value["move"] {
            serde_json::Value::Null => "never".to_owned(),
            movement => format!("{} {}", movement["at"], movement["to"].as_str().unwrap()),
        };
        format!("{} {} {movement}", value["t"], value["state"].as_str().unwrap())
    };
    print(text, Output::Json, true).unwrap().out.lines().map(line).collect()
}

#[test]
fn pods_may_move_once_the_primary_has_held_in_calm() {
    assert_eq!(moves(&shared("switchover-default.jsonl")).last().unwrap(), "8.331 Known 38.331 pg1");
    let text = recorded(&[
        "0 a /primary 200 running primary 1",
        "0 b /primary 503 running replica 1",
        // Held for long enough before this.
        "40 a /primary 200 stopping primary",
        "41 a /primary 200 running primary 1",
        // A new timeline of the same primary is no break.
        "50 a /primary 200 running primary 2",
        // A freeze is one.
        "60 a /primary 200 running primary 2 pause",
        "100 a /primary 200 running primary 2",
        "140 a /primary 200 running primary 3",
        // Exactly when it might have begun.
        "141 a /primary timeout",
        "142 a /primary 200 running primary 3",
        "172 b /primary 200 running primary 4",
        "172 a /primary 503 running replica 3",
    ]);
    assert_eq!(
        moves(&text),
        [
            "0.0 Known 30.0 a",
            "40.0 Degraded never",
            "41.0 Known never",
            "50.0 Known never",
            "60.0 Known never",
            "100.0 Known 130.0 a",
            "140.0 Known 140.0 a",
            "141.0 Unknown never",
            "142.0 Known never",
            "172.0 Known 202.0 b",
        ]
    );
}

#[test]
fn a_primary_that_moves_back_and_forth_is_followed_later_each_time() {
    let to = |t: u32, member: &str, timeline: u32| {
        let other = if member == "a" { "b" } else { "a" };
        [
            format!("{t} {other} /primary 503 running replica {timeline}"),
            format!("{t} {member} /primary 200 running primary {timeline}"),
        ]
    };
    let story = [to(0, "a", 1), to(100, "b", 2), to(200, "a", 3), to(300, "b", 4), to(1000, "a", 5)].concat();
    let story: Vec<&str> = story.iter().map(String::as_str).collect();
    assert_eq!(
        moves(&recorded(&story)),
        [
            "0.0 Known 30.0 a",
            "100.0 Known 130.0 b",
            "200.0 Known 260.0 a",
            "300.0 Known 420.0 b",
            // The one at 300 is out of the window.
            "1000.0 Known 1030.0 a",
        ]
    );
}

#[test]
fn errors_name_the_file_the_line_and_what_to_write() {
    let error = print("\nnonsense\n", Output::Text, false).unwrap_err();
    assert!(error.starts_with("FILE: line 2 is not a recorded answer: "), "{error}");
    let args = args("/no/such/file".into());
    let error = replay(&args, &mut Vec::new(), &mut Vec::new()).unwrap_err().to_string();
    assert!(error.starts_with("can't read /no/such/file: No such file"), "{error}");
}

#[test]
fn a_recording_that_was_cut_off_is_replayed_up_to_there() {
    let whole = shared("kill9-postgres-only.jsonl");
    let printed = print(&whole[..whole.len() - 20], Output::Json, false).unwrap();
    assert_eq!(printed.notes, "FILE: line 52, the last one, is cut off and was left out\n");
    assert!(printed.out.lines().count() >= 3);
    assert!(print(&format!("{}\n", &whole[..whole.len() - 20]), Output::Json, false).is_err(), "a line that ends");
}

#[test]
fn a_recording_without_primary_says_what_it_was_judged_by() {
    let text = recorded(&["0 a /master 200 running primary 1"]);
    let printed = print(&text, Output::Text, false).unwrap();
    assert!(
        printed.notes.starts_with("FILE: no line is an answer to /primary: judged by /master"),
        "{}",
        printed.notes
    );
}

#[test]
fn a_sentence_that_changes_alone_is_printed_where_it_is_asked_for() {
    let text = recorded(&[
        "0 a /primary 200 running primary 1",
        "0 b /primary 503 running replica 1",
        "5 b /primary timeout",
        "6 b /primary timeout",
    ]);
    let file = std::env::temp_dir().join(format!("switchover-replay-{:016x}.jsonl", rand::random::<u64>()));
    std::fs::write(&file, text).unwrap();
    let printed = [false, true].map(|sentences| {
        let args = ReplayArgs { sentences, ..args(file.clone()) };
        let mut out = Vec::new();
        replay(&args, &mut out, &mut io::sink()).unwrap();
        let out = String::from_utf8(out).unwrap();
        out.lines().map(|line| line.split_once("; ").unwrap().1.to_owned()).collect::<Vec<_>>()
    });
    std::fs::remove_file(&file).unwrap();
    let all = "2 of 2 members answer";
    assert_eq!(printed, [vec![all], vec![all, "1 of 2 members answers; no answer from b (timeout)"]]);
}
