//! Whether the roles run, and whether there is one installation.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::ResourceExt;

use super::agents;
use crate::commands::check::{
    facts::{Facts, Unseen, Workloads},
    found::{Found, Mark},
};

/// Label that says which role a workload is of.
pub(in crate::commands::check) const COMPONENT: &str = "app.kubernetes.io/component";

/// The configurations that call a Service, each with that one's namespace.
pub(super) fn called(configurations: &[MutatingWebhookConfiguration]) -> Vec<(String, String)> {
    let service = |it: &MutatingWebhookConfiguration| {
        it.webhooks
            .iter()
            .flatten()
            .find_map(|webhook| webhook.client_config.service.as_ref().map(|it| it.namespace.clone()))
    };
    configurations.iter().filter_map(|it| Some((it.name_any(), service(it)?))).collect()
}

pub(in crate::commands::check) fn one_installation(facts: &Facts) -> Found {
    let configurations = match &facts.configurations {
        Ok(configurations) => configurations,
        Err(unseen) => return Found::unclear(unseen),
    };
    let mut found = Found::right(facts.namespace.clone());
    let names: Vec<String> = configurations.iter().map(ResourceExt::name_any).collect();
    if names.len() > 1 {
        found.tell(
            Mark::Wrong,
            format!("there are {} of the webhook's configurations: {}", names.len(), names.join(", ")),
        );
    }
    for (configuration, namespace) in called(configurations).into_iter().filter(|(_, it)| *it != facts.namespace) {
        found.tell(
            Mark::Wrong,
            format!("{configuration} calls the webhook of the namespace {namespace}, not that of {}", facts.namespace),
        );
    }
    found
}

pub(in crate::commands::check) fn controllers(facts: &Facts) -> Found {
    let elsewhere = facts.lease.as_ref().map(|lease| lease.runs.then_some("somebody renews their Lease"));
    deployment(facts, "controller", elsewhere)
}

pub(in crate::commands::check) fn webhooks(facts: &Facts) -> Found {
    let by_url = || super::webhook(facts).is_some_and(|(_, webhook)| webhook.client_config.url.is_some());
    let elsewhere = facts.configurations.as_ref().map(|_| by_url().then_some("the API server calls it by a URL"));
    deployment(facts, "webhook", elsewhere)
}

/// That a role runs in another way, if it does and anybody can tell.
type Elsewhere<'f> = Result<Option<&'static str>, &'f Unseen>;

fn deployment(facts: &Facts, role: &str, elsewhere: Elsewhere<'_>) -> Found {
    let workloads = match &facts.workloads {
        Ok(workloads) => workloads,
        Err(unseen) => return Found::unclear(unseen),
    };
    let ours = |labels: &std::collections::BTreeMap<String, String>| labels.get(COMPONENT).is_some_and(|it| it == role);
    let mut found = Found::default();
    let mut all = workloads.deployments.iter().filter(|it| ours(it.labels())).peekable();
    if all.peek().is_none() {
        return nowhere(facts, "Deployment", role, elsewhere);
    }
    for it in all {
        let name = it.name_any();
        let wanted = it.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = it.status.clone().unwrap_or_default();
        let available = status.available_replicas.unwrap_or(0);
        let told = format!("{name}: {available} of {wanted} are available");
        found.detail = told.clone();
        let bad = status.conditions.into_iter().flatten().filter(|condition| match &*condition.type_ {
            "ReplicaFailure" => condition.status == "True",
            _ => condition.status == "False",
        });
        let why: Vec<String> = bad.filter_map(|condition| condition.message).collect();
        let why = why.into_iter().chain(refusals(workloads, &name)).collect::<Vec<_>>().join("; ");
        let why = if why.is_empty() { why } else { format!(": {why}") };
        match available {
            _ if wanted == 0 => found.tell(Mark::Wrong, format!("{name} wants no replicas")),
            0 => found.tell(Mark::Wrong, format!("{told}{why}")),
            some if some < wanted => found.tell(Mark::Warning, format!("{told}{why}")),
            _ => {}
        }
    }
    found
}

/// What the API server said of pods of this workload, or of a ReplicaSet of it.
fn refusals(workloads: &Workloads, name: &str) -> Vec<String> {
    let of_it = |(owner, _): &&(String, String)| owner == name || owner.starts_with(&format!("{name}-"));
    let mut said: Vec<String> = workloads.refusals.iter().filter(of_it).map(|(_, said)| said.clone()).collect();
    said.dedup();
    said.truncate(1);
    said
}

fn nowhere(facts: &Facts, kind: &str, role: &str, elsewhere: Elsewhere<'_>) -> Found {
    let none = format!("no {kind} in {} bears the label {COMPONENT}={role}", facts.namespace);
    match elsewhere {
        Ok(Some(why)) => Found::skipped(format!("{none}; it runs in another way: {why}")),
        Ok(None) => Found::wrong(none),
        Err(unseen) => Found::default().and(Mark::Unclear, format!("{none}, and {}", unseen.0)),
    }
}

pub(in crate::commands::check) fn daemon_set(facts: &Facts) -> Found {
    let workloads = match &facts.workloads {
        Ok(workloads) => workloads,
        Err(unseen) => return Found::unclear(unseen),
    };
    let is_ours =
        |labels: &std::collections::BTreeMap<String, String>| labels.get(COMPONENT).is_some_and(|it| it == "agent");
    let Some(set) = workloads.sets.iter().find(|it| is_ours(it.labels())) else {
        let fresh = || agents::any_fresh(facts).then_some("there are fresh readings");
        return nowhere(facts, "DaemonSet", "agent", facts.latencies.as_ref().map(|_| fresh()));
    };
    let (name, status) = (set.name_any(), set.status.clone().unwrap_or_default());
    let (wanted, ready) = (status.desired_number_scheduled, status.number_ready);
    let told = format!("{name}: {ready} of {wanted} are ready");
    let why = refusals(workloads, &name).first().map(|why| format!(": {why}")).unwrap_or_default();
    match ready {
        _ if wanted == 0 => Found::wrong(format!("{name} runs on no node{why}")),
        0 => Found::wrong(format!("{told}{why}")),
        some if some < wanted => Found::default().and(Mark::Warning, format!("{told}{why}")),
        _ => Found::right(told),
    }
}

pub(in crate::commands::check) fn leader(facts: &Facts) -> Found {
    match &facts.lease {
        Err(unseen) => Found::unclear(unseen),
        Ok(lease) if lease.runs => Found::right(lease.leader.clone().unwrap_or_default()),
        Ok(lease) => Found::wrong(match (&lease.leader, lease.silent_s) {
            (Some(leader), Some(silent_s @ 0..)) => format!("{leader} has not renewed the Lease for {silent_s} s"),
            (Some(leader), _) => format!("{leader} doesn't renew the Lease"),
            (None, Some(silent_s)) => format!("the Lease was given back {silent_s} s ago"),
            (None, None) => format!("nobody has ever taken the Lease in {}", facts.namespace),
        }),
    }
}
