use lab::table::check_rows;
use serde_json::json;
use strum::VariantNames as _;

use super::*;

const ROLLING: Strategy = Strategy::Rolling { surge: 1, unavailable: 0 };

const ORDERED: Strategy = Strategy::Ordered { unavailable: 1, partition: 0 };

/// A container with a probe and a hook.
fn sound() -> Value {
    json!({"containers": [{"name": "app", "readinessProbe": {"tcpSocket": {"port": 80}}, "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}]})
}

fn budget(name: &str, covers: u32, wants: u32) -> Budget {
    Budget { name: name.into(), covers, wants }
}

#[test]
fn a_workload_is_told_what_it_lacks() {
    let one = [budget("web", 3, 2)];
    let tight = [budget("web", 3, 3)];
    let lacks_a_pod = [budget("web", 2, 2)];
    let shared = [budget("all", 8, 3)];
    let two = [budget("web", 3, 2), budget("all", 8, 7)];
    let unread = [budget("web", 0, 0)];
    let pod = sound();
    let bare = json!({"containers": [{"name": "app"}]});
    let beside = json!({
        "containers": [{"name": "app"}],
        "initContainers": [{"name": "proxy", "restartPolicy": "Always", "readinessProbe": {}, "lifecycle": {"preStop": {}}}],
    });
    let before =
        json!({"containers": [{"name": "app"}], "initContainers": [{"name": "migrate", "readinessProbe": {}}]});
    let whole = Serving {
        kind: "Deployment",
        replicas: Some(3),
        strategy: ROLLING,
        min_ready_s: Some(0),
        pod: Some(&pod),
        budgets: &one,
    };
    let rows: [(&str, Serving<'_>, &[&str]); 19] = [
        ("nothing", whole, &[]),
        ("no probe and no hook", Serving { pod: Some(&bare), ..whole }, &["NoReadinessProbe", "NoPreStop"]),
        ("a sidecar has them", Serving { pod: Some(&beside), ..whole }, &[]),
        ("an init container ends before", Serving { pod: Some(&before), ..whole }, &["NoReadinessProbe", "NoPreStop"]),
        ("a template that can't be read", Serving { pod: None, ..whole }, &[]),
        ("one replica that surges", Serving { replicas: Some(1), ..whole }, &["OneReplica", "NoMinReadySeconds"]),
        ("one that has to hold", Serving { replicas: Some(1), min_ready_s: Some(5), ..whole }, &["OneReplica"]),
        ("one that doesn't surge", Serving { replicas: Some(1), strategy: ORDERED, ..whole }, &["OneReplica"]),
        ("nobody knows how many", Serving { replicas: None, ..whole }, &[]),
        ("none at all", Serving { replicas: Some(0), pod: Some(&bare), budgets: &[], ..whole }, &[]),
        ("all end before one starts", Serving { strategy: Strategy::Recreate, ..whole }, &["Recreate"]),
        ("no budget", Serving { budgets: &[], ..whole }, &["NoBudget"]),
        ("a budget that wants all", Serving { budgets: &tight, ..whole }, &["BudgetNeverAllows"]),
        ("a budget that lacks a pod now", Serving { budgets: &lacks_a_pod, ..whole }, &[]),
        ("a budget of several workloads", Serving { budgets: &shared, ..whole }, &[]),
        ("a budget that nobody has counted yet", Serving { budgets: &unread, ..whole }, &[]),
        ("two budgets", Serving { budgets: &two, ..whole }, &["SeveralBudgets"]),
        (
            "one replica that a budget wants",
            Serving { replicas: Some(1), min_ready_s: None, budgets: &[budget("web", 1, 1)], ..whole },
            &["OneReplica", "BudgetNeverAllows"],
        ),
        ("a Job", Serving { kind: "Job", replicas: Some(1), pod: Some(&bare), budgets: &[], ..whole }, &[]),
    ];
    check_rows(rows, |(name, serving, expected)| {
        let found: Vec<_> = weaknesses(&serving).iter().map(Weakness::name).collect();
        assert_eq!(found, expected, "{name}");
    });
}

#[test]
fn a_hook_that_takes_all_the_time_that_a_pod_has_is_found() {
    let pod = |grace: Value, hook: Value| json!({"terminationGracePeriodSeconds": grace, "containers": [{"name": "app"}, {"name": "b", "readinessProbe": {}, "lifecycle": {"preStop": hook}}]});
    let sleep = |seconds: u64| json!({"sleep": {"seconds": seconds}});
    let command = |command: &[&str]| json!({"exec": {"command": command}});
    let rows = [
        ("less than there is", pod(json!(10), sleep(5)), None),
        ("as much as there is", pod(json!(5), sleep(5)), Some((5, 5))),
        ("less than everybody has", pod(Value::Null, sleep(29)), None),
        ("more than everybody has", pod(Value::Null, command(&["/bin/sleep", "40"])), Some((40, 30))),
        ("in a shell", pod(json!(20), command(&["sh", "-c", "echo off; sleep 20s && nginx -s quit"])), Some((20, 20))),
        ("nobody knows how long", pod(json!(1), command(&["/drain", "60"])), None),
        ("by a request", pod(json!(1), json!({"httpGet": {"port": 80}})), None),
        ("killed at once", pod(json!(0), sleep(1)), Some((1, 0))),
    ];
    check_rows(rows, |(name, pod, expected)| {
        let expected = expected.map(|(pre_stop_s, grace_s)| Weakness::GraceTooShort { pre_stop_s, grace_s });
        let budgets = [budget("web", 3, 2)];
        let serving = Serving {
            kind: "StatefulSet",
            replicas: Some(3),
            pod: Some(&pod),
            budgets: &budgets,
            ..Serving::default()
        };
        assert_eq!(weaknesses(&serving), Vec::from_iter(expected), "{name}");
    });
}

#[test]
fn each_weakness_is_a_sentence_and_something_to_do() {
    let rows = [
        (
            Weakness::OneReplica { surges: true },
            "it has one replica: a rolling update brings the new pod first, but nothing serves while its node is drained or lost",
            "write replicas: 2 or more to be safe from the loss of a node, too",
        ),
        (
            Weakness::GraceTooShort { pre_stop_s: 40, grace_s: 30 },
            "its preStop hook takes 40 s of the 30 s in all that the pod has to end: the program is killed in the middle of its requests, \
             before it is asked to end",
            "write terminationGracePeriodSeconds: 40 and as many more as the program takes to finish its requests",
        ),
        (
            Weakness::BudgetNeverAllows(budget("web", 3, 3)),
            "its disruption budget web wants 3 of 3 pods healthy, and never allows an eviction: nothing moves them, and no drain ends",
            "write maxUnavailable: 1 in web, or more replicas than it wants healthy",
        ),
        (
            Weakness::SeveralBudgets(vec!["all".into(), "web".into()]),
            "more than one disruption budget covers its pods (all, web), so Kubernetes refuses every eviction",
            "leave one of them that covers its pods",
        ),
    ];
    check_rows(rows, |(weakness, sentence, advice)| {
        let told = serde_json::to_value(&weakness).unwrap();
        assert_eq!(
            told,
            json!({"reason": weakness.name(), "message": sentence, "advice": advice, "doc": weakness.doc()})
        );
    });
}

/// That the page itself is linked to, tests/tidy sees to.
#[test]
fn each_weakness_has_its_chapter_in_the_page() {
    let page = include_str!("../../../docs/zero-downtime.md");
    assert_eq!(all().map(|it| it.name()), Weakness::VARIANTS);
    for weakness in all() {
        let anchor = weakness.doc().strip_prefix("docs/zero-downtime.md#").unwrap();
        let heading = |line: &str| line.strip_prefix("## ").is_some_and(|it| it.to_lowercase() == anchor);
        assert!(page.lines().any(heading), "no heading for {anchor}");
        assert!(page.contains(&format!("| `{}` |", weakness.name())), "no row for {}", weakness.name());
    }
}

/// One of each.
fn all() -> [Weakness; 9] {
    [
        Weakness::NoReadinessProbe,
        Weakness::NoPreStop,
        Weakness::GraceTooShort { pre_stop_s: 30, grace_s: 30 },
        Weakness::OneReplica { surges: false },
        Weakness::NoMinReadySeconds,
        Weakness::Recreate,
        Weakness::NoBudget,
        Weakness::BudgetNeverAllows(Budget::default()),
        Weakness::SeveralBudgets(Vec::new()),
    ]
}
