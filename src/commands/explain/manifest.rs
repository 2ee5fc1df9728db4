//! Pods out of manifests: YAML or JSON, one or several documents, pods and the workloads that make them.

use serde_json::{Value, json};

/// Values of one manifest, so that none takes all memory: of some 25,000 workloads.
const MOST_NODES: usize = 10_000_000;

/// A pod as a workload would create it.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// `pod orders/web-1`, `pods of deployment orders/web`.
    pub subject: String,
    pub namespace: String,
    /// `minReadySeconds` of whoever makes it; `None` where nobody knows.
    pub min_ready_s: Option<u32>,
    /// With metadata and spec.
    pub pod: Value,
}

/// Why a manifest says nothing about pods.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest is neither YAML nor JSON: {0}")]
    Syntax(Box<serde_saphyr::Error>),
    #[error("the manifest is too large or too deep: it may have {0} values; split it")]
    TooLarge(usize),
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
    let documents = read(text)?;
    let objects = documents.into_iter().flat_map(|document| match items(&document) {
        Some(items) => items.clone(),
        None => vec![document],
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

/// Every document.
///
/// # Errors
/// When it can't be parsed.
pub(super) fn read(text: &str) -> Result<Vec<Value>, ManifestError> {
    documents(text, MOST_NODES)
}

/// What is in a list.
pub(super) fn items(document: &Value) -> Option<&Vec<Value>> {
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    document["items"].as_array().filter(|_| is_list)
}

/// Where an object of this kind has its pod, as a JSON pointer (RFC 6901).
pub(super) fn place(kind: &str) -> &'static str {
    match kind {
        "Pod" => "",
        "CronJob" => "/spec/jobTemplate/spec/template",
        _ => "/spec/template",
    }
}

/// One document of JSON, or any number of YAML. A key that stands twice counts where it stands last, as for the API server.
pub(super) fn documents(text: &str, most_nodes: usize) -> Result<Vec<Value>, ManifestError> {
    if let Ok(document) = serde_json::from_str(text) {
        return Ok(vec![document]);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: most_nodes,
            max_events: 4 * most_nodes,
            max_documents: most_nodes,
            max_total_scalar_bytes: usize::MAX,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| match error.without_snippet() {
        serde_saphyr::Error::Budget { .. } => ManifestError::TooLarge(most_nodes),
        _ => ManifestError::Syntax(Box::new(error)),
    })
}

/// The pod that this object is, or that it would create.
pub(super) fn template(object: &Value, namespace: &str) -> Option<Template> {
    let kind = object["kind"].as_str()?;
    let template = object.pointer(place(kind))?;
    // Other kinds have a template, too, but none with containers.
    template["spec"]["containers"].as_array()?;
    let named = |value: &Value| value.as_str().map(str::to_owned);
    let namespace = named(&object["metadata"]["namespace"]).unwrap_or_else(|| namespace.to_owned());
    let name = named(&object["metadata"]["name"]).or_else(|| named(&object["metadata"]["generateName"]));
    let name = name.unwrap_or_else(|| "(without a name)".to_owned());
    let min_ready_s = object["spec"]["minReadySeconds"].as_u64().unwrap_or(0);
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
    Some(Template { subject, namespace, min_ready_s: u32::try_from(min_ready_s).ok(), pod })
}
