//! Owners are asked for, of an API server that is made up.

use std::sync::Arc;

use axum::{Json, Router, extract::Path, http::StatusCode, routing::get};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::core::{
    movement::workloads::{Workloads, workload_of},
    testing::{World, pod},
    workload::{Owner, Pod},
};

/// Three pods of a `Fleet`, which has a `scale` subresource, and one of a `Crate`, which hasn't.
fn tables() -> Tables {
    let of = |name: &str, kind: &str| -> Pod {
        let mut pod = pod(name).on("a1");
        let api = "example.com/v1".to_owned();
        pod.owner = Some(Owner { api, kind: kind.into(), name: "web".into(), uid: kind.into() }.into());
        pod
    };
    let world = World::with_nodes("a1=far b1=closely");
    let pods = [of("p", "Fleet"), of("q", "Fleet"), of("r", "Fleet"), of("s", "Crate")];
    let mut tables = Tables::from(&pods.into_iter().fold(world, World::pod));
    tables.follow("shop", "default");
    tables.put_database(
        &serde_json::from_value(json!({
            "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster",
            "metadata": {"name": "default", "uid": "1"},
            "spec": {"discovery": {"patroni": {"urls": ["http://10.0.0.1:8008"]}}},
        }))
        .unwrap(),
    );
    tables
}

/// An API server whose Fleet wants so many pods, or gives no answer.
fn cluster(wanted: &Arc<Mutex<Option<u32>>>) -> Client {
    let kind = |plural: &str, kind: &str| json!({"name": plural, "singularName": "", "kind": kind, "namespaced": true, "verbs": ["get"]});
    let kinds = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "example.com/v1",
        "resources": [
            kind("fleets", "Fleet"),
            {"name": "fleets/scale", "singularName": "", "namespaced": true, "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get"]},
            kind("crates", "Crate"),
        ],
    });
    let wanted = Arc::clone(wanted);
    let scale = async move |Path(plural): Path<String>| -> Result<Json<Value>, StatusCode> {
        if plural != "fleets" {
            return Err(StatusCode::NOT_FOUND);
        }
        let replicas = wanted.lock().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok(Json(json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "web", "namespace": "shop", "uid": "Fleet"},
            "spec": {"replicas": replicas}, "status": {"replicas": 3},
        })))
    };
    let router = Router::new()
        .route("/apis/example.com/v1", get(async || Json(kinds)))
        .route("/apis/example.com/v1/namespaces/shop/{plural}/web/scale", get(scale));
    Client::new(router, "default")
}

/// How many pods the workload of each pod wants, and whether it is being rolled out.
fn told(tables: &Tables) -> Vec<Option<(Option<u32>, bool)>> {
    let snapshot = tables.snapshot();
    let workloads = Workloads::of(snapshot, |_| true);
    let of = |name: &str| {
        let key = workload_of(snapshot, &snapshot.pods[&format!("uid-{name}")])?;
        workloads.get(&key).map(|it| (it.desired, it.rollout))
    };
    vec![of("p"), of("s")]
}

#[tokio::test]
async fn owners_that_no_watch_tells_of_are_counted_by_their_scale() {
    let mut tables = tables();
    let wanted = Arc::new(Mutex::new(Some(3)));
    let mut asking = Asking::new(&cluster(&wanted));
    let unknown = Some((None, false));
    assert_eq!(told(&tables), [unknown, unknown]);
    asking.look_once(&mut tables).await;
    assert_eq!(told(&tables), [Some((Some(3), false)), unknown], "a Crate has no scale");

    *wanted.lock() = Some(5);
    asking.look_once(&mut tables).await;
    assert_eq!(told(&tables)[0], Some((Some(5), false)));
    *wanted.lock() = Some(2);
    asking.look_once(&mut tables).await;
    assert_eq!(told(&tables)[0], Some((Some(3), false)), "a pod that is there may have been asked for since");

    let mut other = pod("q").on("a1").labelled("controller-revision-hash", "2");
    other.owner = tables.snapshot().pods["uid-q"].owner.clone();
    tables.put_pod("uid-q", Some(other));
    assert_eq!(told(&tables)[0], Some((Some(3), true)), "its pods are of two templates");

    *wanted.lock() = None;
    asking.look_once(&mut tables).await;
    assert_eq!(told(&tables)[0], unknown, "without an answer nothing is known");
}

#[tokio::test]
async fn the_owner_of_a_pod_on_the_move_is_asked_for_on_while_it_has_none() {
    let (mut tables, wanted) = (tables(), Arc::new(Mutex::new(Some(1))));
    let mut asking = Asking::new(&cluster(&wanted));
    let began = Instant::now();
    asking.want(&tables, began);
    for pod in ["p", "q", "r", "s"] {
        tables.put_pod(&format!("uid-{pod}"), None);
    }
    asking.want(&tables, began + Duration::from_secs(300));
    assert_eq!(asking.wanted.len(), 2);
    asking.want(&tables, began + GOES_ON);
    assert_eq!(asking.wanted.len(), 0);
}
