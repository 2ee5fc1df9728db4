use lab::table::check_rows;
use serde_json::{Value, json};

use super::*;
use crate::core::{
    affinity::{SkipReason, Verdict},
    distance::tier::Tier,
    follow::{AffinityMode, NotFollowing, Weight},
    taints::Taint,
};

fn cache(facts_ttl: Duration) -> Cache {
    Cache::new("switchover-system", facts_ttl, WebhookMetrics::register(&mut crate::metrics::registry()))
}

fn as_object<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn cluster(name: &str, version: &str, spec: Value, status: Value) -> Event<DynamicObject> {
    Event::Apply(as_object(json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster",
        "metadata": {"name": name, "resourceVersion": version}, "spec": spec, "status": status,
    })))
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2024-01-01T00:00:00Z"})
}

fn spec() -> Value {
    json!({"discovery": {"patroni": {"urls": ["http://10.0.0.1:8008"]}}})
}

fn keyed(key: &str) -> Value {
    json!({"discovery": {"patroni": {"urls": ["http://10.0.0.1:8008"]}}, "nodeLabel": key})
}

fn kube_node(name: &str, tier: &str, ready: &str, closed: bool) -> Event<KubeNode> {
    Event::Apply(as_object(json!({
        "metadata": {"name": name, "labels": {"switchover": tier}},
        "spec": {"unschedulable": closed},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })))
}

#[test]
fn the_view_says_what_the_watches_saw() {
    let cache = cache(Duration::from_secs(60));
    cache.apply_namespace(Event::Apply(as_object(json!({
        "metadata": {"name": "shop", "labels": {"switchover.dev/follow": "default"}, "annotations": {"switchover.dev/weight": "9"}},
    }))));
    cache.apply_namespace(Event::Apply(as_object(json!({"metadata": {"name": "other"}}))));
    let status = json!({"epoch": 4, "conditions": [condition("PrimaryKnown")]});
    cache.apply_database(cluster("default", "1", spec(), status.clone()));
    cache.apply_database(cluster("broken", "1", json!({"discovery": 5}), status));
    let mut odd = spec();
    odd["nodeLabel"] = json!("example.com/near");
    odd["affinity"] = json!({"mode": "required", "weight": 200});
    cache.apply_database(cluster("odd", "1", odd, Value::Null));
    for (name, tier, ready, closed) in [
        ("n1", "closely", "True", false),
        ("n2", "closely", "Unknown", false),
        ("n3", "closely", "True", true),
        ("n4", "intermediate", "True", false),
        ("n5", "", "True", false),
        ("n6", "far", "True", false),
    ] {
        cache.apply_node(kube_node(name, tier, ready, closed));
    }
    assert!(cache.view().load().databases.is_empty(), "a view appears only when it is published");
    cache.publish();

    let view = cache.view().load_full();
    assert_eq!(view.namespaces.keys().map(|name| &**name).collect::<Vec<_>>(), ["shop"]);
    assert_eq!(view.namespaces["shop"].weight.as_deref(), Some("9"));
    let default = &view.databases["default"];
    assert_eq!((default.primary, default.epoch), (PrimaryBelief::Known, 4));
    assert_eq!(default.nodes.closely.iter().map(|node| &*node.name).collect::<Vec<_>>(), ["n1"]);
    assert_eq!((default.nodes.between.len(), default.nodes.far), (2, 1));
    assert!(default.fresh_until > Instant::now());
    let odd = &view.databases["odd"];
    assert_eq!((&*odd.defaults.node_label, odd.primary), ("example.com/near", PrimaryBelief::Unknown));
    assert_eq!((odd.defaults.mode, odd.defaults.weight), (AffinityMode::Required, Weight::default()));
    assert_eq!(odd.nodes.closely.len(), 0);
    assert!(!view.databases.contains_key("broken"));

    cache.apply_node(kube_node("n1", "far", "True", false));
    cache.apply_database(Event::Delete(as_object(json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "metadata": {"name": "odd"}, "spec": spec(),
    }))));
    cache.publish();
    let view = cache.view().load_full();
    assert_eq!((view.databases.len(), view.databases["default"].nodes.closely.len()), (1, 0));
    assert_eq!(view.databases["default"].nodes.far, 2);
}

#[test]
fn a_split_or_frozen_database_is_not_known() {
    let rows = [
        (vec!["PrimaryKnown"], PrimaryBelief::Known),
        (vec!["PrimaryKnown", "Moving"], PrimaryBelief::Known),
        (vec!["PrimaryKnown", "SplitBrain"], PrimaryBelief::Split),
        (vec!["PrimaryKnown", "Frozen"], PrimaryBelief::Frozen),
        (vec!["Moving"], PrimaryBelief::Unknown),
        (vec![], PrimaryBelief::Unknown),
    ];
    check_rows(rows, |(conditions, expected)| {
        let status = json!({"conditions": conditions.iter().map(|kind| condition(kind)).collect::<Vec<_>>()});
        let Event::Apply(object) = cluster("default", "1", spec(), status) else { unreachable!() };
        assert_eq!(database(object).1.unwrap().primary, expected, "{conditions:?}");
    });
}

#[test]
fn a_database_whose_node_label_no_node_could_bear_is_never_injected() {
    let most = "x".repeat(63);
    let rows = [
        ("a".to_owned(), spec(), true),
        ("a".to_owned(), keyed(&most), true),
        ("a".to_owned(), keyed(&"x".repeat(64)), false),
        ("a".to_owned(), keyed(&format!("example.com/{most}x")), false),
        ("a".to_owned(), keyed("a..b/near"), false),
        ("a".to_owned(), keyed("a.-b/x"), false),
        // The key of a name that an old schema took.
        ("x".repeat(64), spec(), false),
    ];
    check_rows(rows, |(name, spec, expected)| {
        let cache = cache(Duration::from_secs(60));
        cache.apply_database(cluster(&name, "1", spec.clone(), json!({"conditions": [condition("PrimaryKnown")]})));
        cache.publish();
        assert_eq!(cache.view().load().databases.contains_key(&*name), expected, "{name} {spec}");
    });
}

#[test]
fn a_database_that_the_controller_refuses_is_not_followed() {
    let mut refused = condition("Accepted");
    refused["status"] = json!("False");
    let cache = cache(Duration::from_secs(60));
    cache.apply_namespace(Event::Apply(as_object(
        json!({"metadata": {"name": "shop", "labels": {"switchover.dev/follow": "billing"}}}),
    )));
    let mut spec = keyed("switchover");
    spec["affinity"] = json!({"mode": "required"});
    let status = json!({"conditions": [condition("PrimaryKnown"), refused]});
    cache.apply_database(cluster("billing", "1", spec.clone(), status));
    cache.apply_database(cluster("default", "1", spec, json!({"conditions": [condition("PrimaryKnown")]})));
    cache.apply_node(kube_node("n1", "closely", "True", false));
    cache.publish();
    let decided = |follow: Option<&str>| {
        let pod = json!({"metadata": {"annotations": {"switchover.dev/follow": follow}}, "spec": {}}).to_string();
        let decision = cache.view().load().decide("shop", &serde_json::from_str(&pod).unwrap(), Instant::now());
        let told: Vec<String> = decision.warnings.iter().map(ToString::to_string).collect();
        (decision.verdict, told)
    };
    let told = "database billing is not followed: see its condition Accepted".to_owned();
    let none = Verdict::Skip(SkipReason::NotFollowing(NotFollowing::Refused));
    assert_eq!(decided(None), (none, vec![told.clone()]));
    let (Verdict::Inject(injection), warnings) = decided(Some("default,billing")) else { panic!("not injected") };
    assert_eq!(injection.summary, r#"[{"database":"default","mode":"required","epoch":0}]"#);
    assert_eq!(warnings, [told]);
}

#[test]
fn what_is_not_used_any_more_is_forgotten() {
    let cache = cache(Duration::from_secs(60));
    for number in 0..5 {
        cache.apply_database(cluster("default", "1", keyed(&format!("key-{number}")), Value::Null));
        cache.publish();
    }
    let keys: Vec<String> = cache.tables().summaries.keys().map(ToString::to_string).collect();
    assert_eq!(keys, ["key-4"]);

    cache.apply_database(cluster("broken", "1", json!({"discovery": 5}), Value::Null));
    cache.publish();
    assert_eq!((cache.0.metrics.confirmed("default"), cache.0.metrics.confirmed("broken")), (true, false));
    cache.apply_database(cluster("default", "2", json!({"discovery": 5}), Value::Null));
    cache.publish();
    assert!(!cache.0.metrics.confirmed("default"), "it can't be read any more");
}

#[tokio::test]
async fn facts_that_nobody_confirms_grow_stale_and_a_different_version_confirms_nothing() {
    let cache = cache(Duration::from_millis(200));
    let fresh = |cache: &Cache| {
        cache.publish();
        cache.view().load().databases["default"].fresh_until > Instant::now()
    };
    // Three watches that have listed once.
    for health in &cache.0.healths {
        let listed = || futures::stream::iter([Ok::<Event<KubeNode>, _>(Event::Init), Ok(Event::InitDone)]);
        watch::follow(listed, health.clone(), |_| {}).await;
    }
    cache.apply_database(cluster("default", "7", spec(), Value::Null));
    assert!(fresh(&cache));
    while fresh(&cache) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    cache.confirm_listed([("default".to_owned(), Some("8".to_owned()))].into_iter());
    assert!(!fresh(&cache), "the watch has not seen version 8 yet");
    cache.confirm_listed([("default".to_owned(), Some("7".to_owned())), ("gone".to_owned(), None)].into_iter());
    assert!(fresh(&cache));
}

#[test]
fn facts_that_no_controller_keeps_are_old_whoever_confirms_them() {
    let mut cache = cache(Duration::from_secs(3_600));
    Arc::get_mut(&mut cache.0).unwrap().heartbeat = Heartbeat::new(Instant::now() - Duration::from_secs(61));
    cache.apply_database(cluster("default", "7", spec(), json!({"conditions": [condition("PrimaryKnown")]})));
    let fresh = || {
        cache.publish();
        cache.view().load().databases["default"].fresh_until > Instant::now()
    };
    assert!(!fresh(), "no controller was seen for a minute");
    let lease = json!({
        "metadata": {"name": "switchover-controller"},
        "spec": {"holderIdentity": "a", "renewTime": "2026-11-27T12:00:00.000000Z", "leaseDurationSeconds": 10},
    });
    cache.apply_lease(Event::Apply(as_object(lease)));
    assert!(fresh());
}

#[test]
fn a_node_is_kept_with_all_its_labels_and_taints() {
    let Event::Apply(mut object) = kube_node("n1", "closely", "True", false) else { unreachable!() };
    let taint = json!([{"key": "gpu", "effect": "NoSchedule"}]);
    object.spec.as_mut().unwrap().taints = Some(as_object(taint));
    let (name, kept) = node(object);
    let kept = kept.unwrap();
    let expected = Taint { key: "gpu".into(), value: String::new(), effect: "NoSchedule".into() };
    assert_eq!(kept.taints(), [expected]);
    assert_eq!((name.as_str(), kept.tier("switchover"), kept.usable), ("n1", Tier::Closely, true));
}

#[tokio::test]
async fn a_pod_that_comes_right_after_its_namespace_waits_for_the_watch_to_tell_of_it() {
    let cache = cache(Duration::from_secs(60));
    let status = json!({"epoch": 4, "conditions": [condition("PrimaryKnown")]});
    cache.apply_database(cluster("default", "1", spec(), status));
    cache.publish();
    let metrics = WebhookMetrics::register(&mut crate::metrics::registry());
    let (notices, _told) = crate::cluster::Notices::channel();
    let handler = super::super::Handler::following(&cache, notices, metrics, &super::super::WebhookConfig::default());
    let ask = || {
        let handler = Arc::clone(&handler);
        async move {
            let review = crate::webhook::tests::review();
            handler.decide_alone(review.as_bytes(), Instant::now()).await.outcome.as_str()
        }
    };
    assert_eq!(ask().await, "skipped", "the namespace never comes");

    let asked = tokio::spawn(ask());
    // Another namespace is no news for it.
    for name in ["other", "shop"] {
        tokio::task::yield_now().await;
        cache.apply_namespace(Event::Apply(as_object(
            json!({"metadata": {"name": name, "labels": {"switchover.dev/follow": "default"}}}),
        )));
        cache.publish();
    }
    assert_eq!(asked.await.unwrap(), "injected");
}
