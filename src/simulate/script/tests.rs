//! Scripts are read as they are written.

use lab::table::check_rows;

use super::Script;
use crate::simulate::invent;

const CLUSTER: &str =
    "zone a: 2 nodes\nzone b: 2 nodes\ndatabase default: pg1 in a, pg2 in b\ndeployment web: 3 replicas\n";

#[test]
fn whatever_is_written_is_read_again() {
    for seed in 0..50 {
        let script = invent(seed, 2);
        assert_eq!(script.to_string().parse::<Script>().as_ref(), Ok(&script), "seed {seed}");
    }
}

#[test]
fn what_cannot_be_read_says_what_to_write() {
    let rows = [
        ("deploymnt web: 3 replicas", "write zone, distance, database"),
        ("at 1m: pg3 is primary", "there is no member pg3"),
        ("at 1: pg2 is primary", "write a number and a unit"),
        ("at 1m: node a3 is dead", "there is no node a3"),
        ("at 1m: node a1 is gone", "write dead, back"),
        ("at 1m: web is bigger", "write: is deployed"),
        ("at 1m: shop is deployed", "write what happens, such as"),
        ("at 1m: watch Pods hangs", "write one of DatabaseCluster"),
        ("at 1m: database default is asleep", "write lost, split"),
        ("settings default: sattle 30s", "spec.movement has no field sattle"),
        ("settings default: settle soon", "not a length of time"),
        ("settings orders: settle 30s", "there is no database orders yet"),
        ("deployment web: 3 replicas, budget 1", "write budget unavailable 1"),
        ("deployment web: three replicas", "\"three\" is no number"),
        ("expect at 1m: web is held Somehow", "there is no reason Somehow: write one of Paused"),
        ("expect at 1m: gate Shut", "there is no gate Shut: write none or one of Paused"),
        ("expect soon: web is near", "write such as: expect at 5m"),
        ("deployment api: 1 replicas, follow shop", "there is no such database"),
        ("database orders: pg9 in z", "there is no such zone"),
    ];
    check_rows(rows, |(line, says)| {
        let error = format!("{CLUSTER}{line}\n").parse::<Script>().unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        assert!(error.line == 5 || error.line == 0, "{error}");
    });
}
