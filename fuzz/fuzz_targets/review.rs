//! Whatever bytes are posted: allowed, with the uid of the request where one can be read; the patch applies, only
//! narrows, and is done once. And what is read of a pod is what serde_json reads.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::Value;
use switchover::{
    admission::{self, Failure, Outcome, View},
    core::affinity::{Namespace, Pod},
};
use switchover_fuzz::{WORLD, said, view};

static VIEW: LazyLock<View> = LazyLock::new(|| {
    let of = |affinity: &str| Namespace { affinity: Some(affinity.into()), ..WORLD.namespace.clone() };
    view([("shop", WORLD.namespace.clone()), ("near", of("required")), ("away", of("avoid-far"))])
});

/// A plain reading of the uid.
#[derive(Deserialize)]
struct Plain {
    request: PlainRequest,
}

#[derive(Deserialize)]
struct PlainRequest {
    uid: String,
}

fn plain_uid(bytes: &[u8]) -> Option<String> {
    // serde reads a list for a struct, too; a request that is one is none.
    let value: Value = serde_json::from_slice(bytes).ok()?;
    let uid = value.get("request")?.get("uid")?;
    let plain: Plain = serde_json::from_slice(bytes).ok()?;
    let short = (1..=128).contains(&plain.request.uid.len()) && plain.request.uid.bytes().all(|b| b.is_ascii_graphic());
    (*uid == plain.request.uid && short).then_some(plain.request.uid)
}

/// Both readers read the same of JSON, except that serde takes a list for an object.
fn same_pod(text: &[u8]) {
    let Ok(_) = serde_json::from_slice::<Value>(text) else { return };
    match (admission::json::from_slice::<Pod<'_>>(text), serde_json::from_slice::<Pod<'_>>(text)) {
        (Ok(ours), theirs) => assert_eq!(Ok(ours), theirs.map_err(|error| error.to_string())),
        (Err(error), Ok(theirs)) => assert!(text.contains(&b'['), "{error}, and not {theirs:?}"),
        (Err(_), Err(_)) => {}
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        same_pod(value["request"]["object"].to_string().as_bytes());
    }
    same_pod(bytes);
    for failure in [Failure::Body, Failure::TooLarge, Failure::Overloaded] {
        let _ = said(&admission::failed(bytes, failure));
    }
    let answer = admission::review(bytes, &VIEW, WORLD.now);
    assert_ne!(answer.outcome, Outcome::Failed(Failure::Panicked));
    let said = said(&answer);
    if let Some(uid) = plain_uid(bytes) {
        let said = said.as_ref().expect("an answer with the uid");
        assert_eq!(said.response["uid"], uid.as_str());
    }

    let Some(said) = said else { return };
    let Some(patch) = said.patch else { return };
    // What serde_json can't hold as a value (numbers that are too great, half of a surrogate pair) it reads past.
    let Ok(mut review) = serde_json::from_slice::<Value>(bytes) else { return };
    let object = &mut review["request"]["object"];
    *object = WORLD.applies(object, &patch, &said.summary);
    let again = admission::review(review.to_string().as_bytes(), &VIEW, WORLD.now);
    assert!(matches!(again.outcome, Outcome::Skipped(_)), "{:?} of {review}", again.outcome);
});
