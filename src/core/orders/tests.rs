use std::collections::BTreeMap;

use lab::table::check_rows;

use super::*;
use crate::core::testing::at;

/// What is read of `key=value; …`, with those of a pod template.
fn read(place: Place<'_>, text: &str, template: &str) -> Option<Orders> {
    let map = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.split("; ").filter_map(|pair| pair.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let (annotations, template) = (map(text), map(template));
    Orders::read(place, &annotations, |key| template.get(key).map(String::as_str)).map(|orders| *orders)
}

#[test]
fn a_pause_says_who_and_why_and_until_when() {
    let rows = [
        ("switchover.dev/paused=true", "by somebody"),
        ("switchover.dev/paused=a load test", "by somebody: a load test"),
        ("switchover.dev/paused=a \"load\"\u{1b}test", "by somebody: a 'load'?test"),
        ("switchover.dev/paused=true; switchover.dev/paused-by=alice", "by alice"),
        (
            "switchover.dev/paused=a load test; switchover.dev/paused-by=alice; switchover.dev/paused-until=2026-12-24T18:00:00Z",
            "by alice until 2026-12-24T18:00:00Z: a load test",
        ),
        ("switchover.dev/paused-until=2026-12-24T19:00:00+01:00", "by somebody until 2026-12-24T18:00:00Z"),
    ];
    check_rows(rows, |(text, expected)| {
        for place in [Place::Namespace, Place::Workload("Deployment"), Place::Pod, Place::Database] {
            let orders = read(place, text, "").unwrap();
            assert_eq!(orders.pause.unwrap().to_string(), expected, "{text}");
            assert_eq!((orders.move_now, orders.misread), (None, None), "{text}");
        }
    });
    assert_eq!(read(Place::Namespace, "switchover.dev/paused=false; other.dev/paused=true", ""), None);
}

#[test]
fn a_pause_ends_at_its_time_and_a_wish_to_move_after_ten_minutes() {
    let pause = |until| Pause { until, ..Pause::default() };
    assert!(pause(None).holds(at(1_000_000)));
    assert!(pause(Some(at(10))).holds(at(9)) && !pause(Some(at(10))).holds(at(10)));
    let asked = Orders { move_now: Some(at(0)), ..Orders::default() };
    // The person's clock may be ahead of the controller's.
    assert!(asked.wants_move(at(600)) && asked.wants_move(at(-600)));
    assert!(!asked.wants_move(at(601)) && !asked.wants_move(at(-601)));
    assert!(!Orders::default().wants_move(at(0)));
}

#[test]
fn what_nobody_understands_says_what_to_write() {
    let template = "switchover.dev/move=restart";
    let rows = [
        (
            Place::Pod,
            "switchover.dev/moves=never",
            Some(
                "the annotation switchover.dev/moves of the pod means nothing: of switchover.dev/* there are move, follow, \
                 affinity, weight, paused or paused-until here",
            ),
        ),
        (
            Place::Workload("Deployment"),
            "switchover.dev/move=never",
            Some(
                "the annotation switchover.dev/move stands on the Deployment itself, where nobody reads it: write it into the \
                 pod template (spec.template.metadata.annotations)",
            ),
        ),
        // Tools that write the same everywhere do no harm.
        (Place::Workload("Deployment"), "switchover.dev/move=restart", None),
        (
            Place::Workload("StatefulSet"),
            "switchover.dev/pause=true",
            Some(
                "the annotation switchover.dev/pause of the StatefulSet means nothing: of switchover.dev/* there are paused, \
                 paused-until or move-now (move, follow, affinity and weight go into its pod template) here",
            ),
        ),
        (
            Place::Namespace,
            "switchover.dev/paused-until=tomorrow",
            Some(
                "the annotation switchover.dev/paused-until of the namespace, \"tomorrow\", can't be read: write a time, such \
                 as 2026-12-24T18:00:00Z",
            ),
        ),
        (
            Place::Namespace,
            "switchover.dev/paused=",
            Some(
                "the annotation switchover.dev/paused of the namespace, \"\", can't be read: write a reason, or \"true\"",
            ),
        ),
        (
            Place::Workload("Deployment"),
            "switchover.dev/move-now=yes",
            Some(
                "the annotation switchover.dev/move-now of the Deployment, \"yes\", can't be read: write a time, such as \
                 2026-12-24T18:00:00Z",
            ),
        ),
        (Place::Pod, "switchover.dev/injected=[]; switchover.dev/restarted-for=x; switchover.dev/follow=a", None),
        (Place::Namespace, "switchover.dev/follow=a; switchover.dev/move=never", None),
        (Place::Database, "switchover.dev/whatever=1", None),
    ];
    check_rows(rows, |(place, text, expected)| {
        let misread = read(place, text, template).and_then(|orders| orders.misread);
        assert_eq!(misread.as_deref(), expected, "{text}");
    });
}
