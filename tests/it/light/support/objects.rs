//! What people write, and what they are told: databases, namespaces, status, events.

use anyhow::{Context, Result};
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Secret, ServiceAccount},
        events::v1::Event,
        rbac::v1::Role,
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use switchover::api::{DatabaseCluster, DatabaseClusterStatus, keys};
use tokio::task::block_in_place;

use super::{Patroni, Scene, eventually, until, world::NAMESPACE};

/// The labels of [`Scene::two_centres`] while pg1 is the primary.
pub(crate) const NEAR_PG1: &str = "dc1-1=closely dc1-2=closely dc3-1=far dc3-2=far";

impl Scene {
    /// Makes a database that is found by `urls`; `spec` is merged over what suits a test.
    pub(crate) async fn database_at(&self, name: &str, urls: &[String], spec: Value) -> Result<()> {
        let mut whole = json!({
            "discovery": {"patroni": {"urls": urls, "interval": "200ms", "timeout": "500ms"}},
            "movement": {"settle": "1s"},
        });
        json_patch::merge(&mut whole, &spec);
        self.create_database(name, whole).await
    }

    /// Makes the scene's own database with this `spec.discovery`.
    pub(crate) async fn discovered(&self, discovery: Value) -> Result<()> {
        self.create_database(self.name, json!({"discovery": discovery, "movement": {"settle": "1s"}})).await
    }

    async fn create_database(&self, name: &str, spec: Value) -> Result<()> {
        let database = serde_json::from_value(json!({
            "apiVersion": "switchover.dev/v1alpha1",
            "kind": "DatabaseCluster",
            "metadata": {"name": name, "labels": self.mark()},
            "spec": spec,
        }))?;
        self.databases().create(&PostParams::default(), &database).await?;
        Ok(())
    }

    /// Makes the scene's own database.
    pub(crate) async fn database(&self, patroni: &Patroni, spec: Value) -> Result<()> {
        self.database_at(self.name, &patroni.urls(), spec).await
    }

    /// Two nodes in each of dc1 and dc3, the scene's own database with its primary in dc1, and a namespace that follows it.
    pub(crate) async fn two_centres(&self, spec: Value) -> Result<(Patroni, String)> {
        self.nodes(&[1, 3], 2).await?;
        let patroni = Patroni::start(self.name).await?;
        self.database(&patroni, spec).await?;
        self.labelled(NEAR_PG1).await?;
        let namespace = self.namespace("shop", Some(self.name), json!({})).await?;
        Ok((patroni, namespace))
    }

    /// Writes a Secret of this name into the product's namespace, whatever stood there, and lets the controller read it.
    pub(crate) async fn secret(&self, name: &str, data: Value) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": self.mark()},
            "stringData": data,
        });
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        secrets.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(secret)).await?;
        self.may_be_read(name).await
    }

    /// Lets the controller read the Secret of this name, as people do.
    pub(crate) async fn may_be_read(&self, secret: &str) -> Result<()> {
        let more = json!([{"op": "add", "path": "/rules/0/resourceNames/-", "value": secret}]);
        let more: Patch<Role> = Patch::Json(serde_json::from_value(more)?);
        let roles: Api<Role> = Api::namespaced(self.client.clone(), NAMESPACE);
        roles.patch("switchover-credentials", &PatchParams::default(), &more).await?;
        Ok(())
    }

    /// Runs a plan, which may end with 3, and reads what it prints.
    pub(crate) fn planned(&self, arguments: &[&str]) -> Result<(i32, Value)> {
        let typed = [&["plan"], arguments, &["-o", "json"]].concat();
        let (status, printed) = block_in_place(|| self.world.switchover_with_status(&typed))?;
        Ok((status, serde_json::from_str(&printed).context("not JSON")?))
    }

    pub(crate) fn databases(&self) -> Api<DatabaseCluster> {
        Api::all(self.client.clone())
    }

    /// Changes the spec of the scene's own database.
    pub(crate) async fn patch_database(&self, spec: Value) -> Result<()> {
        self.its_database().patch(spec).await
    }

    /// The status of the scene's own database.
    pub(crate) async fn status(&self) -> Result<DatabaseClusterStatus> {
        self.its_database().status().await
    }

    /// A condition of a database as `(status, reason, message)`.
    pub(crate) async fn condition(&self, database: &str, type_: &str) -> Result<Option<(String, String, String)>> {
        let status = self.databases().get(database).await?.status.unwrap_or_default();
        let condition = status.conditions.into_iter().find(|condition| condition.type_ == type_);
        Ok(condition.map(|Condition { status, reason, message, .. }| (status, reason, message)))
    }

    /// Waits until this is believed of the primary of the scene's own database, for this reason.
    pub(crate) async fn believed(&self, state: &str, why: &str) -> Result<()> {
        eventually("what is believed", Some((state.to_owned(), why.to_owned())), async || {
            let condition = self.condition(self.name, "PrimaryKnown").await?;
            Ok(condition.map(|(_, reason, message)| (reason, message)))
        })
        .await
    }

    /// Waits until a condition has this status, and returns its reason and message.
    pub(crate) async fn condition_becomes(
        &self,
        database: &str,
        type_: &str,
        status: &str,
    ) -> Result<(String, String)> {
        until(&format!("{type_}={status} of {database}"), async || {
            let condition = self.condition(database, type_).await?;
            Ok(condition.filter(|(now, ..)| now == status).map(|(_, reason, message)| (reason, message)))
        })
        .await
    }

    /// Waits until a condition has this status and its `reason: message` contains these words: what it says grows with what is known.
    pub(crate) async fn condition_says(&self, database: &str, type_: &str, status: &str, words: &str) -> Result<()> {
        let mut last = None;
        let what = format!("{type_}={status} of {database} to say {words:?}");
        let said = until(&what, async || {
            let condition = self.condition(database, type_).await?;
            last.clone_from(&condition);
            let says = |(_, reason, message): &(String, String, String)| format!("{reason}: {message}").contains(words);
            Ok(condition.filter(|it| it.0 == status && says(it)).map(|_| ()))
        });
        said.await.with_context(|| format!("it is {last:?}"))
    }

    /// Makes a namespace, `SCENE-SHORT`, that follows a database or none, with these annotations. If it follows the
    /// scene's own database, waits until the webhook knows.
    pub(crate) async fn namespace(&self, short: &str, follow: Option<&str>, annotations: Value) -> Result<String> {
        let name = format!("{}-{short}", self.name);
        let mut labels = self.mark();
        labels.extend(follow.map(|database| (keys::FOLLOW.to_owned(), database.to_owned())));
        let namespace: Namespace =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels, "annotations": annotations}}))?;
        Api::all(self.client.clone()).create(&PostParams::default(), &namespace).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &name);
        until("the namespace's service account", async || Ok(accounts.get_opt("default").await?)).await?;
        if follow == Some(self.name) {
            self.webhook_knows(&name).await?;
        }
        Ok(name)
    }

    /// Waits until pods of a namespace are injected.
    pub(crate) async fn webhook_knows(&self, namespace: &str) -> Result<()> {
        let pod = self.workload(namespace, "probe").pod()?;
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        until("the webhook to know the namespace", async || {
            let pod = self.pods(namespace).create(&dry_run, &pod).await?;
            Ok(pod.annotations().contains_key(keys::INJECTED).then_some(()))
        })
        .await
    }

    /// Notes of the events about an object with this reason.
    pub(crate) async fn events(&self, about: &str, reason: &str) -> Result<Vec<String>> {
        let events: Api<Event> = Api::all(self.client.clone());
        let all = events.list(&ListParams::default().fields(&format!("reason={reason}"))).await?;
        let mine = |event: &Event| event.regarding.as_ref().and_then(|it| it.name.as_deref()) == Some(about);
        Ok(all.items.into_iter().filter(mine).filter_map(|event| event.note).collect())
    }

    /// Names of the pods in a namespace that events with this reason are about, one for each event.
    pub(crate) async fn told_of(&self, namespace: &str, reason: &str) -> Result<Vec<String>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let all = events.list(&ListParams::default().fields(&format!("reason={reason}"))).await?;
        let mut names: Vec<String> =
            all.items.into_iter().filter_map(|event| event.regarding.and_then(|it| it.name)).collect();
        names.sort();
        Ok(names)
    }
}
