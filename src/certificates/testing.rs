//! An API server that knows two Secrets and one webhook configuration, as far as [`super::install`] uses it.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use kube::Client;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value, json};

/// The objects by name. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Objects(Arc<Mutex<Map<String, Value>>>);

type Answer = (StatusCode, Json<Value>);

impl Objects {
    /// Nothing but a webhook configuration that trusts these authorities (PEM).
    pub(crate) fn with_configuration(bundle: &str) -> Self {
        let objects = Self::default();
        objects.put(
            "switchover",
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": "switchover"},
                "webhooks": [{
                    "name": super::install::WEBHOOK,
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "clientConfig": {
                        "caBundle": base64(bundle),
                        "service": {"name": "switchover-webhook", "namespace": "switchover-system"},
                    },
                }],
            }),
        );
        objects
    }

    pub(crate) fn client(&self) -> Client {
        let secrets = "/api/v1/namespaces/{namespace}/secrets/{name}";
        let configurations = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{name}";
        let router = Router::new()
            .route(
                secrets,
                get(|s, Path((_, name)): Path<(String, String)>| read(s, name))
                    .patch(|s, Path((_, name)): Path<(String, String)>, body| write(s, name, body)),
            )
            .route(
                configurations,
                get(|s, Path(name): Path<String>| read(s, name))
                    .patch(|s, Path(name): Path<String>, body| write(s, name, body)),
            )
            .with_state(self.clone());
        Client::new(router, "default")
    }

    pub(crate) fn get(&self, name: &str) -> Value {
        self.lock().get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn put(&self, name: &str, mut object: Value) {
        let mut objects = self.lock();
        object["metadata"]["resourceVersion"] = version_after(objects.get(name)).into();
        objects.insert(name.to_owned(), object);
    }

    pub(crate) fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(name);
        change(&mut object);
        self.put(name, object);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// A file of a Secret as text.
    pub(crate) fn file(&self, secret: &str, file: &str) -> String {
        text(&self.get(secret)["data"][file])
    }

    /// The `caBundle` as text.
    pub(crate) fn bundle(&self) -> String {
        text(&self.get("switchover")["webhooks"][0]["clientConfig"]["caBundle"])
    }

    fn lock(&self) -> MutexGuard<'_, Map<String, Value>> {
        self.0.lock()
    }
}

fn version_after(object: Option<&Value>) -> String {
    let version = object.and_then(|object| object["metadata"]["resourceVersion"].as_str()?.parse::<u64>().ok());
    (version.unwrap_or(0) + 1).to_string()
}

fn status(code: StatusCode) -> Answer {
    let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
    let body =
        json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": reason});
    (code, Json(body))
}

async fn read(State(objects): State<Objects>, name: String) -> Answer {
    objects.lock().get(&name).map_or_else(|| status(StatusCode::NOT_FOUND), |it| (StatusCode::OK, Json(it.clone())))
}

/// A Secret is applied as a whole; of the configuration, the one webhook is merged.
async fn write(State(objects): State<Objects>, name: String, body: Bytes) -> Answer {
    let Ok(mut patch) = serde_json::from_slice::<Value>(&body) else { return status(StatusCode::BAD_REQUEST) };
    let mut all = objects.lock();
    let before = all.get(&name).cloned();
    let version = &patch["metadata"]["resourceVersion"];
    if !version.is_null() && before.as_ref().is_none_or(|before| before["metadata"]["resourceVersion"] != *version) {
        return status(StatusCode::CONFLICT);
    }
    let next = version_after(before.as_ref());
    if let (Some(mut before), true) = (before, patch["webhooks"].is_array()) {
        let webhook = patch["webhooks"][0].take();
        patch.as_object_mut().map(|patch| patch.remove("webhooks"));
        json_patch::merge(&mut before["webhooks"][0], &webhook);
        json_patch::merge(&mut before, &patch);
        patch = before;
    }
    patch["metadata"]["resourceVersion"] = next.into();
    all.insert(name, patch.clone());
    (StatusCode::OK, Json(patch))
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

fn text(value: &Value) -> String {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default());
    String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
}
