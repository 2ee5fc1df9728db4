use lab::table::check_rows;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::{
    affinity::{PrimaryBelief, Verdict, laws},
    follow::{AffinityMode, MoveMode, Weight},
    label_key::LabelKey,
    schedulers::Schedulers,
    testing::pod,
    workload::RequiredFor,
};

fn followed(name: &str, mode: AffinityMode) -> FollowedDatabase {
    FollowedDatabase {
        name: name.into(),
        node_label: LabelKey::of_database(name).unwrap(),
        mode,
        weight: Weight::default(),
        move_mode: MoveMode::Evict,
    }
}

/// A pod that must go to nodes with this label.
fn only(key: &str, value: &str) -> Pod {
    pod("web").on("b1").only_on(key, value)
}

/// `zone In a, switchover In closely | …`, and what isn't foreseen.
fn told(pod: &Pod) -> String {
    let expression = |it: &Expression| format!("{} {:?} {}", it.key, it.operator, it.values.join(","));
    let term = |term: &NodeTerm| term.expressions.iter().map(expression).collect::<Vec<_>>().join(", ");
    let terms = pod.node_terms.iter().flatten().map(term).collect::<Vec<_>>().join(" | ");
    format!("{terms}{}", if pod.unforeseen.is_some() { " (unforeseen)" } else { "" })
}

#[test]
fn a_replacement_bears_what_admission_requires_now() {
    use AffinityMode::{AvoidFar, Preferred, Required};
    let one = |mode| vec![followed("default", mode)];
    let injected = |pod: Pod| Pod { injected: true, ..pod };
    let selecting = |value: &str| {
        let mut pod = pod("web").on("b1");
        pod.node_selector.insert("switchover".into(), value.into());
        pod
    };
    let rows = [
        ("preferred", pod("web"), one(Preferred), ""),
        ("required", pod("web"), one(Required), "switchover In closely"),
        ("far from far nodes", pod("web"), one(AvoidFar), "switchover NotIn far"),
        ("with rules of its own", only("zone", "a"), one(Required), "zone In a, switchover In closely"),
        ("injected already", injected(only("switchover", "closely")), one(Required), "switchover In closely"),
        ("it says so itself", selecting("closely"), one(Required), ""),
        ("it says something else itself", selecting("far"), one(Required), "switchover In closely"),
        ("an empty term", Pod { node_terms: Some(vec![NodeTerm::default()].into()), ..pod("web") }, one(Required), ""),
        ("spread, required now", pod("web").spread_over("zone"), one(Required), "switchover In closely"),
        (
            "spread, required before",
            injected(only("switchover", "closely")).spread_over("zone"),
            one(Preferred),
            "switchover In closely (unforeseen)",
        ),
        ("required before", injected(only("switchover", "closely")), one(Preferred), "switchover In closely"),
        (
            "spread, required by itself",
            only("switchover", "closely").spread_over("zone"),
            one(Preferred),
            "switchover In closely",
        ),
        (
            "two databases",
            pod("web"),
            vec![followed("default", Required), followed("orders", AvoidFar)],
            "switchover In closely, switchover.dev/orders NotIn far",
        ),
        (
            "spread, two databases",
            pod("web").spread_over("zone"),
            vec![followed("default", Required), followed("orders", Required)],
            "switchover In closely, switchover.dev/orders In closely (unforeseen)",
        ),
    ];
    check_rows(rows, |(what, pod, databases, expected)| {
        assert_eq!(told(&replacement(&pod, &databases)), expected, "{what}");
    });
}

#[test]
fn a_replacement_forgets_what_was_required_under_a_key_that_no_followed_database_has() {
    use AffinityMode::{AvoidFar, Preferred, Required};
    let one = |mode| vec![followed("default", mode)];
    // What admission required, and what it wrote down.
    let pod = |rules: &[(&str, AffinityMode)], records: &[(&str, AffinityMode)]| {
        let expression = |(key, mode): &(&str, AffinityMode)| match mode {
            AvoidFar => Expression { key: (*key).into(), operator: Operator::NotIn, values: vec!["far".into()] },
            _ => Expression { key: (*key).into(), operator: Operator::In, values: vec!["closely".into()] },
        };
        let term = NodeTerm { expressions: rules.iter().map(expression).collect(), ..NodeTerm::default() };
        let record =
            |(database, mode): &(&str, AffinityMode)| RequiredFor { database: (*database).into(), mode: *mode };
        Pod {
            injected: true,
            required_for: records.iter().map(record).collect(),
            node_terms: Some(vec![term].into()),
            ..pod("web").on("b1")
        }
    };
    let zone = Expression { key: "zone".into(), operator: Operator::In, values: vec!["a".into()] };
    let zoned = |mut pod: Pod| {
        pod.node_terms.iter_mut().for_each(|terms| terms[0].expressions.push(zone.clone()));
        pod
    };
    let two_terms = |mut pod: Pod| {
        let term = NodeTerm { expressions: vec![zone.clone()], ..NodeTerm::default() };
        pod.node_terms.iter_mut().for_each(|terms| terms.push(term.clone()));
        pod
    };
    let record = [("default", Required)];
    let was = || pod(&[("old", Required)], &record);
    let rows = [
        ("required under a former key", was(), one(Required), "switchover In closely"),
        ("only preferred now", was(), one(Preferred), ""),
        ("with rules of its own", zoned(was()), one(Required), "zone In a, switchover In closely"),
        (
            "far from far nodes",
            pod(&[("old", AvoidFar)], &[("default", AvoidFar)]),
            one(AvoidFar),
            "switchover NotIn far",
        ),
        (
            "of a database that it followed before",
            pod(&[("switchover.dev/orders", Required)], &[("orders", Required)]),
            one(Required),
            "switchover In closely",
        ),
        (
            "of one of two databases",
            pod(
                &[("old", Required), ("switchover.dev/orders", AvoidFar)],
                &[("default", Required), ("orders", AvoidFar)],
            ),
            vec![followed("default", Required), followed("orders", AvoidFar)],
            "switchover.dev/orders NotIn far, switchover In closely",
        ),
        (
            "its own rule, and ours of today",
            pod(&[("switchover", Required), ("own", Required)], &record),
            one(Required),
            "switchover In closely, own In closely",
        ),
        (
            "two rules, one of which is its own",
            pod(&[("old", Required), ("own", Required)], &record),
            one(Required),
            "old In closely, own In closely, switchover In closely",
        ),
        (
            "nothing was written down",
            pod(&[("old", Required)], &[]),
            one(Required),
            "old In closely, switchover In closely",
        ),
        (
            "another mode was written down",
            pod(&[("own", AvoidFar)], &record),
            one(Required),
            "own NotIn far, switchover In closely",
        ),
        ("somebody else added a term", two_terms(was()), one(Preferred), "old In closely | zone In a"),
    ];
    check_rows(rows, |(what, pod, databases, expected)| {
        assert_eq!(told(&replacement(&pod, &databases)), expected, "{what}");
    });
}

/// Rules of a pod for nodes.
fn own_rules() -> impl Strategy<Value = Value> {
    let expression = (prop::sample::select(&laws::KEYS[..]), any::<bool>(), prop::sample::select(&laws::VALUES[..]))
        .prop_map(|(key, wanted, value)| json!({"key": key, "operator": if wanted { "In" } else { "NotIn" }, "values": [value]}));
    let term = prop::collection::vec(expression, 0..3).prop_map(|expressions| json!({"matchExpressions": expressions}));
    let selector =
        prop::option::weighted(0.3, (prop::sample::select(&laws::KEYS[..]), prop::sample::select(&laws::VALUES[..])));
    (prop::option::of(prop::collection::vec(term, 1..3)), selector).prop_map(|(terms, selector)| {
        let mut spec = json!({"containers": []});
        if let Some(terms) = terms {
            spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] =
                terms.into();
        }
        if let Some((key, value)) = selector {
            spec["nodeSelector"] = json!({key: value});
        }
        spec
    })
}

proptest! {
    /// Whatever admission injects into a pod, its replacement bears, for every node: as far as admission isn't softened.
    #[test]
    fn a_replacement_goes_exactly_where_admission_lets_it(spec in own_rules(), required in any::<bool>()) {
        let mode = if required { AffinityMode::Required } else { AffinityMode::AvoidFar };
        let world = laws::World::new(u64::MAX, PrimaryBelief::Known);
        let object = json!({"metadata": {"name": "web", "annotations": {"switchover.dev/affinity": mode.as_str()}}, "spec": spec});
        let decision = world.decide(&object);
        let Verdict::Inject(injection) = decision.verdict else { return Ok(()) };
        let softened = decision.warnings.iter().any(|warning| matches!(warning, crate::core::affinity::Warning::Softened { .. }));
        prop_assume!(!softened);
        let mut patched = object.clone();
        let patch: json_patch::Patch = serde_json::from_value(serde_json::to_value(&injection.operations).unwrap()).unwrap();
        json_patch::patch(&mut patched, &patch).unwrap();
        let facts = |object: Value| crate::index::pod(serde_json::from_value(object).unwrap(), &Schedulers::default());
        let (before, after) = (facts(object), facts(patched));
        let foreseen = replacement(&before, &[followed("default", mode)]).into_owned();
        let may_go = |pod: &Pod, labels: &crate::core::selector::Labels| {
            let selected = pod.node_selector.iter().all(|(key, value)| labels.get(key) == Some(value));
            selected && pod.node_terms.as_ref().is_none_or(|terms| terms.iter().any(|term| term.matches("n1", labels)))
        };
        for tier in ["closely", "intermediate", "far", ""] {
            for zone in ["a", "b", ""] {
                let pairs = [("switchover", tier), ("zone", zone)];
                let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
                let labels = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
                prop_assert_eq!(may_go(&foreseen, &labels), may_go(&after, &labels), "{:?}", labels);
            }
        }
    }
}
