//! Whatever pod arrives: its own rules are only narrowed, twice is once, and the patch applies.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::core::follow::{MoveMode, Weight};

const KEYS: [&str; 3] = ["switchover", "switchover.dev/orders", "zone"];
const VALUES: [&str; 6] = ["closely", "intermediate", "far", "a", "b", "3"];

fn requirement() -> impl Strategy<Value = Value> {
    let operators = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"];
    let values = prop::sample::subsequence(VALUES.to_vec(), 1..3);
    (prop::sample::select(KEYS.to_vec()), prop::sample::select(operators.to_vec()), values).prop_map(
        |(key, operator, values)| match operator {
            "Exists" | "DoesNotExist" => json!({"key": key, "operator": operator}),
            "Gt" | "Lt" => json!({"key": key, "operator": operator, "values": ["2"]}),
            _ => json!({"key": key, "operator": operator, "values": values}),
        },
    )
}

fn term() -> impl Strategy<Value = Value> {
    let absent = prop_oneof![Just(None), Just(Some(Value::Null)), Just(Some(json!([])))];
    let expressions = prop_oneof![
        absent.clone(),
        prop::collection::vec(requirement(), 1..3).prop_map(|requirements| Some(json!(requirements)))
    ];
    let field = |name: &str| json!([{"key": "metadata.name", "operator": "In", "values": [name]}]);
    let fields = prop_oneof![3 => absent, 1 => (0..4usize).prop_map(move |n| Some(field(&format!("n{n}"))))];
    (expressions, fields).prop_map(|(expressions, fields)| {
        let mut term = Map::new();
        term.extend(expressions.map(|expressions| ("matchExpressions".to_owned(), expressions)));
        term.extend(fields.map(|fields| ("matchFields".to_owned(), fields)));
        Value::Object(term)
    })
}

fn maybe(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![1 => Just(None), 1 => Just(Some(Value::Null)), 6 => value.prop_map(Some)]
}

fn object(fields: [(&str, Option<Value>); 2]) -> Value {
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Map<_, _>>().into()
}

fn affinity() -> impl Strategy<Value = Value> {
    let required = prop::collection::vec(term(), 0..4).prop_map(|terms| json!({"nodeSelectorTerms": terms}));
    let preferred = prop::collection::vec((1..100u8, term()), 0..3).prop_map(|terms| {
        json!(terms.into_iter().map(|(weight, term)| json!({"weight": weight, "preference": term})).collect::<Vec<_>>())
    });
    let node_affinity = (maybe(required), maybe(preferred)).prop_map(|(required, preferred)| {
        object([
            ("requiredDuringSchedulingIgnoredDuringExecution", required),
            ("preferredDuringSchedulingIgnoredDuringExecution", preferred),
        ])
    });
    maybe(node_affinity).prop_map(|node_affinity| object([("nodeAffinity", node_affinity), ("podAffinity", None)]))
}

fn annotations() -> impl Strategy<Value = Value> {
    let follow = prop::sample::select(vec!["default", "orders", "default,orders", "gone", "none", ",", "orders,gone"]);
    let mode = prop::sample::select(vec!["preferred", "avoid-far", "required", "soft"]);
    (prop::option::of(follow), mode).prop_map(|(follow, mode)| {
        object([("switchover.dev/follow", follow.map(Into::into)), ("switchover.dev/affinity", Some(mode.into()))])
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let selector = prop_oneof![
        2 => Just(None),
        1 => (prop::sample::select(KEYS.to_vec()), prop::sample::select(VALUES.to_vec()))
            .prop_map(|(key, value)| Some(json!({ key: value })))
    ];
    (maybe(annotations()), maybe(affinity()), selector).prop_map(|(annotations, affinity, selector)| {
        json!({
            "metadata": object([("annotations", annotations), ("name", None)]),
            "spec": object([("affinity", affinity), ("nodeSelector", selector)]),
        })
    })
}

/// Nodes of every label combination that matters, and a random part of them usable.
fn nodes(usable: u64) -> Vec<Arc<Node>> {
    let mut nodes = Vec::new();
    for default in ["closely", "intermediate", "far", ""] {
        for orders in ["closely", "far", ""] {
            for zone in ["a", "b", "3"] {
                let labels = [("switchover", default), ("switchover.dev/orders", orders), ("zone", zone)];
                let number = nodes.len();
                let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
                nodes.push(Arc::new(Node::new(&format!("n{number}"), usable >> number & 1 == 1, labels)));
            }
        }
    }
    nodes
}

/// The nodes that a pod's own rules allow.
pub(crate) fn allowed(pod: &Value, nodes: &[Arc<Node>]) -> Vec<String> {
    let text = pod.to_string();
    let pod: Pod<'_> = serde_json::from_str(&text).unwrap();
    let spec = pod.spec.unwrap();
    nodes.iter().filter(|node| rules::allow(&spec, node)).map(|node| node.name.to_string()).collect()
}

proptest! {
    #[test]
    fn a_patch_applies_only_narrows_and_is_done_once(
        pod in pod(),
        usable in prop_oneof![Just(0), any::<u64>(), Just(u64::MAX)],
        primary in prop::sample::select(vec![Primary::Known, Primary::Unknown]),
    ) {
        let now = Instant::now();
        let nodes = nodes(usable);
        let database = |name: &str| {
            let node_label = crate::core::keys::default_node_label(name);
            Database {
                nodes: TierSummary::new(&nodes, &node_label).into(),
                defaults: DatabaseDefaults {
                    node_label: node_label.into(),
                    mode: AffinityMode::Preferred,
                    weight: Weight::default(),
                    move_mode: MoveMode::Evict,
                },
                primary,
                epoch: 1,
                fresh_until: now + Duration::from_secs(1),
            }
        };
        let (default, orders) = (database("default"), database("orders"));
        let namespace = Namespace { label: Some("default".into()), ..Namespace::default() };
        let lookup = |name: &str| match name { "default" => Some(&default), "orders" => Some(&orders), _ => None };
        let text = pod.to_string();
        let decision = decide(&serde_json::from_str(&text).unwrap(), Some(&namespace), lookup, now);
        let Verdict::Inject(injection) = decision.verdict else { return Ok(()) };

        let mut patched = pod.clone();
        let patch = serde_json::to_value(&injection.operations).unwrap();
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut patched, &patch).unwrap();

        let (before, after) = (allowed(&pod, &nodes), allowed(&patched, &nodes));
        prop_assert!(after.iter().all(|node| before.contains(node)), "loosened: {patched}");
        if injection.summary.matches(r#""mode":"#).count() == injection.summary.matches(r#""mode":"preferred""#).count() {
            prop_assert_eq!(&before, &after, "preferences must not exclude nodes");
        } else {
            let usable = |allowed: &[String]| nodes.iter().any(|n| n.usable && allowed.iter().any(|a| **a == *n.name));
            prop_assert!(usable(&after), "no node is left: {}", patched);
        }

        let text = patched.to_string();
        let again = decide(&serde_json::from_str(&text).unwrap(), Some(&namespace), lookup, now);
        prop_assert_eq!(again.verdict, Verdict::Skip(SkipReason::AlreadyInjected));
    }
}
