//! A release's life on a real API server: installed under another name in another namespace, upgraded, rolled back and uninstalled.
//!
//! No kubelet runs here. What one would run (the controller, and the job of the uninstallation) is run by this scene as the pod's own
//! template says it: program, arguments, variables and account.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use lab::{
    light::{LightBed, add_node},
    prepare::prepare_program,
    process::{Place, Process},
    tools::{Cache, HELM_3, helm_at_home},
    wait::block_until,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::helm;
use crate::light::manifests::built_by;

/// Of its people, who never heard of ours; neither does the release bear our name.
const NAMESPACE: &str = "db-follow";
const RELEASE: &str = "acme";

/// Helm itself waits for as long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Everything that a release consists of.
const KINDS: &str = "namespaces,customresourcedefinitions,clusterroles,clusterrolebindings,validatingadmissionpolicies,\
                     validatingadmissionpolicybindings,mutatingwebhookconfigurations,flowschemas,roles,rolebindings,serviceaccounts,\
                     deployments,daemonsets,jobs,services,poddisruptionbudgets,resourcequotas";

struct Stage {
    bed: LightBed,
    helm: PathBuf,
    runtime: Runtime,
}

#[test]
fn helm_installs_upgrades_rolls_back_and_leaves_nothing() {
    play(lab::tools::helm().expect("helm"), |stage| {
        // Helm 4 applies on the server, where an object's other managers count.
        let configuration = stage.get(&["mutatingwebhookconfiguration", "switchover", "--show-managed-fields"])?;
        let managers = configuration["metadata"]["managedFields"].as_array().context("no managers")?;
        let applied = managers.iter().any(|by| by["manager"] == "helm" && by["operation"] == "Apply");
        ensure!(applied, "{managers:?}");
        Ok(())
    })
    .expect("the scene");
}

/// As long as the one before it: `make test-chart`.
#[test]
#[ignore = "takes long"]
fn what_kustomize_installed_helm_takes_over_and_kubectl_deletes() {
    let _alone = crate::light::support::scene::the_machine();
    let stage = Stage::new(lab::tools::helm().expect("helm")).expect("a stage");
    stage.takes_over_and_is_deleted().expect("the scene");
}

/// Helm 3 is built for this alone: `make test-chart`.
#[test]
#[ignore = "builds Helm 3"]
fn helm_3_installs_upgrades_rolls_back_and_leaves_nothing() {
    let cache = Cache::from_environment().expect("a cache");
    let helm = prepare_program(&cache, &HELM_3, &|line| println!("{line}")).expect("helm");
    play(helm.join("helm"), |_| Ok(())).expect("the scene");
}

fn play(helm: PathBuf, of_this_helm: impl FnOnce(&Stage) -> Result<()>) -> Result<()> {
    let _alone = crate::light::support::scene::the_machine();
    let stage = Stage::new(helm)?;
    stage.helm(&["install", RELEASE, "--create-namespace"])?;
    of_this_helm(&stage)?;
    let mut controller = stage.the_controller_keeps_certificates()?;
    let kept = stage.certificates()?;
    stage.a_database_marks_its_node()?;

    stage.helm(&["upgrade", RELEASE, "--set=webhook.replicas=3"])?;
    ensure!(stage.replicas("switchover-webhook")? == 3, "the upgrade changed nothing");
    ensure!(stage.certificates()? == kept, "an upgrade touched what the controller keeps");
    stage.helm(&["rollback", RELEASE, "1"])?;
    ensure!(stage.replicas("switchover-webhook")? == 6, "the rollback changed nothing");
    ensure!(stage.certificates()? == kept, "a rollback touched what the controller keeps");

    let left = stage.uninstall(&mut controller)?;
    ensure!(
        left == ["databaseclusters", "nodelatencies"]
            .map(|name| format!("customresourcedefinition.apiextensions.k8s.io/{name}.switchover.dev")),
        "{left:?}"
    );
    ensure!(stage.kubectl(&["get", "dbc", "default", "-o=jsonpath={.metadata.finalizers}"])?.is_empty());
    stage.the_node_bears_what_it_bore()?;

    // It comes again over what it left, and this time takes everything along, while a database hangs on its finalizer.
    stage.helm(&["install", RELEASE, "--set=crds.keep=false"])?;
    let mut controller = stage.the_controller_keeps_certificates()?;
    stage.a_database_marks_its_node()?;
    let left = stage.uninstall(&mut controller)?;
    ensure!(left.is_empty(), "{left:?}");
    stage.the_node_bears_what_it_bore()
}

impl Stage {
    fn new(helm: PathBuf) -> Result<Stage> {
        let bed = LightBed::start()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let stage = Stage { bed, helm, runtime };
        let admin = stage.runtime.block_on(stage.bed.admin())?;
        stage.runtime.block_on(add_node(&admin, "n1", &[], &[("cpu", "16"), ("memory", "32Gi"), ("pods", "110")]))?;
        stage.kubectl(&["label", "node", "n1", "example.com/theirs=far"])?;
        Ok(stage)
    }

    /// As README has it: `switchover uninstall --stop`, and then what kustomize installed is deleted.
    fn takes_over_and_is_deleted(&self) -> Result<()> {
        let objects = built_by(|root| format!("namespace: {NAMESPACE}\nresources: [\"{root}/deploy/base\"]\n"));
        let manifests = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        self.bed.kubectl(&["apply", "--server-side", "-f", "-"], &manifests)?;
        let mut controller = self.the_controller_keeps_certificates()?;
        let kept = self.certificates()?;
        self.a_database_marks_its_node()?;
        self.helm(&["install", RELEASE, "--take-ownership", "--force-conflicts"])?;
        ensure!(self.certificates()? == kept, "taking over touched what the controller keeps");

        let log = self.bed.directory().join("logs/uninstall.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchover"));
        command.args(["uninstall", "--stop", "--namespace", NAMESPACE]).env("KUBECONFIG", self.bed.kubeconfig());
        let file = File::create(&log)?;
        let mut uninstall = command.stdout(file.try_clone()?).stderr(file).spawn()?;
        let status = block_until(PATIENCE, "switchover uninstall", || {
            self.be_a_kubelet(&mut controller, &mut BTreeMap::new())?;
            Ok(uninstall.try_wait()?)
        })?;
        let said = fs::read_to_string(&log)?;
        ensure!(status.success(), "{said}");
        ensure!(said.contains("stopped the Deployment switchover-controller\n"), "{said}");
        ensure!(said.contains("removed from node n1: label switchover, taint switchover\n"), "{said}");
        self.bed.kubectl(&["delete", "--timeout=60s", "-f", "-"], &manifests)?;
        ensure!(self.left()?.is_empty(), "{:?}", self.left()?);
        self.the_node_bears_what_it_bore()
    }

    /// Names of what there still is of the product.
    fn left(&self) -> Result<Vec<String>> {
        let selector = "app.kubernetes.io/part-of=switchover";
        let left = self.kubectl(&["get", KINDS, "--all-namespaces", "-l", selector, "-o=name"])?;
        Ok(left.lines().map(str::to_owned).collect())
    }

    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        Ok(self.bed.kubectl(arguments, "")?.0)
    }

    fn get(&self, arguments: &[&str]) -> Result<Value> {
        Ok(serde_json::from_str(&self.kubectl(&[&["get", "-o=json"], arguments].concat())?)?)
    }

    /// Helm as the administrator, in the release's namespace. What it does stands in a log.
    fn start_helm(&self, arguments: &[&str]) -> Result<(Child, PathBuf)> {
        let log = self.bed.directory().join(format!("logs/helm-{}.log", arguments[0]));
        let mut command = helm_at_home(&self.helm, self.bed.directory());
        command.args(arguments).args(["--namespace", NAMESPACE]).env("KUBECONFIG", self.bed.kubeconfig());
        if ["install", "upgrade"].contains(&arguments[0]) {
            // The job's pod goes to no node here, where one that isn't run would be taken for done.
            command.arg(helm::chart()).args(["--set=uninstall.nodeSelector.example\\.com/runs=this-scene"]);
        }
        let file = File::create(&log)?;
        command.stdout(file.try_clone()?).stderr(file);
        Ok((command.spawn()?, log))
    }

    fn helm(&self, arguments: &[&str]) -> Result<()> {
        let (mut child, log) = self.start_helm(arguments)?;
        succeeded(child.wait()?, &log)
    }

    /// What a kubelet would run of a pod: its one container, as its account.
    fn program(&self, pod: &str, spec: &Value) -> Result<Command> {
        let account = spec["serviceAccountName"].as_str().context("no account")?;
        let container = &spec["containers"][0];
        let kubeconfig = self.runtime.block_on(self.bed.kubeconfig_for_service_account(NAMESPACE, account))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_switchover"));
        command.env("KUBECONFIG", kubeconfig);
        command.args(container["args"].as_array().into_iter().flatten().filter_map(Value::as_str));
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().context("no name")?;
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("metadata.namespace") => NAMESPACE,
                Some("metadata.name") => pod,
                Some(field) => bail!("this scene knows no {field}"),
                None => variable["value"].as_str().unwrap_or_default(),
            };
            command.env(name, value);
        }
        Ok(command)
    }

    fn the_controller_keeps_certificates(&self) -> Result<Process> {
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"])?;
        let deployment = self.get(&["deployment", "switchover-controller", "-n", NAMESPACE])?;
        let mut command = self.program("switchover-controller-1", &deployment["spec"]["template"]["spec"])?;
        command.args(["--tick=250ms", "--lease-duration=4s", "--metrics-listen=127.0.0.1:0"]);
        let log = self.bed.directory().join("logs/controller.log");
        let place = Place { die_with_thread: true, ..Place::default() };
        let mut process = Process::start("controller", command, &log, &place)?;
        block_until(PATIENCE, "the controller to write the caBundle", || {
            process.check()?;
            Ok(self.certificates()?[0].as_str().is_some_and(|bundle| !bundle.is_empty()).then_some(()))
        })?;
        Ok(process)
    }

    /// What the controller keeps: the caBundle, and the Secrets.
    fn certificates(&self) -> Result<[Value; 3]> {
        let configuration = self.get(&["mutatingwebhookconfiguration", "switchover"])?;
        let secret = |name: &str| -> Result<Value> {
            let found = self.get(&["secret", "-n", NAMESPACE, "--ignore-not-found", name]);
            Ok(found.map_or(Value::Null, |mut secret| secret["data"].take()))
        };
        let bundle = configuration["webhooks"][0]["clientConfig"]["caBundle"].clone();
        Ok([bundle, secret("switchover-webhook-ca")?, secret("switchover-webhook-tls")?])
    }

    fn replicas(&self, deployment: &str) -> Result<u64> {
        let deployment = self.get(&["deployment", deployment, "-n", NAMESPACE])?;
        deployment["spec"]["replicas"].as_u64().context("no replicas")
    }

    /// What a controller that knew the database would have done.
    fn a_database_marks_its_node(&self) -> Result<()> {
        let database = json!({
            "apiVersion": "switchover.dev/v1alpha1", "kind": "DatabaseCluster",
            "metadata": {"name": "default", "finalizers": ["switchover.dev/nodes"]},
            "spec": {"discovery": {"patroni": {"urls": ["http://127.0.0.1:1"]}}},
        });
        self.bed.kubectl(&["apply", "--server-side", "-f", "-"], &database.to_string())?;
        self.kubectl(&["label", "node", "n1", "switchover=far"])?;
        self.kubectl(&["taint", "node", "n1", "switchover=far:PreferNoSchedule"]).map(drop)
    }

    fn the_node_bears_what_it_bore(&self) -> Result<()> {
        let node = self.get(&["node", "n1"])?;
        let labels = &node["metadata"]["labels"];
        ensure!(labels["switchover"].is_null() && node["spec"]["taints"].is_null(), "{node}");
        ensure!(labels["example.com/theirs"] == "far", "{node}");
        Ok(())
    }

    /// Uninstalls, does meanwhile what kubelets would, and says what is left of the release.
    fn uninstall(&self, controller: &mut Process) -> Result<Vec<String>> {
        let (mut helm, log) = self.start_helm(&["uninstall", RELEASE, "--wait"])?;
        let mut jobs = BTreeMap::new();
        let ended = block_until(PATIENCE, "the uninstallation", || {
            if let Some(status) = helm.try_wait()? {
                return Ok(Some(status));
            }
            self.be_a_kubelet(controller, &mut jobs)?;
            Ok(None)
        });
        if ended.is_err() {
            helm.kill()?;
        }
        succeeded(ended?, &log)?;
        ensure!(!controller.is_running(), "the controller was never ended");
        ensure!(jobs.len() == 1, "the job had to try again: {jobs:?}");
        block_until(PATIENCE, "workloads to be collected", || {
            let pods = self.kubectl(&["get", "pods,jobs", "-n", NAMESPACE, "-o=name"])?;
            Ok(pods.is_empty().then_some(()))
        })?;
        self.left()
    }

    /// Ends the controller when no replica is wanted, and runs each pod of the job. Its exit is the pod's phase.
    fn be_a_kubelet(&self, controller: &mut Process, jobs: &mut BTreeMap<String, Child>) -> Result<()> {
        let of_job = ["pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=uninstall"];
        for pod in self.get(&of_job)?["items"].as_array().context("no list")? {
            let name = pod["metadata"]["name"].as_str().context("no name")?;
            if pod["status"]["phase"] == "Succeeded" {
                // Its end was told, and Helm may take it away at any moment.
                continue;
            }
            if !jobs.contains_key(name) {
                let log = File::create(self.bed.directory().join(format!("logs/{name}.log")))?;
                let mut command = self.program(name, &pod["spec"])?;
                jobs.insert(name.to_owned(), command.stdout(log.try_clone()?).stderr(log).spawn()?);
            }
            let Some(status) = jobs.get_mut(name).and_then(|job| job.try_wait().transpose()).transpose()? else {
                continue;
            };
            ensure!(status.success(), fs::read_to_string(self.bed.directory().join(format!("logs/{name}.log")))?);
            let patch = json!({"status": {"phase": "Succeeded"}}).to_string();
            self.kubectl(&[
                "patch",
                "pod",
                name,
                "-n",
                NAMESPACE,
                "--subresource=status",
                "--type=merge",
                "-p",
                &patch,
            ])?;
        }
        let wanted = self.get(&["deployments", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=controller"])?;
        if wanted["items"][0]["spec"]["replicas"] == 0 {
            controller.stop(Duration::from_secs(10))?;
        }
        Ok(())
    }
}

fn succeeded(status: ExitStatus, log: &std::path::Path) -> Result<()> {
    ensure!(status.success(), "helm: {status}\n{}", fs::read_to_string(log)?);
    Ok(())
}
