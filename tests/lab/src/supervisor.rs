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

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use crate::{
    cgroup::Hierarchy,
    control,
    control_plane::{self, ControlPlane},
    forward,
    machine::{self, Machine, config::CONTROLLER_MANAGER},
    net::{self, Network},
    patroni::{self, Patroni},
    pki,
    process::Place,
    site::{self, Site},
    tools::{Cache, ETCD},
    wan::Wan,
};

pub mod enclosure;
mod execute;
mod ready;

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
    control_plane: Mutex<ControlPlane>,
    machines: BTreeMap<String, Mutex<Machine>>,
    /// Nodes whose cable was pulled.
    cut: Mutex<BTreeSet<String>>,
    patroni: Option<Patroni>,
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
        let (network, wan) = build_network(settings.nodes)?;
        say("network and WAN are up")?;

        let names: Vec<String> = (1..=settings.nodes).map(site::node_name).collect();
        let machines: BTreeMap<String, Mutex<Machine>> = (1..=settings.nodes)
            .map(|node| Ok((site::node_name(node), Mutex::new(Machine::new(machine_settings(settings, node))?))))
            .collect::<Result<_>>()?;
        let pause = inner_cache().pause_image();

        // Containers need no API server to be prepared for, so the machines boot while the control plane starts; and
        // the database needs neither.
        let (control_plane, patroni) = thread::scope(|scope| {
            let patroni = settings.patroni.then(|| {
                scope.spawn(|| {
                    let patroni = Patroni::start(&patroni_context())?;
                    say("Patroni has a primary and its replicas stream")?;
                    Ok(patroni)
                })
            });
            let control_plane = scope.spawn(|| {
                let control_plane = ControlPlane::start(control_plane_settings(names.clone()))?;
                publish(&control_plane, listener)?;
                say("control plane is ready")?;
                Ok(control_plane)
            });
            on_every_machine(&machines, |machine| {
                machine.boot()?;
                machine.import(&pause)
            })?;
            say("machines have booted")?;
            let mut control_plane = join(control_plane)?;
            on_every_machine(&machines, |machine| {
                machine.start_kubelet()?;
                settings.images.iter().try_for_each(|archive| machine.import(archive))
            })?;
            say("kubelets are started and images imported")?;
            ready::wait_for_nodes(&control_plane.kubeconfig(), settings.nodes)?;
            control_plane.wait_for_controllers()?;
            say(&format!("all {} nodes are Ready", settings.nodes))?;
            Ok::<_, anyhow::Error>((control_plane, patroni.map(join).transpose()?))
        })?;
        Ok(Supervisor {
            start,
            network,
            wan,
            control_plane: Mutex::new(control_plane),
            machines,
            cut: Mutex::default(),
            patroni,
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

fn build_network(nodes: usize) -> Result<(Network, Wan)> {
    let (network, devices) = Network::build()?;
    let wan = Wan::start(devices)?;
    network.add_host(Site::ControlPlane, CONTROL_PLANE_HOST, site::API_SERVER, &[site::SERVICE_RANGE.to_owned()])?;
    // Pods dial the Service `kubernetes` here; without kube-proxy the address itself has to exist.
    net::ip(Some(CONTROL_PLANE_HOST), &format!("addr add {}/32 dev lo", site::API_SERVICE))?;
    network.add_host(Site::ControlPlane, "client", site::CLIENT, &[])?;
    for site in Site::DATA_CENTRES {
        network.add_host(site, &member_name(site), site::member_address(site), &[])?;
    }
    for node in 1..=nodes {
        let pods = site::pod_range(node);
        network.add_host(Site::of_node(node), &site::node_name(node), site::node_address(node), &[pods])?;
    }
    Ok((network, wan))
}

/// The host, and so the network namespace, of the control plane.
pub const CONTROL_PLANE_HOST: &str = "cp";

/// The first member of a data centre, and its host.
fn member_name(site: Site) -> String {
    format!("pg{}", site.index())
}

fn patroni_context() -> patroni::Context {
    let host = |site: Site| patroni::Host {
        name: member_name(site),
        site,
        address: site::member_address(site),
        netns: net::namespace(&member_name(site)),
    };
    patroni::Context {
        bin: inner_cache().go(&ETCD),
        cache: enclosure::CACHE.into(),
        state: Path::new(STATE).join("patroni"),
        hosts: Site::DATA_CENTRES.map(host).to_vec(),
    }
}

fn inner_cache() -> Cache {
    Cache { directory: enclosure::CACHE.into() }
}

fn control_plane_settings(nodes: Vec<String>) -> control_plane::Settings {
    control_plane::Settings {
        cache: inner_cache(),
        directory: Path::new(STATE).join("control-plane"),
        place: Place { namespace: Some(net::namespace(CONTROL_PLANE_HOST)), die_with_thread: false },
        bind: std::net::Ipv4Addr::UNSPECIFIED,
        address: site::API_SERVER,
        port: 443,
        etcd_port: 2379,
        etcd_peer_port: 2380,
        nodes,
        controller_manager: CONTROLLER_MANAGER.map(str::to_owned).to_vec(),
    }
}

fn machine_settings(settings: &Settings, node: usize) -> machine::Settings {
    let name = site::node_name(node);
    machine::Settings {
        site: Site::of_node(node),
        address: site::node_address(node),
        directory: Path::new(STATE).join("nodes").join(&name),
        cache: enclosure::CACHE.into(),
        pki: Path::new(STATE).join("control-plane/pki"),
        namespace: net::namespace(&name),
        lab: settings.id.clone(),
        hierarchies: settings.hierarchies.clone(),
        name,
        number: node,
    }
}

/// Opens the API server's port on loopback and writes the kubeconfig that goes with it.
fn publish(control_plane: &ControlPlane, listener: TcpListener) -> Result<()> {
    let port = listener.local_addr()?.port();
    forward::start(listener, net::namespace(CONTROL_PLANE_HOST), (site::API_SERVER, 443))?;
    let text = control_plane::kubeconfig_for(&control_plane.kubeconfig(), &format!("https://127.0.0.1:{port}"))?;
    pki::write_private(&Path::new(STATE).join("kubeconfig"), &text)
}

/// The number of nodes that the address plan and the speed of one machine allow.
pub fn check_nodes(nodes: usize) -> Result<()> {
    if (1..=site::NODES_MAX).contains(&nodes) {
        return Ok(());
    }
    bail!("the lab takes 1 to {} nodes, not {nodes}", site::NODES_MAX)
}
