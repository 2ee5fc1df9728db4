//! Two databases whose primaries are at the same place, and then not.

use anyhow::Result;
use lab::light::READY_DELAY;
use serde_json::json;

use super::support::{Database, Patroni, SEVERAL_TICKS, Scene, Witness, eventually, objects::NEAR_PG1, scene, stays};

const NEAR_PG3: &str = "dc1-1=far dc1-2=far dc3-1=closely dc3-2=closely";

/// The scene's own database and `billing`, both with their primary in dc1, where two nodes are, and two in dc3.
async fn stage(scene: &Scene) -> Result<[(Patroni, Database<'_>); 2]> {
    scene.nodes(&[1, 3], 2).await?;
    let [orders, billing] = [Patroni::start(scene.name).await?, Patroni::start(scene.name).await?];
    scene.database(&orders, json!({})).await?;
    let its = scene.its_database();
    let other = scene.another_database("billing", &billing, json!({})).await?;
    its.labelled(NEAR_PG1).await?;
    other.labelled(NEAR_PG1).await?;
    Ok([(orders, its), (billing, other)])
}

#[test]
fn each_database_moves_those_who_follow_it_and_nobody_else() {
    scene("apart", async |scene| {
        let [(orders, its), (billing, other)] = stage(scene).await?;
        let (shop, bank) = (
            scene.namespace_that_follows("shop", &[&its]).await?,
            scene.namespace_that_follows("bank", &[&other]).await?,
        );
        scene.workload(&shop, "web").deployment(2).await?;
        scene.workload(&bank, "ledger").deployment(2).await?;
        let zones = async || Ok([scene.zones(&shop).await?, scene.zones(&bank).await?]);
        assert_eq!(zones().await?, ["2 in dc1", "2 in dc1"]);

        orders.switchover("pg3", 2);
        assert_eq!(its.movement_over(2).await?, (2, 0));
        let apart = ["2 in dc3", "2 in dc1"].map(str::to_owned);
        stays("the pods", SEVERAL_TICKS, apart, zones).await?;
        assert_eq!((scene.tiers().await?, scene.tiers_of(&other.name).await?), (NEAR_PG3.into(), NEAR_PG1.into()));

        billing.switchover("pg3", 2);
        assert_eq!(other.movement_over(2).await?, (2, 0));
        assert_eq!(zones().await?, ["2 in dc3", "2 in dc3"]);
        assert_eq!((its.status().await?.epoch, other.status().await?.epoch), (2, 2));
        Ok(())
    });
}

#[test]
fn who_follows_two_databases_leaves_neither_for_the_other_and_goes_with_both() {
    scene("both-followed", async |scene| {
        let [(orders, its), (billing, other)] = stage(scene).await?;
        let namespace = scene.namespace_that_follows("shop", &[&its, &other]).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "500ms");
        web.deployment(4).await?;
        web.budget().await?;
        assert_eq!(scene.zones(&namespace).await?, "4 in dc1");
        let witness = Witness::of(scene, &namespace).await?;
        let at_first = witness.seen().ever;

        orders.switchover("pg3", 2);
        its.labelled(NEAR_PG3).await?;
        let why = "it is farther from another database that the pod follows";
        let reasons = async || {
            let held = its.held(&namespace).await?;
            Ok(held.iter().filter(|held| held.starts_with("web: NoRoom: ") && held.contains(why)).count())
        };
        eventually("all to stay", 4, reasons).await?;
        stays("all", SEVERAL_TICKS, 4, reasons).await?;
        assert_eq!(other.held(&namespace).await?, Vec::<String>::new(), "near its primary");

        billing.switchover("pg3", 2);
        eventually("all to go", "4 in dc3".to_owned(), async || scene.zones(&namespace).await).await?;
        its.movement_over(2).await?;
        other.movement_over(2).await?;
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.ever.len()), (Some(3), 8), "the budget, and one replacement for each");
        assert_eq!(seen.evicted, at_first, "every pod, and each of them once");
        Ok(())
    });
}

#[test]
fn two_primaries_that_move_together_take_one_pod_of_a_workload_at_a_time() {
    scene("together", async |scene| {
        let [(orders, its), (billing, other)] = stage(scene).await?;
        let namespace = scene.namespace_that_follows("shop", &[&its, &other]).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "1s");
        web.deployment(4).await?;
        assert_eq!(scene.zones(&namespace).await?, "4 in dc1");
        let witness = Witness::of(scene, &namespace).await?;
        let at_first = witness.seen().ever;

        orders.switchover("pg3", 2);
        billing.switchover("pg3", 2);
        eventually("all to go", "4 in dc3".to_owned(), async || scene.zones(&namespace).await).await?;
        its.movement_over(2).await?;
        other.movement_over(2).await?;
        let seen = witness.seen();
        assert_eq!((seen.fewest_serving, seen.ever.len()), (Some(3), 8), "nobody guards them but the two themselves");
        assert_eq!(seen.evicted, at_first, "every pod, and each of them once");
        Ok(())
    });
}
