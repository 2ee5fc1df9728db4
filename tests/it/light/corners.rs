//! The corners of admission: wrong values that nobody is warned of, gated pods, changes of pods, pods that are never touched.

use anyhow::{Context, Result};
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use switchover::api::keys;

use super::support::{Scene, eventually, scene, until};

async fn create(scene: &Scene, namespace: &str, pod: &Pod, dry_run: bool) -> Result<Pod> {
    let params = PostParams { dry_run, ..PostParams::default() };
    Ok(scene.pods(namespace).create(&params, pod).await?)
}

fn injected(pod: &Pod) -> bool {
    pod.annotations().contains_key(keys::INJECTED)
}

/// Node affinity of a pod.
fn affinity(pod: &Pod) -> Value {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()).and_then(|it| it.node_affinity.as_ref());
    serde_json::to_value(affinity).unwrap_or_default()
}

#[test]
fn a_wrong_value_in_a_template_is_told_once_on_what_makes_the_pods() {
    scene("told", async |scene| {
        let (_patroni, shop) = scene.two_centres(json!({})).await?;
        let tried = scene.workload(&shop, "tried").says(keys::WEIGHT, "much").pod()?;
        create(scene, &shop, &tried, true).await?;
        scene.workload(&shop, "web").says(keys::WEIGHT, "much").deployment(3).await?;
        scene.workload(&shop, "last").says(keys::WEIGHT, "more").bare_pod().await?;

        let sets: Api<ReplicaSet> = Api::namespaced(scene.client.clone(), &shop);
        let set = sets.list(&ListParams::default()).await?.items.pop().context("the Deployment has no ReplicaSet")?;
        // Events are written in order: with the last one's, none of the others' is missing.
        let told = ["last".to_owned(), set.name_any()];
        eventually("the events", told.to_vec(), async || scene.told_of(&shop, "WrongValue").await).await?;
        let note = "pod annotation switchover.dev/weight \"much\": write a weight of 1 to 100; the default applies";
        assert_eq!(scene.events(&set.name_any(), "WrongValue").await?, [note]);
        let shown = scene.world.kubectl(&["describe", "replicaset", "--namespace", &shop], "")?;
        assert!(shown.contains(note), "{shown}");
        Ok(())
    });
}

#[test]
fn a_gated_pod_is_injected_at_its_creation_and_what_its_gatekeeper_adds_stays_beside_it() {
    scene("gated", async |scene| {
        let (_patroni, shop) = scene.two_centres(json!({})).await?;
        let gate = json!({"schedulingGates": [{"name": "example.com/quota"}]});
        let gated = scene.workload(&shop, "gated").says(keys::AFFINITY, "required").with(gate);
        let born = create(scene, &shop, &gated.pod()?, false).await?;
        let required = |more: &[Value]| {
            let ours = json!({"key": keys::default_node_label(scene.name), "operator": "In", "values": ["closely"]});
            let expressions: Vec<Value> = [ours].into_iter().chain(more.iter().cloned()).collect();
            json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": expressions}]}})
        };
        assert_eq!(affinity(&born), required(&[]));

        // The gatekeeper may narrow further while the gate is there, as Kubernetes allows.
        let zone = json!({"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["dc1"]});
        let narrowed = json!({"spec": {"affinity": {"nodeAffinity": required(std::slice::from_ref(&zone))}}});
        let patch =
            async |patch: Value| scene.pods(&shop).patch("gated", &PatchParams::default(), &Patch::Merge(patch)).await;
        assert_eq!(affinity(&patch(narrowed).await?), required(std::slice::from_ref(&zone)));
        // It may not take away what was injected.
        let loosened =
            json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": null}}}});
        assert!(matches!(patch(loosened).await, Err(kube::Error::Api(status)) if status.code == 422));

        let free = patch(json!({"spec": {"schedulingGates": null}})).await?;
        assert_eq!(affinity(&free), required(&[zone]));
        until("the pod to be placed", async || Ok((scene.zones(&shop).await? == "1 in dc1").then_some(()))).await
    });
}

#[test]
fn a_pod_that_was_gated_before_its_namespace_opted_in_stays_as_it_is() {
    scene("gated-before", async |scene| {
        let (_patroni, _shop) = scene.two_centres(json!({})).await?;
        let late = scene.namespace("late", None, json!({})).await?;
        let gate = json!({"schedulingGates": [{"name": "example.com/quota"}]});
        create(scene, &late, &scene.workload(&late, "gated").with(gate).pod()?, false).await?;
        scene.world.kubectl(&["label", "namespace", &late, &format!("{}={}", keys::FOLLOW, scene.name)], "")?;
        let probe = scene.workload(&late, "probe").pod()?;
        until("the webhook to know the namespace", async || {
            Ok(injected(&create(scene, &late, &probe, true).await?).then_some(()))
        })
        .await?;
        let free = Patch::Merge(json!({"spec": {"schedulingGates": null}}));
        let free = scene.pods(&late).patch("gated", &PatchParams::default(), &free).await?;
        assert_eq!((injected(&free), affinity(&free)), (false, Value::Null));
        Ok(())
    });
}

#[test]
fn changes_of_pods_and_of_what_lies_below_them_are_left_alone() {
    scene("below", async |scene| {
        let (_patroni, shop) = scene.two_centres(json!({})).await?;
        let opted_out = scene.workload(&shop, "web").says(keys::FOLLOW, "none");
        opted_out.bare_pod().await?;
        until("the pod to be placed", async || Ok((scene.places(&shop).await? != ["web on no node"]).then_some(())))
            .await?;
        let pods = scene.pods(&shop);
        // Now it would follow, if anybody looked.
        let follows = json!({"metadata": {"annotations": {keys::FOLLOW: null}}});
        let debug = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "example.org/none:1"}]}});
        let params = PatchParams::default();
        let changed = pods.patch("web", &params, &Patch::Merge(follows)).await?;
        let debugged = pods.patch_subresource("ephemeralcontainers", "web", &params, &Patch::Strategic(debug)).await?;
        assert_eq!(debugged.spec.as_ref().and_then(|it| it.ephemeral_containers.as_ref()).map(Vec::len), Some(1));
        for pod in [changed, debugged] {
            assert_eq!((injected(&pod), affinity(&pod)), (false, Value::Null));
        }
        Ok(())
    });
}

#[test]
fn each_pod_that_is_left_alone_is_counted_by_its_reason() {
    scene("corner-reasons", async |scene| {
        let (_patroni, shop) = scene.two_centres(json!({})).await?;
        let terms = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": keys::default_node_label(scene.name), "operator": "In", "values": ["closely"]}]}]}});
        let pods = [
            ("windows", scene.workload(&shop, "win").with(json!({"os": {"name": "windows"}}))),
            ("other_scheduler", scene.workload(&shop, "other").with(json!({"schedulerName": "example"}))),
            (
                "already_right",
                scene
                    .workload(&shop, "right")
                    .says(keys::AFFINITY, "required")
                    .with(json!({"affinity": {"nodeAffinity": terms}})),
            ),
            ("opted_out", scene.workload(&shop, "out").says(keys::FOLLOW, "none")),
        ];
        for (reason, workload) in pods {
            // Other scenes count, too: at least one more.
            let before = scene.world.webhook_counted("switchover_admission_requests_total", reason)?;
            let mut pod = workload.pod()?;
            pod.metadata.generate_name = pod.metadata.name.take().map(|name| name + "-");
            assert!(!injected(&create(scene, &shop, &pod, false).await?), "{reason}");
            assert!(scene.world.webhook_counted("switchover_admission_requests_total", reason)? > before, "{reason}");
        }
        let mut generated = scene.workload(&shop, "web").pod()?;
        generated.metadata.generate_name = generated.metadata.name.take().map(|name| name + "-");
        assert!(injected(&create(scene, &shop, &generated, false).await?), "a generated name is no obstacle");
        Ok(())
    });
}
