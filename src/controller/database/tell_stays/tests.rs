use super::*;
use crate::core::{movement::held::Would, testing::instant};

fn stays(name: &str, reason: HeldReason) -> Stays {
    let workload = WorkloadKey {
        namespace: "shop".into(),
        kind: "Deployment".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
    };
    Stays { workload, reason, pods: 1, left_behind: false }
}

fn told(told: &mut ToldStays, rows: &[Stays], second: i64) -> Vec<String> {
    let due = told.due(rows, instant(second));
    due.iter().map(|it| format!("{} {}", it.workload.name, it.reason.name())).collect()
}

#[test]
fn what_lasts_is_told_once_an_hour_and_what_waits_for_its_turn_is_not() {
    let mut memory = ToldStays::default();
    let rows = [
        stays("web", HeldReason::Never),
        stays("api", HeldReason::OneAtATime),
        stays("job", HeldReason::Gate(Gate::Paused)),
        stays("dry", HeldReason::Gate(Gate::DryRun(Would::Wait))),
    ];
    let none = Vec::<String>::new();
    for second in [0, 10, 29] {
        assert_eq!(told(&mut memory, &rows, second), none, "{second}");
    }
    assert_eq!(told(&mut memory, &rows, 30), ["web Never", "dry DryRun"]);
    for second in [31, 1000, 3629] {
        assert_eq!(told(&mut memory, &rows, second), none, "{second}");
    }
    assert_eq!(told(&mut memory, &rows, 3630), ["web Never", "dry DryRun"]);
    // Another reason is news, once it has lasted.
    let other = [stays("web", HeldReason::BarePod)];
    assert_eq!(told(&mut memory, &other, 3640), none);
    assert_eq!(told(&mut memory, &other, 3670), ["web BarePod"]);
}

#[test]
fn what_has_been_waited_for_in_vain_is_told() {
    let mut memory = ToldStays::default();
    let rollout = |left_behind| [Stays { left_behind, ..stays("web", HeldReason::Rollout) }];
    let none = Vec::<String>::new();
    assert_eq!(told(&mut memory, &rollout(false), 0), none);
    assert_eq!(told(&mut memory, &rollout(false), 299), none);
    assert_eq!(told(&mut memory, &rollout(true), 300), none);
    assert_eq!(told(&mut memory, &rollout(true), 330), ["web Rollout"]);
}

#[test]
fn many_are_told_one_minute_after_the_other() {
    let rows: Vec<Stays> = (0..50).map(|n| stays(&format!("w{n}"), HeldReason::Never)).collect();
    let mut memory = ToldStays::default();
    let counts: Vec<usize> = [0, 30, 31, 89, 90, 150, 210].map(|second| told(&mut memory, &rows, second).len()).into();
    assert_eq!(counts, [0, 20, 0, 0, 20, 10, 0]);
}

#[test]
fn an_event_says_of_one_pod_and_of_many_that_they_stay_and_why() {
    let told = |pods| note(&Stays { pods, ..stays("web", HeldReason::BarePod) }, "orders");
    let why = "it has no controller, so nothing would replace it";
    assert_eq!(told(1), format!("a pod stays farther from the primary of orders than need be: {why}"));
    assert_eq!(told(3), format!("3 pods stay farther from the primary of orders than need be: {why}"));
}

#[test]
fn an_event_is_about_the_workload_or_the_pod() {
    let about = |kind: &str| {
        let key = WorkloadKey { kind: kind.into(), ..stays("web", HeldReason::Never).workload };
        about(&key).and_then(|reference| reference.api_version)
    };
    let kinds = ["Deployment", "StatefulSet", "Job", "Pod", "Rollout"].map(about);
    assert_eq!(
        kinds,
        [Some("apps/v1"), Some("apps/v1"), Some("batch/v1"), Some("v1"), None].map(|it| it.map(str::to_owned))
    );
}
