//! Judgements over facts: pure, each a function of what was gathered.

pub(super) mod admission;
pub(super) mod agents;
pub(super) mod cluster;
pub(super) mod databases;
pub(super) mod policies;
pub(super) mod policy_admission;
pub(super) mod roles;
pub(super) mod workloads;

use k8s_openapi::{
    api::{admissionregistration::v1::MutatingWebhook, core::v1::Namespace},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{ResourceExt, core::PartialObjectMeta};

use super::facts::Facts;
use crate::{api::read, certificates::install::WEBHOOK};

/// The webhook in the installation's configuration, with the name of that.
fn webhook(facts: &Facts) -> Option<(&str, &MutatingWebhook)> {
    let configurations = facts.configurations.as_ref().ok()?;
    configurations.iter().find_map(|it| {
        let webhook = it.webhooks.iter().flatten().find(|webhook| webhook.name == WEBHOOK)?;
        Some((it.metadata.name.as_deref()?, webhook))
    })
}

/// Whether pods of this namespace are to be injected.
fn follows(facts: &Facts, namespace: &PartialObjectMeta<Namespace>) -> bool {
    let name = namespace.name_any();
    read::opt_in(&namespace.metadata).is_some() && name != "kube-system" && name != facts.namespace
}

/// The databases that can be read, by name, with what is not in order with the others.
fn conditions(object: &kube::core::DynamicObject) -> Vec<Condition> {
    let conditions = object.data.pointer("/status/conditions").cloned();
    conditions.and_then(|conditions| serde_json::from_value(conditions).ok()).unwrap_or_default()
}
