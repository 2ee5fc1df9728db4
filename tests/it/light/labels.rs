//! Nodes bear the tier of their distance to the primary.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};
use switchover::api::keys;

use super::support::{Patroni, SEVERAL_TICKS, Says, Scene, eventually, scene, stays, until};

const NEAR_PG1: &str = "dc1-1=closely dc2-1=intermediate dc3-1=far";
const NEAR_PG3: &str = "dc1-1=far dc2-1=far dc3-1=closely";

#[test]
fn a_switchover_relabels_every_node_within_seconds() {
    scene("relabel", async |scene| {
        scene.nodes(&[1, 2, 3], 2).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled("dc1-1=closely dc1-2=closely dc2-1=intermediate dc2-2=intermediate dc3-1=far dc3-2=far").await?;

        patroni.switchover("pg2", 2);
        scene.labelled("dc1-1=intermediate dc1-2=intermediate dc2-1=closely dc2-2=closely dc3-1=far dc3-2=far").await?;

        eventually("the status", ("pg2".to_owned(), 2, 2, (2, 2, 2)), async || {
            let status = scene.status().await?;
            let tiers = (status.tiers.closely, status.tiers.intermediate, status.tiers.far);
            Ok((status.primary.unwrap_or_default(), status.timeline.unwrap_or(0), status.epoch, tiers))
        })
        .await?;
        let history: Vec<_> = scene.status().await?.failovers.into_iter().map(|f| (f.epoch, f.from, f.to)).collect();
        assert_eq!(history, [(2, Some("pg1".to_owned()), "pg2".to_owned()), (1, None, "pg1".to_owned())]);
        let told =
            ["nobody → pg1 (timeline 1, epoch 1)", "pg1 → pg2 (timeline 2, epoch 2)"].map(str::to_owned).to_vec();
        eventually("an event for each change", told, async || scene.events(scene.name, "PrimaryChanged").await).await?;

        let logged = scene.world.logged(scene.name);
        let lines = |parts: &[&str]| logged.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count();
        let why = "from=\"intermediate\" tier=\"closely\" rtt_ms=0.3 primary=\"pg2\"";
        assert_eq!(lines(&["labelled a node", &scene.node("dc2-1"), why]), 1, "{logged}");
        let change = "state=\"Known\" from=\"pg1\" primary=\"pg2\" epoch=2";
        assert_eq!(lines(&[" INFO the primary has changed", change]), 1, "{logged}");
        Ok(())
    });
}

#[test]
fn while_the_primary_is_unknown_nothing_changes() {
    scene("unknown", async |scene| {
        scene.nodes(&[1, 2, 3], 1).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled(NEAR_PG1).await?;

        patroni.let_all_say(Says::Down);
        until("nobody to answer", async || {
            let known = scene.condition(scene.name, "PrimaryKnown").await?;
            let nobody = |(status, reason, message): &(String, String, String)| {
                (&**status, &**reason) == ("False", "Unknown") && message.starts_with("no member answers: pg1")
            };
            Ok(known.filter(nobody))
        })
        .await?;
        // Readings that would change every tier, if there were a primary to measure them by.
        scene.measure("dc1-1", [20_000, 8_000, 300]).await?;
        scene.measure("dc3-1", [300, 22_000, 20_000]).await?;
        stays("the labels", SEVERAL_TICKS, NEAR_PG1.to_owned(), async || scene.tiers().await).await?;
        let status = scene.status().await?;
        assert_eq!((status.primary.as_deref(), status.epoch), (Some("pg1"), 1), "the last one is remembered");

        patroni.switchover("pg1", 1);
        scene.labelled("dc1-1=far dc2-1=intermediate dc3-1=closely").await
    });
}

#[test]
fn a_member_that_hangs_delays_nobody() {
    scene("hangs", async |scene| {
        scene.nodes(&[1, 2, 3], 1).await?;
        let patroni = Patroni::start(scene.name).await?;
        patroni.let_say("pg2", Says::Hangs);
        scene.database(&patroni, json!({})).await?;
        scene.labelled(NEAR_PG1).await?;
        patroni.let_say("pg1", Says::Hangs);
        patroni.let_say("pg3", Says::Primary { timeline: 2 });
        scene.labelled(NEAR_PG3).await
    });
}

#[test]
fn a_node_whose_agent_is_dead_keeps_its_label() {
    scene("stale", async |scene| {
        scene.nodes(&[1, 2, 3], 1).await?;
        let patroni = Patroni::start(scene.name).await?;
        // Agents whose clocks went wrong: what they write counts from when it comes.
        let (hour_behind, hour_ahead) = (SignedDuration::from_hours(-1), SignedDuration::from_hours(1));
        let dc1 = || measured(scene, "dc1-1", [300, 8_000, 20_000], hour_behind);
        let dc2 = || measured(scene, "dc2-1", [8_000, 300, 22_000], SignedDuration::ZERO);
        let dc3 = || measured(scene, "dc3-1", [20_000, 22_000, 300], hour_ahead);
        scene.database(&patroni, json!({"tiers": {"staleAfter": "10s"}})).await?;
        alive([dc1(), dc2(), dc3()], scene.labelled(NEAR_PG1)).await?;

        let nobody = "TooFewReadings".to_owned();
        eventually("every agent to count as dead", Some(nobody), async || {
            Ok(scene.condition(scene.name, "Moving").await?.map(|(_, reason, _)| reason))
        })
        .await?;
        patroni.switchover("pg3", 2);
        alive([dc1(), dc3()], async {
            let expected = "dc1-1=far dc2-1=intermediate dc3-1=closely";
            scene.labelled(expected).await?;
            stays("the labels", SEVERAL_TICKS, expected.to_owned(), async || scene.tiers().await).await
        })
        .await?;
        alive([dc1(), dc2(), dc3()], scene.labelled(NEAR_PG3)).await
    });
}

/// One agent's writes, by a clock that is ahead of ours by so much. Never ends well.
async fn measured(scene: &Scene, node: &str, rtts_us: [u32; 3], ahead: SignedDuration) -> Result<()> {
    loop {
        scene.measured_at(node, rtts_us, Timestamp::now() + ahead).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Tells a story during which these agents live.
async fn alive<const N: usize>(
    agents: [impl Future<Output = Result<()>>; N],
    story: impl Future<Output = Result<()>>,
) -> Result<()> {
    tokio::select! {
        failed = try_join_all(agents) => failed.map(drop),
        told = story => told,
    }
}

#[test]
fn an_agent_that_lies_changes_nobody_elses_tier() {
    scene("liar", async |scene| {
        scene.nodes(&[2, 3], 3).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        let others = "dc2-2=closely dc2-3=closely dc3-1=far dc3-2=far dc3-3=far";
        let honest = format!("dc2-1=closely {others}");
        scene.labelled(&honest).await?;
        let ignored = async || {
            let status = scene.status().await?;
            Ok(status.ignored.into_iter().map(|it| (it.node, it.reason, it.message)).collect::<Vec<_>>())
        };
        let told = async |reason: &str, message: &str| {
            let entry = (scene.node("dc2-1"), reason.to_owned(), message.to_owned());
            eventually("the status", vec![entry], ignored).await?;
            let note = format!("{}: {message}", scene.node("dc2-1"));
            until("the event", async || {
                Ok(scene.events(scene.name, "ReadingIgnored").await?.contains(&note).then_some(()))
            })
            .await
        };

        // If it were believed, all others would be far.
        scene.measure("dc2-1", [1, 300, 22_000]).await?;
        let why = "it says 1 µs, faster than any network, and the next nearest node 8000 µs: it keeps its label";
        told("LoneNearest", why).await?;
        stays("the labels", SEVERAL_TICKS, honest.clone(), async || scene.tiers().await).await?;

        // If it were believed, nobody else would be far.
        scene.measure("dc2-1", [9_000_000, 300, 22_000]).await?;
        let why = "it alone says 9000000 µs, and the next farthest node 20000 µs: what is far is measured without it";
        told("LoneFarthest", why).await?;
        let without_it = format!("dc2-1=far {others}");
        scene.labelled(&without_it).await?;
        stays("the labels", SEVERAL_TICKS, without_it, async || scene.tiers().await).await?;

        for impossible in [0, 10_000_001] {
            let refused = scene.measure("dc2-1", [impossible, 300, 22_000]).await.expect_err("it was taken");
            assert!(refused.to_string().contains("spec.readings[0].rttUs"), "{refused}");
        }

        scene.measure("dc2-1", [8_000, 300, 22_000]).await?;
        scene.labelled(&honest).await?;
        eventually("nothing to be ignored any more", vec![], ignored).await
    });
}

#[test]
fn a_label_that_somebody_removed_or_changed_is_put_back() {
    scene("put-back", async |scene| {
        let _patroni = seen_right(scene, json!({})).await?;
        let key = keys::default_node_label(scene.name);
        for (node, value) in [("dc1-1", Value::Null), ("dc2-1", json!("far")), ("dc3-1", json!("closely"))] {
            scene.patch_node(node, json!({"metadata": {"labels": {&key: value}}})).await?;
        }
        put_back(scene, &["dc1-1: closely was removed", "dc2-1: intermediate became far", "dc3-1: far became closely"])
            .await?;
        scene.labelled(NEAR_PG1).await
    });
}

#[test]
fn a_taint_that_somebody_removed_or_added_is_put_back() {
    scene("taint-back", async |scene| {
        let _patroni = seen_right(scene, json!({"taint": {"effect": "PreferNoSchedule"}})).await?;
        let taint =
            json!([{"key": keys::default_node_label(scene.name), "value": "far", "effect": "PreferNoSchedule"}]);
        for (node, taints) in [("dc1-1", taint), ("dc3-1", json!([]))] {
            scene.patch_node(node, json!({"spec": {"taints": taints}})).await?;
        }
        put_back(scene, &["dc1-1: the taint PreferNoSchedule was added", "dc3-1: its taint was removed"]).await?;
        scene.tainted("dc3-1=PreferNoSchedule").await?;
        scene.labelled(NEAR_PG1).await
    });
}

/// Three nodes that are as they should be, and the controller has seen it: what is overwritten before that can't be told from
/// its own change on the way.
async fn seen_right(scene: &Scene, spec: Value) -> Result<Patroni> {
    scene.nodes(&[1, 2, 3], 1).await?;
    let patroni = Patroni::start(scene.name).await?;
    scene.database(&patroni, spec).await?;
    scene.labelled(NEAR_PG1).await?;
    eventually("the controller to see its labels", true, async || {
        Ok(scene.status().await?.failovers.first().is_some_and(|failover| failover.labelled_at.is_some()))
    })
    .await?;
    Ok(patroni)
}

/// Waits for events that tell of each; several may be told of in one.
async fn put_back(scene: &Scene, did: &[&str]) -> Result<()> {
    let told: Vec<String> = did.iter().map(|did| format!("{}-{did}", scene.name)).collect();
    eventually("an event that tells of each", told.clone(), async || {
        let notes = scene.events(scene.name, "LabelPutBack").await?.join("\n");
        Ok(told.iter().filter(|did| notes.contains(*did)).cloned().collect())
    })
    .await
}

#[test]
fn a_label_that_somebody_else_uses_is_left_alone_and_the_database_says_so() {
    scene("hijack", async |scene| {
        scene.nodes(&[1, 2, 3], 1).await?;
        let key = "example.com/dedicated";
        for node in ["dc1-1", "dc3-1"] {
            scene.patch_node(node, json!({"metadata": {"labels": {key: "payments"}}})).await?;
        }
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({"nodeLabel": key, "taint": {"effect": "NoSchedule"}})).await?;
        let labels = async || {
            let nodes = scene.own_nodes().await?;
            let mut labels: Vec<_> = nodes.iter().filter_map(|node| node.labels().get(key).cloned()).collect();
            labels.sort();
            Ok(labels.join(" "))
        };
        let [first, second] = ["dc1-1", "dc3-1"].map(|node| scene.node(node));
        let sentence = format!(
            "KeyInUse: the key {key} is in use by somebody else on 2 nodes, which are left alone: {first}; {second}: write another \
             spec.nodeLabel"
        );
        scene.condition_says(scene.name, "LabelsAccepted", "False", &sentence).await?;
        eventually("the label of the node that nobody uses", "closely payments payments".to_owned(), labels).await?;
        patroni.switchover("pg3", 2);
        eventually("the primary", Some("pg3".to_owned()), async || Ok(scene.status().await?.primary)).await?;
        stays("the labels", SEVERAL_TICKS, "closely payments payments".to_owned(), labels).await?;
        for node in scene.own_nodes().await? {
            let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
            assert!(taints.iter().all(|taint| taint.key != key), "nor are they tainted: {taints:?}");
        }

        // When they are done with it, it is ours.
        for node in ["dc1-1", "dc3-1"] {
            scene.patch_node(node, json!({"metadata": {"labels": {key: null}}})).await?;
        }
        eventually("every label", "closely far far".to_owned(), labels).await?;
        scene.condition_becomes(scene.name, "LabelsAccepted", "True").await?;
        Ok(())
    });
}

#[test]
fn a_node_that_says_so_is_left_alone() {
    scene("unmanaged", async |scene| {
        scene.nodes(&[1, 2, 3], 1).await?;
        let key = keys::default_node_label(scene.name);
        let hands_off =
            json!({"metadata": {"annotations": {"switchover.dev/manage": "false"}, "labels": {&key: "closely"}}});
        scene.patch_node("dc3-1", hands_off).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({"taint": {"effect": "NoSchedule"}})).await?;
        // Nor does it count: without it, dc2 is the farthest.
        scene.labelled("dc1-1=closely dc2-1=far dc3-1=closely").await?;
        patroni.switchover("pg2", 2);
        scene.labelled("dc1-1=far dc2-1=closely dc3-1=closely").await?;
        assert_eq!(scene.taints().await?, "dc1-1=NoSchedule");

        scene.patch_node("dc3-1", json!({"metadata": {"annotations": {"switchover.dev/manage": null}}})).await?;
        scene.labelled("dc1-1=intermediate dc2-1=closely dc3-1=far").await
    });
}
