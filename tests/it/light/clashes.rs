//! Two databases that want the same node label: the older one has it, and the younger one is told.

use anyhow::Result;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use switchover::api::keys;
use tokio::task::block_in_place;

use super::support::{Patroni, SEVERAL_TICKS, Scene, eventually, scene, stays, until};

const NEAR_PG1: &str = "dc1-1=closely dc3-1=far";
const NEAR_PG3: &str = "dc1-1=far dc3-1=closely";

/// The scene's own database, and a younger one that wants its node label. Their primaries are far from each other.
async fn stage(scene: &Scene, younger: &str) -> Result<[Patroni; 2]> {
    scene.nodes(&[1, 3], 1).await?;
    let [near, far] = [Patroni::start(scene.name).await?, Patroni::start(scene.name).await?];
    far.switchover("pg3", 1);
    scene.database(&near, json!({})).await?;
    scene.labelled(NEAR_PG1).await?;
    // Creation times have whole seconds.
    let created = scene.databases().get(scene.name).await?.creation_timestamp().map(|time| time.0);
    until("the next second", async || {
        Ok((Some(Timestamp::now().as_second()) > created.map(Timestamp::as_second)).then_some(()))
    })
    .await?;
    scene.database_at(younger, &far.urls(), json!({"nodeLabel": keys::default_node_label(scene.name)})).await?;
    Ok([near, far])
}

/// The sentence that tells `younger` what to write.
fn told(scene: &Scene, younger: &str) -> String {
    format!(
        "spec.nodeLabel: the key switchover.dev/{older} belongs to the DatabaseCluster {older}: write another one, such \
         as switchover.dev/{younger}",
        older = scene.name
    )
}

async fn accepted(scene: &Scene, database: &str) -> Result<Option<(String, String, String)>> {
    scene.condition(database, "Accepted").await
}

fn condition(status: &str, reason: &str, message: &str) -> Option<(String, String, String)> {
    Some((status.to_owned(), reason.to_owned(), message.to_owned()))
}

#[test]
fn the_older_database_goes_on_and_the_younger_one_is_told_what_to_write() {
    scene("clash", async |scene| {
        let younger = "a-clash";
        let [near, far] = stage(scene, younger).await?;
        let refused = condition("False", "NotAccepted", &told(scene, younger));
        eventually("the refusal", refused.clone(), async || accepted(scene, younger).await).await?;
        eventually("the event", vec![told(scene, younger)], async || scene.events(younger, "NotAccepted").await)
            .await?;
        assert_eq!(accepted(scene, scene.name).await?, condition("True", "Accepted", "the spec is followed"));
        let shown = block_in_place(|| scene.world.switchover(&["status", younger]))?;
        assert!(shown.ends_with(&format!("{younger}: not followed: {}\n", told(scene, younger))), "{shown}");
        let shown = block_in_place(|| scene.world.kubectl(&["get", "dbc", younger, "--output=wide"], ""))?;
        assert!(shown.contains("ACCEPTED") && shown.contains(&told(scene, younger)), "{shown}");
        stays("the labels", SEVERAL_TICKS, NEAR_PG1.to_owned(), async || scene.tiers().await).await?;
        near.switchover("pg3", 2);
        scene.labelled(NEAR_PG3).await?;
        near.switchover("pg1", 3);
        scene.labelled(NEAR_PG1).await?;

        // With a key of its own it is followed, and each has its own labels.
        let label = async |key: Value| {
            let patch = Patch::Merge(json!({"spec": {"nodeLabel": key}}));
            scene.databases().patch(younger, &PatchParams::default(), &patch).await
        };
        label(Value::Null).await?;
        let tiers =
            async || Ok((accepted(scene, younger).await?.map(|(status, ..)| status), scene.tiers_of(younger).await?));
        eventually("the younger one's labels", (Some("True".to_owned()), NEAR_PG3.to_owned()), tiers).await?;
        far.switchover("pg1", 2);
        eventually("its switchover", (Some("True".to_owned()), NEAR_PG1.to_owned()), tiers).await?;

        // Back in the clash, it is stopped and told again, and what it knew of its database stays known.
        label(json!(keys::default_node_label(scene.name))).await?;
        eventually("the second refusal", refused.clone(), async || accepted(scene, younger).await).await?;
        stays("the second refusal", SEVERAL_TICKS, refused, async || accepted(scene, younger).await).await?;
        far.switchover("pg3", 3);
        stays("the labels", SEVERAL_TICKS, NEAR_PG1.to_owned(), async || scene.tiers().await).await?;
        let status = scene.databases().get(younger).await?.status.unwrap_or_default();
        assert_eq!((status.primary.as_deref(), status.epoch), (Some("pg1"), 2));
        Ok(())
    });
}

#[test]
fn when_the_older_database_goes_the_younger_one_takes_its_place() {
    scene("heir", async |scene| {
        let younger = "a-heir";
        let _members = stage(scene, younger).await?;
        scene.condition_becomes(younger, "Accepted", "False").await?;
        scene.databases().delete(scene.name, &DeleteParams::default()).await?;
        scene.condition_becomes(younger, "Accepted", "True").await?;
        // Its nodes bear the key that both wanted.
        scene.labelled(NEAR_PG3).await
    });
}
