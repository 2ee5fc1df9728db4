//! What bounds a workload besides its own wishes: quotas, priorities, volumes.

use anyhow::Result;
use k8s_openapi::api::{
    core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, ResourceQuota},
    scheduling::v1::PriorityClass,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{Scene, until};

impl Scene {
    /// What a namespace may use (`{"pods": "4"}`), whatever it might before. Waits until it holds.
    pub(crate) async fn quota(&self, namespace: &str, hard: Value) -> Result<()> {
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client.clone(), namespace);
        let quota = json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "quota"},
            "spec": {"hard": hard},
        });
        quotas.patch("quota", &PatchParams::apply("test").force(), &Patch::Apply(quota)).await?;
        until("the quota to be counted", async || {
            let quota = quotas.get("quota").await?;
            let counted = quota.status.and_then(|status| status.hard);
            Ok((counted.is_some() && counted == quota.spec.and_then(|spec| spec.hard)).then_some(()))
        })
        .await
    }

    /// Makes a priority class; its name.
    pub(crate) async fn priority(&self, short: &str, value: i32) -> Result<String> {
        let name = format!("{}-{short}", self.name);
        let class: PriorityClass =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": self.mark()}, "value": value}))?;
        Api::all(self.client.clone()).create(&PostParams::default(), &class).await?;
        Ok(name)
    }

    /// Makes a volume that waits for the claim of this name; `spec` is merged over that of one which can be had on every
    /// node. It goes with the namespace.
    pub(crate) async fn volume(&self, namespace: &str, claim: &str, spec: Value) -> Result<()> {
        let owner = Api::<Namespace>::all(self.client.clone()).get(namespace).await?;
        let mut whole = json!({
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "claimRef": {"namespace": namespace, "name": claim},
            "nfs": {"server": "nfs.example.com", "path": "/"},
        });
        json_patch::merge(&mut whole, &spec);
        let volume: PersistentVolume = serde_json::from_value(json!({
            "metadata": {
                "name": volume_of(namespace, claim),
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": owner.metadata.uid},
                ],
            },
            "spec": whole,
        }))?;
        Api::all(self.client.clone()).create(&PostParams::default(), &volume).await?;
        Ok(())
    }

    /// Makes a claim and the volume that it is bound to.
    pub(crate) async fn claim(&self, namespace: &str, name: &str) -> Result<()> {
        self.volume(namespace, name, json!({})).await?;
        let mut spec = wants_a_volume();
        spec["volumeName"] = volume_of(namespace, name).into();
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?;
        Api::namespaced(self.client.clone(), namespace).create(&PostParams::default(), &claim).await?;
        Ok(())
    }
}

/// The spec of a claim that is bound to a volume of [`Scene::volume`].
pub(crate) fn wants_a_volume() -> Value {
    json!({
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "resources": {"requests": {"storage": "1Gi"}},
    })
}

fn volume_of(namespace: &str, claim: &str) -> String {
    format!("{namespace}-{claim}")
}
