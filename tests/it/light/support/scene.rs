//! One test's own part of the world: nodes, namespaces and databases that bear its name and go with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::{LazyLock, Mutex, PoisonError},
    time::Instant,
};

use anyhow::Result;
use futures::FutureExt;
use k8s_openapi::api::{
    core::v1::{Namespace, Node, Secret},
    scheduling::v1::PriorityClass,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use lab::{light::add_node, scripted::host};
use serde_json::{Value, json};
use switchover::api::{DatabaseCluster, NodeLatency, keys};

use super::{
    World, eventually,
    places::Places,
    until, world,
    world::{APART, NAMESPACE, world_apart},
};

/// One test's own part of the world.
pub(crate) struct Scene {
    /// Of its database and its nodes' pool; its namespaces and nodes begin with it.
    pub name: &'static str,
    pub world: &'static World,
    /// With all rights.
    pub client: Client,
}

/// The label that says whose an object is, and that pods select their nodes by.
pub(crate) const POOL: &str = "pool";

/// Round-trip times between data centres, in microseconds.
const fn rtt_us(zone: u8, member: u8) -> u32 {
    match (zone, member) {
        (a, b) if a == b => 300,
        (1, 2) | (2, 1) => 8_000,
        (1, 3) | (3, 1) => 20_000,
        _ => 22_000,
    }
}

/// Scenes that play in one world at the same time. More would wait for processors instead of each other.
static SCENES: LazyLock<Places> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    Places::new(2 * processors)
});
static UPHEAVALS: LazyLock<Places> = LazyLock::new(|| Places::new(APART));

/// Plays a scene beside others.
pub(crate) fn scene(name: &'static str, story: impl AsyncFnOnce(&Scene) -> Result<()>) {
    let _place = SCENES.take();
    let world = world();
    runtime().block_on(play(name, world, story));
}

/// Plays a scene alone in its world: it would disturb everybody. Afterwards every role runs again, whether the story ended
/// well or not.
pub(crate) fn upheaval(name: &'static str, story: impl AsyncFnOnce(&Scene) -> Result<()>) {
    let place = UPHEAVALS.take();
    play_apart(name, place.numbers[0], story);
}

/// The same while no other scene plays anywhere: it needs the machine.
pub(crate) fn alone(name: &'static str, story: impl AsyncFnOnce(&Scene) -> Result<()>) {
    let _places = the_machine();
    play_apart(name, 0, story);
}

/// Until it is dropped no scene plays anywhere: for a scene that brings a bed of its own.
pub(crate) fn the_machine() -> impl Sized {
    (UPHEAVALS.take_all(), SCENES.take_all())
}

fn play_apart(name: &'static str, number: usize, story: impl AsyncFnOnce(&Scene) -> Result<()>) {
    let world = world_apart(number);
    runtime().block_on(play(name, world, async |scene: &Scene| {
        let ended = AssertUnwindSafe(story(scene)).catch_unwind().await;
        let restored = tokio::task::block_in_place(|| world.restore());
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(restored)
    }));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// Clears up whether the story ended well or not.
async fn play(name: &'static str, world: &'static World, story: impl AsyncFnOnce(&Scene) -> Result<()>) {
    static PLAYED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let first = PLAYED.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
    assert!(first, "two scenes are named {name}: each would find the other's nodes");
    let client = world.bed.admin().await.expect("the administrator's client");
    let scene = Scene { name, world, client };
    let begun = Instant::now();
    let ended = AssertUnwindSafe(story(&scene)).catch_unwind().await;
    let cleared = scene.clear().await;
    println!("{name} took {:.1} s", begun.elapsed().as_secs_f64());
    let well = matches!(ended, Ok(Ok(())));
    if !well {
        println!("what the product logged of {name}:\n{}", world.logged(name));
    }
    match ended {
        Err(panic) => std::panic::resume_unwind(panic),
        Ok(Err(error)) => panic!("{error:#}"),
        Ok(Ok(())) => cleared.expect("the scene is cleared"),
    }
}

impl Scene {
    /// Adds `count` nodes in each of these data centres (1 to 3), measured, and waits until they take pods. They are
    /// named `SCENE-dc1-1` and so on.
    pub(crate) async fn nodes(&self, zones: &[u8], count: usize) -> Result<()> {
        for zone in zones {
            for number in 1..=count {
                let node = self.node(&format!("dc{zone}-{number}"));
                let labels = [(POOL, self.name), ("topology.kubernetes.io/zone", &format!("dc{zone}"))];
                let capacity = [("cpu", "16"), ("memory", "32Gi"), ("pods", "110")];
                add_node(&self.client, &node, &labels, &capacity).await?;
                self.measure_again(*zone, number).await?;
            }
        }
        self.nodes_take_pods().await
    }

    /// Writes what the agent of one of those nodes would write now.
    pub(crate) async fn measure_again(&self, zone: u8, number: usize) -> Result<()> {
        self.measure(&format!("dc{zone}-{number}"), [1, 2, 3].map(|member| rtt_us(zone, member))).await
    }

    /// Waits until all its nodes do.
    pub(crate) async fn nodes_take_pods(&self) -> Result<()> {
        until("the nodes to take pods", async || {
            let takes_pods = |node: &Node| node.spec.as_ref().is_none_or(|spec| spec.taints.is_none());
            Ok(self.own_nodes().await?.iter().all(takes_pods).then_some(()))
        })
        .await
    }

    /// The full name of a node.
    pub(crate) fn node(&self, short: &str) -> String {
        format!("{}-{short}", self.name)
    }

    /// Writes what a node's agent would: round-trip times to pg1, pg2 and pg3 in microseconds, measured now.
    pub(crate) async fn measure(&self, short: &str, rtts_us: [u32; 3]) -> Result<()> {
        self.measured_at(short, rtts_us, jiff::Timestamp::now()).await
    }

    /// The same, with a heartbeat of another time.
    pub(crate) async fn measured_at(&self, short: &str, rtts_us: [u32; 3], heartbeat: jiff::Timestamp) -> Result<()> {
        let hosts = ["pg1", "pg2", "pg3"].map(|member| host(self.name, member));
        let readings: Vec<(&str, u32)> = hosts.iter().map(String::as_str).zip(rtts_us).collect();
        self.reports(short, &readings, heartbeat).await
    }

    /// Writes round-trip times in microseconds to other hosts than those three, measured now.
    pub(crate) async fn measure_hosts(&self, short: &str, readings: &[(&str, u32)]) -> Result<()> {
        self.reports(short, readings, jiff::Timestamp::now()).await
    }

    async fn reports(&self, short: &str, readings: &[(&str, u32)], heartbeat: jiff::Timestamp) -> Result<()> {
        let count = readings.len();
        let reading = |(host, rtt_us): &(&str, u32)| json!({"host": host, "rttUs": rtt_us, "samples": 10});
        let readings: Vec<Value> = readings.iter().map(reading).collect();
        let name = self.node(short);
        let latency = json!({
            "apiVersion": "switchover.dev/v1alpha1",
            "kind": "NodeLatency",
            "metadata": {"name": name, "labels": {POOL: self.name}},
            "spec": {"heartbeat": heartbeat, "memberCount": count, "readings": readings},
        });
        let api: Api<NodeLatency> = Api::all(self.client.clone());
        api.patch(&name, &PatchParams::apply("agent").force(), &Patch::Apply(latency)).await?;
        Ok(())
    }

    pub(crate) async fn own_nodes(&self) -> Result<Vec<Node>> {
        Ok(Api::<Node>::all(self.client.clone()).list(&self.own()).await?.items)
    }

    /// The labels of the scene's nodes for its database: `dc1-1=closely dc3-1=far`.
    pub(crate) async fn tiers(&self) -> Result<String> {
        self.tiers_of(self.name).await
    }

    /// The same for another database.
    pub(crate) async fn tiers_of(&self, database: &str) -> Result<String> {
        let key = keys::default_node_label(database);
        let shown = |node: &Node| {
            let name = node.name_any();
            let short = name.strip_prefix(&format!("{}-", self.name)).unwrap_or(&name).to_owned();
            format!("{short}={}", node.labels().get(&key).map_or("-", String::as_str))
        };
        let mut tiers: Vec<String> = self.own_nodes().await?.iter().map(shown).collect();
        tiers.sort();
        Ok(tiers.join(" "))
    }

    /// The scene's nodes that its database tells to be far by a taint, with the effect: `dc3-1=NoSchedule`.
    pub(crate) async fn taints(&self) -> Result<String> {
        let key = keys::default_node_label(self.name);
        let mut shown = Vec::new();
        for node in self.own_nodes().await? {
            let name = node.name_any();
            let short = name.strip_prefix(&format!("{}-", self.name)).unwrap_or(&name);
            let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
            let ours = taints.iter().filter(|taint| taint.key == key && taint.value.as_deref() == Some("far"));
            shown.extend(ours.map(|taint| format!("{short}={}", taint.effect)));
        }
        shown.sort();
        Ok(shown.join(" "))
    }

    /// Waits until the far nodes are tainted exactly so.
    pub(crate) async fn tainted(&self, taints: &str) -> Result<()> {
        eventually("the taints of the nodes", taints.to_owned(), async || self.taints().await).await
    }

    /// Waits until the labels are exactly these.
    pub(crate) async fn labelled(&self, tiers: &str) -> Result<()> {
        self.its_database().labelled(tiers).await
    }

    /// Patches a node as the administrator.
    pub(crate) async fn patch_node(&self, short: &str, patch: Value) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        nodes.patch(&self.node(short), &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Lists what bears the scene's name.
    pub(crate) fn own(&self) -> ListParams {
        ListParams::default().labels(&format!("{POOL}={}", self.name))
    }

    /// The labels of everything that the scene makes.
    pub(crate) fn mark(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(POOL.to_owned(), self.name.to_owned())])
    }

    async fn clear(&self) -> Result<()> {
        let delete = DeleteParams::background();
        Api::<DatabaseCluster>::all(self.client.clone()).delete_collection(&delete, &self.own()).await?;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), NAMESPACE);
        secrets.delete_collection(&delete, &self.own()).await?;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for namespace in namespaces.list(&self.own()).await?.items {
            namespaces.delete(&namespace.name_any(), &delete).await?;
        }
        Api::<Node>::all(self.client.clone()).delete_collection(&delete, &self.own()).await?;
        Api::<NodeLatency>::all(self.client.clone()).delete_collection(&delete, &self.own()).await?;
        Api::<PriorityClass>::all(self.client.clone()).delete_collection(&delete, &self.own()).await?;
        let gone = until("the databases to go with their labels", async || {
            Ok(self.databases().list(&self.own()).await?.items.is_empty().then_some(()))
        })
        .await;
        if gone.is_err() {
            // The next scene needs a clean table all the same.
            let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
            for database in self.databases().list(&self.own()).await?.items {
                self.databases().patch(&database.name_any(), &PatchParams::default(), &free).await?;
            }
        }
        gone
    }
}
