//! What a command of a person's is about: a database, a namespace, a workload, or everything.

use std::{fmt, str::FromStr};

use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::json;

use super::{
    kinds::{in_full, is_called},
    lines::workload_path,
};

use crate::{
    api::{DatabaseCluster, keys},
    cluster::{self, ClusterError, DatabaseError, EffectError, bounded},
};

/// As what people's commands write.
const FIELD_MANAGER: &str = "switchover-cli";

/// The kinds of workloads that annotations are read of, in the order in which they are looked for.
const KINDS: [(&str, &str); 3] =
    [("Deployment", "deployments"), ("StatefulSet", "statefulsets"), ("ReplicaSet", "replicasets")];

/// Why something can't be found or changed.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("can't read {what}")]
    Read { what: String, source: EffectError },
    #[error("there is no {what}")]
    Missing { what: String },
    #[error("more than one workload is called {name}: write {choices}")]
    Ambiguous { name: String, choices: String },
    #[error("can't change {what}")]
    Change { what: String, source: EffectError },
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// A workload as people name it: `NAMESPACE/NAME` or `NAMESPACE/KIND/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WorkloadName {
    pub namespace: String,
    /// `Deployment`, `StatefulSet` or `ReplicaSet`, if it was said.
    pub kind: Option<&'static str>,
    pub name: String,
}

impl FromStr for WorkloadName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let error = || format!("{text:?}: write NAMESPACE/NAME or NAMESPACE/KIND/NAME, such as shop/deployment/web");
        let parts: Vec<&str> = text.split('/').collect();
        let (namespace, kind, name) = match parts[..] {
            [namespace, name] => (namespace, None, name),
            [namespace, kind, name] => (namespace, Some(kind), name),
            _ => return Err(error()),
        };
        let known = |typed: &str| {
            let typed = in_full(typed);
            let initials =
                |kind: &str| kind.chars().filter(char::is_ascii_uppercase).collect::<String>().to_lowercase();
            KINDS.into_iter().map(|(kind, _)| kind).find(|kind| is_called(kind, &typed) || initials(kind) == typed)
        };
        let kind = match kind {
            Some(kind) => Some(known(kind).ok_or_else(error)?),
            None => None,
        };
        if namespace.is_empty() || name.is_empty() {
            return Err(error());
        }
        Ok(Self { namespace: namespace.to_owned(), kind, name: name.to_owned() })
    }
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => f.write_str(&workload_path(&self.namespace, kind, &self.name)),
            None => write!(f, "{}/{}", self.namespace, self.name),
        }
    }
}

/// An object whose annotations are changed.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// For people: `the Deployment web of shop`.
    pub what: String,
    api: Api<DynamicObject>,
    pub object: DynamicObject,
}

impl Target {
    /// A DatabaseCluster.
    ///
    /// # Errors
    /// No answer, missing rights, or no such object; so it is of the others.
    pub(super) async fn database(client: &Client, name: &str) -> Result<Self, TargetError> {
        let object = cluster::database(client, name).await?;
        let api = Api::all_with(client.clone(), &ApiResource::erase::<DatabaseCluster>(&()));
        Ok(Self { what: format!("the DatabaseCluster {name}"), api, object })
    }

    /// A namespace.
    ///
    /// # Errors
    /// As of a database.
    pub(super) async fn namespace(client: &Client, name: &str) -> Result<Self, TargetError> {
        let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Namespace"), "namespaces");
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        Self::found(api, name, format!("namespace {name}"))
            .await?
            .ok_or_else(|| TargetError::Missing { what: format!("namespace {name}") })
    }

    /// A workload; one of its name if no kind was said.
    ///
    /// # Errors
    /// As of a database; also when several have the name.
    pub(super) async fn workload(client: &Client, workload: &WorkloadName) -> Result<Self, TargetError> {
        let WorkloadName { namespace, kind, name } = workload;
        let mut found = Vec::new();
        for (each, plural) in KINDS.into_iter().filter(|(each, _)| kind.is_none_or(|kind| kind == *each)) {
            let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("apps", "v1", each), plural);
            let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
            let target = Self::found(api, name, format!("{each} {name} of {namespace}")).await?;
            found.extend(target.map(|target| (each, target)));
        }
        if found.len() > 1 {
            let choices = found.iter().map(|(kind, _)| workload_path(namespace, kind, name));
            let choices = choices.collect::<Vec<_>>().join(" or ");
            return Err(TargetError::Ambiguous { name: workload.to_string(), choices });
        }
        let missing = || TargetError::Missing {
            what: format!("{} {name} in {namespace}", kind.unwrap_or("Deployment, StatefulSet or ReplicaSet")),
        };
        found.pop().map(|(_, target)| target).ok_or_else(missing)
    }

    async fn found(api: Api<DynamicObject>, name: &str, what: String) -> Result<Option<Self>, TargetError> {
        match bounded(api.get_opt(name)).await {
            Ok(object) => Ok(object.map(|object| Self { what: format!("the {what}"), api, object })),
            Err(source) => Err(TargetError::Read { what, source }),
        }
    }

    /// Writes annotations, or takes them off (`None`), in the name of whoever typed the command.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(super) async fn annotate(&self, annotations: &[(&str, Option<String>)]) -> Result<(), TargetError> {
        let annotations: serde_json::Map<_, _> =
            annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        self.change(&json!({ "metadata": { "annotations": annotations } })).await
    }

    /// Changes the object.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(super) async fn change(&self, patch: &serde_json::Value) -> Result<(), TargetError> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        match bounded(self.api.patch(&self.object.name_any(), &params, &Patch::Merge(patch))).await {
            Ok(_) => Ok(()),
            Err(source) => Err(TargetError::Change { what: self.what.clone(), source }),
        }
    }

    /// Whether one of the annotations by which something is paused stands on it.
    #[must_use]
    pub(super) fn bears_a_pause(&self) -> bool {
        [keys::PAUSED, keys::PAUSED_UNTIL].iter().any(|key| self.object.annotations().contains_key(*key))
    }
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    #[test]
    fn a_workload_is_named_with_its_kind_or_without() {
        let rows = [
            ("shop/web", Ok("shop/web")),
            ("shop/deployment/web", Ok("shop/deployment/web")),
            ("shop/Deployments/web", Ok("shop/deployment/web")),
            ("shop/deploy/web", Ok("shop/deployment/web")),
            ("shop/sts/db", Ok("shop/statefulset/db")),
            ("shop/rs/web", Ok("shop/replicaset/web")),
            ("web", Err(())),
            ("shop/cronjob/web", Err(())),
            ("/web", Err(())),
            ("a/b/c/d", Err(())),
        ];
        check_rows(rows, |(text, expected)| {
            let read = text.parse::<WorkloadName>().map(|name| name.to_string());
            assert_eq!(read.as_deref().map_err(|_| ()), expected, "{text}");
        });
    }
}
