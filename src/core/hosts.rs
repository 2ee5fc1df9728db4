//! Which hosts are measured and asked, of those that a database's members list.
//!
//! A member's word aims the controller's questions and the echoes of every node, past every NetworkPolicy. What people wrote
//! themselves is always theirs to say; what members state is refused where it can't be a database for others:
//!
//! ```text
//! written by people (urls, sql.members)              taken, whatever it is
//! in allowedHosts                                    taken, whatever it is
//! loopback, unless people wrote a loopback host      refused: every machine takes it for itself
//! link-local, unspecified, multicast, metadata       refused
//! no name and no address                             refused
//! anything else, where there are allowedHosts        refused
//! ```

// What an address is, which std::net has from there: nothing is reached by it.
use ::core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{collections::BTreeSet, fmt};

/// Where clouds tell machines their secrets, outside of the link-local networks.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Why a host is left out, as it follows "HOST, which".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefusedHost {
    Loopback,
    LinkLocal,
    Unspecified,
    Multicast,
    Metadata,
    NoHost,
    NotAllowed,
}

impl fmt::Display for RefusedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loopback => "every machine takes for itself (loopback)",
            Self::LinkLocal => "is link-local",
            Self::Unspecified => "is no address that anybody could be reached at",
            Self::Multicast => "is a multicast or broadcast address",
            Self::Metadata => "belongs to a cloud's metadata service",
            Self::NoHost => "is neither an address nor a host name",
            Self::NotAllowed => "isn't among spec.discovery.patroni.allowedHosts",
        })
    }
}

/// What may be measured and asked of one database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRules {
    written: BTreeSet<String>,
    allowed: Vec<Allowed>,
    /// People wrote a loopback host: everything runs on one machine.
    loopback: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Network(IpAddr, u8),
    Name(String),
    /// `.example.com`: every name under it.
    Suffix(String),
}

impl HostRules {
    /// `written` are the hosts that people wrote; `allowed` are names, suffixes (`*.example.com`), addresses and networks
    /// (`10.0.0.0/8`). What is none of these allows nothing.
    pub fn new<'a>(written: impl IntoIterator<Item = String>, allowed: impl IntoIterator<Item = &'a str>) -> Self {
        let written: BTreeSet<String> = written.into_iter().map(|host| bare(&host)).collect();
        let loopback = written.iter().any(|host| class(host) == Some(RefusedHost::Loopback));
        Self { loopback, written, allowed: allowed.into_iter().filter_map(Allowed::read).collect() }
    }

    /// Whether people wrote this host.
    #[must_use]
    pub fn is_written(&self, host: &str) -> bool {
        self.written.contains(&bare(host))
    }

    /// Why a host that a member states is left out.
    #[must_use]
    pub fn refuse(&self, host: &str) -> Option<RefusedHost> {
        let host = bare(host);
        if self.written.contains(&host) || self.allowed.iter().any(|allowed| allowed.takes(&host)) {
            return None;
        }
        match class(&host) {
            Some(RefusedHost::Loopback) if self.loopback => None,
            Some(refused) => Some(refused),
            None if self.allowed.is_empty() => None,
            None => Some(RefusedHost::NotAllowed),
        }
    }

    /// Why an address is left out to which the name `host` leads.
    #[must_use]
    pub fn refuse_address(&self, host: &str, address: IpAddr) -> Option<RefusedHost> {
        if self.is_written(host) || self.allowed.iter().any(|allowed| allowed.takes(&address.to_string())) {
            return None;
        }
        class_of(address).filter(|refused| *refused != RefusedHost::Loopback || !self.loopback)
    }
}

impl Allowed {
    fn read(text: &str) -> Option<Self> {
        let text = bare(text);
        if let Some((network, bits)) = text.split_once('/') {
            let network: IpAddr = network.parse().ok()?;
            let bits: u8 = bits.parse().ok()?;
            return (bits <= width(network)).then_some(Self::Network(network, bits));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Network(address, width(address)));
        }
        let suffix = text.strip_prefix('*').unwrap_or(&text);
        let name = suffix.trim_start_matches('.').to_owned();
        if name.is_empty() {
            return None;
        }
        Some(if suffix.starts_with('.') { Self::Suffix(format!(".{name}")) } else { Self::Name(name) })
    }

    /// `host` as [`bare`] makes it.
    fn takes(&self, host: &str) -> bool {
        match self {
            Self::Network(network, bits) => {
                host.parse::<IpAddr>().is_ok_and(|address| within(address.to_canonical(), *network, *bits))
            }
            Self::Name(name) => host == name,
            Self::Suffix(suffix) => host.ends_with(suffix.as_str()),
        }
    }
}

const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let same = |a: u128, b: u128, width: u32| {
        let rest = width - u32::from(bits);
        a.checked_shr(rest).unwrap_or(0) == b.checked_shr(rest).unwrap_or(0)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

/// One spelling for each host: lower case, without brackets and the dot at the end, addresses as they are written most shortly.
fn bare(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
    host.parse::<IpAddr>().map_or(host, |address| address.to_canonical().to_string())
}

/// What a host is that is refused by itself.
fn class(host: &str) -> Option<RefusedHost> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return class_of(address);
    }
    let labels = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let last = host.rsplit('.').next().unwrap_or_default();
    // Systems read 127.1, 0x7f.1 and 2130706433 as addresses, too.
    let number = last.starts_with("0x") || last.bytes().all(|byte| byte.is_ascii_digit());
    if host.is_empty() || number || !host.bytes().all(labels) {
        return Some(RefusedHost::NoHost);
    }
    let itself = last == "localhost" || matches!(host, "localhost.localdomain" | "ip6-localhost" | "ip6-loopback");
    itself.then_some(RefusedHost::Loopback)
}

/// Whether every machine takes it for itself.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    class(&bare(host)) == Some(RefusedHost::Loopback)
}

/// What an address is that is refused by itself.
#[must_use]
pub fn class_of(address: IpAddr) -> Option<RefusedHost> {
    let address = address.to_canonical();
    if METADATA.contains(&address) {
        return Some(RefusedHost::Metadata);
    }
    let link_local = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    // 0.0.0.0/8 is "this network": Linux takes it for the machine itself.
    let nowhere = matches!(address, IpAddr::V4(address) if address.octets()[0] == 0) || address.is_unspecified();
    if address.is_loopback() {
        Some(RefusedHost::Loopback)
    } else if link_local {
        Some(RefusedHost::LinkLocal)
    } else if nowhere {
        Some(RefusedHost::Unspecified)
    } else if address.is_multicast() || broadcast {
        Some(RefusedHost::Multicast)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(written: &[&str], allowed: &[&str]) -> HostRules {
        HostRules::new(written.iter().map(|host| (*host).to_owned()), allowed.iter().copied())
    }

    #[test]
    fn a_host_that_a_member_states_is_taken_or_refused() {
        use RefusedHost::{LinkLocal, Loopback, Metadata, Multicast, NoHost, NotAllowed, Unspecified};
        let (usual, local) = (rules(&["pg1.example", "10.0.0.1"], &[]), rules(&["127.0.0.1"], &[]));
        let narrow = rules(
            &["pg1.example"],
            &["10.0.0.0/8", "fd00::/16", "*.db.example", "pg9", "192.168.7.7", "169.254.7.0/24"],
        );
        for (host, [usually, locally, narrowly]) in [
            ("10.0.0.9", [None, None, None]),
            ("pg1.example", [None, None, None]),
            ("PG1.Example.", [None, None, None]),
            ("pg2.example", [None, None, Some(NotAllowed)]),
            ("pg2.db.example", [None, None, None]),
            ("db.example", [None, None, Some(NotAllowed)]),
            ("pg9", [None, None, None]),
            ("203.0.113.9", [None, None, Some(NotAllowed)]),
            ("192.168.7.7", [None, None, None]),
            ("192.168.7.8", [None, None, Some(NotAllowed)]),
            ("::ffff:10.0.0.9", [None, None, None]),
            ("fd00::9", [None, None, None]),
            ("fd01::9", [None, None, Some(NotAllowed)]),
            ("127.0.0.1", [Some(Loopback), None, Some(Loopback)]),
            ("127.9.9.9", [Some(Loopback), None, Some(Loopback)]),
            ("::1", [Some(Loopback), None, Some(Loopback)]),
            ("[::1]", [Some(Loopback), None, Some(Loopback)]),
            ("::ffff:127.0.0.1", [Some(Loopback), None, Some(Loopback)]),
            ("localhost", [Some(Loopback), None, Some(Loopback)]),
            ("x.localhost.", [Some(Loopback), None, Some(Loopback)]),
            ("127.1", [Some(NoHost), Some(NoHost), Some(NoHost)]),
            ("2130706433", [Some(NoHost), Some(NoHost), Some(NoHost)]),
            ("0x7f.0x1", [Some(NoHost), Some(NoHost), Some(NoHost)]),
            ("pg1\u{1b}[2J", [Some(NoHost), Some(NoHost), Some(NoHost)]),
            ("", [Some(NoHost), Some(NoHost), Some(NoHost)]),
            ("169.254.169.254", [Some(LinkLocal), Some(LinkLocal), Some(LinkLocal)]),
            ("169.254.7.9", [Some(LinkLocal), Some(LinkLocal), None]),
            ("fe80::1", [Some(LinkLocal), Some(LinkLocal), Some(LinkLocal)]),
            ("fe80::1%eth0", [Some(NoHost), Some(NoHost), Some(NoHost)]),
            ("0.0.0.0", [Some(Unspecified), Some(Unspecified), Some(Unspecified)]),
            ("0.1.2.3", [Some(Unspecified), Some(Unspecified), Some(Unspecified)]),
            ("::", [Some(Unspecified), Some(Unspecified), Some(Unspecified)]),
            ("224.0.0.1", [Some(Multicast), Some(Multicast), Some(Multicast)]),
            ("ff02::1", [Some(Multicast), Some(Multicast), Some(Multicast)]),
            ("255.255.255.255", [Some(Multicast), Some(Multicast), Some(Multicast)]),
            ("100.100.100.200", [Some(Metadata), Some(Metadata), Some(Metadata)]),
            ("fd00:ec2::254", [Some(Metadata), Some(Metadata), None]),
        ] {
            let found = [&usual, &local, &narrow].map(|rules| rules.refuse(host));
            assert_eq!(found, [usually, locally, narrowly], "{host:?}");
        }
    }

    #[test]
    fn what_people_wrote_is_theirs_to_say() {
        for host in ["127.0.0.1", "169.254.1.1", "localhost", "fe80::1"] {
            assert_eq!(rules(&[host], &["10.0.0.0/8"]).refuse(host), None, "{host}");
        }
    }

    #[test]
    fn a_name_leads_nowhere_that_its_address_may_not() {
        let metadata: IpAddr = "169.254.169.254".parse().unwrap();
        assert_eq!(rules(&["pg1"], &[]).refuse_address("pg2", metadata), Some(RefusedHost::LinkLocal));
        assert_eq!(rules(&["pg1"], &[]).refuse_address("pg1", metadata), None);
        let itself: IpAddr = "127.0.1.1".parse().unwrap();
        assert_eq!(rules(&["pg1"], &[]).refuse_address("pg2", itself), Some(RefusedHost::Loopback));
        assert_eq!(rules(&["localhost"], &[]).refuse_address("pg2", itself), None);
    }

    #[test]
    fn what_is_no_network_allows_nothing() {
        let odd = rules(&[], &["10.0.0.0/33", "/8", "*", ".", "10.0.0.0/x"]);
        assert_eq!(odd.refuse("10.0.0.1"), None, "nothing was allowed, so that nothing is refused for that");
        assert_eq!(odd.refuse("127.0.0.1"), Some(RefusedHost::Loopback));
        assert_eq!(rules(&[], &["0.0.0.0/0"]).refuse("10.0.0.1"), None);
        assert_eq!(rules(&[], &["0.0.0.0/0"]).refuse("fd00::1"), Some(RefusedHost::NotAllowed));
    }
}
