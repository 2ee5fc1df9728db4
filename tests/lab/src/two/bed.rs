//! The lab with two data centres as the scenes need it: the product by its chart, as docs/two-data-centres.md says, a witness at the
//! third site, the demo service, and load on it.

use std::{
    collections::BTreeMap,
    fmt, fs,
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt, api::ListParams};
use tokio::runtime::Runtime;

use super::{PATIENCE, clients::Clients};
use crate::{
    Lab,
    demo::{Clock, Scene},
    install::{self, Product, kubectl},
    load::{Load, LoadOptions},
    net,
    pki::{self, Authority},
    site::{self, Site},
    tools, wait,
};

/// Where the product lives.
pub(super) const SYSTEM: &str = "switchover-system";

/// Replicas of the demo service.
pub(super) const REPLICAS: usize = 6;

/// The roles, and how many pods each has in a data centre.
const ROLES: [(&str, usize); 3] = [("controller", 2), ("webhook", 2), ("agent", 2)];

/// Patroni takes a switchover within that.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// Everything that runs.
pub struct Bed {
    pub lab: Lab,
    pub product: Product,
    pub(super) clock: Clock,
    pub(super) scene: Scene,
    pub(super) client: Client,
    pub(super) runtime: Runtime,
    pub(super) load: Load,
    pub(super) clients: Clients,
    controllers: Mutex<BTreeMap<String, Site>>,
    witness: Child,
}

impl Bed {
    /// The service's primary moves to a data centre, as soon as Patroni can write that down: right after a link was cut its store may have no
    /// leader.
    pub(super) fn switch_service(&self, to: Site) -> Result<()> {
        wait::retry(TAKEN_WITHIN, || self.lab.switchover(Some(&format!("pg{}", to.index())))).map(drop)
    }

    /// So does that of the database under Kubernetes.
    pub(super) fn switch_kine(&self, to: Site) -> Result<()> {
        wait::retry(TAKEN_WITHIN, || self.lab.kine_switchover(&format!("kine{}", to.index()))).map(drop)
    }

    /// Installs everything on a lab with two data centres.
    pub fn set(lab: Lab, product: Product, clock: Clock) -> Result<Bed> {
        clock.say("installing switchover by its chart, with deploy/chart/values-two-data-centres.yaml");
        let witness = start_witness(&lab, &product)?;
        install_chart(&lab, &product)?;
        install::apply(&lab, include_str!("../../manifests/two.yaml"))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let scene = runtime.block_on(Scene::watch(&lab))?;
        let client = runtime.block_on(lab.client())?;
        clock.say("waiting until switchover knows the primary and every node has its label");
        scene.wait(PATIENCE, "every node labelled for pg1", |seen| seen.labels_right("pg1"))?;
        clock.say("applying the demo service: six replicas, which follow their database");
        shop(&lab)?;
        scene.wait(PATIENCE, "six replicas beside pg1", |seen| seen.settled_at("pg1", REPLICAS))?;
        let endpoints = scene.endpoints();
        let load = net::in_netns(&lab.netns("client"), move || Load::start(LoadOptions::default(), endpoints))??;
        let clients = Clients::start(&lab)?;
        let controllers = Mutex::default();
        Ok(Bed { lab, product, clock, scene, client, runtime, load, clients, controllers, witness })
    }

    /// Pods of the product that are Ready, by role and data centre.
    pub(super) fn roles(&self) -> Result<BTreeMap<(String, Site), usize>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        let mut roles = BTreeMap::new();
        for pod in self.runtime.block_on(pods.list(&ListParams::default()))?.items {
            let role = pod.labels().get("app.kubernetes.io/component").cloned().unwrap_or_default();
            let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
            let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
            if let Some(site) = site_of(&pod)
                && ready
                && pod.metadata.deletion_timestamp.is_none()
            {
                *roles.entry((role, site)).or_default() += 1;
            }
        }
        Ok(roles)
    }

    /// Where the product's controllers are, by pod: as the API server says, or while there is none, as it said last.
    pub(super) fn controllers(&self) -> BTreeMap<String, Site> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        let role = ListParams::default().labels("app.kubernetes.io/component=controller");
        let mut known = self.controllers.lock().expect("no holder panics");
        if let Ok(listed) = self.runtime.block_on(pods.list(&role)) {
            *known = listed.items.iter().filter_map(|pod| Some((pod.name_any(), site_of(pod)?))).collect();
        }
        known.clone()
    }

    /// Whether every role has its two pods in each of these data centres.
    pub(super) fn roles_are_two_in(&self, sites: &[Site]) -> bool {
        let Ok(roles) = self.roles() else { return false };
        let all = sites.iter().flat_map(|site| ROLES.map(|(role, count)| (role.to_owned(), *site, count)));
        all.into_iter().all(|(role, site, count)| roles.get(&(role, site)) == Some(&count))
    }

    /// Whether the API server of this data centre says that it is ready.
    pub(super) fn api_server_is_ready(&self, site: Site) -> bool {
        let ready = || -> Result<bool> {
            let mut command = self.kubectl_at(site)?;
            command.args(["get", "--raw=/readyz", "--request-timeout=3s"]);
            Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
        };
        ready().unwrap_or_default()
    }

    /// kubectl that asks the API server of this data centre and no other.
    pub(super) fn kubectl_at(&self, site: Site) -> Result<Command> {
        let folder = if site == Site::Dc1 { "control-plane" } else { "control-plane-2" };
        let mut command = self.lab.command(&format!("cp{}", site.index()), "kubectl")?;
        command.arg(format!("--kubeconfig=/lab/state/{folder}/pki/admin.kubeconfig"));
        Ok(command)
    }

    /// What helps to understand a scene that failed.
    pub fn told(&self) -> String {
        let logs = ["-n", SYSTEM, "logs", "-l", "app.kubernetes.io/component=controller", "--prefix", "--tail=40"];
        let parts = [
            self.product.run(&self.lab, ["status"]),
            kubectl(&self.lab, logs),
            kubectl(&self.lab, ["get", "pods", "-A", "-o", "wide"]),
            kubectl(&self.lab, ["get", "nodes", "-L", "switchover"]),
        ];
        parts.map(|part| part.unwrap_or_else(|error| format!("{error:#}"))).join("\n")
    }
}

impl fmt::Debug for Bed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bed").field("lab", &self.lab).finish_non_exhaustive()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.witness.kill();
        let _ = self.witness.wait();
    }
}

/// The data centre that a pod is in, once it has a node.
pub(super) fn site_of(pod: &Pod) -> Option<Site> {
    site::of_node(pod.spec.as_ref()?.node_name.as_deref()?)
}

/// The witness on its host, with certificates of an authority of its own; the controllers' lie in a Secret.
fn start_witness(lab: &Lab, product: &Product) -> Result<Child> {
    let folder = lab.state().join("witness");
    fs::create_dir_all(&folder)?;
    let authority = Authority::new()?;
    let address = site::WITNESS.to_string();
    let (serving, controllers) =
        (authority.issue("witness", None, &[&address])?, authority.issue("switchover", None, &["switchover"])?);
    let ours = [
        ("ca.crt", authority.certificate()),
        ("tls.crt", serving.certificate),
        ("tls.key", serving.key),
        ("controllers.crt", controllers.certificate),
        ("controllers.key", controllers.key),
    ];
    for (name, text) in &ours {
        pki::write_private(&folder.join(name), text)?;
    }
    install::apply(lab, include_str!("../../../../deploy/base/namespace.yaml"))?;
    let file = |key: &str, name: &str| format!("--from-file={key}={}", folder.join(name).display());
    let secret = [file("ca.crt", "ca.crt"), file("tls.crt", "controllers.crt"), file("tls.key", "controllers.key")];
    let create = ["-n", SYSTEM, "create", "secret", "generic", "switchover-witness"];
    kubectl(lab, create.into_iter().chain(secret.iter().map(String::as_str)))?;

    let members = Site::TWO.map(|site| format!("http://{}:8008", site::member_address(site))).join(",");
    let log = fs::File::create(folder.join("witness.log"))?;
    let mut command = lab.command("witness", &product.program.display().to_string())?;
    command
        .arg("witness")
        .arg(format!("--listen={address}:8444"))
        .arg("--metrics-listen=127.0.0.1:8080")
        .arg(format!("--database=default={members}"))
        .arg("--tls-cert=/lab/state/witness/tls.crt")
        .arg("--tls-key=/lab/state/witness/tls.key")
        .arg("--client-ca=/lab/state/witness/ca.crt")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    command.spawn().context("cannot start the witness")
}

/// As a user would, with the values that are shipped for two data centres, and those of the lab over them.
fn install_chart(lab: &Lab, product: &Product) -> Result<()> {
    let (chart, home) = (product.root.join("deploy/chart"), lab.state().join("helm"));
    fs::create_dir_all(&home)?;
    let values = home.join("lab.yaml");
    fs::write(&values, include_str!("../../manifests/two-values.yaml"))?;
    let mut command = tools::helm_at_home(&tools::helm()?, lab.state());
    command
        .arg("install")
        .arg("switchover")
        .arg(&chart)
        .args(["--namespace", SYSTEM, "--timeout", "150s", "--wait"])
        .arg("--values")
        .arg(chart.join("values-two-data-centres.yaml"))
        .arg("--values")
        .arg(&values)
        .env("KUBECONFIG", lab.kubeconfig());
    let output = command.output().context("helm can't be run")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm install: {} {}", said, String::from_utf8_lossy(&output.stdout));
    Ok(())
}

/// The demo service, whose pods leave a dead node soon.
fn shop(lab: &Lab) -> Result<()> {
    let tolerations = ["not-ready", "unreachable"].map(|key| {
        format!("{{ key: node.kubernetes.io/{key}, operator: Exists, effect: NoExecute, tolerationSeconds: 10 }}")
    });
    let soon = format!("      tolerations: [{}]\n      containers:\n", tolerations.join(", "));
    let manifest = install::shop_manifest(lab)?;
    ensure!(manifest.contains("      containers:\n"), "the demo service has no containers");
    install::apply(lab, &manifest.replacen("      containers:\n", &soon, 1))?;
    kubectl(lab, ["-n", "orders", "rollout", "status", "deployment/shop", "--timeout=90s"]).map(drop)
}
