//! Whatever affinity a pod has: its own rules are only narrowed, twice is once, and the patch applies.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use serde::Serialize;
use switchover::core::affinity::{PrimaryBelief, laws::World};
use switchover_fuzz::Text;

/// A field that may be missing.
#[derive(Arbitrary, Serialize, Debug)]
#[serde(untagged)]
enum Maybe<T> {
    Absent,
    Null,
    There(T),
}

impl<T> Maybe<T> {
    fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

#[derive(Arbitrary, Serialize, Debug)]
struct Pod<'a> {
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    metadata: Maybe<Metadata<'a>>,
    spec: Spec<'a>,
}

#[derive(Arbitrary, Serialize, Debug)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    annotations: Maybe<Annotations<'a>>,
}

#[derive(Arbitrary, Serialize, Debug)]
struct Annotations<'a> {
    #[serde(rename = "switchover.dev/follow", skip_serializing_if = "Option::is_none")]
    follow: Option<Text<'a>>,
    #[serde(rename = "switchover.dev/affinity", skip_serializing_if = "Option::is_none")]
    affinity: Option<Text<'a>>,
    #[serde(rename = "switchover.dev/injected", skip_serializing_if = "Option::is_none")]
    injected: Option<Text<'a>>,
}

#[derive(Arbitrary, Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    node_selector: Maybe<BTreeMap<Text<'a>, Text<'a>>>,
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    affinity: Maybe<Affinity<'a>>,
}

#[derive(Arbitrary, Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Affinity<'a> {
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    node_affinity: Maybe<NodeAffinity<'a>>,
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    pod_affinity: Maybe<bool>,
}

#[derive(Arbitrary, Serialize, Debug)]
struct NodeAffinity<'a> {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Maybe::is_absent")]
    required: Maybe<NodeSelector<'a>>,
    #[serde(rename = "preferredDuringSchedulingIgnoredDuringExecution", skip_serializing_if = "Maybe::is_absent")]
    preferred: Maybe<Vec<PreferredTerm<'a>>>,
}

#[derive(Arbitrary, Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct NodeSelector<'a> {
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    node_selector_terms: Maybe<Vec<Term<'a>>>,
}

#[derive(Arbitrary, Serialize, Debug)]
struct PreferredTerm<'a> {
    weight: u8,
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    preference: Maybe<Term<'a>>,
}

#[derive(Arbitrary, Serialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Term<'a> {
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    match_expressions: Maybe<Vec<Requirement<'a>>>,
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    match_fields: Maybe<Vec<Requirement<'a>>>,
}

#[derive(Arbitrary, Serialize, Debug)]
struct Requirement<'a> {
    key: Text<'a>,
    operator: Operator<'a>,
    #[serde(skip_serializing_if = "Maybe::is_absent")]
    values: Maybe<Vec<Text<'a>>>,
}

#[derive(Arbitrary, Serialize, Debug)]
enum Operator<'a> {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    Gt,
    Lt,
    #[serde(untagged)]
    Other(&'a str),
}

fuzz_target!(|input: (Pod<'_>, u64, bool)| {
    let (pod, usable, known) = input;
    let primary = if known { PrimaryBelief::Known } else { PrimaryBelief::Unknown };
    World::new(usable, primary).holds(&serde_json::to_value(pod).expect("JSON"));
});
