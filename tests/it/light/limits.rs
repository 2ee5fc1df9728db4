//! What a namespace may use and who comes first bound the movement.

use std::collections::BTreeSet;

use lab::light::{DELETE_DELAY, READY_DELAY};
use serde_json::json;

use super::support::{SEVERAL_TICKS, Witness, eventually, scene, stays, workloads::cpus};

#[test]
fn where_a_quota_leaves_no_room_for_a_replacement_nobody_is_moved() {
    scene("quota", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "500ms").says(DELETE_DELAY, "2s");
        web.deployment(2).await?;
        scene.quota(&namespace, json!({"pods": "2"})).await?;
        let witness = Witness::of(scene, &namespace).await?;
        patroni.switchover("pg3", 2);
        let why = "the ResourceQuota quota (pods) leaves no room for its replacement while the pod itself still counts: leave room for \
                   one more pod";
        let held = vec![format!("web: QuotaExhausted: {why}"); 2];
        eventually("no room in the quota", held.clone(), async || scene.held(&namespace).await).await?;
        stays("no room in the quota", SEVERAL_TICKS, held, async || scene.held(&namespace).await).await?;
        assert_eq!(witness.seen().evicted, BTreeSet::new());

        scene.quota(&namespace, json!({"pods": "3"})).await?;
        eventually("the movement", "2 in dc3".to_owned(), async || scene.zones(&namespace).await).await?;
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.evicted.len(), seen.ever.len()), (Some(1), 2, 4));
        Ok(())
    });
}

#[test]
fn nobody_is_driven_out_for_a_pod_that_follows_however_much_it_comes_first() {
    scene("priority", async |scene| {
        let (patroni, namespace) = scene.two_centres(json!({})).await?;
        let urgent = scene.priority("urgent", 1_000).await?;
        scene.workload(&namespace, "web").with(cpus(8)).of_priority(&urgent).deployment(1).await?;
        // Pods that come last leave 6 of 16 CPUs on each node near pg3.
        let elsewhere = scene.namespace("elsewhere", None, json!({})).await?;
        let last = scene.priority("last", -1_000).await?;
        let batch = scene.workload(&elsewhere, "batch").with(cpus(10)).of_priority(&last).one_on_each_node_of(3);
        batch.deployment(2).await?;
        let (mine, others) = (Witness::of(scene, &namespace).await?, Witness::of(scene, &elsewhere).await?);

        patroni.switchover("pg3", 2);
        let held = vec!["web: NoRoom: no closely node takes it: 2: insufficient cpu".to_owned()];
        eventually("no room", held.clone(), async || scene.held(&namespace).await).await?;
        stays("no room", SEVERAL_TICKS, held, async || scene.held(&namespace).await).await?;
        assert_eq!([mine.seen().evicted, others.seen().evicted], [BTreeSet::new(), BTreeSet::new()]);
        assert_eq!((others.seen().fewest_serving, others.seen().ever.len()), (Some(2), 2));
        Ok(())
    });
}
