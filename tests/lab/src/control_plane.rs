//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler: the same four programs in all beds, but that Kine stands in
//! for etcd where the state is in a database of SQL.

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};

use crate::{
    process::{Place, Power, Process},
    tools::{Cache, ETCD, KINE, KUBE, control_plane},
};

mod certificates;
mod flags;

pub use certificates::WEBHOOK_CLIENT;

/// A program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Component {
    Etcd,
    Kine,
    KubeApiserver,
    KubeControllerManager,
    KubeScheduler,
}

impl Component {
    pub const ALL: [Component; 5] = [
        Component::Etcd,
        Component::Kine,
        Component::KubeApiserver,
        Component::KubeControllerManager,
        Component::KubeScheduler,
    ];
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Component::Etcd => "etcd",
            Component::Kine => "kine",
            Component::KubeApiserver => "kube-apiserver",
            Component::KubeControllerManager => "kube-controller-manager",
            Component::KubeScheduler => "kube-scheduler",
        })
    }
}

impl FromStr for Component {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Component::ALL.into_iter().find(|component| component.to_string() == text).ok_or_else(|| {
            format!(
                "{text:?} is not a process of the control plane; write etcd, kine, kube-apiserver, \
                 kube-controller-manager or kube-scheduler"
            )
        })
    }
}

/// Where a control plane keeps Kubernetes' state.
#[derive(Debug, Clone)]
pub enum State {
    /// In an etcd of its own.
    Etcd,
    /// In a database that others write to as well, by Kine: its `--endpoint`.
    Kine { endpoint: String },
}

/// Where a control plane listens and keeps its files.
#[derive(Debug, Clone)]
pub struct Settings {
    pub cache: Cache,
    /// Holds certificates, kubeconfigs, logs and etcd's data.
    pub directory: PathBuf,
    pub place: Place,
    pub bind: Ipv4Addr,
    /// The address that clients and the Service `kubernetes` use.
    pub address: Ipv4Addr,
    pub port: u16,
    /// Of further control planes of the same cluster: each has one certificate for all.
    pub others: Vec<Ipv4Addr>,
    pub state: State,
    pub etcd_port: u16,
    pub etcd_peer_port: u16,
    /// Nodes that will join: each gets a kubeconfig of its own.
    pub nodes: Vec<String>,
    /// Where nodes reach an API server, if not at `address`.
    pub url_of_nodes: Option<String>,
    /// Further flags of the controller manager.
    pub controller_manager: Vec<String>,
}

/// The running control plane. Processes end with [`ControlPlane::stop`] or when the value is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    settings: Settings,
    processes: BTreeMap<Component, Process>,
    /// Since when the API server has reached its store and isn't ready all the same.
    stuck_since: Option<Instant>,
}

/// How long the API server may take to be ready; 5 s are usual.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// An API server that starts among others is stuck then.
const STUCK_AFTER: Duration = Duration::from_secs(20);

/// The API server would wait for its watches much longer.
const STOPPED_WITHIN: Duration = Duration::from_secs(3);

impl ControlPlane {
    /// Writes certificates and starts everything. Returns when the API server is ready.
    pub fn start(settings: Settings) -> Result<ControlPlane> {
        certificates::write(&settings)?;
        ControlPlane::start_programs(settings)
    }

    /// Starts a further control plane of the same cluster, whose certificates lie in `first`.
    pub fn join(settings: Settings, first: &Path) -> Result<ControlPlane> {
        certificates::copy(first, &settings)?;
        ControlPlane::start_programs(settings)
    }

    fn start_programs(settings: Settings) -> Result<ControlPlane> {
        let logs = settings.directory.join("logs");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let mut control_plane = ControlPlane { settings, processes: BTreeMap::new(), stuck_since: None };
        control_plane.start_component(control_plane.store())?;
        control_plane.start_component(Component::KubeApiserver)?;
        control_plane.wait_until_ready()?;
        // These two give up when they are early, so they wait for the API server.
        control_plane.start_component(Component::KubeControllerManager)?;
        control_plane.start_component(Component::KubeScheduler)?;
        Ok(control_plane)
    }

    /// The administrator's kubeconfig, for the namespace that the control plane lives in.
    pub fn kubeconfig(&self) -> PathBuf {
        self.settings.kubeconfig("admin")
    }

    /// The certificate of the authority, PEM.
    pub fn authority(&self) -> Result<String> {
        Ok(fs::read_to_string(self.settings.pki("ca.crt"))?)
    }

    pub fn start_component(&mut self, component: Component) -> Result<()> {
        if let Some(process) = self.processes.get_mut(&component) {
            ensure!(!process.is_running(), "{component} is already running");
        }
        let log = self.settings.directory.join("logs").join(format!("{component}.log"));
        let process =
            Process::start(&component.to_string(), self.settings.command(component), &log, &self.settings.place)?;
        self.processes.insert(component, process);
        Ok(())
    }

    fn store(&self) -> Component {
        match self.settings.state {
            State::Etcd => Component::Etcd,
            State::Kine { .. } => Component::Kine,
        }
    }

    /// Starts again what has ended by itself, as a service manager would: Kine ends when a commit fails, and leaders end when they
    /// can't renew their leases.
    pub fn revive(&mut self) -> Result<()> {
        let failed: Vec<Component> =
            self.processes.iter_mut().filter_map(|(name, process)| process.has_failed().then_some(*name)).collect();
        failed.into_iter().try_for_each(|component| self.start_component(component))
    }

    /// Starts an API server anew, and its Kine, that reaches its store and doesn't become ready, as the kubelet does with its startup
    /// probe. On a busy machine that was every other start of the second of two: Kine then waits for nothing, and the API server waits for
    /// a revision that Kine doesn't tell. By its source Kine's own count of revisions can stay behind where others write, too.
    pub fn restart_if_stuck(&mut self) -> Result<()> {
        let stuck = self.settings.ask("/readyz").is_err() && self.settings.ask("/readyz/etcd").is_ok();
        if !stuck {
            self.stuck_since = None;
            return Ok(());
        }
        if self.stuck_since.get_or_insert_with(Instant::now).elapsed() < STUCK_AFTER {
            return Ok(());
        }
        self.stuck_since = None;
        tracing::warn!("the API server at {} doesn't become ready: starting it anew", self.settings.address);
        for component in [self.store(), Component::KubeApiserver] {
            self.kill_component(component)?;
            self.start_component(component)?;
        }
        Ok(())
    }

    /// Starts everything, and waits for nothing: what comes too early is revived.
    pub fn power_on(&mut self) -> Result<()> {
        let components: Vec<Component> = self.processes.keys().copied().collect();
        components.into_iter().try_for_each(|component| self.start_component(component))
    }

    /// Ends a component at once, as a crash would.
    pub fn kill_component(&mut self, component: Component) -> Result<()> {
        let process = self.processes.get_mut(&component).with_context(|| format!("{component} was never started"))?;
        ensure!(process.is_running(), "{component} is not running");
        process.kill()
    }

    /// Sends a component a signal.
    pub fn signal_component(&mut self, component: Component, signal: Signal) -> Result<()> {
        let process = self.processes.get_mut(&component).with_context(|| format!("{component} was never started"))?;
        ensure!(process.is_running(), "{component} is not running");
        kill(Pid::from_raw(process.pid().cast_signed()), signal)
            .with_context(|| format!("cannot send {signal} to {component}"))
    }

    /// Ends a component in order and starts it again. For the API server: returns when it is ready.
    pub fn restart_component(&mut self, component: Component) -> Result<()> {
        if let Some(process) = self.processes.get_mut(&component) {
            process.stop(STOPPED_WITHIN)?;
        }
        self.start_component(component)?;
        if component == Component::KubeApiserver { self.wait_until_ready() } else { Ok(()) }
    }

    pub fn status(&mut self) -> BTreeMap<String, Power> {
        let power = |process: &mut Process| if process.is_running() { Power::On } else { Power::Off };
        self.processes.iter_mut().map(|(component, process)| (component.to_string(), power(process))).collect()
    }

    /// Waits for the API server's own word that it is ready.
    pub fn wait_until_ready(&mut self) -> Result<()> {
        self.wait_for("/readyz", "the API server to be ready")
    }

    /// Waits until the controllers work. Before that no pod can be made, because it needs a service account.
    pub fn wait_for_controllers(&mut self) -> Result<()> {
        self.wait_for("/api/v1/namespaces/default/serviceaccounts/default", "the controllers to work")
    }

    /// Waits until the API server answers `path` with success.
    fn wait_for(&mut self, path: &'static str, what: &str) -> Result<()> {
        let patience = if self.settings.others.is_empty() { READY_WITHIN } else { READY_WITHIN * 3 };
        let deadline = Instant::now() + patience;
        loop {
            match self.settings.others.is_empty() {
                true => self.processes.values_mut().try_for_each(Process::check)?,
                // Leaders that can't renew their leases end, on a busy machine also while they start.
                false => self.revive().and_then(|()| self.restart_if_stuck())?,
            }
            match self.settings.ask(path) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    return Err(error).with_context(|| format!("waited {} s in vain for {what}", patience.as_secs()));
                }
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Ends everything, the API server's clients first.
    pub fn stop(&mut self) {
        for (_, process) in self.processes.iter_mut().rev() {
            // Best effort, and without patience: no data of a test bed is worth waiting for.
            let _ = process.kill();
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Settings {
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.directory.join("pki").join(format!("{user}.kubeconfig"))
    }

    /// The URL of the API server for those in its namespace and network.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.port)
    }

    fn pki(&self, file: &str) -> PathBuf {
        self.directory.join("pki").join(file)
    }

    fn ask(&self, path: &'static str) -> Result<()> {
        let kubeconfig = self.kubeconfig("admin");
        let ask = move || -> Result<()> {
            tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
                let client = crate::client(&kubeconfig).await?;
                let request = axum::http::Request::get(path).body(Vec::new())?;
                tokio::time::timeout(Duration::from_secs(2), client.request_text(request)).await??;
                Ok(())
            })
        };
        match &self.place.namespace {
            Some(namespace) => crate::net::in_netns(namespace, ask)?,
            None => ask(),
        }
    }

    fn command(&self, component: Component) -> Command {
        // Real nodes have kubelets of the pinned version, which must not be newer than the API server. What can't be chosen was refused
        // before the bed began.
        let kubernetes = if self.nodes.is_empty() { control_plane().unwrap_or(&KUBE) } else { &KUBE };
        let (module, mut arguments) = match component {
            Component::Etcd => (&ETCD, self.etcd()),
            Component::Kine => (&KINE, self.kine()),
            Component::KubeApiserver => (kubernetes, self.api_server()),
            Component::KubeControllerManager => (kubernetes, self.controller_manager()),
            Component::KubeScheduler => (kubernetes, self.scheduler()),
        };
        if let Ok(level) = std::env::var("SWITCHOVER_LAB_VERBOSITY")
            && !matches!(component, Component::Etcd | Component::Kine)
        {
            arguments.push(format!("--v={level}"));
        }
        let mut command = Command::new(self.cache.go(module).join(component.to_string()));
        command.args(arguments).current_dir(&self.directory);
        command
    }
}

/// The administrator's kubeconfig for another address of the same API server, e.g. a forwarded port.
pub fn kubeconfig_for(kubeconfig: &Path, url: &str) -> Result<String> {
    let text = fs::read_to_string(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let mut config: serde_json::Value = serde_json::from_str(&text)?;
    config["clusters"][0]["cluster"]["server"] = url.into();
    Ok(format!("{config:#}\n"))
}
