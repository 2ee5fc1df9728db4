//! Workloads of a custom resource, as operators have them: a `Fleet` with a `scale` subresource or a `Crate` without one, whose
//! object owns a ReplicaSet or the pods themselves.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::{
    Api, Resource,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tokio::task::{JoinSet, block_in_place};

use super::{Scene, Workload, until};

const GROUP: &str = "scenes.example.com";
const FLEET: Kind = Kind { name: "Fleet", plural: "fleets", scales: true };
const CRATE: Kind = Kind { name: "Crate", plural: "crates", scales: false };

/// How often an operator looks whether a pod is missing.
const LOOKS: Duration = Duration::from_millis(200);

/// A kind of custom resource.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    plural: &'static str,
    /// It has a `scale` subresource.
    scales: bool,
}

impl Kind {
    fn resource(self) -> ApiResource {
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1", self.name), self.plural)
    }
}

/// Does what the operator of a custom resource does, until it is dropped.
#[derive(Debug)]
pub(crate) struct Operator {
    pub(super) _working: JoinSet<()>,
}

impl Workload<'_> {
    /// A Fleet that owns a ReplicaSet, as a Rollout of Argo's does. Waits until all its replicas are available.
    pub(crate) async fn fleet_of_a_replica_set(&self, replicas: u32) -> Result<()> {
        let fleet = self.custom(FLEET, replicas).await?;
        let owner = fleet.controller_owner_ref(&FLEET.resource()).context("the Fleet has no UID")?;
        let mut set = self.controlling(replicas);
        set["metadata"]["ownerReferences"] = json!([owner]);
        let set: Api<ReplicaSet> = self.create(set).await?;
        self.counts(FLEET, replicas).await?;
        self.replicas_available(replicas, async || {
            Ok(set.get(self.name).await?.status.and_then(|status| status.available_replicas))
        })
        .await
    }

    /// A Fleet whose operator makes its pods itself, and makes them anew. Waits until they all run.
    pub(crate) async fn fleet_of_pods(&self, replicas: u32) -> Result<Operator> {
        self.pods_of(FLEET, replicas).await
    }

    /// The same as a Crate.
    pub(crate) async fn crate_of_pods(&self, replicas: u32) -> Result<Operator> {
        self.pods_of(CRATE, replicas).await
    }

    async fn pods_of(&self, kind: Kind, replicas: u32) -> Result<Operator> {
        let fleet = self.custom(kind, replicas).await?;
        let mut pod = self.pod()?;
        pod.metadata.name = None;
        pod.metadata.generate_name = Some(format!("{}-", self.name));
        pod.metadata.owner_references = fleet.controller_owner_ref(&kind.resource()).map(|owner| vec![owner]);
        let (fleets, pods) = (self.all(kind), self.scene.pods(&self.namespace));
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
        self.counts(kind, replicas).await?;
        let running = ListParams::default().labels(&format!("app={}", self.name)).fields("status.phase=Running");
        let running = async || {
            let running = self.scene.pods(&self.namespace).list(&running).await?.items.len();
            Ok((u32::try_from(running).ok() == Some(replicas)).then_some(()))
        };
        until(&format!("{replicas} running pods of {}", self.name), running).await?;
        Ok(Operator { _working: working })
    }

    async fn custom(&self, kind: Kind, replicas: u32) -> Result<DynamicObject> {
        block_in_place(|| self.define(kind))?;
        let fleet = DynamicObject::new(self.name, &kind.resource()).data(json!({"spec": {"replicas": replicas}}));
        Ok(self.all(kind).create(&PostParams::default(), &fleet).await?)
    }

    /// What `kubectl get fleet` and whoever asks `scale` is told.
    async fn counts(&self, kind: Kind, replicas: u32) -> Result<()> {
        let status = json!({"status": {"replicas": replicas, "selector": format!("app={}", self.name)}});
        self.all(kind).patch_status(self.name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    fn all(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.scene.client.clone(), &self.namespace, &kind.resource())
    }

    /// Every scene that needs it defines it; it stays as long as the bed does.
    fn define(&self, kind: Kind) -> Result<()> {
        let definition = format!("{}.{GROUP}", kind.plural);
        let scale = json!({
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        });
        let subresources = if kind.scales { json!({"status": {}, "scale": scale}) } else { json!({"status": {}}) };
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
                "names": {"kind": kind.name, "plural": kind.plural, "singular": kind.name.to_lowercase()},
                "versions": [{
                    "name": "v1",
                    "served": true,
                    "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": integer, "status": status}}},
                    "subresources": subresources,
                }],
            },
        });
        self.scene.define(&definition, &manifest)
    }
}

impl Scene {
    /// Makes a custom resource's definition of this name, unless another scene has, and waits until it is served.
    pub(super) fn define(&self, definition: &str, manifest: &Value) -> Result<()> {
        self.world.kubectl(&["apply", "--server-side", "-f", "-"], &manifest.to_string())?;
        let crd = format!("crd/{definition}");
        self.world.kubectl(&["wait", "--for=condition=Established", &crd, "--timeout=30s"], "")?;
        Ok(())
    }
}
