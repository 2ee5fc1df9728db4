//! `spec.witness`: a second pair of eyes at another site.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rule::rule;

/// A `switchover witness` at another site. What it hears of members that are silent to the controller counts in place of
/// their silence; it has no vote, and alone it is believed nothing. See docs/witness.md.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WitnessRules {
    /// Its base URL, such as `https://witness.example.com:8444`.
    #[schemars(length(min = 1, max = 300))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^https://([A-Za-z0-9._-]+|[[][0-9a-fA-F:.]+[]])(:[0-9]{1,5})?/?$')", "spec.witness.url: write a base URL with https:// and without a path, such as https://witness.example.com:8444")
    ]))]
    pub url: String,

    /// Name of a Secret in switchover's own namespace: `ca.crt` (PEM, the authorities that the witness's certificate is
    /// signed by), `tls.crt` and `tls.key` (PEM, the client certificate that the witness asks for, and its key). Read
    /// again when it changes.
    #[schemars(length(min = 1, max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')", "spec.witness.secretName: write the name of a Secret (lower-case letters, digits, dashes and dots), such as orders-patroni")
    ]))]
    pub secret_name: String,

    /// The DNS name that the witness's certificate must carry, instead of the host of `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?([.][A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?)*$')", "spec.witness.serverName: write a DNS name, such as witness.example.com")
    ]))]
    pub server_name: Option<String>,

    /// What the witness calls this database (its flag `--database NAME=URL`). Default: the name of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "spec.witness.database: write lower-case letters, digits and dashes, such as orders")
    ]))]
    pub database: Option<String>,
}
