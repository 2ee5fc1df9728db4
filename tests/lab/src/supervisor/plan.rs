//! What a lab consists of and where its parts are: hosts, the settings of machines and of the one control plane. What two data centres
//! have otherwise is in [`super::two`].

use std::{collections::BTreeMap, net::TcpListener, path::Path, thread};

use anyhow::Result;

use super::{
    Settings,
    enclosure::{self, STATE},
    join, two,
};
use crate::{
    control_plane::{self, ControlPlane, State},
    forward::{self, Server},
    machine::{self, config::CONTROLLER_MANAGER},
    net::{self, Network},
    patroni::{self, Cluster, Patroni},
    pki,
    process::Place,
    site::{self, Site},
    tools::{Cache, ETCD},
    wan::Wan,
};

/// The host, and so the network namespace, of the control plane.
pub const CONTROL_PLANE_HOST: &str = "cp";

/// From which the lab's port on loopback is carried on.
pub(super) const CLIENT_HOST: &str = "client";

/// Everything that nodes need before they can join.
pub(super) struct Core {
    /// By its host.
    pub control_planes: BTreeMap<String, ControlPlane>,
    pub patroni: Option<Patroni>,
    pub kine: Option<Patroni>,
}

/// Says how far it is.
pub(super) type Say<'a> = &'a (dyn Fn(&str) -> Result<()> + Sync);

pub(super) fn build_network(settings: &Settings) -> Result<(Network, Wan)> {
    let (network, devices) = Network::build()?;
    let wan = Wan::start(devices)?;
    network.add_host(Site::ControlPlane, CLIENT_HOST, site::CLIENT, &[])?;
    let data_centres = match settings.two {
        Some(_) => {
            two::add_hosts(&network, &wan)?;
            &Site::TWO[..]
        }
        None => {
            let services = [site::SERVICE_RANGE.to_owned()];
            network.add_host(Site::ControlPlane, CONTROL_PLANE_HOST, site::API_SERVER, &services)?;
            answer_for_the_service(CONTROL_PLANE_HOST)?;
            &Site::DATA_CENTRES[..]
        }
    };
    for site in data_centres {
        network.add_host(*site, &member_name(*site), site::member_address(*site), &[])?;
    }
    for node in 1..=settings.nodes {
        let pods = site::pod_range(node);
        network.add_host(Site::of_node(node), &site::node_name(node), site::node_address(node), &[pods])?;
    }
    Ok((network, wan))
}

/// Pods dial the Service `kubernetes` here; without kube-proxy the address itself has to exist.
pub(super) fn answer_for_the_service(host: &str) -> Result<()> {
    net::ip(Some(host), &format!("addr add {}/32 dev lo", site::API_SERVICE))
}

/// The first member of a data centre, and its host.
fn member_name(site: Site) -> String {
    format!("pg{}", site.index())
}

/// Starts the control plane, and the database beside it.
pub(super) fn start(settings: &Settings, nodes: Vec<String>, listener: TcpListener, say: Say<'_>) -> Result<Core> {
    thread::scope(|scope| {
        let patroni = settings.patroni.then(|| {
            scope.spawn(|| {
                let patroni = Patroni::start(&shop(&Site::DATA_CENTRES, Cluster::default()))?;
                say("Patroni has a primary and its replicas stream")?;
                Ok(patroni)
            })
        });
        let settings = control_plane::Settings {
            address: site::API_SERVER,
            nodes,
            ..control_plane_on(CONTROL_PLANE_HOST, "control-plane")
        };
        let control_plane = ControlPlane::start(settings)?;
        let server = Server { address: (site::API_SERVER, 443), kubeconfig: control_plane.kubeconfig() };
        publish(&control_plane, listener, CONTROL_PLANE_HOST, vec![server])?;
        say("control plane is ready")?;
        Ok(Core {
            control_planes: BTreeMap::from([(CONTROL_PLANE_HOST.to_owned(), control_plane)]),
            patroni: patroni.map(join).transpose()?,
            kine: None,
        })
    })
}

/// The demo service's database, with a member in each of these.
pub(super) fn shop(data_centres: &[Site], cluster: Cluster) -> patroni::Context {
    database(data_centres, cluster, "patroni", |site| (member_name(site), site::member_address(site)))
}

/// A database whose data lies in `folder`.
pub(super) fn database(
    data_centres: &[Site],
    cluster: Cluster,
    folder: &str,
    place: impl Fn(Site) -> (String, std::net::Ipv4Addr),
) -> patroni::Context {
    let host = |site: &Site| {
        let (name, address) = place(*site);
        patroni::Host { site: *site, address, netns: net::namespace(&name), name }
    };
    patroni::Context {
        bin: cache().go(&ETCD),
        cache: enclosure::CACHE.into(),
        state: Path::new(STATE).join(folder),
        hosts: data_centres.iter().map(host).collect(),
        cluster,
    }
}

/// The cache as it is seen inside.
pub(super) fn cache() -> Cache {
    Cache { directory: enclosure::CACHE.into() }
}

/// A control plane whose files lie in `folder`.
pub(super) fn control_plane_on(host: &str, folder: &str) -> control_plane::Settings {
    control_plane::Settings {
        cache: cache(),
        directory: Path::new(STATE).join(folder),
        place: Place {
            namespace: Some(net::namespace(host)),
            // API servers of the same name would take each other's leases away.
            hostname: Some(host.to_owned()),
            die_with_thread: false,
        },
        bind: std::net::Ipv4Addr::UNSPECIFIED,
        address: site::API_SERVER,
        port: 443,
        others: Vec::new(),
        state: State::Etcd,
        etcd_port: 2379,
        etcd_peer_port: 2380,
        nodes: Vec::new(),
        url_of_nodes: None,
        controller_manager: CONTROLLER_MANAGER.map(str::to_owned).to_vec(),
    }
}

pub(super) fn machine(settings: &Settings, node: usize) -> machine::Settings {
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

/// Opens the API server's port on loopback, which is carried on from `host`, and writes the kubeconfig that goes with it.
pub(super) fn publish(
    control_plane: &ControlPlane,
    listener: TcpListener,
    host: &str,
    servers: Vec<Server>,
) -> Result<()> {
    let port = listener.local_addr()?.port();
    forward::start(listener, &net::namespace(host), servers)?;
    let text = control_plane::kubeconfig_for(&control_plane.kubeconfig(), &format!("https://127.0.0.1:{port}"))?;
    pki::write_private(&Path::new(STATE).join("kubeconfig"), &text)
}
