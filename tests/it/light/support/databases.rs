//! Several databases in one scene: what each says of the nodes, and of who follows it.

use anyhow::Result;
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use switchover::api::{DatabaseClusterStatus, keys};

use super::{Patroni, Scene, eventually, until};

/// One database of a scene.
pub(crate) struct Database<'s> {
    pub scene: &'s Scene,
    pub name: String,
}

impl Scene {
    /// The database that bears the scene's name.
    pub(crate) fn its_database(&self) -> Database<'_> {
        Database { scene: self, name: self.name.to_owned() }
    }

    /// Makes one more database, `SCENE-SHORT`. Its members stand where those of the scene's own do: whoever is `pg1` of
    /// either is in dc1.
    pub(crate) async fn another_database(&self, short: &str, patroni: &Patroni, spec: Value) -> Result<Database<'_>> {
        let name = format!("{}-{short}", self.name);
        self.database_at(&name, &patroni.urls(), spec).await?;
        Ok(Database { scene: self, name })
    }

    /// Makes a namespace, `SCENE-SHORT`, whose pods follow all of these, and waits until the webhook knows.
    pub(crate) async fn namespace_that_follows(&self, short: &str, databases: &[&Database<'_>]) -> Result<String> {
        let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
        let namespace = self.namespace(short, names.first().copied(), json!({keys::FOLLOW: names.join(",")})).await?;
        self.webhook_knows(&namespace).await?;
        Ok(namespace)
    }
}

impl Database<'_> {
    pub(crate) async fn status(&self) -> Result<DatabaseClusterStatus> {
        Ok(self.scene.databases().get(&self.name).await?.status.unwrap_or_default())
    }

    /// Changes its spec.
    pub(crate) async fn patch(&self, spec: Value) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.scene.databases().patch(&self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Waits until its labels of the scene's nodes are exactly these: `dc1-1=closely dc3-1=far`.
    pub(crate) async fn labelled(&self, tiers: &str) -> Result<()> {
        let what = format!("the labels of {}", self.name);
        eventually(&what, tiers.to_owned(), async || self.scene.tiers_of(&self.name).await).await
    }

    /// Why its followers in a namespace stay: `web: NoRoom: no closely node takes it: …`, by workload; sorted.
    pub(crate) async fn held(&self, namespace: &str) -> Result<Vec<String>> {
        let pods = self.scene.pods(namespace).list(&ListParams::default()).await?.items;
        let app = |held: &str| {
            let pod = pods.iter().find(|pod| held == format!("{namespace}/{}", pod.name_any()));
            pod.and_then(|pod| pod.labels().get("app").cloned()).unwrap_or_else(|| held.to_owned())
        };
        let held = self.status().await?.held;
        let mut held: Vec<String> =
            held.iter().map(|held| format!("{}: {}: {}", app(&held.pod), held.reason, held.message)).collect();
        held.sort();
        Ok(held)
    }

    /// Waits until the movement that began with this epoch is over; how many were moved, and how many held.
    pub(crate) async fn movement_over(&self, epoch: u64) -> Result<(u32, u32)> {
        until(&format!("the end of the movement of {} in epoch {epoch}", self.name), async || {
            let status = self.status().await?;
            let last = status.failovers.first().filter(|it| it.epoch == epoch && it.moved_at.is_some());
            Ok(last.map(|failover| (failover.moved, failover.held)))
        })
        .await
    }
}
