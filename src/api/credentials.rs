//! What is shown to servers, and by what they are believed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::rule;

/// Whom to believe and what to show over TLS.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.secretName) || has(self.serverName)", "spec.discovery.patroni.tls: write a secretName, a serverName or both, or leave tls out")
]))]
pub struct TlsRules {
    /// Name of a Secret in switchover's own namespace: `ca.crt` (PEM, the authorities to trust instead of the root
    /// certificates of the controller's image), `tls.crt` and `tls.key` (PEM, a client certificate and its key; both or
    /// neither). Read again when it changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "secretName: write the name of a Secret (lower-case letters, digits, dashes and dots), such as orders-patroni")
    ]))]
    pub secret_name: Option<String>,

    /// The DNS name that every member's certificate must carry, instead of the host of its URL: for members that are
    /// reached by addresses which their certificates don't name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?([.][A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*$')", "tls.serverName: write a DNS name, such as patroni.example.com")
    ]))]
    pub server_name: Option<String>,
}

/// A Secret with a login.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Name of a Secret in switchover's own namespace, with `username` and `password` as in the type
    /// `kubernetes.io/basic-auth`. Read again when it changes.
    #[schemars(length(min = 1, max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "secretName: write the name of a Secret (lower-case letters, digits, dashes and dots), such as orders-patroni")
    ]))]
    pub secret_name: String,
}
