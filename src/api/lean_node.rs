//! Of a Node what admission looks at.

use std::borrow::Cow;

use k8s_openapi::{
    ClusterResourceScope,
    api::core::v1::{Node, NodeCondition, NodeSpec, NodeStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use serde::Deserialize;

/// A Node of which the rest (images, which are most of it, addresses, capacity) is passed over as it is read.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct LeanNode {
    #[serde(default)]
    metadata: ObjectMeta,
    spec: Option<NodeSpec>,
    status: Option<LeanStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct LeanStatus {
    conditions: Option<Vec<NodeCondition>>,
}

impl From<LeanNode> for Node {
    fn from(LeanNode { metadata, spec, status }: LeanNode) -> Self {
        let status = status.map(|LeanStatus { conditions }| NodeStatus { conditions, ..NodeStatus::default() });
        Self { metadata, spec, status }
    }
}

impl Resource for LeanNode {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Node::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Node::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Node::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Node::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_admission_looks_at_is_kept_and_the_rest_is_not_even_read() {
        let mut node = json!({
            "metadata": {"name": "n1", "resourceVersion": "5", "labels": {"switchover": "far"}},
            "spec": {"unschedulable": true, "taints": [{"key": "a", "effect": "NoSchedule"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        let expected: Node = serde_json::from_value(node.clone()).unwrap();
        for passed_over in ["images", "addresses", "capacity", "volumesInUse"] {
            node["status"][passed_over] = json!("of any type");
        }
        let lean: LeanNode = serde_json::from_value(node).unwrap();
        assert_eq!((lean.meta().name.as_deref(), Node::from(lean.clone())), (Some("n1"), expected));
    }
}
