//! Nodes that go off, and pods that crash.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use lab::light::LEFT_ALONE;
use serde_json::{Value, json};

use super::Scene;

fn left_alone(value: Option<&str>) -> Patch<Value> {
    Patch::Merge(json!({"metadata": {"annotations": {LEFT_ALONE: value}}}))
}

fn ready(status: &str, reason: &str) -> Patch<Value> {
    let condition = json!({"type": "Ready", "status": status, "reason": reason});
    Patch::Strategic(json!({"status": {"conditions": [condition]}}))
}

impl Scene {
    /// A node goes off: its pods serve nobody any more, and its controller says what it says half a minute later.
    pub(crate) async fn power_off(&self, short: &str) -> Result<()> {
        let (name, params) = (self.node(short), PatchParams::default());
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.patch(&name, &params, &left_alone(Some("off"))).await?;
        nodes.patch_status(&name, &params, &ready("Unknown", "NodeStatusUnknown")).await?;
        for pod in Api::<Pod>::all(self.client.clone())
            .list(&ListParams::default().fields(&format!("spec.nodeName={name}")))
            .await?
        {
            let pods = self.pods(&pod.namespace().context("a pod without a namespace")?);
            pods.patch(&pod.name_any(), &params, &left_alone(Some("off"))).await?;
            pods.patch_status(&pod.name_any(), &params, &ready("False", "NodeNotReady")).await?;
        }
        let taint = |effect: &str| json!({"key": "node.kubernetes.io/unreachable", "effect": effect});
        let taints = json!({"spec": {"taints": [taint("NoSchedule"), taint("NoExecute")]}});
        nodes.patch(&name, &params, &Patch::Merge(taints)).await?;
        Ok(())
    }

    /// A pod of this namespace that is Ready in a data centre crashes, and isn't Ready until it recovers; its name.
    pub(crate) async fn crash_one(&self, namespace: &str, zone: &str) -> Result<String> {
        let pods = self.pods(namespace);
        let there = pods.list(&ListParams::default()).await?.items;
        let serves = |pod: &&Pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            let ready = conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True");
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
            ready && node.starts_with(&self.node(zone)) && pod.metadata.deletion_timestamp.is_none()
        };
        let name = there.iter().find(serves).context("no pod is Ready there")?.name_any();
        let params = PatchParams::default();
        pods.patch(&name, &params, &left_alone(Some("crashed"))).await?;
        pods.patch_status(&name, &params, &ready("False", "ContainersNotReady")).await?;
        Ok(name)
    }

    /// A pod that crashed runs again.
    pub(crate) async fn recover(&self, namespace: &str, pod: &str) -> Result<()> {
        let (pods, params) = (self.pods(namespace), PatchParams::default());
        pods.patch(pod, &params, &left_alone(None)).await?;
        pods.patch_status(pod, &params, &ready("True", "Running")).await?;
        Ok(())
    }
}
