//! A Rollout of Argo's, as far as switchover has to do with it: its definition has the fields of the real one that count here, and its
//! controller restarts pods as the real one does (argo-rollouts, `rollout/restart.go`).

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod, policy::v1::Eviction};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::task::{JoinSet, block_in_place};

use super::{Scene, Workload, custom::Operator};

/// How often the controller looks.
const LOOKS: Duration = Duration::from_millis(200);

impl Scene {
    /// The Rollouts of a namespace, which can be made from now on.
    pub(crate) fn rollouts(&self, namespace: &str) -> Result<Api<DynamicObject>> {
        block_in_place(|| self.define("rollouts.argoproj.io", &definition()))?;
        Ok(Api::namespaced_with(self.client.clone(), namespace, &rollout()))
    }

    /// Applies what deploy/components/argo-rollouts ships.
    pub(crate) fn argo_rollouts(&self) -> Result<()> {
        let file = |name: &str| format!("{}/deploy/components/argo-rollouts/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        self.world.kubectl(&["apply", "--server-side", "-f", &file("rbac"), "-f", &file("policy")], "")?;
        Ok(())
    }
}

impl Workload<'_> {
    /// A Rollout with a canary and its one ReplicaSet, and somebody who restarts its pods. Waits until all its replicas are available.
    pub(crate) async fn rollout(&self, replicas: u32) -> Result<Operator> {
        let rollouts = self.scene.rollouts(&self.namespace)?;
        let mut object = self.controlling(replicas);
        object["spec"]["strategy"] = json!({"canary": {"maxUnavailable": 1, "steps": [{"setWeight": 20}]}});
        let made = DynamicObject::new(self.name, &rollout()).data(json!({"spec": object["spec"]}));
        let made = rollouts.create(&PostParams::default(), &made).await?;
        let owner = made.controller_owner_ref(&rollout()).context("the Rollout has no UID")?;
        let mut set = self.controlling(replicas);
        set["metadata"]["ownerReferences"] = json!([owner]);
        let set: Api<ReplicaSet> = self.create(set).await?;
        let (name, pods) = (self.name, self.scene.pods(&self.namespace));
        let mut working = JoinSet::new();
        working.spawn(async move {
            loop {
                // Without an answer it looks again.
                let _ = reconcile(&rollouts, &pods, name).await;
                tokio::time::sleep(LOOKS).await;
            }
        });
        self.replicas_available(replicas, async || {
            Ok(set.get(self.name).await?.status.and_then(|status| status.available_replicas))
        })
        .await?;
        Ok(Operator { _working: working })
    }
}

/// One look: says that it has looked, and restarts the next pod, one at a time.
async fn reconcile(rollouts: &Api<DynamicObject>, pods: &Api<Pod>, name: &str) -> Result<()> {
    let rollout = rollouts.get(name).await?;
    let told = |status: Value| async move {
        let patch = Patch::Merge(json!({ "status": status }));
        rollouts.patch_status(name, &PatchParams::default(), &patch).await
    };
    let generation = rollout.metadata.generation.unwrap_or_default().to_string();
    if rollout.data["status"]["observedGeneration"] != json!(generation) {
        told(json!({"observedGeneration": generation, "selector": format!("app={name}")})).await?;
    }
    let restart_at = &rollout.data["spec"]["restartAt"];
    let Some(at) = restart_at.as_str().filter(|_| rollout.data["status"]["restartedAt"] != *restart_at) else {
        return Ok(());
    };
    let at: Timestamp = at.parse()?;
    if at > Timestamp::now() {
        return Ok(());
    }
    let there = pods.list(&ListParams::default().labels(&format!("app={name}"))).await?.items;
    let old = |pod: &&Pod| pod.metadata.creation_timestamp.as_ref().is_some_and(|created| created.0 < at);
    let Some(next) = there.iter().find(old) else {
        told(json!({ "restartedAt": restart_at })).await?;
        return Ok(());
    };
    let ready = |pod: &&Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        pod.metadata.deletion_timestamp.is_none()
            && conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True")
    };
    let wanted = rollout.data["spec"]["replicas"].as_u64().unwrap_or(1);
    if u64::try_from(there.iter().filter(ready).count())? >= wanted && next.metadata.deletion_timestamp.is_none() {
        let metadata = ObjectMeta { name: Some(next.name_any()), namespace: next.namespace(), ..ObjectMeta::default() };
        let eviction = Eviction { metadata, delete_options: None };
        pods.create_subresource::<_, Value>("eviction", &next.name_any(), &PostParams::default(), &eviction).await?;
    }
    Ok(())
}

fn rollout() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"))
}

/// The part of the real definition that is read or written here, or must not be.
fn definition() -> Value {
    let any = || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let number = || json!({"x-kubernetes-int-or-string": true});
    let time = || json!({"type": "string", "format": "date-time"});
    let canary = json!({"type": "object", "properties": {
        "maxSurge": number(), "maxUnavailable": number(), "steps": {"type": "array", "items": any()},
    }});
    let spec = json!({"type": "object", "properties": {
        "replicas": {"type": "integer", "format": "int32"},
        "minReadySeconds": {"type": "integer", "format": "int32"},
        "paused": {"type": "boolean"},
        "restartAt": time(),
        "selector": any(),
        "template": any(),
        "strategy": {"type": "object", "properties": {"canary": canary, "blueGreen": any()}},
    }});
    let status = json!({"type": "object", "properties": {
        "HPAReplicas": {"type": "integer", "format": "int32"},
        "observedGeneration": {"type": "string"},
        "restartedAt": time(),
        "selector": {"type": "string"},
    }});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.argoproj.io"},
        "spec": {
            "group": "argoproj.io",
            "scope": "Namespaced",
            "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout", "shortNames": ["ro"]},
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
                "subresources": {
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.HPAReplicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
            }],
        },
    })
}
