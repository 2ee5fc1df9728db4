use lab::table::check_rows;
use serde_json::json;

use super::*;

const ROLLING: Strategy = Strategy::Rolling { surge: 1, unavailable: 0 };

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
    let whole = Serving { kind: "Deployment", replicas: Some(3), strategy: ROLLING, pod: Some(&pod), budgets: &one };
    let rows: [(&str, Serving<'_>, &[&str]); 17] = [
        ("nothing", whole, &[]),
        ("no probe and no hook", Serving { pod: Some(&bare), ..whole }, &["NoReadinessProbe", "NoPreStop"]),
        ("a sidecar has them", Serving { pod: Some(&beside), ..whole }, &[]),
        ("an init container ends before", Serving { pod: Some(&before), ..whole }, &["NoReadinessProbe", "NoPreStop"]),
        ("a template that can't be read", Serving { pod: None, ..whole }, &[]),
        ("one replica", Serving { replicas: Some(1), ..whole }, &["OneReplica"]),
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
            Serving { replicas: Some(1), budgets: &[budget("web", 1, 1)], ..whole },
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
fn each_weakness_is_a_sentence_and_something_to_do() {
    let rows = [
        (
            Weakness::OneReplica { surges: true },
            "it has one replica: a rolling update brings the new pod first, but nothing serves while its node is drained or lost",
            "write replicas: 2 or more to be safe from the loss of a node, too",
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
        assert_eq!(told, json!({"reason": weakness.name(), "message": sentence, "advice": advice}));
    });
}
