//! The lab, the product and the demo service on it, started by the first scene and ended with the test run.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use lab::{
    Lab, Options,
    control::PatroniAction,
    demo::{Scene, Seen, SeenPod},
    install::{self, Product, kubectl},
    load::{Load, LoadOptions},
    net, wait,
};
use serde_json::Value;
use switchover::api::{DatabaseCluster, DatabaseClusterStatus};
use tokio::runtime::Runtime;

use crate::light::support::Witness;

/// Longer than anything takes that is not broken: a crashed primary is replaced after 23 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);
/// Replicas of the demo service.
pub(super) const REPLICAS: usize = 6;
pub(super) const SYSTEM: &str = "switchover-system";

/// What all scenes share.
pub(super) struct Stage {
    pub lab: Lab,
    pub scene: Scene,
    pub client: Client,
    pub runtime: Runtime,
    product: Product,
}

/// Plays a scene. What disturbs the lab is mended before the next one.
pub(super) fn scene(story: impl FnOnce(&Stage) -> Result<()>) {
    static STAGE: OnceLock<Result<Stage, String>> = OnceLock::new();
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let stage = STAGE.get_or_init(|| Stage::set().map_err(|error| format!("{error:#}")));
    let stage = stage.as_ref().unwrap_or_else(|error| panic!("the lab did not start: {error}"));
    let start = Instant::now();
    let played = stage.begin().and_then(|()| {
        println!("the scene begins after {:.1} s", start.elapsed().as_secs_f64());
        story(stage)
    });
    println!("the scene ends after {:.1} s", start.elapsed().as_secs_f64());
    if let Err(error) = played {
        println!("{}", stage.told());
        panic!("{error:#}");
    }
}

impl Stage {
    fn set() -> Result<Stage> {
        let target = lab::target_directory();
        let images = ["switchover", "shop"].map(|name| target.join(format!("images/{name}.tar"))).to_vec();
        let state = target.join("lab-scenes");
        let lab = Lab::up(&Options { state, images, ..Options::default() }, &|step| println!("{step}"))?;
        lab.end_with_this_process()?;
        let product = super::product();
        product.install(&lab)?;
        // The scenes change the primary every minute, and each begins anew: none waits longer for that.
        let patch = r#"{"spec": {"movement": {"settleMax": "5s"}}}"#;
        kubectl(&lab, ["patch", "databasecluster", "default", "--type=merge", "--patch", patch])?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let scene = runtime.block_on(Scene::watch(&lab))?;
        let client = runtime.block_on(lab.client())?;
        scene.wait(PATIENCE, "every node labelled for pg1", |seen| seen.labels_right("pg1"))?;
        install::shop(&lab)?;
        Ok(Stage { lab, scene, client, runtime, product })
    }

    /// Mends whatever an earlier scene left broken, and moves the primary to pg1 and the pods after it.
    fn begin(&self) -> Result<()> {
        for member in self.lab.members()? {
            if member.patroni != lab::process::Power::On {
                self.patroni(PatroniAction::Start { member: member.name })?;
            }
        }
        if self.primary()? != "pg1" {
            self.switch("pg1")?;
        }
        self.at("pg1")
    }

    /// An orderly switchover, as soon as the database is fit for one.
    pub(super) fn switch(&self, to: &str) -> Result<()> {
        wait::retry(PATIENCE, || self.lab.switchover(Some(to))).map(drop)
    }

    /// Waits until switchover knows this primary, every label is right and every replica serves beside it.
    pub(super) fn at(&self, primary: &str) -> Result<()> {
        self.wait(&format!("everything is near {primary}"), |seen| {
            known(seen) == Some(primary)
                && seen.labels_right(primary)
                && seen.settled_at(primary, REPLICAS)
                && seen.pods.len() == REPLICAS
        })?;
        self.wait("the movement is over", |seen| {
            seen.database["failovers"][0]["movedAt"].is_string()
                && seen.database["moving"].as_array().is_none_or(Vec::is_empty)
        })
    }

    /// Waits until switchover knows this primary, every label is right and no replica is far from it.
    pub(super) fn not_far_from(&self, primary: &str) -> Result<()> {
        self.wait(&format!("nothing is far from {primary}"), |seen| {
            let far = |pod: &SeenPod| seen.labels.get(&pod.node).is_none_or(|label| label == "far");
            known(seen) == Some(primary)
                && seen.labels_right(primary)
                && seen.ready() == REPLICAS
                && !seen.pods.values().any(far)
        })
    }

    pub(super) fn wait(&self, what: &str, holds: impl Fn(&Seen) -> bool) -> Result<()> {
        self.scene.wait(PATIENCE, what, holds)
    }

    /// Waits until `holds`, which may ask the API server. [`Stage::wait`] can't: what the watches saw is locked meanwhile,
    /// and they run on the threads that the answer has to come through.
    pub(super) fn until(&self, what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
        wait::block_until(PATIENCE, what, || Ok(holds()?.then_some(())))
    }

    /// Checks for `window` that `look` sees what it saw at first.
    pub(super) fn stays<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &str,
        window: Duration,
        look: impl Fn(&Seen) -> T,
    ) -> Result<()> {
        let (first, end) = (look(&self.scene.seen()), Instant::now() + window);
        while Instant::now() < end {
            let seen = look(&self.scene.seen());
            ensure!(seen == first, "{what} should have stayed\n {first:?}\n  and became {seen:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Who Patroni's own REST says is primary.
    pub(super) fn primary(&self) -> Result<String> {
        // Members that don't answer are asked again.
        let primary = || self.lab.members().ok()?.into_iter().find(lab::patroni::MemberState::is_primary);
        wait::block_until(PATIENCE, "the database to have a primary", || Ok(primary().map(|member| member.name)))
    }

    pub(super) fn patroni(&self, action: PatroniAction) -> Result<Value> {
        self.lab.patroni(action)
    }

    pub(super) fn status(&self) -> Result<DatabaseClusterStatus> {
        let databases: Api<DatabaseCluster> = Api::all(self.client.clone());
        Ok(self.runtime.block_on(databases.get("default"))?.status.unwrap_or_default())
    }

    pub(super) fn kubectl<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
        kubectl(&self.lab, arguments)
    }

    /// Watches the demo service's pods.
    pub(super) fn witness(&self) -> Result<Witness> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "orders");
        self.runtime.block_on(Witness::watching(pods))
    }

    /// Load on the demo service from outside; see [`Traffic::unharmed`].
    pub(super) fn load(&self) -> Result<Traffic> {
        self.scene.seen().begin_counting();
        let endpoints = self.scene.endpoints();
        let load = net::in_netns(&self.lab.netns("client"), move || Load::start(LoadOptions::default(), endpoints))??;
        Ok(Traffic { load, since: Instant::now() })
    }

    /// The pod that leads: the Lease names its holder after the pod, with a suffix of the process.
    pub(super) fn leader(&self) -> Result<String> {
        let lease = ["-n", SYSTEM, "get", "lease", "switchover-controller", "-o", "jsonpath={.spec.holderIdentity}"];
        let holder = self.kubectl(lease)?;
        Ok(holder.rsplit_once('_').context("the lease names no holder")?.0.to_owned())
    }

    /// What helps to understand a scene that failed.
    fn told(&self) -> String {
        let controllers =
            ["-n", SYSTEM, "logs", "-l", "app.kubernetes.io/component=controller", "--prefix", "--tail=60"];
        let parts = [
            self.product.run(&self.lab, ["status"]),
            self.kubectl(controllers),
            self.kubectl(["-n", "orders", "get", "pods", "-o", "wide"]),
        ];
        parts.map(|part| part.unwrap_or_else(|error| format!("{error:#}"))).join("\n")
    }
}

/// Running load.
pub(super) struct Traffic {
    load: Load,
    since: Instant,
}

impl Traffic {
    /// Every request since the load began was answered, and the service never had fewer than five of six replicas.
    pub(super) fn unharmed(self, stage: &Stage) -> Result<()> {
        // What is still on its way counts too.
        std::thread::sleep(Duration::from_secs(2));
        let summary = self.load.window(self.since, Instant::now());
        println!("load: {summary}");
        ensure!(summary.requests > 100, "hardly any load: {summary}");
        let failures = summary.transport_failures + summary.other + summary.no_endpoint;
        ensure!(failures == 0, "{summary}: {:?}", self.load.failures());
        let least = stage.scene.seen().min_ready;
        ensure!(least + 1 >= REPLICAS, "only {least} replicas were ready at one time");
        Ok(())
    }
}

/// The primary that switchover knows, if its condition says so.
pub(super) fn known(seen: &Seen) -> Option<&str> {
    condition(seen, "PrimaryKnown").filter(|status| *status == "True").and(seen.database["primary"].as_str())
}

/// The status of a condition.
pub(super) fn condition<'a>(seen: &'a Seen, type_: &str) -> Option<&'a str> {
    let conditions = seen.database["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_)?["status"].as_str()
}

/// Labels by node, and nodes by pod: what must not change while nothing may.
pub(super) fn picture(seen: &Seen) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    (seen.labels.clone(), seen.pods.iter().map(|(name, pod)| (name.clone(), pod.node.clone())).collect())
}

/// The file of a manifest beside the scenes.
pub(super) fn manifest(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/lab").join(name).display().to_string()
}
