//! A pod that is created for show in each namespace that follows: the API server does everything but keep it.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::PostParams};
use serde_json::{Value, json};

use crate::{
    api::{keys, read},
    cluster::{self, EffectError},
    commands::check::facts::{Came, Facts, Tried},
};

/// More namespaces aren't tried: each costs the API server and every webhook a pod.
const MOST: usize = 50;
const AT_ONCE: usize = 4;

pub(super) async fn try_all(client: &Client, facts: &Facts) -> Vec<Tried> {
    let one = |namespace: String| async move {
        let came = try_one(client, &namespace).await;
        Tried { namespace, came }
    };
    stream::iter(following(facts)).map(one).buffered(AT_ONCE).collect().await
}

/// The namespaces whose pods are injected, the first so many.
pub(super) fn following(facts: &Facts) -> Vec<String> {
    let namespaces = facts.namespaces.iter().flatten().filter_map(|namespace| {
        let database = read::opt_in(&namespace.metadata)?;
        // What the namespace says itself comes before its label, and is for `explain` to tell.
        let says_itself = namespace.annotations().contains_key(keys::FOLLOW);
        let name = namespace.name_any();
        let left_alone =
            name == "kube-system" || name == facts.namespace || namespace.metadata.deletion_timestamp.is_some();
        (!says_itself && !left_alone && is_accepted(facts, database)).then_some(name)
    });
    namespaces.take(MOST).collect()
}

/// Whether pods that follow it are injected: it is there, and its controller has nothing against it.
fn is_accepted(facts: &Facts, database: &str) -> bool {
    let object = facts.databases.iter().flatten().find(|it| it.name_any() == database);
    let conditions = object.and_then(|it| it.data.pointer("/status/conditions"));
    let accepted = |it: &Value| it["type"] == "Accepted" && it["status"] == "True";
    conditions.and_then(Value::as_array).is_some_and(|all| all.iter().any(accepted))
}

async fn try_one(client: &Client, namespace: &str) -> Came {
    match create(client, namespace, None).await {
        Ok(pod) => {
            let injected = pod.annotations().contains_key(keys::INJECTED);
            let spec = pod.spec.unwrap_or_default();
            Came::Back { injected, keys: keys_of(&spec.affinity), scheduler: spec.scheduler_name.unwrap_or_default() }
        }
        Err(error) => match create(client, namespace, Some(keys::FOLLOW_NONE)).await {
            Ok(_) => Came::RefusedWithAffinity(error.to_string()),
            Err(_) => Came::Unknown(format!("no pod can be created for show: {error}")),
        },
    }
}

async fn create(client: &Client, namespace: &str, follow: Option<&str>) -> Result<Pod, EffectError> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": "switchover-check-",
            "annotations": follow.map(|follow| json!({keys::FOLLOW: follow})).unwrap_or_else(|| json!({})),
        },
        // As the strictest of the Pod Security Standards wants it, and with what quotas ask for.
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "check", "image": "registry.k8s.io/pause:3.10",
                "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "10m", "memory": "10Mi"}},
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    let pod: Pod = serde_json::from_value(pod).map_err(kube::Error::SerdeError)?;
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    cluster::bounded(api.create(&params, &pod)).await
}

/// The keys of nodes' labels that an affinity asks for.
fn keys_of(affinity: &impl serde::Serialize) -> BTreeSet<String> {
    fn walk(value: &Value, keys: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                keys.extend(fields.get("key").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| walk(value, keys));
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, keys)),
            _ => {}
        }
    }
    let mut keys = BTreeSet::new();
    walk(&serde_json::to_value(affinity).unwrap_or_default()["nodeAffinity"], &mut keys);
    keys
}
