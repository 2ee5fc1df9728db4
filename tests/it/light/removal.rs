//! What switchover put onto nodes goes when it is not wanted any more, and nothing else does.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};
use switchover::api::keys;
use tokio::task::block_in_place;

use super::support::{Patroni, Says, Scene, eventually, scene, stays, until, upheaval, world::CONTROLLERS};

/// Two nodes in each of two data centres, one of which is to be left alone, with labels and taints of others; and a
/// database that taints.
async fn stage(scene: &Scene) -> Result<Patroni> {
    scene.nodes(&[1, 3], 2).await?;
    let key = keys::default_node_label(scene.name);
    let theirs = json!({
        "metadata": {"labels": {"example.com/theirs": "far"}},
        "spec": {"taints": [{"key": "example.com/theirs", "value": "far", "effect": "PreferNoSchedule"}]},
    });
    scene.patch_node("dc3-1", theirs).await?;
    let hands_off = json!({
        "metadata": {"annotations": {keys::MANAGE: "false"}, "labels": {&key: "far"}},
        "spec": {"taints": [{"key": key, "value": "far", "effect": "PreferNoSchedule"}]},
    });
    scene.patch_node("dc3-2", hands_off).await?;
    let patroni = Patroni::start(scene.name).await?;
    scene.database(&patroni, json!({"taint": {"effect": "PreferNoSchedule"}})).await?;
    eventually("the labels and taints", labelled(), async || worn(scene).await).await?;
    Ok(patroni)
}

fn labelled() -> Vec<String> {
    ["dc1-1: closely", "dc1-2: closely", "dc3-1: far, theirs far | far, theirs far", "dc3-2: far | far"]
        .map(str::to_owned)
        .to_vec()
}

fn cleared() -> Vec<String> {
    ["dc1-1:", "dc1-2:", "dc3-1: theirs far | theirs far", "dc3-2: far | far"].map(str::to_owned).to_vec()
}

/// What each node bears: `NODE: LABELS | TAINTS`.
async fn worn(scene: &Scene) -> Result<Vec<String>> {
    let key = keys::default_node_label(scene.name);
    let word = |name: &str, value: &str| match name {
        name if name == key => Some(value.to_owned()),
        "example.com/theirs" => Some(format!("theirs {value}")),
        _ => None,
    };
    let shown = |node: &Node| {
        let mut labels: Vec<String> = node.labels().iter().filter_map(|(name, value)| word(name, value)).collect();
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
        let mut taints: Vec<String> =
            taints.iter().filter_map(|taint| word(&taint.key, taint.value.as_deref().unwrap_or_default())).collect();
        labels.sort();
        taints.sort();
        let taints = if taints.is_empty() { String::new() } else { format!(" | {}", taints.join(", ")) };
        let name = node.name_any();
        let short = name.strip_prefix(&format!("{}-", scene.name)).unwrap_or(&name).to_owned();
        format!("{short}: {}{taints}", labels.join(", ")).trim_end().to_owned()
    };
    let mut worn: Vec<String> = scene.own_nodes().await?.iter().map(shown).collect();
    worn.sort();
    Ok(worn)
}

async fn delete(scene: &Scene) -> Result<()> {
    scene.databases().delete(scene.name, &DeleteParams::default()).await?;
    Ok(())
}

async fn gone(scene: &Scene) -> Result<()> {
    let gone = async || Ok(scene.databases().get_opt(scene.name).await?.is_none().then_some(()));
    until("the database to be gone", gone).await
}

/// The finalizers of the scene's database.
async fn finalizers(scene: &Scene) -> Result<Vec<String>> {
    Ok(scene.databases().get(scene.name).await?.finalizers().to_vec())
}

pub(super) fn kill_controllers(scene: &Scene) -> Result<()> {
    CONTROLLERS.iter().try_for_each(|controller| scene.world.kill_role(controller))
}

#[test]
fn a_deleted_database_takes_its_labels_and_taints_along() {
    scene("deleted", async |scene| {
        let _patroni = stage(scene).await?;
        assert_eq!(finalizers(scene).await?, [keys::FINALIZER]);
        delete(scene).await?;
        gone(scene).await?;
        assert_eq!(worn(scene).await?, cleared(), "by the time that the database is gone");
        let note = "removed its labels and taints from 3 nodes; \
                    1 are annotated switchover.dev/manage: \"false\" and left alone";
        eventually("the event", vec![note.to_owned()], async || scene.events(scene.name, "Removed").await).await?;
        stays("the nodes", Duration::from_secs(2), cleared(), async || worn(scene).await).await
    });
}

#[test]
fn a_database_that_never_labelled_a_node_goes_at_once() {
    scene("never", async |scene| {
        scene.nodes(&[1], 1).await?;
        scene.database_at(scene.name, &["http://127.0.0.1:1".to_owned()], json!({})).await?;
        scene.condition_becomes(scene.name, "PrimaryKnown", "False").await?;
        assert_eq!(finalizers(scene).await?, Vec::<String>::new());
        delete(scene).await?;
        gone(scene).await
    });
}

#[test]
fn when_the_node_label_changes_the_old_one_goes() {
    scene("renamed", async |scene| {
        let patroni = stage(scene).await?;
        // While nobody knows the new ones the old ones stay: pods may require them.
        patroni.let_all_say(Says::Down);
        scene.condition_becomes(scene.name, "PrimaryKnown", "False").await?;
        scene.patch_database(json!({"nodeLabel": "example.com/near"})).await?;
        stays("the old labels", Duration::from_secs(3), labelled(), async || worn(scene).await).await?;
        patroni.switchover("pg1", 1);
        eventually("the old labels and taints to be gone", cleared(), async || worn(scene).await).await?;
        let near = async || {
            let near = |node: &Node| node.labels().get("example.com/near").cloned();
            let mut near: Vec<String> = scene.own_nodes().await?.iter().filter_map(near).collect();
            near.sort();
            anyhow::Ok(near)
        };
        assert_eq!(near().await?, ["closely", "closely", "far"], "the new ones come before the old ones go");
        let keys = async || Ok(scene.status().await?.node_labels);
        eventually("the keys to remember", vec!["example.com/near".to_owned()], keys).await?;
        delete(scene).await?;
        gone(scene).await?;
        assert_eq!(near().await?, Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn a_database_that_is_deleted_while_no_controller_runs_is_cleared_up_after_by_the_next_one() {
    upheaval("orphaned", async |scene| {
        let _patroni = stage(scene).await?;
        kill_controllers(scene)?;
        delete(scene).await?;
        stays("the labels", Duration::from_secs(2), labelled(), async || worn(scene).await).await?;
        assert_eq!(finalizers(scene).await?, [keys::FINALIZER]);
        // As if one had died in the middle of it.
        let key = keys::default_node_label(scene.name);
        scene.patch_node("dc1-1", json!({"metadata": {"labels": {&key: null}}})).await?;
        block_in_place(|| scene.world.restore())?;
        gone(scene).await?;
        assert_eq!(worn(scene).await?, cleared());
        Ok(())
    });
}

#[test]
fn uninstall_removes_everything_also_without_a_controller() {
    upheaval("uninstall", async |scene| {
        let _patroni = stage(scene).await?;
        let uninstall = |arguments: &[&str]| {
            let arguments = [&["uninstall"], arguments].concat();
            block_in_place(|| scene.world.switchover(&arguments))
        };
        let refused = uninstall(&[]).expect_err("it was done beside a controller that undoes it").to_string();
        assert!(refused.contains("runs and would put everything back"), "{refused}");

        kill_controllers(scene)?;
        let planned: Value = serde_json::from_str(&uninstall(&["--dry-run", "-o", "json"])?)?;
        let key = keys::default_node_label(scene.name);
        let node = |short: &str, taints: &[&str]| json!({"node": scene.node(short), "labels": [key], "taints": taints});
        assert_eq!(planned["dryRun"], true);
        assert_eq!(planned["nodes"], json!([node("dc1-1", &[]), node("dc1-2", &[]), node("dc3-1", &[&key])]));
        assert_eq!(planned["leftAlone"], json!([scene.node("dc3-2")]));
        assert_eq!(planned["databases"], json!([scene.name]));
        assert_eq!((worn(scene).await?, finalizers(scene).await?), (labelled(), vec![keys::FINALIZER.to_owned()]));

        // One that is deleted now hangs, until it is freed.
        delete(scene).await?;
        assert_eq!(finalizers(scene).await?, [keys::FINALIZER]);
        let said = uninstall(&[])?;
        assert!(
            said.contains(&format!("removed from node {}: label {key}, taint {key}\n", scene.node("dc3-1"))),
            "{said}"
        );
        assert!(said.contains("kubectl delete crd databaseclusters.switchover.dev"), "{said}");
        gone(scene).await?;
        assert_eq!(worn(scene).await?, cleared());
        let again: Value = serde_json::from_str(&uninstall(&["-o", "json"])?)?;
        assert_eq!((&again["nodes"], &again["databases"]), (&json!([]), &json!([])), "nothing is left to do");
        let nodes = Api::<Node>::all(scene.client.clone()).list(&ListParams::default()).await?;
        assert_eq!(nodes.items.len(), 4, "and it removed no node");
        Ok(())
    });
}
