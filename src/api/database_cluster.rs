//! `DatabaseCluster`: one database to follow, what to do about it, and what switchover knows of it.

mod movement;
mod patroni;
mod status;
mod taint;
mod tiers;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    discovery::{OperatorDiscovery, SqlDiscovery},
    rule::rule,
    witness::WitnessRules,
};
use crate::core::{
    follow::{DatabaseDefaults, Weight},
    label_key::{LabelKey, NoLabelKey},
};

pub use self::{
    movement::{AffinityDefaults, MovementMode, MovementRules, WindowRule},
    patroni::PatroniDiscovery,
    status::{
        AnnouncedStatus, ClaimantStatus, ConditionType, DatabaseClusterStatus, DecisionStatus, FailoverStatus,
        FailoverWorkloadStatus, HeldStatus, HeldWorkloadStatus, IgnoredStatus, MemberStatus, MissedStatus,
        MovingStatus, ReadinessStatus, TierCounts, UselessStatus, WorkloadStatus,
    },
    taint::{TaintEffect, TaintRule},
    tiers::TierRules,
};

/// One database whose primary the pods follow.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "switchover.dev",
    version = "v1alpha1",
    kind = "DatabaseCluster",
    plural = "databaseclusters",
    shortname = "dbc",
    category = "switchover",
    status = "DatabaseClusterStatus",
    doc = "One database whose primary the pods follow: how to find the primary, how nodes are tiered, how pods are moved.",
    derive = "PartialEq",
    validation = Rule::new("size(self.metadata.name) <= 63").message("metadata.name is used in node labels: write a name of at most 63 characters"),
    validation = Rule::new("self.metadata.name != 'none'").message("metadata.name: 'none' opts pods out of following, so no database can have this name: write another one"),
    validation = Rule::new("!self.metadata.name.contains('.')").message("metadata.name is the value of the label switchover.dev/follow: write a name without dots, such as orders-eu"),
    validation = Rule::new("!has(self.spec.witness) || has(self.spec.discovery.patroni)").message("spec.witness: a witness asks Patroni's REST API: leave it out, or write spec.discovery.patroni"),
    printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status","description":"Whether pods follow the primary"}"#,
    printcolumn = r#"{"name":"Reason","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].reason","description":"The worst that there is to say"}"#,
    printcolumn = r#"{"name":"Primary","type":"string","jsonPath":".status.primary"}"#,
    printcolumn = r#"{"name":"Since","type":"date","jsonPath":".status.since","description":"Since when it is the primary"}"#,
    printcolumn = r#"{"name":"Closely","type":"integer","jsonPath":".status.tiers.closely"}"#,
    printcolumn = r#"{"name":"Far","type":"integer","jsonPath":".status.tiers.far"}"#,
    printcolumn = r#"{"name":"Moving","type":"string","jsonPath":".status.conditions[?(@.type=='Moving')].status"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    printcolumn = r#"{"name":"Timeline","type":"integer","priority":1,"jsonPath":".status.timeline"}"#,
    printcolumn = r#"{"name":"Known","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type=='PrimaryKnown')].status"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type=='Accepted')].status"}"#,
    printcolumn = r#"{"name":"Why","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type=='Ready')].message","description":"What the reason means"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseClusterSpec {
    /// How the primary is found.
    pub discovery: Discovery,

    /// Another site's view of the members, for when this one can't see all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<WitnessRules>,

    /// Key of the node label, and of the taint if there is one. Default: `switchover` for the database named
    /// `default`, `switchover.dev/NAME` for any other. Two databases can't share a key. When it changes, nodes get the
    /// new label, and then lose the old one; pods that `required` the old one do so until they are replaced (docs/affinity.md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", length(min = 1, max = LabelKey::MOST))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule(&is_label_key(), "spec.nodeLabel: write a label key: a name of at most 63 letters, digits, '-', '_' and '.' that begins and ends with a letter or digit, behind a DNS name and '/' if need be, such as switchover or example.com/distance"),
        rule("!self.contains('kubernetes.io/') && !self.contains('k8s.io/') || self.startsWith('node-restriction.kubernetes.io/')", "spec.nodeLabel: keys under kubernetes.io and k8s.io belong to Kubernetes: write a key of your own, such as switchover or example.com/distance (or one under node-restriction.kubernetes.io/)")
    ]))]
    pub node_label: Option<LabelKey>,

    /// When a node counts as closely, intermediate or far.
    #[serde(default)]
    pub tiers: TierRules,

    /// Also taint far nodes, with the node label's key and the value `far`. A taint is not only for pods that follow:
    /// it concerns every pod that doesn't tolerate it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taint: Option<TaintRule>,

    /// What is injected into pods that don't say otherwise.
    #[serde(default)]
    pub affinity: AffinityDefaults,

    /// How pods are moved after the primary has moved.
    #[serde(default)]
    pub movement: MovementRules,

    /// Stops all movement. Labels and admission go on.
    #[serde(default)]
    pub paused: bool,
}

/// How the primary is found. Exactly one source.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("[has(self.patroni), has(self.operator), has(self.sql)].exists_one(named, named)", "spec.discovery: name exactly one source: write patroni: {urls: [\"http://HOST:8008\", …]}, operator: {kind: CloudNativePG, namespace: NAMESPACE, cluster: NAME} or sql: {engine: PostgreSQL, members: […], basicAuth: {secretName: NAME}}")
]))]
pub struct Discovery {
    /// Patroni's REST API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patroni: Option<PatroniDiscovery>,

    /// What an operator writes in this Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<OperatorDiscovery>,

    /// The database itself, over SQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<SqlDiscovery>,
}

/// What Kubernetes asks of a label's key, in CEL.
fn is_label_key() -> String {
    format!("self.matches(r'{}') && self.indexOf('/') <= {}", LabelKey::PATTERN, LabelKey::PREFIX_MOST)
}

impl DatabaseCluster {
    /// The key of the node label and taint. Whatever [`read::database`](super::read::database) took has one of its own; for
    /// anything else it is one that no node bears.
    #[must_use]
    pub fn node_label(&self) -> LabelKey {
        self.own_node_label().unwrap_or_else(|_| LabelKey::nobodys())
    }

    /// # Errors
    /// It names none, and its name is longer than a key takes.
    pub(super) fn own_node_label(&self) -> Result<LabelKey, NoLabelKey> {
        let name = self.metadata.name.as_deref().unwrap_or_default();
        self.spec.node_label.clone().map_or_else(|| LabelKey::of_database(name), Ok)
    }

    /// What it says for pods that say nothing themselves.
    #[must_use]
    pub fn defaults(&self) -> DatabaseDefaults {
        DatabaseDefaults {
            node_label: self.node_label(),
            mode: self.spec.affinity.mode,
            weight: Weight::new(self.spec.affinity.weight).unwrap_or_default(),
            move_mode: self.spec.movement.way(),
        }
    }
}
