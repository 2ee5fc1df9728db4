use lab::table::check_rows;

mod bounds;
mod properties;

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::core::{
    follow::{MoveMode, Weight},
    label_key::LabelKey,
    taints::Taint,
};

fn database(name: &str, mode: AffinityMode, nodes: &[Arc<Node>], now: Instant) -> Database {
    let node_label = LabelKey::of_database(name).unwrap();
    Database {
        nodes: TierSummary::new(nodes, &node_label).into(),
        defaults: DatabaseDefaults { node_label, mode, weight: Weight::new(80).unwrap(), move_mode: MoveMode::Evict },
        primary: PrimaryBelief::Known,
        epoch: 7,
        fresh_until: now + Duration::from_secs(60),
    }
}

/// Two data centres: `default` is in a, `orders` in b; the c nodes are near neither.
fn nodes() -> Vec<Arc<Node>> {
    [
        ("a1", "closely", "far", "a"),
        ("a2", "closely", "far", "a"),
        ("b1", "far", "closely", "b"),
        ("c1", "intermediate", "intermediate", "c"),
    ]
    .map(|(name, default, orders, zone)| {
        Arc::new(Node::new(name, true, [("switchover", default), ("switchover.dev/orders", orders), ("zone", zone)]))
    })
    .to_vec()
}

struct World {
    now: Instant,
    default: Database,
    orders: Database,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            now,
            default: database("default", AffinityMode::Preferred, &nodes(), now),
            orders: database("orders", AffinityMode::Preferred, &nodes(), now),
        }
    }

    fn decide(&self, pod: &Value) -> Decision {
        let text = pod.to_string();
        let namespace = Namespace { label: Some("default".into()), ..Namespace::default() };
        let lookup = |name: &str| match name {
            "default" => Some(&self.default),
            "orders" => Some(&self.orders),
            _ => None,
        };
        decide(&serde_json::from_str(&text).unwrap(), Some(&namespace), lookup, &Schedulers::default(), self.now)
    }

    /// The patched pod and the warnings; patching it again must change nothing.
    fn patched(&self, pod: &Value) -> (Value, Vec<String>) {
        let decision = self.decide(pod);
        let Verdict::Inject(injection) = &decision.verdict else { panic!("{decision:?}") };
        let mut patched = pod.clone();
        let patch: json_patch::Patch =
            serde_json::from_value(serde_json::to_value(&injection.operations).unwrap()).unwrap();
        json_patch::patch(&mut patched, &patch).unwrap();
        assert_eq!(self.decide(&patched).verdict, Verdict::Skip(SkipReason::AlreadyInjected), "{patched}");
        (patched, decision.warnings.iter().map(ToString::to_string).collect())
    }

    fn skipped(&self, pod: &Value) -> SkipReason {
        match self.decide(pod).verdict {
            Verdict::Skip(reason) => reason,
            Verdict::Inject(injection) => panic!("{injection:?}"),
        }
    }
}

fn pod(affinity_mode: &str, spec: Value) -> Value {
    json!({"metadata": {"annotations": {"switchover.dev/affinity": affinity_mode}}, "spec": spec})
}

fn prefers(key: &str, tier: &str, weight: u8) -> Value {
    json!({"weight": weight, "preference": {"matchExpressions": [{"key": key, "operator": "In", "values": [tier]}]}})
}

fn both() -> Value {
    json!([prefers("switchover", "closely", 80), prefers("switchover", "intermediate", 40)])
}

fn closely() -> Value {
    json!({"key": "switchover", "operator": "In", "values": ["closely"]})
}

fn not_far() -> Value {
    json!({"key": "switchover", "operator": "NotIn", "values": ["far"]})
}

fn own_terms(terms: Value) -> Value {
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
}

fn required(pod: &Value) -> &Value {
    &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
}

fn preferred(pod: &Value) -> &Value {
    &pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
}

#[test]
fn a_plain_pod_gets_two_weighted_terms_and_a_record() {
    let world = World::new();
    for metadata in [json!({}), json!({"annotations": null}), json!({"annotations": {"a/b": "c"}}), Value::Null] {
        let (pod, warnings) = world.patched(&json!({"metadata": metadata, "spec": {"containers": [{"name": "web"}]}}));
        assert_eq!((preferred(&pod), required(&pod)), (&both(), &Value::Null));
        assert_eq!(
            pod["metadata"]["annotations"]["switchover.dev/injected"],
            r#"[{"database":"default","mode":"preferred","epoch":7}]"#
        );
        assert_eq!(pod["metadata"]["annotations"]["a/b"], metadata["annotations"]["a/b"]);
        assert_eq!(warnings, Vec::<String>::new());
    }
}

#[test]
fn each_mode_adds_its_own_rules_beside_what_is_there() {
    let world = World::new();
    let one = |expression: Value| json!([{"matchExpressions": [expression]}]);
    let zone = || json!({"key": "zone", "operator": "In", "values": ["a", "c"]});
    let field = || json!([{"key": "metadata.name", "operator": "In", "values": ["a1"]}]);
    let own_preferred = || prefers("disk", "ssd", 3);
    let rows = [
        ("preferred", json!({}), Value::Null, both()),
        ("preferred", json!({"affinity": null}), Value::Null, both()),
        ("preferred", json!({"affinity": {}}), Value::Null, both()),
        ("preferred", json!({"affinity": {"podAffinity": {}, "nodeAffinity": null}}), Value::Null, both()),
        ("preferred", json!({"affinity": {"nodeAffinity": {}}}), Value::Null, both()),
        (
            "preferred",
            json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [own_preferred()]}}}),
            Value::Null,
            json!([own_preferred(), both()[0], both()[1]]),
        ),
        ("preferred", own_terms(one(zone())), one(zone()), both()),
        ("required", json!({}), one(closely()), Value::Null),
        ("avoid-far", json!({}), one(not_far()), both()),
        ("required", own_terms(one(zone())), json!([{"matchExpressions": [zone(), closely()]}]), Value::Null),
        // Several terms are ORed: each is narrowed, and empty ones, which match nothing, stay as they are.
        (
            "avoid-far",
            own_terms(
                json!([{"matchExpressions": [zone()]}, {}, {"matchFields": field()}, {"matchFields": field(), "matchExpressions": []}]),
            ),
            json!([
                {"matchExpressions": [zone(), not_far()]}, {},
                {"matchFields": field(), "matchExpressions": [not_far()]},
                {"matchFields": field(), "matchExpressions": [not_far()]}
            ]),
            both(),
        ),
        // What follows from the pod's own rules is not said twice.
        (
            "avoid-far",
            own_terms(json!([{"matchExpressions": [closely()]}, {"matchExpressions": [not_far()]}])),
            json!([{"matchExpressions": [closely()]}, {"matchExpressions": [not_far()]}]),
            both(),
        ),
        ("avoid-far", json!({"nodeSelector": {"switchover": "closely"}}), Value::Null, both()),
    ];
    check_rows(rows, |(mode, spec, expected_required, expected_preferred)| {
        let (patched, warnings) = world.patched(&pod(mode, spec.clone()));
        assert_eq!(required(&patched), &expected_required, "{mode} {spec}");
        assert_eq!(preferred(&patched), &expected_preferred, "{mode} {spec}");
        assert_eq!(warnings, Vec::<String>::new(), "{mode} {spec}");
    });
}

/// Every node bears a taint.
fn tainted() -> Arc<TierSummary> {
    let taint = Taint { key: "gpu".into(), value: "yes".into(), effect: "NoSchedule".into() };
    let nodes = nodes().into_iter().map(|node| Arc::new(Node::clone(&node).tainted([taint.clone()])));
    Arc::new(TierSummary::new(&nodes.collect::<Vec<_>>(), "switchover"))
}

fn tolerating(key: &str) -> Value {
    json!({"tolerations": [
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
        {"key": key, "value": "yes", "effect": "NoSchedule"},
    ]})
}

#[test]
fn a_hard_mode_becomes_preferred_where_it_could_leave_the_pod_without_a_node() {
    let far = |zone: &str| json!({"nodeSelector": {"zone": zone}});
    type Change = fn(&mut World);
    let same: Change = |_| {};
    let rows = [
        (
            "required",
            json!({}),
            (|w| w.default.primary = PrimaryBelief::Unknown) as Change,
            Some(Softened::PrimaryUnknown),
        ),
        ("required", json!({}), |w| w.default.primary = PrimaryBelief::Split, Some(Softened::SplitBrain)),
        ("required", json!({}), |w| w.default.primary = PrimaryBelief::Frozen, Some(Softened::Frozen)),
        ("required", json!({}), |w| w.now += Duration::from_secs(59), None),
        ("required", json!({}), |w| w.now += Duration::from_secs(60), Some(Softened::Stale)),
        ("required", json!({}), |w| Arc::make_mut(&mut w.default.nodes).closely.clear(), Some(Softened::NoNode)),
        ("required", far("a"), same, None),
        ("required", far("b"), same, Some(Softened::NoNodeForPod)),
        ("required", json!({"nodeSelector": {"switchover": "far"}}), same, Some(Softened::NoNodeForPod)),
        ("required", own_terms(json!([{}])), same, Some(Softened::NoNodeForPod)),
        ("required", json!({}), |w| w.default.nodes = tainted(), Some(Softened::NoNodeForPod)),
        ("required", tolerating("other"), |w| w.default.nodes = tainted(), Some(Softened::NoNodeForPod)),
        ("required", tolerating("gpu"), |w| w.default.nodes = tainted(), None),
        ("avoid-far", json!({}), |w| w.default.nodes = tainted(), Some(Softened::NoNodeForPod)),
        ("avoid-far", json!({"tolerations": [{"operator": "Exists"}]}), |w| w.default.nodes = tainted(), None),
        ("preferred", json!({}), |w| w.default.nodes = tainted(), None),
        ("avoid-far", far("c"), same, None),
        ("avoid-far", far("b"), same, Some(Softened::NoNodeForPod)),
        ("avoid-far", json!({}), |w| w.default.primary = PrimaryBelief::Unknown, None),
        ("avoid-far", json!({}), |w| w.default.nodes = Arc::default(), Some(Softened::NoNode)),
        ("preferred", far("b"), |w| w.default.nodes = Arc::default(), None),
    ];
    check_rows(rows, |(mode, spec, change, why)| {
        let mut world = World::new();
        change(&mut world);
        let pod = pod(mode, spec);
        let expected = why.map(|why| {
            let asked = if mode == "required" { AffinityMode::Required } else { AffinityMode::AvoidFar };
            Warning::Softened { database: "default".into(), asked, why }
        });
        assert_eq!(world.decide(&pod).warnings, Vec::from_iter(expected.clone()), "{pod}");
        let (patched, _) = world.patched(&pod);
        if expected.is_some() {
            assert_eq!((required(&patched), preferred(&patched)), (required(&pod), &both()));
            let record = patched["metadata"]["annotations"]["switchover.dev/injected"].as_str().unwrap();
            assert!(record.contains(&format!(r#""mode":"preferred","asked":"{mode}""#)), "{record}");
        }
    });
}

#[test]
fn several_databases_add_up_and_no_two_of_them_exclude_every_node() {
    let world = World::new();
    let follow = |mode: &str| json!({"metadata": {"annotations": {"switchover.dev/follow": "default,orders", "switchover.dev/affinity": mode}}, "spec": {}});
    let (patched, warnings) = world.patched(&follow("preferred"));
    assert_eq!(preferred(&patched).as_array().unwrap().len(), 4);
    assert_eq!(warnings, Vec::<String>::new());

    // No node is closely to both: the first named wins, the second is preferred.
    let (patched, warnings) = world.patched(&follow("required"));
    assert_eq!(required(&patched), &json!([{"matchExpressions": [closely()]}]));
    assert_eq!(preferred(&patched).as_array().unwrap().len(), 2);
    assert_eq!(
        warnings,
        ["database orders: required became preferred: the pod's rules and taints leave no closely node"]
    );

    // c1 is far from neither.
    let (patched, warnings) = world.patched(&follow("avoid-far"));
    assert_eq!(required(&patched)[0]["matchExpressions"].as_array().unwrap().len(), 2);
    assert_eq!(warnings, Vec::<String>::new());
}

#[test]
fn pods_that_must_not_or_need_not_be_touched_are_skipped_with_the_reason() {
    let world = World::new();
    let right = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": both()}}});
    let says = |key: &str, value: &str| json!({"annotations": {key: value}});
    let owned = |kind: &str| json!({"ownerReferences": [{"kind": kind, "name": "x", "apiVersion": "v1", "uid": "u"}]});
    let rows = [
        (owned("DaemonSet"), json!({}), SkipReason::DaemonSet),
        (says("kubernetes.io/config.mirror", "x"), json!({}), SkipReason::Mirror),
        (json!({}), json!({"nodeName": "a1"}), SkipReason::NodeNameSet),
        (json!({}), json!({"os": {"name": "windows"}}), SkipReason::Windows),
        (json!({}), json!({"schedulerName": "volcano"}), SkipReason::OtherScheduler),
        (says("switchover.dev/follow", "none"), json!({}), SkipReason::NotFollowing(NotFollowing::OptedOut)),
        (says("switchover.dev/follow", "gone"), json!({}), SkipReason::NotFollowing(NotFollowing::NoSuchDatabase)),
        (json!({}), right, SkipReason::AlreadyRight),
        (json!({}), Value::Null, SkipReason::NoSpec),
        (
            says("switchover.dev/affinity", "required"),
            json!({"nodeSelector": {"switchover": "closely"}}),
            SkipReason::AlreadyRight,
        ),
    ];
    check_rows(rows, |(metadata, spec, reason)| {
        let pod = json!({"metadata": metadata, "spec": spec});
        assert_eq!(world.skipped(&pod), reason, "{pod}");
    });
    let text = json!({"spec": {}}).to_string();
    let unlabelled = decide(
        &serde_json::from_str(&text).unwrap(),
        None,
        |_| Some(&world.default),
        &Schedulers::default(),
        world.now,
    );
    assert_eq!(unlabelled.verdict, Verdict::Skip(SkipReason::NotFollowing(NotFollowing::NotOptedIn)));
    for pod in [
        json!({"metadata": owned("ReplicaSet"), "spec": {"os": {"name": "linux"}, "nodeName": ""}}),
        json!({"metadata": says("switchover.dev/follow", "orders"), "spec": {"schedulerName": "volcano"}}),
        json!({"metadata": {"generateName": "web-"}, "spec": {"schedulingGates": [{"name": "later"}]}}),
    ] {
        assert!(matches!(world.decide(&pod).verdict, Verdict::Inject(_)), "{pod}");
    }
}

#[test]
fn another_webhook_may_add_terms_between_two_calls() {
    let world = World::new();
    let (mut pod, _) = world.patched(&pod("avoid-far", json!({})));
    let terms =
        pod.pointer_mut("/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
    terms.unwrap().as_array_mut().unwrap().push(json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}]}));
    let (patched, _) = world.patched(&pod);
    assert_eq!(required(&patched)[0], json!({"matchExpressions": [not_far()]}));
    assert_eq!(required(&patched)[1]["matchExpressions"][1], not_far());
    assert_eq!(preferred(&patched), &both());
}

#[test]
fn every_warning_is_short() {
    let database: Arc<str> = "x".repeat(63).into();
    for asked in [AffinityMode::Preferred, AffinityMode::AvoidFar, AffinityMode::Required] {
        for why in [
            Softened::PrimaryUnknown,
            Softened::SplitBrain,
            Softened::Frozen,
            Softened::Stale,
            Softened::NoNode,
            Softened::NoNodeForPod,
            Softened::TooManyRules,
        ] {
            let warning = Warning::Softened { database: Arc::clone(&database), asked, why }.to_string();
            assert!(warning.chars().count() <= 120, "{warning}");
        }
    }
}
