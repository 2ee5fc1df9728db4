use std::sync::Arc;

use lab::table::check_rows;

use super::*;
use crate::core::testing::{LABEL, World, pod};

const SERIES: &str = "default/2";

#[test]
fn a_mark_tells_how_often_a_workload_was_restarted_for_one_primary() {
    assert_eq!(series("default", 2), SERIES);
    for time in 1..4 {
        assert_eq!(times(Some(&mark(SERIES, time)), SERIES), time);
    }
    let rows = [
        (None, 0),
        (Some("default/2"), 1),
        (Some("default/2/2"), 2),
        (Some("default/1"), 0),
        (Some("default/1/2"), 0),
        (Some("default/21"), 0),
        (Some("default/21/2"), 0),
        (Some("orders/2"), 0),
        (Some("default/2/often"), 0),
    ];
    check_rows(rows, |(written, expected)| {
        assert_eq!(times(written, SERIES), expected, "{written:?}");
    });
}

fn marked(mut pod: Pod, mark: &str) -> Pod {
    pod.restarted_for = Some(mark.into());
    pod
}

/// One far replica, restarted for this primary, and what else there is.
fn restarted(mark: &str, pods: impl IntoIterator<Item = Pod>) -> World {
    let mut world = World::with_nodes("a1=closely b1=far").workload("StatefulSet/web", 1);
    Arc::make_mut(world.workloads.get_mut("StatefulSet/web").unwrap()).restarted_for = Some(mark.into());
    pods.into_iter().fold(world, World::pod)
}

fn web(name: &str) -> Pod {
    pod(name).on("b1").owned_by("StatefulSet/web")
}

fn look(missed: &mut MissedRestarts, world: &World, now: Instant) {
    missed.look(world.snapshot(), world.pods.values().map(|pod| &**pod), SERIES, LABEL, now);
}

#[test]
fn a_restart_is_missed_when_it_is_over_and_nothing_draws_its_pods() {
    let now = Instant::now();
    let finished = |mut pod: Pod| {
        pod.phase = Phase::Finished;
        pod
    };
    let rows = [
        ("missed", restarted(SERIES, [marked(web("w"), SERIES)]), true),
        ("injected", restarted(SERIES, [marked(web("w"), SERIES).preferring(LABEL)]), false),
        ("for the last primary", restarted("default/1", [marked(web("w"), "default/1")]), false),
        ("not rolled out yet", restarted(SERIES, [web("w")]), false),
        ("half rolled out", restarted(SERIES, [marked(web("w"), SERIES), web("x")]), false),
        ("an older restart's pod", restarted("default/2/2", [marked(web("w"), SERIES)]), false),
        ("old pods are leaving", restarted(SERIES, [marked(web("w"), SERIES), web("x").terminating()]), true),
        ("old pods failed long ago", restarted(SERIES, [marked(web("w"), SERIES), finished(web("x"))]), true),
        ("not Ready", restarted(SERIES, [marked(web("w"), SERIES).unready()]), false),
    ];
    check_rows(rows, |(what, world, expected)| {
        let mut missed = MissedRestarts::default();
        look(&mut missed, &world, now);
        assert!(!missed.due("StatefulSet/web", 1, now), "{what}: not at once");
        assert_eq!(missed.due("StatefulSet/web", 1, now + MISSED.first), expected, "{what}");
    });
}

#[test]
fn each_restart_waits_for_twice_as_long_from_when_this_process_saw_that_the_last_one_was_missed() {
    let (mut now, mut missed) = (Instant::now(), MissedRestarts::default());
    let mut pauses = Vec::new();
    for time in 1..4 {
        let mark = mark(SERIES, time);
        let world = restarted(&mark, [marked(web("w"), &mark)]);
        let began = now;
        look(&mut missed, &world, now);
        while !missed.due("StatefulSet/web", time, now) {
            now += Duration::from_secs(1);
            look(&mut missed, &world, now);
        }
        pauses.push(now.duration_since(began).as_secs());
        assert!(!missed.due("StatefulSet/web", time + 1, now), "that one isn't seen yet");
        assert!(!MissedRestarts::default().due("StatefulSet/web", time, now), "a new leader begins anew");
    }
    assert_eq!(pauses, [15, 30, 60]);
}
