//! Many databases at once, each for itself.

use std::collections::BTreeMap;

use anyhow::Result;
use kube::ResourceExt;
use serde_json::json;
use switchover::api::keys;

use super::support::{Patroni, Says, Scene, alone, eventually};

const DATABASES: usize = 100;
/// Of one in so many no member ever answers.
const HANGS: usize = 10;

fn name(number: usize) -> String {
    format!("many-{number}")
}

/// How many databases have labelled the nodes of dc1, dc2 and dc3 like this.
async fn labelled(scene: &Scene) -> Result<BTreeMap<String, usize>> {
    let nodes = scene.own_nodes().await?;
    let mut counts = BTreeMap::new();
    for number in 0..DATABASES {
        let key = keys::default_node_label(&name(number));
        let labels: Vec<&str> = nodes.iter().map(|node| node.labels().get(&key).map_or("-", String::as_str)).collect();
        *counts.entry(labels.join(" ")).or_default() += 1;
    }
    Ok(counts)
}

fn counts(expected: [(&str, usize); 2]) -> BTreeMap<String, usize> {
    expected.map(|(labels, count)| (labels.to_owned(), count)).into()
}

#[test]
fn a_hundred_databases_are_followed_at_once_and_those_that_hang_delay_no_other() {
    // It keeps the controller and the machine busy.
    alone("many", async |scene| {
        scene.nodes(&[1, 2, 3], 1).await?;
        let (patroni, hung) = (Patroni::start(scene.name).await?, Patroni::start("many-hung").await?);
        hung.let_all_say(Says::Hangs);
        for number in 0..DATABASES {
            let urls = if number % HANGS == 0 { hung.urls() } else { patroni.urls() };
            scene
                .database_at(
                    &name(number),
                    &urls,
                    json!({"discovery": {"patroni": {"interval": "1s", "timeout": "2s"}}}),
                )
                .await?;
        }
        let hang = DATABASES / HANGS;
        let follow = DATABASES - hang;
        let near_pg1 = counts([("- - -", hang), ("closely intermediate far", follow)]);
        eventually("every database that answers to label its nodes", near_pg1, async || labelled(scene).await).await?;

        patroni.switchover("pg3", 2);
        let near_pg3 = counts([("- - -", hang), ("far far closely", follow)]);
        eventually("every database that answers to be followed", near_pg3, async || labelled(scene).await).await?;

        let told = [((0, None), hang), ((2, Some("pg3".to_owned())), follow)].into();
        eventually("one epoch for each change in every status", told, async || {
            let mut epochs = BTreeMap::new();
            for database in scene.databases().list(&scene.own()).await?.items {
                let status = database.status.unwrap_or_default();
                *epochs.entry((status.epoch, status.primary)).or_default() += 1;
            }
            Ok(epochs)
        })
        .await
    });
}
