//! A database in this Kubernetes, whose operator says who is primary.

use anyhow::Result;
use k8s_openapi::api::core::v1::{Endpoints, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::{DynamicObject, GroupVersionKind},
    discovery::ApiResource,
};
use serde_json::{Value, json};

use super::support::{SEVERAL_TICKS, Scene, eventually, scene, stays, until, world::NAMESPACE};

const NEAR_FIRST: &str = "dc1-1=closely dc3-1=far";
const NEAR_SECOND: &str = "dc1-1=far dc3-1=closely";

/// Two members, `orders-1` in dc1 and `orders-2` in dc3, as pods with these labels, and a node in each of both.
struct Members {
    pods: Api<Pod>,
    namespace: String,
}

impl Members {
    async fn start(scene: &Scene, labels: [Value; 2]) -> Result<Members> {
        scene.nodes(&[1, 3], 1).await?;
        let namespace = scene.namespace("db", None, json!({})).await?;
        let members = Members { pods: scene.pods(&namespace), namespace };
        for (name, zone, labels) in [("orders-1", 1, &labels[0]), ("orders-2", 3, &labels[1])] {
            members.start_one(name, &scene.node(&format!("dc{zone}-1")), labels).await?;
        }
        members.measure(scene).await?;
        Ok(members)
    }

    async fn start_one(&self, name: &str, node: &str, labels: &Value) -> Result<()> {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"nodeName": node, "containers": [{"name": "postgres", "image": "example.org/postgres:17"}]},
        }))?;
        self.pods.create(&PostParams::default(), &pod).await?;
        Ok(())
    }

    /// Makes the scene's database, which an operator of this kind runs.
    async fn found_by(&self, scene: &Scene, kind: &str) -> Result<()> {
        let operator = json!({"kind": kind, "namespace": self.namespace, "cluster": "orders"});
        scene.discovered(json!({ "operator": operator })).await
    }

    async fn address(&self, name: &str) -> Result<String> {
        until(&format!("{name} to be Ready at an address"), async || {
            let status = self.pods.get(name).await?.status.unwrap_or_default();
            let ready = status.conditions.iter().flatten().any(|it| it.type_ == "Ready" && it.status == "True");
            Ok(status.pod_ip.filter(|_| ready))
        })
        .await
    }

    /// What the agents would: 300 µs to the member in the same centre, 20 ms to the other one.
    async fn measure(&self, scene: &Scene) -> Result<()> {
        let (first, second) = (self.address("orders-1").await?, self.address("orders-2").await?);
        for (node, near, far) in [("dc1-1", &first, &second), ("dc3-1", &second, &first)] {
            scene.measure_hosts(node, &[(near, 300), (far, 20_000)]).await?;
        }
        Ok(())
    }

    async fn label(&self, name: &str, metadata: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        self.pods.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// What the node's controller writes when it has lost a node.
    async fn not_ready(&self, name: &str) -> Result<()> {
        let condition = json!({"type": "Ready", "status": "False", "reason": "NodeNotReady"});
        let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
        self.pods.patch_status(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

/// CloudNativePG's own labels.
fn instance(role: &str) -> Value {
    json!({"cnpg.io/cluster": "orders", "cnpg.io/podRole": "instance", "cnpg.io/instanceRole": role})
}

/// Patroni's own labels, and what it writes into its pod.
fn patroni(role: &str, timeline: u64) -> Value {
    let status = json!({"state": "running", "role": role, "timeline": timeline, "version": "4.1.5"});
    json!({
        "labels": {"cluster-name": "orders", "role": role},
        "annotations": {"status": status.to_string()},
    })
}

/// A custom resource that only has what is read: `CloudNativePG` itself isn't needed.
const CLUSTERS: &str = r#"{
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
    "metadata": {"name": "clusters.postgresql.cnpg.io"},
    "spec": {
        "group": "postgresql.cnpg.io", "scope": "Namespaced",
        "names": {"kind": "Cluster", "plural": "clusters", "singular": "cluster", "listKind": "ClusterList"},
        "versions": [{
            "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}
        }]
    }
}"#;

#[test]
fn cloud_native_pgs_primary_is_followed_and_the_label_of_a_dead_pod_is_not() {
    scene("cnpg", async |scene| {
        scene.world.kubectl(&["apply", "--server-side", "-f", "-"], CLUSTERS)?;
        scene.world.kubectl(&["wait", "--for=condition=Established", "crd/clusters.postgresql.cnpg.io"], "")?;
        let members = Members::start(scene, [instance("primary"), instance("replica")]).await?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("postgresql.cnpg.io", "v1", "Cluster"));
        let clusters: Api<DynamicObject> = Api::namespaced_with(scene.client.clone(), &members.namespace, &resource);
        clusters.create(&PostParams::default(), &DynamicObject::new("orders", &resource)).await?;
        let named = async |current: &str, target: &str, timeline: u64| -> Result<()> {
            let status = json!({"currentPrimary": current, "targetPrimary": target, "timelineID": timeline});
            let patch = Patch::Merge(json!({ "status": status }));
            clusters.patch_status("orders", &PatchParams::default(), &patch).await?;
            Ok(())
        };
        named("orders-1", "orders-1", 1).await?;

        // Without the component's rights it says so, and believes nothing.
        members.found_by(scene, "CloudNativePG").await?;
        let expected =
            "Unknown: no member answers: cnpg-db/orders (the watch of Cluster fails: clusters.postgresql.cnpg.io";
        scene.condition_says(scene.name, "PrimaryKnown", "False", expected).await?;
        let component = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/components/cloudnativepg/rbac.yaml");
        scene.world.kubectl(&["apply", "--server-side", "-f", component], "")?;
        scene.labelled(NEAR_FIRST).await?;
        let host = Some(members.address("orders-1").await?);
        eventually("the host", host, async || Ok(scene.status().await?.primary_host)).await?;

        named("orders-1", "orders-2", 1).await?;
        let promoting = "orders-2 is CloudNativePG's targetPrimary and is being promoted; currentPrimary is orders-1";
        scene.believed("Promoting", promoting).await?;
        named("orders-2", "orders-2", 2).await?;
        members.label("orders-1", json!({"labels": instance("replica")})).await?;
        members.label("orders-2", json!({"labels": instance("primary")})).await?;
        scene.labelled(NEAR_SECOND).await?;

        members.not_ready("orders-2").await?;
        let dead = "orders-2 is CloudNativePG's currentPrimary, but its pod is not Ready";
        scene.believed("Degraded", dead).await?;
        stays("the labels", SEVERAL_TICKS, NEAR_SECOND.to_owned(), async || scene.tiers().await).await?;

        // A new pod of the same name has another address.
        members.pods.delete("orders-1", &DeleteParams::default().grace_period(0)).await?;
        until("the old pod to go", async || Ok(members.pods.get_opt("orders-1").await?.is_none().then_some(())))
            .await?;
        members.start_one("orders-1", &scene.node("dc1-1"), &instance("primary")).await?;
        members.address("orders-1").await?;
        // The fake node would give it the same one again.
        let address = "10.99.0.1".to_owned();
        let patch = Patch::Merge(json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}}));
        members.pods.patch_status("orders-1", &PatchParams::default(), &patch).await?;
        scene.measure_hosts("dc1-1", &[(&address, 300)]).await?;
        scene.measure_hosts("dc3-1", &[(&address, 20_000)]).await?;
        named("orders-1", "orders-1", 3).await?;
        scene.labelled(NEAR_FIRST).await?;
        eventually("the host", Some(address), async || Ok(scene.status().await?.primary_host)).await
    });
}

#[test]
fn patronis_leader_lock_in_kubernetes_is_followed() {
    scene("patroni-objects", async |scene| {
        let labels = |role: &str| patroni(role, 1)["labels"].clone();
        let members = Members::start(scene, [labels("primary"), labels("replica")]).await?;
        for (name, role) in [("orders-1", "primary"), ("orders-2", "replica")] {
            members.label(name, patroni(role, 1)).await?;
        }
        let endpoints: Api<Endpoints> = Api::namespaced(scene.client.clone(), &members.namespace);
        let lock = async |leader: &str, renewed: &str| -> Result<()> {
            let annotations = json!({"leader": leader, "renewTime": renewed, "ttl": "3600"});
            let patch = Patch::Apply(json!({
                "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "orders", "annotations": annotations},
            }));
            endpoints.patch("orders", &PatchParams::apply("patroni").force(), &patch).await?;
            Ok(())
        };
        lock("orders-1", "2026-01-01T00:00:00+00:00").await?;

        // As docs/sources.md says: rights to these objects in this namespace. One to ConfigMaps isn't needed.
        let account = format!("{NAMESPACE}:switchover-controller");
        let role = ["--resource=endpoints", "--resource-name=orders", "--resource-name=orders-config"];
        let namespace = ["-n", &*members.namespace];
        let create = ["create", "role", "switchover", "--verb=get,list,watch"];
        scene.world.kubectl(&[&create[..], &role, &namespace].concat(), "")?;
        let account = format!("--serviceaccount={account}");
        let bind = ["create", "rolebinding", "switchover", "--role=switchover", &account];
        scene.world.kubectl(&[&bind[..], &namespace].concat(), "")?;
        members.found_by(scene, "Patroni").await?;
        scene.labelled(NEAR_FIRST).await?;

        // The lock moves, and the dead pod keeps its label.
        members.not_ready("orders-1").await?;
        scene.believed("Degraded", "orders-1 holds the leader lock, but its pod is not Ready").await?;
        lock("orders-2", "2026-01-01T00:01:00+00:00").await?;
        members.label("orders-2", patroni("primary", 2)).await?;
        scene.labelled(NEAR_SECOND).await?;
        // The status is written after the labels.
        eventually("the primary in the status", (Some("orders-2".to_owned()), Some(2)), async || {
            let status = scene.status().await?;
            Ok((status.primary, status.timeline))
        })
        .await?;
        assert!(members.pods.get("orders-1").await?.labels().get("role").is_some_and(|role| role == "primary"));
        Ok(())
    });
}
