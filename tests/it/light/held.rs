//! What is not moved, and the one reason for each.

use std::time::Duration;

use anyhow::Result;
use jiff::SignedDuration;
use serde_json::json;

use super::support::{SEVERAL_TICKS, Witness, eventually, objects::NEAR_PG1, scene, stays, workloads::cpus};

const NEAR_PG3: &str = "dc1-1=far dc1-2=far dc3-1=closely dc3-2=closely";

#[test]
fn a_spike_in_the_primarys_data_centre_changes_labels_and_moves_nobody() {
    scene("spike", async |scene| {
        let (_patroni, namespace) = scene.two_centres(json!({"movement": {"settle": "12s"}})).await?;
        let web = scene.workload(&namespace, "web");
        web.deployment(2).await?;
        let pods = web.pod_names().await?;
        assert_eq!(scene.zones(&namespace).await?, "2 in dc1");
        eventually("the movement to be free to go", true, async || {
            Ok(scene.status().await?.failovers.first().is_some_and(|failover| failover.moved_at.is_some()))
        })
        .await?;

        let measure = async |rtt_us: u32| -> Result<()> {
            for node in ["dc1-1", "dc1-2"] {
                scene.measure(node, [rtt_us, 8_000, 20_000]).await?;
            }
            Ok(())
        };
        measure(60_000).await?;
        scene.labelled("dc1-1=far dc1-2=far dc3-1=closely dc3-2=closely").await?;
        let settling = "web: TierSettling: the tier of its node must hold for 12 s (spec.movement.settle)".to_owned();
        eventually("the pods to wait", vec![settling.clone(), settling], async || scene.held(&namespace).await).await?;
        measure(300).await?;
        scene.labelled(NEAR_PG1).await?;
        eventually("nothing to be held", Vec::<String>::new(), async || scene.held(&namespace).await).await?;
        assert_eq!(web.pod_names().await?, pods, "somebody was moved");
        Ok(())
    });
}

#[test]
fn every_pod_that_stays_has_one_reason() {
    scene("reasons", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let workload = |name| scene.workload(&namespace, name);
        workload("bare").bare_pod().await?;
        workload("job").job_pod().await?;
        workload("never").says("switchover.dev/move", "never").deployment(1).await?;
        let volume = json!({"name": "data", "hostPath": {"path": "/var/lib/data"}});
        workload("host-path").with(json!({"volumes": [volume]})).deployment(1).await?;
        scene.claim(&namespace, "data").await?;
        let volume = json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}});
        workload("claim").with(json!({"volumes": [volume]})).deployment(1).await?;
        let guarded = workload("guarded");
        guarded.deployment(2).await?;
        guarded.budget_of("guard", 0).await?;
        let doubly = workload("doubly");
        doubly.deployment(2).await?;
        doubly.budget_of("first", 1).await?;
        doubly.budget_of("second", 1).await?;
        workload("free").deployment(2).await?;
        assert_eq!(scene.zones(&namespace).await?, "11 in dc1");
        let witness = Witness::of(scene, &namespace).await?;

        patroni.switchover("pg3", 2);
        let budgets = "more than one disruption budget covers it (first, second), so Kubernetes refuses to evict it";
        let expected: Vec<String> = [
            "bare: BarePod: it has no controller, so nothing would replace it",
            "claim: PinnedByVolume: the volume claim data may tie it to its node",
            &format!("doubly: SeveralDisruptionBudgets: {budgets}"),
            &format!("doubly: SeveralDisruptionBudgets: {budgets}"),
            "guarded: NoDisruptionBudget: the disruption budget guard allows no eviction now",
            "guarded: NoDisruptionBudget: the disruption budget guard allows no eviction now",
            "host-path: PinnedByVolume: the host path /var/lib/data may tie it to its node",
            "job: Job: it belongs to a Job, whose work would be lost",
            "never: Never: switchover.dev/move is never for this pod",
        ]
        .map(str::to_owned)
        .to_vec();
        let moving = async || Ok((scene.zones(&namespace).await?, scene.held(&namespace).await?));
        let ended = ("9 in dc1, 2 in dc3".to_owned(), expected);
        eventually("all but those that are held to be moved", ended.clone(), moving).await?;
        assert_eq!((scene.its_database().movement_over(2).await?, scene.status().await?.held_total), ((2, 9), 9));
        let message = "9 followers stay where they are; status.held says why".to_owned();
        let condition = Some(("False".to_owned(), "Held".to_owned(), message));
        assert_eq!(scene.condition(scene.name, "Moving").await?, condition);
        assert_eq!((moving().await?, witness.seen().evicted.len()), (ended, 2));
        Ok(())
    });
}

#[test]
fn a_pod_without_room_near_the_primary_stays_until_there_is_room() {
    scene("room", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").with(cpus(8));
        web.deployment(2).await?;
        assert_eq!(scene.zones(&namespace).await?, "2 in dc1");
        // Somebody else's pods leave 6 of 16 CPUs on each node near pg3.
        let elsewhere = scene.namespace("elsewhere", None, json!({})).await?;
        let batch = scene.workload(&elsewhere, "batch").with(cpus(10)).one_on_each_node_of(3);
        batch.deployment(2).await?;

        patroni.switchover("pg3", 2);
        let held = |why: &str| vec![format!("web: NoRoom: no closely node takes it: {why}"); 2];
        let full = held("2: insufficient cpu");
        eventually("no room", full.clone(), async || scene.held(&namespace).await).await?;
        stays("no room", SEVERAL_TICKS, full, async || scene.held(&namespace).await).await?;

        // When the others are gone, there is room on the node that is not cordoned.
        scene.patch_node("dc3-1", json!({"spec": {"unschedulable": true}})).await?;
        eventually("one cordoned node", held("1: cordoned; 1: insufficient cpu"), async || {
            scene.held(&namespace).await
        })
        .await?;
        batch.scale(0).await?;
        eventually("room on the other node", "2 in dc3".to_owned(), async || scene.zones(&namespace).await).await?;
        assert_eq!(scene.places(&namespace).await?, ["web on dc3-2", "web on dc3-2"]);
        eventually("nothing held", vec![], async || scene.held(&namespace).await).await
    });
}

#[test]
fn a_paused_database_moves_nothing_while_labels_follow() {
    scene("paused", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"paused": true})).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        patroni.switchover("pg3", 2);
        scene.labelled(NEAR_PG3).await?;
        let look = async || {
            let moving = scene.condition(scene.name, "Moving").await?;
            let moving = moving.map(|(status, reason, message)| format!("{status} {reason}: {message}"));
            Ok((scene.zones(&namespace).await?, moving.unwrap_or_default(), scene.held(&namespace).await?))
        };
        let held = vec!["web: Paused: movement is paused by spec.paused".to_owned(); 2];
        let paused = ("2 in dc1".to_owned(), "False Paused: movement is paused by spec.paused".to_owned(), held);
        eventually("what is held", paused.clone(), look).await?;
        stays("the paused movement", SEVERAL_TICKS, paused, look).await?;

        scene.patch_database(json!({"paused": false})).await?;
        eventually("the movement", "2 in dc3".to_owned(), async || scene.zones(&namespace).await).await
    });
}

#[test]
fn nothing_moves_before_the_primary_has_held_and_each_change_begins_anew_and_takes_longer() {
    scene("settle", async |scene| {
        let settle = SignedDuration::from_secs(6);
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"settle": "6s"}})).await?;
        scene.workload(&namespace, "web").deployment(2).await?;
        let witness = Witness::of(scene, &namespace).await?;
        let settling = async || {
            let held = scene.status().await?.held;
            let reasons: Vec<String> = held.into_iter().map(|held| held.reason).collect();
            Ok((scene.zones(&namespace).await?, reasons))
        };
        let waiting = ("2 in dc1".to_owned(), vec!["Settling".to_owned(); 2]);
        patroni.switchover("pg3", 2);
        eventually("the first wait", waiting.clone(), settling).await?;
        stays("the first wait", Duration::from_secs(2), waiting.clone(), settling).await?;
        // Back before anything was moved, and away again: the time counts from the last change.
        patroni.switchover("pg1", 3);
        scene.labelled(NEAR_PG1).await?;
        patroni.switchover("pg3", 4);
        scene.labelled(NEAR_PG3).await?;
        eventually("the second wait", waiting, settling).await?;
        let settles = "3 changes within 10 min: settle is 24 s instead of 6 s";
        scene.condition_says(scene.name, "Moving", "False", settles).await?;
        eventually("the movement", "2 in dc3".to_owned(), async || scene.zones(&namespace).await).await?;

        let failovers = scene.status().await?.failovers;
        let confirmed = failovers.iter().find(|it| it.epoch == 4).and_then(|it| it.confirmed_at);
        let first = witness.seen().first_eviction;
        // A condition's time has whole seconds.
        let earliest = confirmed.expect("a confirmed primary") + 4 * settle - SignedDuration::from_secs(1);
        assert!(first.expect("an eviction") >= earliest, "{first:?}: before {earliest}");
        Ok(())
    });
}
