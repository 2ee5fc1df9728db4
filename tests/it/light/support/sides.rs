//! Namespaces that differ by who injects: nobody, the webhook, the admission policy, or both.

use anyhow::Result;
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Namespace, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use switchover::{admission::policy, api::keys};

use super::{until, world::World};

/// The label of a namespace that says whose side it is on.
const BY: &str = "injected-by";

/// Whose namespace it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Nobody,
    Webhook,
    Policy,
    Both,
}

impl By {
    pub(crate) const ALL: [Self; 4] = [Self::Nobody, Self::Webhook, Self::Policy, Self::Both];

    const fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Webhook => "webhook",
            Self::Policy => "policy",
            Self::Both => "both",
        }
    }
}

/// The namespaces that follow a database, each injected by another one.
pub(crate) struct Sides<'w> {
    pub world: &'w World,
    pub client: Client,
    database: String,
}

impl<'w> Sides<'w> {
    /// Of a database that is followed. It changes the webhook's configuration for everybody.
    pub(crate) async fn set(world: &'w World, client: &Client, database: &str, labels: Value) -> Result<Sides<'w>> {
        let sides = Sides { world, client: client.clone(), database: database.to_owned() };
        for by in By::ALL {
            let mut namespace = json!({"metadata": {"name": sides.namespace(by), "labels": {BY: by.name()}}});
            json_patch::merge(&mut namespace, &json!({"metadata": {"labels": labels}}));
            if by != By::Nobody {
                namespace["metadata"]["labels"][keys::FOLLOW] = database.into();
            }
            Api::<Namespace>::all(client.clone())
                .create(&PostParams::default(), &serde_json::from_value(namespace)?)
                .await?;
        }
        sides.waits_until(By::Policy, true, "the webhook to know the namespace").await?;
        sides.ask_webhook(&[By::Policy]).await?;
        sides.waits_until(By::Policy, false, "the webhook to be left out").await?;
        sides.bind(&[By::Policy, By::Both])?;
        for by in [By::Policy, By::Webhook, By::Both] {
            sides.waits_until(by, true, "everybody to be injected").await?;
        }
        Ok(sides)
    }

    pub(crate) fn namespace(&self, by: By) -> String {
        format!("{}-by-{}", self.database, by.name())
    }

    /// Installs the policy, and lets it inject on these sides.
    pub(crate) fn bind(&self, sides: &[By]) -> Result<()> {
        let mut binding = policy::binding(&self.database);
        let names: Vec<&str> = sides.iter().map(|by| by.name()).collect();
        binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"] =
            json!([{"key": BY, "operator": "In", "values": names}]);
        let policy = policy::policy(&["default-scheduler".to_owned()]);
        self.apply(&[policy, binding])
    }

    /// Takes the policy away.
    pub(crate) fn unbind(&self) -> Result<()> {
        let objects = [
            format!("mutatingadmissionpolicybinding/switchover-{}", self.database),
            format!("mutatingadmissionpolicy/{}", policy::NAME),
        ];
        for object in &objects {
            tokio::task::block_in_place(|| self.world.kubectl(&["delete", "--ignore-not-found", object], ""))?;
        }
        Ok(())
    }

    fn apply(&self, objects: &[Value]) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        tokio::task::block_in_place(|| self.world.kubectl(&["apply", "--server-side", "-f", "-"], &list))?;
        Ok(())
    }

    /// Has the API server ask the webhook about all sides but these.
    pub(crate) async fn ask_webhook(&self, but: &[By]) -> Result<()> {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let now = serde_json::to_value(api.get("switchover").await?)?;
        let mut selector = now["webhooks"][0]["namespaceSelector"].clone();
        if let Some(expressions) = selector["matchExpressions"].as_array_mut() {
            expressions.retain(|it| it["key"] != BY);
            if !but.is_empty() {
                let names: Vec<&str> = but.iter().map(|by| by.name()).collect();
                expressions.push(json!({"key": BY, "operator": "NotIn", "values": names}));
            }
        }
        let patch = json!([{"op": "replace", "path": "/webhooks/0/namespaceSelector", "value": selector}]);
        let patch: Patch<MutatingWebhookConfiguration> = Patch::Json(serde_json::from_value(patch)?);
        api.patch("switchover", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Creates a pod for show; `Err` is what the API server says against it.
    pub(crate) async fn create(&self, by: By, pod: &Value) -> Result<Result<Pod, String>> {
        let dry_run = PostParams { dry_run: true, ..PostParams::default() };
        let mut pod: Pod = serde_json::from_value(pod.clone())?;
        pod.metadata.namespace = Some(self.namespace(by));
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace(by));
        match pods.create(&dry_run, &pod).await {
            Ok(pod) => Ok(Ok(pod)),
            Err(kube::Error::Api(status)) => Ok(Err(status.message)),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a plain pod is injected there.
    pub(crate) async fn injects(&self, by: By) -> Result<bool> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
            "spec": {"automountServiceAccountToken": false, "containers": [{"name": "probe", "image": "probe"}]},
        });
        // Until its service account is there, a namespace takes no pods.
        Ok(self.create(by, &pod).await?.is_ok_and(|pod| pod.annotations().contains_key(keys::INJECTED)))
    }

    pub(crate) async fn waits_until(&self, by: By, injects: bool, what: &str) -> Result<()> {
        until(what, async || Ok((self.injects(by).await? == injects).then_some(()))).await
    }
}
