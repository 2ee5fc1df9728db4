//! Switchovers that the database announces.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use lab::wait::{eventually_within, until_within};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::support::{Patroni, SEVERAL_TICKS, Scene, eventually, scene, stays, until, upheaval, world::CONTROLLERS};

/// The members' list is looked at every 30 s.
const SEVERAL_LISTS: Duration = Duration::from_secs(100);

/// As Patroni lists it: so many seconds from now on, from pg1.
fn scheduled(in_s: i64, to: &str) -> (Value, String) {
    let at = Timestamp::now() + SignedDuration::from_secs(in_s);
    (json!({"at": at.to_string().replace('Z', "+00:00"), "from": "pg1", "to": to}), format!("pg1 → {to} at {at:.0}"))
}

/// Two centres whose primary is in dc1, and a namespace that follows it. Primaries take an hour to settle. The switchover is announced from
/// the beginning.
async fn centres(scene: &Scene, scheduled: Value) -> Result<(Patroni, String)> {
    scene.nodes(&[1, 3], 2).await?;
    let patroni = Patroni::start(scene.name).await?;
    patroni.announce(Some(scheduled));
    scene.database(&patroni, json!({"movement": {"settle": "1h"}})).await?;
    scene.labelled("dc1-1=closely dc1-2=closely dc3-1=far dc3-2=far").await?;
    let namespace = scene.namespace("shop", Some(scene.name), json!({})).await?;
    Ok((patroni, namespace))
}

/// What the condition says.
async fn said(scene: &Scene) -> Result<Option<(String, String, String)>> {
    scene.condition(scene.name, "SwitchoverAnnounced").await
}

fn says(status: &str, reason: &str, message: &str) -> Option<(String, String, String)> {
    Some((status.to_owned(), reason.to_owned(), message.to_owned()))
}

#[test]
fn a_switchover_that_is_announced_is_told_with_what_would_come_of_it_and_needs_not_settle() {
    scene("announced-for", async |scene| {
        let (it, words) = scheduled(20, "pg3");
        let (patroni, namespace) = centres(scene, it).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        let bound = scene.workload(&namespace, "bound");
        bound.with(json!({"nodeSelector": {"topology.kubernetes.io/zone": "dc1"}})).deployment(2).await?;
        let begin = format!("{words}, announced by Patroni; 2 of 4 pods wouldn't fit near pg3: ");
        let message = until("the condition", async || {
            let said = said(scene).await?.filter(|(status, reason, _)| (&**status, &**reason) == ("True", "NoPlace"));
            Ok(said.map(|(.., message)| message).filter(|message| message.starts_with(&begin)))
        })
        .await?;
        let warned = until("the warning", async || {
            let told = scene.events(scene.name, "NotReadyForSwitchover").await?;
            Ok(told.into_iter().find(|note| note.contains("2 of 4 pods wouldn't fit near pg3")))
        })
        .await?;
        assert!(warned.starts_with(&format!("{words}: ")), "{warned}");
        assert_eq!(scene.events(scene.name, "SwitchoverAnnounced").await?, [format!("{words}, announced by Patroni")]);
        let shown = block_in_place(|| scene.world.switchover(&["status", scene.name]))?;
        assert!(shown.contains(&format!("  announced: {message}")), "{shown}");

        until("its time to be near", async || {
            let announced = scene.status().await?.announced.context("none is announced any more")?;
            Ok((announced.at - SignedDuration::from_secs(8) <= Timestamp::now()).then_some(()))
        })
        .await?;
        patroni.switchover("pg3", 2);
        let zones = async || scene.zones(&namespace).await;
        eventually("the movement", "2 in dc1, 2 in dc3".to_owned(), zones).await?;
        let came = format!("{words} came as announced: settle is not waited for");
        eventually("the end", says("False", "Came", &came), async || said(scene).await).await?;
        eventually("the event", vec![came], async || scene.events(scene.name, "SwitchoverCame").await).await?;
        let status = scene.status().await?;
        assert!(status.announced.is_none() && status.failovers[0].announced_for.is_some(), "{status:?}");
        Ok(())
    });
}

#[test]
fn another_primary_than_the_announced_one_has_to_settle() {
    scene("announced-other", async |scene| {
        let (it, words) = scheduled(5, "pg2");
        let (patroni, namespace) = centres(scene, it).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        scene.condition_becomes(scene.name, "SwitchoverAnnounced", "True").await?;
        patroni.switchover("pg3", 2);
        let ended = format!("{words} did not come as announced: pg3 is the primary now");
        eventually("the end", says("False", "OtherPrimary", &ended), async || said(scene).await).await?;
        eventually("the event", vec![ended], async || scene.events(scene.name, "SwitchoverDidNotCome").await).await?;
        let settling = async || {
            let held = scene.held(&namespace).await?;
            Ok((scene.zones(&namespace).await?, held.iter().filter(|it| it.starts_with("web: Settling")).count()))
        };
        eventually("everybody to wait", ("2 in dc1".to_owned(), 2), settling).await?;
        stays("everybody", SEVERAL_TICKS, ("2 in dc1".to_owned(), 2), settling).await
    });
}

#[test]
fn what_is_announced_outlives_the_controllers() {
    upheaval("announced-dead", async |scene| {
        let (it, words) = scheduled(5, "pg3");
        let (patroni, namespace) = centres(scene, it).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        scene.condition_becomes(scene.name, "SwitchoverAnnounced", "True").await?;
        CONTROLLERS.iter().try_for_each(|controller| scene.world.kill_role(controller))?;
        // Nobody announces it any more when the next controller looks.
        patroni.switchover("pg3", 2);
        block_in_place(|| scene.world.restore())?;
        let came = format!("{words} came as announced: settle is not waited for");
        eventually("the end", says("False", "Came", &came), async || said(scene).await).await?;
        eventually("the movement", "2 in dc3".to_owned(), async || scene.zones(&namespace).await).await
    });
}

#[test]
fn a_switchover_that_is_withdrawn_or_can_not_come_is_told_so() {
    scene("announced-not", async |scene| {
        let (it, words) = scheduled(3600, "pg3");
        let (patroni, _) = centres(scene, it).await?;
        scene.condition_becomes(scene.name, "SwitchoverAnnounced", "True").await?;
        patroni.announce(None);
        let withdrawn = format!("{words} is not announced any more");
        let expected = says("False", "Withdrawn", &withdrawn);
        eventually_within(SEVERAL_LISTS, "the end", expected, async || said(scene).await).await?;
        eventually("the event", vec![withdrawn], async || scene.events(scene.name, "SwitchoverWithdrawn").await)
            .await?;
        assert_eq!(scene.status().await?.announced, None);
        let (it, words) = scheduled(3600, "pg9");
        patroni.announce(Some(it));
        let why = format!("ignored: {words}, announced by Patroni: pg9 is no member: there are pg1; pg2; pg3");
        let told = until_within(SEVERAL_LISTS, "the event", async || {
            Ok(scene.events(scene.name, "AnnouncementIgnored").await?.into_iter().next())
        })
        .await?;
        assert_eq!(told, why);
        eventually("the condition", says("False", "Ignored", &why), async || said(scene).await).await
    });
}
