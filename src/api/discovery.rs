//! `spec.discovery.operator`: a primary that an operator names in Kubernetes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::database_cluster::rule;

/// A database in this Kubernetes: its operator's labels and objects say who is primary. Members are measured at the
/// addresses of their pods. docs/sources.md names the rights that the controller needs for it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("self.kind != 'CloudNativePG' || !has(self.scope)", "spec.discovery.operator.scope: CloudNativePG has no Patroni: leave it out")
]))]
pub struct OperatorDiscovery {
    /// Who runs the database: `CloudNativePG`, `Zalando`, `Crunchy`, `Percona`, `StackGres`, or `Patroni` for one that
    /// keeps its state in Kubernetes without any of them.
    pub kind: OperatorKind,

    /// Namespace of its pods.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: String,

    /// Name of the operator's object; for `Patroni` the value of the label `cluster-name`.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub cluster: String,

    /// Port of the database, which agents connect to where they can't ping. Default: 5432.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,

    /// Labels of the members' pods, if they are others than the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub labels: Option<BTreeMap<String, String>>,

    /// Key of the label that is `primary` (or `master`) on the primary's pod, if it is another than the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub role_label: Option<String>,

    /// Patroni's scope, which its Endpoints or ConfigMaps are named after, if it is another than the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub scope: Option<String>,
}

/// An operator that switchover can read.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum OperatorKind {
    /// `Cluster` of `postgresql.cnpg.io`.
    CloudNativePG,
    /// Zalando's `postgresql`, with Spilo images.
    Zalando,
    /// Crunchy's `PostgresCluster`.
    Crunchy,
    /// `PerconaPGCluster`.
    Percona,
    /// `SGCluster`.
    StackGres,
    /// Patroni itself.
    Patroni,
}

const fn default_port() -> u16 {
    5432
}
