//! The reviews that a real API server sent (tests/fixtures/reviews, made by `make reviews`), each in every mode: what is
//! decided, that the patch applies, only narrows, and is done once, also after another webhook.

use std::{collections::BTreeMap, time::Instant};

use arc_swap::ArcSwap;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::super::*;
use crate::{
    admission::{Outcome, tests as reviews},
    core::{
        affinity::{Node, SkipReason, TierSummary, laws::allowed},
        follow::AffinityMode,
    },
};

const MODES: [AffinityMode; 3] = [AffinityMode::Preferred, AffinityMode::AvoidFar, AffinityMode::Required];

/// What is decided on each recording in the three modes: the mode that was injected, or why nothing was.
const EXPECTED: &[(&str, [&str; 3])] = &[
    ("already-preferred", ["already_right", "avoid-far", "required"]),
    ("already-required", ["preferred", "avoid-far", "already_right"]),
    ("bare", ASKED),
    ("bare-binding", ["not_pod_creation"; 3]),
    ("bare-ephemeralcontainers", ["not_pod_creation"; 3]),
    ("bare-eviction", ["not_pod_creation"; 3]),
    ("bare-resize", ["not_pod_creation"; 3]),
    ("cronjob", ASKED),
    ("daemonset", ["daemon_set"; 3]),
    ("deployment", ASKED),
    ("dry-run", ASKED),
    ("empty-affinity", ASKED),
    ("empty-node-affinity", ASKED),
    ("gated", ASKED),
    ("gated-update", ["not_pod_creation"; 3]),
    ("generate-name", ASKED),
    ("job", ASKED),
    ("large-env", ASKED),
    ("mirror", ["mirror"; 3]),
    ("node-name", ["node_name_set"; 3]),
    ("node-selector", ASKED),
    ("node-selector-far", SOFTENED),
    ("opted-out", ["opted_out"; 3]),
    ("other-scheduler", ["other_scheduler"; 3]),
    ("other-scheduler-opted-in", ASKED),
    ("pod-affinity", ASKED),
    ("preferred", ASKED),
    ("replicationcontroller", ASKED),
    ("required-and-preferred", ASKED),
    // No node is left by its own rules: nothing is required on top.
    ("required-empty-term", SOFTENED),
    ("required-far", SOFTENED),
    ("required-fields", ASKED),
    ("required-no-terms", SOFTENED),
    ("required-one-term", ASKED),
    ("required-several-terms", ASKED),
    ("statefulset", ASKED),
    ("tolerations", ASKED),
    ("windows", ["windows"; 3]),
    ("wrong-values", ASKED),
];
const ASKED: [&str; 3] = ["preferred", "avoid-far", "required"];
const SOFTENED: [&str; 3] = ["preferred"; 3];

/// The recordings by name, as they lie there.
fn recorded() -> BTreeMap<String, String> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reviews");
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    let name = |path: &PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| (name(&path), std::fs::read_to_string(&path).unwrap()))
        .collect()
}

/// A node of each tier.
fn nodes() -> Vec<Arc<Node>> {
    [
        ("n1", vec![("switchover", "closely"), ("zone", "dc1"), ("disk", "ssd"), ("cpus", "8")]),
        ("n2", vec![("switchover", "intermediate"), ("zone", "dc2"), ("disk", "ssd")]),
        ("n3", vec![("switchover", "far"), ("zone", "dc3"), ("cpus", "8")]),
        ("n4", vec![("zone", "dc1")]),
    ]
    .map(|(name, labels)| Arc::new(Node::new(name, true, labels)))
    .to_vec()
}

/// The real handler, where the namespace of the recordings follows in this mode.
fn handler(mode: AffinityMode, now: Instant) -> Arc<Handler> {
    let mut view = reviews::view(now);
    for database in Arc::make_mut(&mut view.databases).values_mut() {
        database.nodes = TierSummary::new(&nodes(), "switchover").into();
    }
    for namespace in Arc::make_mut(&mut view.namespaces).values_mut() {
        namespace.affinity = Some(mode.as_str().into());
    }
    let metrics = WebhookMetrics::register(&mut crate::metrics::registry());
    Handler::new(Arc::new(ArcSwap::from_pointee(view)), metrics, &WebhookConfig::default())
}

/// One answer: allowed, with the request's uid; the outcome, and the patched object where there is a patch.
async fn ask(handler: &Handler, review: &str, now: Instant) -> (Outcome, Value, Option<Value>) {
    let sent: Value = serde_json::from_str(review).unwrap();
    let answer = handler.decide_alone(review.as_bytes(), now).await;
    let body: Value = serde_json::from_slice(&answer.body).unwrap();
    let response = &body["response"];
    assert_eq!((answer.status, &body["kind"], &body["apiVersion"]), (200, &sent["kind"], &sent["apiVersion"]));
    assert_eq!((&response["uid"], &response["allowed"]), (&sent["request"]["uid"], &json!(true)));
    assert_eq!(response.get("patch").is_some(), answer.outcome == Outcome::Injected);
    let patched = response["patch"].as_str().map(|patch| {
        let patch: json_patch::Patch = serde_json::from_slice(&STANDARD.decode(patch).unwrap()).unwrap();
        let mut object = sent["request"]["object"].clone();
        json_patch::patch(&mut object, &patch).expect("a patch applies to the object that it was made for");
        object
    });
    (answer.outcome, response.clone(), patched)
}

fn with_object(review: &str, object: &Value) -> String {
    let mut review: Value = serde_json::from_str(review).unwrap();
    review["request"]["object"] = object.clone();
    review.to_string()
}

/// Adds what other webhooks add: a container, an annotation, a preference, and an alternative to the required terms.
fn by_another_webhook(object: &Value) -> Value {
    let mut object = object.clone();
    let spec = &mut object["spec"];
    spec["containers"].as_array_mut().unwrap().insert(0, json!({"name": "sidecar", "image": "example.org/proxy:1"}));
    let affinity = &mut spec["affinity"]["nodeAffinity"];
    let disk = json!({"matchExpressions": [{"key": "disk", "operator": "Exists"}]});
    for (path, added) in [
        ("preferredDuringSchedulingIgnoredDuringExecution", json!({"weight": 3, "preference": disk})),
        ("requiredDuringSchedulingIgnoredDuringExecution", disk),
    ] {
        let mut list = &mut affinity[path];
        if path.starts_with("required") {
            list = &mut list["nodeSelectorTerms"];
        }
        match list {
            Value::Array(list) => list.push(added),
            absent => *absent = json!([added]),
        }
    }
    object["metadata"]["annotations"]["example.com/sidecar"] = "injected".into();
    object
}

#[tokio::test]
async fn each_recorded_review_gets_the_answer_that_the_table_says() {
    let now = Instant::now();
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mode in MODES {
        let handler = handler(mode, now);
        for (name, review) in recorded() {
            let (outcome, response, _) = ask(&handler, &review, now).await;
            let injected = response["auditAnnotations"]["injected"].as_str().unwrap_or("[]");
            let injected: Value = serde_json::from_str(injected).unwrap();
            let decided = injected[0]["mode"].as_str().unwrap_or(outcome.reason()).to_owned();
            seen.entry(name).or_default().push(decided);
        }
    }
    let expected = EXPECTED.iter().map(|(name, modes)| ((*name).to_owned(), modes.map(str::to_owned).to_vec()));
    assert_eq!(seen, expected.collect::<BTreeMap<_, _>>());
}

#[tokio::test]
async fn a_patch_of_a_recorded_review_only_narrows_and_is_done_once_also_after_another_webhook() {
    let (now, nodes) = (Instant::now(), nodes());
    let again = Outcome::Skipped(SkipReason::AlreadyInjected);
    let narrowed = |before: &Value, after: &Value| {
        let (own, left) = (allowed(before, &nodes), allowed(after, &nodes));
        left.iter().all(|node| own.contains(node))
    };
    for mode in MODES {
        let handler = handler(mode, now);
        for (name, review) in recorded() {
            let what = format!("{name} in mode {}", mode.as_str());
            let own: Value = serde_json::from_str::<Value>(&review).unwrap()["request"]["object"].clone();
            let Some(patched) = ask(&handler, &review, now).await.2 else { continue };
            assert!(narrowed(&own, &patched), "{what} was loosened: {patched}");
            assert_eq!(ask(&handler, &with_object(&review, &patched), now).await.0, again, "{what}");

            // Reinvocation: the API server asks again when a later webhook changed the pod.
            let theirs = by_another_webhook(&patched);
            let (_, _, reinvoked) = ask(&handler, &with_object(&review, &theirs), now).await;
            let reinvoked = reinvoked.unwrap_or_else(|| theirs.clone());
            assert!(narrowed(&theirs, &reinvoked), "{what} was loosened after another webhook: {reinvoked}");
            assert_eq!(ask(&handler, &with_object(&review, &reinvoked), now).await.0, again, "{what}, reinvoked");
        }
    }
}
