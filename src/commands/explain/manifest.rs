//! Pods out of manifests: YAML or JSON, one or several documents, pods and the workloads that make them.

use serde_json::{Value, json};

/// A pod as a workload would create it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// `pod orders/web-1`, `pods of deployment orders/web`.
    pub subject: String,
    pub namespace: String,
    /// With metadata and spec.
    pub pod: Value,
}

/// Why a manifest says nothing about pods.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is neither YAML nor JSON: {0}")]
    Syntax(Box<serde_saphyr::Error>),
    #[error(
        "the manifest has no pod and nothing that makes pods, only {kinds}: write a Pod, Deployment, StatefulSet, Job …"
    )]
    NoPods { kinds: String },
}

/// Every pod template of a manifest. What has no namespace of its own is in `namespace`; what makes no pods is skipped.
///
/// # Errors
/// When it can't be parsed, or nothing in it makes pods.
pub(super) fn templates(text: &str, namespace: &str) -> Result<Vec<Template>, ManifestError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| ManifestError::Syntax(Box::new(error)))?;
    let objects = documents.into_iter().flat_map(|document| match document["items"].as_array() {
        Some(items) if document["kind"].as_str().is_some_and(|kind| kind.ends_with("List")) => items.clone(),
        _ => vec![document],
    });
    let objects: Vec<Value> = objects.filter(|object| !object.is_null()).collect();
    let found: Vec<Template> = objects.iter().filter_map(|object| template(object, namespace)).collect();
    if found.is_empty() {
        let kinds: Vec<&str> =
            objects.iter().map(|object| object["kind"].as_str().unwrap_or("something without a kind")).collect();
        let kinds = if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(", ") };
        return Err(ManifestError::NoPods { kinds });
    }
    Ok(found)
}

fn template(object: &Value, namespace: &str) -> Option<Template> {
    let kind = object["kind"].as_str()?;
    let template = match kind {
        "Pod" => object,
        "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => &object["spec"]["template"],
    };
    // Other kinds have a template, too, but none with containers.
    template["spec"]["containers"].as_array()?;
    let named = |value: &Value| value.as_str().map(str::to_owned);
    let namespace = named(&object["metadata"]["namespace"]).unwrap_or_else(|| namespace.to_owned());
    let name = named(&object["metadata"]["name"]).or_else(|| named(&object["metadata"]["generateName"]));
    let name = name.unwrap_or_else(|| "(without a name)".to_owned());
    let mut pod = json!({"metadata": template["metadata"], "spec": template["spec"]});
    let subject = if kind == "Pod" {
        format!("pod {namespace}/{name}")
    } else {
        // What owns a pod can matter: a DaemonSet's pods belong to their nodes.
        let owner =
            json!([{"apiVersion": object["apiVersion"], "kind": kind, "name": name, "uid": "", "controller": true}]);
        if pod["metadata"].is_null() {
            pod["metadata"] = json!({});
        }
        pod["metadata"]["ownerReferences"] = owner;
        format!("pods of {} {namespace}/{name}", kind.to_lowercase())
    };
    Some(Template { subject, namespace, pod })
}
