use super::*;
use crate::{
    api::database_cluster::{AnnouncedStatus, DecisionStatus, HeldStatus, HeldWorkloadStatus, IgnoredStatus},
    commands::report::NodeReport,
    core::distance::tier::Tier,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

#[test]
fn a_status_reads_well() {
    let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let stands = |type_: &str, status: &str, message: &str| Condition {
        type_: type_.into(),
        status: status.into(),
        reason: "Done".into(),
        message: message.into(),
        last_transition_time: Time(now),
        observed_generation: None,
    };
    let report = DatabaseReport {
        name: "default".into(),
        node_label: "switchover".into(),
        paused: false,
        deleted: true,
        status: DatabaseClusterStatus {
            primary: Some("pg2".into()),
            timeline: Some(3),
            since: at("2026-01-01T00:07:30Z"),
            message: Some("pg2 is the primary.".into()),
            conditions: vec![
                stands("LabelsAccepted", "False", "n8 (closely, should be far): hands off"),
                stands("EvictsByTaint", "True", "on 2 of 2 far nodes"),
                stands("SwitchoverAnnounced", "True", "pg2 → pg1 at 2026-01-01T02:10:00Z; 2 of 4 pods wouldn't fit"),
            ],
            announced: Some(AnnouncedStatus {
                at: "2026-01-01T02:10:00Z".parse().unwrap(),
                from: Some("pg2".into()),
                to: Some("pg1".into()),
                by: "Patroni".into(),
            }),
            epoch: 2,
            decision: Some(DecisionStatus {
                member: "pg2".into(),
                by: "ada".into(),
                at: at("2026-01-01T00:07:29Z"),
                taken_at: at("2026-01-01T00:07:30Z"),
                epoch: 2,
            }),
            ignored: vec![IgnoredStatus {
                node: "n7".into(),
                reason: "Impossible".into(),
                message: "it says 0 µs".into(),
                since: at("2026-01-01T00:09:00Z"),
            }],
            ignored_total: 1,
            held: vec![HeldStatus {
                pod: "orders/job-x".into(),
                node: "n1".into(),
                reason: "Job".into(),
                message: "it belongs to a Job, whose work would be lost".into(),
            }],
            held_total: 2,
            held_workloads: vec![HeldWorkloadStatus {
                kind: "Job".into(),
                namespace: "orders".into(),
                name: "job".into(),
                reason: "Job".into(),
                message: "it belongs to a Job, whose work would be lost".into(),
                pods: 2,
                passes: false,
            }],
            held_workloads_total: 2,
            failovers: vec![FailoverStatus {
                epoch: 2,
                from: Some("pg1".into()),
                to: "pg2".into(),
                why: Some("Planned".into()),
                timeline: 3,
                far_pod_seconds: 1234,
                confirmed_at: at("2026-01-01T00:07:30Z"),
                labelled_at: at("2026-01-01T00:07:30.4Z"),
                moved_at: None,
                moved: 6,
                rtt_before_us: Some(20_100),
                ..FailoverStatus::default()
            }],
            ..DatabaseClusterStatus::default()
        },
        nodes: vec![NodeReport {
            name: "n3".into(),
            tier: Tier::Closely,
            rtt_us: Some(310),
            loss_percent: Some(0),
            jitter_us: None,
            heartbeat: at("2026-01-01T00:09:56Z"),
        }],
        error: None,
    };
    let expected = "\
default: deleted, and goes when its labels have gone from the nodes; if no controller runs: switchover uninstall
default: primary pg2 (last known; not confirmed now), timeline 3, for 2m30s
  pg2 is the primary.
  decided by ada 2m31s ago: pg2 is the primary
  announced: pg2 → pg1 at 2026-01-01T02:10:00Z; 2 of 4 pods wouldn't fit; in 2h00m
  LabelsAccepted: n8 (closely, should be far): hands off

  nodes (label switchover): 0 closely, 0 intermediate, 0 far, 0 unknown
  WARNING: spec.taint.evictWithoutBudgets: on 2 of 2 far nodes
  NODE   TIER      RTT       LOSS   HEARTBEAT
  n3     closely   0.31 ms   0 %    4s ago
  IGNORED   FOR   REASON       WHY
  n7        60s   Impossible   it says 0 µs
  HELD             PODS   REASON   WHY
  orders/job/job   2      Job      it belongs to a Job, whose work would be lost
  … and 1 more

  last changes of primary
  EPOCH   CHANGE      WHY       AGO     LABELS   PODS   MOVED   HELD   FAR FOR      RTT
  2       pg1 → pg2   Planned   2m30s   +0.4 s   -      6       0      1234 pod s   20.10 ms → -
";
    assert_eq!(text(&report, now), expected);

    let status = DatabaseClusterStatus { timeline: None, ..report.status.clone() };
    let timeless = text(&DatabaseReport { status, ..report.clone() }, now);
    assert!(timeless.contains("default: primary pg2 (last known; not confirmed now), for 2m30s\n"), "{timeless}");

    let refusal = Condition {
        type_: "Accepted".into(),
        status: "False".into(),
        reason: "NotAccepted".into(),
        message: "spec.nodeLabel: write another one".into(),
        last_transition_time: Time(now),
        observed_generation: None,
    };
    let status = DatabaseClusterStatus { conditions: vec![refusal], ..report.status };
    let refused = text(&DatabaseReport { deleted: false, status, ..report }, now);
    assert_eq!(refused, "default: not followed: spec.nodeLabel: write another one\n", "and nothing of what it was");
}
