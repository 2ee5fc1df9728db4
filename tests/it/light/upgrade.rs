//! From 0.1: the present version takes over what that one left.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use lab::light::READY_DELAY;
use serde_json::{Value, json};
use switchover::{
    api::{DatabaseCluster, definitions_as_yaml},
    core::follow::MoveMode,
};
use tokio::task::block_in_place;

use super::support::{Patroni, Scene, Witness, eventually, objects::NEAR_PG1, until, upheaval, world::CONTROLLERS};

const DEFINITIONS_OF_0_1: &str = include_str!("../../fixtures/0.1/crds.yaml");
const SECRETS: [&str; 2] = ["switchover-webhook-ca", "switchover-webhook-tls"];

#[test]
fn what_0_1_left_in_the_middle_of_a_movement_is_taken_over() {
    upheaval("upgrade", async |scene| {
        scene.nodes(&[1, 3], 2).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled(NEAR_PG1).await?;
        let namespace = scene.namespace("shop", Some(scene.name), json!({})).await?;
        // So slow that the first one is still on the move when everything has been put back.
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "10s");
        web.deployment(2).await?;
        web.budget().await?;
        let witness = Witness::of(scene, &namespace).await?;
        let secrets = kept(scene).await?;
        patroni.switchover("pg3", 2);
        // The status says it before the pod is evicted.
        until("the first replacement", async || Ok((witness.seen().ever.len() > 2).then_some(()))).await?;
        for controller in CONTROLLERS {
            scene.world.kill_role(controller)?;
        }

        let left = as_0_1_left_it(scene).await;
        // The new definitions come before the new program, whatever became of the old ones.
        define(scene, &definitions_as_yaml()?)?;
        let left = left?;
        assert_eq!(left["spec"]["movement"]["mode"], "evict", "what 0.1 defaulted is written in the object: {left:#}");
        let object = scene.databases().get(scene.name).await?;
        assert_eq!(object.spec.movement.way(), MoveMode::Evict, "and goes on to count");
        let status = object.status.context("no status")?;
        assert_eq!((status.epoch, status.moving.len(), status.primary.as_deref()), (2, 1, Some("pg3")));
        assert_eq!(status.failovers.iter().map(|it| it.epoch).collect::<Vec<_>>(), [2, 1], "the history");
        block_in_place(|| scene.world.restore())?;

        eventually("every pod near pg3", "2 in dc3".to_owned(), async || scene.zones(&namespace).await).await?;
        // 0.1 didn't note which pods were there before, and times of pods are cut to the second: the move that it began may be over
        // without anybody knowing which pod took the place.
        let (moved, held) = scene.its_database().movement_over(2).await?;
        assert!((1..=2).contains(&moved) && held == 0, "{moved} moved, {held} held, in the epoch that it was");
        let seen = witness.seen();
        assert_eq!((seen.ever.len(), seen.fewest_serving), (4, Some(1)), "each was replaced once");
        assert_eq!(scene.databases().get(scene.name).await?.metadata.uid, object.metadata.uid);
        assert_eq!(kept(scene).await?, secrets, "nobody made new certificates");
        // As UPGRADING.md says: what 0.1 defaulted is taken out, and this version's defaults are there.
        let take_out = json!([
            {"op": "remove", "path": "/spec/movement/mode"}, {"op": "remove", "path": "/spec/movement/maxConcurrent"},
        ]);
        let typed = ["patch", "databasecluster", scene.name, "--type=json", "-p", &take_out.to_string()];
        block_in_place(|| scene.world.kubectl(&typed, ""))?;
        let rules = scene.databases().get(scene.name).await?.spec.movement;
        assert_eq!((rules.way(), rules.max_concurrent), (MoveMode::Auto, 200));
        Ok(())
    });
}

/// What the Secrets with the webhook's certificates hold.
async fn kept(scene: &Scene) -> Result<BTreeMap<&'static str, Value>> {
    let api: Api<Secret> = Api::namespaced(scene.client.clone(), "switchover-system");
    let mut kept = BTreeMap::new();
    for name in SECRETS {
        kept.insert(name, json!(api.get(name).await?.data));
    }
    Ok(kept)
}

fn define(scene: &Scene, definitions: &str) -> Result<()> {
    block_in_place(|| scene.world.kubectl(&["replace", "-f", "-"], definitions)).map(drop)
}

/// Has the API server keep the database as it did under the definitions of 0.1: with what they default, without what they don't know,
/// and with the moves as objects.
async fn as_0_1_left_it(scene: &Scene) -> Result<Value> {
    let moving = serde_json::to_value(scene.status().await?)?["moving"].take();
    let texts = moving.as_array().context("nothing on the move")?.iter().filter_map(Value::as_str);
    let moving: Vec<Value> = texts.map(serde_json::from_str).collect::<Result<_, _>>()?;
    define(scene, DEFINITIONS_OF_0_1)?;
    let api: Api<DynamicObject> = Api::all_with(scene.client.clone(), &ApiResource::erase::<DatabaseCluster>(&()));
    // The API server takes a moment to go by other definitions.
    until("the definitions of 0.1 to count", async || {
        let params = PatchParams::default();
        api.patch(scene.name, &params, &Patch::Merge(json!({"spec": {"movement": null}}))).await?;
        let status = json!({"status": {"moving": moving}});
        let left = api.patch_status(scene.name, &params, &Patch::Merge(status)).await?;
        let as_then = left.data["spec"]["movement"]["mode"] == "evict"
            && left.data["status"].get("readiness").is_none()
            && left.data["status"]["moving"][0].get("epoch").is_none();
        Ok(as_then.then_some(left.data))
    })
    .await
}
