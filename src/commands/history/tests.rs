use super::{worth::Worth, *};
use crate::api::{
    DatabaseClusterStatus,
    database_cluster::{FailoverStatus, FailoverWorkloadStatus},
};

fn at(text: &str) -> Option<Timestamp> {
    Some(format!("2026-01-01T{text}Z").parse().unwrap())
}

/// A crash that was followed, and before it the first primary.
fn histories() -> Vec<DatabaseHistory> {
    let web = FailoverWorkloadStatus {
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: "web".into(),
        moved: 6,
        held: 1,
        far_pod_seconds: 120,
        rtt_before_us: Some(20_400),
        rtt_after_us: Some(310),
        ..FailoverWorkloadStatus::default()
    };
    let followed = FailoverStatus {
        epoch: 2,
        from: Some("pg1".into()),
        to: "pg|3<b>`".into(),
        why: Some("Crash".into()),
        timeline: 4,
        announced_for: at("00:09:58"),
        confirmed_at: at("00:10:00"),
        labelled_at: at("00:10:00.4"),
        first_move_at: at("00:10:10"),
        last_move_at: at("00:10:28"),
        moved_at: at("00:10:40"),
        moved: 6,
        held: 3,
        held_by_reason: [("Never".to_owned(), 2), ("Job".to_owned(), 1)].into(),
        refused_by_budgets: 1,
        useless: 2,
        far_pod_seconds: 180,
        rtt_before_us: Some(20_180),
        rtt_after_us: Some(230),
        workloads: vec![web],
        workloads_total: 3,
    };
    let first = FailoverStatus {
        epoch: 1,
        to: "pg1".into(),
        confirmed_at: at("00:00:00"),
        labelled_at: at("00:00:05.8"),
        moved_at: at("00:00:05.8"),
        rtt_after_us: Some(300),
        ..FailoverStatus::default()
    };
    let status = DatabaseClusterStatus { failovers: vec![followed, first], ..DatabaseClusterStatus::default() };
    let failovers = FailoverReport::all(&status, at("01:10:40").unwrap());
    vec![DatabaseHistory { name: "orders".into(), failovers, error: None }]
}

#[test]
fn a_history_reads_well() {
    let mut histories = histories();
    histories.push(DatabaseHistory { name: "new".into(), failovers: Vec::new(), error: None });
    histories.push(DatabaseHistory { name: "odd".into(), failovers: Vec::new(), error: Some("no".into()) });
    let expected = "\
orders
  EPOCH   CHANGE           WHY                                         CONFIRMED              LABELS   FIRST     LAST      OVER      MOVED   HELD                 FAR FOR     SAVED         RTT
  2       pg1 → pg|3<b>`   Crash, announced for 2026-01-01T00:09:58Z   2026-01-01T00:10:00Z   +0.4 s   +10.0 s   +28.0 s   +40.0 s   6       3 (Job 1, Never 2)   180 pod s   ≥ 6.0 pod h   20.18 ms → 0.23 ms
  1       nobody → pg1     -                                           2026-01-01T00:00:00Z   +5.8 s   -         -         +5.8 s    0       0                    0 pod s     -             - → 0.30 ms

new: no primary was confirmed yet

odd: no

SAVED: at least so much less time of pods far from the primary; -o markdown says how it is reckoned.
";
    assert_eq!(text(&histories), expected);
}

#[test]
fn what_it_was_worth_ends_with_the_next_change_and_needs_an_end_of_the_movement() {
    let row = |moved, confirmed: &str, moved_at| FailoverStatus {
        moved,
        confirmed_at: at(confirmed),
        moved_at,
        far_pod_seconds: 50,
        ..FailoverStatus::default()
    };
    let failovers = vec![
        row(9, "00:30:00", None),
        row(4, "00:20:00", at("00:20:30")),
        row(0, "00:10:00", at("00:10:30")),
        // Another leader's clock was ahead.
        row(3, "00:05:00", at("00:10:01")),
    ];
    let status = DatabaseClusterStatus { failovers, ..DatabaseClusterStatus::default() };
    let reports = FailoverReport::all(&status, at("00:31:00").unwrap());
    let worth = |far_without_pod_seconds, until: &str| {
        Some(Worth { far_pod_seconds: 50, far_without_pod_seconds, until: at(until).unwrap() })
    };
    let expected = [None, worth(50 + 4 * 570, "00:30:00"), None, worth(50, "00:10:00")];
    assert_eq!(reports.iter().map(|report| report.worth).collect::<Vec<_>>(), expected);
}

#[test]
fn a_report_for_a_post_mortem_has_timelines_and_names_are_no_markup() {
    let expected = "\
# Changes of primary of orders

| epoch | change | why | confirmed | labels | pods | moved | held | far, with us | far, without us | RTT |
|---|---|---|---|---|---|---|---|---|---|---|
| 2 | pg1 → pg\\|3&lt;b&gt;\\` | Crash, announced for 2026-01-01T00:09:58Z | 2026-01-01T00:10:00Z | +0.4 s | +40.0 s | 6 | 3 | 180 pod s | ≥ 6.0 pod h | 0.30 ms → 20.18 ms → 0.23 ms |
| 1 | nobody → pg1 | – | 2026-01-01T00:00:00Z | +5.8 s | +5.8 s | 0 | 0 | 0 pod s | – | – → 0.30 ms |

## Epoch 2: pg\\|3&lt;b&gt;\\` became the primary at 2026-01-01T00:10:00Z

```text
 +0.0 s  pg|3<b>` is confirmed as the primary (it was pg1)
 +0.4 s  every node has its label
+10.0 s  the first move begins
+28.0 s  the last move begins
+40.0 s  the movement is over: 6 moved, 3 held

|~..............===========================------------------|
0 s                                                    +40.0 s
~ nodes are labelled   . the primary has to hold   = moves begin   - the last replacements become Ready
```

Moving 6 pods saved at least 6.0 pod h of being far from the primary until 2026-01-01T01:10:40Z; each round trip to it took 19.95 ms less.

Stayed where they were: 1 × Job, 2 × Never.

1 eviction refused by disruption budgets.

2 moves brought a pod no nearer.

| workload | moved | held | far | RTT of its farthest pod |
|---|---|---|---|---|
| shop/deployment/web | 6 | 1 | 120 pod s | 20.40 ms → 0.31 ms |

… and 2 more workloads.

## Epoch 1: pg1 became the primary at 2026-01-01T00:00:00Z

```text
+0.0 s  pg1 is confirmed as the primary
+5.8 s  every node has its label
+5.8 s  the movement is over: 0 moved, 0 held
+600.0 s  the primary changes again
";
    let told = markdown(&histories());
    let (upto, rest) = told.split_at(told.find("\n|~~~~~~~~~~").unwrap_or(told.len()));
    // The columns of the last timeline are as wide as its widest time.
    assert_eq!(upto.replace("  +0.0 s  pg1", "+0.0 s  pg1").replace("  +5.8 s  ", "+5.8 s  "), expected);
    assert!(rest.ends_with(&format!("\nHow it is reckoned: {RECKONED}\n")), "{rest}");
}

#[test]
fn text_of_others_is_never_markup() {
    let told = markdown(&[DatabaseHistory {
        name: "a".into(),
        failovers: Vec::new(),
        error: Some("<img src=x> [a](http://b) *c* `d` \u{1b}[2J @all\n# e".into()),
    }]);
    assert_eq!(
        told,
        "# Changes of primary of a\n\n&lt;img src=x&gt; \\[a\\]\\(http&#58;//b\\) \\*c\\* \\`d\\` \\\\u{1b}\\[2J \\@all\\\\n\\# e\n"
    );
}
