//! Two data centres and nothing else: a control plane in each, whose Kines write to the one primary of a database with a member in
//! each, and at a third site a machine with the third vote.

use std::{collections::BTreeMap, net::TcpListener, thread};

use anyhow::{Context, Result};

use super::{
    join,
    plan::{self, CLIENT_HOST, Core, Say},
};
use crate::{
    control_plane::{self, ControlPlane, State},
    forward::{self, Server},
    lab::Two,
    net::{self, Network},
    patroni::{Cluster, Host, Patroni},
    site::{self, Site},
    wan::{LinkChange, Wan},
};

/// The host of the third vote.
pub(super) const WITNESS_HOST: &str = "witness";

/// The leader is followed sooner than after 15 s, and a data centre of two nodes is given up at once, not node by node.
const IMPATIENT: [&str; 4] = [
    "--leader-elect-lease-duration=12s",
    "--leader-elect-renew-deadline=8s",
    "--leader-elect-retry-period=2s",
    "--node-eviction-rate=1",
];

/// The third site is no neighbour of either.
const TO_THE_WITNESS: &str = "6ms";

pub(super) fn add_hosts(network: &Network, wan: &Wan) -> Result<()> {
    network.add_host(Site::ControlPlane, WITNESS_HOST, site::WITNESS, &[])?;
    for site in Site::TWO {
        let host = control_plane_host(site);
        network.add_host(site, &host, site::control_plane_address(site), &[])?;
        network.add_host(site, &kine_member(site), site::kine_member_address(site), &[])?;
        give_up_in_time(&host)?;
        wan.set(Site::ControlPlane, site, LinkChange::parse(&[TO_THE_WITNESS.to_owned()])?);
    }
    Ok(())
}

/// Kine looks for changes on a connection that it gives no time to answer. When the primary's host vanishes, only the kernel ends it:
/// with its usual 15 tries after a quarter of an hour, with 5 after 13 s.
fn give_up_in_time(host: &str) -> Result<()> {
    net::in_netns(&net::namespace(host), || std::fs::write("/proc/sys/net/ipv4/tcp_retries2", "5"))?
        .context("cannot set tcp_retries2")
}

/// cp1 is in dc1.
pub(super) fn control_plane_host(site: Site) -> String {
    format!("cp{}", site.index())
}

/// kine1 is in dc1.
fn kine_member(site: Site) -> String {
    format!("kine{}", site.index())
}

/// Starts both databases and both control planes, and the ways to them.
pub(super) fn start(two: Two, nodes: Vec<String>, listener: TcpListener, say: Say<'_>) -> Result<Core> {
    let witness = Host {
        name: WITNESS_HOST.to_owned(),
        site: Site::ControlPlane,
        address: site::WITNESS,
        netns: net::namespace(WITNESS_HOST),
    };
    let cluster = Cluster::of_kine(two.synchronous, witness);
    let place = |site| (kine_member(site), site::kine_member_address(site));
    let context = plan::database(&Site::TWO, cluster, "kine-patroni", place);
    let kine = Patroni::start(&context)?;
    say("the database under Kubernetes has a primary and its replica streams")?;
    let (control_planes, patroni) = thread::scope(|scope| {
        let patroni = scope.spawn(|| {
            let shop = plan::shop(&Site::TWO, Cluster::beside(context.store_addresses()));
            let patroni = Patroni::start(&shop)?;
            say("Patroni has a primary and its replica streams")?;
            Ok(patroni)
        });
        let control_planes = start_control_planes(&kine.kine_endpoint(), &nodes)?;
        say("both control planes are ready")?;
        Ok::<_, anyhow::Error>((control_planes, join(patroni)?))
    })?;
    open_ways(&control_planes, &nodes, listener)?;
    Ok(Core { control_planes, patroni: Some(patroni), kine: Some(kine) })
}

fn start_control_planes(endpoint: &str, nodes: &[String]) -> Result<BTreeMap<String, ControlPlane>> {
    let settings = |site: Site, folder| {
        let host = control_plane_host(site);
        let others = Site::TWO.into_iter().filter(|other| *other != site).map(site::control_plane_address).collect();
        let mut settings = control_plane::Settings {
            address: site::control_plane_address(site),
            others,
            state: State::Kine { endpoint: endpoint.to_owned() },
            nodes: nodes.to_vec(),
            url_of_nodes: Some(format!("https://{}:443", site::API_SERVICE)),
            ..plan::control_plane_on(&host, folder)
        };
        settings.controller_manager.extend(IMPATIENT.map(str::to_owned));
        (host, settings)
    };
    let (host, first) = settings(Site::Dc1, "control-plane");
    let certificates = first.directory.clone();
    let mut control_planes = BTreeMap::from([(host, ControlPlane::start(first)?)]);
    // The first one has made the tables.
    let (host, second) = settings(Site::Dc2, "control-plane-2");
    control_planes.insert(host, ControlPlane::join(second, &certificates)?);
    Ok(control_planes)
}

/// On every node, and for clients outside: the API server of the own data centre first.
fn open_ways(control_planes: &BTreeMap<String, ControlPlane>, nodes: &[String], listener: TcpListener) -> Result<()> {
    let server = |site: Site| {
        let control_plane = control_planes.get(&control_plane_host(site)).context("a control plane did not start")?;
        let address = (site::control_plane_address(site), 443);
        Ok::<_, anyhow::Error>(Server { address, kubeconfig: control_plane.kubeconfig() })
    };
    let servers = |near: Site| {
        let mut sites = Site::TWO;
        sites.sort_by_key(|site| *site != near);
        sites.into_iter().map(server).collect::<Result<Vec<_>>>()
    };
    for node in nodes {
        let number = site::node_number(node).context("nodes are numbered")?;
        plan::answer_for_the_service(node)?;
        forward::on_host(node, (site::API_SERVICE, 443), servers(Site::of_node(number))?)?;
    }
    let first = control_planes.values().next().context("a control plane did not start")?;
    plan::publish(first, listener, CLIENT_HOST, servers(Site::Dc1)?)
}
