//! Four pods that are about to follow their primary: what disturbs a movement in the middle begins with them.

use anyhow::Result;
use lab::light::READY_DELAY;
use serde_json::{Value, json};

use super::{Patroni, Scene, Witness, eventually, objects::NEAR_PG1, until};

/// Four pods with a budget near pg1, in a namespace that follows it, and somebody who watches them.
pub(crate) struct Stage {
    pub patroni: Patroni,
    pub namespace: String,
    pub witness: Witness,
}

impl Stage {
    pub(crate) async fn set(scene: &Scene, spec: Value) -> Result<Stage> {
        scene.nodes(&[1, 3], 2).await?;
        let patroni = Patroni::start(scene.name).await?;
        scene.database(&patroni, spec).await?;
        scene.labelled(NEAR_PG1).await?;
        let namespace = scene.namespace("shop", Some(scene.name), json!({})).await?;
        let web = scene.workload(&namespace, "web").says(READY_DELAY, "1s");
        web.deployment(4).await?;
        web.budget().await?;
        assert_eq!(scene.zones(&namespace).await?, "4 in dc1", "born near the primary");
        let witness = Witness::of(scene, &namespace).await?;
        Ok(Stage { patroni, namespace, witness })
    }

    /// Switches over, and waits until the first pod has moved and there are more to come.
    pub(crate) async fn begin_to_move(&self) -> Result<()> {
        self.patroni.switchover("pg3", 2);
        let moved = async || Ok((self.witness.seen().ever.len() > 4).then_some(()));
        until("the first replacement", moved).await?;
        assert!(self.witness.seen().ever.len() < 8, "too late to disturb anything");
        Ok(())
    }

    /// Waits for the end of the movement: every pod moved by us, none twice, the budget kept.
    pub(crate) async fn ends_well(&self, scene: &Scene) -> Result<()> {
        self.ends_well_whoever_moved(scene).await?;
        let (moved, held) = scene.its_database().movement_over(2).await?;
        assert_eq!((moved, held), (4, 0), "moved, held");
        Ok(())
    }

    /// The same, where others may have moved some of them.
    pub(crate) async fn ends_well_whoever_moved(&self, scene: &Scene) -> Result<()> {
        eventually("every pod near pg3", "4 in dc3".to_owned(), async || scene.zones(&self.namespace).await).await?;
        let serving = async || Ok(self.witness.seen().serving().len());
        eventually("everybody to serve again", 4, serving).await?;
        let seen = self.witness.seen();
        assert_eq!(seen.ever.len(), 8, "one replacement for each");
        assert_eq!(seen.fewest_serving, Some(3), "the budget");
        Ok(())
    }
}
