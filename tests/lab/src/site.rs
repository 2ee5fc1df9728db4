//! The four places of the lab and its address plan.
//!
//! Site i owns 10.77.i.0/24 for its hosts; the pods of node nK own 10.244.K.0/24. Everything else in the lab asks these
//! functions, so the plan is written down once.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// One place with a router of its own. The control plane sits apart from the data centres, so that losing a data
/// centre never takes the API server with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Site {
    #[serde(rename = "cp")]
    ControlPlane,
    #[serde(rename = "dc1")]
    Dc1,
    #[serde(rename = "dc2")]
    Dc2,
    #[serde(rename = "dc3")]
    Dc3,
}

/// The most nodes that the address plan has room for.
pub const NODES_MAX: usize = 24;

/// Where the API server listens for everybody inside the lab.
pub const API_SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 10);

/// The load generator and other clients from outside Kubernetes.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 20);

/// The third site of two data centres: a small rented machine, with a vote and an eye and nothing else.
pub const WITNESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 30);

/// The ClusterIP of the Service `kubernetes`: pods reach the API server there.
pub const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// The range of ClusterIPs. Only [`API_SERVICE`] answers, because no kube-proxy runs.
pub const SERVICE_RANGE: &str = "10.0.0.0/24";

impl Site {
    pub const ALL: [Site; 4] = [Site::ControlPlane, Site::Dc1, Site::Dc2, Site::Dc3];
    pub const DATA_CENTRES: [Site; 3] = [Site::Dc1, Site::Dc2, Site::Dc3];
    /// All data centres of the lab with two.
    pub const TWO: [Site; 2] = [Site::Dc1, Site::Dc2];

    /// The other one of [`Site::TWO`].
    #[must_use]
    pub fn other_of_two(self) -> Site {
        if self == Site::Dc1 { Site::Dc2 } else { Site::Dc1 }
    }

    pub fn index(self) -> usize {
        self as usize
    }

    /// The network namespace of the site's router.
    pub fn router(self) -> String {
        format!("r-{self}")
    }

    /// The router's own address, which is also every host's gateway.
    pub fn gateway(self) -> Ipv4Addr {
        self.host(1)
    }

    /// Host number `last` of this site.
    pub fn host(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, self.index() as u8, last)
    }

    /// The site that an address lies in: hosts by their network, pods by their node.
    pub fn of_address(address: Ipv4Addr) -> Option<Site> {
        match address.octets() {
            [10, 77, site, _] => Site::ALL.get(usize::from(site)).copied(),
            [10, 244, node, _] if (1..=NODES_MAX).contains(&usize::from(node)) => Some(Site::of_node(node.into())),
            // The service range lives where the API server lives.
            [10, 0, 0, _] => Some(Site::ControlPlane),
            _ => None,
        }
    }

    /// The data centre of node number `node` (1-based): two nodes each in turn, so that n7 is in dc1 again.
    pub fn of_node(node: usize) -> Site {
        Site::DATA_CENTRES[(node.max(1) - 1) / 2 % 3]
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Site::ControlPlane => "cp",
            Site::Dc1 => "dc1",
            Site::Dc2 => "dc2",
            Site::Dc3 => "dc3",
        })
    }
}

impl FromStr for Site {
    type Err = UnknownSite;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Site::ALL.into_iter().find(|site| site.to_string() == text).ok_or_else(|| UnknownSite(text.to_owned()))
    }
}

/// What was typed is not a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSite(pub String);

impl fmt::Display for UnknownSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no site {:?} in the lab; write cp, dc1, dc2 or dc3", self.0)
    }
}

impl std::error::Error for UnknownSite {}

/// The name of node number `node` (1-based).
pub fn node_name(node: usize) -> String {
    format!("n{node}")
}

/// The number in a node's name, if it is one.
pub fn node_number(name: &str) -> Option<usize> {
    let number = name.strip_prefix('n')?.parse().ok()?;
    (1..=NODES_MAX).contains(&number).then_some(number)
}

/// The data centre of the node of this name, if it is one.
pub fn of_node(name: &str) -> Option<Site> {
    node_number(name).map(Site::of_node)
}

/// The address of node number `node` (1-based): n1 is 10.77.1.11.
pub fn node_address(node: usize) -> Ipv4Addr {
    Site::of_node(node).host(10 + node as u8)
}

/// The pods of node number `node` (1-based) live in this network.
pub fn pod_range(node: usize) -> String {
    format!("10.244.{node}.0/24")
}

/// The address of the first Patroni member of a data centre: pg1 is 10.77.1.5.
pub fn member_address(site: Site) -> Ipv4Addr {
    site.host(5)
}

/// The address of the control plane of one of two data centres: cp1 is 10.77.1.3.
pub fn control_plane_address(site: Site) -> Ipv4Addr {
    site.host(3)
}

/// The address of the member, in one of two data centres, of the database that Kubernetes keeps its state in: kine1 is 10.77.1.4.
pub fn kine_member_address(site: Site) -> Ipv4Addr {
    site.host(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_the_plan_finds_its_site() {
        assert_eq!(Site::of_address(API_SERVER), Some(Site::ControlPlane));
        assert_eq!(Site::of_address(API_SERVICE), Some(Site::ControlPlane));
        assert_eq!(Site::of_address(member_address(Site::Dc3)), Some(Site::Dc3));
        assert_eq!(Site::of_address("192.168.0.1".parse().unwrap()), None);
        for node in 1..=NODES_MAX {
            let pod = Ipv4Addr::new(10, 244, node as u8, 9);
            assert_eq!(Site::of_address(pod), Site::of_address(node_address(node)), "n{node}");
        }
    }

    #[test]
    fn six_nodes_are_two_in_each_data_centre() {
        let addresses: Vec<_> = (1..=6).map(|node| node_address(node).to_string()).collect();
        assert_eq!(addresses, ["10.77.1.11", "10.77.1.12", "10.77.2.13", "10.77.2.14", "10.77.3.15", "10.77.3.16"]);
    }

    #[test]
    fn a_site_reads_back_as_it_is_written() {
        for site in Site::ALL {
            assert_eq!(site.to_string().parse(), Ok(site));
        }
        assert!("dc4".parse::<Site>().unwrap_err().to_string().contains("dc4"));
    }
}
