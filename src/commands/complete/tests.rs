use std::ffi::OsString;

use lab::table::check_rows;

use super::{Offer, for_kubectl, names::Names};

fn offered(words: &[&str]) -> Vec<String> {
    let told = for_kubectl(words.iter().map(OsString::from).collect());
    told.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn commands_flags_and_values_are_offered_without_a_cluster() {
    let rows: [(&[&str], &[&str]); 6] = [
        (&["unin"], &["uninstall", ":4"]),
        (&["plan", "--wit"], &["--without", ":4"]),
        (&["plan", "-o", ""], &["table", "json", "yaml", ":4"]),
        (&["history", "--output", "m"], &["markdown", ":4"]),
        (&["nothing-of-that-name", "x"], &[":4"]),
        (&["__comp"], &[":4"]),
    ];
    check_rows(rows, |(words, expected)| assert_eq!(offered(words), expected, "{words:?}"));
    let all = offered(&[]);
    assert!(all.contains(&"status".to_owned()) && all.contains(&"completion".to_owned()), "{all:?}");
    assert!(!all.contains(&"__complete".to_owned()) && !all.contains(&"man".to_owned()), "{all:?}");
}

#[test]
fn what_a_command_is_for_stands_beside_it() {
    let told = for_kubectl(vec!["status".into()]);
    assert_eq!(
        told,
        "status\tShow primaries, tiers, nodes with their distance, what is moving, what is held and why\n:4\n"
    );
}

#[test]
fn every_argument_of_a_tool_that_names_something_of_the_cluster_offers_it() {
    let rows = [
        ("status", "database", Some(Offer::Database)),
        ("check", "namespace", Some(Offer::Namespace)),
        ("check", "context", Some(Offer::Context)),
        ("plan", "own_namespace", Some(Offer::Namespace)),
        ("plan", "to", Some(Offer::Member)),
        ("plan", "without", Some(Offer::Place)),
        ("resume", "primary", Some(Offer::Member)),
        ("pause", "workload", Some(Offer::Workload)),
        ("move", "workload", Some(Offer::Workload)),
        ("explain", "subject", Some(Offer::Subject)),
        ("replay", "database", None),
        ("policies", "databases", Some(Offer::Database)),
        ("witness", "databases", None),
        ("plan", "filename", None),
    ];
    check_rows(rows, |(tool, argument, expected)| {
        assert_eq!(Offer::of(tool, argument), expected, "{tool} {argument}");
    });
}

#[test]
fn the_cluster_and_the_namespace_are_those_that_were_typed() {
    let rows: [(&str, Option<&str>); 8] = [
        ("explain", None),
        ("explain -n shop web", Some("shop")),
        ("explain -nshop", Some("shop")),
        ("explain --namespace shop", Some("shop")),
        ("explain --namespace=shop", Some("shop")),
        ("explain --namespaces=shop", None),
        ("explain --no", None),
        ("explain -n", None),
    ];
    check_rows(rows, |(typed, expected)| {
        let names = Names::of(typed.split(' ').map(str::to_owned).collect());
        assert_eq!(names.typed("--namespace", Some("-n")).as_deref(), expected, "{typed}");
    });
}
