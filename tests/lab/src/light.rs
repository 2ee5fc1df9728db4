//! The light bed: a real control plane on loopback and fake nodes by kwok. What Kubernetes alone decides, and scale.
//!
//! Everything that it starts is tied to one thread of the process that holds it: when that process dies, however it
//! dies, the kernel ends the rest.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::{Node, ServiceAccount},
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::api::{Api, ObjectMeta, PostParams};

use crate::{
    control_plane::{Component, ControlPlane, Settings, State},
    patroni::prepare_postgres,
    pki, prepare,
    process::{Place, Process},
    tools::{Cache, KINE, KWOK},
};

mod database;

use database::Database;

/// A running light bed. Dropping it ends its processes and removes its directory.
#[derive(Debug)]
pub struct LightBed {
    directory: PathBuf,
    url: String,
    authority: String,
    /// Work for the thread that all processes are tied to.
    keeper: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
}

type Work = Box<dyn FnOnce(&mut Programs) + Send>;

#[derive(Debug)]
struct Programs {
    control_plane: ControlPlane,
    kwok: Process,
    /// That Kubernetes keeps its state in, where that isn't etcd. Dropped last.
    _database: Option<Database>,
}

/// The variable that says where a bed keeps Kubernetes' state: `etcd`, as it does without it, or `kine`, a PostgreSQL by Kine.
pub const STATE: &str = "SWITCHOVER_LAB_STATE";

/// The pod annotation that delays a fake pod's readiness, e.g. `10s`. Without it a pod is Ready at once.
pub const READY_DELAY: &str = "pod-ready.stage.kwok.x-k8s.io/delay";

/// The pod annotation that delays the end of a deleted pod, e.g. `5s`. Without it a pod is gone at once.
pub const DELETE_DELAY: &str = "pod-delete.stage.kwok.x-k8s.io/delay";

/// The annotation by which kwok leaves a fake node or pod as it is, so that a test says what becomes of it. It still ends pods.
pub const LEFT_ALONE: &str = "lab.switchover.dev/left-alone";

/// A port that was free when asked for may be taken a moment later.
const ATTEMPTS: usize = 3;

impl LightBed {
    /// Starts a bed, about 5 s. Blocks: call it before or outside of an async runtime's workers.
    pub fn start() -> Result<LightBed> {
        let cache = Cache::from_environment()?;
        cache.require_light()?;
        if by_kine()? {
            prepare::prepare_program(&cache, &KINE, &|step| println!("{step}"))?;
            prepare_postgres(&|step| println!("{step}"))?;
        }
        let beds = crate::target_directory().join("light");
        remove_abandoned(&beds);
        let mut last = anyhow!("no attempt was made");
        for attempt in 1..=ATTEMPTS {
            let directory = beds.join(format!("{}-{attempt}-{}", std::process::id(), unique()));
            match LightBed::start_in(&cache, &directory) {
                Ok(bed) => return Ok(bed),
                Err(error) => last = error,
            }
        }
        Err(last).with_context(|| format!("the light bed did not start in {ATTEMPTS} attempts"))
    }

    fn start_in(cache: &Cache, directory: &Path) -> Result<LightBed> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let [port, etcd_port, etcd_peer_port, database_port] = free_ports()?;
        let settings = Settings {
            cache: cache.clone(),
            directory: directory.to_owned(),
            place: Place { die_with_thread: true, ..Place::default() },
            bind: Ipv4Addr::LOCALHOST,
            address: Ipv4Addr::LOCALHOST,
            port,
            others: Vec::new(),
            state: State::Etcd,
            etcd_port,
            etcd_peer_port,
            nodes: Vec::new(),
            url_of_nodes: None,
            controller_manager: Vec::new(),
        };
        let url = settings.url();
        let (keeper, work) = mpsc::channel::<Work>();
        let (started, start) = mpsc::channel();
        let database_port = by_kine()?.then_some(database_port);
        let thread = thread::Builder::new().name("light-bed".into()).spawn(move || {
            let mut programs = match Programs::start(settings, database_port) {
                Ok(programs) => programs,
                Err(error) => return drop(started.send(Err(error))),
            };
            let _ = started.send(programs.control_plane.authority());
            for task in work {
                task(&mut programs);
            }
        })?;
        let authority = start.recv().context("the light bed's thread ended before it said anything")??;
        Ok(LightBed { directory: directory.to_owned(), url, authority, keeper: Some(keeper), thread: Some(thread) })
    }

    /// The URL of the API server on loopback.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate that signed the API server's, PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The administrator's kubeconfig. It is exempt from priority and fairness: test the product with its own account.
    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("pki/admin.kubeconfig")
    }

    /// A directory for files of a test; it goes with the bed.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs kubectl as the administrator, with this on its standard input; what it printed, and what it warned of.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Result<(String, String)> {
        let output = self.try_kubectl(arguments, input)?;
        let warned = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "kubectl {}: {warned}", arguments.join(" "));
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), warned))
    }

    /// The same where it may fail.
    pub fn try_kubectl(&self, arguments: &[&str], input: &str) -> Result<Output> {
        let mut child = Command::new(crate::tools::kubectl()?)
            .args(arguments)
            .env("KUBECONFIG", self.kubeconfig())
            // Its caches lie in the home directory otherwise.
            .env("HOME", &self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        child.stdin.take().context("kubectl has no input")?.write_all(input.as_bytes())?;
        Ok(child.wait_with_output()?)
    }

    /// A client with all rights.
    pub async fn admin(&self) -> Result<kube::Client> {
        crate::client(&self.kubeconfig()).await
    }

    /// A kubeconfig with a fresh token of a service account that exists.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin().await?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(24 * 3600), ..Default::default() },
            ..Default::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("no token for the service account {namespace}/{name}; does it exist?"))?;
        let token = answer.status.context("the API server answered a token request without a token")?.token;
        let path = self.directory.join(format!("pki/{namespace}.{name}.kubeconfig"));
        pki::write_private(&path, &pki::token_kubeconfig(&self.url, &self.authority, &token))?;
        Ok(path)
    }

    /// A client with the rights of a service account, so that the product is held to the RBAC it ships.
    pub async fn client_for_service_account(&self, namespace: &str, name: &str) -> Result<kube::Client> {
        crate::client(&self.kubeconfig_for_service_account(namespace, name).await?).await
    }

    /// Ends a component at once, as a crash would.
    pub fn kill(&self, component: Component) -> Result<()> {
        self.run(move |programs| programs.control_plane.kill_component(component))
    }

    /// Starts a component that was killed. For the API server: returns when it is ready.
    pub fn start_component(&self, component: Component) -> Result<()> {
        self.run(move |programs| {
            programs.control_plane.start_component(component)?;
            match component {
                Component::Etcd | Component::Kine | Component::KubeApiserver => {
                    programs.control_plane.wait_until_ready()
                }
                _ => Ok(()),
            }
        })
    }

    /// Ends a component in order and starts it again.
    pub fn restart(&self, component: Component) -> Result<()> {
        self.run(move |programs| programs.control_plane.restart_component(component))
    }

    /// Ends kwok: fake nodes stay as they are from now on, and new ones are only objects.
    pub fn end_kwok(&self) -> Result<()> {
        self.run(|programs| programs.kwok.kill())
    }

    fn run<T: Send + 'static>(&self, work: impl FnOnce(&mut Programs) -> Result<T> + Send + 'static) -> Result<T> {
        let (done, result) = mpsc::channel();
        let task: Work = Box::new(move |programs| drop(done.send(work(programs))));
        let keeper = self.keeper.as_ref().context("the light bed is going down")?;
        keeper.send(task).map_err(|_| anyhow!("the light bed's thread has ended"))?;
        result.recv().context("the light bed's thread has ended")?
    }
}

/// Adds a fake node; kwok makes it Ready. `capacity` such as `[("cpu", "4"), ("memory", "8Gi"), ("pods", "110")]`.
pub async fn add_node(
    client: &kube::Client,
    name: &str,
    labels: &[(&str, &str)],
    capacity: &[(&str, &str)],
) -> Result<Node> {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut node_labels = owned(labels);
    node_labels.entry("kubernetes.io/hostname".into()).or_insert_with(|| name.to_owned());
    node_labels.entry("kubernetes.io/os".into()).or_insert_with(|| "linux".to_owned());
    let capacity: BTreeMap<String, Quantity> =
        capacity.iter().map(|(resource, amount)| ((*resource).into(), Quantity((*amount).into()))).collect();
    let status = (!capacity.is_empty()).then(|| k8s_openapi::api::core::v1::NodeStatus {
        allocatable: Some(capacity.clone()),
        capacity: Some(capacity),
        ..Default::default()
    });
    let node = Node {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(node_labels),
            annotations: Some(owned(&[("kwok.x-k8s.io/node", "fake")])),
            ..Default::default()
        },
        status,
        ..Default::default()
    };
    nodes.create(&PostParams::default(), &node).await.with_context(|| format!("cannot add the fake node {name}"))
}

impl Drop for LightBed {
    fn drop(&mut self) {
        // Without a sender the thread's loop ends, and its processes with it.
        self.keeper = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        // Kept when a test fails, for its logs.
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

impl Programs {
    fn start(mut settings: Settings, database_port: Option<u16>) -> Result<Programs> {
        let database = database_port.map(Database::start).transpose()?;
        if let Some(database) = &database {
            settings.state = State::Kine { endpoint: database.endpoint() };
        }
        let (place, directory) = (settings.place.clone(), settings.directory.clone());
        let (kwok, stages) = (settings.cache.go(&KWOK).join("kwok"), directory.join("stages.yaml"));
        let text = fs::read_to_string(settings.cache.stages())?;
        fs::write(&stages, leaving_alone(&deleting_once(&text)?)?)?;
        let mut control_plane = ControlPlane::start(settings)?;
        let mut command = Command::new(kwok);
        command
            .arg(format!("--kubeconfig={}", control_plane.kubeconfig().display()))
            .arg(format!("--config={}", stages.display()))
            .args(["--manage-all-nodes=true", "--node-lease-duration-seconds=40"])
            // Its own configuration directory lies in the home directory otherwise.
            .env("KWOK_WORKDIR", &directory)
            .current_dir(&directory);
        let mut kwok = Process::start("kwok", command, &directory.join("logs/kwok.log"), &place)?;
        control_plane.wait_for_controllers()?;
        // By now it would have refused its configuration.
        kwok.check()?;
        Ok(Programs { control_plane, kwok, _database: database })
    }
}

/// kwok deletes pods by name, and once more when it sees that the first time was noticed. By then another pod may have the
/// name: that of a StatefulSet.
fn deleting_once(stages: &str) -> Result<String> {
    let deleted = "    - key: '.metadata.deletionTimestamp'\n      operator: 'Exists'\n";
    let once =
        "    - key: '.metadata.deletionGracePeriodSeconds == 0'\n      operator: 'NotIn'\n      values: ['true']\n";
    let (before, stage) = stages.split_once("name: pod-delete\n").context("kwok's stages have no pod-delete")?;
    ensure!(stage.matches(deleted).count() == 1, "kwok's stage pod-delete has changed its shape");
    Ok(format!("{before}name: pod-delete\n{}", stage.replacen(deleted, &[deleted, once].concat(), 1)))
}

/// Nodes and pods that bear [`LEFT_ALONE`] are in no stage but that of their end.
fn leaving_alone(stages: &str) -> Result<String> {
    let begin = "    matchExpressions:\n";
    let rule = format!("    - key: '.metadata.annotations[\"{LEFT_ALONE}\"]'\n      operator: 'DoesNotExist'\n");
    let (before, last) = stages.split_once("name: pod-delete\n").context("kwok's stages have no pod-delete")?;
    ensure!(before.matches(begin).count() >= 4, "kwok's stages have changed their shape");
    Ok(format!("{}name: pod-delete\n{last}", before.replace(begin, &format!("{begin}{rule}"))))
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = self.kwok.kill();
        self.control_plane.stop();
    }
}

fn owned(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Ports that nobody listens on. All are held until the last is found, so that they differ.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let listeners: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let ports: Vec<u16> = listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect::<Result<_>>()?;
    ensure!(ports.len() == N, "no free ports on loopback");
    ports.try_into().map_err(|_| anyhow!("no free ports on loopback"))
}

/// Whether the beds of this process keep Kubernetes' state in a database by Kine.
fn by_kine() -> Result<bool> {
    match std::env::var(STATE).as_deref() {
        Err(_) | Ok("" | "etcd") => Ok(false),
        Ok("kine") => Ok(true),
        Ok(other) => Err(anyhow!("{STATE}: there is no {other:?}; there are etcd and kine")),
    }
}

/// Distinguishes beds of the same process.
fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Removes the directories of beds whose process is gone.
fn remove_abandoned(beds: &Path) {
    for entry in fs::read_dir(beds).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.split('-').next().and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if !Path::new("/proc").join(pid.to_string()).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_whose_deletion_was_noticed_is_not_deleted_again() {
        let stage = "name: pod-delete\nspec:\n  selector:\n    matchExpressions:\n    - key: '.metadata.deletionTimestamp'\n      operator: 'Exists'\n  next:\n    delete: true\n";
        let once = deleting_once(stage).unwrap();
        let added = "      operator: 'Exists'\n    - key: '.metadata.deletionGracePeriodSeconds == 0'\n      operator: 'NotIn'\n      values: ['true']\n  next:\n";
        assert!(once.contains(added), "{once}");
        assert!(deleting_once("name: pod-ready\n").is_err() && deleting_once("name: pod-delete\n").is_err());
    }
}
