//! Whom to measure: every member of every database.

use std::collections::BTreeSet;

use crate::{
    agent::probe::Target,
    api::{
        DatabaseCluster,
        node_latency::{LONGEST_HOST, MOST_READINGS},
    },
    discover,
};

/// The targets of one database: its members as the controller discovered them, or, while there are none, those
/// that people wrote.
pub(super) fn of(database: &DatabaseCluster) -> BTreeSet<Target> {
    let members = database.status.iter().flat_map(|status| &status.members);
    let rules = discover::host_rules(&database.spec.discovery);
    let targets: BTreeSet<Target> = members
        .filter(|member| rules.refuse(&member.host).is_none())
        .map(|member| Target { host: member.host.clone(), port: member.port })
        .collect();
    if !targets.is_empty() {
        return targets;
    }
    discover::hosts(&database.spec.discovery).map(|(host, port)| Target { host, port }).collect()
}

/// Whom one agent measures.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub targets: BTreeSet<Target>,
    /// Hosts that no NodeLatency has room for, in the order of their names.
    pub left_out: Vec<String>,
}

/// All databases together; a host that several name is measured once. Of more than [`MOST_READINGS`] the first are.
pub(super) fn union<'a>(databases: impl Iterator<Item = &'a BTreeSet<Target>>) -> Wanted {
    let mut hosts = BTreeSet::new();
    let mut all: Vec<&Target> = databases.flatten().collect();
    all.sort();
    let mut wanted = Wanted::default();
    for target in all.into_iter().filter(|target| hosts.insert(&target.host)) {
        if target.host.chars().count() <= LONGEST_HOST && wanted.targets.len() < MOST_READINGS {
            wanted.targets.insert(target.clone());
        } else {
            wanted.left_out.push(target.host.clone());
        }
    }
    wanted
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
    fn no_member_aims_nodes_at_hosts_that_are_no_database_s() {
        let urls = ["http://10.0.0.1:8008"];
        let stated = ["169.254.169.254", "127.0.0.1", "localhost", "0.0.0.0", "224.0.0.1", "fe80::1", "127.1", "10.0.0.2"];
        let members = of(&database(&urls, &stated.map(|host| (host, 5432))));
        assert_eq!(shown(&members), ["10.0.0.2:5432"]);
        assert_eq!(shown(&of(&database(&urls, &[("169.254.169.254", 80)]))), ["10.0.0.1:5432"], "as if there were none");
        // All of it on one machine.
        let local = of(&database(&["http://127.0.0.1:8008"], &[("127.0.0.2", 5432)]));
        assert_eq!(shown(&local), ["127.0.0.2:5432"]);
    }

    #[test]
    fn members_that_are_asked_over_sql_are_measured_from_the_start_and_pods_once_they_are_known() {
        let database = |discovery: serde_json::Value| -> DatabaseCluster {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "metadata": { "name": "orders" },
                "spec": { "discovery": discovery },
            }))
            .unwrap()
        };
        for (engine, port) in [("PostgreSQL", 5432), ("MySQL", 3306), ("MariaDB", 3306)] {
            let sql = serde_json::json!({ "sql": {
                "engine": engine, "basicAuth": { "secretName": "login" },
                "members": [{ "name": "pg1", "host": "10.0.1.5" }, { "name": "pg2", "host": "10.0.2.5", "port": 5433 }],
            }});
            assert_eq!(shown(&of(&database(sql))), [format!("10.0.1.5:{port}"), "10.0.2.5:5433".to_owned()]);
        }
        let operator = serde_json::json!({ "kind": "Zalando", "namespace": "shop", "cluster": "orders" });
        assert!(of(&database(serde_json::json!({ "operator": operator }))).is_empty());
    }

    #[test]
    fn a_host_of_several_databases_is_measured_once() {
        let target = |host: &str, port| Target { host: host.to_owned(), port };
        let orders = BTreeSet::from([target("a", 5432), target("b", 5432)]);
        let bills = BTreeSet::from([target("b", 5433), target("c", 5433)]);
        let wanted = union([&orders, &bills].into_iter());
        assert_eq!(
            (shown(&wanted.targets), wanted.left_out.len()),
            (["a:5432", "b:5432", "c:5433"].map(str::to_owned).into(), 0)
        );
    }

    #[test]
    fn what_no_node_latency_has_room_for_is_left_out_by_name() {
        let target = |host: String| Target { host, port: 5432 };
        let (fits, too_long) = ("a".repeat(LONGEST_HOST), "a".repeat(LONGEST_HOST + 1));
        let many = (0..MOST_READINGS).map(|n| target(format!("pg{n:03}")));
        let all: BTreeSet<Target> = many.chain([target(fits.clone()), target(too_long.clone())]).collect();
        let wanted = union([&all].into_iter());
        assert_eq!(wanted.targets.len(), MOST_READINGS);
        assert!(wanted.targets.iter().any(|target| target.host == fits));
        assert_eq!(wanted.left_out, [too_long, "pg511".to_owned()]);
    }
}
