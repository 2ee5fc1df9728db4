//! What the targets share: a world to decide in, words that mean something, and a look at an answer.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use serde::{Serialize, Serializer};
use serde_json::Value;
use switchover::{
    admission::{Answer, View},
    core::affinity::{Namespace, PrimaryBelief, laws::World},
};

/// Most characters of one warning.
pub const LONGEST_WARNING: usize = 120;

/// Both databases are known, and every node can take a pod.
pub static WORLD: LazyLock<World> = LazyLock::new(|| World::new(u64::MAX, PrimaryBelief::Known));

/// The view of the webhook: the world's databases, and these namespaces.
pub fn view(namespaces: impl IntoIterator<Item = (&'static str, Namespace)>) -> View {
    let databases = WORLD.databases.iter().map(|(name, database)| ((*name).into(), database.clone()));
    View {
        namespaces: Arc::new(
            namespaces.into_iter().map(|(name, facts)| (name.into(), facts)).collect::<HashMap<_, _>>(),
        ),
        databases: Arc::new(databases.collect()),
        own_namespace: "switchover-system".into(),
        ..View::default()
    }
}

/// Some text: often a word that means something somewhere.
#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Text<'a> {
    Word(u8),
    Any(&'a str),
}

const WORDS: [&str; 32] = [
    "",
    "none",
    "default",
    "orders",
    "gone",
    "default,orders",
    " orders , default",
    "orders,gone",
    "none,orders",
    ",",
    "preferred",
    "avoid-far",
    "required",
    " required ",
    "0",
    "1",
    "50",
    "+100",
    "101",
    "evict",
    "restart",
    "never",
    "switchover",
    "switchover.dev/orders",
    "zone",
    "closely",
    "intermediate",
    "far",
    "a",
    "b",
    "3",
    "metadata.name",
];

impl<'a> Text<'a> {
    pub fn text(self) -> &'a str {
        match self {
            Self::Word(number) => WORDS[usize::from(number) % WORDS.len()],
            Self::Any(text) => text,
        }
    }
}

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

/// What an answer says, after a look at what every answer must be.
pub struct Said {
    /// `response`.
    pub response: Value,
    /// The patch as JSON, if there is one.
    pub patch: Option<Vec<u8>>,
    /// The annotation that says what was injected; empty without a patch.
    pub summary: String,
}

/// `None` where the answer is one sentence, for want of a uid.
pub fn said(answer: &Answer) -> Option<Said> {
    if answer.content_type != "application/json" {
        assert!(answer.status >= 400 && answer.body.len() <= LONGEST_WARNING + 1, "{answer:?}");
        return None;
    }
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let response = body["response"].clone();
    assert!(body["apiVersion"].is_string() && body["kind"] == "AdmissionReview", "{body}");
    assert_eq!(response["allowed"], true, "{body}");
    let warnings = response["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    for warning in warnings {
        let warning = warning.as_str().expect("text");
        assert!(warning.chars().count() <= LONGEST_WARNING && !warning.chars().any(char::is_control), "{warning}");
    }
    let patch = response.get("patch").map(|patch| STANDARD.decode(patch.as_str().expect("text")).expect("base64"));
    assert_eq!(patch.is_some(), response.get("patchType").is_some_and(|kind| kind == "JSONPatch"), "{body}");
    let summary = response["auditAnnotations"]["injected"].as_str().unwrap_or_default().to_owned();
    assert_eq!(patch.is_some(), !summary.is_empty(), "{body}");
    Some(Said { response, patch, summary })
}
