//! One echo, one connect.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use surge_ping::{Client, Config, ICMP, IcmpPacket, PingIdentifier, PingSequence, SurgeError};

/// What an echo carries. The content means nothing; 16 bytes cross every network.
const PAYLOAD: [u8; 16] = *b"switchover echo.";
/// ICMP echo reply (RFC 792) and ICMPv6 echo reply (RFC 4443).
const ECHO_REPLY: u8 = 0;
const ECHO_REPLY_V6: u8 = 129;

/// Why nothing can be measured.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(
        "no ICMP socket can be opened ({0}): give this process the capability CAP_NET_RAW \
         (securityContext.capabilities.add: [NET_RAW]), or let its group use ping sockets (sysctl \
         net.ipv4.ping_group_range)"
    )]
    Socket(#[source] io::Error),
}

/// An echo that could not be sent: no route, or no socket of that kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotSent;

/// The sockets that all echoes go through: one for each of IPv4 and IPv6, unprivileged ping sockets where the kernel
/// allows them, else raw ones.
#[derive(Clone)]
pub struct Sockets {
    v4: Option<Client>,
    v6: Option<Client>,
    /// Tells this process's echoes from those of others on the same machine. The kernel sets it on ping sockets.
    identifier: u16,
}

impl std::fmt::Debug for Sockets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sockets").field("v4", &self.v4.is_some()).field("v6", &self.v6.is_some()).finish()
    }
}

impl Sockets {
    /// Opens the sockets. Needs a Tokio runtime. A machine without IPv6, or without IPv4, is no error.
    ///
    /// # Errors
    /// When neither can be opened.
    pub fn open() -> Result<Self, ProbeError> {
        let open = |kind| Client::new(&Config::builder().kind(kind).build());
        let (v4, v6) = (open(ICMP::V4), open(ICMP::V6));
        if let (Err(_), Err(_)) = (&v4, &v6)
            && let Err(error) = v4
        {
            // The library's own text goes on over several lines; its cause is in the kind.
            return Err(ProbeError::Socket(error.kind().into()));
        }
        if let Err(error) = &v4 {
            tracing::warn!(error = %error.kind(), "no IPv4 echoes can be sent; measuring over IPv6 only");
        }
        Ok(Self { v4: v4.ok(), v6: v6.ok(), identifier: rand::random() })
    }

    /// How echoes are sent, for people: `ping socket` or `raw socket`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        let raw = |client: &Client| format!("{:?}", client.get_socket().get_type()).contains("RAW");
        match self.v4.as_ref().or(self.v6.as_ref()) {
            Some(client) if raw(client) => "raw socket",
            _ => "ping socket",
        }
    }

    /// Which of a name's addresses to measure: the one that is measured already, if it is still among them.
    pub(super) fn choose(&self, current: Option<IpAddr>, addresses: &[IpAddr]) -> Option<IpAddr> {
        let usable = |ip: &&IpAddr| if ip.is_ipv4() { self.v4.is_some() } else { self.v6.is_some() };
        current.filter(|ip| addresses.contains(ip)).or_else(|| addresses.iter().find(usable).copied())
    }

    /// One echo: the round-trip time in microseconds, or `None` if it wasn't answered within `timeout`. An error is one
    /// that couldn't even be sent.
    pub(super) fn echo(
        &self,
        to: IpAddr,
        sequence: u16,
        timeout: Duration,
    ) -> impl Future<Output = Result<Option<u32>, NotSent>> + Send + use<> {
        let client = if to.is_ipv4() { self.v4.clone() } else { self.v6.clone() };
        let identifier = PingIdentifier(self.identifier);
        async move {
            let mut pinger = client.ok_or(NotSent)?.pinger(to, identifier).await;
            pinger.timeout(timeout);
            match pinger.ping(PingSequence(sequence), &PAYLOAD).await {
                // A router's "unreachable" comes back as well, and quickly: it measures the way to the router.
                Ok((packet, took)) if is_reply(&packet) => Ok(Some(micros(took))),
                Ok(_) | Err(SurgeError::Timeout { .. }) => Ok(None),
                Err(error) => {
                    tracing::debug!(%to, %error, "an echo could not be sent");
                    Err(NotSent)
                }
            }
        }
    }
}

fn is_reply(packet: &IcmpPacket) -> bool {
    match packet {
        IcmpPacket::V4(packet) => packet.get_icmp_type().0 == ECHO_REPLY,
        IcmpPacket::V6(packet) => packet.get_icmpv6_type().0 == ECHO_REPLY_V6,
    }
}

/// One TCP connect: the round-trip time in microseconds. A refusal is an answer from the host, too.
pub(super) async fn connect(to: SocketAddr, timeout: Duration) -> Option<u32> {
    let started = Instant::now();
    match tokio::time::timeout(timeout, tokio::net::TcpStream::connect(to)).await {
        Ok(Ok(_)) => Some(micros(started.elapsed())),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Some(micros(started.elapsed())),
        _ => None,
    }
}

/// Whole microseconds, at least one: zero would read as "not measured" to people.
fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1)
}
