//! The beds and the product on them, each started once for the whole run.
//!
//! Nothing of it is ever dropped, because statics aren't: the processes are tied to a thread that lives as long as this
//! process does, and the kernel ends them with it.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use lab::{
    light::LightBed,
    measured::Usage,
    process::{Place, Process},
    wait::block_until,
};
use serde_json::{Value, json};

/// A bed and the product on it, which many scenes share.
#[derive(Debug)]
pub(crate) struct World {
    pub bed: LightBed,
    keeper: Keeper,
    /// By name.
    roles: Mutex<BTreeMap<String, Process>>,
    webhook_ports: [u16; 2],
    /// Of the controllers' health, in their order.
    controller_ports: [u16; 2],
}

/// Namespace of the product.
pub(crate) const NAMESPACE: &str = "switchover-system";
/// The controllers; one of them leads.
pub(crate) const CONTROLLERS: [&str; 2] = ["controller-1", "controller-2"];
pub(crate) const WEBHOOK: &str = "webhook";
/// An address in place of the Service's name is what the API server asks the webhook's certificate for here.
const WEBHOOK_HOST: &str = "127.0.0.1";

type Started = OnceLock<Result<World, String>>;

/// The world of the scenes that disturb nobody. The first caller starts it, in about 10 s, and the others wait.
pub(crate) fn world() -> &'static World {
    static WORLD: Started = OnceLock::new();
    started(&WORLD)
}

/// How many scenes that disturb everybody play at the same time, each in a world of its own.
pub(crate) const APART: usize = 2;

/// One of the worlds in which a scene is alone.
pub(crate) fn world_apart(number: usize) -> &'static World {
    static WORLDS: [Started; APART] = [const { OnceLock::new() }; APART];
    started(&WORLDS[number])
}

fn started(world: &'static Started) -> &'static World {
    // One after the other: each needs the whole machine.
    static STARTING: Mutex<()> = Mutex::new(());
    let world = world.get_or_init(|| {
        let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        World::start().map_err(|error| format!("{error:#}"))
    });
    world.as_ref().unwrap_or_else(|error| panic!("the light bed did not start: {error}"))
}

impl World {
    fn start() -> Result<World> {
        let start = Instant::now();
        let bed = LightBed::start()?;
        let (webhook_ports, controller_ports) = (free_ports()?, free_ports()?);
        let keeper = Keeper::start()?;
        let world = World { bed, keeper, roles: Mutex::default(), webhook_ports, controller_ports };
        world.install()?;
        for role in CONTROLLERS.into_iter().chain([WEBHOOK]) {
            world.start_role(role)?;
        }
        world.mount_certificate()?;
        world.wait_for_webhook()?;
        println!("the bed and the product on it started in {:.1} s", start.elapsed().as_secs_f64());
        Ok(world)
    }

    /// Applies what deploy/base ships, but for the workloads, which run here as processes; the API server calls the webhook
    /// by URL.
    fn install(&self) -> Result<()> {
        let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/base");
        let text = self.kubectl(&["kustomize", &base.display().to_string()], "")?;
        let objects: Vec<Value> = text.split("\n---\n").map(serde_saphyr::from_str).collect::<Result<_, _>>()?;
        let workloads = ["Deployment", "DaemonSet", "PodDisruptionBudget", "Service"];
        let mut objects: Vec<_> = objects
            .into_iter()
            .filter(|object| !workloads.contains(&object["kind"].as_str().unwrap_or_default()))
            .collect();
        let configuration = objects.iter_mut().find(|object| object["kind"] == "MutatingWebhookConfiguration");
        let configuration = configuration.context("deploy/base has no MutatingWebhookConfiguration")?;
        configuration["webhooks"][0]["clientConfig"] =
            json!({"url": format!("https://{WEBHOOK_HOST}:{}/mutate", self.webhook_ports[0])});
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.kubectl(&["apply", "--server-side", "-f", "-"], &list.to_string())?;
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"], "")?;
        Ok(())
    }

    /// Does what a kubelet would: brings the Secret's files to where the webhook reads them, now and whenever they change.
    fn mount_certificate(&self) -> Result<()> {
        let (kubeconfig, directory) = (self.bed.kubeconfig(), self.tls());
        std::fs::create_dir_all(&directory)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = runtime.block_on(lab::client(&kubeconfig))?;
        thread::Builder::new().name("kubelet".into()).spawn(move || {
            let secrets: Api<Secret> = Api::namespaced(client, NAMESPACE);
            loop {
                // Without an answer, or without a Secret, what was mounted stays.
                let secret = runtime.block_on(secrets.get_opt("switchover-webhook-tls")).ok().flatten();
                for (file, content) in secret.and_then(|secret| secret.data).unwrap_or_default() {
                    let path = directory.join(file);
                    if std::fs::read(&path).ok().as_ref() != Some(&content.0) {
                        let _ = std::fs::write(path, &content.0);
                    }
                }
                thread::sleep(Duration::from_millis(250));
            }
        })?;
        Ok(())
    }

    fn tls(&self) -> PathBuf {
        self.bed.directory().join("tls")
    }

    /// Runs kubectl as the administrator; what it printed.
    pub(crate) fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let (printed, _) = self.kubectl_with_warnings(arguments, input)?;
        Ok(printed)
    }

    /// Runs kubectl as the administrator; what it printed, and what it warned of.
    pub(crate) fn kubectl_with_warnings(&self, arguments: &[&str], input: &str) -> Result<(String, String)> {
        self.bed.kubectl(arguments, input)
    }

    /// Runs switchover as the administrator; what it printed, or what it failed with.
    pub(crate) fn switchover(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(product()).args(arguments).env("KUBECONFIG", self.bed.kubeconfig()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same without a cluster to talk to; what it printed, and what it said beside it.
    pub(crate) fn switchover_alone(&self, arguments: &[&str]) -> Result<(String, String)> {
        let output = Command::new(product()).args(arguments).env("KUBECONFIG", "/nonexistent/kubeconfig").output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok((String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
    }

    /// The same of a tool that tells scripts something by its exit status: that, and what it printed.
    pub(crate) fn switchover_with_status(&self, arguments: &[&str]) -> Result<(i32, String)> {
        let (status, printed, told) = self.switchover_as(&self.bed.kubeconfig(), arguments)?;
        ensure!(!printed.is_empty(), "{told}");
        Ok((status, printed))
    }

    /// The same as somebody else: exit status, what it printed, and what it told on stderr.
    pub(crate) fn switchover_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<(i32, String, String)> {
        let output = Command::new(product()).args(arguments).env("KUBECONFIG", kubeconfig).output()?;
        let status = output.status.code().context("it was ended by a signal")?;
        Ok((status, String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
    }

    /// Somebody who may view what others may view, and nothing else: the kubeconfig.
    pub(crate) async fn viewer(&self, name: &str) -> Result<PathBuf> {
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "default"},
        });
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        });
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [account, binding]});
        tokio::task::block_in_place(|| self.kubectl(&["apply", "--server-side", "-f", "-"], &list.to_string()))?;
        self.bed.kubeconfig_for_service_account("default", name).await
    }

    /// Starts a controller or the webhook, with the rights of its own account.
    pub(crate) fn start_role(&self, name: &str) -> Result<()> {
        // Quicker than the defaults, so that a scene takes seconds.
        self.start_role_with(name, &["--tick=250ms", "--lease-duration=4s"])
    }

    /// The same with these arguments of a controller.
    pub(crate) fn start_role_with(&self, name: &str, of_controller: &[&str]) -> Result<()> {
        let role = name.split('-').next().unwrap_or_default();
        let account = format!("switchover-{role}");
        let token = self.bed.kubeconfig_for_service_account(NAMESPACE, &account);
        let kubeconfig = tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(token)?;
        let mut command = Command::new(product());
        command.arg(role).env("KUBECONFIG", kubeconfig).env("SWITCHOVER_IDENTITY", name);
        if role == "controller" {
            command.args(of_controller);
            command.arg(format!("--metrics-listen={}", self.health_address(name)?));
            command.arg(format!("--webhook-service={WEBHOOK_HOST}"));
            // Each write of a status, too: what one leader left to the next one.
            command.arg("--log=info,switchover::controller=debug");
        } else {
            let [admission, health] = self.webhook_ports;
            command.arg(format!("--listen=127.0.0.1:{admission}")).arg(format!("--metrics-listen=127.0.0.1:{health}"));
            // Every scene shows that the API server is let in; certificates.rs, that nobody else is.
            command.arg("--client-ca").arg(self.bed.directory().join("pki/ca.crt"));
            command.arg(format!("--client-name={}", lab::control_plane::WEBHOOK_CLIENT));
            command.arg("--tls-cert").arg(self.tls().join("tls.crt")).arg("--tls-key").arg(self.tls().join("tls.key"));
        }
        let process = self.start_process(name, command)?;
        self.roles().insert(name.to_owned(), process);
        Ok(())
    }

    /// Starts a role that needs no Kubernetes, for one scene: it ends with the value.
    pub(crate) fn start_aside(&self, role: &str, arguments: &[String]) -> Result<Process> {
        let mut command = Command::new(product());
        command.arg(role).args(arguments);
        self.start_process(role, command)
    }

    /// Starts a tool that goes on until it is ended, with these rights: it ends with the value. And the file that it prints into.
    pub(crate) fn start_tool(&self, name: &str, kubeconfig: &Path, arguments: &[&str]) -> Result<(Process, PathBuf)> {
        let mut command = Command::new(product());
        command.args(arguments).env("KUBECONFIG", kubeconfig);
        Ok((self.start_process(name, command)?, self.log(name)))
    }

    /// Starts a controller beside the installed ones, as somebody may who knows nothing of them: with a Lease of its own in this
    /// namespace, so that it leads, too. It ends with the value.
    pub(crate) async fn controller_beside(&self, namespace: &str) -> Result<Process> {
        let account = "switchover-controller";
        let [role, binding] = [
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": "beside", "namespace": namespace},
                "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}],
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": "beside", "namespace": namespace},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "beside"},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
            }),
        ];
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [role, binding]});
        tokio::task::block_in_place(|| self.kubectl(&["apply", "--server-side", "-f", "-"], &list.to_string()))?;
        let kubeconfig = self.bed.kubeconfig_for_service_account(NAMESPACE, account).await?;
        let mut command = Command::new(product());
        command.env("KUBECONFIG", kubeconfig).env("SWITCHOVER_IDENTITY", "beside");
        command.args(["controller", "--tick=250ms", "--lease-duration=4s", "--certificates=external"]);
        command.args(["--metrics-listen=127.0.0.1:0", &format!("--lease-namespace={namespace}")]);
        self.start_process("beside", command)
    }

    /// Starts any program: it ends with the value.
    pub(crate) fn start_process(&self, name: &str, command: Command) -> Result<Process> {
        let (log, owned) = (self.log(name), name.to_owned());
        let place = Place { die_with_thread: true, ..Place::default() };
        self.keeper.run(move || Process::start(&owned, command, &log, &place))?
    }

    /// SIGKILL.
    pub(crate) fn kill_role(&self, name: &str) -> Result<()> {
        self.roles().get_mut(name).with_context(|| format!("{name} was never started"))?.kill()
    }

    /// Sends a signal to a role that runs: `STOP`, `CONT`.
    pub(crate) fn signal_role(&self, name: &str, signal: &str) -> Result<()> {
        let pid = self.roles().get(name).with_context(|| format!("{name} was never started"))?.pid();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status()?;
        ensure!(sent.success(), "{name} took no {signal}");
        Ok(())
    }

    /// Starts again what was killed.
    pub(crate) fn restore(&self) -> Result<()> {
        for role in CONTROLLERS.into_iter().chain([WEBHOOK]) {
            let runs = self.roles().get_mut(role).is_some_and(Process::is_running);
            if !runs {
                self.start_role(role)?;
            }
        }
        self.wait_for_webhook()
    }

    /// What a role that runs has used.
    pub(crate) fn usage(&self, name: &str) -> Result<Usage> {
        Usage::of(self.roles().get(name).with_context(|| format!("{name} was never started"))?.pid())
    }

    /// Where the webhook answers the API server.
    pub(crate) fn webhook_address(&self) -> String {
        format!("{WEBHOOK_HOST}:{}", self.webhook_ports[0])
    }

    /// Where a role tells of its health.
    pub(crate) fn health_address(&self, role: &str) -> Result<String> {
        let of_controller = CONTROLLERS.iter().position(|name| *name == role).map(|index| self.controller_ports[index]);
        let port = of_controller.or((role == WEBHOOK).then_some(self.webhook_ports[1]));
        Ok(format!("127.0.0.1:{}", port.with_context(|| format!("{role} has no fixed port for its health"))?))
    }

    /// The value of the webhook's counter of this name with this reason, 0 if it has not counted yet.
    pub(crate) fn webhook_counted(&self, counter: &str, reason: &str) -> Result<u64> {
        let metrics = get(&format!("127.0.0.1:{}", self.webhook_ports[1]), "/metrics")?;
        let reason = format!("reason=\"{reason}\"");
        let line = metrics.lines().find(|line| line.starts_with(counter) && line.contains(&reason));
        Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0))
    }

    pub(crate) fn wait_for_webhook(&self) -> Result<()> {
        let address = format!("127.0.0.1:{}", self.webhook_ports[1]);
        block_until(Duration::from_secs(20), "the webhook to be ready", || {
            self.roles().values_mut().try_for_each(Process::check)?;
            Ok(ready(&address).then_some(()))
        })
    }

    pub(crate) fn log(&self, role: &str) -> PathBuf {
        self.bed.directory().join(format!("logs/{role}.log"))
    }

    /// The last log lines of all roles that mention `word`.
    pub(crate) fn logged(&self, word: &str) -> String {
        let mut shown = String::new();
        for role in CONTROLLERS.iter().chain([&WEBHOOK]) {
            let text = std::fs::read_to_string(self.log(role)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().filter(|line| line.contains(word)).collect();
            for line in &lines[lines.len().saturating_sub(40)..] {
                shown.push_str(&format!("{role}: {line}\n"));
            }
        }
        shown
    }

    fn roles(&self) -> MutexGuard<'_, BTreeMap<String, Process>> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn product() -> &'static str {
    env!("CARGO_BIN_EXE_switchover")
}

/// `GET /readyz` answers 200.
fn ready(address: &str) -> bool {
    get(address, "/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn get(address: &str, path: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: webhook\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn free_ports() -> Result<[u16; 2]> {
    let listeners = [TcpListener::bind(("127.0.0.1", 0))?, TcpListener::bind(("127.0.0.1", 0))?];
    Ok([listeners[0].local_addr()?.port(), listeners[1].local_addr()?.port()])
}

/// The thread that processes are started from: the kernel ends them with the thread, and the thread never ends.
#[derive(Debug)]
struct Keeper(mpsc::Sender<Box<dyn FnOnce() + Send>>);

impl Keeper {
    fn start() -> Result<Keeper> {
        let (sender, work) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        thread::Builder::new().name("product".into()).spawn(move || work.into_iter().for_each(|task| task()))?;
        Ok(Keeper(sender))
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (done, result) = mpsc::channel();
        let task = Box::new(move || drop(done.send(work())));
        self.0.send(task).map_err(|_| anyhow!("the thread that starts processes has ended"))?;
        result.recv().context("the thread that starts processes has ended")
    }
}
