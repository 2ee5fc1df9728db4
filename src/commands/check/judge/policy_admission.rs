//! Whether the admission policy injects, beside the webhook or in its place, and whom it leaves alone.

use kube::{ResourceExt, core::DynamicObject};
use serde_json::Value;

use super::{follows, webhook};
use crate::{
    admission::policy,
    api::{keys, read},
    commands::check::{
        facts::Facts,
        found::{Found, Mark},
        shipped,
    },
};

/// The policy of this installation, if there is one.
fn installed(facts: &Facts) -> Option<&DynamicObject> {
    facts.injecting.as_ref().ok()?.policies.iter().find(|it| shipped::is_named(&it.name_any(), policy::NAME))
}

/// Its bindings, each with the database that it names.
fn bindings<'f>(facts: &'f Facts, policy: &str) -> Vec<(&'f DynamicObject, &'f str)> {
    let all = facts.injecting.iter().flat_map(|injecting| &injecting.bindings);
    let own = all.filter(|it| it.data["spec"]["policyName"] == policy);
    own.filter_map(|it| Some((it, it.data.pointer("/spec/paramRef/name")?.as_str()?))).collect()
}

/// Whether pods are injected by the policy, at least those of some database.
pub(super) fn injects(facts: &Facts) -> bool {
    installed(facts).is_some_and(|policy| !bindings(facts, &policy.name_any()).is_empty())
}

/// What a policy says, less the schedulers that it knows and what the API server fills in.
fn says(spec: &Value) -> Vec<String> {
    let expressions =
        ["matchConditions", "variables"].into_iter().flat_map(|list| spec[list].as_array().into_iter().flatten());
    let named = expressions.filter(|it| it["name"] != "of-a-known-scheduler");
    let mutations = spec["mutations"].as_array().into_iter().flatten().map(|it| &it["jsonPatch"]["expression"]);
    let all =
        named.map(|it| &it["expression"]).chain(mutations).chain([&spec["failurePolicy"], &spec["reinvocationPolicy"]]);
    all.map(|text| text.as_str().unwrap_or_default().split_whitespace().collect()).collect()
}

pub(in crate::commands::check) fn judge(facts: &Facts) -> Found {
    if let Err(unseen) = &facts.injecting {
        return Found::unclear(unseen);
    }
    let Some(policy) = installed(facts) else { return Found::skipped("there is none: the webhook injects") };
    let name = policy.name_any();
    let mut found = Found::default();
    if says(&policy.data["spec"]) != says(&policy::policy(&[])["spec"]) {
        found.tell(Mark::Warning, format!("{name} isn't that of this version"));
    }
    let bindings = bindings(facts, &name);
    let (databases, namespaces) = match (&facts.databases, &facts.namespaces) {
        (Ok(databases), Ok(namespaces)) => (databases, namespaces),
        (Err(unseen), _) | (_, Err(unseen)) => return found.and(Mark::Unclear, &*unseen.0),
    };
    let in_vain: Vec<String> = bindings
        .iter()
        .filter(|(_, database)| databases.iter().all(|it| it.name_any() != *database))
        .map(|(binding, database)| format!("{} binds {database}", binding.name_any()))
        .collect();
    found.tell_of(Mark::Warning, &in_vain, |bindings| format!("there is no such DatabaseCluster: {bindings}"));

    // Where the webhook is asked, too, it does what the policy can't.
    let alone = webhook(facts).is_none();
    let bad = if alone { Mark::Wrong } else { Mark::Warning };
    let (mut unbound, mut otherwise) = (Vec::new(), Vec::new());
    for namespace in namespaces.iter().filter(|it| follows(facts, it)) {
        let label = read::opt_in(&namespace.metadata).unwrap_or_default();
        if label != keys::FOLLOW_NONE && bindings.iter().all(|(_, database)| *database != label) {
            unbound.push(format!("{} follows {label}", namespace.name_any()));
        }
        let says = namespace.annotations().get(keys::FOLLOW).map(|text| text.trim());
        if label == keys::FOLLOW_NONE || says.is_some_and(|says| says != label && says != keys::FOLLOW_NONE) {
            otherwise.push(namespace.name_any());
        }
    }
    found.tell_of(bad, &unbound, |names| format!("no binding is for the database of {names}"));
    if alone {
        found.tell_of(Mark::Warning, &otherwise, |names| {
            format!("a policy injects for the database of a namespace's label alone, and pods there follow others by annotations: {names}")
        });
    }
    let mut bound: Vec<&str> = bindings.iter().map(|(_, database)| *database).collect();
    bound.sort_unstable();
    found.detail =
        format!("{}{}", bound.join(", "), if alone { "; there is no webhook" } else { "; beside the webhook" });
    found
}
