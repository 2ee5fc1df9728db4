//! That names and expressions are right, tests/tidy sees to; that each query is answered, the scene of the alerts.

use std::{collections::BTreeSet, path::Path};

use lab::table::check_rows;
use serde_json::Value;

use super::*;

#[test]
fn the_shipped_dashboards_are_these() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/dashboards");
    let files = std::fs::read_dir(&folder).unwrap();
    let files: BTreeSet<String> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, boards().iter().map(|board| format!("{}.json", board.name)).collect());
    for board in boards() {
        let shipped = std::fs::read_to_string(folder.join(format!("{}.json", board.name))).unwrap();
        assert!(shipped == text(&board).unwrap(), "deploy/dashboards/{}.json is old: run make dashboards", board.name);
    }
}

/// Every object in it that has this key.
fn having<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v Value>) {
    match value {
        Value::Object(map) => {
            if map.contains_key(key) {
                found.push(value);
            }
            map.values().for_each(|value| having(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| having(value, key, found)),
        _ => {}
    }
}

#[test]
fn each_is_one_that_any_grafana_takes() {
    let uids: BTreeSet<String> = boards().iter().map(Board::uid).collect();
    assert_eq!(uids.len(), boards().len());
    check_rows(boards().iter(), |board| {
        let (name, json) = (board.name, board.json());
        let panels = json["panels"].as_array().unwrap();
        let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), panels.len(), "{name}: a number twice");
        let shown: Vec<&Value> = panels.iter().filter(|panel| panel["type"] != "row").collect();
        let titles: BTreeSet<&str> = shown.iter().map(|panel| panel["title"].as_str().unwrap()).collect();
        assert_eq!(titles.len(), shown.len(), "{name}: a title twice");
        for panel in &shown {
            let title = &panel["title"];
            assert_ne!(panel["fieldConfig"]["defaults"]["unit"], Value::Null, "{name}: {title} has no unit");
            let right = panel["gridPos"]["x"].as_u64().unwrap() + panel["gridPos"]["w"].as_u64().unwrap();
            assert!(right <= 24, "{name}: {title} is wider than the page");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{name}: {title} asks nothing");
            for target in targets {
                let expression = target["expr"].as_str().unwrap();
                assert!(
                    expression.contains("cluster=~\"$cluster\""),
                    "{name}: {title} isn't about the chosen clusters"
                );
                let of_databases = expression.contains("by (cluster, database");
                assert_eq!(expression.contains("$database"), of_databases, "{name}: {title}: {expression}");
            }
        }
        let mut sourced = Vec::new();
        having(&json, "datasource", &mut sourced);
        assert!(sourced.iter().all(|it| it["datasource"]["uid"] == "${datasource}"), "{name}: a source of somebody's");
        let mut asking = Vec::new();
        having(&json, "expr", &mut asking);
        assert!(asking.iter().all(|it| it.get("datasource").is_some()), "{name}: a target without a source");
        for (at, one) in shown.iter().enumerate() {
            for other in &shown[at + 1..] {
                assert!(
                    !overlap(&one["gridPos"], &other["gridPos"]),
                    "{name}: {} covers {}",
                    one["title"],
                    other["title"]
                );
            }
        }
    });
}

fn overlap(one: &Value, other: &Value) -> bool {
    let of = |place: &Value, key: &str| place[key].as_u64().unwrap();
    let apart = |from: &str, length: &str| {
        of(one, from) + of(one, length) <= of(other, from) || of(other, from) + of(other, length) <= of(one, from)
    };
    !apart("x", "w") && !apart("y", "h")
}

#[test]
fn one_that_there_is_not_is_named_with_those_that_there_are() {
    let refused = run(&DashboardsArgs { name: Some("shop".into()) }).unwrap_err();
    assert_eq!(refused.to_string(), "there is no dashboard shop: write one of overview, failover, nodes, admission");
}
