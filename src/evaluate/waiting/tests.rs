use super::*;
use crate::core::{
    movement::{held::Gate, workloads::WorkloadKey},
    testing::{instant, underway},
};

const TIMEOUT: Duration = Duration::from_secs(300);

fn stays(uid: &str, reason: HeldReason) -> Stays {
    let workload = WorkloadKey { uid: uid.into(), ..WorkloadKey::default() };
    Stays { workload, reason, pods: 1, left_behind: false }
}

/// Who is left behind, looked at in each of these seconds.
fn left_behind(rows: &[Stays], underway: &[Underway], seconds: &[i64]) -> Vec<String> {
    let mut waiting = Waiting::default();
    let mut rows = rows.to_vec();
    for second in seconds {
        rows.iter_mut().for_each(|row| row.left_behind = false);
        waiting.note(&mut rows, underway.iter(), TIMEOUT, instant(*second));
    }
    let left = rows.iter().filter(|row| row.left_behind);
    left.map(|row| format!("{} {}", row.workload.uid, row.reason.name())).collect()
}

#[test]
fn who_waits_for_what_may_never_come_is_left_behind_in_the_end() {
    let rows = [
        stays("paused", HeldReason::Rollout),
        stays("crashing", HeldReason::NotWhole { serving: 1, desired: 2 }),
        stays("starting", HeldReason::NotReady),
        stays("halted", HeldReason::NamespaceHalted { failed: 3 }),
        stays("turn", HeldReason::OneAtATime),
        stays("slots", HeldReason::Concurrency { limit: 1, growing: false }),
        stays("gate", HeldReason::Gate(Gate::Off)),
        stays("person", HeldReason::Never),
    ];
    assert_eq!(left_behind(&rows, &[], &[0]), Vec::<String>::new());
    assert_eq!(left_behind(&rows, &[], &[0, 299]), Vec::<String>::new());
    let mut left = left_behind(&rows, &[], &[0, 299, 300]);
    left.sort_unstable();
    assert_eq!(left, ["crashing WorkloadNotWhole", "halted NamespaceHalted", "paused Rollout", "starting NotReady"]);
}

#[test]
fn nobody_is_left_behind_while_a_move_of_his_workload_is_waited_for() {
    let of = |failed: bool, since: i64| {
        let mut move_ = underway("ReplicaSet/web", since);
        move_.trace.failed = failed;
        vec![move_]
    };
    let uid = of(false, 0)[0].workload.uid.clone();
    let (rollout, turn) = (stays(&uid, HeldReason::Rollout), stays(&uid, HeldReason::OneAtATime));
    for (what, row, underway, expected) in [
        ("its restart is under way", &rollout, of(false, 900), 0),
        ("its move has failed, and may still come to its end", &rollout, of(true, 900), 0),
        ("that has lasted for as long again", &rollout, of(true, 399), 1),
        ("nothing is under way", &rollout, Vec::new(), 1),
        ("his turn comes after a move that has failed", &turn, of(true, 900), 0),
        ("or never", &turn, of(true, 399), 1),
        ("nobody's failed", &turn, Vec::new(), 0),
    ] {
        assert_eq!(left_behind(std::slice::from_ref(row), &underway, &[1_000, 1_300]).len(), expected, "{what}");
    }
}

#[test]
fn another_reason_counts_anew_and_nothing_is_remembered_of_who_does_not_wait() {
    let mut waiting = Waiting::default();
    let mut at = |reason: Option<HeldReason>, second: i64| {
        let mut rows: Vec<Stays> = reason.into_iter().map(|reason| stays("web", reason)).collect();
        waiting.note(&mut rows, std::iter::empty(), TIMEOUT, instant(second));
        (rows.first().is_some_and(|row| row.left_behind), waiting.0.len())
    };
    let lacking = |serving| Some(HeldReason::NotWhole { serving, desired: 3 });
    assert_eq!(at(Some(HeldReason::Rollout), 0), (false, 1));
    assert_eq!(at(lacking(1), 200), (false, 1));
    assert_eq!(at(lacking(2), 499), (false, 1), "how many lack is no other reason");
    assert_eq!(at(lacking(2), 500), (true, 1));
    assert_eq!(at(None, 501), (false, 0));
    assert_eq!(at(lacking(2), 502), (false, 1));
}
