//! What admission would see if there were a database of a name, with its defaults, and nothing else to say against following it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{ExplainError, Template};
use crate::{
    admission::View,
    api::DatabaseCluster,
    core::{
        affinity::{Database, Namespace, Node, PrimaryBelief, TierSummary},
        distance::tier::Tier,
        follow::{Annotations, DatabaseDefaults},
        label_key::LabelKey,
        schedulers::Schedulers,
    },
};

/// A cluster that isn't there.
#[derive(Debug)]
pub(super) struct Invented {
    name: String,
    defaults: DatabaseDefaults,
    own_namespace: Arc<str>,
    schedulers: Schedulers,
}

impl Invented {
    /// # Errors
    /// No database can have this name.
    pub(super) fn new(name: &str, own_namespace: &str, schedulers: Schedulers) -> Result<Self, ExplainError> {
        let unusable = |why: String| ExplainError::Usage(format!("no DatabaseCluster can be called {name:?}: {why}"));
        LabelKey::of_database(name).map_err(|error| unusable(error.to_string()))?;
        let object: DatabaseCluster = serde_json::from_value(json!({
            "apiVersion": "switchover.dev/v1alpha1",
            "kind": "DatabaseCluster",
            "metadata": { "name": name },
            "spec": { "discovery": { "patroni": { "urls": ["http://127.0.0.1:8008"] } } },
        }))?;
        Ok(Self { name: name.to_owned(), defaults: object.defaults(), own_namespace: own_namespace.into(), schedulers })
    }

    /// Its primary is known, this pod's namespace follows it, and one node near it and one far from it suit the pod's own rules.
    pub(super) fn view(&self, template: &Template) -> View {
        let key = &self.defaults.node_label;
        let nodes = [Tier::Closely, Tier::Far].map(|tier| Arc::new(suiting(&template.pod["spec"], key, tier)));
        let database = Database {
            defaults: self.defaults.clone(),
            primary: PrimaryBelief::Known,
            epoch: 1,
            fresh_until: Instant::now() + Duration::from_secs(3600),
            nodes: Arc::new(TierSummary::new(&nodes, key)),
        };
        let namespace = Namespace::new(&self.name, Annotations::default());
        View {
            namespaces: Arc::new(HashMap::from([(template.namespace.as_str().into(), namespace)])),
            databases: Arc::new(HashMap::from([(self.name.as_str().into(), database)])),
            own_namespace: Arc::clone(&self.own_namespace),
            schedulers: self.schedulers.clone(),
            ..View::default()
        }
    }
}

/// A node that takes the pod, as far as its selector and the first term of its required affinity say which.
fn suiting(spec: &Value, key: &LabelKey, tier: Tier) -> Node {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in spec["nodeSelector"].as_object().into_iter().flatten() {
        labels.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let term = &required["nodeSelectorTerms"][0];
    let all = |list: &str| term[list].as_array().cloned().unwrap_or_default();
    for expression in all("matchExpressions") {
        if let (Some(key), Some(value)) = (expression["key"].as_str(), satisfying(&expression)) {
            labels.entry(key.to_owned()).or_insert(value);
        }
    }
    let name = all("matchFields").iter().find_map(satisfying).unwrap_or_else(|| "node".to_owned());
    labels.insert(key.to_string(), tier.label().unwrap_or_default().to_owned());
    Node::new(&name, true, labels)
}

/// A value by which the requirement holds; `None`: it holds without any.
fn satisfying(requirement: &Value) -> Option<String> {
    let first = requirement["values"][0].as_str();
    let beside = |by: i64| Some((first?.parse::<i64>().ok()?.checked_add(by)?).to_string());
    match requirement["operator"].as_str()? {
        "In" => first.map(str::to_owned),
        "Exists" => Some(String::new()),
        "Gt" => beside(1),
        "Lt" => beside(-1),
        _ => None,
    }
}
