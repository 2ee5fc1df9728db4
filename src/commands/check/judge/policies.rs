//! What the roles' accounts may do, and what forbids the rest.

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::ResourceExt;
use regex::Regex;
use serde_json::Value;

use crate::commands::check::{
    facts::{Asked, Facts},
    found::{Found, Mark},
    shipped,
};

/// Roles that components leave out on purpose, each with what doesn't work then.
const LEFT_OUT: [(&str, &str); 2] = [
    ("switchover-restarts", "pods are moved by eviction alone (deploy/components/without-restart leaves it out)"),
    (
        "switchover-certificates",
        "somebody else has to keep the webhook's certificates (deploy/components/certificates-apart, cert-manager)",
    ),
];

/// Of the roles' accounts: what they need, and what is too much.
fn of_roles(facts: &Facts, too_much: bool) -> Vec<(&'static str, &Asked)> {
    let all = facts.rights.iter().filter_map(|asked| Some((asked.role?, asked)));
    all.filter(|(role, asked)| shipped::too_much_for(role).contains(&asked.right) == too_much).collect()
}

fn nobody_asked() -> Found {
    Found::default().and(Mark::Unclear, "nobody was asked")
}

/// One sentence for all that can't be known.
fn unknown(found: &mut Found, all: &[(&'static str, &Asked)]) {
    if let Some(unseen) = all.iter().find_map(|(_, asked)| asked.allowed.as_ref().err()) {
        found.tell(Mark::Unclear, &*unseen.0);
    }
}

pub(in crate::commands::check) fn rights(facts: &Facts) -> Found {
    let all = of_roles(facts, false);
    if all.is_empty() {
        return nobody_asked();
    }
    let mut found = Found::right(format!("{} rights", all.len()));
    for (role, account) in facts.accounts.each() {
        let missing = || {
            all.iter().filter(|(of, asked)| *of == role && asked.allowed == Ok(false)).map(|(_, asked)| &asked.right)
        };
        let needed: Vec<_> = missing().filter(|right| LEFT_OUT.iter().all(|(by, _)| right.by != *by)).collect();
        found.tell_of(Mark::Wrong, &needed, |rights| format!("{account} may not {rights}"));
        for (by, then) in LEFT_OUT {
            let some: Vec<_> = missing().filter(|right| right.by == by).collect();
            found.tell_of(Mark::Warning, &some, |rights| format!("{account} may not {rights}: {then}"));
        }
    }
    unknown(&mut found, &all);
    found
}

pub(in crate::commands::check) fn no_more_rights(facts: &Facts) -> Found {
    let all = of_roles(facts, true);
    if all.is_empty() {
        return nobody_asked();
    }
    let mut found = Found::default();
    for (role, account) in facts.accounts.each() {
        let may = all.iter().filter(|(of, asked)| *of == role && asked.allowed == Ok(true));
        let rights: Vec<_> = may.map(|(_, asked)| &asked.right).collect();
        found.tell_of(Mark::Wrong, &rights, |rights| format!("{account} may {rights}"));
    }
    unknown(&mut found, &all);
    found
}

/// The policy of this name, as it is installed.
fn installed<'f>(policies: &'f [ValidatingAdmissionPolicy], name: &str) -> Option<&'f ValidatingAdmissionPolicy> {
    policies.iter().find(|it| shipped::is_named(&it.name_any(), name))
}

pub(in crate::commands::check) fn bound(facts: &Facts) -> Found {
    let (policies, bindings) = match (&facts.policies, &facts.bindings) {
        (Ok(policies), Ok(bindings)) => (policies, bindings),
        (Err(unseen), _) | (_, Err(unseen)) => return Found::unclear(unseen),
    };
    let shipped = shipped::policies();
    let mut found = Found::right(format!("{} policies", shipped.len()));
    for own in &shipped {
        let name = own["metadata"]["name"].as_str().unwrap_or_default();
        let Some(policy) = installed(policies, name) else {
            found.tell(Mark::Wrong, format!("the policy {name} is missing"));
            continue;
        };
        let name = policy.name_any();
        let action = shipped::action(own["metadata"]["name"].as_str().unwrap_or_default());
        match binding(bindings, &name) {
            None => {
                found.tell(Mark::Wrong, format!("the policy {name} is bound by nothing, so that it forbids nothing"))
            }
            Some(binding) => {
                let spec = binding.spec.clone().unwrap_or_default();
                if !spec.validation_actions.iter().flatten().any(|it| *it == action) {
                    found.tell(Mark::Wrong, format!("the binding {} doesn't {action}", binding.name_any()));
                }
                if spec.match_resources.is_some_and(|it| it != Default::default()) {
                    found.tell(
                        Mark::Wrong,
                        format!("the binding {} leaves some objects out by matchResources", binding.name_any()),
                    );
                }
            }
        }
        for what in differences(own, policy) {
            found.tell(Mark::Warning, format!("the policy {name} has {what} of its own, not this version's"));
        }
    }
    found
}

fn binding<'b>(
    bindings: &'b [ValidatingAdmissionPolicyBinding],
    policy: &str,
) -> Option<&'b ValidatingAdmissionPolicyBinding> {
    bindings.iter().find(|it| it.spec.as_ref().and_then(|spec| spec.policy_name.as_deref()) == Some(policy))
}

/// What is read of a policy that somebody may have changed; the API server fills in whatever else there is.
fn differences(own: &Value, policy: &ValidatingAdmissionPolicy) -> Vec<&'static str> {
    let theirs = serde_json::to_value(&policy.spec).unwrap_or_default();
    let expressions = |spec: &Value, part: &str| -> Vec<String> {
        let all = spec[part].as_array().into_iter().flatten();
        all.map(|it| in_one_line(it["expression"].as_str().unwrap_or_default())).collect()
    };
    let mut differences = Vec::new();
    for part in ["matchConditions", "variables", "validations"] {
        if expressions(&own["spec"], part) != expressions(&theirs, part) {
            differences.push(part);
        }
    }
    if own["spec"]["failurePolicy"] != theirs["failurePolicy"] {
        differences.push("a failurePolicy");
    }
    differences
}

fn in_one_line(expression: &str) -> String {
    expression.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A policy that is about an account by name says nothing where the account has another one.
pub(in crate::commands::check) fn accounts(facts: &Facts) -> Found {
    let policies = match &facts.policies {
        Ok(policies) => policies,
        Err(unseen) => return Found::unclear(unseen),
    };
    let mut found = Found::default();
    let mut matched = 0;
    for own in shipped::policies() {
        let name = own["metadata"]["name"].as_str().unwrap_or_default();
        let Some(policy) = installed(policies, name) else { continue };
        let theirs = serde_json::to_value(&policy.spec).unwrap_or_default();
        for (role, account) in facts.accounts.each() {
            let shipped_name = format!("system:serviceaccount:{}:switchover-{role}", facts.namespace);
            let user = format!("system:serviceaccount:{}:{account}", facts.namespace);
            if !names(&own["spec"], &shipped_name) {
                continue;
            }
            if names(&theirs, &user) {
                matched += 1;
            } else {
                found.tell(
                    Mark::Wrong,
                    format!("the policy {} isn't about {user}, so that it forbids it nothing", policy.name_any()),
                );
            }
        }
    }
    found.detail = format!("{matched} policies name the accounts of {}", facts.namespace);
    found
}

/// Whether a condition of the policy asks for the user's name, and this one is it.
fn names(spec: &Value, user: &str) -> bool {
    let conditions = spec["matchConditions"].as_array().into_iter().flatten();
    let expressions = conditions.filter_map(|it| it["expression"].as_str());
    expressions.filter(|it| it.contains("request.userInfo.username")).any(|expression| {
        let pattern = expression.split_once(".matches('").and_then(|(_, rest)| rest.split('\'').next());
        let matches = pattern.is_some_and(|it| Regex::new(it).is_ok_and(|it| it.is_match(user)));
        // Written down as it is, without a pattern.
        matches || expression.contains(&format!("'{user}'"))
    })
}
