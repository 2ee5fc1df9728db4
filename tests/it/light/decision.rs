//! A split brain is decided by a person, and that goes on record.

use anyhow::Result;
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use switchover::api::keys;
use tokio::task::block_in_place;

use super::support::{
    Patroni, SEVERAL_TICKS, Says, Scene, eventually, scene, stays, until, upheaval, world::CONTROLLERS,
};

const NEAR_PG1: &str = "dc1-1=closely dc3-1=far";
const NEAR_PG3: &str = "dc1-1=far dc3-1=closely";

/// Two members that are primary on the same timeline, and a database that has noticed.
async fn split(scene: &Scene) -> Result<Patroni> {
    scene.nodes(&[1, 3], 1).await?;
    let patroni = Patroni::start(scene.name).await?;
    scene.database(&patroni, json!({})).await?;
    scene.labelled(NEAR_PG1).await?;
    patroni.let_say("pg3", Says::Primary { timeline: 1 });
    scene.condition_becomes(scene.name, "SplitBrain", "True").await?;
    Ok(patroni)
}

fn resume(scene: &Scene, arguments: &[&str]) -> Result<String> {
    let arguments = [&["resume", scene.name], arguments].concat();
    block_in_place(|| scene.world.switchover(&arguments))
}

/// What is believed: whether the primary is known, who it is, in which epoch, and who decided that.
async fn believed(scene: &Scene) -> Result<(String, String, u64, Option<String>)> {
    let known = scene.condition(scene.name, "PrimaryKnown").await?.map(|(status, ..)| status).unwrap_or_default();
    let status = scene.status().await?;
    let decided = status.decision.map(|it| format!("{} by {} for epoch {}", it.member, it.by, it.epoch));
    Ok((known, status.primary.unwrap_or_default(), status.epoch, decided))
}

async fn annotated(scene: &Scene) -> Result<bool> {
    Ok(scene.databases().get(scene.name).await?.annotations().contains_key(keys::DECISION))
}

fn known(primary: &str, epoch: u64, decided: Option<&str>) -> (String, String, u64, Option<String>) {
    ("True".into(), primary.into(), epoch, decided.map(str::to_owned))
}

#[test]
fn a_split_brain_is_decided_by_a_person_and_that_goes_on_record() {
    scene("split", async |scene| {
        let patroni = split(scene).await?;
        stays("the labels", SEVERAL_TICKS, NEAR_PG1.to_owned(), async || scene.tiers().await).await?;

        let wrong = resume(scene, &["--primary", "pg9"]).expect_err("there is no pg9").to_string();
        assert!(wrong.contains("pg9 is no member of split; there are: pg1, pg2, pg3"), "{wrong}");
        let said = resume(scene, &["--primary", "pg3"])?;
        assert_eq!(said, "pg3 is the primary of split (epoch 2), by decision of admin\n");
        scene.labelled(NEAR_PG3).await?;
        eventually("what is believed", known("pg3", 2, Some("pg3 by admin for epoch 2")), async || {
            believed(scene).await
        })
        .await?;
        scene.condition_becomes(scene.name, "SplitBrain", "False").await?;
        eventually("the annotation to be gone", false, async || annotated(scene).await).await?;
        until("the event", async || {
            let told = scene.events(scene.name, "PrimaryDecided").await?;
            Ok(told
                .iter()
                .any(|note| note.starts_with("pg3 is the primary (epoch 2): admin said so at "))
                .then_some(()))
        })
        .await?;

        // pg1 still claims what it claimed, and that is not believed any more; a higher timeline is a new claim.
        let decided = known("pg3", 2, Some("pg3 by admin for epoch 2"));
        stays("what is believed", SEVERAL_TICKS, decided, async || believed(scene).await).await?;
        let nothing = resume(scene, &["--primary", "pg1"]).expect_err("pg3 is known").to_string();
        assert!(nothing.contains("there is nothing to decide: pg3 is known to be the primary of split"), "{nothing}");
        patroni.switchover("pg1", 2);
        scene.labelled(NEAR_PG1).await
    });
}

#[test]
fn a_decision_that_cannot_be_followed_is_refused_in_words() {
    scene("refused", async |scene| {
        let patroni = split(scene).await?;
        let annotate = async |text: &str| {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {keys::DECISION: text}}}));
            scene.databases().patch(scene.name, &PatchParams::default(), &patch).await?;
            eventually("the annotation to be gone", false, async || annotated(scene).await).await
        };
        let decision = |member: &str, epoch: u64| {
            json!({"member": member, "by": "ada", "at": "2026-01-01T00:00:00Z", "epoch": epoch}).to_string()
        };
        annotate("pg3").await?;
        annotate(&decision("pg9", 1)).await?;
        annotate(&decision("pg3", 7)).await?;
        patroni.switchover("pg1", 1);
        scene.condition_becomes(scene.name, "PrimaryKnown", "True").await?;
        annotate(&decision("pg3", 1)).await?;
        let mut expected = vec![
            "ada named pg3 in epoch 7, and the primary has changed since",
            "ada named pg3, but pg1 (timeline 1) is known to be the primary by now",
            "ada named pg9, which is no member: there are pg1, pg2, pg3",
            "it can't be read: write it with switchover resume DATABASE --primary MEMBER",
        ];
        expected.sort_unstable();
        eventually("the events", expected.into_iter().map(str::to_owned).collect::<Vec<_>>(), async || {
            let mut told = scene.events(scene.name, "DecisionRefused").await?;
            told.sort();
            Ok(told)
        })
        .await?;
        assert_eq!(believed(scene).await?, known("pg1", 1, None));
        scene.labelled(NEAR_PG1).await
    });
}

#[test]
fn a_decision_outlives_the_controllers() {
    upheaval("decided", async |scene| {
        let _patroni = split(scene).await?;
        let kill = || CONTROLLERS.iter().try_for_each(|controller| scene.world.kill_role(controller));
        // Written while nobody runs, it is taken up by the next one.
        kill()?;
        let said: Value = serde_json::from_str(&resume(scene, &["--primary", "pg3", "-o", "json"])?)?;
        assert_eq!((&said["taken"], &said["decision"]["by"]), (&json!(false), &json!("admin")));
        block_in_place(|| scene.world.restore())?;
        scene.labelled(NEAR_PG3).await?;
        let decided = known("pg3", 2, Some("pg3 by admin for epoch 2"));
        eventually("what is believed", decided.clone(), async || believed(scene).await).await?;
        // And it still holds for the one after that, although pg1 goes on claiming.
        kill()?;
        block_in_place(|| scene.world.restore())?;
        // Only who knows the primary puts a label back.
        let key = keys::default_node_label(scene.name);
        scene.patch_node("dc1-1", json!({"metadata": {"labels": {key: null}}})).await?;
        scene.labelled(NEAR_PG3).await?;
        stays("what is believed", SEVERAL_TICKS, decided, async || believed(scene).await).await?;
        Ok(())
    });
}

#[test]
fn pause_and_resume_set_the_spec() {
    scene("resumed", async |scene| {
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        let paused = async || anyhow::Ok(scene.databases().get(scene.name).await?.spec.paused);
        let said = block_in_place(|| scene.world.switchover(&["pause", scene.name]))?;
        assert_eq!(said, "resumed is paused: labels and admission go on, and no pod is moved\n");
        assert!(paused().await?);
        assert_eq!(resume(scene, &[])?, "resumed is not paused any more\n");
        assert!(!paused().await?);
        Ok(())
    });
}
