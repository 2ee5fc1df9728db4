//! Two leaders write the status of one database, to an API server that is made up.

use std::{cell::Cell, sync::Arc};

use axum::{
    Json, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, patch},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;

/// The object as it stands. Only its status is written to, under the version that it has.
#[derive(Clone)]
struct Cluster(Arc<Mutex<Value>>);

impl Cluster {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(json!({
            "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster",
            "metadata": {"name": "orders", "uid": "1", "resourceVersion": "1"},
            "spec": {"discovery": {"patroni": {"urls": ["http://10.0.0.1:8008"]}}},
            "status": {"epoch": 1},
        }))))
    }

    fn client(&self) -> Client {
        let path = "/apis/switchover.dev/v1alpha1/databaseclusters/orders";
        let (read, write) = (self.clone(), self.clone());
        let router = Router::new().route(path, get(async move || Json(read.0.lock().clone()))).route(
            &format!("{path}/status"),
            patch(async move |body: String| write.write(&serde_json::from_str(&body).unwrap())),
        );
        Client::new(router, "default")
    }

    fn write(&self, patch: &Value) -> Response {
        let mut object = self.0.lock();
        let named = &patch["metadata"]["resourceVersion"];
        if !named.is_null() && *named != object["metadata"]["resourceVersion"] {
            let status =
                json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409});
            return (StatusCode::CONFLICT, Json(status)).into_response();
        }
        object["status"] = patch["status"].clone();
        touch(&mut object);
        Json(object.clone()).into_response()
    }

    /// Somebody writes something else of it.
    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut object = self.0.lock();
        change(&mut object);
        touch(&mut object);
    }

    fn epoch(&self) -> Value {
        self.0.lock()["status"]["epoch"].clone()
    }

    /// What somebody knows who reads it now.
    async fn read(&self) -> Written {
        Written::read(cluster::read_database(&self.client(), "orders").await.unwrap())
    }
}

fn touch(object: &mut Value) {
    let version: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    object["metadata"]["resourceVersion"] = (version + 1).to_string().into();
}

fn of_epoch(epoch: u64) -> DatabaseClusterStatus {
    DatabaseClusterStatus { epoch, ..DatabaseClusterStatus::default() }
}

#[tokio::test]
async fn a_late_write_of_a_leader_that_was_deposed_does_not_overwrite_the_next_one_s() {
    let cluster = Cluster::new();
    let (mut former, mut next) = (cluster.read().await, cluster.read().await);
    assert!(next.bring(&cluster.client(), &of_epoch(3), || true).await.unwrap());
    // It was certain to lead when it sent this, and isn't any more when it has an answer.
    let asked = Cell::new(0);
    let leads = || asked.replace(asked.get() + 1) == 0;
    assert!(!former.bring(&cluster.client(), &of_epoch(2), leads).await.unwrap());
    assert_eq!((cluster.epoch(), asked.get()), (json!(3), 2));
}

#[tokio::test]
async fn whoever_leads_writes_on_when_something_else_of_the_database_was_written() {
    let cluster = Cluster::new();
    let mut leader = cluster.read().await;
    cluster.change(|object| object["spec"]["paused"] = true.into());
    assert!(leader.bring(&cluster.client(), &of_epoch(2), || true).await.unwrap());
    assert!(leader.bring(&cluster.client(), &of_epoch(3), || true).await.unwrap());
    assert_eq!((cluster.epoch(), &leader.status().epoch), (json!(3), &3));
}

#[tokio::test]
async fn a_database_that_was_made_anew_has_nothing_of_the_former_one_s_status() {
    let cluster = Cluster::new();
    let mut leader = cluster.read().await;
    cluster.change(|object| object["metadata"]["uid"] = "2".into());
    assert!(!leader.bring(&cluster.client(), &of_epoch(2), || true).await.unwrap());
    assert_eq!(cluster.epoch(), json!(1));
}
