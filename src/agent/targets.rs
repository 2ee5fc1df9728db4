//! Whom to measure: every member of every database.

use std::collections::BTreeSet;

use crate::{api::DatabaseCluster, discover::patroni, probe::Target};

/// Where PostgreSQL listens unless it says otherwise.
const POSTGRES_PORT: u16 = 5432;
/// Most readings that a NodeLatency can hold.
pub(super) const MOST_TARGETS: usize = 512;

/// The targets of one database: its members as the controller discovered them, or, while there are none, the hosts of
/// the URLs that people wrote.
pub(super) fn of(database: &DatabaseCluster) -> BTreeSet<Target> {
    let members = database.status.iter().flat_map(|status| &status.members);
    let targets: BTreeSet<Target> = members
        .filter(|member| !member.host.is_empty())
        .map(|member| Target { host: member.host.clone(), port: member.port })
        .collect();
    if !targets.is_empty() {
        return targets;
    }
    let urls = database.spec.discovery.patroni.iter().flat_map(|patroni| &patroni.urls);
    urls.filter_map(|url| patroni::host_of(url)).map(|host| Target { host, port: POSTGRES_PORT }).collect()
}

/// All databases together; a host that several name is measured once.
pub(super) fn union<'a>(databases: impl Iterator<Item = &'a BTreeSet<Target>>) -> BTreeSet<Target> {
    let mut hosts = BTreeSet::new();
    let mut all: Vec<&Target> = databases.flatten().collect();
    all.sort();
    all.into_iter().filter(|target| hosts.insert(&target.host)).take(MOST_TARGETS).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(urls: &[&str], members: &[(&str, u16)]) -> DatabaseCluster {
        let members: Vec<_> = members
            .iter()
            .map(|(host, port)| serde_json::json!({ "name": host, "host": host, "port": port }))
            .collect();
        serde_json::from_value(serde_json::json!({
            "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "metadata": { "name": "orders" },
            "spec": { "discovery": { "patroni": { "urls": urls } } },
            "status": { "members": members },
        }))
        .unwrap()
    }

    fn shown(targets: &BTreeSet<Target>) -> Vec<String> {
        targets.iter().map(|target| format!("{}:{}", target.host, target.port)).collect()
    }

    #[test]
    fn members_are_measured_and_before_they_are_known_the_seeds() {
        let urls = ["http://10.0.0.1:8008", "https://[fd00::1]:8008", "http://pg1.example.com"];
        let seeds = of(&database(&urls, &[]));
        assert_eq!(shown(&seeds), ["10.0.0.1:5432", "fd00::1:5432", "pg1.example.com:5432"]);
        let members = of(&database(&urls, &[("10.0.1.1", 15432), ("", 1)]));
        assert_eq!(shown(&members), ["10.0.1.1:15432"]);
    }

    #[test]
    fn a_host_of_several_databases_is_measured_once() {
        let target = |host: &str, port| Target { host: host.to_owned(), port };
        let orders = BTreeSet::from([target("a", 5432), target("b", 5432)]);
        let bills = BTreeSet::from([target("b", 5433), target("c", 5433)]);
        assert_eq!(shown(&union([&orders, &bills].into_iter())), ["a:5432", "b:5432", "c:5433"]);
    }
}
