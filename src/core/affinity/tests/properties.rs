//! Whatever pod arrives: its own rules are only narrowed, twice is once, and the patch applies.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{
    PrimaryBelief,
    laws::{KEYS, VALUES, World},
};

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
    let tolerations =
        prop::sample::select(vec!["other", "dedicated"]).prop_map(|key| json!([{"key": key, "value": "db"}]));
    (maybe(annotations()), maybe(affinity()), selector, maybe(tolerations)).prop_map(
        |(annotations, affinity, selector, tolerations)| {
            let mut spec = object([("affinity", affinity), ("nodeSelector", selector)]);
            spec["tolerations"] = tolerations.unwrap_or_default();
            json!({"metadata": object([("annotations", annotations), ("name", None)]), "spec": spec})
        },
    )
}

proptest! {
    #[test]
    fn a_patch_applies_only_narrows_and_is_done_once(
        pod in pod(),
        usable in prop_oneof![Just(0), any::<u64>(), Just(u64::MAX)],
        primary in prop::sample::select(vec![PrimaryBelief::Known, PrimaryBelief::Unknown]),
    ) {
        World::new(usable, primary).holds(&pod);
    }
}
