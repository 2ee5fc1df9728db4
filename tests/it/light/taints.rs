//! Far nodes are tainted when a database asks for it, and a taint that evicts keeps to the rules of any movement.

use anyhow::Result;
use jiff::SignedDuration;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::support::{Patroni, SEVERAL_TICKS, Scene, Witness, eventually, objects::NEAR_PG1, scene, stays, until};

const NEAR_PG3: &str = "dc1-1=far dc1-2=far dc3-1=closely dc3-2=closely";
const DC1_CLOSED: &str = "dc1-1=NoSchedule dc1-2=NoSchedule";
const DC1_EMPTIED: &str = "dc1-1=NoExecute dc1-2=NoExecute";
const DC3_EMPTIED: &str = "dc3-1=NoExecute dc3-2=NoExecute";

#[test]
fn far_nodes_are_tainted_when_the_database_asks_for_it() {
    scene("taint", async |scene| {
        scene.nodes(&[1, 2, 3], 1).await?;
        let theirs = json!([{"key": "example.com/theirs", "value": "far", "effect": "NoSchedule"}]);
        scene.patch_node("dc3-1", json!({"spec": {"taints": theirs}})).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({"taint": {"effect": "PreferNoSchedule"}})).await?;
        scene.tainted("dc3-1=PreferNoSchedule").await?;
        patroni.switchover("pg3", 2);
        scene.tainted("dc1-1=PreferNoSchedule dc2-1=PreferNoSchedule").await?;
        scene.patch_database(json!({"taint": {"effect": "NoSchedule"}})).await?;
        scene.tainted("dc1-1=NoSchedule dc2-1=NoSchedule").await?;
        scene.patch_database(json!({"taint": null})).await?;
        scene.tainted("").await?;
        let nodes = scene.own_nodes().await?;
        let taints = nodes.iter().filter_map(|node| node.spec.as_ref()?.taints.as_ref()).flatten();
        let foreign: Vec<&str> = taints.map(|taint| taint.key.as_str()).collect();
        assert_eq!(foreign, ["example.com/theirs"], "somebody else's taint was touched");
        Ok(())
    });
}

fn evicting(more: &Value) -> Value {
    let mut spec = json!({"taint": {"effect": "NoExecute", "evictWithoutBudgets": true}});
    json_patch::merge(&mut spec, more);
    spec
}

/// [`Scene::two_centres`] with a taint that evicts; pods near pg1 that follow and that a budget keeps where they are, and
/// pods of somebody who doesn't follow. The two namespaces.
async fn stage(scene: &Scene, spec: &Value) -> Result<(Patroni, [String; 2])> {
    let (patroni, shop) = scene.two_centres(evicting(spec)).await?;
    scene.tainted(DC3_EMPTIED).await?;
    let theirs = scene.namespace("theirs", None, json!({})).await?;
    let web = scene.workload(&shop, "web");
    web.deployment(2).await?;
    web.budget_of("guard", 0).await?;
    scene.workload(&theirs, "api").deployment(2).await?;
    assert_eq!(zones(scene, &[&shop, &theirs]).await?, ["2 in dc1", "2 in dc1"]);
    Ok((patroni, [shop, theirs]))
}

async fn zones(scene: &Scene, namespaces: &[&str]) -> Result<Vec<String>> {
    let mut zones = Vec::new();
    for namespace in namespaces {
        zones.push(scene.zones(namespace).await?);
    }
    Ok(zones)
}

#[test]
fn a_taint_that_evicts_waits_until_the_primary_has_held_and_then_empties_node_after_node() {
    scene("evicts", async |scene| {
        let settle = SignedDuration::from_secs(6);
        let (patroni, [shop, theirs]) = stage(scene, &json!({"movement": {"settle": "6s"}})).await?;
        let look = async || Ok((zones(scene, &[&shop, &theirs]).await?, scene.taints().await?));
        let two_in = |zone: &str| vec![format!("2 in {zone}"); 2];
        let witness = Witness::of(scene, &shop).await?;

        patroni.switchover("pg3", 2);
        let waiting = (two_in("dc1"), DC1_CLOSED.to_owned());
        eventually("the wait", waiting.clone(), look).await?;
        stays("the wait", SEVERAL_TICKS, waiting, look).await?;
        eventually("the emptied nodes", (two_in("dc3"), DC1_EMPTIED.to_owned()), look).await?;

        let failovers = scene.status().await?.failovers;
        let confirmed = failovers.iter().find(|it| it.epoch == 2).and_then(|it| it.confirmed_at);
        let seen = witness.seen();
        // A condition's time has whole seconds.
        let earliest = confirmed.expect("a confirmed primary") + settle - SignedDuration::from_secs(1);
        let first = seen.first_deletion_by_taint.expect("a pod deleted because of the taint");
        assert!(first >= earliest, "{first}: before {earliest}");
        assert_eq!((seen.deleted_by_taint.len(), seen.evicted.len()), (2, 0), "past the budget");

        let past = "NoExecute deletes pods past their PodDisruptionBudgets; on 2 of 2 far nodes".to_owned();
        let done = Some(("True".to_owned(), "Done".to_owned(), past.clone()));
        eventually("the condition", done, async || scene.condition(scene.name, "EvictsByTaint").await).await?;
        assert_eq!(scene.events(scene.name, "EvictsWithoutBudgets").await?.len(), 1, "told once");
        let shown = scene.world.switchover(&["status", scene.name])?;
        assert!(shown.contains(&format!("WARNING: spec.taint.evictWithoutBudgets: {past}")), "{shown}");

        // Whoever takes the word back, or the database away, takes the taint along.
        scene.patch_database(json!({"taint": {"effect": "NoSchedule", "evictWithoutBudgets": null}})).await?;
        scene.tainted(DC1_CLOSED).await?;
        eventually("no condition", None, async || scene.condition(scene.name, "EvictsByTaint").await).await?;
        scene.patch_database(evicting(&json!({}))).await?;
        scene.tainted(DC1_EMPTIED).await?;
        scene.databases().delete(scene.name, &DeleteParams::default()).await?;
        let gone = async || Ok(scene.databases().get_opt(scene.name).await?.is_none().then_some(()));
        until("the database to be gone", gone).await?;
        assert_eq!(scene.taints().await?, "");
        Ok(())
    });
}

#[test]
fn a_taint_that_evicts_goes_with_a_pause_and_comes_back_after_it() {
    scene("evict-paused", async |scene| {
        let (patroni, [shop, theirs]) = stage(scene, &json!({})).await?;
        let look = async || Ok((zones(scene, &[&shop, &theirs]).await?, scene.taints().await?));
        let two_in = |zone: &str| vec![format!("2 in {zone}"); 2];
        scene.patch_database(json!({"paused": true})).await?;
        scene.tainted("dc3-1=NoSchedule dc3-2=NoSchedule").await?;
        patroni.switchover("pg3", 2);
        scene.labelled(NEAR_PG3).await?;
        let paused = (two_in("dc1"), DC1_CLOSED.to_owned());
        eventually("the labels' taints", paused.clone(), look).await?;
        // The primary has held for longer than settle by then: only the pause keeps the pods.
        stays("the pause", SEVERAL_TICKS, paused, look).await?;
        scene.condition_says(scene.name, "EvictsByTaint", "False", "Paused: ").await?;

        scene.patch_database(json!({"paused": false})).await?;
        eventually("the emptied nodes", (two_in("dc3"), DC1_EMPTIED.to_owned()), look).await
    });
}

#[test]
fn a_taint_that_evicts_goes_when_the_primary_is_not_known() {
    scene("evict-unknown", async |scene| {
        let (patroni, _) = scene.two_centres(evicting(&json!({}))).await?;
        scene.tainted(DC3_EMPTIED).await?;
        patroni.let_all_say(super::support::Says::Down);
        scene.tainted("dc3-1=NoSchedule dc3-2=NoSchedule").await?;
        scene.labelled(NEAR_PG1).await?;
        patroni.switchover("pg1", 1);
        scene.tainted(DC3_EMPTIED).await
    });
}

#[test]
fn a_node_with_a_pod_that_nothing_would_replace_is_not_emptied() {
    scene("evict-bare", async |scene| {
        let (patroni, [shop, _]) = stage(scene, &json!({})).await?;
        scene.workload(&shop, "bare").with(json!({"nodeName": scene.node("dc1-1")})).bare_pod().await?;
        patroni.switchover("pg3", 2);
        let taints = "dc1-1=NoSchedule dc1-2=NoExecute".to_owned();
        scene.tainted(&taints).await?;
        let why = format!(
            "NoExecute deletes pods past their PodDisruptionBudgets; on 1 of 2 far nodes; {} waits for {shop}/bare: it has no \
             controller, so nothing would replace it",
            scene.node("dc1-1")
        );
        let condition = Some(("True".to_owned(), "BarePod".to_owned(), why));
        eventually("the reason", condition, async || scene.condition(scene.name, "EvictsByTaint").await).await?;
        // The condition may tell of another scene's node meanwhile: of all databases one node at a time is emptied.
        stays("the taints", SEVERAL_TICKS, taints, async || scene.taints().await).await?;
        assert!(scene.places(&shop).await?.contains(&"bare on dc1-1".to_owned()));
        Ok(())
    });
}

#[test]
fn whoever_writes_a_taint_that_evicts_is_warned_at_once() {
    scene("evict-warned", async |scene| {
        let apply = |taint: &Value| {
            let database = json!({
                "apiVersion": "switchover.dev/v1alpha1",
                "kind": "DatabaseCluster",
                "metadata": {"name": scene.name},
                "spec": {"discovery": {"patroni": {"urls": ["http://pg1:8008"]}}, "taint": taint},
            });
            let arguments = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
            let (_, warned) = scene.world.kubectl_with_warnings(&arguments, &database.to_string())?;
            anyhow::Ok(warned)
        };
        // An API server takes a new policy into use after a while.
        let evicting = json!({"effect": "NoExecute", "evictWithoutBudgets": true});
        until("the warning", async || {
            Ok(apply(&evicting)?.contains("past its PodDisruptionBudget; to move pods within").then_some(()))
        })
        .await?;
        assert_eq!(apply(&json!({"effect": "NoSchedule"}))?, "");
        Ok(())
    });
}
