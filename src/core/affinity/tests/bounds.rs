//! However large a pod is, what is looked at and what is added stay small.

use serde_json::json;

use super::*;

fn exists(key: &str) -> Value {
    json!({"matchExpressions": [{"key": key, "operator": "Exists"}]})
}

fn patch_of(decision: &Decision) -> Vec<u8> {
    let Verdict::Inject(injection) = &decision.verdict else { panic!("{decision:?}") };
    serde_json::to_vec(&injection.operations).unwrap()
}

#[test]
fn a_hard_mode_goes_into_few_terms_and_is_preferred_beside_many() {
    let world = World::new();
    let rows = [("avoid-far", 3, None), ("avoid-far", 150, None)]
        .into_iter()
        .chain(["avoid-far", "required"].map(|mode| (mode, 20_000, Some(Softened::TooManyRules))));
    check_rows(rows, |(mode, terms, why)| {
        let asked = if mode == "required" { AffinityMode::Required } else { AffinityMode::AvoidFar };
        let decision = world.decide(&pod(mode, own_terms(json!(vec![exists("zone"); terms]))));
        let warning = why.map(|why| Warning::Softened { database: "default".into(), asked, why });
        assert_eq!(decision.warnings, Vec::from_iter(warning), "{mode} {terms}");
        let patch = patch_of(&decision);
        assert!(patch.len() <= patch::MOST, "{} bytes", patch.len());
        assert_eq!(String::from_utf8(patch).unwrap().matches("nodeSelectorTerms").count() > 0, why.is_none());
    });
}

#[test]
fn the_largest_patch_is_no_larger_than_it_may_be() {
    let world = World::new();
    // The longest key and names, in a pod that follows as many databases as it may.
    let key = |n: usize| format!("{}{n}.{}/{}", "k".repeat(200), "a".repeat(51), "x".repeat(63));
    let databases: Vec<(String, Database)> = (0..8)
        .map(|n| {
            let mut database = world.orders.clone();
            database.defaults.node_label = LabelKey::read(&key(n)).unwrap();
            database.defaults.mode = AffinityMode::AvoidFar;
            database.nodes = Arc::new(TierSummary::new(&nodes(), &key(n)));
            (format!("{}{n}", "d".repeat(62)), database)
        })
        .collect();
    let follow = databases.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(",");
    let spec = |terms: usize| {
        let mut spec = own_terms(json!(vec![exists("zone"); terms]));
        spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
            json!([prefers("a", "b", 1)]);
        spec
    };
    let mut largest = 0;
    for terms in [1, 5, 10, 11, 12, 20, 40, 80, 90, 100, 1_000] {
        let text =
            json!({"metadata": {"annotations": {"switchover.dev/follow": follow}}, "spec": spec(terms)}).to_string();
        let namespace = Namespace { label: Some("none".into()), ..Namespace::default() };
        let lookup = |name: &str| databases.iter().find(|(known, _)| known == name).map(|(_, database)| database);
        let decision =
            decide(&serde_json::from_str(&text).unwrap(), Some(&namespace), lookup, &Schedulers::default(), world.now);
        largest = largest.max(patch_of(&decision).len());
    }
    assert!((patch::MOST_REQUIRED / 2..=patch::MOST).contains(&largest), "{largest} bytes");
}

#[test]
fn nodes_are_looked_at_until_the_budget_is_spent() {
    let mut world = World::new();
    let many = |n: usize| Arc::new(Node::new(&format!("n{n}"), true, [("switchover", "closely")]));
    world.default.nodes = Arc::new(TierSummary::new(&(0..1_000).map(many).collect::<Vec<_>>(), "switchover"));
    let values: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
    let rows = [
        ("as many terms as it takes", own_terms(json!(vec![exists("none"); 140])), Softened::TooManyRules),
        (
            "one with many values",
            own_terms(json!([{"matchExpressions": [{"key": "zone", "operator": "In", "values": values}]}])),
            Softened::TooManyRules,
        ),
        ("few", own_terms(json!([exists("none")])), Softened::NoNodeForPod),
    ];
    check_rows(rows, |(name, spec, why)| {
        let warnings = world.decide(&pod("required", spec)).warnings;
        let expected = Warning::Softened { database: "default".into(), asked: AffinityMode::Required, why };
        assert_eq!(warnings, [expected], "{name}");
    });
}

#[test]
fn what_is_looked_at_is_what_is_charged() {
    let spec = json!({
        "nodeSelector": {"zone": "a"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            exists("disk"), {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["b", "a"]}]},
        ]}}},
        "tolerations": [{"key": "gpu", "operator": "Exists"}],
    });
    let text = spec.to_string();
    let spec: Spec<'_> = serde_json::from_str(&text).unwrap();
    let taint = crate::core::taints::Taint { key: "gpu".into(), value: String::new(), effect: "NoSchedule".into() };
    let node = Node::new("n1", true, [("zone", "a")]).tainted([taint]);
    // The selector, two terms, their requirements with two values, and the taint with one toleration.
    let needed = 1 + 2 + (1 + 3) + 2;
    assert_eq!(Looks::new(&spec, needed).allow(&node), Ok(true));
    assert_eq!(Looks::new(&spec, needed - 1).allow(&node), Err(Spent));
}

#[test]
fn a_pod_with_as_many_annotations_as_it_may_have_gets_no_more() {
    let world = World::new();
    let recorded = |bytes: usize| {
        let pod = json!({"metadata": {"annotations": {"a/b": "x".repeat(bytes)}}, "spec": {}});
        let text = String::from_utf8(patch_of(&world.decide(&pod))).unwrap();
        assert!(text.contains("/spec/affinity"), "{text}");
        text.contains("/metadata/annotations")
    };
    assert_eq!([recorded(100), recorded(262_000), recorded(262_144)], [true, true, false]);
    let mut patched = json!({"metadata": {"annotations": {"a/b": "x".repeat(262_100)}}, "spec": {}});
    let patch = patch_of(&world.decide(&patched));
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    json_patch::patch(&mut patched, &patch).unwrap();
    assert_eq!(world.skipped(&patched), SkipReason::AlreadyRight);
}
