//! After a failover the pods come after the primary, and nobody goes below a budget.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::{Api, ResourceExt, api::ListParams};
use lab::light::READY_DELAY;
use serde_json::json;

use super::support::{Witness, eventually, scene, until};

#[test]
fn pods_follow_the_primary_one_at_a_time_and_each_only_once() {
    scene("follow", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"settle": "3s"}})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "500ms");
        web.deployment(4).await?;
        web.budget().await?;
        assert_eq!(scene.zones(&namespace).await?, "4 in dc1", "born near the primary");
        let before = web.pod_names().await?;
        let witness = Witness::of(scene, &namespace).await?;
        let at_first = witness.seen().ever;

        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (4, 0));
        assert_eq!(scene.zones(&namespace).await?, "4 in dc3");
        let seen = witness.seen();
        assert_eq!(seen.fewest_serving, Some(3), "never below the budget");
        assert_eq!(seen.evicted, at_first, "every pod, and each of them once");
        assert_eq!(seen.ever.len(), 8, "one replacement for each");
        eventually("one event for each eviction", before, async || scene.told_of(&namespace, "FollowingPrimary").await)
            .await?;

        let status = scene.status().await?;
        let failover = &status.failovers[0];
        let confirmed = failover.confirmed_at.expect("the failover was confirmed");
        // A condition's time has whole seconds.
        let earliest = confirmed + SignedDuration::from_secs(2);
        assert!(seen.first_eviction.expect("an eviction") >= earliest, "{:?}: before it settled", seen.first_eviction);
        assert_eq!((failover.rtt_before_us, failover.rtt_after_us), (Some(20_000), Some(300)));
        assert_eq!((status.moving, status.held, status.held_total), (vec![], vec![], 0));
        let moving = scene.condition(scene.name, "Moving").await?;
        let done = ("False", "Done", "every follower is where it should be");
        assert_eq!(moving.as_ref().map(|(status, reason, message)| (&**status, &**reason, &**message)), Some(done));
        Ok(())
    });
}

#[test]
fn several_workloads_move_at_the_same_time_up_to_the_limit() {
    scene("limit", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({"movement": {"maxConcurrent": 2}})).await?;
        for name in ["a", "b", "c"] {
            scene.workload(&namespace, name).says(READY_DELAY, "1s").deployment(2).await?;
        }
        patroni.switchover("pg3", 2);
        let mut most = 0;
        until("the end of the movement", async || {
            let status = scene.status().await?;
            let workloads: BTreeSet<_> = status.moving.iter().map(|moving| moving.workload.name.clone()).collect();
            assert_eq!(workloads.len(), status.moving.len(), "one at a time per workload: {:?}", status.moving);
            most = most.max(status.moving.len());
            Ok(status.failovers.first().filter(|it| it.epoch == 2 && it.moved_at.is_some()).map(|_| ()))
        })
        .await?;
        assert_eq!((scene.its_database().movement_over(2).await?, most), ((6, 0), 2));
        assert_eq!(scene.zones(&namespace).await?, "6 in dc3");
        Ok(())
    });
}

#[test]
fn a_workload_moves_as_fast_as_its_budget_allows() {
    scene("budgeted", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "2s");
        web.deployment(6).await?;
        web.budget_of("web", 3).await?;
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        let mut most = 0;
        until("the end of the movement", async || {
            let status = scene.status().await?;
            most = most.max(status.moving.len());
            Ok(status.failovers.first().filter(|it| it.epoch == 2 && it.moved_at.is_some()).map(|_| ()))
        })
        .await?;
        assert_eq!((scene.its_database().movement_over(2).await?, most), ((6, 0), 3));
        assert_eq!(scene.zones(&namespace).await?, "6 in dc3");
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.evicted.len(), seen.ever.len()), (Some(3), 6, 12));
        Ok(())
    });
}

#[test]
fn the_next_pod_waits_until_the_replacement_before_it_is_available() {
    scene("warming", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "1s").controlled(json!({"minReadySeconds": 5}));
        web.deployment(3).await?;
        web.budget().await?;
        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (3, 0));
        assert_eq!(scene.zones(&namespace).await?, "3 in dc3");
        let pods = scene.pods(&namespace).list(&ListParams::default()).await?.items;
        let mut created: Vec<_> = pods.iter().filter_map(|pod| Some(pod.creation_timestamp()?.0)).collect();
        created.sort();
        for pair in created.windows(2) {
            let apart = pair[1].duration_since(pair[0]);
            assert!(apart >= SignedDuration::from_secs(5), "Ready for less than 5 s: {created:?}");
        }
        Ok(())
    });
}

#[test]
fn a_replacement_that_is_late_halts_everything_until_it_is_ready() {
    scene("late", async |scene| {
        let spec = json!({"movement": {"replacementTimeout": "5s", "haltAfterFailures": 1}});
        let (patroni, namespace) = scene.two_centres(spec).await?;
        for name in ["api", "web"] {
            scene.workload(&namespace, name).says(READY_DELAY, "12s").deployment(2).await?;
        }
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        scene.condition_says(scene.name, "Moving", "False", "Halted: halted: ").await?;
        let evicted = witness.seen().evicted.len();
        assert!((1..=2).contains(&evicted), "one of each workload: {evicted}");
        until("the event", async || {
            let told = scene.told_of("default", "Halted").await?;
            Ok(told.iter().any(|name| name == scene.name).then_some(()))
        })
        .await?;
        let held = scene.held(&namespace).await?;
        assert!(held.iter().all(|line| line.contains(": Halted: ")) && !held.is_empty(), "{held:?}");

        // Late as they are they were no failures of the place: it goes on.
        assert_eq!(scene.its_database().movement_over(2).await?, (4, 0));
        assert_eq!(scene.zones(&namespace).await?, "4 in dc3");
        let seen = witness.seen();
        assert_eq!((seen.evicted.len(), seen.ever.len()), (4, 8));
        assert!(seen.fewest_serving >= Some(2), "one of each workload at a time: {:?}", seen.fewest_serving);
        Ok(())
    });
}

#[test]
fn a_workload_that_asks_for_it_is_restarted_once_instead() {
    scene("restart", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").says("switchover.dev/move", "restart").says(READY_DELAY, "500ms");
        web.deployment(4).await?;
        let witness = Witness::of(scene, &namespace).await?;

        patroni.switchover("pg3", 2);
        assert_eq!(scene.its_database().movement_over(2).await?, (4, 0));
        eventually("the end of the rollout", "4 in dc3".to_owned(), async || scene.zones(&namespace).await).await?;
        let seen = witness.seen();
        assert_eq!((seen.evicted, seen.ever.len()), (BTreeSet::new(), 8));
        let deployment = Api::<Deployment>::namespaced(scene.client.clone(), &namespace).get("web").await?;
        assert_eq!(deployment.annotations()["deployment.kubernetes.io/revision"], "2", "one rollout");
        let template = deployment.spec.and_then(|spec| spec.template.metadata).unwrap_or_default();
        assert_eq!(template.annotations.unwrap_or_default()["switchover.dev/restarted-for"], "restart/2");
        let sets = Api::<ReplicaSet>::namespaced(scene.client.clone(), &namespace).list(&ListParams::default()).await?;
        assert_eq!(sets.items.len(), 2);
        Ok(())
    });
}

#[test]
fn a_switchback_in_the_middle_brings_every_pod_home() {
    scene("switchback", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "1s");
        web.deployment(4).await?;
        web.budget().await?;
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        until("the first pod to be moved", async || Ok((!witness.seen().evicted.is_empty()).then_some(()))).await?;

        patroni.switchover("pg1", 3);
        scene.its_database().movement_over(3).await?;
        eventually("every pod near pg1", "4 in dc1".to_owned(), async || scene.zones(&namespace).await).await?;
        assert_eq!(witness.seen().fewest_serving, Some(3));
        Ok(())
    });
}
