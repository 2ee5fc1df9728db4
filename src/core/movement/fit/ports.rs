//! As the plugin NodePorts.

use super::{Misfit, resources::Used};
use crate::core::workload::Pod;

pub(super) fn allow(pod: &Pod, used: Option<&Used<'_>>) -> Result<(), Misfit> {
    let taken = used.map_or(&[][..], |used| &used.ports);
    let conflict = pod.host_ports.iter().find(|port| taken.iter().any(|other| other.excludes(port)));
    conflict.map_or(Ok(()), |port| Err(Misfit::HostPort(port.port)))
}
