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

fn one_of_two_is_far() -> World {
    World::with_nodes("a1=closely b1=far")
        .workload("ReplicaSet/web", 2)
        .pod(pod("web-1").on("b1").owned_by("ReplicaSet/web"))
        .pod(pod("web-2").on("a1").owned_by("ReplicaSet/web"))
}

#[test]
fn the_time_that_pods_are_far_is_added_up_from_one_look_to_the_next() {
    let mut course = Course::default();
    for (second, pods) in [(0, 3), (1, 3), (10, 1), (20, 0), (30, 5)] {
        course.note(&far(pods), &[], &[], &TierMap::default(), moment(second));
    }
    assert_eq!(course.far_pod_seconds(), 3 * 10 + 10);
    let row = FailoverStatus { far_pod_seconds: course.far_pod_seconds(), useless: 2, ..FailoverStatus::default() };
    let mut heir = Course::restored(&row);
    heir.note(&far(5), &[], &[], &TierMap::default(), moment(100));
    heir.note(&far(5), &[], &[], &TierMap::default(), moment(102));
    assert_eq!((heir.far_pod_seconds(), heir.useless), (40 + 10, 2), "nobody looked in between");
}

#[test]
fn a_course_begins_anew_with_each_primary() {
    let mut stage = Stage::after_a_failover(&one_of_two_is_far());
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

#[test]
fn each_workload_is_told_of_whose_pods_were_far_for_the_longest_first() {
    let stays = |pods: &[u32]| -> Vec<Stays> {
        let stay = |(n, pods): (usize, &u32)| Stays {
            left_behind: false,
            workload: WorkloadKey { name: format!("w{n:02}"), uid: n.to_string(), ..WorkloadKey::default() },
            reason: HeldReason::Never,
            pods: *pods,
        };
        pods.iter().enumerate().map(stay).collect()
    };
    let mut course = Course::default();
    let many: Vec<u32> = (0..25).collect();
    for (second, pods) in [(0, &many[..]), (10, &[4, 0]), (11, &[])] {
        course.note(&Plan::default(), &stays(pods), &[], &TierMap::default(), moment(second));
    }
    let (rows, total) = course.workloads();
    let told: Vec<(&str, u64)> = rows.iter().map(|row| (&*row.name, row.far_pod_seconds)).collect();
    assert_eq!((told.len(), total), (20, 25));
    assert_eq!((told[0], told[19]), (("w24", 240), ("w05", 50)));

    // The next leader goes on from there.
    let row = FailoverStatus { workloads: rows.clone(), ..FailoverStatus::default() };
    assert_eq!(Course::restored(&row).workloads(), (rows, 20));
}

#[test]
fn a_workload_s_row_says_from_how_far_to_how_near_its_pods_were_moved() {
    let mut stage = Stage::after_a_failover(&one_of_two_is_far());
    stage.at(130);
    let (rows, total) = stage.memory.course.workloads();
    let row = |row: &FailoverWorkloadStatus| {
        (row.kind.clone(), row.name.clone(), row.moved, row.far_pod_seconds, row.rtt_before_us)
    };
    assert_eq!(
        (rows.iter().map(row).collect::<Vec<_>>(), total),
        (vec![("ReplicaSet".into(), "web".into(), 0, 30, Some(20_000))], 1)
    );
}
