//! What admission decides on one pod, and what moves or holds one that runs.

use std::{collections::BTreeMap, time::Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    core::{DynamicObject, GroupVersionKind, PartialObjectMeta},
    discovery::ApiResource,
};
use serde_json::Value;

use super::{super::look::Look, ExplainError, Explanation, Followed, Running, Template, words};
use crate::{
    admission::View,
    api::DatabaseClusterStatus,
    core::{
        affinity::{Pod, Verdict},
        distance::tier::Tier,
        follow::{Follow, FollowedDatabase},
    },
};

/// Decides on one template as the webhook would now.
pub(super) fn explain(template: &Template, view: &View) -> Result<Explanation, ExplainError> {
    let unreadable = |source| ExplainError::Pod { what: template.subject.clone(), source };
    let text = serde_json::to_vec(&template.pod)?;
    let pod: Pod<'_> = serde_json::from_slice(&text).map_err(unreadable)?;
    let decision = view.decide(&template.namespace, &pod, Instant::now());
    let namespace = view.namespaces.get(template.namespace.as_str());
    let followed = namespace.and_then(|namespace| {
        let lookup = |name: &str| view.databases.get(name).map(|database| &database.defaults);
        Follow::resolve(namespace.label.as_deref(), &namespace.says(), &pod.says(), lookup).databases.ok()
    });
    let (patch, skipped, injected) = match decision.verdict {
        Verdict::Inject(injection) => (injection.operations, None, serde_json::from_str(&injection.summary)?),
        Verdict::Skip(reason) => (Vec::new(), Some(reason), Value::Null),
    };
    Ok(Explanation {
        subject: template.subject.clone(),
        follows: followed.unwrap_or_default().iter().map(|database| described(database, &injected)).collect(),
        injects: skipped.is_none(),
        reason: skipped.map(|reason| reason.as_str()),
        why: skipped.map(|reason| reason.to_string()),
        patch,
        warnings: decision.warnings.iter().map(ToString::to_string).collect(),
        running: None,
    })
}

fn described(database: &FollowedDatabase, injected: &Value) -> Followed {
    let records = injected.as_array().map(Vec::as_slice).unwrap_or_default();
    let record = records.iter().find(|record| record["database"] == *database.name);
    let mode = record.and_then(|record| record["mode"].as_str()).unwrap_or(database.mode.as_str());
    Followed {
        database: database.name.to_string(),
        node_label: database.node_label.to_string(),
        mode: database.mode.as_str(),
        weight: database.weight.closely(),
        movement: database.move_mode.as_str(),
        means: words::meaning(mode, database),
    }
}

/// The same of a pod that is there, and what moves or holds it.
pub(super) async fn explain_running(
    client: &Client,
    view: &View,
    (databases, look): (&[DynamicObject], Option<Look>),
    namespace: &str,
    name: &str,
) -> Result<Explanation, ExplainError> {
    let what = || format!("pod {namespace}/{name}");
    let found = pod(client, namespace, name).await?;

    let mut pod = serde_json::to_value(&found)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let node = text(&pod["spec"]["nodeName"]);
    let injected = text(&pod["metadata"]["annotations"]["switchover.dev/injected"]);
    // As it would be if it were created anew: not placed yet.
    if let Some(spec) = pod["spec"].as_object_mut() {
        spec.remove("nodeName");
    }
    let template = Template { subject: what(), namespace: namespace.to_owned(), min_ready_s: None, pod };
    let mut explanation = explain(&template, view)?;
    let labels = match &node {
        Some(node) => {
            let nodes: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
            let read = |source| ExplainError::Read { what: format!("node {node}"), source: Box::new(source) };
            nodes.get_opt(node).await.map_err(read)?.map(|node| node.metadata.labels.unwrap_or_default())
        }
        None => None,
    };
    let movement = explanation.follows.iter().map(|followed| {
        let object = databases.iter().find(|object| object.metadata.name.as_deref() == Some(&followed.database));
        let status = object.and_then(|object| serde_json::from_value(object.data["status"].clone()).ok());
        let status: DatabaseClusterStatus = status.unwrap_or_default();
        let label =
            |labels: &BTreeMap<String, String>| Tier::from_label(labels.get(&*followed.node_label).map(String::as_str));
        let tier = labels.as_ref().map(label);
        let decided = look.as_ref().and_then(|look| look.decide(&followed.database));
        let anew = decided.and_then(|decided| words::decided(&decided, found.metadata.uid.as_deref()?));
        let pod = format!("{namespace}/{name}");
        let movement = words::movement(&status, &pod, tier, anew.as_deref(), Timestamp::now());
        format!("{}: {movement}", followed.database)
    });
    explanation.running = Some(Running {
        movement: movement.collect(),
        // Somebody else may have written it: then it is shown as it is.
        injected: injected.map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
        node,
    });
    Ok(explanation)
}

/// A pod as the API server has it.
pub(super) async fn pod(client: &Client, namespace: &str, name: &str) -> Result<DynamicObject, ExplainError> {
    let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
    let pods: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let unread = |source| ExplainError::Read { what: format!("pod {namespace}/{name}"), source: Box::new(source) };
    pods.get(name).await.map_err(unread)
}
