//! `spec.discovery.patroni`: Patroni's REST API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::{
    Span,
    credentials::{SecretReference, TlsRules},
    discovery::{default_interval, default_timeout},
    rule::rule,
};

/// Patroni's REST API (`GET /primary` of every member about once a second, `GET /cluster` rarely to find members).
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.tls) || self.urls.all(u, u.startsWith('https://'))", "spec.discovery.patroni.tls needs URLs with TLS: write https:// in each of urls"),
    rule("!has(self.basicAuth) || self.urls.all(u, u.startsWith('https://'))", "spec.discovery.patroni.basicAuth would send the password in the clear: write https:// in each of urls")
]))]
pub struct PatroniDiscovery {
    /// Base URLs of members to start from, such as `http://10.0.1.5:8008`. Further members are discovered from their
    /// answers and followed as they change; list at least one of each data centre, so that no single one must be up.
    #[schemars(length(min = 1, max = 32), inner(length(max = 300)))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.all(u, u.matches('^https?://([A-Za-z0-9._-]+|[[][0-9a-fA-F:.]+[]])(:[0-9]{1,5})?/?$'))", "spec.discovery.patroni.urls: write base URLs without a path, such as http://10.0.1.5:8008 or https://pg1.example.com:8008")
    ]))]
    pub urls: Vec<String>,

    /// Hosts that are asked and measured, of those that members state: names, suffixes (`*.db.example.com`), addresses and
    /// networks (`10.0.0.0/8`). Those in `urls` always are. Default: any host but loopback (unless `urls` has one),
    /// link-local, multicast and metadata addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("self.all(h, h.matches('^[*]?[.]?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$') || h.matches('^[0-9a-fA-F:.]+(/[0-9]{1,3})?$'))", "spec.discovery.patroni.allowedHosts: write names, suffixes, addresses or networks, such as pg1.example.com, *.db.example.com, 10.0.1.5 or 10.0.0.0/8")
    ]))]
    pub allowed_hosts: Vec<String>,

    /// Time allowed for one answer.
    #[serde(default = "default_timeout")]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('100ms') && duration(self) <= duration('10s')", "spec.discovery.patroni.timeout: write a time between 100ms and 10s")
    ]))]
    pub timeout: Span,

    /// Pause between two looks at one member. Whoever follows a primary that has held for a minute is asked more rarely, up to two
    /// intervals or 3 s after the last time.
    #[serde(default = "default_interval")]
    #[schemars(extend("x-kubernetes-validations" = [
        rule("duration(self) >= duration('200ms') && duration(self) <= duration('1m')", "spec.discovery.patroni.interval: write a time between 200ms and 1m")
    ]))]
    pub interval: Span,

    /// Whom to believe and what to show over `https://`. Without it the root certificates of the controller's image are
    /// believed, and no certificate is shown. With it, or with `basicAuth`, members are asked over `https://` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsRules>,

    /// A user and a password, for a proxy in front of the members that asks for them. (Patroni itself asks for them only
    /// where something is changed.)
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<SecretReference>,
}
