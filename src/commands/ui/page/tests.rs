use std::time::Instant;

use serde_json::json;

use super::*;
use crate::{
    api::{NodeLatencySpec, node_latency::Reading},
    commands::ui::{
        heat::MOST_COLUMNS,
        nodes::{Asked, rows},
    },
    core::testing::{World, pod},
    index::Latency,
};

fn now() -> Timestamp {
    "2026-01-01T00:00:40Z".parse().unwrap()
}

/// Two members, each near the nodes of one zone; the second one is the primary since the first crashed.
fn tables(world: &World) -> Tables {
    let mut tables = Tables::from(world);
    for node in world.nodes.values() {
        let mut node = (**node).clone();
        node.labels.insert("topology.kubernetes.io/zone".into(), format!("zone-{}", &node.name[..1]));
        tables.put_node(&node.name.clone(), Some(node));
    }
    tables.follow("shop", "orders");
    let object = json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "metadata": { "name": "orders" },
        "spec": { "discovery": { "patroni": { "urls": ["http://10.0.0.1:8008"] } }, "nodeLabel": "switchover" },
        "status": {
            "primary": "<b>2", "epoch": 2, "heldTotal": 0, "ignoredTotal": 0, "heldWorkloadsTotal": 0, "tiers": {},
            "members": [{ "name": "pg1", "host": "h1", "port": 5432 }, { "name": "<b>2", "host": "h2", "port": 5432 }],
            "moving": [{
                "pod": "shop/web-1", "uid": "1", "from": "b1", "fromTier": "far", "action": "Evict", "pods": 1, "to": "a1",
                "workload": { "kind": "Deployment", "namespace": "shop", "name": "web", "uid": "w" },
            }],
            "failovers": [{ "epoch": 2, "from": "pg1", "to": "<b>2", "moved": 0, "confirmedAt": "2026-01-01T00:00:00Z" }],
        },
    });
    tables.put_database(&serde_json::from_value(object).unwrap());
    let names: Vec<String> = world.nodes.keys().cloned().collect();
    for node in names {
        let (to_h1, to_h2) = if node.starts_with('a') { (20_000, 300) } else { (400, 20_000) };
        let reading = |(host, us): (&str, u32)| Reading { host: host.into(), rtt_us: Some(us), ..Reading::default() };
        let readings = [("h1", to_h1), ("h2", to_h2), ("another database's", 1)].map(reading).into();
        let spec = NodeLatencySpec { heartbeat: now(), member_count: 3, readings };
        tables.put_latency(&node, Latency { spec, received: Instant::now() });
    }
    tables
}

#[test]
fn the_page_shows_where_members_nodes_and_pods_are() {
    let world = World::with_nodes("a1=closely a2=closely b1=far")
        .pod(pod("web-1").on("b1"))
        .pod(pod("web-2").on("a1"))
        .pod(pod("web-3"));
    let shown = page(&tables(&world), Vec::new(), None, None, now());
    let it = shown.database.unwrap();
    let members: Vec<_> = it
        .members
        .iter()
        .map(|member| (&*member.name, member.zone.as_deref(), member.primary, member.former))
        .collect();
    let (a, b) = (it.zones[0].name.as_str(), it.zones[1].name.as_str());
    assert_eq!(members, [("pg1", Some(b), false, true), ("<b>2", Some(a), true, false)]);
    let zones: Vec<_> = it.zones.iter().map(|zone| (zone.nodes, zone.closely, zone.far, zone.pods)).collect();
    assert_eq!(zones, [(2, 2, 0, 1), (1, 0, 1, 1)]);
    assert_eq!(it.zones[0].rtt_us, [Some(20_000), Some(300)]);
    assert_eq!(it.pods, PodCounts { closely: 1, far: 1, waiting: 1, ..PodCounts::default() });
    let columns: Vec<_> = it.heat.columns.iter().map(|column| (&*column.first, &column.last, column.nodes)).collect();
    assert_eq!(columns, [("a1", &None, 1), ("a2", &None, 1), ("b1", &None, 1)]);
    let moving = &it.moving[0];
    assert_eq!((moving.from_zone.as_deref(), moving.to_zone.as_deref()), (Some(b), Some(a)));
    assert_eq!(shown.databases, [Summary { name: "orders".into(), primary: Some("<b>2".into()), moving: 1, held: 0 }]);
}

#[test]
fn however_many_nodes_there_are_the_page_stays_small_and_hides_no_slow_node() {
    let many: Vec<String> = (0..1500).map(|n| format!("a{n:04}=closely")).collect();
    let world = World::with_nodes(&format!("{} b1=far", many.join(" ")));
    let tables = tables(&world);
    let it = page(&tables, Vec::new(), None, Some("orders"), now()).database.unwrap();
    assert!(it.heat.columns.len() <= MOST_COLUMNS, "{}", it.heat.columns.len());
    assert_eq!(it.heat.nodes_each, 7);
    assert_eq!(it.heat.columns.iter().map(|column| column.nodes).sum::<usize>(), 1501);
    let last = it.heat.columns.last().unwrap();
    assert_eq!((&*last.first, last.rtt_us.as_slice()), ("b1", &[Some(400), Some(20_000)][..]), "zones share no column");

    let asked = |text: &str, from| Asked { database: "orders".into(), text: text.into(), from };
    let all = rows(&tables, &asked("", 0));
    assert_eq!((all.total, all.from, all.rows.len(), all.rows[0].name), (1501, 0, 50, "a0000"));
    let end = rows(&tables, &asked("", 9_999));
    assert_eq!((end.from, end.rows.last().unwrap().name), (1500, "b1"), "the farthest is the last one");
    let found = rows(&tables, &asked("b1", 0));
    assert_eq!((found.total, found.rows[0].name), (1, "b1"));
    assert_eq!(rows(&tables, &Asked { database: "nobody".into(), ..Asked::default() }).total, 0);
}

#[test]
fn a_database_that_can_not_be_read_says_why_and_hides_no_other() {
    let mut tables = tables(&World::with_nodes("a1=closely"));
    let odd = json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "metadata": { "name": "odd" }, "spec": { "discovery": 7 },
    });
    tables.see_database(kube::runtime::watcher::Event::Apply(serde_json::from_value(odd).unwrap()));
    let shown = page(&tables, Vec::new(), None, Some("odd"), now());
    assert_eq!(shown.databases.len(), 2);
    let it = shown.database.unwrap();
    assert!(it.error.is_some() && it.members.is_empty(), "{:?}", it.error);
}
