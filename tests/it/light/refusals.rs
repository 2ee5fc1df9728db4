//! What the API server refuses, as by the admission policy of another team: labels of nodes, and pods for their affinity.

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::Deployment,
};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use super::support::{Patroni, SEVERAL_TICKS, Scene, eventually, objects::NEAR_PG1, scene, stays, until};

/// Somebody's policy that forbids every change of one node, until [`allow_changes`]; in force when this returns.
async fn forbid_changes(scene: &Scene, short: &str) -> Result<()> {
    let (name, node) = (scene.name, scene.node(short));
    let policies = Api::<ValidatingAdmissionPolicy>::all(scene.client.clone());
    let policy = json!({
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes"]},
            ]},
            "matchConditions": [{"name": "node", "expression": format!("object.metadata.name == '{node}'")}],
            "validations": [{"expression": "false", "message": "hands off"}],
        },
    });
    policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
    let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(scene.client.clone());
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}});
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    let change = json!({"metadata": {"annotations": {"example.com/changed": Timestamp::now().to_string()}}});
    until("the policy to be in force", async || Ok(scene.patch_node(short, change.clone()).await.err())).await?;
    Ok(())
}

async fn allow_changes(scene: &Scene) -> Result<()> {
    let params = DeleteParams::default();
    Api::<ValidatingAdmissionPolicyBinding>::all(scene.client.clone()).delete(scene.name, &params).await?;
    Api::<ValidatingAdmissionPolicy>::all(scene.client.clone()).delete(scene.name, &params).await?;
    Ok(())
}

/// Waits for a condition with this status and reason that tells of one node and ends with the policy's message.
async fn told(scene: &Scene, type_: &str, reason: &str, of: &str) -> Result<()> {
    until(type_, async || {
        let condition = scene.condition(scene.name, type_).await?;
        Ok(condition.filter(|(status, why, message)| {
            status == "False" && why == reason && message.contains(of) && message.ends_with("hands off")
        }))
    })
    .await?;
    Ok(())
}

#[test]
fn a_near_node_that_refuses_its_label_is_named_and_holds_nobody_up() {
    scene("refusing", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        assert_eq!(scene.zones(&namespace).await?, "2 in dc1", "born near the primary");
        forbid_changes(scene, "dc3-1").await?;

        patroni.switchover("pg3", 2);
        scene.labelled("dc1-1=far dc1-2=far dc3-1=far dc3-2=closely").await?;
        let near = ["web on dc3-2", "web on dc3-2"].map(str::to_owned).to_vec();
        eventually("every pod near the primary", near, async || scene.places(&namespace).await).await?;
        let named = format!("{} (far, should be closely): ", scene.node("dc3-1"));
        told(scene, "LabelsAccepted", "Refused", &named).await?;

        allow_changes(scene).await?;
        scene.labelled("dc1-1=far dc1-2=far dc3-1=closely dc3-2=closely").await?;
        scene.condition_becomes(scene.name, "LabelsAccepted", "True").await?;
        Ok(())
    });
}

#[test]
fn a_far_node_that_keeps_the_label_of_a_near_one_holds_everything() {
    scene("still-near", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        let before = scene.places(&namespace).await?;
        forbid_changes(scene, "dc1-1").await?;

        patroni.switchover("pg3", 2);
        scene.labelled("dc1-1=closely dc1-2=far dc3-1=closely dc3-2=closely").await?;
        let named = format!(
            "one node doesn't have its new label yet; the API server refuses it to nodes that look nearer than they are: \
             {} (closely, should be far): ",
            scene.node("dc1-1")
        );
        told(scene, "Moving", "LabelsPending", &named).await?;
        told(scene, "LabelsAccepted", "Refused", "(closely, should be far): ").await?;
        stays("the pods", SEVERAL_TICKS, before, async || scene.places(&namespace).await).await?;

        allow_changes(scene).await?;
        scene.labelled("dc1-1=far dc1-2=far dc3-1=closely dc3-2=closely").await?;
        eventually("every pod near the primary", "2 in dc3".to_owned(), async || scene.zones(&namespace).await).await
    });
}

/// Somebody's policy that takes no pod with affinity in this namespace; in force when this returns.
async fn forbid_affinity(scene: &Scene, namespace: &str) -> Result<()> {
    let policies = Api::<ValidatingAdmissionPolicy>::all(scene.client.clone());
    let policy = json!({
        "metadata": {"name": scene.name},
        "spec": {
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
                ],
            },
            "validations": [{"expression": "!has(object.spec.affinity)", "message": "no affinity here"}],
        },
    });
    policies.create(&PostParams::default(), &serde_json::from_value(policy)?).await?;
    let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(scene.client.clone());
    let binding =
        json!({"metadata": {"name": scene.name}, "spec": {"policyName": scene.name, "validationActions": ["Deny"]}});
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    let pod = scene.workload(namespace, "tried").with(json!({"affinity": {"nodeAffinity": {}}})).pod()?;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let pods = scene.pods(namespace);
    until("the policy to be in force", async || Ok(pods.create(&dry_run, &pod).await.err())).await?;
    Ok(())
}

/// A Deployment whose pods never run.
async fn begin(scene: &Scene, namespace: &str, spec: Value) -> Result<()> {
    let mut spec = spec;
    spec["containers"] = json!([{"name": "web", "image": "web"}]);
    let deployment = json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
    }});
    let api = Api::<Deployment>::namespaced(scene.client.clone(), namespace);
    api.create(&PostParams::default(), &serde_json::from_value(deployment)?).await?;
    Ok(())
}

/// The one event about a namespace.
async fn event(scene: &Scene, namespace: &str, reason: &str) -> Result<String> {
    until(reason, async || Ok(scene.events(namespace, reason).await?.pop())).await
}

#[test]
fn a_namespace_is_told_of_a_policy_that_refuses_what_is_injected_and_of_a_scheduler_that_nobody_named() {
    scene("leftout", async |scene| {
        scene.nodes(&[1, 3], 2).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled(NEAR_PG1).await?;
        let shop = scene.namespace("shop", Some(scene.name), json!({})).await?;
        forbid_affinity(scene, &shop).await?;
        begin(scene, &shop, json!({})).await?;
        let told = event(scene, &shop, "PodsRefused").await?;
        assert!(told.starts_with("ReplicaSet web-") && told.contains("no affinity here"), "{told}");
        assert!(told.contains("write switchover.dev/follow: none into the pod template"), "{told}");

        let packed = scene.namespace("packed", Some(scene.name), json!({})).await?;
        begin(scene, &packed, json!({"schedulerName": "packer"})).await?;
        let told = event(scene, &packed, "PodsLeftAlone").await?;
        assert!(told.starts_with("every pod of this namespace is left alone, such as web-"), "{told}");
        assert!(told.contains(": it is scheduled by packer."), "{told}");

        let params = DeleteParams::default();
        Api::<ValidatingAdmissionPolicyBinding>::all(scene.client.clone()).delete(scene.name, &params).await?;
        Api::<ValidatingAdmissionPolicy>::all(scene.client.clone()).delete(scene.name, &params).await?;
        Ok(())
    });
}
