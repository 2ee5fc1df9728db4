use kube::runtime::watcher::Event;
use proptest::prelude::*;

use super::*;
use crate::core::testing::pod;

fn put_pod(tables: &mut Tables, pod: Pod) {
    tables.pods.apply(Event::Apply(pod), |it| (it.uid.clone(), Some(it)));
}

fn put_database(tables: &mut Tables, name: &str, movement: &str) {
    let object = serde_json::json!({
        "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster", "metadata": {"name": name, "resourceVersion": movement},
        "spec": {"discovery": {"patroni": {"urls": ["http://10.0.0.1:8008"]}}, "movement": {"way": movement}},
    });
    tables.put_database(&serde_json::from_value(object).unwrap());
}

/// `web-1 evict, web-2 never beside billing`
fn shown(tables: &Tables, database: &str) -> String {
    let following = |it: &Following| {
        let beside =
            if it.how.others.is_empty() { String::new() } else { format!(" beside {}", it.how.others.join(" ")) };
        format!("{} {}{beside}", it.pod.name, it.how.mode.as_str())
    };
    let mut all: Vec<String> = tables.followers(database).iter().map(following).collect();
    all.sort();
    all.join(", ")
}

fn wishing(name: &str, follow: Option<&str>, movement: Option<&str>) -> Pod {
    let own = |text: Option<&str>| text.map(str::to_owned);
    let wishes = Wishes { follow: own(follow), movement: own(movement), ..Wishes::default() };
    Pod { wishes: wishes.into(), ..pod(name) }
}

#[test]
fn whatever_changes_who_follows_whom_is_seen_at_once() {
    let mut tables = Tables::default();
    put_database(&mut tables, "orders", "evict");
    put_pod(&mut tables, pod("web-1"));
    assert_eq!(shown(&tables, "orders"), "", "its namespace is not opted in");
    tables.follow("shop", "orders");
    assert_eq!(shown(&tables, "orders"), "web-1 evict");
    put_pod(&mut tables, wishing("web-2", Some("orders,billing"), Some("restart")));
    assert_eq!(shown(&tables, "orders"), "web-1 evict, web-2 restart", "there is no other database");
    put_database(&mut tables, "billing", "never");
    assert_eq!(shown(&tables, "orders"), "web-1 evict, web-2 restart beside billing");
    assert_eq!(shown(&tables, "billing"), "web-2 restart beside orders");
    let before = tables.clone();
    put_database(&mut tables, "orders", "never");
    assert_eq!(shown(&tables, "orders"), "web-1 never, web-2 restart beside billing");
    assert_eq!(shown(&before, "orders"), "web-1 evict, web-2 restart beside billing", "a picture stays as it was");
    let going =
        Namespace { name: "shop".into(), opt_in: Some("orders".into()), terminating: true, ..Namespace::default() };
    tables.namespaces.apply(Event::Apply(going), |it| (it.name.clone(), Some(it)));
    assert_eq!(shown(&tables, "orders"), "web-1 never, web-2 never beside billing");
    tables.pods.apply(Event::Delete(()), |()| ("uid-web-1".to_owned(), None));
    tables.databases.apply(Event::Delete(()), |()| ("billing".to_owned(), None));
    assert_eq!((shown(&tables, "orders").as_str(), shown(&tables, "billing").as_str()), ("web-2 never", ""));
}

#[test]
fn a_namespace_of_which_nothing_has_changed_is_not_looked_at_again() {
    let mut tables = Tables::default();
    put_database(&mut tables, "orders", "evict");
    tables.follow("shop", "orders");
    tables.follow("bank", "orders");
    put_pod(&mut tables, pod("web-1"));
    put_pod(&mut tables, Pod { namespace: "bank".into(), ..pod("teller-1") });
    let parts = |tables: &Tables| {
        let all = tables.followers("orders");
        let part = |of: &Arc<Vec<Following>>| (of[0].pod.namespace.clone(), Arc::as_ptr(of) as usize);
        all.0.iter().map(part).collect::<BTreeMap<_, _>>()
    };
    let first = parts(&tables);
    assert!(Arc::ptr_eq(&tables.followers("orders"), &tables.followers("orders")), "nothing has changed");
    let kept = tables.followers("orders");
    put_pod(&mut tables, pod("web-2"));
    let then = parts(&tables);
    assert_eq!((first["bank"] == then["bank"], first["shop"] == then["shop"]), (true, false));
    assert_eq!(kept.iter().count(), 2, "what was handed out stays as it was");
}

proptest! {
    /// Who follows whom is what each pod on its own asks for.
    #[test]
    fn everybody_follows_whom_he_asks_for(steps in prop::collection::vec((
        0..4usize,
        prop::option::of(prop::sample::select(&["orders", "billing", "orders,billing", "none", "nobody", "?"][..])),
        prop::sample::select(&["shop", "bank", "elsewhere"][..]),
        any::<bool>(),
    ), 0..30)) {
        let mut tables = Tables::default();
        for (at, (number, follow, namespace, change)) in steps.into_iter().enumerate() {
            if change && at % 3 == 0 {
                put_database(&mut tables, ["orders", "billing"][at % 2], ["evict", "restart", "never"][number % 3]);
            } else if change {
                tables.follow(namespace, ["orders", "billing"][number % 2]);
            }
            put_pod(&mut tables, Pod { namespace: namespace.into(), ..wishing(&format!("p{number}"), follow, None) });
            for database in ["orders", "billing"] {
                let mut expected: Vec<String> = tables.pods.values().filter_map(|pod| {
                    let namespace = tables.namespaces.get(&pod.namespace)?;
                    let lookup = |name: &str| tables.defaults(name);
                    let says = namespace.wishes.says();
                    let all = Follow::resolve(namespace.opt_in.as_deref(), &says, &pod.wishes.says(), lookup).databases.ok()?;
                    let mine = all.iter().find(|it| &*it.name == database)?;
                    Some(format!("{} {} {}", pod.name, mine.move_mode.as_str(), all.len()))
                }).collect();
                let all = tables.followers(database);
                let following = |it: &Following| format!("{} {} {}", it.pod.name, it.how.mode.as_str(), it.how.others.len() + 1);
                let mut found: Vec<String> = all.iter().map(following).collect();
                expected.sort();
                found.sort();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
