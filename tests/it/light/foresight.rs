//! What a plan says before a change of primary, and what then happens.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use lab::light::READY_DELAY;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::support::{Scene, eventually, scene, until};

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

        let (status, foreseen) = scene.planned(&[scene.name, "--to", "pg3"])?;
        let forecast = &foreseen["databases"][0]["forecasts"][0];
        let (moves, held) = told(forecast)?;
        assert_eq!(moves, BTreeMap::from([("api".to_owned(), 4), ("web".to_owned(), 4)]));
        assert_eq!((status, &*held), (3, &["huge 2 NoRoom".to_owned(), "still 1 Never".to_owned()][..]));
        let (_, offline) = scene.planned(&[scene.name, "--to", "pg3", "-f", &file])?;
        assert_eq!(told(&offline["databases"][0]["forecasts"][0])?, (moves.clone(), held.clone()));
        let readiness = eventually("its readiness", json!(["NoPlace", 8, 2]), async || {
            let status = serde_json::to_value(scene.status().await?.readiness)?;
            let of = status.as_array().into_iter().flatten().find(|of| of["member"] == "pg3").cloned();
            Ok(of.map_or(Value::Null, |of| json!([of["reason"], of["wouldMove"], of["wouldNotFit"]])))
        });
        readiness.await?;
        let less_ready =
            until("the event", async || Ok(scene.events(scene.name, "LessReadyForFailover").await?.into_iter().next()));
        let told = less_ready.await?;
        assert!(told.starts_with("if pg3 became the primary: ") && told.contains("huge"), "{told}");

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

/// Runs `explain` and reads what it prints.
fn explained(scene: &Scene, arguments: &[&str]) -> Result<Value> {
    let typed = [&["explain"], arguments, &["-o", "json"]].concat();
    serde_json::from_str(&block_in_place(|| scene.world.switchover(&typed))?).context("not JSON")
}

#[test]
fn what_is_explained_of_a_workload_and_a_node_is_what_then_happens() {
    scene("explained", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"settle": "1s"}})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "1s");
        web.deployment(2).await?;
        web.budget_of("web", 1).await?;
        let of_web = || Ok::<_, anyhow::Error>(explained(scene, &["deploy/web", "-n", &namespace])?["workload"].take());
        let told = of_web()?;
        assert_eq!((&told["workload"], &told["replicas"]), (&json!(format!("deployment {namespace}/web")), &json!(2)));
        assert_eq!(told["admission"]["injects"], true, "{told}");
        let places = |told: &Value| -> Vec<Value> {
            let pods = told["pods"].as_array().into_iter().flatten();
            pods.map(|pod| json!([pod["zone"], pod["distances"][scene.name]["tier"]])).collect()
        };
        assert_eq!(places(&told), [json!(["dc1", "closely"]), json!(["dc1", "closely"])]);
        let of_pg3 = |told: &Value| {
            let members = told["databases"][0]["ifPrimary"].as_array().cloned().unwrap_or_default();
            members.into_iter().find(|it| it["member"] == "pg3").context("nothing of pg3")
        };
        let foreseen = of_pg3(&told)?;
        let [near, moves, way, at_once] = ["near", "moves", "way", "atOnce"].map(|key| foreseen[key].clone());
        assert_eq!(json!([near, moves, way, at_once]), json!([0, 2, "evict", 1]));
        let weak: Vec<&str> =
            told["weaknesses"].as_array().into_iter().flatten().filter_map(|it| it["reason"].as_str()).collect();
        assert_eq!(weak, ["NoReadinessProbe", "NoPreStop"]);

        let of_node = || {
            let told = explained(scene, &[&format!("node/{}", scene.node("dc1-1"))])?;
            let databases = told["node"]["databases"].as_array().cloned().unwrap_or_default();
            let of =
                databases.into_iter().find(|it| it["database"] == scene.name).context("nothing of its database")?;
            let members = of["members"].as_array().into_iter().flatten();
            let tiers: Vec<Value> = members.map(|it| json!([it["member"], it["rttUs"], it["tier"]])).collect();
            anyhow::Ok((of["tier"].clone(), of["why"].clone(), tiers))
        };
        let (tier, why, tiers) = of_node()?;
        assert_eq!(tier, "closely", "{why}");
        let expected = [json!(["pg1", 300, "closely"]), json!(["pg3", 20_000, "far"])];
        assert!(expected.iter().all(|member| tiers.contains(member)), "{tiers:?}");

        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (2, 0));
        assert_eq!(places(&of_web()?), [json!(["dc3", "closely"]), json!(["dc3", "closely"])]);
        let (tier, why, _) = of_node()?;
        assert_eq!(tier, "far", "{why}");

        let refused = |subject: &str| explained(scene, &[subject, "-n", &namespace]).unwrap_err().to_string();
        let unknown = format!("there is no statefulset/web in {namespace} that makes pods; there are: deployment/web");
        assert!(refused("sts/web").contains(&unknown), "{}", refused("sts/web"));
        assert!(refused("node/nobody").contains("there is no node nobody; there are: "), "{}", refused("node/nobody"));
        assert!(refused("a/b/c").contains("write the name of a pod, node/NAME, or KIND/NAME"), "{}", refused("a/b/c"));
        Ok(())
    });
}

#[test]
fn a_manifest_is_printed_as_the_webhook_leaves_it() {
    scene("printed", async |scene| {
        let (_patroni, namespace) = scene.two_centres(json!({})).await?;
        for mode in ["preferred", "avoid-far", "required"] {
            let mut pod = scene.workload(&namespace, "web").says("switchover.dev/affinity", mode).template();
            (pod["apiVersion"], pod["kind"]) = ("v1".into(), "Pod".into());
            pod["metadata"]["name"] = "web".into();
            let file = scene.world.bed.directory().join("printed.json");
            std::fs::write(&file, pod.to_string())?;
            let file = file.display().to_string();
            let created = ["create", "--dry-run=server", "-n", &namespace, "-f", &file, "-o", "json"];
            let created: Value = serde_json::from_str(&block_in_place(|| scene.world.kubectl(&created, ""))?)?;
            let typed = ["explain", "-n", &namespace, "-f", &file, "-o", "yaml"];
            let printed = block_in_place(|| scene.world.switchover(&typed))?;
            let printed: Value = serde_saphyr::from_str(&printed)?;
            let injected = |pod: &Value| {
                json!([pod["spec"]["affinity"], pod["metadata"]["annotations"]["switchover.dev/injected"]])
            };
            assert!(printed["spec"]["affinity"].is_object(), "{printed}");
            assert_eq!(injected(&printed), injected(&created), "{mode}");

            let alone = [&typed[..], &["--follow", scene.name]].concat();
            let (alone, notes) = block_in_place(|| scene.world.switchover_alone(&alone))?;
            let alone: Value = serde_saphyr::from_str(&alone)?;
            assert_eq!(alone["spec"], printed["spec"], "{mode}: without a cluster the same is decided");
            assert_eq!(notes.trim(), format!("pod {namespace}/web: injected"));
        }
        Ok(())
    });
}
