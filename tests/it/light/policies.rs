//! What RBAC can't narrow, admission policies do: the controller's account tries what it never does, and is refused with a sentence.
//! That the product does all its work under the same policies is what every other scene shows.

use std::fmt::Debug;

use anyhow::{Context, Result};
use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingAdmissionPolicy},
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Node, Pod},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    rights::refusal,
    support::{Scene, scene, until, world::NAMESPACE},
};

async fn controller(scene: &Scene) -> Result<Client> {
    scene.world.bed.client_for_service_account(NAMESPACE, "switchover-controller").await
}

/// Tries each patch for its answer alone: nothing is kept of it. `Err`: what the refusal says.
async fn tried<K: Clone + DeserializeOwned + Debug>(
    api: &Api<K>,
    name: &str,
    rows: Vec<(&str, Value, Result<(), &str>)>,
) {
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let mut wrong = Vec::new();
    for (what, patch, expected) in rows {
        let answer = refusal(api.patch(name, &params, &Patch::Strategic(patch)).await);
        let right = match (&answer, expected) {
            (Ok(()), Ok(())) => true,
            (Err(said), Err(sentence)) => said.contains(sentence),
            _ => false,
        };
        if !right {
            wrong.push(format!("{what}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_policy_that_is_shipped_is_understood_by_the_api_server() {
    scene("policies", async |scene| {
        let policies: Api<ValidatingAdmissionPolicy> = Api::all(scene.client.clone());
        let found = until("the policies to be checked", async || {
            let found = policies.list(&ListParams::default()).await?.items;
            let checked = |policy: &ValidatingAdmissionPolicy| {
                policy.status.as_ref().and_then(|status| status.observed_generation) == policy.metadata.generation
            };
            Ok(found.iter().all(checked).then_some(found))
        })
        .await?;
        assert!(found.len() >= 8, "{} policies", found.len());
        for policy in &found {
            let checked = policy.status.as_ref().and_then(|status| status.type_checking.clone());
            let warnings = checked.and_then(|checked| checked.expression_warnings).unwrap_or_default();
            assert_eq!(warnings, [], "{}", policy.name_any());
        }
        Ok(())
    });
}

#[test]
fn the_controller_may_change_nothing_of_a_node_but_labels_and_taints_of_databases() {
    scene("narrow-nodes", async |scene| {
        scene.nodes(&[1], 1).await?;
        let theirs = json!({"key": "gpu", "value": "yes", "effect": "NoSchedule"});
        scene
            .patch_node(
                "dc1-1",
                json!({
                    "metadata": {"labels": {"dedicated": "payments", "example.com/ours": "closely"}},
                    "spec": {"taints": [theirs]},
                }),
            )
            .await?;
        let far = |key: &str| json!({"key": key, "value": "far", "effect": "NoExecute"});
        let label = |key: &str, value: Value| json!({"metadata": {"labels": {key: value}}});
        let labels = "the controller may write and remove only labels of databases, whose values are closely, intermediate and far: ";
        let [taints, else_] = [
            "the controller may add and remove only taints with the value far, and add only those whose key labels the node far",
            "the controller may change nothing of a node but labels and taints of databases",
        ];
        let dedicated = format!("{labels}dedicated belongs to somebody else");
        tried(
            &Api::<Node>::all(controller(scene).await?),
            &scene.node("dc1-1"),
            vec![
                ("a tier", label("example.com/new", json!("far")), Ok(())),
                ("another tier", label("example.com/ours", json!("far")), Ok(())),
                ("no tier any more", label("example.com/ours", json!(null)), Ok(())),
                ("a key that nodes can't write", label("node-restriction.kubernetes.io/db", json!("far")), Ok(())),
                (
                    "a label and its taint",
                    json!({"metadata": {"labels": {"example.com/ours": "far"}}, "spec": {"taints": [theirs, far("example.com/ours")]}}),
                    Ok(()),
                ),
                ("no tier", label("example.com/new", json!("near")), Err(labels)),
                ("over somebody else's", label("dedicated", json!("far")), Err(&dedicated)),
                ("somebody else's away", label("dedicated", json!(null)), Err(&dedicated)),
                ("a key of Kubernetes", label("topology.kubernetes.io/zone", json!("far")), Err(labels)),
                ("a taint without its label", json!({"spec": {"taints": [theirs, far("other")]}}), Err(taints)),
                (
                    "a taint that says something else",
                    json!({"spec": {"taints": [theirs, {"key": "example.com/ours", "value": "x", "effect": "NoExecute"}]}}),
                    Err(taints),
                ),
                ("somebody else's taint away", json!({"spec": {"taints": null}}), Err(taints)),
                ("a cordon", json!({"spec": {"unschedulable": true}}), Err(else_)),
                ("an annotation", json!({"metadata": {"annotations": {"a": "b"}}}), Err(else_)),
                ("a finalizer", json!({"metadata": {"finalizers": ["example.com/theirs"]}}), Err(else_)),
                (
                    "an owner",
                    json!({"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "gone", "uid": "none"}]}}),
                    Err(else_),
                ),
            ],
        )
        .await;
        Ok(())
    });
}

/// With the component of Rollouts, whose rights are of the whole bed: the scene that installs it asks.
pub(super) async fn the_controller_may_change_nothing_of_a_rollout_but_when_it_restarts(scene: &Scene) -> Result<()> {
    let (inside, outside) =
        (scene.namespace("in", Some("somebody"), json!({})).await?, scene.namespace("out", None, json!({})).await?);
    let made = json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web", "annotations": {"a": "b"}},
        "spec": {"replicas": 0, "strategy": {"canary": {"maxUnavailable": 1}}, "template": {"spec": {"containers": []}}},
    });
    for namespace in [&inside, &outside] {
        let made = serde_json::from_value(made.clone())?;
        scene.rollouts(namespace)?.create(&PostParams::default(), &made).await?;
    }
    let (client, params) = (controller(scene).await?, PatchParams { dry_run: true, ..PatchParams::default() });
    let rollouts = |namespace: &str| -> Api<DynamicObject> {
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
        Api::namespaced_with(client.clone(), namespace, &kind)
    };
    let restart = || {
        json!({
            "metadata": {"annotations": {"switchover.dev/restarted-for": "orders/2"}},
            "spec": {"restartAt": "2026-01-01T00:00:00Z"},
        })
    };
    let only = "may change nothing of a Rollout but spec.restartAt and the annotation switchover.dev/restarted-for";
    let try_ = async |namespace: &str, patch: Value| {
        refusal(rollouts(namespace).patch("web", &params, &Patch::Merge(patch)).await)
    };
    // Rights and policies need a moment until they hold.
    until("the policy to hold", async || {
        let answer = try_(&inside, json!({"spec": {"paused": true}})).await;
        Ok(answer.is_err_and(|said| said.contains(only)).then_some(()))
    })
    .await?;
    assert_eq!(try_(&inside, restart()).await, Ok(()));
    let elsewhere = try_(&outside, restart()).await.expect_err("it didn't opt in");
    assert!(elsewhere.contains("only in namespaces that opted in"), "{elsewhere}");
    for (what, patch) in [
        ("replicas", json!({"spec": {"replicas": 3}})),
        ("its strategy", json!({"spec": {"strategy": {"canary": {"maxUnavailable": 2}}}})),
        ("its template", json!({"spec": {"template": {"spec": {"nodeName": "here"}}}})),
        ("a field away", json!({"spec": {"strategy": null}})),
        ("an annotation", json!({"metadata": {"annotations": {"c": "d"}}})),
        ("an annotation away", json!({"metadata": {"annotations": {"a": null}}})),
        ("a label", json!({"metadata": {"labels": {"a": "b"}}})),
        ("a finalizer", json!({"metadata": {"finalizers": ["example.com/theirs"]}})),
    ] {
        let answer = try_(&inside, patch).await;
        assert!(answer.as_ref().is_err_and(|said| said.contains(only)), "{what}: {answer:?}");
    }
    Ok(())
}

#[test]
fn the_controller_evicts_only_the_pod_that_it_means_in_namespaces_that_opted_in() {
    scene("narrow-evict", async |scene| {
        scene.nodes(&[1], 1).await?;
        let client = controller(scene).await?;
        let inside = scene.namespace("in", Some("somebody"), json!({})).await?;
        let outside = scene.namespace("out", None, json!({})).await?;
        let evict = async |namespace: &str, options: Value| {
            let eviction = json!({"metadata": {"name": "web", "namespace": namespace}, "deleteOptions": options});
            let params = PostParams { dry_run: true, ..PostParams::default() };
            let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
            let answer: kube::Result<Value> = pods.create_subresource("eviction", "web", &params, &eviction).await;
            refusal(answer)
        };
        let mut uids = Vec::new();
        for namespace in [&inside, &outside] {
            scene.workload(namespace, "web").bare_pod().await?;
            uids.push(scene.pods(namespace).get("web").await?.uid());
        }
        let meant = |uid: &Option<String>| json!({"preconditions": {"uid": uid}});
        let said = |answer: Result<(), String>, sentence: &str| {
            let said = answer.expect_err(sentence);
            assert!(said.contains(sentence), "{said}");
        };
        assert_eq!(evict(&inside, meant(&uids[0])).await, Ok(()));
        let only_in = format!("only in namespaces that opted in by the label switchover.dev/follow, not in {outside}");
        said(evict(&outside, meant(&uids[1])).await, &only_in);
        let by_uid = "must say the UID of the pod that it evicts, and may not shorten the time that the pod has to end";
        said(evict(&inside, json!({})).await, by_uid);
        said(evict(&inside, json!({"gracePeriodSeconds": 0, "preconditions": {"uid": uids[0]}})).await, by_uid);
        Ok(())
    });
}

#[test]
fn the_controller_may_change_nothing_of_a_workload_but_the_marks_of_a_restart() {
    scene("narrow-work", async |scene| {
        let client = controller(scene).await?;
        let inside = scene.namespace("in", Some("somebody"), json!({})).await?;
        let outside = scene.namespace("out", None, json!({})).await?;
        for namespace in [&inside, &outside] {
            scene.workload(namespace, "web").deployment(0).await?;
            scene.workload(namespace, "store").stateful_set(0).await?;
        }
        let mark = json!({"spec": {"template": {"metadata": {"annotations": {
            "switchover.dev/restarted-for": "default/2", "kubectl.kubernetes.io/restartedAt": "2026-11-27T12:00:00Z",
        }}}}});
        let only = "may change nothing of a workload but the annotations switchover.dev/restarted-for and";
        let only_in = format!("only in namespaces that opted in by the label switchover.dev/follow, not in {outside}");
        let container = |of: &Value| of["spec"]["containers"][0]["name"].clone();
        let name = container(&scene.workload(&inside, "web").template());
        let spec = |of: Value| json!({"spec": {"template": {"spec": of}}});
        let rows = || {
            vec![
                ("the marks", mark.clone(), Ok(())),
                (
                    "another image",
                    spec(json!({"containers": [{"name": name, "image": "example.org/evil:1"}]})),
                    Err(only),
                ),
                ("another account", spec(json!({"serviceAccountName": "admin"})), Err(only)),
                ("the host's network", spec(json!({"hostNetwork": true})), Err(only)),
                (
                    "another annotation",
                    json!({"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}),
                    Err(only),
                ),
                ("a label of pods", json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}), Err(only)),
                ("other replicas", json!({"spec": {"replicas": 5}}), Err(only)),
                ("a label", json!({"metadata": {"labels": {"a": "b"}}}), Err(only)),
                ("an annotation", json!({"metadata": {"annotations": {"a": "b"}}}), Err(only)),
            ]
        };
        let mut of_deployments = rows();
        of_deployments.push(("a pause", json!({"spec": {"paused": true}}), Err(only)));
        of_deployments.push(("a way to roll out", json!({"spec": {"minReadySeconds": 60}}), Err(only)));
        let mut of_sets = rows();
        let retention = json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}});
        of_sets.push(("volumes that go", retention, Err(only)));
        let deployments = |namespace: &str| Api::<Deployment>::namespaced(client.clone(), namespace);
        let sets = |namespace: &str| Api::<StatefulSet>::namespaced(client.clone(), namespace);
        tried(&deployments(&inside), "web", of_deployments).await;
        tried(&sets(&inside), "store", of_sets).await;
        tried(&deployments(&outside), "web", vec![("the marks", mark.clone(), Err(&only_in))]).await;
        tried(&sets(&outside), "store", vec![("the marks", mark.clone(), Err(&only_in))]).await;
        Ok(())
    });
}

#[test]
fn the_controller_may_change_nothing_of_the_webhooks_configuration_but_whom_the_api_server_trusts() {
    scene("narrow-hook", async |scene| {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(controller(scene).await?);
        let found = configurations.get("switchover").await?;
        let webhook = found.webhooks.iter().flatten().next().context("a webhook")?;
        let url = webhook.client_config.url.clone();
        let change = |change: Value| {
            let mut webhook = json!({"name": "pods.switchover.dev"});
            json_patch::merge(&mut webhook, &change);
            json!({"webhooks": [webhook]})
        };
        let mut rule = json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]});
        let more = json!({"webhooks": [{
            "name": "more.switchover.dev", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://example.org/mutate"}, "rules": [rule.clone()],
        }]});
        rule["scope"] = "*".into();
        let only =
            "may change nothing of a webhook's configuration but the caBundle and the annotation switchover.dev/since";
        let authority = k8s_openapi::ByteString(scene.world.bed.authority().as_bytes().to_vec());
        tried(
            &configurations,
            "switchover",
            vec![
                (
                    "the authorities and since when",
                    json!({
                        "metadata": {"annotations": {"switchover.dev/since": "2026-11-27T12:00:00Z"}},
                        "webhooks": [{"name": "pods.switchover.dev", "clientConfig": {"url": url, "caBundle": authority}}],
                    }),
                    Ok(()),
                ),
                ("another server", change(json!({"clientConfig": {"url": "https://example.org/mutate"}})), Err(only)),
                ("every object", change(json!({"rules": [rule]})), Err(only)),
                ("every namespace", change(json!({"namespaceSelector": {"$patch": "replace"}})), Err(only)),
                ("no pod without us", change(json!({"failurePolicy": "Fail"})), Err(only)),
                ("longer", change(json!({"timeoutSeconds": 30})), Err(only)),
                ("another webhook", more, Err(only)),
                ("an annotation", json!({"metadata": {"annotations": {"a": "b"}}}), Err(only)),
                ("a label", json!({"metadata": {"labels": {"a": "b"}}}), Err(only)),
            ],
        )
        .await;
        Ok(())
    });
}
