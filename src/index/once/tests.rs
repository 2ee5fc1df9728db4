//! A cluster of a few objects that is listed once.

use std::{collections::HashMap, time::Instant};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::core::map::Map;

/// What is listed at each path, page by page.
type Lists = HashMap<&'static str, Vec<Vec<Value>>>;

async fn answer(State(lists): State<Lists>, uri: Uri) -> Response {
    let Some(pages) = lists.get(uri.path()) else {
        let status = json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden",
            "message": format!("nobody may list {}", uri.path()),
        });
        return (StatusCode::FORBIDDEN, Json(status)).into_response();
    };
    let token = uri.query().into_iter().flat_map(|query| query.split('&')).find_map(|it| it.strip_prefix("continue="));
    let page: usize = token.map_or(0, |token| token.parse().unwrap());
    let more = (page + 1 < pages.len()).then(|| (page + 1).to_string());
    Json(json!({"apiVersion": "v1", "kind": "List", "metadata": {"continue": more}, "items": pages[page]}))
        .into_response()
}

async fn look(lists: Lists, now: Moment) -> Result<Tables, LookError> {
    let client = Client::new(Router::new().fallback(answer).with_state(lists), "default");
    Index::look_once(&client, &Schedulers::default(), now).await
}

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": "1"}})
}

fn of(kind: &str, name: &str, spec: Value) -> Value {
    let mut object = named(name);
    object["apiVersion"] = json!("switchover.dev/v1alpha1");
    object["kind"] = json!(kind);
    object["spec"] = spec;
    object
}

fn lists(heartbeat: Timestamp) -> Lists {
    let discovery = json!({"discovery": {"patroni": {"urls": ["http://10.0.0.1:8008"]}}});
    let latency = json!({"heartbeat": heartbeat, "memberCount": 0, "readings": []});
    HashMap::from([
        (
            "/apis/switchover.dev/v1alpha1/databaseclusters",
            vec![vec![
                of("DatabaseCluster", "default", discovery),
                of("DatabaseCluster", "of-another-version", json!({"discovery": 7})),
            ]],
        ),
        ("/apis/switchover.dev/v1alpha1/nodelatencies", vec![vec![of("NodeLatency", "n1", latency)]]),
        ("/api/v1/nodes", vec![vec![named("n1"), named("n2")], vec![named("n3")], vec![]]),
        ("/api/v1/namespaces", vec![vec![named("shop")]]),
        ("/api/v1/pods", vec![vec![named("web-1")], vec![named("web-2")]]),
        ("/apis/apps/v1/replicasets", vec![vec![named("web-abc")]]),
        ("/apis/apps/v1/statefulsets", vec![vec![named("queue")]]),
        ("/apis/apps/v1/deployments", vec![vec![named("web")]]),
        ("/apis/policy/v1/poddisruptionbudgets", vec![vec![named("web")]]),
        ("/api/v1/resourcequotas", vec![vec![named("small")]]),
    ])
}

fn keys<K: Ord + Clone, V>(table: &Map<K, V>) -> Vec<K> {
    let mut keys: Vec<K> = table.keys().cloned().collect();
    keys.sort();
    keys
}

#[tokio::test]
async fn one_list_of_each_kind_fills_every_table() {
    let now = Moment { instant: Instant::now(), wall: Timestamp::from_second(2_000_000_000).unwrap() };
    let tables = look(lists(now.wall - SignedDuration::from_secs(7)), now).await.unwrap();
    assert_eq!(keys(tables.databases.live()), ["default", "of-another-version"]);
    let read = |name| tables.databases.get(name).unwrap().object.is_ok();
    assert_eq!(["default", "of-another-version"].map(read), [true, false]);
    assert_eq!(keys(tables.nodes.live()), ["n1", "n2", "n3"], "of three pages");
    assert_eq!(keys(tables.namespaces.live()), ["shop"]);
    assert_eq!(keys(tables.pods.live()), ["uid-web-1", "uid-web-2"]);
    assert_eq!(keys(&tables.all_workloads), ["uid-queue", "uid-web", "uid-web-abc"]);
    assert_eq!(keys(tables.snapshot().workloads), keys(&tables.all_workloads));
    assert_eq!(keys(tables.budgets.live()), ["uid-web"]);
    assert_eq!(keys(tables.quotas.live()), ["uid-small"]);
    let age = now.instant - tables.latencies.get("n1").unwrap().received;
    assert_eq!(age.as_secs(), 7, "by the heartbeat");
}

#[tokio::test]
async fn a_list_that_is_refused_is_named() {
    let now = Moment { instant: Instant::now(), wall: Timestamp::now() };
    let mut lists = lists(now.wall);
    lists.remove("/api/v1/pods");
    let error = look(lists, now).await.unwrap_err();
    assert_eq!(
        (error.to_string(), error.source.to_string()),
        ("can't list the Pods".to_owned(), "nobody may list /api/v1/pods".to_owned())
    );
}
