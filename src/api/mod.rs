//! What people and the roles write into Kubernetes: custom resources, labels and annotations.

pub mod database_cluster;
pub mod keys;
pub mod node_latency;
pub mod span;

pub use database_cluster::{DatabaseCluster, DatabaseClusterSpec, DatabaseClusterStatus};
pub use node_latency::{NodeLatency, NodeLatencySpec};
pub use span::Span;

/// The API group of the custom resources.
pub const GROUP: &str = "switchover.dev";
/// The one served and stored version.
pub const VERSION: &str = "v1alpha1";

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// The definitions that `switchover crds` prints and `deploy/base/crds.yaml` holds.
#[must_use]
pub fn custom_resource_definitions() -> Vec<CustomResourceDefinition> {
    vec![DatabaseCluster::crd(), NodeLatency::crd()]
}
