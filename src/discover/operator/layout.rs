//! Where each operator writes what: the labels of its pods, and the objects that name the primary.

use std::collections::BTreeMap;

use kube::{core::GroupVersionKind, discovery::ApiResource};

use crate::api::discovery::{OperatorDiscovery, OperatorKind};

/// What is watched of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    /// Label selector of the members' pods.
    pub selector: String,
    /// Key of the label that says who is primary.
    pub role_label: String,
    /// What it is there, if it is neither `primary` nor `master`.
    pub role_value: Option<String>,
    pub objects: Objects,
}

/// The objects that name the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Objects {
    CloudNativePg {
        cluster: String,
    },
    /// `scope` names Endpoints (`SCOPE`, `SCOPE-config`) or ConfigMaps (`SCOPE-leader`, `SCOPE-config`).
    Patroni {
        scope: String,
        config_maps: bool,
    },
}

/// One object to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    pub kind: &'static str,
    pub resource: ApiResource,
    pub name: String,
}

impl Layout {
    pub(super) fn of(spec: &OperatorDiscovery) -> Self {
        let OperatorDiscovery { kind, cluster, .. } = spec;
        let patroni = |suffix: &str, config_maps| Objects::Patroni {
            scope: spec.scope.clone().unwrap_or_else(|| format!("{cluster}{suffix}")),
            config_maps,
        };
        let (selector, role_label, objects) = match kind {
            OperatorKind::CloudNativePG => (
                // Poolers and jobs bear the cluster's label, too.
                format!("cnpg.io/cluster={cluster},cnpg.io/podRole=instance"),
                "cnpg.io/instanceRole",
                Objects::CloudNativePg { cluster: cluster.clone() },
            ),
            OperatorKind::Zalando => {
                (format!("application=spilo,cluster-name={cluster}"), "spilo-role", patroni("", true))
            }
            OperatorKind::Crunchy | OperatorKind::Percona => (
                // Only instances have this label: neither pgBouncer nor pgBackRest.
                format!(
                    "postgres-operator.crunchydata.com/cluster={cluster},postgres-operator.crunchydata.com/instance"
                ),
                "postgres-operator.crunchydata.com/role",
                patroni("-ha", false),
            ),
            OperatorKind::StackGres => {
                (format!("app=StackGresCluster,stackgres.io/cluster-name={cluster}"), "role", patroni("", false))
            }
            OperatorKind::Patroni => (format!("cluster-name={cluster}"), "role", patroni("", true)),
        };
        Self {
            selector: spec.labels.as_ref().map_or(selector, joined),
            role_label: spec.role_label.clone().unwrap_or_else(|| role_label.to_owned()),
            role_value: spec.role_value.clone(),
            objects,
        }
    }

    /// What to watch besides pods.
    pub(super) fn watched(&self) -> Vec<Watched> {
        match &self.objects {
            Objects::CloudNativePg { cluster } => vec![watched("Cluster", "postgresql.cnpg.io", "v1", cluster)],
            Objects::Patroni { scope, config_maps } => {
                let config = format!("{scope}-config");
                let mut all =
                    vec![watched("Endpoints", "", "v1", scope), watched("Endpoints", "", "v1", config.as_str())];
                if *config_maps {
                    all.push(watched("ConfigMap", "", "v1", &format!("{scope}-leader")));
                    all.push(watched("ConfigMap", "", "v1", &config));
                }
                all
            }
        }
    }

    /// Where Patroni keeps what is scheduled, which nobody needs to know to find the primary.
    pub(super) fn scheduled(&self) -> Vec<Watched> {
        match &self.objects {
            Objects::CloudNativePg { .. } => Vec::new(),
            Objects::Patroni { scope, config_maps } => {
                let kinds = ["Endpoints", "ConfigMap"].into_iter().take(if *config_maps { 2 } else { 1 });
                kinds.map(|kind| watched(kind, "", "v1", &format!("{scope}-failover"))).collect()
            }
        }
    }
}

fn watched(kind: &'static str, group: &str, version: &str, name: &str) -> Watched {
    Watched {
        kind,
        resource: ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)),
        name: name.to_owned(),
    }
}

fn joined(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
