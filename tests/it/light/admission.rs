//! Pods of opted-in namespaces are born with affinity toward the primary; all others as they are.

use anyhow::{Context, Result};
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};
use switchover::api::keys;

use super::support::{Patroni, Scene, Workload, eventually, objects::NEAR_PG1, scene, until, world::WEBHOOK};

/// Nodes in dc1 and dc3, a database whose primary is in dc1, and a namespace that follows it and of which the webhook
/// knows.
async fn stage(scene: &Scene, annotations: Value) -> Result<(Patroni, String)> {
    scene.nodes(&[1, 3], 2).await?;
    let patroni = Patroni::start(scene.name).await?;
    scene.database(&patroni, json!({})).await?;
    scene.labelled(NEAR_PG1).await?;
    scene.condition_becomes(scene.name, "PrimaryKnown", "True").await?;
    let namespace = scene.namespace("shop", Some(scene.name), annotations).await?;
    let probe = scene.workload(&namespace, "probe").says(keys::AFFINITY, "required");
    eventually("the webhook to know the database and the namespace", required(scene), async || tried(&probe).await)
        .await?;
    Ok((patroni, namespace))
}

/// What admission made of a pod: its node affinity, and what it recorded of that.
fn born(pod: &Pod) -> Value {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()).and_then(|it| it.node_affinity.as_ref());
    let affinity = serde_json::to_value(affinity).unwrap_or_default();
    let injected = pod.annotations().get(keys::INJECTED);
    json!({
        "required": affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"],
        "preferred": affinity["preferredDuringSchedulingIgnoredDuringExecution"],
        "injected": injected.map(|text| serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.as_str().into())),
    })
}

/// The same for a pod that is created for show only.
async fn tried(workload: &Workload<'_>) -> Result<Value> {
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    Ok(born(&workload.scene.pods(&workload.namespace).create(&dry_run, &workload.pod()?).await?))
}

/// The first pod of a workload.
async fn first_pod(workload: &Workload<'_>) -> Result<Pod> {
    let mine = ListParams::default().labels(&format!("app={}", workload.name));
    let pods = workload.scene.pods(&workload.namespace).list(&mine).await?;
    pods.items.into_iter().next().context("the workload has no pod")
}

fn requires(scene: &Scene, operator: &str, value: &str) -> Value {
    json!({"key": keys::default_node_label(scene.name), "operator": operator, "values": [value]})
}

fn prefers(scene: &Scene, closely: u8, intermediate: u8) -> Value {
    let term = |weight: u8, value: &str| json!({"weight": weight, "preference": {"matchExpressions": [requires(scene, "In", value)]}});
    json!([term(closely, "closely"), term(intermediate, "intermediate")])
}

fn recorded(scene: &Scene, mode: &str) -> Value {
    json!([{"database": scene.name, "mode": mode, "epoch": 1}])
}

fn untouched() -> Value {
    json!({"required": null, "preferred": null, "injected": null})
}

fn preferred(scene: &Scene, closely: u8, intermediate: u8) -> Value {
    let preferred = prefers(scene, closely, intermediate);
    json!({"required": null, "preferred": preferred, "injected": recorded(scene, "preferred")})
}

fn avoid_far(scene: &Scene) -> Value {
    let required = json!([{"matchExpressions": [requires(scene, "NotIn", "far")]}]);
    json!({"required": required, "preferred": prefers(scene, 100, 50), "injected": recorded(scene, "avoid-far")})
}

fn required(scene: &Scene) -> Value {
    let required = json!([{"matchExpressions": [requires(scene, "In", "closely")]}]);
    json!({"required": required, "preferred": null, "injected": recorded(scene, "required")})
}

#[test]
fn pods_of_an_opted_in_namespace_are_born_near_the_primary_and_others_as_they_are() {
    scene("born", async |scene| {
        let (_patroni, shop) = stage(scene, json!({})).await?;
        let elsewhere = scene.namespace("elsewhere", None, json!({})).await?;
        for namespace in [&shop, &elsewhere] {
            scene.workload(namespace, "web").deployment(2).await?;
        }
        assert_eq!(scene.zones(&shop).await?, "2 in dc1");
        for pod in scene.pods(&shop).list(&ListParams::default()).await? {
            assert_eq!(born(&pod), preferred(scene, 100, 50));
        }
        for pod in scene.pods(&elsewhere).list(&ListParams::default()).await? {
            assert_eq!(born(&pod), untouched());
        }
        Ok(())
    });
}

#[test]
fn pods_full_of_rules_or_annotations_are_created_all_the_same() {
    scene("large", async |scene| {
        let (_patroni, shop) = stage(scene, json!({})).await?;
        let term = json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]});
        let terms = json!({"nodeSelectorTerms": vec![term; 15_000]});
        let spec = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}});
        let rules = scene.workload(&shop, "rules").says(keys::AFFINITY, "avoid-far").with(spec);
        let born = tried(&rules).await?;
        assert_eq!(born["required"], terms["nodeSelectorTerms"], "its own rules are as they were");
        let softened = json!([{"database": scene.name, "mode": "preferred", "asked": "avoid-far", "epoch": 1}]);
        assert_eq!((&born["preferred"], &born["injected"]), (&prefers(scene, 100, 50), &softened));
        let own = scene.world.usage(WEBHOOK)?.own_bytes >> 20;
        println!("after a pod with 15,000 terms the webhook has {own} MiB of its own");
        assert!(own < 64, "{own} MiB, of the 128 that it may have");

        let notes = "x".repeat(262_100);
        let noted = scene.workload(&shop, "noted").says("example.com/notes", &notes);
        let expected = json!({"required": null, "preferred": prefers(scene, 100, 50), "injected": null});
        assert_eq!(tried(&noted).await?, expected, "with one annotation more it would be refused");
        Ok(())
    });
}

#[test]
fn annotations_say_how_and_the_pods_override_the_namespaces() {
    scene("modes", async |scene| {
        let (_patroni, plain) = stage(scene, json!({})).await?;
        let following = async |name, says| scene.namespace(name, Some(scene.name), says).await;
        let soft = following("soft", json!({keys::WEIGHT: "60"})).await?;
        let avoiding = following("avoiding", json!({keys::AFFINITY: "avoid-far"})).await?;
        let requiring = following("requiring", json!({keys::AFFINITY: "required"})).await?;
        let nobody = scene.namespace("nobody", Some("none"), json!({})).await?;
        for (namespace, says, expected) in [
            (&plain, json!({}), preferred(scene, 100, 50)),
            (&plain, json!({keys::WEIGHT: "1"}), preferred(scene, 1, 1)),
            (&plain, json!({keys::FOLLOW: "none"}), untouched()),
            (&soft, json!({}), preferred(scene, 60, 30)),
            (&soft, json!({keys::WEIGHT: "7"}), preferred(scene, 7, 3)),
            (&avoiding, json!({}), avoid_far(scene)),
            (&avoiding, json!({keys::AFFINITY: "required"}), required(scene)),
            (&requiring, json!({}), required(scene)),
            (&requiring, json!({keys::AFFINITY: "preferred", keys::WEIGHT: "10"}), preferred(scene, 10, 5)),
            (&requiring, json!({keys::FOLLOW: "none"}), untouched()),
            (&nobody, json!({keys::FOLLOW: scene.name}), preferred(scene, 100, 50)),
            (&nobody, json!({}), untouched()),
        ] {
            let mut pod = scene.workload(namespace, "pod");
            pod.annotations = says.clone();
            // The first of each namespace waits until the webhook knows of it.
            eventually(&format!("a pod of {namespace} that says {says}"), expected, async || tried(&pod).await).await?;
        }

        let template = scene.workload(&avoiding, "web").says(keys::AFFINITY, "required");
        template.deployment(1).await?;
        assert_eq!(born(&first_pod(&template).await?), required(scene), "by the annotation in its template");
        Ok(())
    });
}

#[test]
fn a_wrong_value_stops_no_pod_and_the_warning_says_what_to_write() {
    scene("wrong", async |scene| {
        let (_patroni, shop) = stage(scene, json!({})).await?;
        let lost = scene.namespace("lost", Some("nowhere"), json!({})).await?;
        let create = async |namespace: &str, name: &'static str, key: &str, value: &str| {
            let pod = serde_json::to_string(&scene.workload(namespace, name).says(key, value).pod()?)?;
            let arguments = ["create", "--namespace", namespace, "-f", "-"];
            let (_, warned) = scene.world.kubectl_with_warnings(&arguments, &pod)?;
            anyhow::Ok((warned.trim().to_owned(), born(&scene.pods(namespace).get(name).await?)))
        };
        for (name, key, value, warning, expected) in [
            ("weight", keys::WEIGHT, "much", "write a weight of 1 to 100", preferred(scene, 100, 50)),
            ("mode", keys::AFFINITY, "soft", "write preferred, avoid-far or required", preferred(scene, 100, 50)),
            ("move", keys::MOVE, "often", "write auto, evict, restart or never", preferred(scene, 100, 50)),
            ("names", keys::FOLLOW, "a b", "write databases (a,b) or none", preferred(scene, 100, 50)),
            ("database", keys::FOLLOW, "nowhere", "no such DatabaseCluster", untouched()),
        ] {
            let warning = format!("Warning: pod annotation {key} \"{value}\": {warning}");
            assert_eq!(create(&shop, name, key, value).await?, (warning, expected));
        }

        let known = scene.workload(&lost, "probe").says(keys::FOLLOW, scene.name);
        eventually("the webhook to know the namespace", preferred(scene, 100, 50), async || tried(&known).await)
            .await?;
        let warning = format!("Warning: namespace label {} \"nowhere\": no such DatabaseCluster", keys::FOLLOW);
        assert_eq!(create(&lost, "pod", "a", "b").await?, (warning, untouched()));
        Ok(())
    });
}

#[test]
fn a_dry_run_shows_the_affinity_and_creates_nothing() {
    scene("dry-run", async |scene| {
        let (_patroni, shop) = stage(scene, json!({})).await?;
        let pod = serde_json::to_string(&scene.workload(&shop, "web").pod()?)?;
        let arguments = ["create", "--namespace", &shop, "--dry-run=server", "-o", "json", "-f", "-"];
        let (shown, warned) = scene.world.kubectl_with_warnings(&arguments, &pod)?;
        assert_eq!((born(&serde_json::from_str(&shown)?), &*warned), (preferred(scene, 100, 50), ""));
        assert_eq!(scene.places(&shop).await?, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn pods_that_belong_to_a_node_are_left_alone() {
    scene("of-a-node", async |scene| {
        let (_patroni, shop) = stage(scene, json!({keys::AFFINITY: "required"})).await?;
        let placed = scene.workload(&shop, "placed").with(json!({"nodeName": scene.node("dc3-1")}));
        placed.bare_pod().await?;
        assert_eq!(born(&first_pod(&placed).await?), untouched());

        let daemon = scene.workload(&shop, "daemon");
        let set: DaemonSet = serde_json::from_value(json!({
            "metadata": {"name": "daemon"},
            "spec": {"selector": {"matchLabels": {"app": "daemon"}}, "template": daemon.template()},
        }))?;
        Api::namespaced(scene.client.clone(), &shop).create(&PostParams::default(), &set).await?;
        until(
            "a pod of the DaemonSet on every node",
            async || Ok((daemon.pod_names().await?.len() == 4).then_some(())),
        )
        .await?;
        for pod in scene.pods(&shop).list(&ListParams::default().labels("app=daemon")).await? {
            let born = born(&pod);
            assert_eq!((&born["preferred"], &born["injected"]), (&Value::Null, &Value::Null));
            // Its own: the node that it is for.
            assert_eq!(born["required"][0]["matchFields"][0]["key"], "metadata.name");
            assert_eq!(born["required"][0]["matchExpressions"], Value::Null);
        }
        Ok(())
    });
}

#[test]
fn a_pods_own_rules_are_only_narrowed() {
    scene("narrowed", async |scene| {
        let (_patroni, shop) = stage(scene, json!({})).await?;
        let zone = |zone: &str| json!({"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]});
        let field = json!({"key": "metadata.name", "operator": "In", "values": [scene.node("dc1-1")]});
        let own = json!({
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [zone("dc1")]},
                {"matchExpressions": [zone("dc3")]},
                {"matchFields": [field]},
            ]},
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 5, "preference": {"matchExpressions": [zone("dc2")]}},
            ],
        });
        let picky = |mode| {
            scene.workload(&shop, "picky").says(keys::AFFINITY, mode).with(json!({"affinity": {"nodeAffinity": own}}))
        };
        let own_preferred =
            own["preferredDuringSchedulingIgnoredDuringExecution"].as_array().cloned().unwrap_or_default();
        for (mode, rule, added) in [
            ("required", requires(scene, "In", "closely"), json!([])),
            ("avoid-far", requires(scene, "NotIn", "far"), prefers(scene, 100, 50)),
        ] {
            let preferred: Vec<Value> =
                own_preferred.iter().chain(added.as_array().into_iter().flatten()).cloned().collect();
            let expected = json!({
                "required": [
                    {"matchExpressions": [zone("dc1"), rule]},
                    {"matchExpressions": [zone("dc3"), rule]},
                    {"matchFields": [field], "matchExpressions": [rule]},
                ],
                "preferred": preferred,
                "injected": recorded(scene, mode),
            });
            assert_eq!(tried(&picky(mode)).await?, expected, "{mode}");
        }

        // Where nothing would be left of them, the requirement becomes a wish.
        let far = scene.workload(&shop, "far").says(keys::AFFINITY, "required");
        let far = far.with(json!({"nodeSelector": {"topology.kubernetes.io/zone": "dc3"}}));
        let asked = json!([{"database": scene.name, "mode": "preferred", "asked": "required", "epoch": 1}]);
        let expected = json!({"required": null, "preferred": prefers(scene, 100, 50), "injected": asked});
        assert_eq!(tried(&far).await?, expected);
        Ok(())
    });
}
