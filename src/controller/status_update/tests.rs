//! What is written to a status, and read from one.

use super::*;
use crate::core::{
    movement::ways::{UnknownWay, Way},
    primary::{Answer, Claim, Claimed, Observation, PrimaryTracker},
};

#[test]
fn what_is_written_of_the_primary_is_what_the_next_leader_goes_on_from() {
    let now = std::time::Instant::now();
    let sight = Claimed {
        claim: Claim::Primary { timeline: 3 },
        because: "it is".to_owned(),
        system_identifier: Some("77".to_owned()),
        pause: false,
    };
    let answer = Answer::Seen(sight);
    let answers = [("pg1".to_owned(), Observation { answer, at: now })].into();
    let mut tracker = PrimaryTracker::new(Belief::default(), std::time::Duration::from_secs(5));
    let view = tracker.observe(&answers, now);
    let mut status = DatabaseClusterStatus::default();
    believe(&mut status, &view);
    assert_eq!(restored(&status).belief, view.belief());
    // Whoever leads next counts no second change.
    let mut next = PrimaryTracker::new(restored(&status).belief, std::time::Duration::from_secs(5));
    assert_eq!((view.epoch, next.observe(&answers, now).epoch), (1, 1));
}

#[test]
fn of_claims_beyond_number_the_status_has_as_many_as_its_schema_takes() {
    let claims = || (0..65).map(|n| Primary { name: format!("pg{n}"), timeline: 1 }).collect();
    let mut tracker = PrimaryTracker::new(
        Belief { contested: claims(), dismissed: claims(), ..Belief::default() },
        std::time::Duration::from_secs(5),
    );
    let mut status = DatabaseClusterStatus::default();
    believe(&mut status, &tracker.observe(&std::collections::BTreeMap::new(), std::time::Instant::now()));
    assert_eq!((status.contested.len(), status.dismissed.len()), (64, 64));
}

#[tokio::test]
async fn a_database_that_cannot_be_read_says_so_in_its_status_and_keeps_the_rest() {
    use axum::{Json, Router, routing::get};
    use serde_json::{Value, json};

    let (sender, mut written) = tokio::sync::mpsc::unbounded_channel::<Value>();
    let path = "/apis/switchover.dev/v1alpha1/databaseclusters/orders";
    let object = json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster",
        "metadata": {"name": "orders", "generation": 3},
        "spec": {"discovery": {"carrierPigeon": {}}, "paused": "perhaps"},
        "status": {"epoch": 7, "primary": "pg1", "message": "pg1 is primary", "conditions": [
            {"type": "PrimaryKnown", "status": "True", "reason": "Known", "message": "pg1 is primary",
             "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "Moving", "status": "True", "reason": "Moving", "message": "one move is under way",
             "lastTransitionTime": "2026-01-01T00:00:00Z"},
        ]},
    });
    let answer = json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster",
        "metadata": {"name": "orders"}, "spec": {"discovery": {}},
    });
    let write = move |body: String| async move {
        sender.send(serde_json::from_str(&body).unwrap()).unwrap();
        Json(answer)
    };
    let router = Router::new()
        .route(path, get(async || Json(object)))
        .route(&format!("{path}/status"), axum::routing::patch(write));
    assert!(write_refusal(&Client::new(router, "default"), "orders", "it can't be read").await);
    let status = written.recv().await.unwrap()["status"].take();
    assert_eq!((&status["epoch"], &status["primary"]), (&json!(7), &json!("pg1")));
    assert_eq!(status["observedGeneration"], 3, "so that nobody waits for more to be said of it");
    let said: Vec<Value> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| {
            ["type", "status", "reason", "message", "observedGeneration"].map(|field| condition[field].clone()).into()
        })
        .collect();
    let expected = [
        json!(["PrimaryKnown", "False", "NotFollowed", "it is not followed: it can't be read", 3]),
        json!(["Accepted", "False", "NotAccepted", "it can't be read", 3]),
        json!(["Ready", "False", "NotAccepted", "it can't be read", 3]),
        json!(["Stalled", "True", "NotAccepted", "it can't be read", 3]),
    ];
    assert_eq!(said, expected, "nothing is said of a primary that is known, or of moves");
    assert_eq!(status["message"], json!("it is not followed: it can't be read"));
}

/// As a newer version might write it.
fn surging() -> MovingStatus {
    MovingStatus {
        pod: "shop/web-1".into(),
        uid: "7".into(),
        from: "b1".into(),
        from_tier: "remote".into(),
        action: "Surge".into(),
        workload: WorkloadStatus {
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: "web".into(),
            uid: "1".into(),
        },
        pods: 2,
        started_at: None,
        epoch: Some(7),
        ..MovingStatus::default()
    }
}

#[test]
fn a_way_that_this_version_does_not_know_is_read_as_none_of_its_own() {
    let ways = |action: &str| {
        let moving = MovingStatus { action: action.into(), ..surging() };
        let status = DatabaseClusterStatus { moving: vec![moving], ..DatabaseClusterStatus::default() };
        Memory::restored(&status, crate::core::testing::moment(0)).journal.underway.remove(0).way
    };
    assert_eq!(ways("Evict"), Ok(Way::Evict));
    assert_eq!(ways("Restart"), Ok(Way::Restart));
    assert_eq!(ways("Surge"), Err(UnknownWay("Surge".into())));
    assert_eq!(ways(""), Err(UnknownWay(String::new())));
}

#[test]
fn what_is_under_way_by_an_unknown_way_is_written_back_as_it_was() {
    let status = DatabaseClusterStatus { moving: vec![surging()], ..DatabaseClusterStatus::default() };
    let journal = Memory::restored(&status, crate::core::testing::moment(0)).journal;
    assert_eq!(moving(&journal.underway[0], &status.moving, 7), surging());
    // Its own ways are written as this version knows them.
    let evicted = MovingStatus { action: "Evict".into(), from_tier: "far".into(), ..surging() };
    let status = DatabaseClusterStatus { moving: vec![evicted.clone()], ..DatabaseClusterStatus::default() };
    let journal = Memory::restored(&status, crate::core::testing::moment(0)).journal;
    let expected = MovingStatus { started_at: Some(Timestamp::UNIX_EPOCH), ..evicted };
    assert_eq!(moving(&journal.underway[0], &status.moving, 8), expected);
}

#[tokio::test]
async fn a_refusal_that_could_not_be_written_is_to_be_tried_again() {
    use axum::{Router, http::StatusCode, routing::get};

    let path = "/apis/switchover.dev/v1alpha1/databaseclusters/orders";
    let router = Router::new().route(path, get(async || StatusCode::INTERNAL_SERVER_ERROR));
    assert!(!write_refusal(&Client::new(router, "default"), "orders", "it can't be read").await);
}

/// The status of a database of which no primary is known yet.
fn written(memory: &Memory, decided: &Decided) -> DatabaseClusterStatus {
    let object: DatabaseCluster = serde_json::from_value(serde_json::json!({
        "apiVersion": "switchover.dev/v1alpha1",
        "kind": "DatabaseCluster",
        "metadata": {"name": "orders"},
        "spec": {"discovery": {"patroni": {"urls": ["http://10.0.0.1:8008"]}}},
    }))
    .unwrap();
    let mut tracker = PrimaryTracker::new(Belief::default(), std::time::Duration::from_secs(5));
    let view = tracker.observe(&std::collections::BTreeMap::new(), std::time::Instant::now());
    let (object, view) = (&object, &view);
    let facts = Facts { object, view, credentials: None, witness: None, hosts: &[], memory, decided, readiness: None };
    let mut status = DatabaseClusterStatus::default();
    update(&mut status, &facts, crate::core::testing::at(0));
    status
}

#[test]
fn a_halt_is_told_although_failed_moves_are_still_under_way() {
    let evicted = MovingStatus { action: "Evict".into(), from_tier: "far".into(), ..surging() };
    let before = DatabaseClusterStatus { moving: vec![evicted], ..DatabaseClusterStatus::default() };
    let memory = Memory::restored(&before, crate::core::testing::moment(0));
    let told = |gate: Option<Gate>| {
        let decided = Decided { gate, ..Decided::default() };
        let status = written(&memory, &decided);
        let moving = status.conditions.into_iter().find(|condition| condition.type_ == "Moving").unwrap();
        (moving.status, moving.reason)
    };
    assert_eq!(told(None), ("True".to_owned(), "Moving".to_owned()));
    assert_eq!(told(Some(Gate::Halted { failed: 1 })), ("False".to_owned(), "Halted".to_owned()));
}

#[test]
fn what_was_moved_in_vain_or_missed_by_admission_is_known_to_the_next_leader() {
    use crate::core::{
        movement::journal::Missed,
        testing::{at, moment},
    };
    let key = |n: usize| WorkloadKey {
        namespace: "shop".into(),
        kind: "Deployment".into(),
        name: format!("w{n:03}"),
        uid: n.to_string(),
    };
    let mut memory = Memory::default();
    memory.journal.useless = (0..101).map(|n| (key(n), 1)).collect();
    memory.journal.missed = (0..101).map(|n| (key(n), Missed { times: 2, last: at(7) })).collect();
    let status = written(&memory, &Decided::default());
    assert_eq!((status.useless.len(), status.missed.len()), (100, 100), "as many as the schema takes");
    let text = serde_json::to_string(&status).unwrap();
    let next = Memory::restored(&serde_json::from_str(&text).unwrap(), moment(0));
    memory.journal.useless.remove(&key(100));
    memory.journal.missed.remove(&key(100));
    assert_eq!((next.journal.useless, next.journal.missed), (memory.journal.useless, memory.journal.missed));
    // What an earlier version wrote says nothing of it.
    let earlier: DatabaseClusterStatus = serde_json::from_value(serde_json::json!({"epoch": 7})).unwrap();
    assert_eq!(Memory::restored(&earlier, moment(0)).journal.missed.len(), 0);
    let none = serde_json::to_value(written(&Memory::default(), &Decided::default())).unwrap();
    assert_eq!(none.get("missed"), None);
}

#[test]
fn between_two_moves_the_movement_goes_on_and_workloads_are_listed_up_to_a_number() {
    use crate::core::movement::held::HeldReason;
    let stays = |n: usize| Stays {
        workload: WorkloadKey {
            kind: "Deployment".into(),
            namespace: "shop".into(),
            name: format!("w{n}"),
            uid: n.to_string(),
        },
        reason: HeldReason::Misread("x".repeat(1000)),
        pods: 2,
        left_behind: false,
    };
    let decided = Decided { stays: (0..60).map(stays).collect(), between_moves: true, ..Decided::default() };
    let memory = Memory::default();
    let status = written(&memory, &decided);
    let moving = status.conditions.iter().find(|condition| condition.type_ == "Moving").unwrap();
    assert_eq!((&*moving.status, &*moving.message), ("True", "the next move is about to begin"));
    assert_eq!((status.held_workloads.len(), status.held_workloads_total), (50, 60));
    let expected = HeldWorkloadStatus {
        kind: "Deployment".into(),
        namespace: "shop".into(),
        name: "w0".into(),
        reason: "Misread".into(),
        message: "x".repeat(400),
        pods: 2,
        passes: false,
    };
    assert_eq!(status.held_workloads[0], expected);
}

#[test]
fn readiness_is_told_by_the_worst_and_stays_until_it_is_found_out_anew() {
    let of = |member: &str, grade, would_not_fit| Readiness {
        member: member.into(),
        grade,
        followers: 8,
        would_move: 6,
        would_not_fit,
        blocked: 0,
        missing: [("cpu".to_owned(), 1_500), ("memory".to_owned(), 64)].into(),
        seconds: 40,
        message: "dc2 lacks 1.5 cpu".into(),
    };
    let (good, bad) = (of("pg2", Grade::Ready, 0), of("pg3", Grade::NoPlace, 2));
    let told = |readiness: &[Readiness]| {
        let now = ready_for_failover(readiness).unwrap();
        format!("{} {}: {}", now.holds, now.reason, now.message)
    };
    assert_eq!(told(&[good.clone(), bad.clone()]), "false NoPlace: with pg3 as the primary: dc2 lacks 1.5 cpu");
    assert_eq!(
        told(std::slice::from_ref(&good)),
        "true Ready: every follower finds its place with each of 1 other members"
    );
    let status = readiness_of(&bad);
    assert_eq!((&*status.reason, status.would_not_fit, status.seconds), ("NoPlace", 2, 40));
    assert_eq!(status.missing, [("cpu".to_owned(), "1500m".to_owned()), ("memory".to_owned(), "64".to_owned())].into());
}
