//! As the plugin NodePorts.

use super::{Misfit, resources::Used};
use crate::core::workload::Pod;

pub(super) fn allow(pod: &Pod, used: Used<'_>) -> Result<(), Misfit> {
    let conflict = pod.host_ports.iter().find(|port| used.ports().any(|other| other.excludes(port)));
    conflict.map_or(Ok(()), |port| Err(Misfit::HostPort(port.port)))
}
