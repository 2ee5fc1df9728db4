use super::*;
use crate::{
    core::{
        movement::{held::HeldReason, plan::Held},
        testing::{World, at, moment, pod},
    },
    evaluate::testing::Stage,
};

fn far(pods: usize) -> Plan {
    let held = |n: usize| Held {
        namespace: "shop".into(),
        pod: format!("web-{n}"),
        uid: n.to_string(),
        node: "b1".into(),
        reason: HeldReason::Never,
    };
    Plan { held: (0..pods).map(held).collect(), ..Plan::default() }
}

#[test]
fn the_time_that_pods_are_far_is_added_up_from_one_look_to_the_next() {
    let mut course = Course::default();
    for (second, pods) in [(0, 3), (1, 3), (10, 1), (20, 0), (30, 5)] {
        course.note(&far(pods), &[], moment(second));
    }
    assert_eq!(course.far_pod_seconds(), 3 * 10 + 10);
    let row = FailoverStatus { far_pod_seconds: course.far_pod_seconds(), useless: 2, ..FailoverStatus::default() };
    let mut heir = Course::restored(&row);
    heir.note(&far(5), &[], moment(100));
    heir.note(&far(5), &[], moment(102));
    assert_eq!((heir.far_pod_seconds(), heir.useless), (40 + 10, 2), "nobody looked in between");
}

#[test]
fn a_course_begins_anew_with_each_primary() {
    let world = World::with_nodes("a1=closely b1=far")
        .workload("ReplicaSet/web", 2)
        .pod(pod("web-1").on("b1").owned_by("ReplicaSet/web"))
        .pod(pod("web-2").on("a1").owned_by("ReplicaSet/web"));
    let mut stage = Stage::after_a_failover(&world);
    stage.at(130);
    stage.at(140);
    let course = stage.memory.course.clone();
    assert_eq!((course.first_move, course.last_move), (Some(at(130)), Some(at(130))));
    // Since second 100, and while it is on the move it is still there.
    assert_eq!(course.far_pod_seconds(), 40);
    stage.fail_over("pg2", 200);
    stage.at(200);
    assert_eq!((stage.memory.course.first_move, stage.memory.course.far_pod_seconds()), (None, 0));
}
