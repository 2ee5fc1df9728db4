//! Whether pods are injected, and whether that could ever stop one.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use super::{follows, policy_admission, webhook};
use crate::{
    api::{keys, read},
    certificates::served,
    commands::check::{
        facts::{Came, Facts},
        found::{Found, Mark},
        shipped,
    },
    commands::lines::age,
    core::{rotation::Validity, selector::Selector},
    index,
};

fn selector(value: &Value) -> Selector {
    index::selector(serde_json::from_value(value.clone()).ok().or_else(|| Some(Default::default())))
}

pub(in crate::commands::check) fn configuration(facts: &Facts) -> Found {
    if let Err(unseen) = &facts.configurations {
        return Found::unclear(unseen);
    }
    let Some((name, webhook)) = webhook(facts) else {
        if policy_admission::injects(facts) {
            return Found::skipped("there is none: the admission policy injects");
        }
        return Found::wrong("no MutatingWebhookConfiguration of switchover is there, so that no pod is injected");
    };
    let theirs = serde_json::to_value(webhook).unwrap_or_default();
    let own = shipped::configuration()["webhooks"][0].take();
    let mut found = Found::right(name);
    if theirs["failurePolicy"] != own["failurePolicy"] {
        found.tell(
            Mark::Wrong,
            format!(
                "{name}: failurePolicy is {}: no pod can be created while the webhook is away",
                theirs["failurePolicy"]
            ),
        );
    }
    if theirs["timeoutSeconds"].as_i64() > Some(2) {
        found.tell(Mark::Warning, format!("{name}: a pod may wait {} s for the webhook", theirs["timeoutSeconds"]));
    }
    let asks = |rule: &Value| {
        let has =
            |key: &str, value: &str| rule[key].as_array().into_iter().flatten().any(|it| it == value || it == "*");
        has("operations", "CREATE") && has("resources", "pods") && has("apiGroups", "") && has("apiVersions", "v1")
    };
    if !theirs["rules"].as_array().into_iter().flatten().any(asks) {
        found.tell(Mark::Wrong, format!("{name}: the webhook isn't asked about pods that are created"));
    }
    // An empty one leaves nobody out.
    if !selector(&theirs["objectSelector"]).expressions.is_empty() {
        found
            .tell(Mark::Wrong, format!("{name}: pods are left out by an objectSelector: {}", theirs["objectSelector"]));
    }
    if theirs["sideEffects"] != own["sideEffects"] {
        found.tell(Mark::Warning, format!("{name}: sideEffects is {}", theirs["sideEffects"]));
    }
    let expressions = |webhook: &Value| -> BTreeSet<String> {
        let all = webhook["matchConditions"].as_array().into_iter().flatten();
        all.map(|it| it["expression"].as_str().unwrap_or_default().split_whitespace().collect()).collect()
    };
    if expressions(&theirs) != expressions(&own) {
        found.tell(Mark::Warning, format!("{name}: its matchConditions aren't this version's"));
    }
    if webhook.client_config.ca_bundle.as_ref().is_none_or(|bundle| bundle.0.is_empty()) {
        found.tell(Mark::Wrong, format!("{name}: it has no caBundle, so that the API server believes no replica"));
    }
    match &facts.namespaces {
        Err(unseen) => found.tell(Mark::Unclear, &*unseen.0),
        Ok(namespaces) => {
            let selects = selector(&theirs["namespaceSelector"]);
            let (meant, not_meant): (Vec<_>, Vec<_>) = namespaces.iter().partition(|it| follows(facts, it));
            let left_out = meant.into_iter().filter(|it| !selects.matches(it.labels())).map(ResourceExt::name_any);
            let left_out: Vec<String> = left_out.collect();
            found.tell_of(Mark::Wrong, &left_out, |names| {
                format!("{name}: its namespaceSelector leaves out namespaces that follow: {names}")
            });
            let taken = not_meant.into_iter().filter(|it| selects.matches(it.labels())).map(ResourceExt::name_any);
            let taken: Vec<String> = taken.collect();
            found.tell_of(Mark::Warning, &taken, |names| {
                format!("{name}: the webhook is asked about pods of namespaces that it leaves alone: {names}")
            });
        }
    }
    found
}

pub(in crate::commands::check) fn certificates(facts: &Facts) -> Found {
    if let Err(unseen) = &facts.configurations {
        return Found::unclear(unseen);
    }
    let Some((_, webhook)) = webhook(facts) else { return Found::skipped("there is no configuration of the webhook") };
    let bundle = webhook.client_config.ca_bundle.as_ref().map_or(&[][..], |bundle| &bundle.0);
    let authorities = served::authorities(bundle);
    let by_url = webhook.client_config.url.as_deref().and_then(crate::discover::patroni::host_of);
    let (service, namespace) = match (&webhook.client_config.service, &by_url) {
        (Some(service), _) => (&*service.name, &*service.namespace),
        (None, Some(host)) => (&**host, &*facts.namespace),
        (None, None) => return Found::wrong("the configuration names neither a Service nor a URL"),
    };
    let mut found = Found::default();
    let mut believed = Vec::new();
    for shown in &facts.certificates {
        let by = &shown.by;
        match &shown.chain {
            Err(unseen) => found.tell(Mark::Unclear, format!("{by}: {}", unseen.0)),
            Ok(chain) if chain.is_believed(&authorities, service, namespace) => believed.push(&**by),
            Ok(_) => found.tell(
                Mark::Wrong,
                format!("the API server doesn't believe what {by} serves: its authority isn't in the caBundle, or it is for another name"),
            ),
        }
    }
    if facts.certificates.is_empty() {
        found.tell(Mark::Unclear, "no replica is there whose certificate could be looked at");
    }
    found.detail = believed.join(", ");
    found
}

pub(in crate::commands::check) fn expiry(facts: &Facts) -> Found {
    let now = facts.server_now();
    let mut found = Found::default();
    let mut soonest: Option<Timestamp> = None;
    for shown in &facts.certificates {
        // What can't be looked at, the check before this one tells.
        let Ok(chain) = &shown.chain else { continue };
        let by = &shown.by;
        let Some(validity) = chain.validity() else {
            found.tell(Mark::Wrong, format!("what {by} serves doesn't say how long it is valid"));
            continue;
        };
        let Validity { from, until } = validity;
        soonest = Some(soonest.map_or(until, |it| it.min(until)));
        if until <= now {
            found.tell(Mark::Wrong, format!("what {by} serves expired {} ago", age(now.duration_since(until))));
        } else if from > now {
            found.tell(Mark::Wrong, format!("what {by} serves is valid only in {}", age(from.duration_since(now))));
        } else if is_overdue(validity, now) {
            let left = age(until.duration_since(now));
            found.tell(
                Mark::Warning,
                format!("what {by} serves expires in {left}, and should have been renewed long ago"),
            );
        }
    }
    match soonest {
        Some(until) => found.detail = format!("until {until}"),
        None if found.told.is_empty() => return Found::skipped("no certificate could be looked at"),
        None => {}
    }
    found
}

/// Half of the time has gone by that was left when it was to be renewed.
fn is_overdue(validity: Validity, now: Timestamp) -> bool {
    let due = validity.renew_at();
    now > due + validity.until.duration_since(due) / 2
}

pub(in crate::commands::check) fn opt_in(facts: &Facts) -> Found {
    let namespaces = match &facts.namespaces {
        Ok(namespaces) => namespaces,
        Err(unseen) => return Found::unclear(unseen),
    };
    let label = |it: &kube::core::PartialObjectMeta<k8s_openapi::api::core::v1::Namespace>| {
        read::opt_in(&it.metadata).map(str::to_owned)
    };
    let mut found = Found::default();
    let in_vain: Vec<String> =
        namespaces.iter().filter(|it| label(it).is_some() && !follows(facts, it)).map(ResourceExt::name_any).collect();
    found.tell_of(Mark::Warning, &in_vain, |names| {
        format!("pods of {names} are left alone always: take the label {} off", keys::FOLLOW)
    });
    let followers: Vec<(String, String)> = namespaces
        .iter()
        .filter(|it| follows(facts, it))
        .filter_map(|it| Some((it.name_any(), label(it)?)))
        .filter(|(_, database)| database != keys::FOLLOW_NONE)
        .collect();
    if let Ok(databases) = &facts.databases {
        let exists = |name: &str| databases.iter().any(|it| it.name_any() == name);
        let nobody: Vec<String> = followers
            .iter()
            .filter(|(_, database)| !exists(database))
            .map(|(namespace, database)| format!("{namespace} follows {database}"))
            .collect();
        found.tell_of(Mark::Wrong, &nobody, |names| format!("there is no such DatabaseCluster: {names}"));
    }
    found.detail = match followers.len() {
        0 => "none follows yet".to_owned(),
        some => format!("{some} follow"),
    };
    found
}

/// Who places pods where nobody says otherwise.
const SCHEDULER: &str = "default-scheduler";

pub(in crate::commands::check) fn tried(facts: &Facts) -> Found {
    if facts.tried.is_empty() {
        return Found::skipped("no namespace follows a database that is accepted");
    }
    let mut found = Found::default();
    let mut well = 0;
    for tried in &facts.tried {
        let namespace = &tried.namespace;
        match &tried.came {
            Came::Back { injected: true, keys, .. } if !keys.is_empty() => well += 1,
            Came::Back { injected: true, .. } => {
                found.tell(Mark::Wrong, format!("{namespace}: a pod is injected, and something takes the affinity off again"));
            }
            Came::Back { scheduler, .. } if scheduler != SCHEDULER => found.tell(
                Mark::Warning,
                format!("{namespace}: something gives pods to the scheduler {scheduler}, so that they are left alone unless --schedulers names it"),
            ),
            Came::Back { .. } => {
                found.tell(Mark::Wrong, format!("{namespace}: a pod comes back without affinity"));
            }
            Came::RefusedWithAffinity(said) => found.tell(
                Mark::Wrong,
                format!("{namespace}: a pod is refused because of the affinity: {said}"),
            ),
            Came::Unknown(why) => found.tell(Mark::Unclear, format!("{namespace}: {why}")),
        }
    }
    found.detail = format!("{well} of {} namespaces", facts.tried.len());
    found
}
