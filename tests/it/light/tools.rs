//! The command line against a real API server: what people are told is what is done.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::support::{Patroni, Scene, scene};

/// Runs the product as the administrator, and reads the JSON that it prints.
fn told(scene: &Scene, arguments: &[&str]) -> Result<Value> {
    let printed = block_in_place(|| scene.world.switchover(&[arguments, &["-o", "json"]].concat()))?;
    serde_json::from_str(&printed).context("not JSON")
}

#[test]
fn explain_says_what_admission_did() {
    scene("explain", async |scene| {
        scene.nodes(&[1, 2, 3], 1).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled("dc1-1=closely dc2-1=intermediate dc3-1=far").await?;
        let namespace = scene.namespace("shop", Some(scene.name), json!({})).await?;
        let web = scene.workload(&namespace, "web").says("switchover.dev/affinity", "avoid-far");
        web.deployment(1).await?;

        let pods = web.pod_names().await?;
        let running = told(scene, &["explain", &pods[0], "-n", &namespace])?["pods"][0].take();
        let injected = json!([{"database": scene.name, "mode": "avoid-far", "epoch": 1}]);
        assert_eq!(running["running"]["injected"], injected, "as it was created");
        assert_eq!(running["running"]["node"], scene.node("dc1-1"));
        assert_eq!((&running["injects"], &running["reason"]), (&json!(false), &json!("already_injected")));
        assert_eq!(running["running"]["movement"], json!([format!("{}: it is closely; nothing moves it", scene.name)]));

        // Before it was created, the same is said of its template.
        let manifest = scene.world.bed.directory().join("explained.json");
        let mut template = web.template();
        template["kind"] = "Pod".into();
        template["metadata"]["name"] = "web".into();
        std::fs::write(&manifest, template.to_string())?;
        let foretold =
            told(scene, &["explain", "-f", &manifest.display().to_string(), "-n", &namespace])?["pods"][0].take();
        assert_eq!(foretold["injects"], true);
        let annotation = foretold["patch"].as_array().and_then(|patch| patch.last()).context("no patch")?;
        assert_eq!(annotation["value"].as_str().map(serde_json::from_str::<Value>).transpose()?, Some(injected));
        Ok(())
    });
}

#[test]
fn status_says_who_is_primary_how_far_each_node_is_and_what_is_held() {
    scene("status", async |scene| {
        scene.nodes(&[1, 3], 1).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled("dc1-1=closely dc3-1=far").await?;
        let namespace = scene.namespace("shop", Some(scene.name), json!({})).await?;
        let web = scene.workload(&namespace, "web").says("switchover.dev/move", "never");
        web.deployment(1).await?;
        patroni.switchover("pg3", 2);
        scene.labelled("dc1-1=far dc3-1=closely").await?;
        let pod = format!("{namespace}/{}", web.pod_names().await?[0]);
        super::support::eventually("what is held", json!([pod, "Never"]), async || {
            let held = scene.status().await?.held;
            Ok(held.first().map_or(Value::Null, |held| json!([held.pod, held.reason])))
        })
        .await?;

        let report = told(scene, &["status", scene.name])?["databases"][0].take();
        let nodes: Vec<_> = report["nodes"].as_array().context("no nodes")?.iter().collect();
        let own: Vec<Value> = nodes
            .into_iter()
            .filter(|node| node["name"].as_str().is_some_and(|name| name.starts_with(&format!("{}-", scene.name))))
            .map(|node| json!([node["name"], node["tier"], node["rttUs"]]))
            .collect();
        let expected = [json!([scene.node("dc3-1"), "closely", 300]), json!([scene.node("dc1-1"), "far", 20_000])];
        assert_eq!(own, expected);
        assert_eq!((&report["status"]["primary"], &report["status"]["timeline"]), (&json!("pg3"), &json!(2)));
        assert_eq!(report["status"]["held"][0]["reason"], "Never");

        // Databases of other scenes are named, too.
        for command in ["status", "pause", "resume", "record"] {
            let refused = block_in_place(|| scene.world.switchover(&[command, "nobody"])).unwrap_err().to_string();
            let (sentence, named) = refused.split_once("; there are: ").with_context(|| refused.clone())?;
            assert!(sentence.contains("there is no DatabaseCluster nobody"), "{command}: {refused}");
            assert!(named.contains(scene.name), "{command}: {refused}");
        }
        Ok(())
    });
}
