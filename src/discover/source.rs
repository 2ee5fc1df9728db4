//! What a spec means for discovery: whom to ask, and which hosts it names.

use std::sync::Arc;

use kube::Client;

use super::{
    PatroniConfig, Source, patroni,
    sql::{self, SqlConfig},
    witness::{self, WitnessAddress},
};
use crate::{
    api::{
        DatabaseClusterSpec,
        database_cluster::Discovery,
        discovery::{SqlDiscovery, SqlEngine},
    },
    core::hosts::HostRules,
    credentials::{Access, Pace},
};

impl Source {
    /// Whom the spec of the database `name` names to be asked; `None` where it names nobody, which the schema refuses.
    /// Secrets are read in `namespace`.
    #[must_use]
    pub fn of(name: &str, spec: &DatabaseClusterSpec, client: &Client, namespace: &str) -> Option<Self> {
        let Discovery { patroni, operator, sql } = &spec.discovery;
        let keep = |sources| Access::keep(name, client.clone(), sources, Pace::default());
        if let Some(patroni) = patroni {
            return Some(Self::Patroni(PatroniConfig {
                urls: patroni.urls.clone(),
                hosts: Arc::new(host_rules(&spec.discovery)),
                timeout: patroni.timeout.0,
                interval: patroni.interval.0,
                access: keep(patroni::sources(patroni, namespace)),
                witness: spec.witness.as_ref().map(|rules| WitnessAddress {
                    url: rules.url.clone(),
                    database: rules.database.clone().unwrap_or_else(|| name.to_owned()),
                    access: keep(witness::sources(rules, namespace)),
                }),
            }));
        }
        if let Some(operator) = operator {
            return Some(Self::Operator(operator.clone(), client.clone()));
        }
        let spec = sql.clone()?;
        let access = keep(sql::sources(&spec, namespace));
        Some(Self::Sql(SqlConfig { spec, access }))
    }
}

/// Which hosts of a database are asked and measured, of those that its members state.
#[must_use]
pub fn host_rules(discovery: &Discovery) -> HostRules {
    let allowed = discovery.patroni.iter().flat_map(|patroni| &patroni.allowed_hosts).map(String::as_str);
    HostRules::new(hosts(discovery).map(|(host, _)| host), allowed)
}

/// The hosts that a spec names, with the port that the database listens on, as far as it says so. Those of an operator have no
/// address before they are discovered.
pub fn hosts(discovery: &Discovery) -> impl Iterator<Item = (String, u16)> {
    let Discovery { patroni, sql, operator: _ } = discovery;
    let urls = patroni.iter().flat_map(|patroni| &patroni.urls).filter_map(|url| patroni::host_of(url));
    let members = sql.iter().flat_map(SqlDiscovery::hosts);
    urls.map(|host| (host, SqlEngine::PostgreSQL.default_port()))
        .chain(members.map(|(host, port)| (host.to_owned(), port)))
}
