//! Workloads of a custom resource, as Argo Rollouts and operators have them: a `Fleet` with a `scale` subresource, whose
//! object owns a ReplicaSet or the pods themselves.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::{
    Api, Resource,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::json;
use tokio::task::{JoinSet, block_in_place};

use super::{Workload, until};

const GROUP: &str = "scenes.example.com";
const KIND: &str = "Fleet";

/// How often an operator looks whether a pod is missing.
const LOOKS: Duration = Duration::from_millis(200);

/// Makes the pods of a Fleet until it is dropped.
#[derive(Debug)]
pub(crate) struct Operator {
    _working: JoinSet<()>,
}

impl Workload<'_> {
    /// A Fleet that owns a ReplicaSet, as a Rollout of Argo's does. Waits until all its replicas are available.
    pub(crate) async fn fleet_of_a_replica_set(&self, replicas: u32) -> Result<()> {
        let fleet = self.fleet(replicas).await?;
        let owner = fleet.controller_owner_ref(&kind()).context("the Fleet has no UID")?;
        let mut set = self.controlling(replicas);
        set["metadata"]["ownerReferences"] = json!([owner]);
        let set: Api<ReplicaSet> = self.create(set).await?;
        self.counts(replicas).await?;
        self.replicas_available(replicas, async || {
            Ok(set.get(self.name).await?.status.and_then(|status| status.available_replicas))
        })
        .await
    }

    /// A Fleet whose operator makes its pods itself, and makes them anew. Waits until they all run.
    pub(crate) async fn fleet_of_pods(&self, replicas: u32) -> Result<Operator> {
        let fleet = self.fleet(replicas).await?;
        let mut pod = self.pod()?;
        pod.metadata.name = None;
        pod.metadata.generate_name = Some(format!("{}-", self.name));
        pod.metadata.owner_references = fleet.controller_owner_ref(&kind()).map(|owner| vec![owner]);
        let (fleets, pods) = (self.fleets(), self.scene.pods(&self.namespace));
        let (name, mine) = (self.name, ListParams::default().labels(&format!("app={}", self.name)));
        let mut working = JoinSet::new();
        working.spawn(async move {
            loop {
                // Without an answer it looks again.
                let wanted = fleets.get(name).await.ok().and_then(|fleet| fleet.data["spec"]["replicas"].as_u64());
                if let (Some(wanted), Ok(there)) = (wanted, pods.list(&mine).await) {
                    let staying = there.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count();
                    for _ in u64::try_from(staying).unwrap_or(u64::MAX)..wanted {
                        let _ = pods.create(&PostParams::default(), &pod).await;
                    }
                }
                tokio::time::sleep(LOOKS).await;
            }
        });
        self.counts(replicas).await?;
        let running = ListParams::default().labels(&format!("app={}", self.name)).fields("status.phase=Running");
        let running = async || {
            let running = self.scene.pods(&self.namespace).list(&running).await?.items.len();
            Ok((u32::try_from(running).ok() == Some(replicas)).then_some(()))
        };
        until(&format!("{replicas} running pods of {}", self.name), running).await?;
        Ok(Operator { _working: working })
    }

    async fn fleet(&self, replicas: u32) -> Result<DynamicObject> {
        block_in_place(|| self.define_fleets())?;
        let fleet = DynamicObject::new(self.name, &kind()).data(json!({"spec": {"replicas": replicas}}));
        Ok(self.fleets().create(&PostParams::default(), &fleet).await?)
    }

    /// What `kubectl get fleet` and whoever asks `scale` is told.
    async fn counts(&self, replicas: u32) -> Result<()> {
        let status = json!({"status": {"replicas": replicas, "selector": format!("app={}", self.name)}});
        self.fleets().patch_status(self.name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    fn fleets(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.scene.client.clone(), &self.namespace, &kind())
    }

    /// Every scene that needs it defines it; it stays as long as the bed does.
    fn define_fleets(&self) -> Result<()> {
        let kind = kind();
        let definition = format!("{}.{GROUP}", kind.plural);
        let integer = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
        let status =
            json!({"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}});
        let manifest = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": definition},
            "spec": {
                "group": GROUP,
                "scope": "Namespaced",
                "names": {"kind": KIND, "plural": kind.plural, "singular": "fleet"},
                "versions": [{
                    "name": kind.version,
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": integer, "status": status}}},
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                }],
            },
        });
        self.scene.world.kubectl(&["apply", "--server-side", "-f", "-"], &manifest.to_string())?;
        let crd = format!("crd/{definition}");
        self.scene.world.kubectl(&["wait", "--for=condition=Established", &crd, "--timeout=30s"], "")?;
        Ok(())
    }
}

fn kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1", KIND), "fleets")
}
