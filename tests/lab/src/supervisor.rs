//! The supervisor: brings the whole lab up inside its own namespaces, then does what the control socket asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::TcpListener,
    os::{
        fd::{FromRawFd, RawFd},
        unix::net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    cgroup::Hierarchy,
    control,
    control_plane::ControlPlane,
    lab::{Options, Two},
    machine::Machine,
    net::Network,
    patroni::Patroni,
    site,
    wan::Wan,
};

pub mod enclosure;
mod execute;
mod plan;
mod power;
mod ready;
mod two;

pub use plan::CONTROL_PLANE_HOST;

use enclosure::{STATE, report};

/// What `lab up` tells its supervisor, in a file. Paths are those of the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    /// Distinguishes the control groups of labs.
    pub id: String,
    pub state: PathBuf,
    pub cache: PathBuf,
    pub nodes: usize,
    pub images: Vec<PathBuf>,
    pub patroni: bool,
    pub two: Option<Two>,
    /// The open listener on loopback that becomes the API server's port outside.
    pub listener: RawFd,
    pub hierarchies: Vec<Hierarchy>,
}

/// Everything that runs. Each lock is held for one operation; network and WAN have locks of their own.
#[derive(Debug)]
pub(crate) struct Supervisor {
    start: Instant,
    network: Network,
    wan: Wan,
    /// By its host.
    control_planes: BTreeMap<String, Mutex<ControlPlane>>,
    machines: BTreeMap<String, Mutex<Machine>>,
    /// Nodes whose cable was pulled.
    cut: Mutex<BTreeSet<String>>,
    patroni: Option<Patroni>,
    /// Under Kubernetes itself.
    kine: Option<Patroni>,
}

/// `lab supervise FILE`: returns at once in the caller; the supervisor lives on in namespaces of its own.
pub fn run(file: &Path) -> Result<()> {
    let settings: Settings = serde_json::from_str(&fs::read_to_string(file)?)?;
    // SAFETY: `lab up` left this descriptor open for us, and nobody else in this process knows of it.
    let listener = unsafe { TcpListener::from_raw_fd(settings.listener) };
    let inside = settings.clone();
    enclosure::enter(&settings, move || supervise(&inside, listener))
}

fn supervise(settings: &Settings, listener: TcpListener) -> Result<()> {
    // The client calls each answer an error while the API server is not ready.
    let filter = tracing_subscriber::EnvFilter::new("info,kube_client=off");
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let is_up = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_up);
    enclosure::end_with_starter(move || seen.load(Ordering::Acquire));
    let socket = UnixListener::bind(Path::new(STATE).join("control.sock")).context("cannot open the control socket")?;
    let supervisor = Arc::new(Supervisor::up(settings, listener)?);
    if settings.two.is_some() {
        let supervisor = Arc::clone(&supervisor);
        thread::spawn(move || supervisor.revive());
    }
    is_up.store(true, Ordering::Release);
    report("ready")?;
    for stream in socket.incoming() {
        let (stream, supervisor) = (stream?, Arc::clone(&supervisor));
        // A switchover takes seconds; that must not keep others from asking.
        thread::spawn(move || {
            if let Err(error) = control::serve_one(stream, |request| supervisor.execute(request)) {
                eprintln!("a request on the control socket failed: {error:#}");
            }
        });
    }
    Ok(())
}

impl Supervisor {
    fn up(settings: &Settings, listener: TcpListener) -> Result<Supervisor> {
        let start = Instant::now();
        let say = |text: &str| report(&format!("step {text} ({:.1} s)", start.elapsed().as_secs_f64()));
        let (network, wan) = plan::build_network(settings)?;
        say("network and WAN are up")?;

        let names: Vec<String> = (1..=settings.nodes).map(site::node_name).collect();
        let machines: BTreeMap<String, Mutex<Machine>> = (1..=settings.nodes)
            .map(|node| Ok((site::node_name(node), Mutex::new(Machine::new(plan::machine(settings, node))?))))
            .collect::<Result<_>>()?;
        let pause = plan::cache().pause_image();

        // Containers need no API server to be prepared for, so the machines boot while the control plane starts; and
        // the database needs neither.
        let core = thread::scope(|scope| {
            let core = scope.spawn(|| match settings.two {
                Some(two) => two::start(two, names.clone(), listener, &say),
                None => plan::start(settings, names.clone(), listener, &say),
            });
            on_every_machine(&machines, |machine| {
                machine.boot()?;
                machine.import(&pause)
            })?;
            say("machines have booted")?;
            let mut core = join(core)?;
            on_every_machine(&machines, |machine| {
                machine.start_kubelet()?;
                settings.images.iter().try_for_each(|archive| machine.import(archive))
            })?;
            say("kubelets are started and images imported")?;
            let mut first = core.control_planes.first_entry().context("the lab has no control plane")?;
            ready::wait_for_nodes(first.key(), &first.get().kubeconfig(), settings.nodes)?;
            first.get_mut().wait_for_controllers()?;
            say(&format!("all {} nodes are Ready", settings.nodes))?;
            Ok::<_, anyhow::Error>(core)
        })?;
        Ok(Supervisor {
            start,
            network,
            wan,
            control_planes: core.control_planes.into_iter().map(|(host, it)| (host, Mutex::new(it))).collect(),
            machines,
            cut: Mutex::default(),
            patroni: core.patroni,
            kine: core.kine,
        })
    }
}

/// Runs `work` on all machines at once; the first error wins.
fn on_every_machine(
    machines: &BTreeMap<String, Mutex<Machine>>,
    work: impl Fn(&mut Machine) -> Result<()> + Sync,
) -> Result<()> {
    thread::scope(|scope| {
        let workers: Vec<_> = machines
            .values()
            .map(|machine| scope.spawn(|| work(&mut machine.lock().expect("no holder panics"))))
            .collect();
        workers.into_iter().try_for_each(join)
    })
}

fn join<T>(worker: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    worker.join().map_err(|_| anyhow!("a thread of the supervisor panicked; see supervisor.log"))?
}

/// The number of nodes that the address plan and the speed of one machine allow.
pub fn check_nodes(options: &Options) -> Result<()> {
    let nodes = options.nodes;
    if options.two.is_some() {
        ensure!(nodes == 4, "two data centres have two nodes each: leave --nodes out, or write --nodes 4");
    }
    if (1..=site::NODES_MAX).contains(&nodes) {
        return Ok(());
    }
    bail!("the lab takes 1 to {} nodes, not {nodes}", site::NODES_MAX)
}
