//! What a plan says before a change of primary, and what then happens.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use lab::light::READY_DELAY;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::support::{Scene, eventually, scene};

/// Runs a plan, which may end with 3, and reads what it prints.
fn planned(scene: &Scene, arguments: &[&str]) -> Result<(i32, Value)> {
    let typed = [&["plan"], arguments, &["-o", "json"]].concat();
    let (status, printed) = block_in_place(|| scene.world.switchover_with_status(&typed))?;
    Ok((status, serde_json::from_str(&printed).context("not JSON")?))
}

/// How many pods each workload moves, and why the others stay.
fn told(forecast: &Value) -> Result<(BTreeMap<String, u64>, Vec<String>)> {
    let row = |it: &Value| Some((it["name"].as_str()?.to_owned(), it["pods"].as_u64()?));
    let moves = forecast["workloads"].as_array().context("no workloads")?.iter().filter_map(row).collect();
    let held = |it: &Value| Some(format!("{} {} {}", it["name"].as_str()?, it["pods"], it["reason"].as_str()?));
    let mut held: Vec<String> = forecast["held"].as_array().context("no held")?.iter().filter_map(held).collect();
    held.sort();
    Ok((moves, held))
}

#[test]
fn what_a_plan_foresees_is_what_then_happens() {
    scene("foresee", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"settle": "2s"}})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "4s");
        web.deployment(4).await?;
        let api = scene.workload(&namespace, "api").says(READY_DELAY, "3s");
        api.deployment(4).await?;
        api.budget_of("api", 2).await?;
        let huge = scene.workload(&namespace, "huge").says(READY_DELAY, "1s");
        let huge = huge.with(json!({"nodeSelector": {"topology.kubernetes.io/zone": "dc1"}}));
        huge.deployment(2).await?;
        scene.workload(&namespace, "still").says("switchover.dev/move", "never").deployment(1).await?;
        let file = scene.world.bed.directory().join("foreseen.json");
        let file = file.display().to_string();
        block_in_place(|| scene.world.switchover(&["snapshot", "-o", &file]))?;

        let (status, foreseen) = planned(scene, &[scene.name, "--to", "pg3"])?;
        let forecast = &foreseen["databases"][0]["forecasts"][0];
        let (moves, held) = told(forecast)?;
        assert_eq!(moves, BTreeMap::from([("api".to_owned(), 4), ("web".to_owned(), 4)]));
        assert_eq!((status, &*held), (3, &["huge 2 NoRoom".to_owned(), "still 1 Never".to_owned()][..]));
        let (_, offline) = planned(scene, &[scene.name, "--to", "pg3", "-f", &file])?;
        assert_eq!(told(&offline["databases"][0]["forecasts"][0])?, (moves.clone(), held.clone()));
        let readiness = eventually("its readiness", json!(["NoPlace", 8, 2]), async || {
            let status = serde_json::to_value(scene.status().await?.readiness)?;
            let of = status.as_array().into_iter().flatten().find(|of| of["member"] == "pg3").cloned();
            Ok(of.map_or(Value::Null, |of| json!([of["reason"], of["wouldMove"], of["wouldNotFit"]])))
        });
        readiness.await?;

        patroni.switchover("pg3", 2);
        let (moved, held_then) = scene.its_database().movement_over(2).await?;
        assert_eq!((u64::from(moved), held_then), (moves.values().sum(), 3));
        let because: Vec<String> = scene
            .held(&namespace)
            .await?
            .iter()
            .map(|it| it.split(": ").take(2).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(because, ["huge NoRoom", "huge NoRoom", "still Never"]);
        assert_eq!(scene.zones(&namespace).await?, "3 in dc1, 8 in dc3", "nobody waits for a node");
        let failover = scene.status().await?.failovers[0].clone();
        let took =
            failover.last_move_at.context("a last move")?.duration_since(failover.first_move_at.context("a first")?);
        let last = 4.0;
        let ratio = forecast["seconds"]["total"].as_f64().context("seconds")? / (took.as_secs_f64() + last);
        println!("foresight.estimate_ratio: {ratio:.2}");
        Ok(())
    });
}
