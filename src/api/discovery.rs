//! `spec.discovery.operator` and `spec.discovery.sql`: a primary that an operator names in Kubernetes, or that is asked
//! itself.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Span,
    credentials::{SecretReference, TlsRules},
    rule::rule,
};

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
    #[schemars(length(min = 1, max = 63))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "spec.discovery.operator.namespace: write the name of a namespace (lower-case letters, digits and dashes), such as shop")
    ]))]
    pub namespace: String,

    /// Name of the operator's object; for `Patroni` the value of the label `cluster-name`.
    #[schemars(length(min = 1, max = 63))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "spec.discovery.operator.cluster: write the name of the operator's object (lower-case letters, digits and dashes), such as orders")
    ]))]
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
    #[schemars(length(min = 1, max = 317))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')", "spec.discovery.operator.roleLabel: write the key of a label, such as role or example.com/role")
    ]))]
    pub role_label: Option<String>,

    /// Value of that label on the primary's pod, if it is neither `primary` nor `master`: Patroni's
    /// `kubernetes.leader_label_value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')", "spec.discovery.operator.roleValue: write the value of a label, such as leader")
    ]))]
    pub role_value: Option<String>,

    /// Patroni's scope, which its Endpoints or ConfigMaps are named after, if it is another than the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "spec.discovery.operator.scope: write Patroni's scope (lower-case letters, digits, dashes and dots), such as orders-2")
    ]))]
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

pub(super) const fn default_timeout() -> Span {
    Span::from_millis(1500)
}

pub(super) const fn default_interval() -> Span {
    Span::from_secs(1)
}

const fn default_port() -> u16 {
    5432
}

/// The database itself, asked over SQL: for a PostgreSQL without Patroni or an operator, and for MySQL and MariaDB. It knows
/// of no leader lock: docs/sources.md says what can't be known this way.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!self.unencrypted || !has(self.tls)", "spec.discovery.sql: tls and unencrypted exclude each other: leave one out"),
    rule("self.engine == 'PostgreSQL' || !has(self.database)", "spec.discovery.sql.database: MySQL and MariaDB are asked without one: leave it out")
]))]
pub struct SqlDiscovery {
    /// `PostgreSQL` (10 or later), `MySQL` (8.0 or later) or `MariaDB` (10.1 or later).
    pub engine: SqlEngine,

    /// Every server that may be the primary. Others are never looked for.
    #[schemars(length(min = 1, max = 32))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.all(m, self.exists_one(o, o.name == m.name))", "spec.discovery.sql.members: two have the same name: write another one")
    ]))]
    pub members: Vec<SqlMember>,

    /// Database of PostgreSQL to connect to. Default: `postgres`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub database: Option<String>,

    /// Whom to connect as: somebody who may log in and nothing else. docs/sources.md has the one right more that Group
    /// Replication takes.
    pub basic_auth: SecretReference,

    /// Whom to believe and what to show. Without it the root certificates of the controller's image are believed, and no
    /// certificate is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsRules>,

    /// Connect without TLS: whoever can listen in or answer in a member's place may learn the password.
    #[serde(default)]
    pub unencrypted: bool,

    /// Time allowed for one answer, with the connection if there is none.
    #[serde(default = "default_timeout")]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('100ms') && duration(self) <= duration('10s')", "spec.discovery.sql.timeout: write a time between 100ms and 10s")
    ]))]
    pub timeout: Span,

    /// Pause between two looks at one member.
    #[serde(default = "default_interval")]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('200ms') && duration(self) <= duration('1m')", "spec.discovery.sql.interval: write a time between 200ms and 1m")
    ]))]
    pub interval: Span,
}

impl SqlDiscovery {
    /// The members' hosts, and the ports that they listen on.
    pub fn hosts(&self) -> impl Iterator<Item = (&str, u16)> {
        let port = |member: &SqlMember| member.port.unwrap_or_else(|| self.engine.default_port());
        self.members.iter().map(move |member| (member.host.as_str(), port(member)))
    }
}

/// What is asked over SQL.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum SqlEngine {
    /// PostgreSQL, 10 or later.
    PostgreSQL,
    /// MySQL, 8.0 or later.
    MySQL,
    /// MariaDB, 10.1 or later.
    MariaDB,
}

impl SqlEngine {
    /// Where its servers listen if nothing else is said.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::PostgreSQL => default_port(),
            Self::MySQL | Self::MariaDB => 3306,
        }
    }
}

/// A server that may be the primary.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SqlMember {
    /// What it is called in status and events.
    #[schemars(length(min = 1, max = 63))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')", "spec.discovery.sql.members.name: write letters, digits, dashes, dots and underscores, such as pg1")
    ]))]
    pub name: String,

    /// Host name or address, of this server and never of a proxy or pooler. Agents measure it.
    #[schemars(length(min = 1, max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[A-Za-z0-9:]([-A-Za-z0-9_.:]*[A-Za-z0-9])?$')", "spec.discovery.sql.members.host: write a host name or an address without a port, such as 10.0.1.5 or pg1.example.com")
    ]))]
    pub host: String,

    /// Default: 5432 for PostgreSQL, 3306 for MySQL and MariaDB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
}
