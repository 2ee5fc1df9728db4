//! Workloads that run, as far as Kubernetes can tell.

use std::fmt::Debug;

use anyhow::Result;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, StatefulSet},
        batch::v1::CronJob,
        core::v1::Pod,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Scene, limits::wants_a_volume, scene::POOL, until};

/// One workload to be.
pub(crate) struct Workload<'s> {
    pub scene: &'s Scene,
    pub namespace: String,
    pub name: &'static str,
    /// Of the pods.
    pub annotations: Value,
    /// Merged over the pods' spec.
    pub spec: Value,
    /// Merged over the spec of what controls the pods.
    pub controller: Value,
}

impl Scene {
    /// A workload in a namespace; its pods run on the scene's nodes.
    pub(crate) fn workload(&self, namespace: &str, name: &'static str) -> Workload<'_> {
        let (annotations, spec, controller) = (json!({}), json!({}), json!({}));
        Workload { scene: self, namespace: namespace.to_owned(), name, annotations, spec, controller }
    }

    pub(crate) fn pods(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Where the running pods of a namespace are: `web on dc1-1`, by workload or, without one, by name; sorted.
    pub(crate) async fn places(&self, namespace: &str) -> Result<Vec<String>> {
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

    /// Why the followers of the scene's database stay: `web: NoRoom: no closely node takes it: …`, by workload; sorted.
    pub(crate) async fn held(&self, namespace: &str) -> Result<Vec<String>> {
        self.its_database().held(namespace).await
    }

    /// How many pods of a namespace are in each data centre: `4 in dc1`.
    pub(crate) async fn zones(&self, namespace: &str) -> Result<String> {
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
    pub(crate) fn says(mut self, key: &str, value: &str) -> Self {
        self.annotations[key] = value.into();
        self
    }

    /// More in the spec of its pods.
    #[must_use]
    pub(crate) fn with(mut self, spec: Value) -> Self {
        json_patch::merge(&mut self.spec, &spec);
        self
    }

    /// Its pods are of a priority class.
    #[must_use]
    pub(crate) fn of_priority(self, class: &str) -> Self {
        self.with(json!({"priorityClassName": class}))
    }

    /// Its pods go to the nodes of this data centre, no two of them to the same one.
    #[must_use]
    pub(crate) fn one_on_each_node_of(self, zone: u8) -> Self {
        let apart =
            json!({"labelSelector": {"matchLabels": {"app": self.name}}, "topologyKey": "kubernetes.io/hostname"});
        self.with(json!({
            "nodeSelector": {"topology.kubernetes.io/zone": format!("dc{zone}")},
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
        }))
    }

    /// More in the spec of what controls its pods.
    #[must_use]
    pub(crate) fn controlled(mut self, spec: Value) -> Self {
        json_patch::merge(&mut self.controller, &spec);
        self
    }

    /// Of a Deployment: a rollout ends all pods before it makes new ones.
    #[must_use]
    pub(crate) fn recreated(self) -> Self {
        self.controlled(json!({"strategy": {"type": "Recreate"}}))
    }

    /// Of a Deployment: a rollout makes so many pods more, and lets so many be away.
    #[must_use]
    pub(crate) fn rolled_out(self, surge: u32, unavailable: u32) -> Self {
        let rule = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        self.controlled(json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": rule}}))
    }

    /// Of a StatefulSet: a rollout leaves the pods before this one as they are.
    #[must_use]
    pub(crate) fn rolled_out_from(self, ordinal: u32) -> Self {
        self.controlled(json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": ordinal}}}))
    }

    /// Of a StatefulSet: a pod becomes new when somebody deletes it.
    #[must_use]
    pub(crate) fn updated_on_delete(self) -> Self {
        self.controlled(json!({"updateStrategy": {"type": "OnDelete"}}))
    }

    /// Of a StatefulSet: each pod has a volume of its own, `CLAIM-NAME-0` and so on. [`Scene::volume`] makes them.
    #[must_use]
    pub(crate) fn claiming(self, claim: &str) -> Self {
        let template = json!({"metadata": {"name": claim}, "spec": wants_a_volume()});
        self.controlled(json!({"volumeClaimTemplates": [template]}))
    }

    /// Metadata and spec of its pods.
    pub(crate) fn template(&self) -> Value {
        let mut template = json!({
            "metadata": {"labels": {"app": self.name, POOL: self.scene.name}, "annotations": self.annotations},
            "spec": {
                "nodeSelector": {POOL: self.scene.name},
                "containers": [{"name": "main", "image": "example.org/none:1"}],
            },
        });
        json_patch::merge(&mut template["spec"], &self.spec);
        template
    }

    /// One pod of that kind, to be created.
    pub(crate) fn pod(&self) -> Result<Pod> {
        let mut pod = self.template();
        pod["metadata"]["name"] = self.name.into();
        Ok(serde_json::from_value(pod)?)
    }

    /// Scales its Deployment, and waits for nothing.
    pub(crate) async fn scale(&self, replicas: u32) -> Result<()> {
        let api: Api<Deployment> = Api::namespaced(self.scene.client.clone(), &self.namespace);
        let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
        api.patch(self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// A Deployment, and waits until all its replicas are available.
    pub(crate) async fn deployment(&self, replicas: u32) -> Result<()> {
        let api: Api<Deployment> = self.create(self.controlling(replicas)).await?;
        self.replicas_available(replicas, async || {
            Ok(api.get(self.name).await?.status.and_then(|status| status.available_replicas))
        })
        .await
    }

    /// A StatefulSet, and waits until all its replicas are available.
    pub(crate) async fn stateful_set(&self, replicas: u32) -> Result<()> {
        let mut set = self.controlling(replicas);
        set["spec"]["serviceName"] = self.name.into();
        let api: Api<StatefulSet> = self.create(set).await?;
        self.replicas_available(replicas, async || {
            Ok(api.get(self.name).await?.status.and_then(|status| status.available_replicas))
        })
        .await
    }

    /// What makes so many of its pods, to be created.
    pub(super) fn controlling(&self, replicas: u32) -> Value {
        let mut object = json!({
            "metadata": {"name": self.name},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": self.name}},
                "template": self.template(),
            },
        });
        json_patch::merge(&mut object["spec"], &self.controller);
        object
    }

    /// Creates something in its namespace.
    pub(super) async fn create<K>(&self, object: Value) -> Result<Api<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.scene.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(api)
    }

    pub(super) async fn replicas_available(
        &self,
        replicas: u32,
        available: impl AsyncFn() -> Result<Option<i32>>,
    ) -> Result<()> {
        until(&format!("{replicas} available replicas of {}", self.name), async || {
            // Absent means none.
            let available = available().await?.unwrap_or_default();
            Ok((u32::try_from(available).ok() == Some(replicas)).then_some(()))
        })
        .await
    }

    /// Its disruption budget: one pod at a time. Waits until it allows that.
    pub(crate) async fn budget(&self) -> Result<()> {
        self.budget_of(self.name, 1).await
    }

    /// A disruption budget of this name over its pods. Waits until it allows as many as it says.
    pub(crate) async fn budget_of(&self, name: &str, unavailable: i32) -> Result<()> {
        let budget = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"maxUnavailable": unavailable, "selector": {"matchLabels": {"app": self.name}}},
        }))?;
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.scene.client.clone(), &self.namespace);
        api.create(&PostParams::default(), &budget).await?;
        until("the budget to be observed", async || {
            let status = api.get(name).await?.status;
            Ok(status.filter(|it| it.expected_pods > 0 && it.disruptions_allowed == unavailable).map(|_| ()))
        })
        .await
    }

    /// One pod that nothing owns.
    pub(crate) async fn bare_pod(&self) -> Result<()> {
        self.scene.pods(&self.namespace).create(&PostParams::default(), &self.pod()?).await?;
        Ok(())
    }

    /// One pod of a CronJob that does nothing else. (The fake kubelet completes the pods of Jobs at once.)
    pub(crate) async fn job_pod(&self) -> Result<()> {
        let api: Api<CronJob> = Api::namespaced(self.scene.client.clone(), &self.namespace);
        let mut template = self.template();
        template["spec"]["restartPolicy"] = "Never".into();
        let job = serde_json::from_value(json!({
            "metadata": {"name": self.name},
            "spec": {"suspend": true, "schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}},
        }))?;
        let job = api.create(&PostParams::default(), &job).await?;
        let mut pod = self.pod()?;
        pod.metadata.owner_references = job.controller_owner_ref(&()).map(|owner| vec![owner]);
        self.scene.pods(&self.namespace).create(&PostParams::default(), &pod).await?;
        Ok(())
    }

    /// The names of its pods, sorted.
    pub(crate) async fn pod_names(&self) -> Result<Vec<String>> {
        let mine = ListParams::default().labels(&format!("app={}", self.name));
        let mut names: Vec<String> =
            self.scene.pods(&self.namespace).list(&mine).await?.items.iter().map(ResourceExt::name_any).collect();
        names.sort();
        Ok(names)
    }
}

/// A container that asks for so many CPUs, as the spec of a pod.
pub(crate) fn cpus(count: u32) -> Value {
    let resources = json!({"requests": {"cpu": count.to_string()}});
    json!({"containers": [{"name": "main", "image": "example.org/none:1", "resources": resources}]})
}
