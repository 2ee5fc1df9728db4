//! `switchover agent`: what was typed and what it means.

use std::net::SocketAddr;

use clap::Args as ClapArgs;

use super::{between, seconds};
use crate::{agent::AgentConfig, api::Span};

#[derive(Debug, Clone, ClapArgs)]
pub struct AgentArgs {
    /// Address for /metrics, and for /livez and /readyz without --health-listen
    #[arg(long, env = "SWITCHOVER_METRICS_LISTEN", default_value = "[::]:8089", value_parser = address)]
    pub metrics_listen: SocketAddr,

    /// Address for /livez and /readyz alone, such as 127.0.0.1:8089: the kubelet asks from the same node
    #[arg(long, env = "SWITCHOVER_HEALTH_LISTEN", value_parser = address)]
    pub health_listen: Option<SocketAddr>,

    /// Name of the node that this agent runs on
    #[arg(long, env = "SWITCHOVER_NODE_NAME")]
    pub node_name: String,

    /// Pause between two echoes to one member
    #[arg(long, env = "SWITCHOVER_INTERVAL", default_value = "300ms", value_parser = between(Span::from_millis(10), Span::from_secs(60)))]
    pub interval: Span,

    /// Number of echoes in the window
    #[arg(long, env = "SWITCHOVER_WINDOW", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub window: u16,

    /// An echo that isn't answered within this time is lost
    #[arg(long, env = "SWITCHOVER_TIMEOUT", default_value = "1s", value_parser = between(Span::from_millis(10), Span::from_secs(10)))]
    pub timeout: Span,

    /// Write at least this often, also when nothing has changed
    #[arg(long, env = "SWITCHOVER_HEARTBEAT", default_value = "60s", value_parser = seconds(1, 3_600))]
    pub heartbeat: Span,

    /// Write a change after a random part of this time, so that agents that see the same don't write at once. For
    /// thousands of nodes, write about a second for every 200
    #[arg(long, env = "SWITCHOVER_SPREAD", default_value = "2s", value_parser = between(Span::from_millis(0), Span::from_secs(300)))]
    pub spread: Span,
}

/// An address and a port. Kubernetes writes a node's address without brackets, also one of IPv6.
fn address(text: &str) -> Result<SocketAddr, String> {
    let bare =
        || text.rsplit_once(':').and_then(|(ip, port)| Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?)));
    text.parse().ok().or_else(bare).ok_or_else(|| "write an address and a port, such as 10.0.1.7:8089".to_owned())
}

impl AgentArgs {
    /// What was typed means this.
    #[must_use]
    pub fn config(self) -> AgentConfig {
        AgentConfig {
            node_name: self.node_name,
            interval: self.interval.0,
            window: usize::from(self.window),
            timeout: self.timeout.0,
            heartbeat: self.heartbeat.0,
            spread: self.spread.0,
            metrics_listen: self.metrics_listen,
            health_listen: self.health_listen,
            ..AgentConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_kubernetes_writes_it() {
        for (text, expected) in [
            ("10.0.1.7:8089", Some("10.0.1.7:8089")),
            ("[fd00::7]:8089", Some("[fd00::7]:8089")),
            ("fd00::7:8089", Some("[fd00::7]:8089")),
            (":8089", None),
            ("10.0.1.7", None),
            ("fd00::7", None),
            ("node-1:8089", None),
        ] {
            assert_eq!(address(text).ok(), expected.map(|address| address.parse().unwrap()), "{text}");
        }
    }
}
