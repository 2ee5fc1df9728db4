//! Workloads that run, as far as Kubernetes can tell.

use anyhow::Result;
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job, core::v1::Pod, policy::v1::PodDisruptionBudget};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use serde_json::{Value, json};

use super::{Scene, scene::POOL, until};

/// One workload to be.
pub struct Workload<'s> {
    pub scene: &'s Scene,
    pub namespace: String,
    pub name: &'static str,
    /// Of the pods.
    pub annotations: Value,
}

impl Scene {
    /// A workload in a namespace; its pods run on the scene's nodes.
    pub fn workload(&self, namespace: &str, name: &'static str) -> Workload<'_> {
        Workload { scene: self, namespace: namespace.to_owned(), name, annotations: json!({}) }
    }

    pub fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Where the running pods of a namespace are: `web on dc1-1`, by workload or, without one, by name; sorted.
    pub async fn places(&self, namespace: &str) -> Result<Vec<String>> {
        let pods = self.pods(namespace).list(&ListParams::default()).await?.items;
        let mut places: Vec<String> = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(|pod| {
                let who = pod.labels().get("app").cloned().unwrap_or_else(|| pod.name_any());
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
                format!("{who} on {}", node.strip_prefix(&format!("{}-", self.name)).unwrap_or("no node"))
            })
            .collect();
        places.sort();
        Ok(places)
    }

    /// How many pods of a namespace are in each data centre: `4 in dc1`.
    pub async fn zones(&self, namespace: &str) -> Result<String> {
        let mut zones = std::collections::BTreeMap::<String, usize>::new();
        for place in self.places(namespace).await? {
            let zone = place.rsplit(' ').next().and_then(|node| node.split('-').next()).unwrap_or_default();
            *zones.entry(zone.to_owned()).or_default() += 1;
        }
        Ok(zones.iter().map(|(zone, pods)| format!("{pods} in {zone}")).collect::<Vec<_>>().join(", "))
    }
}

impl Workload<'_> {
    /// An annotation of its pods.
    #[must_use]
    pub fn says(mut self, key: &str, value: &str) -> Self {
        self.annotations[key] = value.into();
        self
    }

    /// Metadata and spec of its pods.
    pub fn template(&self) -> Value {
        json!({
            "metadata": {"labels": {"app": self.name, POOL: self.scene.name}, "annotations": self.annotations},
            "spec": {
                "nodeSelector": {POOL: self.scene.name},
                "containers": [{"name": "main", "image": "example.org/none:1"}],
            },
        })
    }

    /// A Deployment, and waits until all its replicas are available.
    pub async fn deployment(&self, replicas: u32) -> Result<()> {
        let deployment = serde_json::from_value(json!({
            "metadata": {"name": self.name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": self.name}},
                "template": self.template(),
            },
        }))?;
        let api: Api<Deployment> = Api::namespaced(self.scene.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &deployment).await?;
        until(&format!("{replicas} available replicas of {}", self.name), async || {
            let available = api.get(self.name).await?.status.and_then(|status| status.available_replicas);
            Ok((available == i32::try_from(replicas).ok()).then_some(()))
        })
        .await
    }

    /// Its disruption budget: one pod at a time. Waits until it allows that.
    pub async fn budget(&self) -> Result<()> {
        let budget = serde_json::from_value(json!({
            "metadata": {"name": self.name},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": self.name}}},
        }))?;
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.scene.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &budget).await?;
        until("the budget to be observed", async || {
            let allowed = api.get(self.name).await?.status.map(|status| status.disruptions_allowed);
            Ok((allowed == Some(1)).then_some(()))
        })
        .await
    }

    /// One pod that nothing owns.
    pub async fn bare_pod(&self) -> Result<()> {
        let mut pod = self.template();
        pod["metadata"]["name"] = self.name.into();
        self.scene.pods(&self.namespace).create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        Ok(())
    }

    /// A Job of one pod.
    pub async fn job(&self) -> Result<()> {
        let mut template = self.template();
        template["spec"]["restartPolicy"] = "Never".into();
        let job = serde_json::from_value(json!({"metadata": {"name": self.name}, "spec": {"template": template}}))?;
        Api::<Job>::namespaced(self.scene.client.clone(), &self.namespace).create(&PostParams::default(), &job).await?;
        Ok(())
    }

    /// The names of its pods, sorted.
    pub async fn pod_names(&self) -> Result<Vec<String>> {
        let mine = ListParams::default().labels(&format!("app={}", self.name));
        let mut names: Vec<String> =
            self.scene.pods(&self.namespace).list(&mine).await?.items.iter().map(ResourceExt::name_any).collect();
        names.sort();
        Ok(names)
    }
}
