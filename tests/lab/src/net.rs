//! The network of the lab: a router namespace per site, and every host on a cable of its own to its router.
//!
//! A router sends everything that comes from a host into its TUN device `wan0`, even what is meant for a neighbour:
//! the emulated WAN decides what happens to it. What comes out of `wan0` is delivered by the main routing table. So
//! every packet between two hosts crosses the WAN exactly once.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sched::{CloneFlags, setns};

use crate::{site::Site, wan};

/// The TUN device of each router.
const WAN_DEVICE: &str = "wan0";

/// The routing table of packets that come from a host.
const OUTBOUND_TABLE: u32 = 100;

/// All routers and hosts. Lives in the supervisor.
#[derive(Debug)]
pub struct Network {
    hosts: Mutex<BTreeMap<String, Host>>,
}

#[derive(Debug, Clone)]
struct Host {
    site: Site,
    address: Ipv4Addr,
    /// Networks that lie behind the host, e.g. its pods.
    behind: Vec<String>,
}

impl Network {
    /// Makes the routers and returns the WAN's end of each TUN device.
    pub fn build() -> Result<(Network, Vec<(Site, OwnedFd)>)> {
        let devices = Site::ALL.into_iter().map(|site| Ok((site, add_router(site)?))).collect::<Result<_>>()?;
        Ok((Network { hosts: Mutex::default() }, devices))
    }

    /// Adds a host with its own network namespace `name`; `behind` are networks that are reached through it.
    pub fn add_host(&self, site: Site, name: &str, address: Ipv4Addr, behind: &[String]) -> Result<()> {
        let host = Host { site, address, behind: behind.to_vec() };
        let mut hosts = self.hosts.lock().expect("no holder panics");
        ensure!(!hosts.contains_key(name), "the lab already has a host {name}");
        if let Some((other, _)) = hosts.iter().find(|(_, other)| other.address == address) {
            bail!("the address {address} of {name} is already taken by {other}");
        }
        add_namespace(name)?;
        let (router, cable, gateway) = (site.router(), cable(name), site.gateway());
        ip(None, &format!("link add {cable} netns {router} type veth peer name eth0 netns {name}"))?;
        ip(
            Some(name),
            &format!(
                "addr add {address}/32 dev eth0\nlink set eth0 up\nroute add {gateway} dev eth0\n\
                 route add default via {gateway} dev eth0"
            ),
        )?;
        ip(Some(&router), &format!("rule add iif {cable} lookup {OUTBOUND_TABLE}"))?;
        connect(name, &host)?;
        hosts.insert(name.to_owned(), host);
        Ok(())
    }

    /// Removes a host and its namespace. Processes in it should be gone.
    pub fn remove_host(&self, name: &str) -> Result<()> {
        let mut hosts = self.hosts.lock().expect("no holder panics");
        let host = hosts.remove(name).with_context(|| format!("the lab has no host {name}"))?;
        let router = host.site.router();
        ip(Some(&router), &format!("rule del iif {0} lookup {OUTBOUND_TABLE}\nlink del {0}", cable(name)))?;
        ip(None, &format!("netns del {name}"))
    }

    /// Whether no host has this address.
    pub fn is_free(&self, address: Ipv4Addr) -> bool {
        self.hosts.lock().expect("no holder panics").values().all(|host| host.address != address)
    }

    pub fn address(&self, name: &str) -> Result<Ipv4Addr> {
        self.host(name).map(|host| host.address)
    }

    pub fn hosts_of(&self, site: Site) -> Vec<String> {
        let hosts = self.hosts.lock().expect("no holder panics");
        hosts.iter().filter(|(_, host)| host.site == site).map(|(name, _)| name.clone()).collect()
    }

    pub fn name_of(&self, address: Ipv4Addr) -> Option<String> {
        let hosts = self.hosts.lock().expect("no holder panics");
        hosts.iter().find(|(_, host)| host.address == address).map(|(name, _)| name.clone())
    }

    /// Pulls the host's cable.
    pub fn cut(&self, name: &str) -> Result<()> {
        let host = self.host(name)?;
        ip(Some(&host.site.router()), &format!("link set {} down", cable(name)))
    }

    /// Puts the host's cable back.
    pub fn heal(&self, name: &str) -> Result<()> {
        connect(name, &self.host(name)?)
    }

    fn host(&self, name: &str) -> Result<Host> {
        let hosts = self.hosts.lock().expect("no holder panics");
        hosts.get(name).cloned().with_context(|| format!("the lab has no host {name}"))
    }
}

/// The path of a network namespace, for those inside the supervisor's mount namespace.
pub fn namespace(name: &str) -> PathBuf {
    Path::new("/run/netns").join(name)
}

/// Runs `work` on a new thread inside a network namespace: the sockets that it opens belong there.
pub fn in_netns<T: Send + 'static>(namespace: &Path, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let file =
        File::open(namespace).with_context(|| format!("there is no network namespace {}", namespace.display()))?;
    let path = namespace.to_owned();
    thread::Builder::new()
        .name("in-netns".into())
        .spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("cannot enter {}", path.display()))?;
            Ok(work())
        })?
        .join()
        .map_err(|_| anyhow!("the work in the network namespace {} panicked", namespace.display()))?
}

/// Sends a request of HTTP/1.0 from inside a network namespace: the end of the connection is the end of the answer.
pub fn exchange(namespace: &Path, address: SocketAddr, request: String, timeout: Duration) -> Result<String> {
    in_netns(namespace, move || -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })?
}

fn add_namespace(name: &str) -> Result<()> {
    ip(None, &format!("netns add {name}"))?;
    ip(Some(name), "link set lo up")?;
    let settings = [
        ("ipv4/ip_forward", "1"),
        // Replies may take another way than requests: what a host sends goes through the WAN, what it gets does not.
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("ipv4/conf/all/send_redirects", "0"),
        ("ipv4/conf/default/send_redirects", "0"),
        // Any user may ping, as on the usual distributions.
        ("ipv4/ping_group_range", "0 2147483647"),
        // The WAN carries IPv4 only.
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ];
    in_netns(&namespace(name), move || {
        for (setting, value) in settings {
            let path = Path::new("/proc/sys/net").join(setting);
            // A kernel without IPv6 has nothing to switch off.
            if path.exists() {
                fs::write(&path, value).with_context(|| format!("cannot set {}", path.display()))?;
            }
        }
        Ok(())
    })?
}

fn add_router(site: Site) -> Result<OwnedFd> {
    let router = site.router();
    add_namespace(&router)?;
    let device = wan::open_tun(&namespace(&router), WAN_DEVICE)?;
    ip(
        Some(&router),
        &format!(
            "addr add {}/32 dev lo\nlink set {WAN_DEVICE} up\nroute add default dev {WAN_DEVICE} table {OUTBOUND_TABLE}",
            site.gateway()
        ),
    )?;
    Ok(device)
}

/// Raises the router's end of the cable and sets its routes, which the kernel forgets whenever the link goes down.
fn connect(name: &str, host: &Host) -> Result<()> {
    let (cable, address) = (cable(name), host.address);
    let mut commands = format!("link set {cable} up\nroute replace {address}/32 dev {cable}");
    for network in &host.behind {
        commands.push_str(&format!("\nroute replace {network} via {address} dev {cable} onlink"));
    }
    ip(Some(&host.site.router()), &commands)
}

/// The router's end of a host's cable. Interface names have at most 15 characters.
fn cable(name: &str) -> String {
    format!("v-{name}")
}

/// Runs lines of `ip` commands in one process, in the network namespace `name` or in the caller's.
pub(crate) fn ip(name: Option<&str>, commands: &str) -> Result<()> {
    let mut command = Command::new("ip");
    if let Some(name) = name {
        command.args(["-n", name]);
    }
    let mut child = command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run `ip`; install it (Debian package iproute2)")?;
    child.stdin.take().context("ip has a stdin")?.write_all(commands.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "`ip` refused in {}: {} (it was asked: {commands})",
        name.unwrap_or("the lab's own namespace"),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
