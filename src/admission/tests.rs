use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use lab::table::check_rows;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::{
    affinity::{Database, Namespace, Node, PrimaryBelief, TierSummary},
    follow::{AffinityMode, DatabaseDefaults, MoveMode, NotFollowing, Weight},
    label_key::LabelKey,
};

pub(crate) fn view(now: Instant) -> View {
    let nodes = [Arc::new(Node::new("n1", true, [("switchover", "closely")]))];
    let database = Database {
        defaults: DatabaseDefaults {
            node_label: LabelKey::read("switchover").unwrap(),
            mode: AffinityMode::Preferred,
            weight: Weight::default(),
            move_mode: MoveMode::Evict,
        },
        primary: PrimaryBelief::Known,
        epoch: 1,
        fresh_until: now + Duration::from_secs(60),
        nodes: TierSummary::new(&nodes, "switchover").into(),
    };
    let namespace = Namespace { label: Some("default".into()), ..Namespace::default() };
    View {
        namespaces: Arc::new(HashMap::from([("shop".into(), namespace)])),
        databases: Arc::new(HashMap::from([("default".into(), database)])),
        own_namespace: "switchover-system".into(),
        ..View::default()
    }
}

pub(crate) fn request(namespace: &str, object: Value) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller", "uid": "other"},
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        },
    })
}

pub(crate) fn pod() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"generateName": "web-5d8-", "creationTimestamp": null, "labels": {"app": "web"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8", "uid": "r", "controller": true}]},
        "spec": {"containers": [{"name": "web", "image": "web", "env": [{"name": "A", "value": "x\"\\\n"}]}], "tolerations": []},
    })
}

fn ask(bytes: &[u8]) -> (Answer, Value) {
    let now = Instant::now();
    let answer = review(bytes, &view(now), now);
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    (answer, body)
}

fn changed(path: &str, value: Value) -> Value {
    let mut request = request("shop", pod());
    *request.pointer_mut(path).unwrap() = value;
    request
}

fn with_affinity(affinity: Value) -> Value {
    let mut pod = pod();
    pod["spec"]["affinity"] = affinity;
    request("shop", pod)
}

pub(crate) const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";

#[test]
fn a_pod_of_an_opted_in_namespace_gets_a_patch_that_applies() {
    let (answer, body) = ask(request("shop", pod()).to_string().as_bytes());
    assert_eq!((answer.status, answer.outcome, answer.content_type), (200, Outcome::Injected, "application/json"));
    assert_eq!((&body["apiVersion"], &body["kind"]), (&json!("admission.k8s.io/v1"), &json!("AdmissionReview")));
    let response = &body["response"];
    assert_eq!((&response["uid"], &response["allowed"]), (&json!(UID), &json!(true)));
    assert_eq!(response["patchType"], "JSONPatch");
    assert_eq!(response["auditAnnotations"]["outcome"], "injected");
    assert!(response.get("warnings").is_none() && response.get("status").is_none());

    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut patched = pod();
    json_patch::patch(&mut patched, &patch).unwrap();
    assert!(patched.pointer("/spec/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution/1").is_some());

    let (again, body) = ask(request("shop", patched).to_string().as_bytes());
    assert_eq!(again.outcome, Outcome::Skipped(SkipReason::AlreadyInjected));
    assert!(body["response"].get("patch").is_none() && body["response"].get("patchType").is_none());
}

#[test]
fn everything_else_is_allowed_as_it_is_with_its_own_uid() {
    let not_opted_in = SkipReason::NotFollowing(NotFollowing::NotOptedIn);
    let rows = [
        (request("elsewhere", pod()), not_opted_in),
        (request("kube-system", pod()), SkipReason::SystemNamespace),
        (request("switchover-system", pod()), SkipReason::SystemNamespace),
        (changed("/request/operation", json!("UPDATE")), SkipReason::NotPodCreation),
        (changed("/request/resource/resource", json!("deployments")), SkipReason::NotPodCreation),
        (changed("/request/resource/group", json!("example.com")), SkipReason::NotPodCreation),
        (changed("/request/object", Value::Null), SkipReason::NotPodCreation),
        (changed("/request/object/spec", Value::Null), SkipReason::NoSpec),
        (
            {
                let mut request = request("shop", pod());
                request["request"]["subResource"] = json!("ephemeralcontainers");
                request
            },
            SkipReason::NotPodCreation,
        ),
    ];
    check_rows(rows, |(request, reason)| {
        let (answer, body) = ask(request.to_string().as_bytes());
        assert_eq!((answer.status, answer.outcome), (200, Outcome::Skipped(reason)), "{request}");
        assert_eq!((&body["response"]["uid"], &body["response"]["allowed"]), (&json!(UID), &json!(true)));
        assert!(body["response"].get("patch").is_none());
    });
}

#[test]
fn a_dry_run_gets_the_same_answer() {
    let (answer, _) = ask(changed("/request/dryRun", json!(true)).to_string().as_bytes());
    assert_eq!(answer.outcome, Outcome::Injected);
}

#[test]
fn wrong_values_are_warned_about_and_stop_nothing() {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({"switchover.dev/affinity": "soft", "switchover.dev/weight": "0"});
    let (answer, body) = ask(request("shop", pod).to_string().as_bytes());
    assert_eq!(answer.outcome, Outcome::Injected);
    assert_eq!(answer.subject.unwrap().to_string(), "shop/ReplicaSet web-5d8");
    assert_eq!(
        body["response"]["warnings"],
        json!([
            "pod annotation switchover.dev/affinity \"soft\": write preferred, avoid-far or required",
            "pod annotation switchover.dev/weight \"0\": write a weight of 1 to 100",
        ])
    );

    let many: Vec<String> = (0..30).map(|n| format!("db{n}")).collect();
    let mut pod = super::tests::pod();
    pod["metadata"]["annotations"] =
        json!({"switchover.dev/follow": many.join(","), "switchover.dev/affinity": "soft"});
    let (_, body) = ask(request("shop", pod).to_string().as_bytes());
    let warnings = body["response"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 9);
    assert!(warnings.iter().all(|warning| warning.as_str().unwrap().chars().count() <= 120));
}

#[test]
fn warnings_are_about_the_controller_or_else_about_the_pod() {
    let wrong = json!({"switchover.dev/weight": "0"});
    let subject = |metadata: Value, dry_run: bool| {
        let mut request = request("shop", pod());
        request["request"]["object"]["metadata"] = metadata;
        request["request"]["object"]["metadata"]["annotations"] = wrong.clone();
        request["request"]["dryRun"] = dry_run.into();
        *ask(request.to_string().as_bytes()).0.subject.unwrap()
    };
    let expected = |api_version: &str, kind: &str, name: &str, uid: &str| Subject {
        namespace: "shop".into(),
        api_version: api_version.into(),
        kind: kind.into(),
        name: name.into(),
        uid: uid.into(),
        dry_run: false,
    };
    let owner = |kind: &str, controller: bool| json!({"apiVersion": "apps/v1", "kind": kind, "name": "web-5d8", "uid": "r", "controller": controller});
    let owned =
        json!({"generateName": "web-5d8-", "ownerReferences": [owner("Other", false), owner("ReplicaSet", true)]});
    assert_eq!(subject(owned.clone(), false), expected("apps/v1", "ReplicaSet", "web-5d8", "r"));
    assert_eq!(subject(owned, true), Subject { dry_run: true, ..expected("apps/v1", "ReplicaSet", "web-5d8", "r") });
    assert_eq!(subject(json!({"name": "one", "generateName": "two-"}), false), expected("v1", "Pod", "one", ""));
    assert_eq!(subject(json!({"generateName": "two-"}), false), expected("v1", "Pod", "two", ""));
    let endless = subject(json!({"name": "x".repeat(100_000)}), false);
    assert_eq!(endless.name.len(), 253);
}

#[test]
fn what_cannot_be_read_is_allowed_with_its_uid_where_there_is_one() {
    let whole = request("shop", pod()).to_string();
    let old = changed("/apiVersion", json!("admission.k8s.io/v1beta1")).to_string();
    let odd_pod = changed("/request/object/spec", json!("not a spec")).to_string();
    let deep =
        whole.replace(r#""tolerations":[]"#, &format!(r#""tolerations":{}{}"#, "[".repeat(10_000), "]".repeat(10_000)));
    let twice = whole.replacen(r#""operation":"CREATE""#, r#""operation":"CREATE","operation":"UPDATE""#, 1);
    // serde_json writes keys in alphabetical order; the API server writes the uid first.
    let first =
        format!(r#"{{"kind":"AdmissionReview","apiVersion":"{API_VERSION}","request":{{"uid":"{UID}","kind":{{"gro"#);
    let failed = |failure| Outcome::Failed(failure);
    check_rows(
        [
            (old.as_bytes(), 400, failed(Failure::Version)),
            (odd_pod.as_bytes(), 200, failed(Failure::Unreadable)),
            (deep.as_bytes(), 200, Outcome::Injected),
            (twice.as_bytes(), 200, failed(Failure::Unreadable)),
            (first.as_bytes(), 200, failed(Failure::Unreadable)),
            // serde takes lists for objects; what a patch adds to them would fail the pod's creation.
            (changed("/request/object/spec", json!([])).to_string().as_bytes(), 200, failed(Failure::Unreadable)),
            (with_affinity(json!([])).to_string().as_bytes(), 200, failed(Failure::Unreadable)),
            (with_affinity(json!({"nodeAffinity": []})).to_string().as_bytes(), 200, failed(Failure::Unreadable)),
            // The uid is the request's, whatever stands before it.
            (
                br#"{"apiVersion":1,"uid":"u","request":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002"}}"#,
                200,
                failed(Failure::Unreadable),
            ),
            (
                br#"{"apiVersion":1,"x":"uid","request":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002"}}"#,
                200,
                failed(Failure::Unreadable),
            ),
        ],
        |(bytes, status, outcome)| {
            let (answer, body) = ask(bytes);
            assert_eq!((answer.status, answer.outcome), (status, outcome), "{}", String::from_utf8_lossy(&answer.body));
            assert_eq!((&body["response"]["uid"], &body["response"]["allowed"]), (&json!(UID), &json!(true)));
        },
    );
    let (_, body) = ask(old.as_bytes());
    assert_eq!(body["apiVersion"], "admission.k8s.io/v1beta1");
    assert_eq!(body["response"]["status"]["message"], Failure::Version.sentence());

    let rows = [
        &b""[..],
        b"{",
        b"null",
        b"[]",
        b"hello",
        b"{\"request\":{}}",
        &[0xff, 0xfe, 0],
        b"{\"request\":{\"uid\":\"\"}}",
    ];
    check_rows(rows, |bytes| {
        let (answer, body) = ask(bytes);
        assert_eq!((answer.status, answer.outcome), (400, failed(Failure::Unreadable)), "{bytes:?}");
        assert_eq!(body, Value::Null);
        assert!(answer.body.ends_with(b"\n"));
    });
}

#[test]
fn a_pod_that_might_grow_too_large_is_left_as_it_is_and_no_answer_is_large() {
    for (size, outcome) in [(1_390_000, Outcome::Injected), (1_400_001, Outcome::Skipped(SkipReason::TooLarge))] {
        let mut pod = pod();
        pod["metadata"]["annotations"] = json!({"switchover.dev/affinity": "avoid-far"});
        let term = json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]});
        let required = json!({"nodeSelectorTerms": vec![term; 20_000]});
        pod["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
        let mut request = request("shop", pod);
        request["request"]["object"]["spec"]["padding"] = json!("");
        let missing = size - request.to_string().len();
        request["request"]["object"]["spec"]["padding"] = json!("x".repeat(missing));
        let (answer, _) = ask(request.to_string().as_bytes());
        assert_eq!(answer.outcome, outcome);
        assert!(answer.body.len() < 64 * 1024, "{} bytes", answer.body.len());
    }
}

#[test]
fn what_a_log_says_of_a_pod_is_one_line_of_plain_text() {
    let mut pod = pod();
    pod["metadata"]["annotations"] = json!({"switchover.dev/weight": "much"});
    let forged = "x\n2026-12-01T00:00:00Z  INFO caches are filled \u{1b}[2J\u{202e}";
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1\r", "kind": "Replica\tSet", "name": forged, "uid": "u\u{7}", "controller": true}]);
    let (answer, _) = ask(request("shop", pod).to_string().as_bytes());
    let subject = answer.subject.expect("a warning");
    assert_eq!(subject.to_string(), "shop/Replica?Set x?2026-12-01T00:00:00Z  INFO caches are filled ?[2J?");
    assert_eq!((&*subject.api_version, &*subject.uid), ("apps/v1?", "u?"));
}

#[test]
fn every_sentence_fits_a_warning() {
    for failure in [
        Failure::Unreadable,
        Failure::Version,
        Failure::TooLarge,
        Failure::MediaType,
        Failure::Body,
        Failure::Overloaded,
        Failure::Panicked,
    ] {
        assert!(failure.sentence().len() <= 120);
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (answer, _) = ask(&bytes);
        prop_assert_ne!(answer.outcome, Outcome::Failed(Failure::Panicked));
    }

    #[test]
    fn however_a_review_is_damaged_the_answer_allows_it(cut in 0..2000usize, at in 0..2000usize, byte in any::<u8>()) {
        let mut bytes = request("shop", pod()).to_string().into_bytes();
        let length = bytes.len();
        bytes[at % length] = byte;
        bytes.truncate(length - cut % length);
        let (answer, body) = ask(&bytes);
        prop_assert_ne!(answer.outcome, Outcome::Failed(Failure::Panicked));
        prop_assert!(answer.status >= 400 || body["response"]["allowed"] == json!(true));
    }
}
