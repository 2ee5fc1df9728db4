//! Parts of the product or of Kubernetes die: nobody goes below a budget, nothing is moved twice, and it goes on.

use std::time::Duration;

use anyhow::{Context, Result};
use jiff::SignedDuration;
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use lab::{control_plane::Component, light::READY_DELAY};
use serde_json::json;
use switchover::api::{database_cluster::MovingStatus, keys};
use tokio::task::block_in_place;

use super::support::{
    Patroni, SEVERAL_TICKS, Scene, Stage, Witness, eventually,
    objects::NEAR_PG1,
    stays, until, upheaval,
    world::{CONTROLLERS, NAMESPACE, WEBHOOK},
};

/// Who leads, by the Lease.
async fn leader(scene: &Scene) -> Result<&'static str> {
    let leases: Api<Lease> = Api::namespaced(scene.client.clone(), NAMESPACE);
    until("a controller to lead", async || {
        let holder = leases.get("switchover-controller").await?.spec.and_then(|spec| spec.holder_identity);
        Ok(holder.and_then(|holder| CONTROLLERS.into_iter().find(|it| holder.starts_with(&format!("{it}_")))))
    })
    .await
}

#[test]
fn the_leader_dies_in_the_middle_of_a_movement() {
    upheaval("leader", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        let first = leader(scene).await?;
        stage.begin_to_move().await?;
        scene.world.kill_role(first)?;
        stage.ends_well(scene).await?;
        assert_ne!(leader(scene).await?, first);
        let seen = stage.witness.seen();
        assert_eq!(seen.evicted.len(), 4, "each pod once");
        Ok(())
    });
}

#[test]
fn both_controllers_die_in_the_middle_of_a_movement() {
    upheaval("both", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        stage.begin_to_move().await?;
        CONTROLLERS.iter().try_for_each(|controller| scene.world.kill_role(controller))?;
        // What was under way ends, and nothing else begins.
        let web = scene.workload(&stage.namespace, "web");
        until("the last replacement", async || Ok((web.pod_names().await?.len() == 4).then_some(()))).await?;
        let pods = web.pod_names().await?;
        stays("the pods", Duration::from_secs(3), pods, async || web.pod_names().await).await?;

        block_in_place(|| scene.world.restore())?;
        stage.ends_well(scene).await?;
        assert_eq!(stage.witness.seen().evicted.len(), 4, "each pod once");
        Ok(())
    });
}

/// The leader dies when an eviction has been accepted and its replacement isn't Ready, which takes ten seconds here.
#[test]
fn the_leader_dies_between_an_eviction_and_its_replacement() {
    upheaval("between", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "10s");
        web.deployment(2).await?;
        web.budget().await?;
        let witness = Witness::of(scene, &namespace).await?;
        let first = leader(scene).await?;
        patroni.switchover("pg3", 2);
        let uid = until("an eviction", async || Ok(witness.seen().evicted.into_iter().next())).await?;
        scene.world.kill_role(first)?;
        let seen = witness.seen();
        assert_eq!((seen.evicted.len(), seen.serving().len()), (1, 1), "its replacement isn't Ready");

        // The next leader finds the move, and waits for its end before the other pod goes.
        until("another leader", async || Ok((leader(scene).await? != first).then_some(()))).await?;
        let moving: Vec<String> = scene.status().await?.moving.into_iter().map(|moving| moving.uid).collect();
        assert_eq!(moving, [uid]);
        assert_eq!(scene.its_database().movement_over(2).await?, (2, 0));
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.evicted.len(), seen.ever.len()), (Some(1), 2, 4), "each pod once");
        Ok(())
    });
}

/// Its process is halted as by a machine that is out of memory or a virtual one that is moved: what it does next it decided when it led.
#[test]
fn a_leader_that_was_halted_and_goes_on_overwrites_nothing() {
    upheaval("halted-leader", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        let first = leader(scene).await?;
        stage.begin_to_move().await?;
        scene.world.signal_role(first, "STOP")?;
        let next = async || Ok((leader(scene).await? != first).then_some(()));
        until("another leader", next).await?;
        // It moves the rest, and then begins another epoch that the former one knows nothing of.
        stage.ends_well(scene).await?;
        stage.patroni.switchover("pg1", 3);
        assert_eq!(scene.its_database().movement_over(3).await?, (4, 0));
        let epochs = async || -> Result<(u64, usize)> {
            let status = scene.status().await?;
            Ok((status.epoch, status.failovers.len()))
        };
        let before = epochs().await?;
        scene.world.signal_role(first, "CONT")?;
        stays("the status", SEVERAL_TICKS, before, epochs).await?;
        assert_eq!(scene.zones(&stage.namespace).await?, "4 in dc1");
        assert_eq!(stage.witness.seen().ever.len(), 12, "each pod once for each change");
        Ok(())
    });
}

#[test]
fn a_leader_whose_clock_is_ahead_does_not_take_what_it_finds_for_failures() {
    upheaval("ahead", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"haltAfterFailures": 1}})).await?;
        scene.workload(&namespace, "web").says(READY_DELAY, "30s").deployment(2).await?;
        patroni.switchover("pg3", 2);
        let moving = until("a pod to be on the move", async || {
            let moving = scene.status().await?.moving;
            Ok((!moving.is_empty()).then_some(moving))
        })
        .await?;
        CONTROLLERS.iter().try_for_each(|controller| scene.world.kill_role(controller))?;
        // As a clock sees it that is an hour ahead.
        let hour = SignedDuration::from_hours(1);
        let earlier = moving.into_iter().map(|it| MovingStatus { started_at: it.started_at.map(|at| at - hour), ..it });
        let status = json!({"status": {"held": [], "moving": earlier.collect::<Vec<_>>()}});
        scene.databases().patch_status(scene.name, &PatchParams::default(), &Patch::Merge(status)).await?;

        block_in_place(|| scene.world.restore())?;
        let waits = "web: OneAtATime: another pod of its workload is on the move".to_owned();
        eventually("the next leader's word", vec![waits], async || scene.held(&namespace).await).await?;
        eventually("the move that it found to end well", Some(1), async || {
            Ok(scene.status().await?.failovers.first().map(|failover| failover.moved))
        })
        .await
    });
}

#[test]
fn both_controllers_die_while_the_primary_settles() {
    upheaval("settling", async |scene| {
        let settle = SignedDuration::from_secs(8);
        let stage = Stage::set(scene, json!({"movement": {"settle": "8s"}})).await?;
        stage.patroni.switchover("pg3", 2);
        until("the movement to wait", async || {
            let status = scene.status().await?;
            Ok((status.epoch == 2 && status.held.iter().any(|held| held.reason == "Settling")).then_some(()))
        })
        .await?;
        CONTROLLERS.iter().try_for_each(|controller| scene.world.kill_role(controller))?;
        block_in_place(|| scene.world.restore())?;
        stage.ends_well(scene).await?;
        let failover = scene.status().await?.failovers.into_iter().find(|it| it.epoch == 2).context("the failover")?;
        let first = stage.witness.seen().first_eviction.context("an eviction")?;
        // A condition's time has whole seconds.
        let earliest = failover.confirmed_at.context("a confirmed primary")? + settle - SignedDuration::from_secs(1);
        assert!(first >= earliest, "{first}: before {earliest}");
        Ok(())
    });
}

#[test]
fn a_switchover_that_no_controller_saw_is_followed_by_the_next_one() {
    upheaval("unseen", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        CONTROLLERS.iter().try_for_each(|controller| scene.world.kill_role(controller))?;
        stage.patroni.switchover("pg3", 2);
        stays("the labels", Duration::from_secs(2), NEAR_PG1.to_owned(), async || scene.tiers().await).await?;
        block_in_place(|| scene.world.restore())?;
        scene.labelled("dc1-1=far dc1-2=far dc3-1=closely dc3-2=closely").await?;
        stage.ends_well(scene).await
    });
}

#[test]
fn the_api_server_restarts_in_the_middle_of_a_movement() {
    upheaval("api-server", async |scene| {
        let stage = Stage::set(scene, json!({})).await?;
        stage.begin_to_move().await?;
        block_in_place(|| scene.world.bed.restart(Component::KubeApiserver))?;
        stage.ends_well(scene).await
    });
}

#[test]
fn without_the_webhook_pods_start_as_they_are_and_are_brought_nearer_later() {
    upheaval("no-webhook", async |scene| {
        // Most of the room is far away, so that chance alone brings nobody near.
        scene.nodes(&[1], 1).await?;
        scene.nodes(&[3], 4).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled("dc1-1=closely dc3-1=far dc3-2=far dc3-3=far dc3-4=far").await?;
        let namespace = scene.namespace("shop", Some(scene.name), json!({})).await?;

        scene.world.kill_role(WEBHOOK)?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "500ms");
        web.deployment(4).await?;
        assert!(scene.zones(&namespace).await?.contains("dc3"), "without affinity they are spread");
        until("a replacement that was missed, too, to say so", async || {
            Ok(scene.told_of(&namespace, "AdmissionMissed").await?.pop())
        })
        .await?;

        block_in_place(|| scene.world.restore())?;
        eventually("every pod near the primary", "4 in dc1".to_owned(), async || scene.zones(&namespace).await).await
    });
}

#[test]
fn a_restart_that_the_webhook_missed_is_done_once_more_also_by_the_next_leader() {
    upheaval("restart-again", async |scene| {
        // Most of the room is far from the next primary, so that chance alone brings nobody near.
        scene.nodes(&[1], 3).await?;
        scene.nodes(&[3], 1).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, json!({})).await?;
        scene.labelled("dc1-1=closely dc1-2=closely dc1-3=closely dc3-1=far").await?;
        let namespace = scene.namespace("shop", Some(scene.name), json!({})).await?;
        let web = scene.workload(&namespace, "web").says(keys::MOVE, "restart").says(READY_DELAY, "500ms");
        web.deployment(4).await?;
        let rollouts = async || {
            let deployment = Api::<Deployment>::namespaced(scene.client.clone(), &namespace).get("web").await?;
            let revision = deployment.annotations()["deployment.kubernetes.io/revision"].clone();
            let template = deployment.spec.and_then(|spec| spec.template.metadata).unwrap_or_default();
            let mark = template.annotations.unwrap_or_default().remove(keys::RESTARTED_FOR).unwrap_or_default();
            anyhow::Ok((revision, mark))
        };

        scene.world.kill_role(WEBHOOK)?;
        patroni.switchover("pg3", 2);
        until("the restart to be missed", async || {
            let held = scene.status().await?.held;
            Ok(held.iter().any(|held| held.reason == "AdmissionMissed").then_some(()))
        })
        .await?;
        let first = ("2".to_owned(), "restart-again/2".to_owned());
        assert_eq!(rollouts().await?, first, "nothing more within the pause");
        scene.world.kill_role(leader(scene).await?)?;
        block_in_place(|| scene.world.restore())?;
        eventually("every pod near pg3", "4 in dc3".to_owned(), async || scene.zones(&namespace).await).await?;
        assert_eq!(rollouts().await?, ("3".to_owned(), "restart-again/2/2".to_owned()), "one more");
        Ok(())
    });
}
